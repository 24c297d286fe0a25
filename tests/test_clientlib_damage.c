/* SPDX-License-Identifier: Apache-2.0 */
/* What a subscriber makes of memory that publishers write what they like to: nothing is waited for
 * that a publisher can undo. */
#include "tests/subscribe_bed.h"

START_TEST(a_range_that_the_daemon_calls_damaged_is_a_gap)
{
	uint64_t pos;

	publish("before");
	ck_assert_int_eq(ring_reserve(&pub_shard.rp, 5000, &pos), 0);
	publish("after");
	orphan_bury(daemon_ring, pos, 5024, RECORD_DAMAGED, &(struct orphan_dead){ 0 }, 1, false);
	expect("before");
	expect_gap(pos, pos + 5024, LEAT_GAP_DAMAGE);
	expect("after");
}
END_TEST

START_TEST(a_record_that_does_not_parse_is_a_gap_as_long_as_the_daemon_says)
{
	struct record_header *header;
	uint64_t pos;

	ck_assert_int_eq(ring_reserve(&pub_shard.rp, 40, &pos), 0);
	header = ring_at(pub_shard.ring, pos);
	header->key_len = 65535;
	header->headers_len = 65535;
	ring_commit(&pub_shard.rp, pos, record_word(RECORD_COMMITTED, 40, 3, 0), 1);
	publish("after");
	/* Its own length is no better than the rest of it. */
	expect_nothing();
	orphan_bury(daemon_ring, pos, 64, RECORD_DAMAGED, &(struct orphan_dead){ 0 }, 1, false);
	expect_gap(pos, pos + 64, LEAT_GAP_DAMAGE);
	expect("after");
}
END_TEST

/* With nonsense, nothing, or what looks as if it were still being written. */
START_TEST(what_was_overwritten_after_it_was_drained_is_a_gap_in_memory)
{
	const uint64_t words[] = { UINT64_MAX, 0, record_word(RECORD_RESERVED, 36, 0, 0) };
	uint64_t pos = publish("before"), end;

	publish("lost");
	end = publish("after");
	store_relaxed(&daemon_ring->govern->written, end);
	store_relaxed((_Atomic uint64_t *)ring_at(pub_shard.ring, pos + 64), words[_i]);
	expect("before");
	expect_nothing();
	expect_gap_within(10 * NS_PER_S, pos + 64, end, LEAT_GAP_DAMAGE);
	expect("after");
}
END_TEST

/* Its records are what they were, but nobody can be sure that they are all. */
START_TEST(a_batch_whose_header_was_changed_after_it_was_drained_is_a_gap_in_memory)
{
	struct leat_record records[] = { { .value = "a", .value_len = 1 },
					 { .value = "b", .value_len = 1 } };
	uint64_t pos = publish("before") + 64, end;

	ck_assert_int_eq(leat_publish_batch(&publisher, records, 2, NULL), 0);
	end = publish("after");
	store_relaxed(&daemon_ring->govern->written, end);
	((struct record_header *)ring_at(pub_shard.ring, pos))->crc ^= 1;
	/* Read in full, as a shard among several is. */
	sub->stop_ns = UINT64_MAX - 1;
	expect("before");
	expect_nothing();
	expect_gap_within(10 * NS_PER_S, pos, end, LEAT_GAP_DAMAGE);
	expect("after");
}
END_TEST

/* Who reads what is written gets it as it was written, or not from here. */
START_TEST(a_record_that_was_changed_after_it_was_drained_is_no_record_under_isolation)
{
	uint64_t pos = publish("before") + 64, end;

	sub->options.isolation = LEAT_ISOLATION_WRITTEN;
	publish("lost");
	end = publish("after");
	store_relaxed(&daemon_ring->govern->written, end + 64);
	*(char *)ring_at(pub_shard.ring, pos + 33) ^= 1;
	expect("before");
	expect_nothing();
	expect_gap_within(10 * NS_PER_S, pos, end + 64, LEAT_GAP_DAMAGE);
	publish("new");
	expect_nothing();
	store_relaxed(&daemon_ring->govern->written, end + 128);
	expect("new");
}
END_TEST

/* What is now nonsense and now a record that cannot be taken apart is one damage, not many. */
START_TEST(nonsense_that_keeps_changing_is_not_waited_for_anew)
{
	struct timespec pause = { .tv_nsec = 30 * 1000 * 1000 };
	uint64_t words[] = { UINT64_MAX, record_word(RECORD_COMMITTED, 36, 3, 0) };
	uint64_t pos = publish("before") + 64, end, i;
	_Atomic uint64_t *at = (_Atomic uint64_t *)ring_at(pub_shard.ring, pos);
	struct leat_message message;
	int r = -ETIMEDOUT;

	publish("lost");
	end = publish("after");
	store_relaxed(&daemon_ring->govern->written, end);
	/* Before anything is read, for who copies several records at once. */
	store_relaxed(at, words[0]);
	expect("before");
	for (i = 0; i < 20 && r == -ETIMEDOUT; i++) {
		store_relaxed(at, words[i % 2]);
		((struct record_header *)ring_at(pub_shard.ring, pos))->key_len = 65535;
		r = leat_next(sub, 0, &message);
		nanosleep(&pause, NULL);
	}
	ck_assert_int_eq(r, 1);
	ck_assert_int_eq(message.kind, LEAT_GAP);
	ck_assert_uint_eq(message.next_pos, end);
	expect("after");
}
END_TEST

