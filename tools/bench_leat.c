/* SPDX-License-Identifier: Apache-2.0 */
/*
 * leat from process to process through memory: round trips. Each answer is checked, so that a
 * wrong result is never a fast one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench_clock.h"
#include "tools/bench_hist.h"
#include "tools/bench_stream.h"
#include "tools/tool.h"

static const uint64_t last_word = UINT64_MAX;

struct round_trip {
	uint64_t spin_ns;
	bool view; /* leat_view(), which copies nothing */
	bool free; /* not pinned: where it runs is the scheduler's choice */
};

static void init_record(struct leat_record *record, const void *value)
{
	*record = (struct leat_record){
		.value = value,
		.value_len = BENCH_VALUE_LEN,
		.shard = 0,
	};
}

static int next_message(struct bench_link *link, bool view, struct leat_message *ret_message)
{
	int rc;

	do {
		if (view)
			rc = leat_view(link->subscriber, BENCH_STREAM_WAIT_NS, ret_message);
		else
			rc = leat_next(link->subscriber, BENCH_STREAM_WAIT_NS, ret_message);
	} while (rc == -EINTR);
	return rc;
}

/* The word at the start of the next message; negative errno when there is none. */
static int next_word(struct bench_link *link, bool view, uint64_t *ret_word)
{
	struct leat_message message;
	char value[BENCH_VALUE_LEN];
	int rc;

	do {
		rc = next_message(link, view, &message);
		if (rc <= 0)
			return bench_stream_fail(link, rc < 0 ? rc : -ENODATA, "no message");
		if (message.kind != LEAT_RECORD || message.value_len != BENCH_VALUE_LEN)
			return bench_team_fail(link->team, link->me, -EBADMSG,
					       "not the record awaited");
		/* All of it, as at the floor: the end of a record may lie on another line. */
		memcpy(value, message.value, sizeof(value));
		__asm__ __volatile__("" : : "r"(value) : "memory");
		/* What was read in place counts only if it still stood there afterwards. */
	} while (view && leat_view_valid(link->subscriber, &message) != 1);
	memcpy(ret_word, value, sizeof(*ret_word));
	return 0;
}

static int send_word(struct bench_link *link, uint64_t word)
{
	char value[BENCH_VALUE_LEN] = { 0 };
	struct leat_record record;
	int rc;

	memcpy(value, &word, sizeof(word));
	init_record(&record, value);
	rc = leat_publish(link->publisher, &record, NULL);
	return rc < 0 ? bench_stream_fail(link, rc, "cannot publish") : 0;
}

/* As at the floors, the clock is read while the record is on its way. */
static int exchange_words(struct bench_link *link, bool view, struct bench_laps *laps)
{
	uint64_t start = bench_clock_ticks(), run_ns = link->team->env->run_ns;
	uint64_t end = start + bench_clock_from_ns(run_ns), word, i;
	int rc;

	laps->warm = start + bench_clock_from_ns(run_ns / 10);
	for (i = 1; laps->last < end; i++) {
		rc = send_word(link, i);
		if (rc < 0)
			return rc;
		bench_hist_lap(laps, bench_clock_ticks());
		rc = next_word(link, view, &word);
		if (rc < 0)
			return rc;
		if (word != i)
			return bench_team_fail(link->team, link->me, -EBADMSG, "a wrong answer");
	}
	return send_word(link, last_word);
}

static int ping(struct bench_team *team, int me, const void *context)
{
	const struct round_trip *setup = context;
	struct bench_link link;
	int rc;

	rc = bench_stream_connect(&link, team, me);
	if (rc == 0)
		rc = bench_stream_publish_to(&link, "there");
	if (rc == 0)
		rc = bench_stream_subscribe_to(&link, "back", setup->spin_ns);
	if (rc == 0) {
		bench_team_ready(team, me);
		rc = exchange_words(&link, setup->view, team->shared);
	}
	bench_stream_close(&link);
	return rc;
}

static int answer_words(struct bench_link *link, bool view)
{
	uint64_t word;
	int rc;

	for (;;) {
		rc = next_word(link, view, &word);
		if (rc < 0 || word == last_word)
			return rc;
		rc = send_word(link, word);
		if (rc < 0)
			return rc;
	}
}

static int pong(struct bench_team *team, int me, const void *context)
{
	const struct round_trip *setup = context;
	struct bench_link link;
	int rc;

	rc = bench_stream_connect(&link, team, me);
	if (rc == 0)
		rc = bench_stream_publish_to(&link, "back");
	if (rc == 0)
		rc = bench_stream_subscribe_to(&link, "there", setup->spin_ns);
	if (rc == 0) {
		bench_team_ready(team, me);
		rc = answer_words(&link, setup->view);
	}
	bench_stream_close(&link);
	return rc;
}

static int round_trip(struct bench_env *env, const struct round_trip *setup,
		      struct bench_result *result)
{
	const struct bench_member members[] = {
		{ .run = ping, .context = setup, .cpu = setup->free ? -1 : env->cpus[0] },
		{ .run = pong, .context = setup, .cpu = setup->free ? -1 : env->cpus[1] },
	};
	struct leat_stream_options options;
	struct bench_team team;
	int rc;

	rc = bench_team_init(&team, env, sizeof(struct bench_laps));
	if (rc < 0)
		return rc;
	bench_stream_memory(&options);
	rc = bench_stream_create(env, "there", &options);
	if (rc == 0)
		rc = bench_stream_create(env, "back", &options);
	if (rc == 0)
		rc = bench_team_run(&team, members, 2, env->run_ns + BENCH_TEAM_WAIT_NS);
	if (rc == 0)
		bench_hist_laps_result(team.shared, result);
	bench_stream_delete(env, "there");
	bench_stream_delete(env, "back");
	bench_team_deinit(&team);
	return rc;
}

int bench_leat_round_trip(struct bench_env *env, struct bench_result *result)
{
	return round_trip(env, &(struct round_trip){ .spin_ns = LEAT_FOREVER }, result);
}

int bench_leat_round_trip_view(struct bench_env *env, struct bench_result *result)
{
	return round_trip(env, &(struct round_trip){ .spin_ns = LEAT_FOREVER, .view = true },
			  result);
}

int bench_leat_round_trip_sleep(struct bench_env *env, struct bench_result *result)
{
	return round_trip(env, &(struct round_trip){ .spin_ns = 0 }, result);
}

int bench_leat_round_trip_free(struct bench_env *env, struct bench_result *result)
{
	return round_trip(env, &(struct round_trip){ .spin_ns = 0, .free = true }, result);
}
