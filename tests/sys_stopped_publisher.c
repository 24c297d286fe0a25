/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A publisher that is stopped (SIGSTOP, a debugger) with a reservation in hand is not dead. After
 * the claim time-out everybody else goes on without it; when it goes on itself it does no harm and
 * is told the truth.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/atomic.h"
#include "tests/harness.h"

enum {
	RING = 64 << 10,
	TIMEOUT_MS = 300,
	VALUE_LEN = 200,
	LAPS = 5, /* how often the ring is filled while it is stopped */
};

struct stopped {
	struct harness_bus bus;
	_Atomic int has_claim;
	_Atomic int commit_result; /* of its late commit, plus 1000; 0 = not yet */
	_Atomic int publish_result;
};

/* Reserves a record, is stopped by the test, and commits long after. */
static int stand_still(void *arg)
{
	struct stopped *stopped = arg;
	struct leat_bus *bus = harness_connect(&stopped->bus);
	struct leat_publisher *publisher = harness_publisher(bus, "still");
	struct leat_record record = { .value_len = 1000 };
	struct leat_claim claim;

	must(leat_reserve(publisher, &record, &claim) == 0, "reserve: %s",
	     leat_publisher_detail(publisher));
	memset(claim.value, 'a', claim.value_len / 2);
	store_release(&stopped->has_claim, 1);
	raise(SIGSTOP);
	memset(claim.value, 'z', claim.value_len);
	store_release(&stopped->commit_result, 1000 + leat_commit(publisher, &claim, NULL));
	record.value = "late";
	record.value_len = 4;
	store_release(&stopped->publish_result, 1000 + leat_publish(publisher, &record, NULL));
	leat_publisher_close(publisher);
	leat_close(bus);
	return 0;
}

/* The value of record i: NUL up to its end. */
static void name_record(char value[VALUE_LEN], unsigned i)
{
	memset(value, 0, VALUE_LEN);
	snprintf(value, VALUE_LEN, "record %u", i);
}

static void make_stream(struct leat_bus *bus)
{
	struct leat_stream_options options;

	leat_stream_options_init(&options);
	options.claim_timeout_ns = TIMEOUT_MS * 1000000ull;
	harness_stream(bus, "still", 1, RING, &options);
}

static void expect(struct leat_subscriber *subscriber, const void *value, size_t len)
{
	struct leat_message message;
	int r = leat_next(subscriber, 10000000000u, &message);

	must(r == 1, "the subscriber: %s", leat_strerror(r));
	must(message.kind == LEAT_RECORD, "a gap of reason %d", (int)message.reason);
	must(message.value_len == len && memcmp(message.value, value, len) == 0,
	     "not the record that was published: %.*s", (int)message.value_len,
	     (const char *)message.value);
}

START_TEST(everybody_goes_on_without_a_stopped_publisher_and_it_is_told_when_it_is_back)
{
	struct stopped *stopped = harness_shared(sizeof(*stopped));
	struct leat_subscriber *subscriber, *late;
	struct leat_publisher *publisher;
	struct leat_bus *bus;
	char value[VALUE_LEN] = "";
	struct leat_record record = { .value = value, .value_len = sizeof(value) };
	unsigned n = LAPS * RING / sizeof(value);
	uint64_t begin;
	int status;
	pid_t pid;

	harness_bus_start(&stopped->bus, 0);
	bus = harness_connect(&stopped->bus);
	make_stream(bus);
	subscriber = harness_subscriber(bus, "still");
	publisher = harness_publisher(bus, "still");
	pid = harness_fork(stand_still, stopped);
	must(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status), "it does not stop");
	ck_assert_int_eq(load_acquire(&stopped->has_claim), 1);
	begin = harness_now_ns();
	for (unsigned i = 0; i < n; i++) {
		name_record(value, i);
		ck_assert_int_eq(leat_publish_timed(publisher, &record, 10000000000u, NULL), 0);
		expect(subscriber, value, sizeof(value));
		/* Nothing goes past it before the time-out, nor much later than that. */
		if (i == 0) {
			begin = harness_now_ns() - begin;
			ck_assert_uint_ge(begin, TIMEOUT_MS * 1000000ull / 2);
			ck_assert_uint_le(begin, TIMEOUT_MS * 1000000ull * 10);
		}
	}
	ck_assert_int_eq(harness_figure(bus, "still", "successors"), 1);

	must(kill(pid, SIGCONT) == 0, "SIGCONT: %s", strerror(errno));
	harness_reap_ok(pid, 20, "the publisher that was stopped");
	ck_assert_int_eq(load_acquire(&stopped->commit_result), 1000 - ESTALE);
	ck_assert_int_eq(load_acquire(&stopped->publish_result), 1000);
	expect(subscriber, "late", 4);
	/* What it wrote late is nowhere: not in the log, not on disk. */
	ck_assert_int_eq(leat_flush(publisher, LEAT_ACK_DURABLE, 10000000000u), 0);
	late = harness_subscriber(bus, "still");
	for (unsigned i = 0; i < n; i++) {
		name_record(value, i);
		expect(late, value, sizeof(value));
	}
	expect(late, "late", 4);
	leat_subscriber_close(late);
	leat_subscriber_close(subscriber);
	leat_publisher_close(publisher);
	leat_close(bus);
	harness_bus_stop(&stopped->bus);
}
END_TEST

START_TEST(a_stopped_publisher_without_a_reservation_holds_up_nobody)
{
	struct stopped *stopped = harness_shared(sizeof(*stopped));
	struct leat_subscriber *subscriber;
	struct leat_publisher *publisher;
	struct leat_record record = { .value = "on", .value_len = 2 };
	struct leat_bus *bus;
	struct harness_output output;
	int status;
	pid_t pid;

	harness_bus_start(&stopped->bus, 0);
	bus = harness_connect(&stopped->bus);
	make_stream(bus);
	publisher = harness_publisher(bus, "still");
	subscriber = harness_subscriber(bus, "still");
	pid = fork();
	if (pid == 0) {
		harness_publisher(harness_connect(&stopped->bus), "still");
		raise(SIGSTOP);
		_exit(0);
	}
	must(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status), "it does not stop");
	for (unsigned i = 0; i < 5000; i++) {
		ck_assert_int_eq(leat_publish_timed(publisher, &record, 10000000000u, NULL), 0);
		expect(subscriber, "on", 2);
	}
	harness_run(&stopped->bus, NULL, &output,
		    (const char *[]){ "leat", "stat", "still", NULL });
	ck_assert_int_eq(output.status, 0);
	harness_output_deinit(&output);
	ck_assert_int_eq(harness_figure(bus, "still", "successors"), 0);
	ck_assert_int_eq(harness_figure(bus, "still", "publishers"), 2);
	harness_kill(pid);
	leat_subscriber_close(subscriber);
	leat_publisher_close(publisher);
	leat_close(bus);
	harness_bus_stop(&stopped->bus);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sys_stopped_publisher");
	TCase *tcase = tcase_create("stopped_publisher");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(
		tcase,
		everybody_goes_on_without_a_stopped_publisher_and_it_is_told_when_it_is_back);
	tcase_add_test(tcase, a_stopped_publisher_without_a_reservation_holds_up_nobody);
	suite_add_tcase(suite, tcase);
	return harness_main(suite);
}
