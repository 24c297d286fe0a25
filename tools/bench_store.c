/* SPDX-License-Identifier: Apache-2.0 */
/* leat to disk: how much it sustains, and how long one record takes until it is durable. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench_clock.h"
#include "tools/bench_hist.h"
#include "tools/bench_stream.h"
#include "tools/tool.h"

enum {
	DISK_VALUE_LEN = 1024,
	ACK_VALUE_LEN = 4096,
	LOOK_STEP = 64,
};

struct store_shared {
	double rate;
	double bytes;
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

/* As many bytes as the raw write; the end is when the last of them is on stable storage. */
static int publish_to_disk(struct bench_link *link, struct store_shared *shared)
{
	const struct bench_env *env = link->team->env;
	uint64_t start = bench_clock_ticks(), now = start, n = 0;
	uint64_t end = start + bench_clock_from_ns(env->disk_ns);
	char value[DISK_VALUE_LEN];
	const struct leat_record record = { .value = value, .value_len = sizeof(value) };
	int rc;

	memset(value, 'x', sizeof(value));
	while (n * DISK_VALUE_LEN < env->disk_len && now < end) {
		memcpy(value, &n, sizeof(n));
		rc = leat_publish(link->publisher, &record, NULL);
		if (rc < 0)
			return bench_stream_fail(link, rc, "cannot publish");
		n++;
		if (n % LOOK_STEP == 0)
			now = bench_clock_ticks();
	}
	rc = leat_flush(link->publisher, LEAT_ACK_DURABLE, 6 * BENCH_STREAM_WAIT_NS);
	if (rc < 0)
		return bench_stream_fail(link, rc, "what was published does not become durable");
	shared->bytes = (double)(n * DISK_VALUE_LEN);
	shared->rate = shared->bytes * 1e9 / bench_clock_ns(bench_clock_ticks() - start);
	shared->stats.size = sizeof(shared->stats);
	leat_publisher_statistics(link->publisher, &shared->stats);
	return 0;
}

static int disk_member(struct bench_team *team, int me, const void *context)
{
	struct bench_link link;
	int rc;

	(void)context;
	rc = open_store(&link, team, me);
	if (rc == 0)
		rc = publish_to_disk(&link, team->shared);
	bench_stream_close(&link);
	return rc;
}

static int publish_and_wait(struct bench_link *link, struct store_shared *shared)
{
	uint64_t last = bench_clock_ticks(), now;
	uint64_t end = last + bench_clock_from_ns(link->team->env->run_ns);
	static char value[ACK_VALUE_LEN];
	const struct leat_record record = { .value = value, .value_len = sizeof(value) };
	struct leat_result where;
	int rc;

	do {
		rc = leat_publish(link->publisher, &record, &where);
		if (rc == 0)
			rc = leat_wait(link->publisher, where.shard, where.pos, LEAT_ACK_DURABLE,
				       BENCH_STREAM_WAIT_NS);
		if (rc < 0)
			return bench_stream_fail(link, rc, "no acknowledgement");
		now = bench_clock_ticks();
		bench_hist_add(&shared->hist, now - last);
		last = now;
	} while (now < end);
	return 0;
}

static int ack_member(struct bench_team *team, int me, const void *context)
{
	struct bench_link link;
	int rc;

	(void)context;
	rc = open_store(&link, team, me);
	if (rc == 0)
		rc = publish_and_wait(&link, team->shared);
	bench_stream_close(&link);
	return rc;
}

static int run_store(struct bench_env *env, const struct bench_member *member, enum leat_sync sync,
		     struct bench_result *result)
{
	const struct store_shared *shared;
	struct leat_stream_options options;
	struct bench_team team;
	int rc;

	rc = bench_team_init(&team, env, sizeof(struct store_shared));
	if (rc < 0)
		return rc;
	shared = team.shared;
	leat_stream_options_init(&options);
	options.sync = sync;
	rc = bench_stream_create(env, "store", &options);
	if (rc == 0)
		rc = bench_team_run(&team, member, 1, env->disk_ns + 8 * BENCH_STREAM_WAIT_NS);
	if (shared->hist.n > 0) {
		bench_hist_result(&shared->hist, result);
	} else {
		result->value = shared->rate;
		bench_add_fact(result, "bytes", shared->bytes);
		bench_add_fact(result, "full_waits", (double)shared->stats.full_waits);
		bench_add_fact(result, "drain_kicks", (double)shared->stats.drain_kicks);
	}
	bench_stream_delete(env, "store");
	bench_team_deinit(&team);
	return rc;
}

int bench_store_disk(struct bench_env *env, struct bench_result *result)
{
	const struct bench_member member = { .run = disk_member, .cpu = env->cpus[0] };

	return run_store(env, &member, LEAT_SYNC_ALWAYS, result);
}

int bench_store_disk_unsynced(struct bench_env *env, struct bench_result *result)
{
	const struct bench_member member = { .run = disk_member, .cpu = env->cpus[0] };

	return run_store(env, &member, LEAT_SYNC_NONE, result);
}

int bench_store_ack(struct bench_env *env, struct bench_result *result)
{
	const struct bench_member member = { .run = ack_member, .cpu = env->cpus[0] };

	return run_store(env, &member, LEAT_SYNC_ALWAYS, result);
}
