/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From kill -9 of the daemon until it serves again, with so many segments on disk: under --keep,
 * where the keeper starts it anew, and by hand. The bus is one of its own, in a directory that is
 * filled once through the real store. A row's args are the segments and whether there is a keeper.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tools/bench_clock.h"
#include "tools/bench_daemon.h"
#include "tools/bench_proc.h"
#include "tools/bench_server.h"
#include "tools/bench_stream.h"
#include "tools/tool.h"

enum {
	ARG_SEGMENTS = 0,
	ARG_KEEP = 1,
	RING_LEN = 64 << 10,
	SEGMENT_LEN = 80 << 10, /* the least that such a ring allows */
	VALUE_LEN = 15 << 10,
	PER_SEGMENT = 5,
	LOOK_NS = 100 * 1000,
};

#define SERVE_NS (20 * UINT64_C(1000000000))

static int fill(struct bench_team *team, int me, const void *context)
{
	static char value[VALUE_LEN];
	const struct leat_record record = { .value = value, .value_len = sizeof(value) };
	int i, n = team->env->row->args[ARG_SEGMENTS] * PER_SEGMENT, rc;
	struct bench_link link;

	(void)context;
	rc = bench_stream_connect(&link, team, me);
	if (rc == 0)
		rc = bench_stream_publish_to(&link, "kept");
	for (i = 0; rc == 0 && i < n; i++) {
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
	return rc;
}

static int make_segments(struct bench_env *own)
{
	const struct bench_member member = { .run = fill, .cpu = -1 };
	struct leat_stream_options options;
	struct bench_team team;
	int rc = bench_team_init(&team, own, 0);

	if (rc < 0)
		return rc;
	leat_stream_options_init(&options);
	options.ring_len = RING_LEN;
	options.segment_len = SEGMENT_LEN;
	options.sync = LEAT_SYNC_NONE;
	rc = bench_stream_create(own, "kept", &options);
	if (rc == 0)
		rc = bench_team_run(&team, &member, 1, 12 * BENCH_STREAM_WAIT_NS);
	bench_team_deinit(&team);
	return rc;
}

/* Serves: answers a request about the stream that is on its disk. */
static bool serves(struct bench_env *own)
{
	return bench_stream_exists(own, "kept") == 1;
}

static int await_service(struct bench_env *own)
{
	const struct timespec look = { .tv_nsec = LOOK_NS };
	uint64_t deadline = tool_monotonic_ns() + SERVE_NS;

	while (!serves(own)) {
		if (tool_stopping())
			return -EINTR;
		if (tool_monotonic_ns() > deadline) {
			snprintf(own->error, sizeof(own->error), "leatd does not serve again");
			return -ETIMEDOUT;
		}
		nanosleep(&look, NULL);
	}
	return 0;
}

/* The keeper begins by itself; by hand, what is left of the old one is cleared away first. */
static int kill_and_wait(struct bench_env *own, bool keep, struct bench_server **daemon,
			 double *ret_ns)
{
	int rc, status;
	uint64_t start;
	pid_t pid;

	rc = bench_proc_daemon(own, &pid);

	if (rc < 0)
		return rc;
	start = bench_clock_ticks();
	kill(pid, SIGKILL);
	if (!keep) {
		rc = bench_server_wait(own, *daemon, SERVE_NS, &status);
		*daemon = bench_server_stop(*daemon);
		if (rc == 0)
			rc = bench_daemon_launch(own, false, daemon);
	}
	if (rc == 0)
		rc = await_service(own);
	*ret_ns = bench_clock_ns(bench_clock_ticks() - start);
	return rc;
}

/* A bus in a directory of its own, below the bench's, which later rows use again. */
static int provide(struct bench_env *own, bool keep, struct bench_server **ret_daemon)
{
	bool there = mkdir(own->dir, 0700) < 0 && errno == EEXIST;
	int rc = bench_daemon_launch(own, keep, ret_daemon);

	if (rc == 0)
		rc = bench_daemon_await(own, *ret_daemon);
	if (rc == 0 && !there)
		rc = make_segments(own);
	if (rc < 0 && !there)
		bench_daemon_remove_tree(own->dir);
	return rc;
}

int bench_restart(struct bench_env *env, struct bench_result *result)
{
	bool keep = env->row->args[ARG_KEEP];
	struct bench_server *daemon = NULL;
	struct bench_env own = *env;
	int rc;

	snprintf(own.dir, sizeof(own.dir), "%.200s/r%d", env->dir, env->row->args[ARG_SEGMENTS]);
	rc = provide(&own, keep, &daemon);
	if (rc == 0)
		rc = kill_and_wait(&own, keep, &daemon, &result->value);
	bench_server_stop(daemon);
	if (rc < 0)
		memcpy(env->error, own.error, sizeof(env->error));
	return rc;
}

/* A program that is started, says its version and ends: less than that no start can take. */
int bench_restart_exec(struct bench_env *env, struct bench_result *result)
{
	struct bench_server *server = NULL;
	uint64_t start = bench_clock_ticks();
	int rc = bench_daemon_version(env, &server), status = 0;

	if (rc == 0)
		rc = bench_server_wait(env, server, SERVE_NS, &status);
	result->value = bench_clock_ns(bench_clock_ticks() - start);
	bench_server_stop(server);
	if (rc == 0 && status != 0) {
		snprintf(env->error, sizeof(env->error), "leatd --version ends with %d", status);
		return -ENOEXEC;
	}
	return rc;
}
