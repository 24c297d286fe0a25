/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to publishers and subscribers when the daemon is killed with -9. */
/* TEST_TIMEOUT=300 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/party.h"

enum {
	N_KILLS = 5,
};

static const uint64_t long_ns = 30000000000u;

/* What a record holds. */
struct content {
	uint64_t number;
};

static void pause_briefly(void)
{
	struct timespec pause = { .tv_nsec = 200000 };

	nanosleep(&pause, NULL);
}

struct goal {
	const struct harness_bus *bus;
	pid_t not_pid;
};

static bool has_new_daemon(void *arg)
{
	struct goal *goal = arg;
	struct leat_bus *bus;

	if (leat_connect(goal->bus->sock, NULL, &bus) < 0)
		return false;
	leat_close(bus);
	return harness_daemon_pid(goal->bus) != goal->not_pid;
}

static void kill_daemon(const struct harness_bus *bus)
{
	struct goal goal = { .bus = bus, .not_pid = harness_daemon_pid(bus) };

	ck_assert_int_ne(goal.not_pid, bus->pid);
	must(kill(goal.not_pid, SIGKILL) == 0, "kill: %s", strerror(errno));
	must(harness_until(has_new_daemon, &goal, 20), "no new daemon came");
}

START_TEST(nobody_fails_and_nothing_is_lost_while_the_keeper_brings_the_daemon_back)
{
	struct party *party = harness_shared(sizeof(*party));
	struct leat_bus *bus;

	harness_bus_start(&party->bus, HARNESS_KEEP);
	party_start(party, 256 << 10);
	for (int i = 0; i < N_KILLS; i++) {
		party_wait(party, 2000, "before the daemon is killed");
		kill_daemon(&party->bus);
	}
	party_wait(party, 2000, "after the last kill");
	/* Everybody kept its slots; nobody took others. */
	bus = harness_connect(&party->bus);
	ck_assert_int_eq(harness_figure(bus, "party", "publishers"),
			 PARTY_PUBLISHERS * PARTY_SHARDS);
	leat_close(bus);
	party_end(party);
	harness_bus_stop(&party->bus);
}
END_TEST

/* Publishes numbered records of 100 bytes until it would have to wait; returns the next number. */
static uint64_t publish_until_full(struct leat_publisher *publisher, uint64_t number)
{
	struct content content[16] = { { 0 } };
	struct leat_record record = { .value = content, .value_len = 100, .shard = 0 };
	uint64_t n = 0;
	int r;

	for (;; n++) {
		content->number = number + n;
		r = leat_publish_timed(publisher, &record, 0, NULL);
		if (r == -EAGAIN)
			return number + n;
		must(r == 0, "publishing without a daemon: %s", leat_publisher_detail(publisher));
		must(n < 1000000, "the ring never becomes full");
	}
}

static void receive(struct leat_subscriber *subscriber, uint64_t from, uint64_t to)
{
	struct leat_message message;
	struct content content;

	for (uint64_t i = from; i < to; i++) {
		int r = leat_next(subscriber, 5000000000u, &message);

		must(r == 1, "record %llu: %s", (unsigned long long)i, leat_strerror(r));
		must(message.kind == LEAT_RECORD, "a gap before record %llu",
		     (unsigned long long)i);
		memcpy(&content, message.value, sizeof(content));
		must(content.number == i, "record %llu came instead of %llu",
		     (unsigned long long)content.number, (unsigned long long)i);
	}
}

struct waiting {
	struct harness_bus *bus;
	uint64_t number;
	_Atomic int begun;
	_Atomic int done;
};

/* Publishes one record that does not fit yet, waiting as long as it takes. */
static int publish_one_blocking(void *arg)
{
	struct waiting *waiting = arg;
	struct leat_bus *bus = harness_connect(waiting->bus);
	struct leat_publisher *publisher = harness_publisher(bus, "alone");
	struct content content[16] = { { 0 } };
	struct leat_record record = { .value = content, .value_len = 100, .shard = 0 };
	int r;

	store_release(&waiting->begun, 1);
	while (load_acquire(&waiting->begun) != 2)
		pause_briefly();
	content->number = waiting->number;
	r = leat_publish(publisher, &record, NULL);
	must(r == 0, "the waiting publisher: %s", leat_publisher_detail(publisher));
	store_release(&waiting->done, 1);
	leat_publisher_close(publisher);
	leat_close(bus);
	return 0;
}

