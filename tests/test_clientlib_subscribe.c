/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/wait.h>

#include "tests/subscribe_bed.h"

START_TEST(what_is_published_arrives_in_order)
{
	uint64_t first = publish("one"), second = publish("");

	ck_assert_uint_eq(first, LAYOUT_FIRST_POS);
	ck_assert_uint_eq(second, first + 64);
	publish("three");
	expect("one");
	expect("");
	expect("three");
	expect_nothing();
	publish("four");
	expect("four");
}
END_TEST

START_TEST(a_batch_is_seen_whole_or_not_at_all)
{
	struct leat_record records[] = {
		{ .value = "a", .value_len = 1 },
		{ .value = "", .value_len = 0 },
		{ .value = "c", .value_len = 1, .key = "k", .key_len = 1 },
	};
	struct leat_result results[3];
	uint64_t pos;

	/* Reserved and dead in the middle: nothing of it shows. */
	ck_assert_int_eq(ring_reserve(&pub_shard.rp, 256, &pos), 0);
	ck_assert_int_eq(leat_publish_batch(&publisher, records, 3, results), 0);
	expect_nothing();
	orphan_bury(daemon_ring, pos, 256, RECORD_TOMBSTONE, &(struct orphan_dead){ 0 }, 1, false);
	expect("a");
	expect("");
	expect("c");
	expect_nothing();
	ck_assert_uint_eq(results[0].pos, pos + 256 + 32);
	ck_assert_uint_eq(results[2].pos, results[1].pos + 32);
	ck_assert_uint_eq(sub->stats.tombstones, 1);
	ck_assert_uint_eq(sub->stats.records, 3);
}
END_TEST

START_TEST(the_highest_timestamp_ends_no_subscription)
{
	struct leat_record record = { .value = "a", .value_len = 1, .event_time_ns = 1 };
	struct leat_result result;
	struct record_header *header;

	ck_assert_int_eq(leat_publish(&publisher, &record, &result), 0);
	header = ring_at(pub_shard.ring, result.pos);
	header->timestamp_ns = UINT64_MAX;
	publish("b");
	expect("a");
	expect("b");
	expect_nothing();
}
END_TEST

/* What a handler has been given, a letter each. */
struct heard {
	char letters[64];
	uint64_t positions[64];
	size_t n;
};

static int hear(void *context, const struct leat_message *message)
{
	struct heard *heard = context;

	ck_assert_int_eq(message->kind, LEAT_RECORD);
	ck_assert_uint_eq(message->value_len, 1);
	ck_assert_uint_eq(message->next_pos, message->pos + 64);
	heard->positions[heard->n] = message->pos;
	heard->letters[heard->n++] = *(const char *)message->value;
	return 0;
}

/* Of the shortest kind, so that the reader is on its quick way when it comes to them. */
START_TEST(batches_between_records_are_stepped_into)
{
	struct leat_record records[] = {
		{ .value = "b", .value_len = 1 },
		{ .value = "c", .value_len = 1 },
	};
	struct leat_result results[2];
	struct heard heard = { .n = 0 };
	int i;

	for (i = 0; i < 4; i++) {
		publish("a");
		ck_assert_int_eq(leat_publish_batch(&publisher, records, 2, results), 0);
	}
	ck_assert_int_eq(leat_publish_batch(&publisher, records, 2, results), 0);
	ck_assert_int_eq(leat_poll(sub, hear, &heard, 64, 0), 14);
	ck_assert_mem_eq(heard.letters, "abcabcabcabcbc", 14);
	ck_assert_uint_eq(heard.positions[12], results[0].pos);
	ck_assert_uint_eq(heard.positions[13], results[1].pos);
	expect_nothing();
	ck_assert_int_eq(leat_publish_batch(&publisher, records, 2, results), 0);
	expect("b");
	expect("c");
	expect_nothing();
	ck_assert_uint_eq(sub->stats.records, 16);
}
END_TEST

