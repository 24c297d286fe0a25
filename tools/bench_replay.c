/* SPDX-License-Identifier: Apache-2.0 */
/*
 * History: what leat replays, cold from the disk and warm from the page cache, beside a plain read
 * of the same segment files. The streams are filled when they are needed first and kept until the
 * bench ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/bench_clock.h"
#include "tools/bench_proc.h"
#include "tools/bench_replay.h"
#include "tools/bench_stream.h"
#include "tools/tool.h"

enum {
	COLD_VALUE_LEN = 1024,
	READ_LEN = 1 << 20,
	RING_LEN = 1 << 20, /* small, so that nearly all comes from the segments */
	POLL_MAX = 4096,
	SMALL_SPAN = 96, /* of a record with BENCH_VALUE_LEN bytes */
};

struct history {
	const char *what; /* name of the stream */
	size_t value_len;
	uint64_t n; /* records */
	bool cold;  /* drop the files from the page cache first */
};

struct history_shared {
	double bytes;
	double records;
	double ns;
	double from_disk;
};

static struct history history_of(const struct bench_env *env, bool cold)
{
	uint64_t len = cold ? env->disk_len / 2 : env->disk_len / 4;

	if (cold)
		return (struct history){ "cold", COLD_VALUE_LEN, len / COLD_VALUE_LEN, true };
	return (struct history){ "warm", BENCH_VALUE_LEN, len / SMALL_SPAN, false };
}

/* ---- filling ---- */

static int fill(struct bench_team *team, int me, const void *context)
{
	const struct history *history = context;
	char *value = calloc(1, history->value_len);
	struct leat_record record = { .value = value, .value_len = history->value_len };
	struct bench_link link = { .team = team, .me = me };
	uint64_t i;
	int rc;

	if (!value)
		return bench_team_fail(team, me, -ENOMEM, "no memory for a record");
	rc = bench_stream_connect(&link, team, me);
	if (rc == 0)
		rc = bench_stream_publish_to(&link, history->what);
	for (i = 0; rc == 0 && i < history->n; i++) {
		memcpy(value, &i, sizeof(i));
		rc = leat_publish(link.publisher, &record, NULL);
		if (rc < 0)
			rc = bench_stream_fail(&link, rc, "cannot publish");
	}
	if (rc == 0) {
		rc = leat_flush(link.publisher, LEAT_ACK_DURABLE, 6 * BENCH_STREAM_WAIT_NS);
		if (rc < 0)
			rc = bench_stream_fail(&link, rc, "it does not become durable");
	}
	bench_stream_close(&link);
	free(value);
	return rc;
}

/* Makes the stream and its records where they are not there yet. */
static int provide(struct bench_env *env, const struct history *history)
{
	const struct bench_member member = { .run = fill, .context = history, .cpu = -1 };
	struct leat_stream_options options;
	struct bench_team team;
	int rc = bench_stream_exists(env, history->what);

	if (rc != 0)
		return rc < 0 ? rc : 0;
	rc = bench_team_init(&team, env, sizeof(struct history_shared));
	if (rc < 0)
		return rc;
	leat_stream_options_init(&options);
	options.sync = LEAT_SYNC_NONE;
	options.ring_len = RING_LEN;
	rc = bench_stream_create(env, history->what, &options);
	if (rc == 0)
		rc = bench_team_run(&team, &member, 1, 12 * BENCH_STREAM_WAIT_NS);
	if (rc < 0)
		bench_stream_delete(env, history->what);
	bench_team_deinit(&team);
	return rc;
}

void bench_replay_forget(struct bench_env *env)
{
	bench_stream_delete(env, "cold");
	bench_stream_delete(env, "warm");
}

/* ---- the files ---- */

/* The segment files in order; their names are positions of one width. The caller's: globfree(). */
static int find_files(struct bench_env *env, const char *what, glob_t *ret_files)
{
	char data[256], name[BENCH_STREAM_NAME_LEN], pattern[sizeof(data) + sizeof(name) + 32];
	int rc = bench_proc_data_dir(env, data, sizeof(data));

	if (rc < 0)
		return rc;
	bench_stream_name(what, name);
	snprintf(pattern, sizeof(pattern), "%s/streams/%s/0/*.seg", data, name);
	if (glob(pattern, 0, NULL, ret_files) == 0)
		return 0;
	/* Another user's daemon keeps its files to itself. */
	snprintf(env->error, sizeof(env->error), "the segment files are not to be read: %s",
		 pattern);
	return BENCH_SKIPPED;
}