static bool is_set(void *arg)
{
	return load_acquire((_Atomic int *)arg) != 0;
}

START_TEST(without_any_daemon_the_ring_fills_then_publishers_wait_and_go_on_when_it_returns)
{
	enum {
		RING = 256 << 10
	};
	struct harness_bus *bus = harness_shared(sizeof(*bus));
	struct waiting *waiting = harness_shared(sizeof(*waiting));
	struct leat_publisher *publisher;
	struct leat_subscriber *subscriber, *late;
	struct leat_bus *handle;
	uint64_t n, kept;
	pid_t daemon, waiter;

	harness_bus_start(bus, HARNESS_KEEP);
	handle = harness_connect(bus);
	harness_stream(handle, "alone", 1, RING, NULL);
	subscriber = harness_subscriber(handle, "alone");
	publisher = harness_publisher(handle, "alone");
	waiting->bus = bus;
	waiter = harness_fork(publish_one_blocking, waiting);
	must(harness_until(is_set, &waiting->begun, 10), "the waiting publisher did not start");

	/* A keeper that is stopped does not bring the daemon back. */
	daemon = harness_daemon_pid(bus);
	must(kill(bus->pid, SIGSTOP) == 0 && harness_until(harness_is_stopped, &bus->pid, 5),
	     "SIGSTOP");
	must(kill(daemon, SIGKILL) == 0, "kill: %s", strerror(errno));

	n = publish_until_full(publisher, 0);
	ck_assert_uint_ge(n, RING / 160 / 2);
	ck_assert_int_eq(leat_publish_timed(publisher,
					    &(struct leat_record){ .value_len = 100, .shard = 0 },
					    50000000, NULL),
			 -ETIMEDOUT);
	receive(subscriber, 0, n);
	waiting->number = n;
	store_release(&waiting->begun, 2);
	kept = harness_now_ns();
	while (harness_now_ns() - kept < 100000000)
		ck_assert_int_eq(load_acquire(&waiting->done), 0);

	must(kill(bus->pid, SIGCONT) == 0, "SIGCONT");
	must(harness_until(is_set, &waiting->done, 20), "the waiting publisher did not go on");
	harness_reap_ok(waiter, 10, "the waiting publisher");
	receive(subscriber, n, n + 1);
	/* The publisher and the subscriber of before still are what they were. */
	for (int i = 0; i < 5; i++) {
		kept = n + 1;
		n = publish_until_full(publisher, kept) - 1;
		receive(subscriber, kept, n + 1);
	}
	ck_assert_int_eq(leat_flush(publisher, LEAT_ACK_DURABLE, long_ns), 0);
	late = harness_subscriber(handle, "alone");
	receive(late, 0, n + 1);
	leat_subscriber_close(late);
	leat_subscriber_close(subscriber);
	leat_publisher_close(publisher);
	leat_close(handle);
	harness_bus_stop(bus);
}
END_TEST

