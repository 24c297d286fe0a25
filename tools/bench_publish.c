/* SPDX-License-Identifier: Apache-2.0 */
/* leat's publisher alone: what a publish costs its caller, and whether it enters the kernel. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "tools/bench_clock.h"
#include "tools/bench_kernel.h"
#include "tools/bench_stream.h"
#include "tools/tool.h"

enum {
	LOOK_STEP = 256,       /* records between two looks at the clock */
	WATCHED_GROUPS = 1000, /* of records, with a pause after each */
	WATCHED_GROUP = 1000,
	WATCHED_GROUPS_QUICK = 100,
};

struct publish_shared {
	double rate;
	double entries; /* in a million records; -1 = this kernel does not count them */
	struct leat_publisher_stats stats;
};

static int open_alone(struct bench_link *link, struct bench_team *team, int me)
{
	int rc = bench_stream_connect(link, team, me);

	if (rc == 0)
		rc = bench_stream_publish_to(link, "alone");
	if (rc == 0)
		bench_team_ready(team, me);
	return rc;
}

static void keep_statistics(struct bench_link *link, struct publish_shared *shared)
{
	shared->stats.size = sizeof(shared->stats);
	leat_publisher_statistics(link->publisher, &shared->stats);
}

static int publish_flat_out(struct bench_link *link, struct publish_shared *shared)
{
	uint64_t start = bench_clock_ticks(), now = start, n;
	uint64_t end = start + bench_clock_from_ns(link->team->env->run_ns);
	char value[BENCH_VALUE_LEN] = { 0 };
	const struct leat_record record = { .value = value, .value_len = sizeof(value) };
	int rc;

	for (n = 1; now < end; n++) {
		memcpy(value, &n, sizeof(n));
		rc = leat_publish(link->publisher, &record, NULL);
		if (rc < 0)
			return bench_stream_fail(link, rc, "cannot publish");
		if (n % LOOK_STEP == 0)
			now = bench_clock_ticks();
	}
	shared->rate = (double)n * 1e9 / bench_clock_ns(now - start);
	keep_statistics(link, shared);
	return 0;
}

static int publish_alone(struct bench_team *team, int me, const void *context)
{
	struct bench_link link;
	int rc;

	(void)context;
	rc = open_alone(&link, team, me);
	if (rc == 0)
		rc = publish_flat_out(&link, team->shared);
	bench_stream_close(&link);
	return rc;
}

/* Groups with a pause between them, so that the drain gets to sleep and has to be woken. */
static int publish_watched(struct bench_link *link, struct publish_shared *shared)
{
	int groups = link->team->env->quick ? WATCHED_GROUPS_QUICK : WATCHED_GROUPS, i, j, rc;
	char value[BENCH_VALUE_LEN] = { 0 };
	const struct leat_record record = { .value = value, .value_len = sizeof(value) };
	int watched = bench_kernel_init();

	for (i = 0; i < groups; i++) {
		for (j = 0; j < WATCHED_GROUP; j++) {
			bench_kernel_watch(1);
			rc = leat_publish(link->publisher, &record, NULL);
			bench_kernel_watch(0);
			if (rc < 0)
				return bench_stream_fail(link, rc, "cannot publish");
		}
		poll(NULL, 0, 1);
	}
	keep_statistics(link, shared);
	shared->entries = -1;
	if (watched == 0)
		shared->entries = (double)bench_kernel_entries() * 1e6 / (groups * WATCHED_GROUP);
	return 0;
}

static int publish_kernel_entries(struct bench_team *team, int me, const void *context)
{
	struct bench_link link;
	int rc;

	(void)context;
	rc = open_alone(&link, team, me);
	if (rc == 0)
		rc = publish_watched(&link, team->shared);
	bench_stream_close(&link);
	return rc;
}

static int run_alone(struct bench_env *env, const struct bench_member *member,
		     struct publish_shared *ret_shared, struct bench_result *result)
{
	struct leat_stream_options options;
	struct bench_team team;
	int rc;

	rc = bench_team_init(&team, env, sizeof(struct publish_shared));
	if (rc < 0)
		return rc;
	bench_stream_memory(&options);
	rc = bench_stream_create(env, "alone", &options);
	if (rc == 0)
		rc = bench_team_run(&team, member, 1, env->run_ns + BENCH_TEAM_WAIT_NS);
	memcpy(ret_shared, team.shared, sizeof(*ret_shared));
	bench_add_fact(result, "full_waits", (double)ret_shared->stats.full_waits);
	bench_add_fact(result, "drain_kicks", (double)ret_shared->stats.drain_kicks);
	bench_add_fact(result, "wakes", (double)ret_shared->stats.wakes);
	bench_stream_delete(env, "alone");
	bench_team_deinit(&team);
	return rc;
}

int bench_publish_alone(struct bench_env *env, struct bench_result *result)
{
	const struct bench_member member = { .run = publish_alone, .cpu = env->cpus[0] };
	struct publish_shared shared;
	int rc = run_alone(env, &member, &shared, result);

	result->value = shared.rate;
	return rc;
}

/* Where the kernel does not count, the library's own counters have to do. */
int bench_publish_kernel_entries(struct bench_env *env, struct bench_result *result)
{
	const struct bench_member member = { .run = publish_kernel_entries, .cpu = env->cpus[0] };
	const struct leat_publisher_stats *stats;
	struct publish_shared shared;
	int rc = run_alone(env, &member, &shared, result);

	stats = &shared.stats;
	bench_add_fact(result, "counted_by_kernel", shared.entries >= 0);
	result->value = shared.entries;
	if (shared.entries < 0 && stats->records > 0)
		result->value = (double)(stats->full_waits + stats->drain_kicks + stats->wakes) *
				1e6 / (double)stats->records;
	return rc;
}
