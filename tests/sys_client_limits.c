/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that has no file descriptor left, or no room for a ring in its address space: each call
 * of the library says so, nothing of what the daemon gave for it stays taken, and when there are
 * some again everything works.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/harness.h"

enum {
	TRIES = 300, /* more than a shard has publisher slots */
	RING = 4 << 20,
};

static struct harness_bus bus;

/* So many fds more than are open now. */
static void leave(rlim_t n)
{
	struct rlimit limit;
	int next;

	must(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit: %s", strerror(errno));
	limit.rlim_cur = limit.rlim_max;
	must(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit: %s", strerror(errno));
	next = fcntl(STDERR_FILENO, F_DUPFD, 0);
	must(next >= 0, "fcntl: %s", strerror(errno));
	close(next);
	if (n == RLIM_INFINITY)
		return;
	limit.rlim_cur = (rlim_t)next + n;
	must(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit: %s", strerror(errno));
}

static void use(struct leat_bus *handle)
{
	struct leat_publisher *publisher = harness_publisher(handle, "events");
	struct leat_subscriber *subscriber = harness_subscriber(handle, "events");
	struct leat_record record = { .value = "x", .value_len = 1, .shard = LEAT_SHARD_ANY };
	struct leat_message message;

	must(leat_publish(publisher, &record, NULL) == 0, "publish: %s", leat_detail(handle));
	must(leat_flush(publisher, LEAT_ACK_DURABLE, UINT64_C(30000000000)) == 0, "flush: %s",
	     leat_publisher_detail(publisher));
	must(leat_next(subscriber, UINT64_C(30000000000), &message) == 1, "next: %s",
	     leat_subscriber_detail(subscriber));
	leat_subscriber_close(subscriber);
	leat_publisher_close(publisher);
}

static int starve(void *arg)
{
	struct leat_bus *handle = harness_connect(&bus), *other;
	struct leat_subscriber *subscriber;
	struct leat_publisher *publisher;
	int r;

	for (int i = 0; i < TRIES; i++) {
		leave((rlim_t)(i % 5));
		r = leat_publisher_open(handle, "events", NULL, &publisher);
		must(r == -EMFILE, "try %d: %d (%s)", i, r, leat_detail(handle));
		must(strstr(leat_detail(handle), "ulimit") != NULL, "'%s'", leat_detail(handle));
		r = leat_subscriber_open(handle, "events", NULL, &subscriber);
		must(r == -EMFILE || i % 5 == 4, "try %d: %d (%s)", i, r, leat_detail(handle));
		if (r == 0)
			leat_subscriber_close(subscriber);
		leave(0);
		r = leat_connect(bus.sock, NULL, &other);
		must(r == -EMFILE, "leat_connect: %d (%s)", r, leat_strerror(r));
		leave(RLIM_INFINITY);
	}
	use(handle);
	if (arg)
		*(int *)arg = 1;
	leat_close(handle);
	return 0;
}

/* So many bytes of address space more than are in use now. */
static void leave_room(rlim_t n)
{
	FILE *file = fopen("/proc/self/statm", "re");
	unsigned long long pages = 0;
	struct rlimit limit;

	must(file && fscanf(file, "%llu", &pages) == 1, "/proc/self/statm");
	fclose(file);
	must(getrlimit(RLIMIT_AS, &limit) == 0, "getrlimit: %s", strerror(errno));
	limit.rlim_cur = n == RLIM_INFINITY ? limit.rlim_max
					    : pages * (rlim_t)sysconf(_SC_PAGESIZE) + n;
	must(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit: %s", strerror(errno));
}

static int cramp(void *arg)
{
	struct leat_bus *handle = harness_connect(&bus);
	struct leat_subscriber *subscriber;
	struct leat_publisher *publisher;
	int r;

	/* What the allocator keeps is there before. */
	use(handle);
	for (int i = 0; i < TRIES; i++) {
		leave_room(RING / 2);
		r = leat_publisher_open(handle, "events", NULL, &publisher);
		must(r == -ENOMEM, "try %d: %d (%s)", i, r, leat_detail(handle));
		must(strstr(leat_detail(handle), "events") != NULL, "'%s'", leat_detail(handle));
		r = leat_subscriber_open(handle, "events", NULL, &subscriber);
		must(r == -ENOMEM, "try %d: %d (%s)", i, r, leat_detail(handle));
		leave_room(RLIM_INFINITY);
	}
	use(handle);
	if (arg)
		*(int *)arg = 1;
	leat_close(handle);
	return 0;
}

static int serve_another(void *arg)
{
	struct leat_bus *handle = harness_connect(&bus);

	(void)arg;
	use(handle);
	leat_close(handle);
	return 0;
}

static void want_all_back_after(int (*fn)(void *), const char *who)
{
	struct leat_bus *handle;
	int *done = harness_shared(sizeof(*done));

	harness_bus_start(&bus, 0);
	handle = harness_connect(&bus);
	harness_stream(handle, "events", 1, RING, NULL);
	leat_close(handle);
	harness_reap_ok(harness_fork(fn, done), 100, who);
	ck_assert_int_eq(*done, 1);
	harness_reap_ok(harness_fork(serve_another, NULL), 60, "another");
	harness_bus_stop(&bus);
}

START_TEST(who_has_no_fds_is_told_so_and_takes_nothing_from_others)
{
	want_all_back_after(starve, "who has no fds");
}
END_TEST

START_TEST(who_has_no_room_for_a_ring_is_told_so_and_takes_nothing_from_others)
{
	want_all_back_after(cramp, "who has no room");
}
END_TEST

/* They have all the addresses that there are. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const bool is_sanitized = true;
#else
static const bool is_sanitized = false;
#endif

int main(void)
{
	Suite *suite = suite_create("sys_client_limits");
	TCase *tcase = tcase_create("limits");

	tcase_set_timeout(tcase, 180);
	tcase_add_test(tcase, who_has_no_fds_is_told_so_and_takes_nothing_from_others);
	if (!is_sanitized)
		tcase_add_test(tcase,
			       who_has_no_room_for_a_ring_is_told_so_and_takes_nothing_from_others);
	suite_add_tcase(suite, tcase);
	return harness_main(suite);
}