/* Its records are finished one by one, but none counts before the batch does. */
START_TEST(a_batch_that_is_not_finished_is_not_stepped_into)
{
	struct leat_message message;
	uint64_t pos;

	publish("a");
	publish("b");
	ck_assert_int_eq(leat_next(sub, 0, &message), 1);
	ck_assert_int_eq(ring_reserve(&pub_shard.rp, 96, &pos), 0);
	*(uint64_t *)ring_at(pub_shard.ring, pos + 32) =
		record_word(RECORD_COMMITTED, 33, pub_shard.rp.owner, 0);
	expect("b");
	expect_nothing();
	expect_nothing();
}
END_TEST

START_TEST(a_batch_too_long_for_the_ring_is_refused_and_nothing_of_it_stored)
{
	static char value[RING_LEN / 8];
	struct leat_record records[2] = { { .value = value, .value_len = sizeof(value) },
					  { .value = value, .value_len = sizeof(value) } };

	ck_assert_int_eq(leat_publish_batch(&publisher, records, 2, NULL), -EMSGSIZE);
	ck_assert_ptr_nonnull(strstr(leat_publisher_detail(&publisher), "16384"));
	expect_nothing();
	ck_assert_uint_eq(ring_tail(daemon_ring), LAYOUT_FIRST_POS);
}
END_TEST

START_TEST(the_largest_record_passes_and_one_byte_more_is_refused)
{
	static char value[RING_LEN];
	struct leat_record record = { .value = value,
				      .value_len = leat_publisher_max_len(&publisher) };
	struct leat_message message;

	memset(value, 'x', sizeof(value));
	ck_assert_int_eq(leat_publish(&publisher, &record, NULL), 0);
	ck_assert_int_eq(leat_next(sub, 0, &message), 1);
	ck_assert_uint_eq(message.value_len, RING_LEN / 4 - 32);
	ck_assert_mem_eq(message.value, value, message.value_len);
	record.value_len++;
	ck_assert_int_eq(leat_publish(&publisher, &record, NULL), -EMSGSIZE);
	ck_assert_ptr_nonnull(strstr(leat_publisher_detail(&publisher), "16352"));
	expect_nothing();
}
END_TEST

START_TEST(a_full_ring_says_so_and_takes_records_again_after_reclaiming)
{
	static char value[992];
	struct leat_record record = { .value = value, .value_len = sizeof(value) };
	struct leat_publisher_stats stats = { .size = sizeof(stats) };
	int i;

	for (i = 0; i < RING_LEN / 1024; i++)
		ck_assert_int_eq(leat_publish(&publisher, &record, NULL), 0);
	ck_assert_int_eq(leat_publish_timed(&publisher, &record, 0, NULL), -EAGAIN);
	ck_assert_int_eq(leat_publish_timed(&publisher, &record, NS_PER_MS, NULL), -ETIMEDOUT);
	ck_assert_str_ne(leat_publisher_detail(&publisher), "");
	ring_reclaim(daemon_ring, LAYOUT_FIRST_POS + 1024);
	ck_assert_int_eq(leat_publish_timed(&publisher, &record, 0, NULL), 0);
	ck_assert_int_eq(leat_publisher_statistics(&publisher, &stats), 0);
	ck_assert_uint_eq(stats.records, RING_LEN / 1024 + 1);
	ck_assert_uint_eq(stats.full_waits, 2);
}
END_TEST

START_TEST(a_memory_only_ring_that_moved_on_is_a_gap_with_its_range)
{
	uint64_t first = publish("lost"), second = publish("kept");

	ring_reclaim(daemon_ring, second);
	sub->shards[0].quiet = false;
	expect_gap(first, second, LEAT_GAP_LAPPED);
	expect("kept");
	expect_nothing();
	ck_assert_uint_eq(sub->stats.gaps, 1);
}
END_TEST

START_TEST(a_claim_can_be_filled_later_and_a_discarded_one_is_not_seen)
{
	struct leat_record record = { .key = "key", .key_len = 3, .value_len = 5 };
	struct leat_result result;
	struct leat_claim claim, other;

	ck_assert_int_eq(leat_reserve(&publisher, &record, &claim), 0);
	ck_assert_uint_eq(claim.value_len, 5);
	ck_assert_int_eq(leat_reserve(&publisher, &record, &other), -EINVAL);
	publish("behind");
	expect_nothing();
	memcpy(claim.value, "value", 5);
	ck_assert_int_eq(leat_commit(&publisher, &claim, &result), 0);
	ck_assert_uint_eq(result.pos, claim.pos);
	ck_assert_int_eq(leat_commit(&publisher, &claim, &result), -EINVAL);
	expect("value");
	expect("behind");
	ck_assert_int_eq(leat_reserve(&publisher, &record, &claim), 0);
	leat_discard(&publisher, &claim);
	leat_discard(&publisher, &claim);
	publish("next");
	expect("next");
}
END_TEST

