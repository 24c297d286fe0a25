/* SPDX-License-Identifier: Apache-2.0 */
/*
 * leat to disk: how much it sustains, what that costs the daemon, and how long a publisher stands
 * still while the disk is nearly as busy as it can be.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench_clock.h"
#include "tools/bench_hist.h"
#include "tools/bench_proc.h"
#include "tools/bench_schedule.h"
#include "tools/bench_stream.h"
#include "tools/tool.h"

enum {
	DISK_VALUE_LEN = 1024,
	DISK_SPAN = 1024 + 32, /* of a record in the segment */
	/* What comes in 50 ms, as leat(1) advises: that long the disk can be busy syncing. */
	DISK_RING_LEN = 64 << 20,
	LOOK_STEP = 64,
	DIRTY_LOOK_MS = 20,
	ARG_SYNC = 0,
};

#define INTERVAL_NS UINT64_C(10000000)

struct store_setup {
	uint64_t len; /* bytes of values to publish at most */
	uint64_t run_ns;
};

struct store_shared {
	struct bench_cell done;
	struct bench_schedule schedule;
	double rate;
	double bytes;
	double dirty; /* at its highest, more than before */
	struct leat_publisher_stats stats;
	struct bench_hist hist;
};

static int open_store(struct bench_link *link, struct bench_team *team, int me)
{
	int rc = bench_stream_connect(link, team, me);

	if (rc == 0)
		rc = bench_stream_publish_to(link, "store");
	if (rc == 0)
		bench_team_ready(team, me);
	return rc;
}

static int make_durable(struct bench_link *link, struct store_shared *shared)
{
	int rc = leat_flush(link->publisher, LEAT_ACK_DURABLE, 6 * BENCH_STREAM_WAIT_NS);

	if (rc < 0)
		return bench_stream_fail(link, rc, "what was published does not become durable");
	shared->stats.size = sizeof(shared->stats);
	leat_publisher_statistics(link->publisher, &shared->stats);
	return 0;
}

/* As many bytes as the raw write; the end is when the last of them is on stable storage. */
static int publish_to_disk(struct bench_link *link, const struct store_setup *setup,
			   struct store_shared *shared)
{
	uint64_t start = bench_clock_ticks(), now = start, n = 0;
	uint64_t end = start + bench_clock_from_ns(setup->run_ns);
	char value[DISK_VALUE_LEN];
	const struct leat_record record = { .value = value, .value_len = sizeof(value) };
	int rc;

	memset(value, 'x', sizeof(value));
	while (n * DISK_VALUE_LEN < setup->len && now < end) {
		memcpy(value, &n, sizeof(n));
		rc = leat_publish(link->publisher, &record, NULL);
		if (rc < 0)
			return bench_stream_fail(link, rc, "cannot publish");
		n++;
		if (n % LOOK_STEP == 0)
			now = bench_clock_ticks();
	}
	rc = make_durable(link, shared);
	shared->bytes = (double)(n * DISK_VALUE_LEN);
	shared->rate = shared->bytes * 1e9 / bench_clock_ns(bench_clock_ticks() - start);
	return rc;
}

static int disk_member(struct bench_team *team, int me, const void *context)
{
	struct store_shared *shared = team->shared;
	struct bench_link link;
	int rc;

	rc = open_store(&link, team, me);
	if (rc == 0)
		rc = publish_to_disk(&link, context, shared);
	cell_store(&shared->done.value, 1);
	bench_stream_close(&link);
	return rc;
}

/* Every record when it is due; what counts is when the publish has returned. */
static int publish_when_due(struct bench_link *link, struct store_shared *shared)
{
	uint64_t due, now, i, warm = shared->schedule.n / 10;
	char value[DISK_VALUE_LEN];
	const struct leat_record record = { .value = value, .value_len = sizeof(value) };
	int rc;

	memset(value, 'x', sizeof(value));
	for (i = 0; i < shared->schedule.n; i++) {
		due = bench_schedule_due(&shared->schedule, i);
		while (bench_clock_ticks() < due)
			;
		memcpy(value, &i, sizeof(i));
		rc = leat_publish(link->publisher, &record, NULL);
		if (rc < 0)
			return bench_stream_fail(link, rc, "cannot publish");
		now = bench_clock_ticks();
		if (i >= warm)
			bench_hist_add(&shared->hist, bench_schedule_late(due, now));
	}
	return make_durable(link, shared);
}