START_TEST(handles_go_on_with_a_daemon_that_had_to_start_without_the_rings)
{
	struct leat_record record = { .value = "x", .value_len = 1, .shard = 0 };
	struct leat_publisher *publisher;
	struct leat_subscriber *subscriber;
	struct leat_message message;
	struct leat_result result;
	struct harness_bus bus;
	struct leat_bus *handle;
	int n_gaps = 0, r;

	harness_bus_start(&bus, 0);
	handle = harness_connect(&bus);
	harness_stream(handle, "plain", 1, 64 << 10, NULL);
	subscriber = harness_subscriber(handle, "plain");
	publisher = harness_publisher(handle, "plain");
	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(leat_publish(publisher, &record, &result), 0);
	ck_assert_int_eq(leat_flush(publisher, LEAT_ACK_DURABLE, long_ns), 0);
	harness_bus_kill(&bus);
	harness_bus_restart(&bus);
	/* What is durable is there, before and after; positions that may have been handed out
	 * are not used again, which is reported. */
	record.value = "after";
	record.value_len = 5;
	do {
		ck_assert_int_eq(leat_publish_timed(publisher, &record, long_ns, &result), 0);
		r = leat_wait(publisher, 0, result.pos, LEAT_ACK_DURABLE, 2000000000u);
	} while (r == -ETIMEDOUT || r == -ESTALE);
	must(r == 0, "durable after the restart: %s", leat_publisher_detail(publisher));
	for (int i = 0; i < 1001;) {
		ck_assert_int_eq(leat_next(subscriber, 10000000000u, &message), 1);
		if (message.kind == LEAT_GAP) {
			ck_assert_int_eq(message.reason, LEAT_GAP_JUMP);
			ck_assert_int_eq(i, 1000);
			ck_assert_int_eq(++n_gaps, 1);
			continue;
		}
		ck_assert_uint_eq(message.value_len, i < 1000 ? 1 : 5);
		i++;
	}
	ck_assert_uint_le(message.pos, result.pos);
	leat_subscriber_close(subscriber);
	leat_publisher_close(publisher);
	leat_close(handle);
	harness_bus_stop(&bus);
}
END_TEST

/* ---- rings that die with their daemon ---- */

struct alone {
	struct harness_bus bus;
	struct leat_bus *handle;
	struct leat_publisher *publisher;
	struct leat_subscriber *subscriber;
};

static void open_alone_with(struct alone *alone, unsigned flags)
{
	harness_bus_start(&alone->bus, flags);
	alone->handle = harness_connect(&alone->bus);
	harness_stream(alone->handle, "plain", 1, 64 << 10, NULL);
	alone->subscriber = harness_subscriber(alone->handle, "plain");
	alone->publisher = harness_publisher(alone->handle, "plain");
}

static void open_alone(struct alone *alone)
{
	open_alone_with(alone, 0);
}

static void close_alone(struct alone *alone)
{
	leat_subscriber_close(alone->subscriber);
	leat_publisher_close(alone->publisher);
	leat_close(alone->handle);
	harness_bus_stop(&alone->bus);
}

static uint64_t publish_one(struct alone *alone)
{
	struct leat_record record = { .value = "x", .value_len = 1, .shard = 0 };
	struct leat_result result;

	ck_assert_int_eq(leat_publish_timed(alone->publisher, &record, long_ns, &result), 0);
	return result.pos;
}

static int wait_durable(struct alone *alone, uint64_t pos)
{
	return leat_wait(alone->publisher, 0, pos, LEAT_ACK_DURABLE, long_ns);
}

/* The daemon does not come to write it. Both die, daemon and ring. */
static uint64_t publish_and_lose(struct alone *alone)
{
	uint64_t pos;

	must(kill(alone->bus.pid, SIGSTOP) == 0 &&
		     harness_until(harness_is_stopped, &alone->bus.pid, 5),
	     "SIGSTOP");
	pos = publish_one(alone);
	harness_bus_kill(&alone->bus);
	return pos;
}

START_TEST(what_died_with_the_rings_is_never_called_durable)
{
	struct alone alone;
	uint64_t safe, lost[2], later;

	open_alone(&alone);
	safe = publish_one(&alone);
	ck_assert_int_eq(wait_durable(&alone, safe), 0);
	for (int i = 0; i < 2; i++) {
		lost[i] = publish_and_lose(&alone);
		harness_bus_restart(&alone.bus);
		ck_assert_int_eq(wait_durable(&alone, lost[i]), -ESTALE);
		ck_assert_int_eq(wait_durable(&alone, lost[0]), -ESTALE);
		ck_assert_int_eq(wait_durable(&alone, safe), 0);
		/* What came later does not stand for what came before. */
		later = publish_one(&alone);
		ck_assert_int_eq(wait_durable(&alone, later), 0);
		ck_assert_int_eq(leat_flush(alone.publisher, LEAT_ACK_DURABLE, long_ns), -ESTALE);
		ck_assert_int_eq(leat_flush(alone.publisher, LEAT_ACK_DURABLE, long_ns), 0);
	}
	close_alone(&alone);
}
END_TEST

