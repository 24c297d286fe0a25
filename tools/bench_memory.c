/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floors in memory: what this machine allows two processes at best, whatever they use. Each
 * is the simplest code that does the exchange at all, with nothing that a product would add.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench_clock.h"
#include "tools/bench_hist.h"
#include "tools/bench_team.h"
#include "tools/tool.h"

enum {
	RING_SLOTS = 1024,
	RATE_SLOTS = 4096,
	RATE_CREDIT = 256, /* slots that the consumer gives back at once */
	RATE_PAUSE = 64,   /* a consumer that stays away for a microsecond lets the ring fill */
	COPY_BLOCK = 1 << 20,
	COPY_TOTAL = 32 << 20,
	COPY_LOOK = 64, /* blocks between two looks at the clock */
};

static const uint64_t last_word = UINT64_MAX;

/* The simplest ring: a word that says which turn a slot is filled for, and the record. */
struct slot {
	uint64_t turn;
	char record[BENCH_VALUE_LEN];
} __attribute__((aligned(CELL_LEN)));

/* Packed as densely as the bytes allow, which is what a throughput floor wants. */
struct dense_slot {
	uint64_t turn;
	char record[BENCH_VALUE_LEN];
};

struct exchange {
	struct bench_cell there;
	struct bench_cell back;
	struct bench_cell credit;
	double rate;
	struct bench_laps laps;
	struct slot ring_there[RING_SLOTS];
	struct slot ring_back[RING_SLOTS];
	struct dense_slot dense[RATE_SLOTS];
};

struct window {
	uint64_t warm; /* ticks at which what is measured counts */
	uint64_t end;
};

static struct window open_window(uint64_t run_ns)
{
	uint64_t now = bench_clock_ticks();

	return (struct window){
		.warm = now + bench_clock_from_ns(run_ns / 10),
		.end = now + bench_clock_from_ns(run_ns),
	};
}

/* The clock is read while the word is on its way, so that reading it costs nothing. */
static int cache_line_ping(struct bench_team *team, int me, const void *context)
{
	struct exchange *x = team->shared;
	struct window window;
	uint64_t now, i;

	(void)context;
	bench_team_ready(team, me);
	window = open_window(team->env->run_ns);
	x->laps.warm = window.warm;
	for (i = 1;; i++) {
		cell_store(&x->there.value, i);
		now = bench_clock_ticks();
		bench_hist_lap(&x->laps, now);
		cell_await(&x->back.value, i);
		if (now > window.end)
			break;
	}
	cell_store(&x->there.value, last_word);
	return 0;
}

static int cache_line_pong(struct bench_team *team, int me, const void *context)
{
	struct exchange *x = team->shared;
	uint64_t seen = 0, value;
	uint32_t n = 0;

	(void)context;
	bench_team_ready(team, me);
	for (;;) {
		value = cell_load(&x->there.value);
		if (value == seen) {
			if (++n % CELL_PATIENCE == 0)
				sched_yield();
			continue;
		}
		if (value == last_word)
			return 0;
		seen = value;
		cell_store(&x->back.value, value);
	}
}

static inline void ring_put(struct slot *ring, uint64_t turn, const char *record)
{
	struct slot *slot = &ring[turn % RING_SLOTS];

	memcpy(slot->record, record, BENCH_VALUE_LEN);
	cell_store(&slot->turn, turn);
}

static inline void ring_get(const struct slot *ring, uint64_t turn, char *record)
{
	const struct slot *slot = &ring[turn % RING_SLOTS];

	cell_await(&slot->turn, turn);
	memcpy(record, slot->record, BENCH_VALUE_LEN);
}

