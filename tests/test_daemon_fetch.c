/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Double fetches: how often each use of shared memory looks at the same 8 bytes that others may
 * write. Once, or as the table says and why it cannot hurt there.
 */
#include <check.h>
#include <stdio.h>

#include "daemon/shard_internal.h"
#include "tests/hostile.h"

enum {
	FETCH_LONG = 4000,
};

static struct ring_bed bed, next_bed;
static struct ring_publisher publisher;
static uint64_t short_pos, long_pos, batch_pos, tomb_pos, hole_pos, end_pos;
static char *buffer;

static void put_batch(void)
{
	uint64_t span = RECORD_HEADER_LEN + 2 * 64;
	uint64_t word = record_word(RECORD_BATCH, (uint32_t)span, 0, 0);
	struct record_header *head, *record;

	ck_assert_int_eq(ring_reserve(&publisher, (uint32_t)span, &batch_pos), 0);
	head = ring_at(bed.writer, batch_pos);
	for (uint64_t i = 0; i < 2; i++) {
		uint64_t at = batch_pos + RECORD_HEADER_LEN + 64 * i;
		uint64_t inner = record_word(RECORD_COMMITTED, 64, 0, 0);

		record = ring_at(bed.writer, at);
		record->crc = record_crc(bed.writer->crc_seed, at, inner, record);
		store_relaxed(&record->word, inner);
	}
	head->crc = record_crc(bed.writer->crc_seed, batch_pos, word, head);
	ck_assert_int_eq(ring_commit(&publisher, batch_pos, word, 2), 0);
}

/* One of everything, at known places. */
static void setup(void)
{
	struct orphan_dead dead = { .pid = 1 };

	hostile_begin(&bed);
	hostile_calm();
	buffer = malloc(LAYOUT_RING_MIN);
	ck_assert_ptr_nonnull(buffer);
	ck_assert_int_eq(ring_publisher_init(&publisher, bed.writer, 0, -1), 0);
	ck_assert_int_eq(ring_bed_publish(&publisher, 1, 1, 40, &short_pos), 0);
	ck_assert_int_eq(ring_bed_publish(&publisher, 1, 2, FETCH_LONG, &long_pos), 0);
	put_batch();
	ck_assert_int_eq(ring_reserve(&publisher, 96, &tomb_pos), 0);
	orphan_bury(bed.daemon, tomb_pos, 96, RECORD_TOMBSTONE, &dead, 1, true);
	ck_assert_int_eq(ring_reserve(&publisher, 256, &hole_pos), 0);
	store_relaxed((_Atomic uint64_t *)ring_at(bed.writer, hole_pos), 0);
	end_pos = ring_tail(bed.daemon);
}

static void teardown(void)
{
	free(buffer);
}

/* ---- uses ---- */

static void use_read(void)
{
	uint64_t limit = 0, len;

	(void)ring_read(bed.reader, short_pos, tomb_pos, &limit, buffer, LAYOUT_RING_MIN, &len);
}

static void use_read_tombstone(void)
{
	uint64_t limit = 0, len;

	(void)ring_read(bed.reader, tomb_pos, UINT64_MAX, &limit, buffer, LAYOUT_RING_MIN, &len);
}

static void use_read_short(void)
{
	uint64_t word;

	(void)ring_read_short(bed.reader, short_pos, buffer, &word);
}

static void use_peek(void)
{
	uint64_t limit = 0, word;
	const void *bytes;

	(void)ring_peek(bed.reader, long_pos, &limit, &word, &bytes);
}

static void use_seek(void)
{
	uint64_t at;

	(void)ring_seek(bed.reader, batch_pos, &at);
}

static void use_word_at(void)
{
	(void)ring_word_at(bed.reader, short_pos);
}

static void use_tail(void)
{
	(void)ring_tail(bed.reader);
}

static void drain(uint64_t pos)
{
	uint64_t word = ring_word_load(bed.daemon, pos), max_ns;
	uint32_t n_records;

	(void)shard_drain_unit(bed.daemon, pos, word, end_pos, &n_records, &max_ns);
}

static void use_drain_short(void)
{
	drain(short_pos);
}

