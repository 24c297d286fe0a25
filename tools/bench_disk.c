/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floors on disk: what the file system below the bench's directory gives to a program that
 * does nothing else than write.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/bench_clock.h"
#include "tools/bench_hist.h"
#include "tools/tool.h"

enum {
	WRITE_BLOCK = 1 << 20,
	APPEND_LEN = 4096,
	ALIGN = 4096,
};

static int fail(struct bench_env *env, const char *what)
{
	int error = errno;

	snprintf(env->error, sizeof(env->error), "%s in %s: %s", what, env->dir, strerror(error));
	return -error;
}

/* An empty file that has no name any more, so that nothing of it stays behind. */
static int open_file(struct bench_env *env)
{
	char path[sizeof(env->dir) + 16];
	int fd;

	snprintf(path, sizeof(path), "%s/floor", env->dir);
	fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail(env, "cannot create a file");
	unlink(path);
	return fd;
}

/* Bytes that compress badly: some disks would shorten zeros. */
static void fill(char *block, size_t len)
{
	uint64_t x = 0x9e3779b97f4a7c15u;
	size_t i;

	for (i = 0; i + sizeof(x) <= len; i += sizeof(x)) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(block + i, &x, sizeof(x));
	}
}

static int write_all(int fd, const char *block, size_t len)
{
	ssize_t n;

	while (len > 0) {
		n = write(fd, block, len);
		if (n < 0)
			return -1;
		block += n;
		len -= (size_t)n;
	}
	return 0;
}

/* 1 MiB blocks one after the other and one fdatasync, which counts. */
int bench_disk_write(struct bench_env *env, struct bench_result *result)
{
	uint64_t start, end, bytes = 0;
	int fd = open_file(env), rc = 0;
	char *block;

	if (fd < 0)
		return fd;
	block = aligned_alloc(ALIGN, WRITE_BLOCK);
	if (!block) {
		close(fd);
		return -ENOMEM;
	}
	fill(block, WRITE_BLOCK);
	start = bench_clock_ticks();
	end = start + bench_clock_from_ns(env->disk_ns);
	while (rc == 0 && bytes < env->disk_len && bench_clock_ticks() < end) {
		rc = write_all(fd, block, WRITE_BLOCK);
		bytes += WRITE_BLOCK;
	}
	if (rc == 0)
		rc = fdatasync(fd);
	if (rc < 0)
		rc = fail(env, "cannot write");
	result->value = (double)bytes * 1e9 / bench_clock_ns(bench_clock_ticks() - start);
	bench_add_fact(result, "bytes", (double)bytes);
	free(block);
	close(fd);
	return rc;
}

/* One write of 4 KiB and one fdatasync, again and again, at the end of a growing file. */
int bench_disk_append_sync(struct bench_env *env, struct bench_result *result)
{
	struct bench_hist *hist = calloc(1, sizeof(*hist));
	char *block = aligned_alloc(ALIGN, APPEND_LEN);
	uint64_t end, last, now;
	int fd = open_file(env), rc = 0;

	if (!hist || !block || fd < 0) {
		rc = fd < 0 ? fd : -ENOMEM;
		goto out;
	}
	fill(block, APPEND_LEN);
	last = bench_clock_ticks();
	end = last + bench_clock_from_ns(env->run_ns);
	do {
		if (write_all(fd, block, APPEND_LEN) < 0 || fdatasync(fd) < 0) {
			rc = fail(env, "cannot append");
			goto out;
		}
		now = bench_clock_ticks();
		bench_hist_add(hist, now - last);
		last = now;
	} while (now < end);
	bench_hist_result(hist, result);
out:
	if (fd >= 0)
		close(fd);
	free(block);
	free(hist);
	return rc;
}