/* Each time a new one has to be asked for, within a second as well. */
START_TEST(who_follows_rings_that_die_quickly_one_after_the_other_gets_what_comes)
{
	struct leat_message message;
	struct alone alone;
	uint64_t pos;
	int r;

	open_alone(&alone);
	for (int i = 0; i < 10; i++) {
		/* What goes into a ring before its death is noticed is lost. */
		do {
			pos = publish_one(&alone);
			r = wait_durable(&alone, pos);
		} while (r == -ESTALE);
		ck_assert_int_eq(r, 0);
		do
			must(leat_next(alone.subscriber, long_ns, &message) == 1,
			     "nothing comes after ring %d: %s", i,
			     leat_subscriber_detail(alone.subscriber));
		while (message.kind == LEAT_GAP || message.pos < pos);
		ck_assert_uint_eq(message.pos, pos);
		harness_bus_kill(&alone.bus);
		harness_bus_restart(&alone.bus);
	}
	close_alone(&alone);
}
END_TEST

/* ---- daemons that cannot start for a while ---- */

/* A catalogue that cannot be opened, as on a disk that is not there yet. */
static void hide_catalogue(const struct harness_bus *bus, bool hide)
{
	char path[128], aside[128];

	snprintf(path, sizeof(path), "%s/data/catalogue.db", bus->dir);
	snprintf(aside, sizeof(aside), "%s/catalogue.db", bus->dir);
	if (hide)
		must(rename(path, aside) == 0 && mkdir(path, 0700) == 0, "%s: %s", path,
		     strerror(errno));
	else
		must(rmdir(path) == 0 && rename(aside, path) == 0, "%s: %s", path, strerror(errno));
}

/* The directory as it is when its file system is not mounted; no catalogue is made there. */
static void hide_data(const struct harness_bus *bus, bool hide)
{
	char path[128], other[128], catalogue[160];

	snprintf(path, sizeof(path), "%s/data", bus->dir);
	snprintf(other, sizeof(other), "%s/mount", bus->dir);
	snprintf(catalogue, sizeof(catalogue), "%s/catalogue.db", path);
	if (hide)
		must(mkdir(other, 0700) == 0, "%s: %s", other, strerror(errno));
	else
		must(access(catalogue, F_OK) < 0, "there is a new %s", catalogue);
	must(renameat2(AT_FDCWD, path, AT_FDCWD, other, RENAME_EXCHANGE) == 0, "%s: %s", path,
	     strerror(errno));
}

static void (*const hides[])(const struct harness_bus *bus, bool hide) = { hide_catalogue,
									   hide_data };

/* The keeper has another child than not_pid. */
static bool has_other_child(void *arg)
{
	const struct goal *goal = arg;
	pid_t pid = harness_kept_pid(goal->bus);

	return pid > 0 && pid != goal->not_pid;
}

START_TEST(rings_outlive_daemons_that_cannot_start_for_a_while)
{
	struct goal goal;
	struct alone alone;
	uint64_t pos;

	open_alone_with(&alone, HARNESS_KEEP);
	goal = (struct goal){ .bus = &alone.bus, .not_pid = harness_kept_pid(&alone.bus) };
	must(kill(goal.not_pid, SIGSTOP) == 0 &&
		     harness_until(harness_is_stopped, &goal.not_pid, 5),
	     "SIGSTOP");
	hides[_i](&alone.bus, true);
	must(kill(goal.not_pid, SIGKILL) == 0, "kill: %s", strerror(errno));
	/* One fails, and another is started all the same. */
	for (int i = 0; i < 3; i++) {
		must(harness_until(has_other_child, &goal, 20), "start %d does not come", i);
		goal.not_pid = harness_kept_pid(&alone.bus);
	}
	pos = publish_one(&alone);
	hides[_i](&alone.bus, false);
	ck_assert_int_eq(wait_durable(&alone, pos), 0);
	close_alone(&alone);
}
END_TEST

