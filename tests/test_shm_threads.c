/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishers, subscribers, the drain and the clock as threads over one mapping (the race detector
 * goes by addresses), for make check-unit VARIANT=tsan; without it a short stress. Publishers
 * abandon a reservation at a random point and are declared dead. Readers verify every byte.
 */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#include "shm/clock.h"
#include "shm/wait.h"
#include "tests/ring_bed.h"

enum {
	N_PUBLISHERS = 3,
	N_READERS = 2,
	RUN_MS = 1500,
	VALUE_MAX = 400,
	ABANDON_ONE_IN = 50,
};

static struct ring_bed bed;
static _Atomic bool stop, stop_drain;
static _Atomic uint64_t committed[N_PUBLISHERS], read_up, laps, abandoned;
static uint64_t drained[N_PUBLISHERS];

/* ---- publishers ---- */

struct writer {
	unsigned int idx;
	uint16_t slot;
	uint64_t random;
	struct ring_publisher publisher;
};

/* Its own slot while it lives; the next one when it has "died". */
static void take_slot(struct writer *writer)
{
	uint16_t slot = (uint16_t)(writer->idx * 32 + (writer->slot + 1) % 32);

	while (load_acquire(&bed.daemon->govern->owners[slot].state) != OWNER_FREE)
		sched_yield();
	writer->slot = slot;
	ring_bed_own(bed.daemon, slot, OWNER_TAKEN, 1);
	bed_must(ring_publisher_init(&writer->publisher, bed.daemon, slot, -1) == 0, "slot %d",
		 slot);
}

/* A death with a reservation, with a hole, or with a claim that led nowhere. */
static void abandon(struct writer *writer)
{
	struct ring_publisher *publisher = &writer->publisher;
	uint64_t tail, pos, kind = ring_bed_random(&writer->random) % 3;

	if (kind == 0)
		(void)ring_reserve(publisher, 300, &pos);
	else
		store_release(&publisher->slot->claim, publisher->claim + 1);
	tail = load_relaxed(&bed.daemon->publish->tail);
	while (kind == 1 && tail + 96 <= load_acquire(&bed.daemon->govern->limit))
		if (cas_acq_rel(&bed.daemon->publish->tail, &tail, tail + 96))
			break;
	ring_bed_own(bed.daemon, writer->slot, OWNER_DEAD, 0);
	fetch_add_relaxed(&abandoned, 1);
	take_slot(writer);
}

static void wait_for_room(void)
{
	const _Atomic uint32_t *bell = &bed.daemon->govern->limit_bell;
	uint32_t value = ring_bell(bell);

	if (ring_tail(bed.daemon) + 1024 > load_acquire(&bed.daemon->govern->limit))
		(void)wait_bell(bell, value, 10 * NS_PER_MS);
}

static void *write_records(void *arg)
{
	struct writer *writer = arg;
	uint64_t number = 0;

	take_slot(writer);
	while (!load_relaxed(&stop)) {
		uint64_t random = ring_bed_random(&writer->random);
		uint32_t value_len = RING_BED_VALUE_MIN + (uint32_t)(random >> 32) % VALUE_MAX;
		int r;

		if (random % ABANDON_ONE_IN == 0)
			abandon(writer);
		(void)clock_ns(bed.daemon->govern);
		r = ring_bed_publish(&writer->publisher, writer->idx, number, value_len, NULL);
		if (r == RING_E_FULL) {
			wait_for_room();
			continue;
		}
		bed_must(r == 0, "ring_bed_publish: %d", r);
		store_relaxed(&committed[writer->idx], ++number);
	}
	return NULL;
}

/* ---- readers ---- */

struct reader {
	bool slow;
	uint64_t pos;
	uint64_t next[N_PUBLISHERS];
	bool gap[N_PUBLISHERS]; /* a lap lies before its next record */
	uint64_t limit;
	char buf[8192];
};

static void take_run(struct reader *reader, uint64_t len)
{
	uint64_t start = reader->pos;

	while (reader->pos - start < len) {
		uint64_t word, who, number;
		struct record_view view;
		const char *bytes = reader->buf + (reader->pos - start);

		memcpy(&word, bytes, 8);
		bed_must(record_parse(word, bytes, reader->pos, &view) == 0, "a record is torn");
		reader->pos += record_step(word);
		if (view.kind == RECORD_TOMBSTONE)
			continue;
		bed_must(ring_bed_check(&view, &who, &number) && who < N_PUBLISHERS,
			 "what was read at %llu is not what was written",
			 (unsigned long long)view.pos);
		bed_must(number >= reader->next[who], "record %llu of %llu comes twice",
			 (unsigned long long)number, (unsigned long long)who);
		bed_must(reader->gap[who] || number == reader->next[who],
			 "record %llu of %llu is missing", (unsigned long long)reader->next[who],
			 (unsigned long long)who);
		reader->next[who] = number + 1;
		reader->gap[who] = false;
		fetch_add_relaxed(&read_up, 1);
	}
}

/* After a lap the first record of each publisher may have any higher number. */
static void after_lap(struct reader *reader)
{
	fetch_add_relaxed(&laps, 1);
	reader->pos = ring_reclaimed(bed.daemon);
	memset(reader->gap, true, sizeof(reader->gap));
}