static void use_drain_long(void)
{
	drain(long_pos);
}

static void use_drain_batch(void)
{
	drain(batch_pos);
}

static void use_drain_tombstone(void)
{
	drain(tomb_pos);
}

static void use_hole(void)
{
	struct orphan_scan scan = { 0 };
	uint64_t len;

	(void)orphan_step(bed.daemon, &scan, hole_pos, 1, &len);
}

static void use_decide(void)
{
	struct shard shard = { .cur = { .ring = bed.daemon } };

	if (!next_bed.daemon)
		ring_bed_init(&next_bed, LAYOUT_RING_MIN);
	shard.next.ring = next_bed.daemon;
	shard_succeed_decide(&shard, short_pos, tomb_pos);
}

static void use_reserve(void)
{
	uint64_t pos;

	(void)ring_reserve(&publisher, 64, &pos);
}

static const struct {
	const char *name;
	void (*use)(void);
	unsigned int most;
	const char *why; /* more than once */
} uses[] = {
	{ "ring_tail", use_tail, 1, "" },
	{ "ring_word_at", use_word_at, 1, "" },
	{ "ring_peek", use_peek, 1, "" },
	{ "ring_seek", use_seek, 1, "" },
	{ "ring_reserve", use_reserve, 1, "" },
	{ "drain: a record", use_drain_short, 1, "" },
	{ "drain: a long record", use_drain_long, 1, "" },
	{ "drain: a batch", use_drain_batch, 1, "" },
	{ "drain: a tombstone", use_drain_tombstone, 1, "" },
	{ "ring_read", use_read, 2, "the walk finds the end; what is used is the copy, alone" },
	{ "ring_read_short", use_read_short, 2, "its first 8 bytes are copied, and not used" },
	{ "ring_read: a tombstone", use_read_tombstone, 3,
	  "the walk, then its checksum over one copy; what is used is another, checked again" },
	{ "a hole", use_hole, 2,
	  "looked at until it is none: every look only makes it shorter, or ends the search" },
	{ "decide for a successor", use_decide, 2,
	  "valid in the old ring, then copied; what counts is the copy, checked again" },
};

static unsigned int look(void (*use)(void), char *where, size_t where_len)
{
	hostile_count_begin(&bed);
	use();
	return hostile_count_end(where, where_len);
}

START_TEST(each_word_is_looked_at_once_for_each_use)
{
	char where[64];
	unsigned int n = look(uses[_i].use, where, sizeof(where));

	ck_assert_msg(n > 0, "%s: nothing was looked at", uses[_i].name);
	ck_assert_msg(n <= uses[_i].most, "%s looks %u times at %s, not %u times at most",
		      uses[_i].name, n, where, uses[_i].most);
	/* A row that allows more than happens hides what comes later. */
	ck_assert_msg(n == uses[_i].most, "%s looks %u times at most, the table allows %u",
		      uses[_i].name, n, uses[_i].most);
	ck_assert((uses[_i].most == 1) == (uses[_i].why[0] == '\0'));
}
END_TEST

/* What the table is about, done on purpose. */
static void use_twice(void)
{
	if (record_word_len(ring_word_load(bed.daemon, short_pos)) > RECORD_HEADER_LEN)
		(void)ring_word_load(bed.daemon, short_pos);
}

START_TEST(a_double_fetch_is_counted_as_one)
{
	char where[64], wanted[64];

	ck_assert_uint_eq(look(use_twice, where, sizeof(where)), 2);
	snprintf(wanted, sizeof(wanted), "ring at %llu",
		 (unsigned long long)(short_pos % LAYOUT_RING_MIN));
	ck_assert_str_eq(where, wanted);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("daemon/fetch");
	TCase *tcase = tcase_create("fetch");
	SRunner *runner;
	int failed;

#ifdef __SANITIZE_THREAD__
	puts("the race detector is not shown the looks that race by design");
	return 77;
#endif
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, each_word_is_looked_at_once_for_each_use, 0, ARRAY_LEN(uses));
	tcase_add_test(tcase, a_double_fetch_is_counted_as_one);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
