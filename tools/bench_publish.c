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
	SLEEPERS_MAX = 64,
	POLL_MAX = 1024,
};

struct publish_shared {
	double rate;
	double entries; /* in a million records; -1 = this kernel does not count them */
	struct leat_publisher_stats stats;
};

static const uint64_t last_word = UINT64_MAX;

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
	memcpy(value, &last_word, sizeof(last_word));
	rc = leat_publish(link->publisher, &record, NULL);
	if (rc < 0)
		return bench_stream_fail(link, rc, "cannot publish");
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

static int note_end(void *context, const struct leat_message *message)
{
	bool *ended = context;
	uint64_t word = 0;

	if (message->kind == LEAT_RECORD)
		memcpy(&word, message->value, sizeof(word));
	*ended = word == last_word;
	return *ended;
}

/* Takes what is there and sleeps again at once. */
static int sleep_between(struct bench_team *team, int me, const void *context)
{
	struct bench_link link;
	bool ended = false;
	int rc;

	(void)context;
	rc = bench_stream_connect(&link, team, me);
	if (rc == 0)
		rc = bench_stream_subscribe_to(&link, "alone", 0);
	if (rc == 0)
		bench_team_ready(team, me);
	while (rc >= 0 && !ended) {
		rc = leat_poll(link.subscriber, note_end, &ended, POLL_MAX, BENCH_STREAM_WAIT_NS);
		if (rc == -EINTR)
			rc = 0;
		if (rc < 0)
			rc = bench_stream_fail(&link, rc, "cannot receive");
	}
	bench_stream_close(&link);
	return rc < 0 ? rc : 0;
}

/* The publisher, and as many who sleep as the row's x says. */
static int run_alone(struct bench_env *env, int (*publish)(struct bench_team *, int, const void *),
		     struct publish_shared *ret_shared, struct bench_result *result)
{
	struct bench_member members[1 + SLEEPERS_MAX] = {
		{ .run = publish, .cpu = env->cpus[0] },
	};
	int i, rc, n = (int)env->row->x;
	struct leat_stream_options options;
	struct bench_team team;

	rc = bench_team_init(&team, env, sizeof(struct publish_shared));
	if (rc < 0)
		return rc;
	for (i = 1; i <= n; i++)
		members[i] = (struct bench_member){ .run = sleep_between, .cpu = -1 };
	bench_stream_memory(&options);
	rc = bench_stream_create(env, "alone", &options);
	if (rc == 0)
		rc = bench_team_run(&team, members, 1 + n, env->run_ns + BENCH_TEAM_WAIT_NS);
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
	struct publish_shared shared;
	int rc = run_alone(env, publish_alone, &shared, result);

	result->value = shared.rate;
	return rc;
}

/* Where the kernel does not count, the library's own counters have to do. */
int bench_publish_kernel_entries(struct bench_env *env, struct bench_result *result)
{
	const struct leat_publisher_stats *stats;
	struct publish_shared shared;
	int rc = run_alone(env, publish_kernel_entries, &shared, result);

	stats = &shared.stats;
	bench_add_fact(result, "counted_by_kernel", shared.entries >= 0);
	result->value = shared.entries;
	if (shared.entries < 0 && stats->records > 0)
		result->value = (double)(stats->full_waits + stats->drain_kicks + stats->wakes) *
				1e6 / (double)stats->records;
	return rc;
}
