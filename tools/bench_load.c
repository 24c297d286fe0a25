/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One way under a given load, in an open loop: how long after it was due a record is in the
 * reader's hands, through a minimal ring and through leat. The record carries when it was due.
 */
#include <errno.h>
#include <string.h>

#include "tools/bench_hist.h"
#include "tools/bench_schedule.h"
#include "tools/bench_stream.h"
#include "tools/tool.h"

enum {
	RING_SLOTS = 8192,
	CREDIT_STEP = 256,
	POLL_MAX = 256,
};

#define LEAD_NS UINT64_C(1000000) /* until the first record is due */

struct slot {
	uint64_t turn;
	char record[BENCH_VALUE_LEN];
} __attribute__((aligned(CELL_LEN)));

struct load_shared {
	struct bench_cell done; /* records that the reader has taken */
	struct bench_schedule schedule;
	double behind; /* records that were published later than 1 us after they were due */
	double lost;   /* a reader that stays away too long is overtaken */
	struct bench_hist hist;
	struct slot slots[RING_SLOTS];
};

/* By the writer, before anybody begins. */
static void make_schedule(struct bench_team *team)
{
	struct load_shared *shared = team->shared;

	shared->schedule = bench_schedule_make(bench_clock_ticks() + bench_clock_from_ns(LEAD_NS),
					       team->env->row->x, team->env->run_ns);
}

/* Waits until record i is due; what is overdue goes out at once. Returns when it was due. */
static inline uint64_t await_due(struct load_shared *shared, uint64_t i, uint64_t late)
{
	uint64_t due = bench_schedule_due(&shared->schedule, i), now = bench_clock_ticks();

	if (now > due + late)
		shared->behind++;
	while (now < due)
		now = bench_clock_ticks();
	return due;
}

/* The first tenth warms up. */
static inline void take(struct load_shared *shared, uint64_t i, uint64_t due)
{
	uint64_t now = bench_clock_ticks();

	if (i >= shared->schedule.n / 10)
		bench_hist_add(&shared->hist, bench_schedule_late(due, now));
}

/* ---- the floor ---- */

static int ring_writer(struct bench_team *team, int me, const void *context)
{
	uint64_t due, i, room = RING_SLOTS, late = bench_clock_from_ns(1000);
	struct load_shared *shared = team->shared;
	char record[BENCH_VALUE_LEN] = { 0 };
	struct slot *slot;

	(void)context;
	make_schedule(team);
	bench_team_ready(team, me);
	for (i = 0; i < shared->schedule.n; i++) {
		due = await_due(shared, i, late);
		while (i >= room)
			room = cell_load(&shared->done.value) + RING_SLOTS;
		slot = &shared->slots[i % RING_SLOTS];
		memcpy(record, &due, sizeof(due));
		memcpy(slot->record, record, BENCH_VALUE_LEN);
		cell_store(&slot->turn, i + 1);
	}
	return 0;
}

static int ring_reader(struct bench_team *team, int me, const void *context)
{
	struct load_shared *shared = team->shared;
	char record[BENCH_VALUE_LEN];
	struct slot *slot;
	uint64_t due, i;

	(void)context;
	bench_team_ready(team, me);
	for (i = 0; i < shared->schedule.n; i++) {
		slot = &shared->slots[i % RING_SLOTS];
		cell_await(&slot->turn, i + 1);
		memcpy(record, slot->record, BENCH_VALUE_LEN);
		memcpy(&due, record, sizeof(due));
		take(shared, i, due);
		if (i % CREDIT_STEP == 0)
			cell_store(&shared->done.value, i);
	}
	return 0;
}

/* ---- leat ---- */

/* What a value begins with. */
struct load_head {
	uint64_t due;
	uint64_t i; /* the schedule's n in a last record, which says that this was all */
};