static int drop_from_cache(const glob_t *files)
{
	size_t i;
	int fd;

	for (i = 0; i < files->gl_pathc; i++) {
		fd = open(files->gl_pathv[i], O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		/* Only what is on the disk can be dropped. */
		fdatasync(fd);
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		close(fd);
	}
	return 0;
}

static int read_file(const char *path, char *block, double *bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	while ((n = read(fd, block, READ_LEN)) > 0)
		*bytes += (double)n;
	close(fd);
	return n < 0 ? -errno : 0;
}

static int read_files(const glob_t *files, double *ret_bytes, double *ret_ns)
{
	char *block = aligned_alloc(4096, READ_LEN);
	uint64_t start;
	size_t i;
	int rc = 0;

	if (!block)
		return -ENOMEM;
	memset(block, 0, READ_LEN);
	start = bench_clock_ticks();
	for (i = 0; i < files->gl_pathc && rc == 0; i++)
		rc = read_file(files->gl_pathv[i], block, ret_bytes);
	*ret_ns = bench_clock_ns(bench_clock_ticks() - start);
	free(block);
	return rc;
}

/* What the kernel gives to a program that reads the files and does nothing with them. */
static int raw_read(struct bench_env *env, const struct history *history,
		    struct bench_result *result)
{
	double bytes = 0, ns = 1;
	glob_t files = { 0 };
	int rc = provide(env, history);

	if (rc == 0)
		rc = find_files(env, history->what, &files);
	if (rc != 0)
		return rc;
	rc = history->cold ? drop_from_cache(&files) : read_files(&files, &bytes, &ns);
	bytes = 0;
	if (rc == 0)
		rc = read_files(&files, &bytes, &ns);
	globfree(&files);
	result->value = bytes * 1e9 / ns;
	bench_add_fact(result, "bytes", bytes);
	return rc;
}

int bench_replay_raw_cold(struct bench_env *env, struct bench_result *result)
{
	struct history history = history_of(env, true);

	return raw_read(env, &history, result);
}

/* In records, as many as lie in the bytes. */
int bench_replay_raw_warm(struct bench_env *env, struct bench_result *result)
{
	struct history history = history_of(env, false);
	int rc = raw_read(env, &history, result);

	result->value /= SMALL_SPAN;
	return rc;
}

/* ---- leat ---- */

struct replay {
	uint64_t next;
	uint64_t first_pos;
	uint64_t end_pos;
	bool wrong;
};

static int take(void *context, const struct leat_message *message)
{
	struct replay *replay = context;
	uint64_t i;

	if (message->kind != LEAT_RECORD) {
		replay->wrong = true;
		return 1;
	}
	memcpy(&i, message->value, sizeof(i));
	if (i != replay->next) {
		replay->wrong = true;
		return 1;
	}
	if (replay->next++ == 0)
		replay->first_pos = message->pos;
	replay->end_pos = message->next_pos;
	return 0;
}

static int replay_all(struct bench_link *link, const struct history *history, struct replay *replay)
{
	struct leat_subscriber_options options;
	int rc;

	leat_subscriber_options_init(&options);
	options.start = LEAT_EARLIEST;
	options.stop = LEAT_LATEST;
	rc = bench_stream_subscribe_as(link, history->what, &options);
	while (rc == 0) {
		rc = leat_poll(link->subscriber, take, replay, POLL_MAX, BENCH_STREAM_WAIT_NS);
		if (rc == 0)
			break;
		if (rc < 0 && rc != -EINTR)
			return bench_stream_fail(link, rc, "cannot replay");
		rc = 0;
		if (replay->wrong)
			return bench_team_fail(link->team, link->me, -EBADMSG,
					       "a record is missing, double or out of order");
	}
	if (rc == 0 && replay->next != history->n)
		return bench_team_fail(link->team, link->me, -EBADMSG,
				       "%llu records came instead of %llu",
				       (unsigned long long)replay->next,
				       (unsigned long long)history->n);
	return rc;
}

static int replay_member(struct bench_team *team, int me, const void *context)
{
	struct leat_subscriber_stats stats = { .size = sizeof(stats) };
	struct bench_link link = { .team = team, .me = me };
	struct history_shared *shared = team->shared;
	struct replay replay = { 0 };
	uint64_t start;
	int rc = bench_stream_connect(&link, team, me);

	start = bench_clock_ticks();
	if (rc == 0)
		rc = replay_all(&link, context, &replay);
	shared->ns = bench_clock_ns(bench_clock_ticks() - start);
	shared->bytes = (double)(replay.end_pos - replay.first_pos);
	shared->records = (double)replay.next;
	if (rc == 0)
		leat_subscriber_statistics(link.subscriber, &stats);
	shared->from_disk = (double)stats.from_disk;
	bench_stream_close(&link);
	return rc;
}

static int run_replay(struct bench_env *env, const struct history *history,
		      struct history_shared *ret_shared)
{
	const struct bench_member member = {
		.run = replay_member,
		.context = history,
		.cpu = env->cpus[0],
	};
	struct bench_team team;
	int rc = bench_team_init(&team, env, sizeof(*ret_shared));

	if (rc < 0)
		return rc;
	rc = bench_team_run(&team, &member, 1, 12 * BENCH_STREAM_WAIT_NS);
	memcpy(ret_shared, team.shared, sizeof(*ret_shared));
	bench_team_deinit(&team);
	return rc;
}

static int replay(struct bench_env *env, bool cold, struct history_shared *ret_shared,
		  struct bench_result *result)
{
	struct history history = history_of(env, cold);
	glob_t files = { 0 };
	int rc = provide(env, &history);

	if (rc == 0 && cold) {
		rc = find_files(env, history.what, &files);
		if (rc == 0)
			rc = drop_from_cache(&files);
		globfree(&files);
	}
	if (rc != 0)
		return rc;
	/* Once before, so that it is warm. */
	if (!cold)
		rc = run_replay(env, &history, ret_shared);
	if (rc == 0)
		rc = run_replay(env, &history, ret_shared);
	bench_add_fact(result, "records", ret_shared->records);
	bench_add_fact(result, "from_disk", ret_shared->from_disk);
	return rc;
}

int bench_replay_cold(struct bench_env *env, struct bench_result *result)
{
	struct history_shared shared = { .ns = 1 };
	int rc = replay(env, true, &shared, result);

	result->value = shared.bytes * 1e9 / shared.ns;
	return rc;
}

int bench_replay_warm(struct bench_env *env, struct bench_result *result)
{
	struct history_shared shared = { .ns = 1 };
	int rc = replay(env, false, &shared, result);

	result->value = shared.records * 1e9 / shared.ns;
	return rc;
}