static int ring_ping(struct bench_team *team, int me, const void *context)
{
	char record[BENCH_VALUE_LEN] = { 0 };
	struct exchange *x = team->shared;
	struct window window;
	uint64_t now, i;

	(void)context;
	bench_team_ready(team, me);
	window = open_window(team->env->run_ns);
	x->laps.warm = window.warm;
	for (i = 1;; i++) {
		memcpy(record, x->laps.last > window.end ? &last_word : &i, sizeof(i));
		ring_put(x->ring_there, i, record);
		now = bench_clock_ticks();
		if (x->laps.last > window.end)
			return 0;
		bench_hist_lap(&x->laps, now);
		ring_get(x->ring_back, i, record);
	}
}

static int ring_pong(struct bench_team *team, int me, const void *context)
{
	struct exchange *x = team->shared;
	char record[BENCH_VALUE_LEN];
	uint64_t word, i;

	(void)context;
	bench_team_ready(team, me);
	for (i = 1;; i++) {
		ring_get(x->ring_there, i, record);
		memcpy(&word, record, sizeof(word));
		if (word == last_word)
			return 0;
		ring_put(x->ring_back, i, record);
	}
}

static int rate_producer(struct bench_team *team, int me, const void *context)
{
	char record[BENCH_VALUE_LEN] = { 0 };
	struct exchange *x = team->shared;
	uint64_t i, credit = RATE_SLOTS;
	struct dense_slot *slot;

	(void)context;
	bench_team_ready(team, me);
	for (i = 1;; i++) {
		while (i > credit) {
			uint64_t done = cell_load(&x->credit.value);

			if (done == last_word)
				return 0;
			credit = done + RATE_SLOTS;
		}
		slot = &x->dense[i % RATE_SLOTS];
		memcpy(record, &i, sizeof(i));
		memcpy(slot->record, record, BENCH_VALUE_LEN);
		cell_store(&slot->turn, i);
	}
}

/*
 * Polling at once again would take the line from the producer while it is filling it: two to three
 * times slower.
 */
static inline void await_turn(const struct dense_slot *slot, uint64_t turn)
{
	uint32_t n = 0;

	while (cell_load(&slot->turn) != turn) {
		cell_pause(RATE_PAUSE);
		if (++n % CELL_PATIENCE == 0)
			sched_yield();
	}
}

static int rate_consumer(struct bench_team *team, int me, const void *context)
{
	uint64_t i, word, from = 0, start = 0, now;
	struct exchange *x = team->shared;
	const struct dense_slot *slot;
	char record[BENCH_VALUE_LEN];
	struct window window;

	(void)context;
	bench_team_ready(team, me);
	window = open_window(team->env->run_ns);
	for (i = 1;; i++) {
		slot = &x->dense[i % RATE_SLOTS];
		await_turn(slot, i);
		memcpy(record, slot->record, BENCH_VALUE_LEN);
		memcpy(&word, record, sizeof(word));
		if (word != i)
			return bench_team_fail(team, me, -EBADMSG, "a record is wrong");
		if (i % RATE_CREDIT != 0)
			continue;
		cell_store(&x->credit.value, i);
		now = bench_clock_ticks();
		if (from == 0 && now > window.warm) {
			from = i;
			start = now;
		}
		/* Who was away for most of the time goes on until there is something to divide. */
		if (now > window.end && from > 0 && i > from)
			break;
	}
	cell_store(&x->credit.value, last_word);
	x->rate = (double)(i - from) * 1e9 / bench_clock_ns(now - start);
	return 0;
}

static void futex_put(struct bench_cell *cell, uint64_t value)
{
	cell_store(&cell->value, value);
	cell_futex(&cell->value, FUTEX_WAKE, 1);
}

static uint64_t futex_get(struct bench_cell *cell, uint64_t seen)
{
	uint64_t value;

	while ((value = cell_load(&cell->value)) == seen)
		cell_futex(&cell->value, FUTEX_WAIT, (uint32_t)seen);
	return value;
}

