/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much leat carries from publishers to subscribers through memory. Each subscriber checks
 * that every record comes once and in order, so that a wrong result is never a fast one: a value
 * begins with its publisher's number and its own number among those that this publisher sent to
 * this shard.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "tools/bench_clock.h"
#include "tools/bench_proc.h"
#include "tools/bench_stream.h"
#include "tools/tool.h"

enum {
	SUBSCRIBERS_MAX = 8,
	PUBLISHERS_MAX = 32,
	SHARDS_MAX = 64,
	MANY = 64,         /* records of one call that takes several */
	POLL_MAX = 1024,   /* messages of one leat_poll() */
	CREDIT_STEP = 256, /* records between two looks at how far the subscribers are */
	DEFAULT_SPIN_NS = 20 * 1000,
	CROWD_PATIENCE = 64, /* looks before the processor is lent away when there are too few */
	SCALE_RING_LEN = 1 << 20,
	HEADER_LEN = 32,
	NUMBER_BITS = 56,
};

#define NUMBER_MASK ((UINT64_C(1) << NUMBER_BITS) - 1)

enum rate_how {
	RATE_ONE,
	RATE_MANY,
	RATE_BATCH,
	RATE_CLAIM,
};

struct rate_setup {
	int n_publishers;
	int n_subscribers;
	uint32_t n_shards;
	enum rate_how how;
	size_t value_len;
	size_t ring_len;
	uint64_t window; /* records that a publisher is ahead of the subscribers at most */
};

/* What a subscriber says of itself, on lines that only it writes. */
struct rate_line {
	struct bench_cell received[PUBLISHERS_MAX];
	double rate;
	double lost;
	double sleeps;
	double cpu; /* processors that it kept busy */
} __attribute__((aligned(CELL_LEN)));

struct rate_source {
	struct leat_publisher_stats stats;
	double publish_ns; /* for each record, waiting for subscribers included */
	double cpu;
} __attribute__((aligned(CELL_LEN)));

struct rate_shared {
	struct rate_line lines[SUBSCRIBERS_MAX];
	struct rate_source sources[PUBLISHERS_MAX];
	double ns; /* that the first publisher took */
};

