/* SPDX-License-Identifier: Apache-2.0 */
/*
 * leat from process to process through memory: round trips and rates. Each subscriber checks
 * that every record comes once and in order, so that a wrong result is never a fast one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench_clock.h"
#include "tools/bench_hist.h"
#include "tools/bench_stream.h"
#include "tools/tool.h"

enum {
	SUBSCRIBERS_MAX = 4,
	MANY = 64,         /* records of one leat_publish_many() */
	POLL_MAX = 1024,   /* messages of one leat_poll() */
	CREDIT_STEP = 256, /* records between two looks at how far the subscribers are */
	DEFAULT_SPIN_NS = 20 * 1000,
};

/* A quarter of the ring: a subscriber that stays within it is never overtaken. */
#define WINDOW (BENCH_STREAM_RING_LEN / 4 / BENCH_STREAM_SPAN)

static const uint64_t last_word = UINT64_MAX;

/* ---- round trips ---- */

struct round_trip {
	uint64_t spin_ns;
	bool view; /* leat_view(), which copies nothing */
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

static void memory_options(struct leat_stream_options *options)
{
	leat_stream_options_init(options);
	options->memory = 1;
	options->ring_len = BENCH_STREAM_RING_LEN;
}

static int round_trip(struct bench_env *env, const struct round_trip *setup,
		      struct bench_result *result)
{
	const struct bench_member members[] = {
		{ .run = ping, .context = setup, .cpu = env->cpus[0] },
		{ .run = pong, .context = setup, .cpu = env->cpus[1] },
	};
	struct leat_stream_options options;
	struct bench_team team;
	int rc;

	rc = bench_team_init(&team, env, sizeof(struct bench_laps));
	if (rc < 0)
		return rc;
	memory_options(&options);
	rc = bench_stream_create(env, "there", &options);
	if (rc == 0)
		rc = bench_stream_create(env, "back", &options);
	if (rc == 0)
		rc = bench_team_run(&team, members, 2, env->run_ns + 2 * BENCH_STREAM_WAIT_NS);
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

/* ---- rates ---- */

struct rate_setup {
	int n_subscribers;
	bool many;
};

/* What a subscriber says of itself, on lines that only it writes. */
struct rate_line {
	struct bench_cell received;
	double rate;
	double lost;
	double sleeps;
} __attribute__((aligned(CELL_LEN)));

struct rate_shared {
	struct rate_line lines[SUBSCRIBERS_MAX];
	struct leat_publisher_stats stats;
	double publish_ns; /* of the publisher for each record, waiting for subscribers included */
};

struct batch {
	char values[MANY][BENCH_VALUE_LEN];
	struct leat_record records[MANY];
	struct leat_result results[MANY];
};

static void wait_for_subscribers(struct rate_shared *shared, int n, uint64_t sent)
{
	uint32_t looks = 0;
	int i;

	for (i = 0; i < n; i++) {
		while (sent > cell_load(&shared->lines[i].received.value) + WINDOW) {
			if (++looks % CELL_PATIENCE == 0)
				sched_yield();
		}
	}
}

/* Publishes the words first .. first + n - 1, in one call or in n. */
static int publish_words(struct bench_link *link, struct batch *batch, uint64_t first, int n,
			 bool many)
{
	int i, rc = 0;

	if (!many) {
		for (i = 0; i < n && rc == 0; i++) {
			memcpy(batch->values[0], &first, sizeof(first));
			first++;
			rc = leat_publish(link->publisher, &batch->records[0], NULL);
		}
		return rc < 0 ? bench_stream_fail(link, rc, "cannot publish") : 0;
	}
	for (i = 0; i < n; i++, first++)
		memcpy(batch->values[i], &first, sizeof(first));
	rc = leat_publish_many(link->publisher, batch->records, (size_t)n, batch->results);
	return rc == n ? 0
		       : bench_stream_fail(link, rc < 0 ? rc : batch->results[rc].error,
					   "cannot publish all");
}

static int publish_for_a_while(struct bench_link *link, const struct rate_setup *setup)
{
	uint64_t start = bench_clock_ticks(), now = start, sent = 0;
	uint64_t end = start + bench_clock_from_ns(link->team->env->run_ns);
	struct rate_shared *shared = link->team->shared;
	static struct batch batch;
	int i, rc;

	for (i = 0; i < MANY; i++)
		init_record(&batch.records[i], batch.values[i]);
	while (now < end) {
		rc = publish_words(link, &batch, sent, MANY, setup->many);
		if (rc < 0)
			return rc;
		sent += MANY;
		if (sent % CREDIT_STEP != 0)
			continue;
		wait_for_subscribers(shared, setup->n_subscribers, sent);
		now = bench_clock_ticks();
	}
	shared->publish_ns = bench_clock_ns(now - start) / (double)sent;
	shared->stats.size = sizeof(shared->stats);
	leat_publisher_statistics(link->publisher, &shared->stats);
	return send_word(link, last_word);
}

static int rate_publisher(struct bench_team *team, int me, const void *context)
{
	struct bench_link link;
	int rc;

	rc = bench_stream_connect(&link, team, me);
	if (rc == 0)
		rc = bench_stream_publish_to(&link, "rate");
	if (rc == 0) {
		bench_team_ready(team, me);
		rc = publish_for_a_while(&link, context);
	}
	bench_stream_close(&link);
	return rc;
}

struct receiver {
	uint64_t next; /* the word that has to come next */
	uint64_t lost;
	bool after_gap;
	bool wrong;
	bool done;
};

static int receive(void *context, const struct leat_message *message)
{
	struct receiver *receiver = context;
	uint64_t word;

	if (message->kind == LEAT_GAP) {
		receiver->after_gap = true;
		return 0;
	}
	memcpy(&word, message->value, sizeof(word));
	if (word == receiver->next) {
		receiver->next++;
		return 0;
	}
	if (word == last_word) {
		receiver->done = true;
		return 1;
	}
	if (!receiver->after_gap || word < receiver->next) {
		receiver->wrong = true;
		return 1;
	}
	receiver->lost += word - receiver->next;
	receiver->next = word + 1;
	receiver->after_gap = false;
	return 0;
}

static int receive_until_the_end(struct bench_link *link, struct rate_line *line)
{
	uint64_t start = bench_clock_ticks(), now = start, from = 0;
	uint64_t warm = start + bench_clock_from_ns(link->team->env->run_ns / 10);
	struct leat_subscriber_stats stats = { .size = sizeof(stats) };
	struct receiver receiver = { 0 };
	int rc;

	while (!receiver.done) {
		rc = leat_poll(link->subscriber, receive, &receiver, POLL_MAX,
			       BENCH_STREAM_WAIT_NS);
		if (rc < 0 && rc != -EINTR)
			return bench_stream_fail(link, rc, "cannot receive");
		if (receiver.wrong)
			return bench_team_fail(link->team, link->me, -EBADMSG,
					       "a record is missing, double or out of order");
		now = bench_clock_ticks();
		if (from == 0 && now > warm) {
			from = receiver.next;
			start = now;
		}
		cell_store(&line->received.value, receiver.next);
	}
	line->rate = (double)(receiver.next - from) * 1e9 / bench_clock_ns(now - start);
	line->lost = (double)receiver.lost;
	leat_subscriber_statistics(link->subscriber, &stats);
	line->sleeps = (double)stats.sleeps;
	return 0;
}

/* Member 0 publishes, so that subscriber n has line n - 1. */
static int rate_subscriber(struct bench_team *team, int me, const void *context)
{
	struct rate_shared *shared = team->shared;
	struct bench_link link;
	int rc;

	(void)context;
	rc = bench_stream_connect(&link, team, me);
	if (rc == 0)
		rc = bench_stream_subscribe_to(&link, "rate", DEFAULT_SPIN_NS);
	if (rc == 0) {
		bench_team_ready(team, me);
		rc = receive_until_the_end(&link, &shared->lines[me - 1]);
	}
	bench_stream_close(&link);
	return rc;
}

/* The slowest subscriber's rate is the one that all of them had. */
static void take_rate(const struct rate_shared *shared, int n_subscribers,
		      struct bench_result *result)
{
	double lost = 0, sleeps = 0;
	int i;

