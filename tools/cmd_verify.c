/* SPDX-License-Identifier: Apache-2.0 */
/* leat verify: checks every byte that is kept, with the code that recovery trusts. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "persist/format.h"
#include "persist/verify.h"
#include "tools/state.h"
#include "tools/tool.h"
#include "tools/units.h"

static const char help[] =
	"usage: leat verify [STREAM]\n"
	"       leat verify --data DIR [STREAM]\n"
	"\n"
	"Reads every segment that is kept and checks headers, records and checksums, and that\n"
	"one segment goes on where the one before ended. Prints each damaged range and gap;\n"
	"changes nothing. The daemon may be running.\n"
	"\n"
	"      --data DIR          the daemon's data directory (default: asks the daemon)\n"
	"  -q, --quiet             only what is damaged\n"
	"  -b, --bus PATH          the daemon's socket\n"
	"\n"
	"exit status: 0 all is well, 1 something is damaged or could not be read, 2 wrong usage.\n"
	"Gaps that retention or a recovery left, and a torn end, are no damage.\n";

struct verify {
	const char *data;
	const char *stream; /* only this one; NULL = all */
	bool quiet;
	char *shard_name; /* "stream/shard", being checked */
	bool failed;      /* something could not be read */
	uint64_t n_shards;
	struct verify_stats total;
};

static const char *kind_name(enum verify_kind kind)
{
	switch (kind) {
	case VERIFY_GAP:
		return "gap";
	case VERIFY_DAMAGE:
		return "damaged";
	case VERIFY_HEADER:
		return "damaged header";
	case VERIFY_CHAIN:
		return "does not follow the segment before it";
	case VERIFY_FOREIGN:
		return "not of this stream and shard, or of an unknown version";
	case VERIFY_TORN:
		return "torn end";
	case VERIFY_CHECKPOINT:
		return "checkpoint is missing or damaged";
	}
	return "unknown finding";
}

static void print_finding(void *context, const struct verify_finding *finding)
{
	const struct verify *verify = context;
	char file[FORMAT_NAME_LEN] = "";

	if (verify->quiet && !verify_is_damage(finding->kind))
		return;
	printf("%s: %s", verify->shard_name, kind_name(finding->kind));
	if (finding->to > finding->from)
		printf(": positions %" PRIu64 "..%" PRIu64 " (%" PRIu64 " bytes)", finding->from,
		       finding->to, finding->to - finding->from);
	if (finding->kind != VERIFY_CHECKPOINT) {
		format_segment_name(finding->base, file);
		printf(", %s", file);
	}
	putchar('\n');
}

static void could_not_read(struct verify *verify, const char *path, int error)
{
	verify->failed = true;
	tool_error("cannot read %s: %s%s", path, strerror(error),
		   error == EACCES ? "; run it as root or as the daemon's user" : "");
}

static void verify_shard(struct verify *verify, const char *path)
{
	struct verify_stats stats = { 0 };
	char size[UNITS_TEXT_LEN];
	int rc;

	rc = verify_dir(path, print_finding, verify, &stats);
	if (rc < 0) {
		could_not_read(verify, path, -rc);
		return;
	}
	verify->n_shards++;
	verify->total.n_segments += stats.n_segments;
	verify->total.n_records += stats.n_records;
	verify->total.n_bytes += stats.n_bytes;
	verify->total.n_damaged += stats.n_damaged;
	if (!verify->quiet)
		printf("%s: %" PRIu64 " segments, %" PRIu64 " records, %s, positions %" PRIu64
		       "..%" PRIu64 ": %s\n",
		       verify->shard_name, stats.n_segments, stats.n_records,
		       units_show_size(stats.n_bytes, size), stats.earliest, stats.end,
		       stats.n_damaged ? "DAMAGED" : "ok");
	fflush(stdout);
}

