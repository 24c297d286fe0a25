/* SPDX-License-Identifier: Apache-2.0 */
/* Holes and who may own them; one thread plays all parts, so every order here is chosen. */
#include <check.h>

#include "tests/ring_bed.h"

static struct ring_bed bed;
static struct ring_publisher alive, other;
static struct orphan_scan scan;
static uint64_t len;

static void setup(void)
{
	ring_bed_init(&bed, LAYOUT_RING_MIN);
	ck_assert_int_eq(ring_publisher_init(&alive, bed.writer, 1, -1), 0);
	ck_assert_int_eq(ring_publisher_init(&other, bed.writer, 255, -1), 0);
	ring_bed_own(bed.daemon, 1, OWNER_TAKEN, 111);
	ring_bed_own(bed.daemon, 255, OWNER_TAKEN, 255);
	memset(&scan, 0, sizeof(scan));
	len = 0;
}

static void teardown(void)
{
	ring_bed_deinit(&bed);
}

/* What a publisher that stops between the tail and the word leaves; its claim stays odd. */
static uint64_t make_hole(struct ring_publisher *publisher, uint64_t span)
{
	uint64_t tail = load_relaxed(&bed.writer->publish->tail);

	store_relaxed(&publisher->slot->claim, publisher->claim + 1);
	store_relaxed(&bed.writer->publish->tail, tail + span);
	return tail;
}

/* ... and the rest of the reservation, when it goes on. */
static void go_on(struct ring_publisher *publisher, uint64_t pos, uint32_t value_len)
{
	struct record_header *record = ring_at(bed.writer, pos);

	store_relaxed(&record->word, record_word(RECORD_RESERVED, RECORD_HEADER_LEN + value_len,
						 publisher->owner, 0));
	publisher->claim += 2;
	store_release(&publisher->slot->claim, publisher->claim);
}

static int step(uint64_t pos)
{
	return orphan_step(bed.daemon, &scan, pos, 1, &len);
}

START_TEST(a_hole_of_somebody_alive_is_waited_for_as_long_as_it_takes)
{
	uint64_t pos = make_hole(&alive, 64);

	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(step(pos), ORPHAN_E_WAIT);
	go_on(&alive, pos, 32);
	ck_assert_int_eq(step(pos), ORPHAN_E_FILLED);
	ck_assert_uint_eq(len, 0);
}
END_TEST

START_TEST(the_hole_of_a_dead_publisher_is_found_at_once)
{
	uint64_t pos = make_hole(&alive, 96);

	ring_bed_own(bed.daemon, 1, OWNER_DEAD, 0);
	ck_assert_int_eq(step(pos), 0);
	ck_assert_uint_eq(len, 96);
}
END_TEST

START_TEST(a_death_during_the_search_ends_the_wait)
{
	uint64_t pos = make_hole(&alive, 96);

	ck_assert_int_eq(step(pos), ORPHAN_E_WAIT);
	ring_bed_own(bed.daemon, 1, OWNER_DEAD, 0);
	ck_assert_int_eq(step(pos), 0);
	ck_assert_uint_eq(len, 96);
}
END_TEST

START_TEST(all_who_were_in_the_middle_are_waited_for)
{
	uint64_t pos = make_hole(&alive, 64);
	uint64_t second = make_hole(&other, 64);

	/* One of the two is dead, and nobody can say yet which hole was whose. */
	ring_bed_own(bed.daemon, 1, OWNER_DEAD, 0);
	ck_assert_int_eq(step(pos), ORPHAN_E_WAIT);
	go_on(&other, second, 32);
	ck_assert_int_eq(step(pos), 0);
	ck_assert_uint_eq(len, 64);
}
END_TEST

START_TEST(a_claim_that_changed_counts_even_if_it_is_odd_again)
{
	uint64_t pos = make_hole(&alive, 64), next;

	ring_bed_own(bed.daemon, 1, OWNER_DEAD, 0);
	store_relaxed(&other.slot->claim, other.claim + 1);
	ck_assert_int_eq(step(pos), ORPHAN_E_WAIT);
	/* Its first attempt is over; the next one can only own what lies behind the tail read. */
	store_relaxed(&other.slot->claim, other.claim + 3);
	next = load_relaxed(&bed.writer->publish->tail);
	store_relaxed(&bed.writer->publish->tail, next + 64);
	ck_assert_int_eq(step(pos), 0);
	ck_assert_uint_eq(len, 64);
}
END_TEST

START_TEST(a_hole_ends_at_the_tail_that_was_read_when_the_search_began)
{
	uint64_t pos = make_hole(&alive, 64);

	ck_assert_int_eq(step(pos), ORPHAN_E_WAIT);
	/* A second publisher reserves behind it and has not stored its word yet. */
	make_hole(&other, 128);
	ring_bed_own(bed.daemon, 1, OWNER_DEAD, 0);
	ck_assert_int_eq(step(pos), 0);
	ck_assert_uint_eq(len, 64);
}
END_TEST