static int futex_ping(struct bench_team *team, int me, const void *context)
{
	struct exchange *x = team->shared;
	struct window window;
	uint64_t last, now, i;

	(void)context;
	bench_team_ready(team, me);
	window = open_window(team->env->run_ns);
	for (i = 1;; i++) {
		last = bench_clock_ticks();
		futex_put(&x->there, i);
		futex_get(&x->back, i - 1);
		now = bench_clock_ticks();
		if (now > window.warm)
			bench_hist_add(&x->laps.singles, now - last);
		if (now > window.end)
			break;
	}
	futex_put(&x->there, last_word);
	return 0;
}

static int futex_pong(struct bench_team *team, int me, const void *context)
{
	struct exchange *x = team->shared;
	uint64_t seen = 0;

	(void)context;
	bench_team_ready(team, me);
	while ((seen = futex_get(&x->there, seen)) != last_word)
		futex_put(&x->back, seen);
	return 0;
}

typedef int member_fn(struct bench_team *team, int me, const void *context);

/* Two processes on two processors; a latency comes from the histogram, a rate as it is. */
static int run_pair(struct bench_env *env, member_fn *first, member_fn *second,
		    struct bench_result *result)
{
	const struct bench_member members[] = {
		{ .run = first, .cpu = env->cpus[0] },
		{ .run = second, .cpu = env->cpus[1] },
	};
	struct bench_team team;
	struct exchange *x;
	int rc;

	rc = bench_team_init(&team, env, sizeof(struct exchange));
	if (rc < 0)
		return rc;
	x = team.shared;
	rc = bench_team_run(&team, members, 2, env->run_ns + 20 * UINT64_C(1000000000));
	if (rc == 0 && x->laps.singles.n > 0)
		bench_hist_laps_result(&x->laps, result);
	else if (rc == 0)
		result->value = x->rate;
	bench_team_deinit(&team);
	return rc;
}

int bench_memory_cache_line(struct bench_env *env, struct bench_result *result)
{
	return run_pair(env, cache_line_ping, cache_line_pong, result);
}

int bench_memory_ring(struct bench_env *env, struct bench_result *result)
{
	return run_pair(env, ring_ping, ring_pong, result);
}

int bench_memory_ring_rate(struct bench_env *env, struct bench_result *result)
{
	return run_pair(env, rate_consumer, rate_producer, result);
}

int bench_memory_futex(struct bench_env *env, struct bench_result *result)
{
	return run_pair(env, futex_ping, futex_pong, result);
}

/* Blocks between two areas that no cache of one processor holds together; gives blocks a second. */
static double copy_blocks(char *to, const char *from, size_t len, uint64_t run_ns)
{
	uint64_t start = bench_clock_ticks(), now = start, n = 0;
	uint64_t end = start + bench_clock_from_ns(run_ns);
	size_t off = 0;

	while (now < end) {
		memcpy(to + off, from + off, len);
		/* Nobody reads the copy, so the compiler has to be told that it is wanted. */
		__asm__ __volatile__("" : : "r"(to + off) : "memory");
		off = (off + len) % COPY_TOTAL;
		n++;
		if (n % COPY_LOOK == 0 || len >= COPY_BLOCK)
			now = bench_clock_ticks();
	}
	return (double)n * 1e9 / bench_clock_ns(now - start);
}

static int copy(const struct bench_env *env, size_t len, double *ret_rate)
{
	char *from = malloc(COPY_TOTAL), *to = malloc(COPY_TOTAL);

	if (!from || !to) {
		free(from);
		free(to);
		return -ENOMEM;
	}
	memset(from, 1, COPY_TOTAL);
	memset(to, 2, COPY_TOTAL);
	*ret_rate = copy_blocks(to, from, len, env->run_ns);
	free(from);
	free(to);
	return 0;
}

int bench_memory_copy(struct bench_env *env, struct bench_result *result)
{
	double rate = 0;
	int rc = copy(env, COPY_BLOCK, &rate);

	result->value = rate * COPY_BLOCK;
	return rc;
}

/* Of the row's size, in records: what a ring that carries them cannot exceed. */
int bench_memory_copy_size(struct bench_env *env, struct bench_result *result)
{
	return copy(env, (size_t)env->row->x, &result->value);
}