static int no_dots(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void free_names(struct dirent **names, int n)
{
	while (n > 0)
		free(names[--n]);
	free(names);
}

/* dir/name, for free(); NULL: no memory. */
static char *join(const char *dir, const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

static void verify_number(struct verify *verify, const char *stream, const char *dir,
			  const char *number)
{
	cleanup_with(tool_free) char *path = join(dir, number);

	free(verify->shard_name);
	verify->shard_name = join(stream, number);
	if (path && verify->shard_name)
		verify_shard(verify, path);
	else
		could_not_read(verify, dir, ENOMEM);
}

/* All shards of one stream, in order of their numbers. */
static void verify_stream(struct verify *verify, const char *streams, const char *stream)
{
	cleanup_with(tool_free) char *dir = join(streams, stream);
	struct dirent **names = NULL;
	int i, n;

	if (!dir) {
		could_not_read(verify, streams, ENOMEM);
		return;
	}
	n = scandir(dir, &names, no_dots, versionsort);
	if (n < 0)
		could_not_read(verify, dir, errno);
	for (i = 0; i < n; i++)
		/* Only directories with a number for a name are shards. */
		if (names[i]->d_name[strspn(names[i]->d_name, "0123456789")] == '\0')
			verify_number(verify, stream, dir, names[i]->d_name);
	free_names(names, n);
}

static int verify_all(struct verify *verify)
{
	cleanup_with(tool_free) char *dir = join(verify->data, "streams");
	struct dirent **names = NULL;
	char size[UNITS_TEXT_LEN];
	int i, n;

	if (!dir) {
		could_not_read(verify, verify->data, ENOMEM);
		return TOOL_FAILED;
	}
	n = scandir(dir, &names, no_dots, alphasort);
	if (n < 0 && errno == ENOENT) {
		tool_error("%s is not a data directory: there is no %s", verify->data, dir);
		return TOOL_FAILED;
	}
	if (n < 0)
		could_not_read(verify, dir, errno);
	for (i = 0; i < n; i++) {
		if (!verify->stream || strcmp(verify->stream, names[i]->d_name) == 0)
			verify_stream(verify, dir, names[i]->d_name);
	}
	free_names(names, n);
	if (verify->stream && verify->n_shards == 0 && !verify->failed) {
		tool_error("nothing of stream \"%s\" is kept in %s", verify->stream, dir);
		return TOOL_FAILED;
	}
	if (!verify->quiet)
		printf("%" PRIu64 " shards, %" PRIu64 " segments, %" PRIu64 " records, %s: %" PRIu64
		       " damaged\n",
		       verify->n_shards, verify->total.n_segments, verify->total.n_records,
		       units_show_size(verify->total.n_bytes, size), verify->total.n_damaged);
	return verify->failed || verify->total.n_damaged ? TOOL_FAILED : TOOL_OK;
}

/* Asks the daemon where its data is, and whether the stream has any. */
static int ask_bus(struct verify *verify, char **ret_data)
{
	cleanup_with(tool_close_bus) struct leat_bus *bus = NULL;
	cleanup_with(state_free) struct state state = { 0 };
	const json_t *options;

	if (tool_connect(&bus) < 0 || state_take(bus, verify->stream, &state) < 0)
		return TOOL_FAILED;
	*ret_data = strdup(state_text(json_object_get(state.root, "bus"), "data"));
	if (!*ret_data || !**ret_data) {
		tool_error("the daemon does not say where its data is; use --data DIR");
		return TOOL_FAILED;
	}
	options = json_object_get(json_array_get(state.streams, 0), "options");
	if (verify->stream && json_is_true(json_object_get(options, "memory"))) {
		tool_error("stream \"%s\" is memory-only: there is nothing to verify",
			   verify->stream);
		return TOOL_FAILED;
	}
	return TOOL_OK;
}

static int run(struct verify *verify)
{
	cleanup_with(tool_free) char *data = NULL;
	int status;

	if (!verify->data) {
		status = ask_bus(verify, &data);
		if (status != TOOL_OK)
			return status;
		verify->data = data;
	}
	status = verify_all(verify);
	free(verify->shard_name);
	return tool_flush_stdout(status);
}

int cmd_verify(int argc, char **argv)
{
	enum {
		OPT_DATA = TOOL_OPTION
	};
	static const struct option options[] = {
		{ "data", required_argument, NULL, OPT_DATA },
		{ "quiet", no_argument, NULL, 'q' },
		TOOL_LONG_OPTIONS,
	};
	struct verify verify = { 0 };
	int c, status;

	while ((c = getopt_long(argc, argv, ":q" TOOL_SHORT_OPTIONS, options, NULL)) != -1) {
		status = -1;
		if (c == OPT_DATA)
			verify.data = optarg;
		else if (c == 'q')
			verify.quiet = true;
		else
			status = tool_common_option(c, argv, help);
		if (status >= 0)
			return status;
	}
	if (optind + 1 < argc)
		return tool_usage("one stream, or none for all");
	verify.stream = argv[optind];
	return run(&verify);
}