START_TEST(a_position_in_the_middle_of_a_record_starts_at_the_next_one)
{
	uint64_t first = publish("first"), second = publish("second");

	ck_assert_int_eq(leat_seek(sub, 0, LEAT_POSITION, first), 0);
	expect("first");
	ck_assert_int_eq(leat_seek(sub, LEAT_SHARD_ANY, LEAT_POSITION, first + 1), 0);
	expect("second");
	ck_assert_int_eq(leat_seek(sub, 0, LEAT_AFTER, first), 0);
	expect("second");
	ck_assert_int_eq(leat_seek(sub, 0, LEAT_AFTER, second), 0);
	expect_nothing();
	/* Beyond the end: what comes before it is not given. */
	ck_assert_int_eq(leat_seek(sub, 0, LEAT_POSITION, second + 128), 0);
	publish("too early");
	expect_nothing();
	publish("right");
	expect("right");
	ck_assert_int_eq(leat_seek(sub, 0, LEAT_POSITION, UINT64_MAX), -EINVAL);
	ck_assert_int_eq(leat_seek(sub, 0, LEAT_AFTER, UINT64_MAX), -EINVAL);
	ck_assert_int_eq(leat_seek(sub, 1, LEAT_EARLIEST, 0), -EINVAL);
}
END_TEST

START_TEST(stops_are_exclusive)
{
	struct leat_message message;
	uint64_t second;

	publish("first");
	second = publish("second");
	start_stop_at(sub, &sub->shards[0], LEAT_POSITION, second);
	expect("first");
	ck_assert_int_eq(leat_next(sub, LEAT_FOREVER, &message), 0);
	ck_assert_int_eq(leat_next(sub, LEAT_FOREVER, &message), 0);
	sub->shards[0].ended = false;
	start_stop_at(sub, &sub->shards[0], LEAT_LATEST, 0);
	publish("third");
	expect("second");
	ck_assert_int_eq(leat_next(sub, LEAT_FOREVER, &message), 0);
}
END_TEST

START_TEST(a_time_starts_and_stops)
{
	struct leat_message message;
	uint64_t middle;

	publish("early");
	middle = clock_ns(pub_shard.ring->govern) + 1;
	while (clock_ns(pub_shard.ring->govern) <= middle)
		;
	publish("late");
	ck_assert_int_eq(leat_seek(sub, 0, LEAT_TIME, middle), 0);
	expect("late");
	ck_assert_int_eq(leat_seek(sub, 0, LEAT_EARLIEST, 0), 0);
	sub->stop_ns = middle;
	expect("early");
	ck_assert_int_eq(leat_next(sub, LEAT_FOREVER, &message), 0);
	/* A time that is over ends a shard in which nothing later came. */
	ck_assert_int_eq(leat_seek(sub, 0, LEAT_LATEST, 0), 0);
	sub->stop_ns = clock_ns(pub_shard.ring->govern) + 5 * NS_PER_MS;
	ck_assert_int_eq(leat_next(sub, LEAT_FOREVER, &message), 0);
}
END_TEST

START_TEST(a_paused_shard_is_silent_and_goes_on_where_it_was)
{
	publish("one");
	publish("two");
	publish("three");
	expect("one");
	ck_assert_int_eq(leat_pause(sub, 0, 1), 0);
	expect_nothing();
	ck_assert_int_eq(leat_pause(sub, LEAT_SHARD_ANY, 0), 0);
	expect("two");
	expect("three");
}
END_TEST

