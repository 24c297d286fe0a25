/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A late subscriber: how fast it comes from the earliest record to the live end while a publisher
 * goes on at a million records a second, and how much that holds the publisher up.
 */
#include <errno.h>
#include <string.h>

#include "tools/bench_clock.h"
#include "tools/bench_schedule.h"
#include "tools/bench_stream.h"
#include "tools/tool.h"

enum {
	RATE = 1000000,
	BACKLOG = 4 * RATE, /* records that are there before */
	BACKLOG_QUICK = RATE / 4,
	LIVE = 1000, /* records behind the publisher that count as its end */
	TELL_STEP = 64,
	POLL_MAX = 1024,
};

#define CATCH_UP_NS (20 * UINT64_C(1000000000)) /* that it may take at most */

/* What a publisher did between two points in time. */
struct stretch {
	uint64_t start;
	uint64_t first; /* record */
	double rate;
	double publish_ns;
	uint64_t busy; /* ticks inside the calls */
};

struct catchup_shared {
	struct bench_cell published;
	struct bench_cell go;   /* the subscriber may begin */
	struct bench_cell live; /* it has reached the end */
	struct stretch before;
	struct stretch during;
	double records;
	double ns;
	double from_disk;
};

static int publish_number(struct bench_link *link, uint64_t i)
{
	struct catchup_shared *shared = link->team->shared;
	char value[BENCH_VALUE_LEN] = { 0 };
	const struct leat_record record = { .value = value, .value_len = sizeof(value) };
	int rc;

	memcpy(value, &i, sizeof(i));
	rc = leat_publish(link->publisher, &record, NULL);
	if (rc < 0)
		return bench_stream_fail(link, rc, "cannot publish");
	if (i % TELL_STEP == 0)
		cell_store(&shared->published.value, i);
	return 0;
}

static void end_stretch(struct stretch *stretch, uint64_t next)
{
	double ns = bench_clock_ns(bench_clock_ticks() - stretch->start);
	double n = (double)(next - stretch->first);

	stretch->rate = n * 1e9 / ns;
	stretch->publish_ns = bench_clock_ns(stretch->busy) / n;
}

/* At the rate, from record *i on, until `ns` have passed or the cell says something. */
static int publish_steadily(struct bench_link *link, uint64_t *i, uint64_t ns, uint64_t *until,
			    struct stretch *stretch)
{
	uint64_t start = bench_clock_ticks(), before, now = start, due;
	struct bench_schedule schedule = bench_schedule_make(start, RATE, ns);
	int rc = 0;

	*stretch = (struct stretch){ .start = start, .first = *i };
	for (; *i - stretch->first < schedule.n && rc == 0; (*i)++) {
		due = bench_schedule_due(&schedule, *i - stretch->first);
		do {
			before = bench_clock_ticks();
		} while (before < due);
		rc = publish_number(link, *i);
		now = bench_clock_ticks();
		stretch->busy += now - before;
		if (until && cell_load(until))
			break;
	}
	end_stretch(stretch, *i);
	return rc;
}

static int publish_all(struct bench_link *link)
{
	uint64_t i, backlog = link->team->env->quick ? BACKLOG_QUICK : BACKLOG;
	struct catchup_shared *shared = link->team->shared;
	int rc = 0;

	for (i = 0; i < backlog && rc == 0; i++)
		rc = publish_number(link, i);
	if (rc == 0)
		rc = publish_steadily(link, &i, link->team->env->run_ns / 2, NULL, &shared->before);
	if (rc < 0)
		return rc;
	cell_store(&shared->go.value, 1);
	rc = publish_steadily(link, &i, CATCH_UP_NS, &shared->live.value, &shared->during);
	if (rc == 0 && !cell_load(&shared->live.value))
		rc = bench_team_fail(link->team, link->me, -ETIMEDOUT,
				     "the late subscriber does not catch up");
	return rc;
}

static int publisher(struct bench_team *team, int me, const void *context)
{
	struct bench_link link;
	int rc;

	(void)context;
	rc = bench_stream_connect(&link, team, me);
	if (rc == 0)
		rc = bench_stream_publish_to(&link, "catchup");
	if (rc == 0) {
		bench_team_ready(team, me);
		rc = publish_all(&link);
	}
	bench_stream_close(&link);
	return rc;
}

