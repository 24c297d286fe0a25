/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A publisher dies, and before the daemon has looked another process has its id: the kernel counts
 * pids round, and who may can choose (clone3). What the dead one left open is buried all the same,
 * its slot is given up, and the new one is neither taken for it nor harmed.
 *
 * The daemon stands still (SIGSTOP), or is dead, while the one is killed and the other is made.
 */
/* TEST_TIMEOUT=300 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shm/atomic.h"
#include "tests/harness.h"
#include "tests/raw.h"

enum {
	RECORDS = 50, /* of the new process */
};

struct scene {
	struct harness_bus bus;
	_Atomic int ready; /* the dead one has left a reservation open */
	_Atomic int began; /* the new one runs */
	_Atomic int go;    /* it may end */
	_Atomic int n_durable;
	_Atomic int refused; /* who inherited the dead one's connection */
};

static struct scene *scene;

static bool is_set(void *arg)
{
	return load_acquire((_Atomic int *)arg) != 0;
}

static void wait_for(_Atomic int *flag, const char *what)
{
	must(harness_until(is_set, flag, 60), "%s", what);
}

/* ---- the processes ---- */

/* Dies with a reservation open; by the library's hand. */
static int publish_and_hang(void *arg)
{
	struct leat_bus *bus = harness_connect(&scene->bus);
	struct leat_publisher *publisher = harness_publisher(bus, "events");
	struct leat_record record = { .value = "x", .value_len = 1, .shard = LEAT_SHARD_ANY };
	struct leat_claim claim;

	(void)arg;
	must(leat_publish(publisher, &record, NULL) == 0, "publish: %s", leat_detail(bus));
	must(leat_reserve(publisher, &record, &claim) == 0, "reserve: %s", leat_detail(bus));
	store_release(&scene->ready, 1);
	for (;;)
		pause();
}

/* Another process: publishes as anybody may; stays, unless it is told not to. */
static int publish_anew(void *arg)
{
	const bool *leaves = arg;
	struct leat_bus *bus;
	struct leat_publisher *publisher;
	struct leat_record record = { .value = "new", .value_len = 3, .shard = LEAT_SHARD_ANY };

	store_release(&scene->began, 1);
	bus = harness_connect(&scene->bus);
	publisher = harness_publisher(bus, "events");
	for (int i = 0; i < RECORDS; i++) {
		must(leat_publish(publisher, &record, NULL) == 0, "publish: %s", leat_detail(bus));
		must(leat_flush(publisher, LEAT_ACK_DURABLE, UINT64_C(30000000000)) == 0,
		     "flush: %s", leat_publisher_detail(publisher));
		fetch_add_acq_rel(&scene->n_durable, 1);
	}
	if (!leaves)
		wait_for(&scene->go, "the case does not end");
	leat_publisher_close(publisher);
	leat_close(bus);
	return 0;
}

/* The same pid, and nothing to do with the bus. */
static int live(void *arg)
{
	(void)arg;
	store_release(&scene->began, 1);
	wait_for(&scene->go, "the case does not end");
	return 0;
}

/* ---- what the bus shows ---- */

/* How many slots of the stream the process has. */
static int slots_of(pid_t pid)
{
	struct harness_output output;
	char want[32];
	int n = 0;

	snprintf(want, sizeof(want), "\"pid\":%d,", (int)pid);
	harness_run(&scene->bus, NULL, &output,
		    (const char *[]){ "leat", "stat", "events", "--json", NULL });
	must(output.status == 0, "leat stat: %s", output.err);
	for (const char *p = output.out; (p = strstr(p, want)) != NULL; p += strlen(want))
		n++;
	harness_output_deinit(&output);
	return n;
}

/* Everything in order up to `last`, and what the dead one left is stepped over. */
static void read_up_to(const char *last, int n_wanted)
{
	struct leat_bus *bus = harness_connect(&scene->bus);
	struct leat_subscriber *subscriber = harness_subscriber(bus, "events");
	struct leat_message message;
	int n = 0;

	while (n < n_wanted) {
		int r = leat_next(subscriber, UINT64_C(30000000000), &message);

		must(r == 1 && message.kind == LEAT_RECORD, "leat_next: %d, kind %d", r,
		     (int)message.kind);
		n += message.value_len == strlen(last) &&
		     memcmp(message.value, last, strlen(last)) == 0;
	}
	leat_subscriber_close(subscriber);
	leat_close(bus);
}

static int64_t tombstones(void)
{
	struct leat_bus *bus = harness_connect(&scene->bus);
	int64_t n = harness_figure(bus, "events", "tombstones");

	leat_close(bus);
	return n;
}

static void begin(unsigned flags)
{
	struct leat_stream_options options;
	struct leat_bus *bus;

	scene = harness_shared(sizeof(*scene));
	harness_bus_start(&scene->bus, flags);
	bus = harness_connect(&scene->bus);
	leat_stream_options_init(&options);
	/* No time-out helps: only the kernel's word that it is dead. */
	options.claim_timeout_ns = UINT64_C(3600000000000);
	harness_stream(bus, "events", 1, 64 << 10, &options);
	leat_close(bus);
}