static void expect_view(const char *value, uint64_t pos)
{
	struct leat_message message;

	ck_assert_int_eq(leat_view(sub, 0, &message), 1);
	ck_assert_uint_eq(message.pos, pos);
	ck_assert_uint_eq(message.value_len, strlen(value));
	ck_assert_mem_eq(message.value, value, message.value_len);
	/* It lies in the ring, behind its header and key. */
	ck_assert_ptr_eq(message.value, (const char *)ring_at(sub->shards[0].ring, pos) +
						RECORD_HEADER_LEN + message.key_len);
	ck_assert_int_eq(leat_view_valid(sub, &message), 1);
}

START_TEST(views_follow_each_other_and_copies_follow_them)
{
	uint64_t positions[6];
	struct leat_record with_key = {
		.key = "key", .key_len = 3, .value = "three", .value_len = 5
	};
	struct leat_record batch[] = { { .value = "four", .value_len = 4 },
				       { .value = "five", .value_len = 4 } };
	struct leat_result results[2];

	positions[0] = publish("zero");
	positions[1] = publish("one");
	positions[2] = publish("two");
	ck_assert_int_eq(leat_publish(&publisher, &with_key, results), 0);
	positions[3] = results[0].pos;
	ck_assert_int_eq(leat_publish_batch(&publisher, batch, 2, results), 0);
	expect_view("zero", positions[0]);
	expect_view("one", positions[1]);
	expect_view("two", positions[2]);
	expect_view("three", positions[3]);
	expect_view("four", results[0].pos);
	expect("five");
	expect_nothing();
	expect_view("six", publish("six"));
	expect_nothing();
}
END_TEST

START_TEST(a_view_points_into_the_ring_and_knows_when_it_was_overwritten)
{
	uint64_t first = publish("first"), second = publish("second");
	struct leat_message message;

	ck_assert_int_eq(leat_view(sub, 0, &message), 1);
	ck_assert_uint_eq(message.pos, first);
	ck_assert_ptr_eq(message.value, (char *)ring_at(sub->shards[0].ring, first) + 32);
	ck_assert_int_eq(leat_view_valid(sub, &message), 1);
	ck_assert_int_eq(leat_view(sub, 0, &message), 1);
	ck_assert_uint_eq(message.pos, second);
	ring_reclaim(daemon_ring, second + 64);
	ck_assert_int_eq(leat_view_valid(sub, &message), 0);
	expect_gap(second, second + 64, LEAT_GAP_LAPPED);
}
END_TEST

START_TEST(a_ring_that_closed_under_a_record_is_followed_only_up_to_its_end)
{
	uint64_t pos = publish("before");

	publish("decided elsewhere");
	ring_close_tail(daemon_ring);
	ring_set_succeeded(daemon_ring, pos + 64);
	expect("before");
	/* No daemon that would say where it goes on. */
	expect_nothing();
	ck_assert_uint_eq(sub->shards[0].pos, pos + 64);
}
END_TEST

/* Makes a successor for the ring at hand, which ends at close_pos; returns the daemon's view of the
 * one before. */
static struct ring *succeed(uint64_t close_pos, uint32_t flags)
{
	struct ring *before = daemon_ring, *old = sub->shards[0].ring;

	ring_close_tail(before);
	ring_set_succeeded(before, close_pos);
	ring_close(pub_shard.ring);
	make_rings(flags);
	sub->shards[0].next = sub->shards[0].ring;
	sub->shards[0].ring = old;
	return before;
}

START_TEST(the_next_ring_is_gone_to_at_once_however_far_the_daemon_is)
{
	struct ring *before = succeed(LAYOUT_FIRST_POS, GOVERN_F_CHECKSUM | GOVERN_F_MEMORY);

	store_relaxed(&daemon_ring->govern->written, publish("in the next one") + 64);
	expect("in the next one");
	expect_nothing();
	ring_close(before);
}
END_TEST