START_TEST(a_deleted_stream_ends_reading_where_it_makes_no_sense_too)
{
	struct timespec pause = { .tv_nsec = 150 * 1000 * 1000 };
	struct leat_message message;
	uint64_t pos = publish("last");

	publish("not drained");
	store_relaxed(&daemon_ring->govern->written, pos + 64);
	store_relaxed((_Atomic uint64_t *)ring_at(pub_shard.ring, pos + 64), UINT64_MAX);
	ring_close_tail(daemon_ring);
	ring_set_state(daemon_ring, GOVERN_REMOVED, 0);
	expect("last");
	expect_nothing();
	nanosleep(&pause, NULL);
	ck_assert_int_eq(leat_next(sub, 0, &message), -ENOENT);
}
END_TEST

/* Only the successor tells how far the log has got: it has to be asked for. */
START_TEST(the_successor_is_asked_for_where_a_closed_ring_makes_no_sense)
{
	struct timespec pause = { .tv_nsec = 150 * 1000 * 1000 };
	uint64_t pos = publish("last"), end;

	publish("lost");
	end = publish("after");
	store_relaxed(&daemon_ring->govern->written, pos + 64);
	store_relaxed((_Atomic uint64_t *)ring_at(pub_shard.ring, pos + 64), UINT64_MAX);
	ring_close_tail(daemon_ring);
	ring_set_succeeded(daemon_ring, end);
	expect("last");
	expect_nothing();
	nanosleep(&pause, NULL);
	ck_assert_uint_eq(sub->shards[0].later_ns, 0);
	expect_nothing();
	/* Nobody was there to give it. */
	ck_assert_uint_ne(sub->shards[0].later_ns, 0);
}
END_TEST

START_TEST(a_senseless_word_is_waited_for_and_then_skipped_as_damage)
{
	struct timespec pause = { .tv_nsec = 20 * 1000 * 1000 };
	struct leat_message message;
	uint64_t pos, i;
	int r = -ETIMEDOUT;

	publish("before");
	ck_assert_int_eq(ring_reserve(&pub_shard.rp, 96, &pos), 0);
	publish("after");
	/* In the middle of what a walk from the oldest record takes for one record. */
	sub->shards[0].pos = pos + 32;
	store_relaxed((_Atomic uint64_t *)ring_at(pub_shard.ring, pos + 32), UINT64_MAX);
	ring_commit(&pub_shard.rp, pos, record_word(RECORD_COMMITTED, 96, 3, 0), 1);
	for (i = 0; i < 50 && r == -ETIMEDOUT; i++) {
		r = leat_next(sub, 0, &message);
		nanosleep(&pause, NULL);
	}
	ck_assert_int_eq(r, 1);
	ck_assert_int_eq(message.kind, LEAT_GAP);
	ck_assert_int_eq(message.reason, LEAT_GAP_DAMAGE);
	ck_assert_uint_eq(message.next_pos, pos + 96);
	expect("after");
}
END_TEST

/* Whatever a publisher writes, a subscriber neither crashes nor hangs, and only moves forwards. */
START_TEST(random_words_in_the_ring_do_no_harm)
{
	uint64_t state = (uint64_t)_i * 7919 + 1, last = LAYOUT_FIRST_POS, i, n = 0;
	uint64_t *words = (uint64_t *)(void *)pub_shard.ring->data;
	struct leat_message message;

	store_relaxed(&pub_shard.ring->publish->tail, LAYOUT_FIRST_POS + RING_LEN);
	for (i = 0; i < RING_LEN / 8; i++) {
		state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
		words[i] = state;
		/* Mostly words that make some sense, or all would end at the first. */
		if (i % 4 == 0 && (state >> 60) != 0)
			words[i] = record_word((enum record_kind)(state >> 40) % 7,
					       32 + (uint32_t)(state >> 20) % 256, 3,
					       (state >> 50) % 2);
	}
	while (n++ < 10000 && leat_next(sub, 0, &message) == 1) {
		ck_assert_uint_ge(message.pos, last);
		ck_assert_uint_gt(message.next_pos, message.pos);
		last = message.next_pos;
		for (i = 0; message.kind == LEAT_RECORD && i < message.value_len; i++)
			state += ((const uint8_t *)message.value)[i];
	}
	ck_assert_uint_lt(n, 10000);
	ck_assert(leat_seek(sub, 0, LEAT_POSITION, last + state % RING_LEN) == 0);
	(void)leat_next(sub, 0, &message);
	(void)leat_view(sub, 0, &message);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("damage");
	TCase *tc = tcase_create("damage");
	SRunner *runner;
	int n_failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_range_that_the_daemon_calls_damaged_is_a_gap);
	tcase_add_test(tc, a_record_that_does_not_parse_is_a_gap_as_long_as_the_daemon_says);
	tcase_add_loop_test(tc, what_was_overwritten_after_it_was_drained_is_a_gap_in_memory, 0, 3);
	tcase_add_test(tc,
		       a_batch_whose_header_was_changed_after_it_was_drained_is_a_gap_in_memory);
	tcase_add_test(tc,
		       a_record_that_was_changed_after_it_was_drained_is_no_record_under_isolation);
	tcase_add_test(tc, nonsense_that_keeps_changing_is_not_waited_for_anew);
	tcase_add_test(tc, a_deleted_stream_ends_reading_where_it_makes_no_sense_too);
	tcase_add_test(tc, the_successor_is_asked_for_where_a_closed_ring_makes_no_sense);
	tcase_add_test(tc, a_senseless_word_is_waited_for_and_then_skipped_as_damage);
	tcase_add_loop_test(tc, random_words_in_the_ring_do_no_harm, 0, 50);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
