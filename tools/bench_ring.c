/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floors of throughput: minimal rings for records of any size, with several readers or
 * writers. A slot is a word that says which turn it is filled for, and the record; the ring is
 * as small as the caches like it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench_clock.h"
#include "tools/bench_ring.h"
#include "tools/bench_team.h"
#include "tools/tool.h"

enum {
	READERS_MAX = 8,
	WRITERS_MAX = 8,
	RING_LEN = 256 << 10,
	SLOTS_MAX = 4096,
	SLOTS_MIN = 4,
	PAUSE = 64, /* a reader that stays away for a microsecond lets the ring fill */
	LOOK_STEP = 256,
	CROWD_PATIENCE = 4, /* looks before a processor is lent away when there are too few */
};

static const uint64_t last_word = UINT64_MAX;

struct ring_setup {
	int n_readers;
	int n_writers;
	size_t record_len;
	uint32_t patience;
};

struct ring_shared {
	struct bench_cell tail; /* turns that several writers have taken */
	struct bench_cell done[READERS_MAX];
	double rates[READERS_MAX];
	size_t n_slots;
	size_t stride;
	char slots[] __attribute__((aligned(CELL_LEN)));
};

static size_t stride_of(size_t record_len)
{
	return (sizeof(uint64_t) + record_len + 7) & ~(size_t)7;
}

size_t bench_ring_slots(size_t record_len)
{
	size_t n = SLOTS_MAX;

	while (n > SLOTS_MIN && n * stride_of(record_len) > RING_LEN)
		n /= 2;
	return n;
}

static inline uint64_t *slot_at(struct ring_shared *ring, uint64_t turn)
{
	return (uint64_t *)(ring->slots + (turn & (ring->n_slots - 1)) * ring->stride);
}

/* A length that the compiler knows makes a copy of a few moves out of a call. */
static inline void copy_record(void *to, const void *from, size_t len)
{
	switch (len) {
	case 16:
		memcpy(to, from, 16);
		break;
	case 64:
		memcpy(to, from, 64);
		break;
	case 256:
		memcpy(to, from, 256);
		break;
	default:
		memcpy(to, from, len);
	}
}

/* How far the slowest reader is. */
static uint64_t slowest(struct ring_shared *ring, int n_readers)
{
	uint64_t least = UINT64_MAX, done;
	int i;

	for (i = 0; i < n_readers; i++) {
		done = cell_load(&ring->done[i].value);
		if (done < least)
			least = done;
	}
	return least;
}

static uint64_t await_room(struct ring_shared *ring, const struct ring_setup *setup, uint64_t turn)
{
	uint64_t done;
	uint32_t n = 0;

	while ((done = slowest(ring, setup->n_readers)) + ring->n_slots < turn) {
		if (++n % setup->patience == 0)
			sched_yield();
	}
	return done + ring->n_slots;
}

/* The last record of each writer says so; a reader has finished after that of all of them. */
static int writer(struct bench_team *team, int me, const void *context)
{
	const struct ring_setup *setup = context;
	uint64_t n, turn, end, room = 0, now = 0, *slot;
	struct ring_shared *ring = team->shared;
	char *record = calloc(1, setup->record_len);
	bool last = false;

	if (!record)
		return bench_team_fail(team, me, -ENOMEM, "no memory for a record");
	bench_team_ready(team, me);
	end = bench_clock_ticks() + bench_clock_from_ns(team->env->run_ns);
	for (n = 1; !last; n++) {
		turn = setup->n_writers == 1 ? n : cell_add(&ring->tail.value) + 1;
		if (n % LOOK_STEP == 0 || setup->record_len >= 4096)
			now = bench_clock_ticks();
		last = now > end;
		memcpy(record, last ? &last_word : &turn, sizeof(turn));
		if (turn > room)
			room = await_room(ring, setup, turn);
		slot = slot_at(ring, turn);
		copy_record(slot + 1, record, setup->record_len);
		cell_store(slot, turn);
	}
	free(record);
	return 0;
}

/*
 * Polling at once again would take the line from the writer while it is filling it: two to three
 * times slower.
 */