/* Its words of progress stand still: whoever reads what is durable would wait for ever. */
START_TEST(a_successor_that_was_succeeded_itself_is_not_waited_for)
{
	struct subscribe_shard *shard = &sub->shards[0];
	struct ring *before;

	/* Of a stream that is on disk. */
	ring_close(shard->ring);
	ring_close(pub_shard.ring);
	ring_close(daemon_ring);
	make_rings(GOVERN_F_CHECKSUM);
	before = succeed(publish("not durable yet") + 64, GOVERN_F_CHECKSUM);
	sub->options.isolation = LEAT_ISOLATION_DURABLE;
	expect_nothing();
	ck_assert_uint_eq(shard->later_ns, 0);
	ring_set_succeeded(daemon_ring, LAYOUT_FIRST_POS);
	/* Nobody was there to give a newer one. */
	expect_nothing();
	ck_assert_uint_ne(shard->later_ns, 0);
	shard->later_ns = 0;
	shard->on_disk = true;
	shard->disk_upto = LAYOUT_FIRST_POS + 64;
	expect_nothing();
	ck_assert_uint_ne(shard->later_ns, 0);
	ring_close(before);
}
END_TEST

START_TEST(a_deleted_stream_ends_publishing_and_reading)
{
	struct leat_record record = { .value = "x", .value_len = 1 };
	struct leat_message message;

	publish("last");
	ring_close_tail(daemon_ring);
	ring_set_state(daemon_ring, GOVERN_REMOVED, 0);
	ck_assert_int_eq(leat_publish(&publisher, &record, NULL), -ENOENT);
	ck_assert_ptr_nonnull(strstr(leat_publisher_detail(&publisher), "'test'"));
	expect("last");
	ck_assert_int_eq(leat_next(sub, LEAT_FOREVER, &message), -ENOENT);
	ck_assert_ptr_nonnull(strstr(leat_subscriber_detail(sub), "'test'"));
}
END_TEST

START_TEST(a_stopped_disk_is_the_publishers_errno_once_the_ring_is_full)
{
	static char value[8160];
	struct leat_record record = { .value = value, .value_len = sizeof(value) };
	int i;

	ring_set_state(daemon_ring, GOVERN_FAILED, -ENOSPC);
	for (i = 0; i < 8; i++)
		ck_assert_int_eq(leat_publish(&publisher, &record, NULL), 0);
	ck_assert_int_eq(leat_publish_timed(&publisher, &record, LEAT_FOREVER, NULL), -ENOSPC);
	ring_set_state(daemon_ring, GOVERN_OPEN, 0);
	ck_assert_int_eq(leat_publish_timed(&publisher, &record, 0, NULL), -EAGAIN);
}
END_TEST

START_TEST(isolation_holds_records_back_until_they_are_written)
{
	uint64_t second;

	publish("first");
	second = publish("second");
	sub->options.isolation = LEAT_ISOLATION_DURABLE;
	expect_nothing();
	ring_progress(daemon_ring, second, 0);
	expect_nothing();
	ring_progress(daemon_ring, 0, second);
	expect("first");
	expect_nothing();
}
END_TEST

START_TEST(waiting_for_memory_to_become_durable_is_refused)
{
	uint64_t pos = publish("x");

	ck_assert_int_eq(leat_wait(&publisher, 0, pos, LEAT_ACK_RING, LEAT_FOREVER), 0);
	ck_assert_int_eq(leat_wait(&publisher, 0, pos, LEAT_ACK_DURABLE, LEAT_FOREVER),
			 -EOPNOTSUPP);
	ck_assert_int_eq(leat_flush(&publisher, LEAT_ACK_WRITTEN, LEAT_FOREVER), -EOPNOTSUPP);
	ck_assert_int_eq(leat_wait(&publisher, 1, pos, LEAT_ACK_RING, 0), -EINVAL);
	ck_assert_int_eq(leat_wait(&publisher, 0, pos, (enum leat_ack)9, 0), -EINVAL);
}
END_TEST

START_TEST(an_acknowledgement_is_waited_for)
{
	uint64_t pos = publish("x");

	pub_shard.ring->flags &= ~(uint32_t)GOVERN_F_MEMORY;
	ck_assert_int_eq(leat_wait(&publisher, 0, pos, LEAT_ACK_WRITTEN, NS_PER_MS), -ETIMEDOUT);
	ck_assert_ptr_nonnull(strstr(leat_publisher_detail(&publisher), "not yet"));
	ring_progress(daemon_ring, pos + 64, 0);
	ck_assert_int_eq(leat_flush(&publisher, LEAT_ACK_WRITTEN, LEAT_FOREVER), 0);
	ck_assert_int_eq(leat_flush(&publisher, LEAT_ACK_DURABLE, 0), -ETIMEDOUT);
	ring_progress(daemon_ring, 0, pos + 64);
	ck_assert_int_eq(leat_flush(&publisher, LEAT_ACK_DURABLE, 0), 0);
}
END_TEST