static void wait_for_records(struct reader *reader)
{
	struct wait_ticket ticket;

	wait_announce(&ticket, bed.daemon);
	(void)wait_barrier();
	if (ring_word_at(bed.daemon, reader->pos) == 0)
		(void)wait_sleep(&ticket, 1, 10 * NS_PER_MS);
}

static void look_aside(struct reader *reader)
{
	uint64_t boundary, word;
	const void *bytes;

	(void)ring_seek(bed.daemon, reader->pos + 4096, &boundary);
	(void)ring_peek(bed.daemon, reader->pos, &reader->limit, &word, &bytes);
	if (reader->slow)
		for (int i = 0; i < 20; i++)
			sched_yield();
}

static void *read_records(void *arg)
{
	struct reader *reader = arg;
	uint64_t len;

	reader->pos = bed.daemon->first_pos;
	while (!load_relaxed(&stop)) {
		int r = ring_read(bed.daemon, reader->pos, UINT64_MAX, &reader->limit, reader->buf,
				  sizeof(reader->buf), &len);

		if (r == 0)
			take_run(reader, len);
		else if (r == RING_E_LAPPED)
			after_lap(reader);
		else
			bed_must(r == RING_E_EMPTY, "ring_read: %d", r);
		if (r == RING_E_EMPTY && !reader->slow)
			wait_for_records(reader);
		look_aside(reader);
	}
	return NULL;
}

/* ---- the drain ---- */

static void count_drained(void *arg, const struct record_view *view)
{
	uint64_t who, number;

	(void)arg;
	bed_must(ring_bed_check(view, &who, &number) && who < N_PUBLISHERS, "a torn record");
	bed_must(number == drained[who], "record %llu follows %llu", (unsigned long long)number,
		 (unsigned long long)drained[who]);
	drained[who]++;
}

static void *drain_records(void *arg)
{
	struct ring_bed_drain *drain = arg;
	struct clock_source source;

	clock_source_init(&source);
	for (uint64_t i = 0; !load_relaxed(&stop_drain); i++) {
		if (!ring_bed_drain_pass(drain))
			sched_yield();
		if (i % 64 == 0)
			clock_publish(bed.daemon->govern, &source);
		if (i % 256 == 0)
			ring_wake_subscribers(bed.daemon);
	}
	return NULL;
}

START_TEST(threads_publish_read_drain_and_die_and_every_byte_is_right)
{
	static struct writer writers[N_PUBLISHERS];
	static struct reader readers[N_READERS];
	pthread_t threads[N_PUBLISHERS + N_READERS], drainer;
	struct ring_bed_drain drain;
	uint64_t seed = ring_bed_seed(), end;
	unsigned int n = 0;

	ring_bed_init(&bed, LAYOUT_RING_MIN);
	ring_bed_drain_init(&drain, bed.daemon, LAYOUT_FIRST_POS);
	drain.on_record = count_drained;
	ck_assert_int_eq(pthread_create(&drainer, NULL, drain_records, &drain), 0);
	for (unsigned int i = 0; i < N_PUBLISHERS; i++) {
		writers[i] = (struct writer){ .idx = i, .random = seed + i };
		ck_assert_int_eq(pthread_create(&threads[n++], NULL, write_records, &writers[i]),
				 0);
	}
	for (unsigned int i = 0; i < N_READERS; i++) {
		readers[i].slow = i > 0;
		ck_assert_int_eq(pthread_create(&threads[n++], NULL, read_records, &readers[i]), 0);
	}
	end = clock_now_ns(CLOCK_MONOTONIC) + RUN_MS * NS_PER_MS;
	while (clock_now_ns(CLOCK_MONOTONIC) < end)
		(void)wait_futex(&bed.daemon->govern->durable_bell,
				 ring_bell(&bed.daemon->govern->durable_bell), 10 * NS_PER_MS);
	store_relaxed(&stop, true);
	while (n > 0)
		pthread_join(threads[--n], NULL);
	store_relaxed(&stop_drain, true);
	pthread_join(drainer, NULL);
	for (int i = 0; i < 10; i++)
		ring_bed_drain_pass(&drain);
	for (unsigned int i = 0; i < N_PUBLISHERS; i++)
		ck_assert_uint_eq(drained[i], load_relaxed(&committed[i]));
	printf("%llu records drained, %llu read, %llu laps, %llu abandoned, %llu tombstones\n",
	       (unsigned long long)drain.records, (unsigned long long)load_relaxed(&read_up),
	       (unsigned long long)load_relaxed(&laps),
	       (unsigned long long)load_relaxed(&abandoned), (unsigned long long)drain.tombstones);
	ck_assert_uint_eq(drain.damaged, 0);
	ck_assert_uint_gt(drain.tombstones, 0);
	ck_assert_uint_gt(load_relaxed(&read_up), 0);
	ck_assert_uint_gt(load_relaxed(&laps), 0);
	ck_assert(ring_bed_is_clean(bed.daemon));
	ring_bed_deinit(&bed);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("shm/threads");
	TCase *tcase = tcase_create("threads");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, threads_publish_read_drain_and_die_and_every_byte_is_right);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