START_TEST(a_hole_ends_at_the_next_word)
{
	uint64_t pos = make_hole(&alive, 160);

	ck_assert_int_eq(ring_bed_publish(&other, 1, 1, 40, NULL), 0);
	ring_bed_own(bed.daemon, 1, OWNER_DEAD, 0);
	ck_assert_int_eq(step(pos), 0);
	ck_assert_uint_eq(len, 160);
}
END_TEST

START_TEST(holes_of_several_dead_side_by_side_are_one)
{
	uint64_t pos = make_hole(&alive, 64);

	make_hole(&other, 96);
	ring_bed_own(bed.daemon, 1, OWNER_DEAD, 0);
	ring_bed_own(bed.daemon, 255, OWNER_DEAD, 0);
	ck_assert_int_eq(step(pos), 0);
	ck_assert_uint_eq(len, 160);
}
END_TEST

START_TEST(slots_that_nobody_has_do_not_hold_up_the_search)
{
	uint64_t pos = make_hole(&alive, 64);

	ring_bed_own(bed.daemon, 1, OWNER_DEAD, 0);
	for (uint16_t slot = 2; slot < 255; slot++)
		store_relaxed(&bed.writer->publish->slots[slot].claim, 7);
	ck_assert_int_eq(step(pos), 0);
}
END_TEST

START_TEST(all_256_publishers_can_be_in_the_middle)
{
	uint64_t pos = make_hole(&alive, 64);

	for (uint16_t slot = 0; slot < LAYOUT_PUBLISHER_SLOTS; slot++) {
		ring_bed_own(bed.daemon, slot, OWNER_TAKEN, slot);
		store_relaxed(&bed.writer->publish->slots[slot].claim, 2 * slot + 1u);
	}
	ck_assert_int_eq(step(pos), ORPHAN_E_WAIT);
	ck_assert_uint_eq(scan.n_pending, 256);
	for (uint16_t slot = 0; slot < LAYOUT_PUBLISHER_SLOTS; slot++) {
		ck_assert_int_eq(step(pos), ORPHAN_E_WAIT);
		store_relaxed(&bed.writer->publish->slots[slot].claim, 2 * slot + 2u);
	}
	ck_assert_int_eq(step(pos), 0);
}
END_TEST

START_TEST(a_search_at_another_place_begins_anew)
{
	uint64_t pos = make_hole(&alive, 64), second;

	ck_assert_int_eq(step(pos), ORPHAN_E_WAIT);
	go_on(&alive, pos, 32);
	second = make_hole(&other, 64);
	ck_assert_int_eq(step(second), ORPHAN_E_WAIT);
	ck_assert_uint_eq(scan.n_pending, 1);
	ck_assert_uint_eq(scan.pending[0], 255);
	go_on(&other, second, 32);
	ck_assert_int_eq(step(second), ORPHAN_E_FILLED);
}
END_TEST

START_TEST(a_reused_slot_does_not_inherit_the_claim_of_the_dead)
{
	uint64_t pos = make_hole(&alive, 64);
	struct ring_publisher heir;

	ring_bed_own(bed.daemon, 1, OWNER_DEAD, 0);
	ck_assert_int_eq(step(pos), 0);
	ring_bed_own(bed.daemon, 1, OWNER_TAKEN, 112);
	ck_assert_int_eq(ring_publisher_init(&heir, bed.writer, 1, -1), 0);
	ck_assert_uint_eq(load_relaxed(&heir.slot->claim) & 1, 0);
	/* And the number goes on, so that a search sees the change. */
	ck_assert_uint_gt(heir.claim, alive.claim);
	scan.pos = 0;
	ck_assert_int_eq(step(pos), 0);
}
END_TEST

START_TEST(a_full_ring_that_is_one_hole_is_found)
{
	uint64_t pos = make_hole(&alive, LAYOUT_RING_MIN);

	ring_bed_own(bed.daemon, 1, OWNER_DEAD, 0);
	ck_assert_int_eq(step(pos), 0);
	ck_assert_uint_eq(len, LAYOUT_RING_MIN);
}
END_TEST

START_TEST(a_tail_that_is_nonsense_gives_no_hole)
{
	uint64_t pos = LAYOUT_FIRST_POS;

	ck_assert_uint_eq(orphan_hole_len(bed.daemon, pos, pos), 0);
	ck_assert_uint_eq(orphan_hole_len(bed.daemon, pos, pos - 32), 0);
	ck_assert_uint_eq(orphan_hole_len(bed.daemon, pos, pos + LAYOUT_RING_MIN + 32), 0);
	ck_assert_uint_eq(orphan_hole_len(bed.daemon, pos, UINT64_MAX), 0);
	ck_assert_uint_eq(orphan_hole_len(bed.daemon, pos, pos + 32), 32);
}
END_TEST