static double cpu_seconds(void)
{
	struct rusage used;

	getrusage(RUSAGE_SELF, &used);
	return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
	       (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

/* ---- publishing ---- */

struct sender {
	struct bench_link *link;
	const struct rate_setup *setup;
	struct rate_shared *shared;
	int me; /* among the publishers */
	uint32_t patience;
	uint32_t shard; /* of the next record */
	uint64_t sent;
	uint64_t numbers[SHARDS_MAX];
	char *values; /* MANY of them where a call takes several, otherwise one */
	struct leat_record records[MANY];
	struct leat_result results[MANY];
};

static inline void number_record(struct sender *sender, struct leat_record *record, void *value)
{
	uint64_t word = (uint64_t)sender->me << NUMBER_BITS | sender->numbers[sender->shard]++;

	memcpy(value, &word, sizeof(word));
	record->shard = (int32_t)sender->shard;
}

static inline void step_shard(struct sender *sender)
{
	if (++sender->shard >= sender->setup->n_shards)
		sender->shard = 0;
}

static int publish_one(struct sender *sender)
{
	struct leat_record *record = &sender->records[0];

	number_record(sender, record, sender->values);
	step_shard(sender);
	return leat_publish(sender->link->publisher, record, NULL);
}

static int publish_in_place(struct sender *sender)
{
	struct leat_record *record = &sender->records[0];
	struct leat_claim claim;
	int rc;

	number_record(sender, record, sender->values);
	step_shard(sender);
	rc = leat_reserve(sender->link->publisher, record, &claim);
	if (rc < 0)
		return rc;
	memcpy(claim.value, sender->values, sender->setup->value_len);
	return leat_commit(sender->link->publisher, &claim, NULL);
}

static int publish_many(struct sender *sender)
{
	char *value = sender->values;
	int i, rc;

	for (i = 0; i < MANY; i++, value += sender->setup->value_len) {
		number_record(sender, &sender->records[i], value);
		if (sender->setup->how == RATE_MANY)
			step_shard(sender);
	}
	if (sender->setup->how == RATE_BATCH) {
		step_shard(sender);
		return leat_publish_batch(sender->link->publisher, sender->records, MANY, NULL);
	}
	rc = leat_publish_many(sender->link->publisher, sender->records, MANY, sender->results);
	return rc == MANY ? 0 : rc < 0 ? rc : sender->results[rc].error;
}

/* Publishes n records at least; some calls publish MANY. */
static int publish_some(struct sender *sender, uint64_t n)
{
	uint64_t done, step = 1;
	int rc = 0;

	for (done = 0; done < n && rc == 0; done += step) {
		if (sender->setup->how == RATE_ONE) {
			rc = publish_one(sender);
		} else if (sender->setup->how == RATE_CLAIM) {
			rc = publish_in_place(sender);
		} else {
			step = MANY;
			rc = publish_many(sender);
		}
	}
	sender->sent += done;
	return rc < 0 ? bench_stream_fail(sender->link, rc, "cannot publish") : 0;
}

static void wait_for_subscribers(struct sender *sender)
{
	uint32_t looks = 0;
	int i;

	for (i = 0; i < sender->setup->n_subscribers; i++) {
		const uint64_t *received = &sender->shared->lines[i].received[sender->me].value;

		while (sender->sent > cell_load(received) + sender->setup->window) {
			if (++looks % sender->patience == 0)
				sched_yield();
		}
	}
}

/* The end, in each shard: a number that no other record has. */
static int publish_the_end(struct sender *sender)
{
	uint32_t shard;
	int rc = 0;

	for (shard = 0; shard < sender->setup->n_shards && rc == 0; shard++) {
		sender->shard = shard;
		sender->numbers[shard] = NUMBER_MASK;
		rc = publish_one(sender);
	}
	return rc < 0 ? bench_stream_fail(sender->link, rc, "cannot publish the end") : 0;
}

static int publish_for_a_while(struct sender *sender)
{
	uint64_t start = bench_clock_ticks(), now = start;
	uint64_t end = start + bench_clock_from_ns(sender->link->team->env->run_ns);
	struct rate_source *source = &sender->shared->sources[sender->me];
	uint64_t step = sender->setup->window / 2;
	double cpu = cpu_seconds(), elapsed_ns;
	int rc;

	step = step < 1 ? 1 : step > CREDIT_STEP ? CREDIT_STEP : step;
	while (now < end) {
		rc = publish_some(sender, step);
		if (rc < 0)
			return rc;
		wait_for_subscribers(sender);
		now = bench_clock_ticks();
	}
	elapsed_ns = bench_clock_ns(now - start);
	if (sender->me == 0)
		sender->shared->ns = elapsed_ns;
	source->publish_ns = elapsed_ns / (double)sender->sent;
	source->cpu = (cpu_seconds() - cpu) * 1e9 / elapsed_ns;
	source->stats.size = sizeof(source->stats);
	leat_publisher_statistics(sender->link->publisher, &source->stats);
	return publish_the_end(sender);
}

static int init_sender(struct sender *sender, struct bench_link *link,
		       const struct rate_setup *setup, int me)
{
	size_t n = setup->how == RATE_MANY || setup->how == RATE_BATCH ? MANY : 1, i;

	*sender = (struct sender){
		.link = link,
		.setup = setup,
		.shared = link->team->shared,
		.me = me,
		.patience = link->team->n > link->team->env->n_cpus ? CROWD_PATIENCE
								    : CELL_PATIENCE,
	};
	sender->values = malloc(n * setup->value_len);
	if (!sender->values)
		return bench_team_fail(link->team, link->me, -ENOMEM, "no memory for a record");
	memset(sender->values, 'x', n * setup->value_len);
	for (i = 0; i < n; i++)
		sender->records[i] = (struct leat_record){
			.value = sender->values + i * setup->value_len,
			.value_len = setup->value_len,
		};
	return 0;
}

/* The subscribers come first among the members. */
static int rate_publisher(struct bench_team *team, int me, const void *context)
{
	const struct rate_setup *setup = context;
	static struct sender sender;
	struct bench_link link;
	int rc;

	rc = bench_stream_connect(&link, team, me);
	if (rc == 0)
		rc = init_sender(&sender, &link, setup, me - setup->n_subscribers);
	if (rc == 0)
		rc = bench_stream_publish_to(&link, "rate");
	if (rc == 0) {
		bench_team_ready(team, me);
		rc = publish_for_a_while(&sender);
	}
	free(sender.values);
	bench_stream_close(&link);
	return rc;
}

/* ---- subscribing ---- */

struct receiver {
	const struct rate_setup *setup;
	uint64_t next[PUBLISHERS_MAX][SHARDS_MAX]; /* the number that has to come next */
	bool after_gap[PUBLISHERS_MAX][SHARDS_MAX];
	uint64_t total[PUBLISHERS_MAX];
	uint64_t lost;
	uint32_t n_ends;
	bool wrong;
};

static void note_gap(struct receiver *receiver, uint32_t shard)
{
	int i;

	for (i = 0; i < receiver->setup->n_publishers; i++)
		receiver->after_gap[i][shard] = true;
}

static int receive(void *context, const struct leat_message *message)
{
	struct receiver *receiver = context;
	uint32_t shard = message->shard;
	uint64_t word, number, *next;
	uint32_t publisher;

	if (message->kind == LEAT_GAP) {
		note_gap(receiver, shard);
		return 0;
	}
	memcpy(&word, message->value, sizeof(word));
	publisher = (uint32_t)(word >> NUMBER_BITS);
	number = word & NUMBER_MASK;
	next = &receiver->next[publisher][shard];
	if (number == *next) {
		(*next)++;
		receiver->total[publisher]++;
		return 0;
	}
	if (number == NUMBER_MASK) {
		receiver->n_ends++;
		return 0;
	}
	if (!receiver->after_gap[publisher][shard] || number < *next) {
		receiver->wrong = true;
		return 1;
	}
	receiver->lost += number - *next;
	receiver->total[publisher] += number - *next + 1;
	receiver->after_gap[publisher][shard] = false;
	*next = number + 1;
	return 0;
}

static uint64_t tell_publishers(const struct receiver *receiver, struct rate_line *line)
{
	uint64_t sum = 0;
	int i;

	for (i = 0; i < receiver->setup->n_publishers; i++) {
		cell_store(&line->received[i].value, receiver->total[i]);
		sum += receiver->total[i];
	}
	return sum;
}

static int receive_until_the_end(struct bench_link *link, struct receiver *receiver,
				 struct rate_line *line)
{
	uint32_t n_ends = (uint32_t)receiver->setup->n_publishers * receiver->setup->n_shards;
	uint64_t begin = bench_clock_ticks(), start = begin, now = begin, from = 0, received = 0;
	uint64_t warm = start + bench_clock_from_ns(link->team->env->run_ns / 10);
	struct leat_subscriber_stats stats = { .size = sizeof(stats) };
	double cpu = cpu_seconds();
	int rc;

	while (receiver->n_ends < n_ends) {
		rc = leat_poll(link->subscriber, receive, receiver, POLL_MAX, BENCH_STREAM_WAIT_NS);
		if (rc < 0 && rc != -EINTR)
			return bench_stream_fail(link, rc, "cannot receive");
		if (receiver->wrong)
			return bench_team_fail(link->team, link->me, -EBADMSG,
					       "a record is missing, double or out of order");
		now = bench_clock_ticks();
		received = tell_publishers(receiver, line);
		if (from == 0 && now > warm) {
			from = received;
			start = now;
			cpu = cpu_seconds();
		}
	}
	/* However short the window was, something is measured. */
	if (from == received) {
		from = 0;
		start = begin;
	}
	line->rate = (double)(received - from) * 1e9 / bench_clock_ns(now - start);
	line->cpu = (cpu_seconds() - cpu) * 1e9 / bench_clock_ns(now - start);
	line->lost = (double)receiver->lost;
	leat_subscriber_statistics(link->subscriber, &stats);
	line->sleeps = (double)stats.sleeps;
	return 0;
}

static int rate_subscriber(struct bench_team *team, int me, const void *context)
{
	struct rate_shared *shared = team->shared;
	static struct receiver receiver;
	struct bench_link link;
	int rc;

	receiver.setup = context;
	rc = bench_stream_connect(&link, team, me);
	if (rc == 0)
		rc = bench_stream_subscribe_to(&link, "rate", DEFAULT_SPIN_NS);
	if (rc == 0) {
		bench_team_ready(team, me);
		rc = receive_until_the_end(&link, &receiver, &shared->lines[me]);
	}
	bench_stream_close(&link);
	return rc;
}

/* ---- both ---- */

/* The slowest subscriber's rate is the one that all of them had. */
static void take_rate(const struct rate_shared *shared, const struct rate_setup *setup,
		      double daemon_ns, struct bench_result *result)
{
	double lost = 0, sleeps = 0, full = 0, kicks = 0, wakes = 0, ns = 0;
	double publisher_cpu = 0, subscriber_cpu = 0;
	int i;

	result->value = shared->lines[0].rate;
	for (i = 0; i < setup->n_subscribers; i++) {
		if (shared->lines[i].rate < result->value)
			result->value = shared->lines[i].rate;
		lost += shared->lines[i].lost;
		sleeps += shared->lines[i].sleeps;
		subscriber_cpu += shared->lines[i].cpu;
	}
	for (i = 0; i < setup->n_publishers; i++) {
		ns += shared->sources[i].publish_ns / setup->n_publishers;
		full += (double)shared->sources[i].stats.full_waits;
		kicks += (double)shared->sources[i].stats.drain_kicks;
		wakes += (double)shared->sources[i].stats.wakes;
		publisher_cpu += shared->sources[i].cpu;
	}
	bench_add_fact(result, "publish_ns", ns);
	bench_add_fact(result, "lost", lost);
	bench_add_fact(result, "sleeps", sleeps);
	bench_add_fact(result, "full_waits", full);
	bench_add_fact(result, "drain_kicks", kicks);
	bench_add_fact(result, "wakes", wakes);
	bench_add_fact(result, "publisher_cpus", publisher_cpu);
	bench_add_fact(result, "subscriber_cpus", subscriber_cpu);
	bench_add_fact(result, "daemon_cpus", daemon_ns / shared->ns);
}

static size_t span_of(size_t value_len)
{
	return (HEADER_LEN + value_len + HEADER_LEN - 1) / HEADER_LEN * HEADER_LEN;
}

/* A quarter of the rings: a subscriber that stays within it is not overtaken. */
static void fill_in(struct rate_setup *setup)
{
	if (setup->n_shards == 0)
		setup->n_shards = 1;
	if (setup->value_len == 0)
		setup->value_len = BENCH_VALUE_LEN;
	if (setup->ring_len == 0)
		setup->ring_len = BENCH_STREAM_RING_LEN;
	setup->window = setup->ring_len / 4 * setup->n_shards / span_of(setup->value_len) /
			(uint64_t)setup->n_publishers;
}

/* Runs the members and says how much processor time the daemon took meanwhile. */
static int run_members(struct bench_env *env, struct bench_team *team,
		       const struct bench_member *members, int n, double *ret_daemon_ns)
{
	struct bench_proc before, after;
	pid_t daemon;
	int rc = bench_proc_daemon(env, &daemon);

	if (rc < 0)
		return rc;
	bench_proc_read(daemon, &before);
	rc = bench_team_run(team, members, n, env->run_ns + BENCH_TEAM_WAIT_NS);
	bench_proc_read(daemon, &after);
	*ret_daemon_ns = after.cpu_ns - before.cpu_ns;
	return rc;
}

static int rate(struct bench_env *env, struct rate_setup setup, struct bench_result *result)
{
	struct bench_member members[PUBLISHERS_MAX + SUBSCRIBERS_MAX];
	int i, rc, n = setup.n_publishers + setup.n_subscribers;
	struct leat_stream_options options;
	struct bench_team team;
	double daemon_ns = 0;

	fill_in(&setup);
	rc = bench_team_init(&team, env, sizeof(struct rate_shared));
	if (rc < 0)
		return rc;
	/* A pair has two processors of its own; more find theirs themselves. */
	for (i = 0; i < n; i++)
		members[i] = (struct bench_member){
			.run = i < setup.n_subscribers ? rate_subscriber : rate_publisher,
			.context = &setup,
			.cpu = n == 2 ? env->cpus[i] : -1,
		};
	bench_stream_memory(&options);
	options.n_shards = setup.n_shards;
	options.ring_len = setup.ring_len;
	rc = bench_stream_create(env, "rate", &options);
	if (rc == 0)
		rc = run_members(env, &team, members, n, &daemon_ns);
	if (rc == 0)
		take_rate(team.shared, &setup, daemon_ns, result);
	bench_stream_delete(env, "rate");
	bench_team_deinit(&team);
	return rc;
}

int bench_rate_1(struct bench_env *env, struct bench_result *result)
{
	return rate(env, (struct rate_setup){ 1, 1, .how = RATE_ONE }, result);
}

int bench_rate_many(struct bench_env *env, struct bench_result *result)
{
	return rate(env, (struct rate_setup){ 1, 1, .how = RATE_MANY }, result);
}

int bench_rate_batch(struct bench_env *env, struct bench_result *result)
{
	return rate(env, (struct rate_setup){ 1, 1, .how = RATE_BATCH }, result);
}

int bench_rate_claim(struct bench_env *env, struct bench_result *result)
{
	return rate(env, (struct rate_setup){ 1, 1, .how = RATE_CLAIM }, result);
}

int bench_rate_4(struct bench_env *env, struct bench_result *result)
{
	return rate(env, (struct rate_setup){ 1, 4, .how = RATE_ONE }, result);
}

int bench_rate_8(struct bench_env *env, struct bench_result *result)
{
	return rate(env, (struct rate_setup){ 1, 8, .how = RATE_ONE }, result);
}

int bench_rate_2to1(struct bench_env *env, struct bench_result *result)
{
	return rate(env, (struct rate_setup){ 2, 1, .how = RATE_ONE }, result);
}

int bench_rate_size(struct bench_env *env, struct bench_result *result)
{
	return rate(env, (struct rate_setup){ 1, 1, .value_len = (size_t)env->row->x }, result);
}

int bench_rate_shards(struct bench_env *env, struct bench_result *result)
{
	struct rate_setup setup = { 1, 1, .ring_len = SCALE_RING_LEN };

	setup.n_shards = (uint32_t)env->row->x;
	return rate(env, setup, result);
}

int bench_rate_publishers(struct bench_env *env, struct bench_result *result)
{
	return rate(env, (struct rate_setup){ (int)env->row->x, 1, .how = RATE_ONE }, result);
}

/* As many shards as there can be here, and so many publishers. */
int bench_rate_both(struct bench_env *env, struct bench_result *result)
{
	struct rate_setup setup = { 1, 1, SHARDS_MAX, .ring_len = SCALE_RING_LEN };

	setup.n_publishers = (int)env->row->x;
	return rate(env, setup, result);
}