/* ---- several publishers in one process ---- */

enum {
	THREADS = 3, /* each with a publisher of its own, as a program with threads has them */
};

struct several {
	struct alone alone;
	struct leat_publisher *publishers[THREADS];
};

static void open_several(struct several *several)
{
	open_alone(&several->alone);
	several->alone.publisher = leat_publisher_close(several->alone.publisher);
	for (int i = 0; i < THREADS; i++)
		several->publishers[i] = harness_publisher(several->alone.handle, "plain");
}

static void close_several(struct several *several)
{
	for (int i = 0; i < THREADS; i++)
		leat_publisher_close(several->publishers[i]);
	close_alone(&several->alone);
}

/* What the i-th publishes becomes durable, once it has heard of a ring that was lost. */
static void publish_durable(struct several *several, int i)
{
	struct leat_record record = { .value = "x", .value_len = 1, .shard = 0 };
	struct leat_publisher *publisher = several->publishers[i];
	struct leat_result result;
	int r;

	do {
		r = leat_publish_timed(publisher, &record, long_ns, &result);
		must(r == 0, "publisher %d: %s", i, leat_publisher_detail(publisher));
		r = leat_wait(publisher, 0, result.pos, LEAT_ACK_DURABLE, long_ns / 3);
	} while (r == -ESTALE);
	must(r == 0, "publisher %d after the restart: %s", i, leat_publisher_detail(publisher));
}

/* The last one comes back first, and gets the slot that the first one had in the ring before. */
static void all_come_back(struct several *several)
{
	for (int i = THREADS - 1; i >= 0; i--)
		publish_durable(several, i);
	for (int i = 0; i < THREADS; i++)
		publish_durable(several, i);
	ck_assert_int_eq(harness_figure(several->alone.handle, "plain", "publishers"), THREADS);
}

START_TEST(publishers_of_one_process_get_slots_of_their_own_after_a_ring_was_lost)
{
	struct several several;

	open_several(&several);
	harness_bus_kill(&several.alone.bus);
	harness_bus_restart(&several.alone.bus);
	all_come_back(&several);
	close_several(&several);
}
END_TEST

/* Then the rings say that they have successors, and who follows asks another way. */
START_TEST(publishers_of_one_process_get_slots_of_their_own_after_a_stop)
{
	struct several several;

	open_several(&several);
	harness_bus_stop(&several.alone.bus);
	harness_bus_restart(&several.alone.bus);
	all_come_back(&several);
	close_several(&several);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sys_kill_daemon");
	TCase *starts = tcase_create("starts");
	TCase *tcase = tcase_create("kill_daemon");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase,
		       nobody_fails_and_nothing_is_lost_while_the_keeper_brings_the_daemon_back);
	tcase_add_test(
		tcase,
		without_any_daemon_the_ring_fills_then_publishers_wait_and_go_on_when_it_returns);
	tcase_add_test(tcase, handles_go_on_with_a_daemon_that_had_to_start_without_the_rings);
	tcase_add_test(tcase, what_died_with_the_rings_is_never_called_durable);
	tcase_add_test(tcase,
		       who_follows_rings_that_die_quickly_one_after_the_other_gets_what_comes);
	suite_add_tcase(suite, tcase);
	harness_add(suite, "slots",
		    publishers_of_one_process_get_slots_of_their_own_after_a_ring_was_lost, 120);
	harness_add(suite, "slots", publishers_of_one_process_get_slots_of_their_own_after_a_stop,
		    120);
	tcase_set_timeout(starts, 120);
	tcase_add_loop_test(starts, rings_outlive_daemons_that_cannot_start_for_a_while, 0,
			    (int)(sizeof(hides) / sizeof(hides[0])));
	suite_add_tcase(suite, starts);
	return harness_main(suite);
}
