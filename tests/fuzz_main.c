/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replays a corpus through a fuzz target when there is no fuzzer: every file
 * given, and every file of every directory given, becomes one input. An empty
 * corpus is a failure, because it would say nothing.
 */
#include <errno.h>
#include <fts.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_len);

static int replay_file(const char *path, size_t len)
{
	/* Exactly as long as the input, so that a read past its end is seen. */
	uint8_t *data = malloc(len ? len : 1);
	FILE *f = fopen(path, "rb");
	int r = 0;

	if (!data || !f || fread(data, 1, len, f) != len) {
		fprintf(stderr, "%s: cannot be read: %s\n", path, strerror(errno));
		r = -EIO;
	} else {
		LLVMFuzzerTestOneInput(data, len);
	}
	if (f)
		fclose(f);
	free(data);
	return r;
}

int main(int argc, char **argv)
{
	unsigned int n_inputs = 0;
	FTSENT *e;
	FTS *tree;
	int r = 0;

	if (argc < 2) {
		fprintf(stderr, "usage: %s FILE|DIRECTORY...\n", argv[0]);
		return 2;
	}
	tree = fts_open(argv + 1, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	if (!tree) {
		perror(argv[1]);
		return 1;
	}
	while (r == 0 && (e = fts_read(tree))) {
		if (e->fts_info != FTS_F)
			continue;
		r = replay_file(e->fts_path, (size_t)e->fts_statp->st_size);
		n_inputs++;
	}
	fts_close(tree);
	printf("%u inputs replayed\n", n_inputs);
	return r < 0 || n_inputs == 0;
}
