/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long it takes until a record is acknowledged at a level, under a sync policy, by one
 * publisher that waits for each of its records or by many that do so together. A row's args are
 * the policy, the level and the number of publishers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench_clock.h"
#include "tools/bench_hist.h"
#include "tools/bench_stream.h"
#include "tools/tool.h"

enum {
	VALUE_LEN = 4096, /* as the raw append */
	WAITERS_MAX = 64,
	ARG_SYNC = 0,
	ARG_LEVEL = 1,
	ARG_WAITERS = 2,
};

#define INTERVAL_NS UINT64_C(10000000)

struct ack_waiter {
	double rate;
	struct bench_hist hist;
};

struct ack_shared {
	struct bench_hist sum;
	struct ack_waiter waiters[WAITERS_MAX];
};

static int publish_and_wait(struct bench_link *link, enum leat_ack level, struct ack_waiter *mine)
{
	uint64_t start = bench_clock_ticks(), last = start, now, n = 0;
	uint64_t end = start + bench_clock_from_ns(link->team->env->run_ns);
	static char value[VALUE_LEN];
	const struct leat_record record = { .value = value, .value_len = sizeof(value) };
	struct leat_result where;
	int rc;

	do {
		rc = leat_publish(link->publisher, &record, &where);
		if (rc == 0 && level != LEAT_ACK_RING)
			rc = leat_wait(link->publisher, where.shard, where.pos, level,
				       BENCH_STREAM_WAIT_NS);
		if (rc < 0)
			return bench_stream_fail(link, rc, "no acknowledgement");
		now = bench_clock_ticks();
		bench_hist_add(&mine->hist, now - last);
		last = now;
		n++;
	} while (now < end);
	mine->rate = (double)n * 1e9 / bench_clock_ns(now - start);
	return 0;
}

static int waiter(struct bench_team *team, int me, const void *context)
{
	const struct bench_workload *row = team->env->row;
	struct ack_shared *shared = team->shared;
	struct bench_link link;
	int rc;

	(void)context;
	rc = bench_stream_connect(&link, team, me);
	if (rc == 0)
		rc = bench_stream_publish_to(&link, "ack");
	if (rc == 0) {
		bench_team_ready(team, me);
		rc = publish_and_wait(&link, (enum leat_ack)row->args[ARG_LEVEL],
				      &shared->waiters[me]);
	}
	bench_stream_close(&link);
	return rc;
}

/* A single waiter's latency; of many, how many records a second they have acknowledged. */
static void take_result(struct ack_shared *shared, const struct bench_workload *row,
			struct bench_result *result)
{
	int i, n = row->args[ARG_WAITERS];
	double rate = 0;

	for (i = 0; i < n; i++) {
		bench_hist_merge(&shared->sum, &shared->waiters[i].hist);
		rate += shared->waiters[i].rate;
	}
	bench_hist_result(&shared->sum, result);
	if (row->kind == BENCH_LATENCY)
		return;
	bench_add_fact(result, "latency_ns", result->value);
	bench_add_fact(result, "latency_p99_ns", result->p99);
	result->value = rate;
}

int bench_ack(struct bench_env *env, struct bench_result *result)
{
	struct bench_member members[WAITERS_MAX];
	const struct bench_workload *row = env->row;
	struct leat_stream_options options;
	int i, rc, n = row->args[ARG_WAITERS];
	struct bench_team team;

	rc = bench_team_init(&team, env, sizeof(struct ack_shared));
	if (rc < 0)
		return rc;
	for (i = 0; i < n; i++)
		members[i] = (struct bench_member){
			.run = waiter,
			.cpu = n == 1 ? env->cpus[0] : -1,
		};
	leat_stream_options_init(&options);
	options.sync = (enum leat_sync)row->args[ARG_SYNC];
	if (options.sync == LEAT_SYNC_INTERVAL)
		options.sync_ns = INTERVAL_NS;
	rc = bench_stream_create(env, "ack", &options);
	if (rc == 0)
		rc = bench_team_run(&team, members, n, env->run_ns + BENCH_TEAM_WAIT_NS);
	if (rc == 0)
		take_result(team.shared, row, result);
	bench_stream_delete(env, "ack");
	bench_team_deinit(&team);
	return rc;
}
