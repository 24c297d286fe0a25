/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rings of a stream are moved again and again while publishers publish and subscribers follow,
 * some of them asleep most of the time. Nobody loses anything or touches a ring that is gone: best
 * looked at under ASan and TSan.
 */
/* TEST_TIMEOUT=180 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "tests/party.h"

enum {
	N_MOVES = 60,
};

struct is_moved {
	struct leat_bus *bus;
	int64_t successors;
};

static bool is_moved(void *arg)
{
	struct is_moved *goal = arg;

	return harness_figure(goal->bus, "party", "successors") >= goal->successors;
}

/* To rings of the same size: that is a move like any other. */
static void move_often(struct party *party)
{
	struct is_moved goal = { .bus = harness_connect(&party->bus) };

	for (int i = 0; i < N_MOVES; i++) {
		int r = leat_stream_alter(goal.bus, "party", "ring", "64K");

		must(r == 0, "moving the rings: %s", leat_detail(goal.bus));
		goal.successors += PARTY_SHARDS;
		must(harness_until(is_moved, &goal, 20), "the rings do not move");
		party_wait(party, 20, "after a move");
	}
	leat_close(goal.bus);
}

START_TEST(nobody_loses_anything_while_rings_move_under_load)
{
	struct party *party = harness_shared(sizeof(*party));

	harness_bus_start(&party->bus, 0);
	party_start(party, 64 << 10);
	move_often(party);
	party_end(party);
	harness_bus_stop(&party->bus);
}
END_TEST

START_TEST(nobody_loses_anything_while_rings_move_and_subscribers_sleep)
{
	struct party *party = harness_shared(sizeof(*party));

	harness_bus_start(&party->bus, 0);
	party->pause_us = 2000;
	party_start(party, 64 << 10);
	move_often(party);
	party_end(party);
	harness_bus_stop(&party->bus);
}
END_TEST

/* A subscriber that never gets a record: all it does is go to sleep and follow. */
START_TEST(who_waits_in_vain_follows_as_well)
{
	struct leat_subscriber *subscriber;
	struct leat_publisher *publisher;
	struct leat_message message;
	struct harness_bus bus;
	struct leat_bus *handle;

	harness_bus_start(&bus, 0);
	handle = harness_connect(&bus);
	harness_stream(handle, "quiet", 4, 64 << 10, NULL);
	subscriber = harness_subscriber(handle, "quiet");
	for (int i = 0; i < N_MOVES; i++) {
		uint64_t end = harness_now_ns() + 20000000;
		int r;

		/* The move before this one may not have ended, if the machine is busy. */
		do {
			r = leat_stream_alter(handle, "quiet", "ring", "64K");
			ck_assert_int_eq(leat_next(subscriber, 300000, &message), -ETIMEDOUT);
		} while (r == -EBUSY && harness_now_ns() < end + 10000000000u);
		ck_assert_int_eq(r, 0);
		while (harness_now_ns() < end)
			ck_assert_int_eq(leat_next(subscriber, 300000, &message), -ETIMEDOUT);
	}
	publisher = harness_publisher(handle, "quiet");
	ck_assert_int_eq(leat_publish(publisher, &(struct leat_record){ .shard = 3 }, NULL), 0);
	ck_assert_int_eq(leat_next(subscriber, 10000000000u, &message), 1);
	leat_publisher_close(publisher);
	leat_subscriber_close(subscriber);
	leat_close(handle);
	harness_bus_stop(&bus);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("stress_ring_moves");
	TCase *tcase = tcase_create("ring_moves");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, nobody_loses_anything_while_rings_move_under_load);
	tcase_add_test(tcase, nobody_loses_anything_while_rings_move_and_subscribers_sleep);
	tcase_add_test(tcase, who_waits_in_vain_follows_as_well);
	suite_add_tcase(suite, tcase);
	return harness_main(suite);
}
