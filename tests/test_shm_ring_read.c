/* SPDX-License-Identifier: Apache-2.0 */
/* The short way of reading: one record by itself. Under the race detector it is not taken. */
#include <check.h>
#include <stdio.h>

#include "tests/ring_bed.h"

static struct ring_bed bed;
static struct ring_publisher publisher;
static char buf[RING_SHORT_LEN];

#define FIRST LAYOUT_FIRST_POS

static void setup(void)
{
	ring_bed_init(&bed, LAYOUT_RING_MIN);
	ck_assert_int_eq(ring_publisher_init(&publisher, bed.writer, 9, -1), 0);
	ring_bed_own(bed.daemon, 9, OWNER_TAKEN, 9);
}

static void teardown(void)
{
	ring_bed_deinit(&bed);
}

static uint64_t publish(uint32_t value_len, uint64_t number)
{
	uint64_t pos;

	ck_assert_int_eq(ring_bed_publish(&publisher, 1, number, value_len, &pos), 0);
	return pos;
}

static void commit(uint64_t pos, uint64_t word)
{
	ck_assert_int_eq(ring_commit(&publisher, pos, word, 1), 0);
}

static bool read_short(uint64_t pos)
{
	uint64_t word;

	return ring_read_short(bed.reader, pos, buf, &word);
}

START_TEST(a_short_record_is_read_by_itself_and_everything_else_is_not)
{
	uint64_t pos, who, number, word;
	struct record_view view;

	ck_assert(!read_short(FIRST));
	pos = publish(100, 5);
	ck_assert(read_short(pos));
	memcpy(&word, buf, 8);
	ck_assert_int_eq(record_parse(word, buf, pos, &view), 0);
	ck_assert(ring_bed_check(&view, &who, &number));
	ck_assert_uint_eq(number, 5);
	ck_assert(read_short(publish(RING_SHORT_LEN - 32, 6)));
	ck_assert(!read_short(publish(RING_SHORT_LEN - 31, 7)));
	ck_assert_int_eq(ring_reserve(&publisher, 64, &pos), 0);
	ck_assert(!read_short(pos));
	commit(pos, record_word(RECORD_COMMITTED, 64, 9, RECORD_F_EVENT_TIME));
	ck_assert(!read_short(pos));
	for (int kind = RECORD_TOMBSTONE; kind <= RECORD_DAMAGED; kind++) {
		ck_assert_int_eq(ring_reserve(&publisher, 64, &pos), 0);
		commit(pos, record_word(kind, 64, 9, 0));
		ck_assert(!read_short(pos));
	}
}
END_TEST

START_TEST(a_short_record_that_was_reclaimed_or_whose_ring_is_closed_is_left_to_others)
{
	uint64_t pos = publish(16, 0), next = publish(16, 1);

	ck_assert(read_short(pos) && read_short(next));
	store_relaxed(&bed.daemon->govern->reclaimed, next);
	ck_assert(!read_short(pos) && read_short(next));
	ring_set_succeeded(bed.daemon, next + 64);
	ck_assert(!read_short(next));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("shm/ring_read");
	TCase *tcase = tcase_create("short");
	SRunner *runner = srunner_create(suite);
	int failed;

#ifdef __SANITIZE_THREAD__
	puts("the race detector makes every subscriber read the long way");
	return 77;
#endif
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, a_short_record_is_read_by_itself_and_everything_else_is_not);
	tcase_add_test(tcase,
		       a_short_record_that_was_reclaimed_or_whose_ring_is_closed_is_left_to_others);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