static int load_member(struct bench_team *team, int me, const void *context)
{
	const struct store_setup *setup = context;
	struct store_shared *shared = team->shared;
	double rate = team->env->disk_rate * 0.8 / DISK_SPAN;
	struct bench_link link;
	int rc;

	rc = open_store(&link, team, me);
	if (rc == 0) {
		shared->schedule = bench_schedule_make(bench_clock_ticks(), rate, setup->run_ns);
		rc = publish_when_due(&link, shared);
	}
	cell_store(&shared->done.value, 1);
	bench_stream_close(&link);
	return rc;
}

/* Looks at how much waits to be written until the publisher has finished. */
static int dirty_member(struct bench_team *team, int me, const void *context)
{
	struct store_shared *shared = team->shared;
	double before = bench_proc_dirty(), dirty;

	(void)context;
	bench_team_ready(team, me);
	while (!cell_load(&shared->done.value)) {
		dirty = bench_proc_dirty() - before;
		if (dirty > shared->dirty)
			shared->dirty = dirty;
		poll(NULL, 0, DIRTY_LOOK_MS);
	}
	return 0;
}

static void add_facts(const struct store_shared *shared, double daemon_ns,
		      struct bench_result *result)
{
	bench_add_fact(result, "bytes", (double)shared->stats.bytes);
	bench_add_fact(result, "full_waits", (double)shared->stats.full_waits);
	bench_add_fact(result, "drain_kicks", (double)shared->stats.drain_kicks);
	bench_add_fact(result, "dirty_bytes", shared->dirty);
	if (shared->stats.bytes > 0)
		bench_add_fact(result, "daemon_seconds_per_gb",
			       daemon_ns / (double)shared->stats.bytes);
}

static int run_store(struct bench_env *env, struct bench_member *members, struct bench_team *team,
		     double *ret_daemon_ns)
{
	struct bench_proc before, after;
	struct leat_stream_options options;
	pid_t daemon;
	int rc;

	leat_stream_options_init(&options);
	options.sync = (enum leat_sync)env->row->args[ARG_SYNC];
	if (options.sync == LEAT_SYNC_INTERVAL)
		options.sync_ns = INTERVAL_NS;
	options.ring_len = DISK_RING_LEN;
	rc = bench_stream_create(env, "store", &options);
	if (rc == 0)
		rc = bench_proc_daemon(env, &daemon);
	if (rc == 0) {
		bench_proc_read(daemon, &before);
		rc = bench_team_run(team, members, 2, 12 * env->disk_ns + 8 * BENCH_STREAM_WAIT_NS);
		bench_proc_read(daemon, &after);
		*ret_daemon_ns = after.cpu_ns - before.cpu_ns;
	}
	bench_stream_delete(env, "store");
	return rc;
}

static int run_disk(struct bench_env *env, const struct store_setup *setup,
		    int (*run)(struct bench_team *, int, const void *), struct bench_result *result)
{
	struct bench_member members[] = {
		{ .run = run, .context = setup, .cpu = env->cpus[0] },
		{ .run = dirty_member, .cpu = -1 },
	};
	const struct store_shared *shared;
	struct bench_team team;
	double daemon_ns = 0;
	int rc;

	rc = bench_team_init(&team, env, sizeof(struct store_shared));
	if (rc < 0)
		return rc;
	shared = team.shared;
	rc = run_store(env, members, &team, &daemon_ns);
	if (rc == 0 && env->row->kind == BENCH_LATENCY)
		bench_hist_result(&shared->hist, result);
	else if (rc == 0 && env->row->kind == BENCH_TIME)
		result->value = daemon_ns * 1e9 / shared->bytes;
	else
		result->value = shared->rate;
	if (rc == 0)
		add_facts(shared, daemon_ns, result);
	bench_team_deinit(&team);
	return rc;
}

int bench_store_disk(struct bench_env *env, struct bench_result *result)
{
	const struct store_setup setup = { .len = env->disk_len, .run_ns = env->disk_ns };

	return run_disk(env, &setup, disk_member, result);
}

int bench_store_disk_long(struct bench_env *env, struct bench_result *result)
{
	const struct store_setup setup = {
		.len = env->disk_long_len,
		.run_ns = env->disk_long_ns,
	};

	return run_disk(env, &setup, disk_member, result);
}

int bench_store_load(struct bench_env *env, struct bench_result *result)
{
	struct store_setup setup = { 0 };
	int rc = bench_disk_rate(env);

	if (rc < 0)
		return rc;
	setup.run_ns = bench_disk_load_ns(env, env->row->args[BENCH_ARG_LONG]);
	return run_disk(env, &setup, load_member, result);
}