struct receiver {
	uint64_t next;
	bool wrong;
};

static int receive(void *context, const struct leat_message *message)
{
	struct receiver *receiver = context;
	uint64_t i;

	if (message->kind != LEAT_RECORD) {
		receiver->wrong = true;
		return 1;
	}
	memcpy(&i, message->value, sizeof(i));
	receiver->wrong = i != receiver->next++;
	return receiver->wrong;
}

static int catch_up(struct bench_link *link)
{
	struct catchup_shared *shared = link->team->shared;
	struct leat_subscriber_stats stats = { .size = sizeof(stats) };
	struct leat_subscriber_options options;
	struct receiver receiver = { 0 };
	uint64_t start = bench_clock_ticks();
	int rc;

	leat_subscriber_options_init(&options);
	options.start = LEAT_EARLIEST;
	rc = bench_stream_subscribe_as(link, "catchup", &options);
	while (rc >= 0 && receiver.next + LIVE < cell_load(&shared->published.value)) {
		rc = leat_poll(link->subscriber, receive, &receiver, POLL_MAX,
			       BENCH_STREAM_WAIT_NS);
		if (rc < 0)
			return bench_stream_fail(link, rc, "cannot receive");
		if (receiver.wrong)
			return bench_team_fail(link->team, link->me, -EBADMSG,
					       "a record is missing, double or out of order");
	}
	if (rc < 0)
		return rc;
	shared->ns = bench_clock_ns(bench_clock_ticks() - start);
	shared->records = (double)receiver.next;
	leat_subscriber_statistics(link->subscriber, &stats);
	shared->from_disk = (double)stats.from_disk;
	cell_store(&shared->live.value, 1);
	return 0;
}

static int subscriber(struct bench_team *team, int me, const void *context)
{
	struct catchup_shared *shared = team->shared;
	struct bench_link link;
	int rc;

	(void)context;
	rc = bench_stream_connect(&link, team, me);
	if (rc == 0) {
		bench_team_ready(team, me);
		cell_await(&shared->go.value, 1);
		rc = catch_up(&link);
	}
	bench_stream_close(&link);
	return rc;
}

static void take_result(const struct catchup_shared *shared, struct bench_result *result)
{
	result->value = shared->records * 1e9 / shared->ns;
	bench_add_fact(result, "seconds", shared->ns / 1e9);
	bench_add_fact(result, "records", shared->records);
	bench_add_fact(result, "from_disk", shared->from_disk);
	bench_add_fact(result, "rate_before", shared->before.rate);
	bench_add_fact(result, "rate_during", shared->during.rate);
	bench_add_fact(result, "publish_ns_before", shared->before.publish_ns);
	bench_add_fact(result, "publish_ns_during", shared->during.publish_ns);
}

static int run_catchup(struct bench_env *env, struct bench_result *result,
		       struct catchup_shared *ret_shared)
{
	const struct bench_member members[] = {
		{ .run = publisher, .cpu = env->cpus[0] },
		{ .run = subscriber, .cpu = env->cpus[1] },
	};
	struct leat_stream_options options;
	struct bench_team team;
	int rc = bench_team_init(&team, env, sizeof(*ret_shared));

	if (rc < 0)
		return rc;
	leat_stream_options_init(&options);
	rc = bench_stream_create(env, "catchup", &options);
	if (rc == 0)
		rc = bench_team_run(&team, members, 2, CATCH_UP_NS + 2 * BENCH_TEAM_WAIT_NS);
	memcpy(ret_shared, team.shared, sizeof(*ret_shared));
	if (rc == 0)
		take_result(ret_shared, result);
	bench_stream_delete(env, "catchup");
	bench_team_deinit(&team);
	return rc;
}

int bench_catchup(struct bench_env *env, struct bench_result *result)
{
	struct catchup_shared shared;

	return run_catchup(env, result, &shared);
}

/* Of a million records that would have been published otherwise, how many were not. */
int bench_catchup_cost(struct bench_env *env, struct bench_result *result)
{
	struct catchup_shared shared;
	int rc = run_catchup(env, result, &shared);

	result->value = 0;
	if (rc == 0 && shared.during.rate < shared.before.rate)
		result->value = 1e6 * (1 - shared.during.rate / shared.before.rate);
	return rc;
}