	result->value = shared->lines[0].rate;
	for (i = 0; i < n_subscribers; i++) {
		if (shared->lines[i].rate < result->value)
			result->value = shared->lines[i].rate;
		lost += shared->lines[i].lost;
		sleeps += shared->lines[i].sleeps;
	}
	bench_add_fact(result, "publish_ns", shared->publish_ns);
	bench_add_fact(result, "lost", lost);
	bench_add_fact(result, "sleeps", sleeps);
	bench_add_fact(result, "full_waits", (double)shared->stats.full_waits);
	bench_add_fact(result, "drain_kicks", (double)shared->stats.drain_kicks);
	bench_add_fact(result, "wakes", (double)shared->stats.wakes);
}

static int rate(struct bench_env *env, const struct rate_setup *setup, struct bench_result *result)
{
	struct bench_member members[1 + SUBSCRIBERS_MAX];
	struct leat_stream_options options;
	struct bench_team team;
	int i, rc;

	rc = bench_team_init(&team, env, sizeof(struct rate_shared));
	if (rc < 0)
		return rc;
	members[0] = (struct bench_member){ .run = rate_publisher, .context = setup };
	members[0].cpu = env->cpus[0];
	for (i = 1; i <= setup->n_subscribers; i++)
		members[i] = (struct bench_member){ .run = rate_subscriber, .cpu = -1 };
	/* One has a processor of its own; several find theirs themselves. */
	if (setup->n_subscribers == 1)
		members[1].cpu = env->cpus[1];
	memory_options(&options);
	rc = bench_stream_create(env, "rate", &options);
	if (rc == 0)
		rc = bench_team_run(&team, members, 1 + setup->n_subscribers,
				    env->run_ns + 2 * BENCH_STREAM_WAIT_NS);
	if (rc == 0)
		take_rate(team.shared, setup->n_subscribers, result);
	bench_stream_delete(env, "rate");
	bench_team_deinit(&team);
	return rc;
}

int bench_leat_rate(struct bench_env *env, struct bench_result *result)
{
	return rate(env, &(struct rate_setup){ .n_subscribers = 1 }, result);
}

int bench_leat_rate_many(struct bench_env *env, struct bench_result *result)
{
	return rate(env, &(struct rate_setup){ .n_subscribers = 1, .many = true }, result);
}

int bench_leat_rate_4(struct bench_env *env, struct bench_result *result)
{
	return rate(env, &(struct rate_setup){ .n_subscribers = SUBSCRIBERS_MAX }, result);
}