START_TEST(a_tombstone_names_the_dead_keeps_the_length_and_wipes_the_content)
{
	struct orphan_dead dead = { .pid = 4321, .uid = 1000, .owner = 1 };
	struct record_view view;
	uint64_t pos, limit = 0, word, got;
	char buf[64];

	ck_assert_int_eq(ring_reserve(&alive, 500, &pos), 0);
	memset((char *)ring_at(bed.writer, pos) + 8, 0x5a, 500 - 8);
	orphan_bury(bed.daemon, pos, 500, RECORD_TOMBSTONE, &dead, 12345, true);
	ck_assert_int_eq(ring_read(bed.reader, pos, UINT64_MAX, &limit, buf, sizeof(buf), &got), 0);
	memcpy(&word, buf, 8);
	ck_assert_uint_eq(got, 32);
	ck_assert_uint_eq(word, record_word(RECORD_TOMBSTONE, 500, 1, 0));
	ck_assert_int_eq(record_parse(word, buf, pos, &view), 0);
	ck_assert_uint_eq(view.publisher, 4321);
	ck_assert_uint_eq(view.sequence, 1000);
	ck_assert_uint_eq(view.timestamp_ns, 12345);
	ck_assert_uint_eq(ring_bed_unit(bed.daemon, pos, word, ring_tail(bed.daemon)), 512);
	for (unsigned int i = 32; i < 512; i++)
		ck_assert_int_eq(((char *)ring_at(bed.writer, pos))[i], 0);
}
END_TEST

START_TEST(where_there_are_no_checksums_a_tombstone_has_none)
{
	static const struct orphan_dead nobody;
	const struct record_header *record;
	uint64_t pos[2];

	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(ring_reserve(&alive, 96, &pos[i]), 0);
		bed.daemon->flags = i ? 0 : GOVERN_F_CHECKSUM;
		orphan_bury(bed.daemon, pos[i], 96, RECORD_TOMBSTONE, &nobody, 1, true);
	}
	bed.daemon->flags = GOVERN_F_CHECKSUM;
	record = ring_at(bed.daemon, pos[0]);
	ck_assert_uint_ne(record->crc, 0);
	record = ring_at(bed.daemon, pos[1]);
	ck_assert_uint_eq(record->crc, 0);
}
END_TEST

START_TEST(a_mark_of_damage_leaves_the_content_alone)
{
	static const struct orphan_dead nobody;
	uint64_t pos;

	ck_assert_int_eq(ring_reserve(&alive, 96, &pos), 0);
	memset((char *)ring_at(bed.writer, pos) + 32, 0x5a, 64);
	orphan_bury(bed.daemon, pos, 96, RECORD_DAMAGED, &nobody, 1, false);
	ck_assert_int_eq(record_word_kind(ring_word_at(bed.reader, pos)), RECORD_DAMAGED);
	ck_assert_int_eq(((char *)ring_at(bed.writer, pos))[95], 0x5a);
}
END_TEST

START_TEST(a_drain_told_that_the_living_are_dead_would_bury_them)
{
	/* The negative control of the first case: what it guards against does happen. */
	struct ring_bed_drain drain;
	uint64_t pos = make_hole(&alive, 64);

	ring_bed_drain_init(&drain, bed.daemon, pos);
	ck_assert(!ring_bed_drain_pass(&drain));
	ck_assert(drain.waits);
	ring_bed_own(bed.daemon, 1, OWNER_FREE, 0);
	ck_assert(ring_bed_drain_pass(&drain));
	ck_assert_uint_eq(drain.tombstones, 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("shm/orphan");
	TCase *tcase = tcase_create("orphan");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, a_hole_of_somebody_alive_is_waited_for_as_long_as_it_takes);
	tcase_add_test(tcase, the_hole_of_a_dead_publisher_is_found_at_once);
	tcase_add_test(tcase, a_death_during_the_search_ends_the_wait);
	tcase_add_test(tcase, all_who_were_in_the_middle_are_waited_for);
	tcase_add_test(tcase, a_claim_that_changed_counts_even_if_it_is_odd_again);
	tcase_add_test(tcase, a_hole_ends_at_the_tail_that_was_read_when_the_search_began);
	tcase_add_test(tcase, a_hole_ends_at_the_next_word);
	tcase_add_test(tcase, holes_of_several_dead_side_by_side_are_one);
	tcase_add_test(tcase, slots_that_nobody_has_do_not_hold_up_the_search);
	tcase_add_test(tcase, all_256_publishers_can_be_in_the_middle);
	tcase_add_test(tcase, a_search_at_another_place_begins_anew);
	tcase_add_test(tcase, a_reused_slot_does_not_inherit_the_claim_of_the_dead);
	tcase_add_test(tcase, a_full_ring_that_is_one_hole_is_found);
	tcase_add_test(tcase, a_tail_that_is_nonsense_gives_no_hole);
	tcase_add_test(tcase, a_tombstone_names_the_dead_keeps_the_length_and_wipes_the_content);
	tcase_add_test(tcase, where_there_are_no_checksums_a_tombstone_has_none);
	tcase_add_test(tcase, a_mark_of_damage_leaves_the_content_alone);
	tcase_add_test(tcase, a_drain_told_that_the_living_are_dead_would_bury_them);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