static int publish_when_due(struct bench_link *link, struct load_shared *shared)
{
	uint64_t late = bench_clock_from_ns(1000), n = shared->schedule.n;
	char value[BENCH_VALUE_LEN] = { 0 };
	const struct leat_record record = { .value = value, .value_len = sizeof(value) };
	struct load_head head;
	int rc;

	for (head.i = 0; head.i <= n; head.i++) {
		head.due = await_due(shared, head.i, late);
		memcpy(value, &head, sizeof(head));
		rc = leat_publish(link->publisher, &record, NULL);
		if (rc < 0)
			return bench_stream_fail(link, rc, "cannot publish");
	}
	return 0;
}

static int publisher(struct bench_team *team, int me, const void *context)
{
	struct bench_link link;
	int rc;

	(void)context;
	rc = bench_stream_connect(&link, team, me);
	if (rc == 0)
		rc = bench_stream_publish_to(&link, "load");
	if (rc == 0) {
		make_schedule(team);
		bench_team_ready(team, me);
		rc = publish_when_due(&link, team->shared);
	}
	bench_stream_close(&link);
	return rc;
}

struct receiver {
	struct load_shared *shared;
	uint64_t next; /* the record that has to come next */
	bool after_gap;
	bool wrong;
	bool done;
};

static int receive(void *context, const struct leat_message *message)
{
	struct receiver *receiver = context;
	struct load_head head;

	if (message->kind == LEAT_GAP) {
		receiver->after_gap = true;
		return 0;
	}
	memcpy(&head, message->value, sizeof(head));
	receiver->wrong = head.i < receiver->next ||
			  (head.i > receiver->next && !receiver->after_gap);
	receiver->shared->lost += (double)(head.i - receiver->next);
	receiver->next = head.i + 1;
	receiver->after_gap = false;
	receiver->done = head.i == receiver->shared->schedule.n;
	if (receiver->wrong || receiver->done)
		return 1;
	take(receiver->shared, head.i, head.due);
	return 0;
}

static int subscriber(struct bench_team *team, int me, const void *context)
{
	struct receiver receiver = { .shared = team->shared };
	struct bench_link link;
	int rc;

	(void)context;
	rc = bench_stream_connect(&link, team, me);
	if (rc == 0)
		rc = bench_stream_subscribe_to(&link, "load", LEAT_FOREVER);
	if (rc == 0)
		bench_team_ready(team, me);
	while (rc >= 0 && !receiver.done) {
		rc = leat_poll(link.subscriber, receive, &receiver, POLL_MAX, BENCH_STREAM_WAIT_NS);
		if (rc < 0 && rc != -EINTR)
			rc = bench_stream_fail(&link, rc, "cannot receive");
		if (receiver.wrong)
			rc = bench_team_fail(team, me, -EBADMSG,
					     "a record is missing, double or out of order");
	}
	bench_stream_close(&link);
	return rc;
}

/* ---- both ---- */

static int run_load(struct bench_env *env, const struct bench_member *members,
		    struct bench_result *result)
{
	struct load_shared *shared;
	struct bench_team team;
	int rc;

	rc = bench_team_init(&team, env, sizeof(*shared));
	if (rc < 0)
		return rc;
	shared = team.shared;
	rc = bench_team_run(&team, members, 2, env->run_ns + BENCH_TEAM_WAIT_NS);
	if (rc == 0) {
		bench_hist_result(&shared->hist, result);
		bench_add_fact(result, "published_late",
			       shared->behind / (double)shared->schedule.n);
		bench_add_fact(result, "lost", shared->lost);
	}
	bench_team_deinit(&team);
	return rc;
}

int bench_load_ring(struct bench_env *env, struct bench_result *result)
{
	const struct bench_member members[] = {
		{ .run = ring_writer, .cpu = env->cpus[0] },
		{ .run = ring_reader, .cpu = env->cpus[1] },
	};

	return run_load(env, members, result);
}

int bench_load_leat(struct bench_env *env, struct bench_result *result)
{
	const struct bench_member members[] = {
		{ .run = publisher, .cpu = env->cpus[0] },
		{ .run = subscriber, .cpu = env->cpus[1] },
	};
	struct leat_stream_options options;
	int rc;

	bench_stream_memory(&options);
	rc = bench_stream_create(env, "load", &options);
	if (rc == 0)
		rc = run_load(env, members, result);
	bench_stream_delete(env, "load");
	return rc;
}