static void signal_to(pid_t pid, int signal_number)
{
	must(kill(pid, signal_number) == 0, "kill %d: %s", (int)pid, strerror(errno));
}

/* Another process under the id of one that was killed a moment ago. */
static void replace(pid_t pid, int (*fn)(void *arg))
{
	pid_t again;

	/* Start times are told in hundredths of a second. */
	usleep(30000);
	harness_kill(pid);
	again = harness_fork_as(pid, fn, NULL);
	must(again == pid, "pid %d is not to be had again: %s", (int)pid, strerror((int)-again));
	wait_for(&scene->began, "the new process does not begin");
}

static void finish(pid_t pid)
{
	store_release(&scene->go, 1);
	harness_reap_ok(pid, 60, "the new process");
	harness_bus_stop(&scene->bus);
}

/* ---- cases ---- */

START_TEST(the_dead_is_buried_though_another_has_its_pid)
{
	pid_t daemon_pid, pid;

	begin(0);
	daemon_pid = harness_daemon_pid(&scene->bus);
	pid = harness_fork(publish_and_hang, NULL);
	wait_for(&scene->ready, "the publisher does not begin");
	ck_assert_int_eq(slots_of(pid), 1);
	signal_to(daemon_pid, SIGSTOP);
	replace(pid, publish_anew);
	signal_to(daemon_pid, SIGCONT);
	read_up_to("new", RECORDS);
	ck_assert_int_eq(tombstones(), 1);
	/* One of its own, and none that it would have inherited. */
	ck_assert_int_eq(slots_of(pid), 1);
	finish(pid);
}
END_TEST

START_TEST(a_daemon_that_comes_back_takes_nobody_for_the_dead)
{
	pid_t daemon_pid, pid;

	begin(HARNESS_KEEP);
	daemon_pid = harness_daemon_pid(&scene->bus);
	pid = harness_fork(publish_and_hang, NULL);
	wait_for(&scene->ready, "the publisher does not begin");
	/* The keeper does not start another one before that. */
	signal_to(scene->bus.pid, SIGSTOP);
	signal_to(daemon_pid, SIGKILL);
	replace(pid, live);
	signal_to(scene->bus.pid, SIGCONT);
	/* Somebody else behind the reservation. */
	harness_reap_ok(harness_fork(publish_anew, &(bool){ true }), 60, "another publisher");
	read_up_to("new", RECORDS);
	ck_assert_int_eq(tombstones(), 1);
	ck_assert_int_eq(slots_of(pid), 0);
	finish(pid);
}
END_TEST

/* ---- a connection that outlives who made it ---- */

static const char attach[] =
	"{\"op\":\"attach\",\"stream\":\"events\",\"shard\":0,\"role\":\"publish\"}";

/* Holds on to the connection of its parent, and asks for more on it when that is dead. */
static int inherit(void *arg)
{
	struct raw_reply reply;

	store_release(&scene->ready, 1);
	wait_for(&scene->began, "the new process does not begin");
	raw_request(*(int *)arg, attach, &reply);
	store_release(&scene->refused, raw_ok(&reply) ? -1 : 1 + raw_errno(&reply));
	raw_end(&reply);
	return 0;
}

static int connect_and_fork(void *arg)
{
	int fd = raw_hello(&scene->bus);
	struct raw_reply reply;

	(void)arg;
	raw_request(fd, attach, &reply);
	must(raw_ok(&reply), "attach was refused");
	harness_fork(inherit, &fd);
	for (;;)
		pause();
}

START_TEST(a_connection_passed_on_is_not_its_maker)
{
	pid_t pid;

	begin(0);
	pid = harness_fork(connect_and_fork, NULL);
	wait_for(&scene->ready, "nobody inherits");
	ck_assert_int_eq(slots_of(pid), 1);
	replace(pid, live);
	wait_for(&scene->refused, "the heir gets no answer");
	ck_assert_int_eq(load_acquire(&scene->refused), 1 + ESRCH);
	ck_assert_int_eq(slots_of(pid), 0);
	finish(pid);
}
END_TEST

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

int main(void)
{
	Suite *suite = suite_create("sys_pid_reuse");
	TCase *tcase = tcase_create("pids");
	pid_t pid = harness_fork(nothing, NULL), again;

	harness_reap_ok(pid, 60, "a process");
	again = harness_fork_as(pid, nothing, NULL);
	if (again < 0)
		return harness_skip("needs root, and clone3 with a pid of one's choice");
	harness_reap_ok(again, 60, "a process");
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, the_dead_is_buried_though_another_has_its_pid);
	tcase_add_test(tcase, a_daemon_that_comes_back_takes_nobody_for_the_dead);
	tcase_add_test(tcase, a_connection_passed_on_is_not_its_maker);
	suite_add_tcase(suite, tcase);
	return harness_main(suite);
}