static inline void await_turn(const uint64_t *word, uint64_t turn, uint32_t patience)
{
	uint32_t n = 0;

	while (cell_load(word) != turn) {
		cell_pause(PAUSE);
		if (++n % patience == 0)
			sched_yield();
	}
}

static int read_records(struct ring_shared *ring, const struct ring_setup *setup, int me,
			uint64_t warm, char *record)
{
	uint64_t turn, word, now, from = 0, step = ring->n_slots / 16;
	uint64_t begin = bench_clock_ticks(), start = begin;
	int left = setup->n_writers;
	uint64_t *slot;

	for (turn = 1; left > 0; turn++) {
		slot = slot_at(ring, turn);
		await_turn(slot, turn, setup->patience);
		copy_record(record, slot + 1, setup->record_len);
		memcpy(&word, record, sizeof(word));
		if (word == last_word)
			left--;
		else if (word != turn)
			return -EBADMSG;
		if (left > 0 && step > 0 && turn % step != 0)
			continue;
		cell_store(&ring->done[me].value, turn);
		now = bench_clock_ticks();
		if (from == 0 && now > warm) {
			from = turn;
			start = now;
		}
	}
	now = bench_clock_ticks();
	/* However short the window was, something is measured. */
	if (from + 1 >= turn) {
		from = 0;
		start = begin;
	}
	ring->rates[me] = (double)(turn - 1 - from) * 1e9 / bench_clock_ns(now - start);
	return 0;
}

static int reader(struct bench_team *team, int me, const void *context)
{
	const struct ring_setup *setup = context;
	char *record = calloc(1, setup->record_len);
	uint64_t warm;
	int rc;

	if (!record)
		return bench_team_fail(team, me, -ENOMEM, "no memory for a record");
	bench_team_ready(team, me);
	warm = bench_clock_ticks() + bench_clock_from_ns(team->env->run_ns / 10);
	rc = read_records(team->shared, setup, me, warm, record);
	free(record);
	return rc < 0 ? bench_team_fail(team, me, rc, "a record is wrong") : 0;
}

static int run_ring(struct bench_env *env, struct ring_setup *setup, struct bench_result *result)
{
	struct bench_member members[READERS_MAX + WRITERS_MAX];
	size_t n_slots = bench_ring_slots(setup->record_len);
	size_t stride = stride_of(setup->record_len);
	int i, rc, n = setup->n_readers + setup->n_writers;
	struct ring_shared *ring;
	struct bench_team team;

	rc = bench_team_init(&team, env, sizeof(*ring) + n_slots * stride);
	if (rc < 0)
		return rc;
	ring = team.shared;
	ring->n_slots = n_slots;
	ring->stride = stride;
	setup->patience = n > env->n_cpus ? CROWD_PATIENCE : CELL_PATIENCE;
	for (i = 0; i < n; i++)
		members[i] = (struct bench_member){
			.run = i < setup->n_readers ? reader : writer,
			.context = setup,
			.cpu = n == 2 ? env->cpus[i] : -1,
		};
	rc = bench_team_run(&team, members, n, env->run_ns + BENCH_TEAM_WAIT_NS);
	result->value = ring->rates[0];
	for (i = 1; i < setup->n_readers; i++) {
		if (ring->rates[i] < result->value)
			result->value = ring->rates[i];
	}
	bench_team_deinit(&team);
	return rc;
}

int bench_ring_size(struct bench_env *env, struct bench_result *result)
{
	struct ring_setup setup = { .n_readers = 1, .n_writers = 1 };

	setup.record_len = (size_t)env->row->x;
	return run_ring(env, &setup, result);
}

int bench_ring_rate_8(struct bench_env *env, struct bench_result *result)
{
	struct ring_setup setup = { .n_readers = 8, .n_writers = 1 };

	setup.record_len = BENCH_VALUE_LEN;
	return run_ring(env, &setup, result);
}

int bench_ring_rate_2to1(struct bench_env *env, struct bench_result *result)
{
	struct ring_setup setup = { .n_readers = 1, .n_writers = 2 };

	setup.record_len = BENCH_VALUE_LEN;
	return run_ring(env, &setup, result);
}