START_TEST(a_forked_child_is_refused_everywhere)
{
	struct leat_record record = { .value = "x", .value_len = 1 };
	struct leat_message message;
	struct leat_claim claim;
	uint64_t pos = publish("x");
	pid_t pid;
	int status;

	ck_assert_int_eq(leat_reserve(&publisher, &record, &claim), 0);
	pid = fork();
	if (pid == 0) {
		/* As the kernel does to the page of a real handle. */
		alive = 0;
		leat_discard(&publisher, &claim);
		_exit(leat_publish(&publisher, &record, NULL) != -EPERM ||
		      leat_publish_many(&publisher, &record, 1, NULL) != -EPERM ||
		      leat_publish_batch(&publisher, &record, 1, NULL) != -EPERM ||
		      leat_reserve(&publisher, &record, &claim) != -EPERM ||
		      leat_commit(&publisher, &claim, NULL) != -EPERM ||
		      leat_wait(&publisher, 0, pos, LEAT_ACK_RING, 0) != -EPERM ||
		      leat_flush(&publisher, LEAT_ACK_RING, 0) != -EPERM ||
		      leat_next(sub, 0, &message) != -EPERM ||
		      leat_view(sub, 0, &message) != -EPERM ||
		      leat_seek(sub, 0, LEAT_LATEST, 0) != -EPERM ||
		      leat_pause(sub, 0, 1) != -EPERM || leat_checkpoint(sub) != -EPERM ||
		      leat_subscriber_fd(sub) != -EPERM);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(leat_commit(&publisher, &claim, NULL), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("subscribe");
	TCase *tc = tcase_create("subscribe");
	SRunner *runner;
	int n_failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_is_published_arrives_in_order);
	tcase_add_test(tc, a_batch_is_seen_whole_or_not_at_all);
	tcase_add_test(tc, the_highest_timestamp_ends_no_subscription);
	tcase_add_test(tc, batches_between_records_are_stepped_into);
	tcase_add_test(tc, a_batch_that_is_not_finished_is_not_stepped_into);
	tcase_add_test(tc, a_batch_too_long_for_the_ring_is_refused_and_nothing_of_it_stored);
	tcase_add_test(tc, the_largest_record_passes_and_one_byte_more_is_refused);
	tcase_add_test(tc, a_full_ring_says_so_and_takes_records_again_after_reclaiming);
	tcase_add_test(tc, a_memory_only_ring_that_moved_on_is_a_gap_with_its_range);
	tcase_add_test(tc, a_claim_can_be_filled_later_and_a_discarded_one_is_not_seen);
	tcase_add_test(tc, a_position_in_the_middle_of_a_record_starts_at_the_next_one);
	tcase_add_test(tc, stops_are_exclusive);
	tcase_add_test(tc, a_time_starts_and_stops);
	tcase_add_test(tc, a_paused_shard_is_silent_and_goes_on_where_it_was);
	tcase_add_test(tc, views_follow_each_other_and_copies_follow_them);
	tcase_add_test(tc, a_view_points_into_the_ring_and_knows_when_it_was_overwritten);
	tcase_add_test(tc, a_ring_that_closed_under_a_record_is_followed_only_up_to_its_end);
	tcase_add_test(tc, the_next_ring_is_gone_to_at_once_however_far_the_daemon_is);
	tcase_add_test(tc, a_successor_that_was_succeeded_itself_is_not_waited_for);
	tcase_add_test(tc, a_deleted_stream_ends_publishing_and_reading);
	tcase_add_test(tc, a_stopped_disk_is_the_publishers_errno_once_the_ring_is_full);
	tcase_add_test(tc, isolation_holds_records_back_until_they_are_written);
	tcase_add_test(tc, waiting_for_memory_to_become_durable_is_refused);
	tcase_add_test(tc, an_acknowledgement_is_waited_for);
	tcase_add_test(tc, a_forked_child_is_refused_everywhere);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
