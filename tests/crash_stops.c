/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishers, subscribers and the daemon are stopped (SIGSTOP) at each test point for longer than
 * the claim time-out, and then continued: the others go on after that time-out at the latest, and
 * nothing that was acknowledged is lost, to whomever. LEAT_STOPS says how many of each.
 */
/* TEST_TIMEOUT=300 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shm/testpoint.h"
#include "tests/crowd.h"
#include "tests/testpoints.h"

enum {
	STOPS = 96,
	ROUND = 400, /* stops to a stream */
	TOGETHER = 8,
	WRITERS = 1 + TOGETHER,
	RECORDS = 1 << 18,
	STEPS = 40,
	CLAIM_TIMEOUT_MS = 200,
};

static const struct account_terms nothing_is_lost;

static struct crowd *crowd;
static uint64_t seed, total_told;
static struct testpoints stopped_at;

static uint64_t n_stops(void)
{
	const char *given = getenv("LEAT_STOPS");

	return given ? strtoull(given, NULL, 0) : STOPS;
}

static uint64_t pick(uint64_t n)
{
	return harness_random(&seed) % n;
}

static void setup_crowd(unsigned flags)
{
	seed = harness_seed();
	crowd = harness_shared(sizeof(*crowd));
	crowd->n_shards = 2;
	crowd->ring_len = 64 << 10;
	crowd->pause_us = 500;
	crowd->claim_timeout_ns = CLAIM_TIMEOUT_MS * 1000000ull;
	/* A new ring takes its time, and what waited for it is many. */
	crowd->delays.bound_ns = 5 * crowd->claim_timeout_ns;
	strcpy(crowd->stream, "stops");
	crowd_init(crowd, WRITERS, RECORDS);
	harness_bus_start(&crowd->bus, flags);
}

static void open_round(void)
{
	crowd->seed = harness_random(&seed);
	crowd_open(crowd);
	crowd_wait(crowd, 20, "at the beginning");
}

static void close_round(void)
{
	uint64_t tried, told;

	crowd_close(crowd, &nothing_is_lost);
	account_count(crowd->account, &tried, &told);
	total_told += told;
}

static void report(const char *what, uint64_t n)
{
	struct crowd_delays *delays = &crowd->delays;

	printf("%llu %s stopped for more than %d ms; %llu records acknowledged, all there; "
	       "%llu delays measured, %llu over %d ms, the longest %.3f ms\n",
	       (unsigned long long)n, what, CLAIM_TIMEOUT_MS, (unsigned long long)total_told,
	       (unsigned long long)load_acquire(&delays->n),
	       (unsigned long long)load_acquire(&delays->n_over), 5 * CLAIM_TIMEOUT_MS,
	       (double)load_acquire(&delays->longest_ns) / 1e6);
	fflush(stdout);
	must(load_acquire(&delays->n_over) <= load_acquire(&delays->n) / 10,
	     "the others are held up for longer than the claim time-out");
}

/* ---- who stops itself at a point ---- */

static char target[TESTPOINTS_NAME_LEN];
static uint64_t left; /* times that the target is still passed */

static void stop_at_target(const char *name)
{
	if (strcmp(name, target) != 0 || --left > 0)
		return;
	target[0] = '\0';
	raise(SIGSTOP);
}

struct victims {
	const char *points[TOGETHER];
	pid_t pids[TOGETHER];
	bool stopped[TOGETHER];
	bool ended[TOGETHER];
};

static bool all_stand_still(void *arg)
{
	struct victims *victims = arg;
	bool all = true;

	for (int i = 0; i < TOGETHER; i++) {
		int status;

		if (victims->stopped[i] || victims->ended[i])
			continue;
		if (waitpid(victims->pids[i], &status, WUNTRACED | WNOHANG) != victims->pids[i]) {
			all = false;
			continue;
		}
		victims->stopped[i] = WIFSTOPPED(status);
		victims->ended[i] = !WIFSTOPPED(status);
		must(WIFSTOPPED(status) || (WIFEXITED(status) && WEXITSTATUS(status) == 0),
		     "a victim ended with %#x", (unsigned)status);
	}
	return all;
}

/* All stand still at once for longer than their claims hold. Returns how many. */
static uint64_t let_stand(struct victims *victims)
{
	uint64_t until, n = 0;

	if (!harness_until(all_stand_still, victims, 60))
		for (int i = 0; i < TOGETHER; i++)
			must(victims->stopped[i] || victims->ended[i], "nobody comes to %s",
			     victims->points[i]);
	until = harness_now_ns() + CLAIM_TIMEOUT_MS * 1500000ull;
	crowd_wait(crowd, 10, "while others stand still");
	while (harness_now_ns() < until)
		crowd_wait(crowd, 1, "while others stand still");
	for (int i = 0; i < TOGETHER; i++) {
		if (!victims->stopped[i])
			continue;
		n++;
		testpoints_add(&stopped_at, victims->points[i]);
		must(kill(victims->pids[i], SIGCONT) == 0, "SIGCONT: %s", strerror(errno));
	}
	return n;
}

static void check_points(const struct testpoints *points)
{
	for (size_t i = 0; i < points->n; i++)
		must(testpoints_has(&stopped_at, points->names[i]), "nobody stood still at %s",
		     points->names[i]);
}

static void reap(struct victims *victims)
{
	for (int i = 0; i < TOGETHER; i++)
		if (!victims->ended[i])
			harness_reap_ok(victims->pids[i], 60, "who was stopped");
}

/* ---- publishers ---- */

static uint64_t stop_publishers(const struct testpoints *points, uint64_t n)
{
	struct victims victims = { 0 };
	uint64_t stopped;

	for (unsigned i = 0; i < TOGETHER; i++) {
		struct crowd_part part = {
			.crowd = crowd,
			.writer = 1 + i,
			.n_steps = STEPS,
			.seed = harness_random(&seed),
			.hook = stop_at_target,
		};

		victims.points[i] = points->names[(n + i) % points->n];
		strcpy(target, victims.points[i]);
		left = 1 + pick(STEPS / 2);
		victims.pids[i] = harness_fork(crowd_publish, &part);
	}
	stopped = let_stand(&victims);
	reap(&victims);
	return stopped;
}

START_TEST(stopped_publishers_are_left_behind_and_told_the_truth)
{
	uint64_t n = n_stops(), stopped = 0;
	struct testpoints points;

	setup_crowd(0);
	testpoints_those(testpoints_is_publishers, &points);
	while (stopped < n) {
		uint64_t begin = stopped;

		open_round();
		while (stopped < n && stopped - begin < ROUND)
			stopped += stop_publishers(&points, stopped);
		close_round();
	}
	check_points(&points);
	report("publishers", stopped);
	harness_bus_stop(&crowd->bus);
}
END_TEST

/* ---- subscribers ---- */

struct reading {
	struct account_reader *reader;
	int32_t shard; /* of one alone is read in a way of its own */
};

/* Reads until a while after it was stopped. */
static int subscribe(void *arg)
{
	struct reading *reading = arg;
	struct leat_bus *bus = harness_connect(&crowd->bus);
	struct leat_subscriber_options options;
	struct leat_subscriber *subscriber;
	struct leat_message message;

	leat_subscriber_options_init(&options);
	options.start = LEAT_EARLIEST;
	options.shard = reading->shard;
	must(leat_subscriber_open(bus, crowd->stream, &options, &subscriber) == 0,
	     "subscribing: %s", leat_detail(bus));
	testpoint_hook = stop_at_target;
	for (unsigned more = 0; more < 200; more += target[0] == '\0') {
		int r = leat_next(subscriber, 100000000, &message);

		if (r == -ETIMEDOUT)
			continue;
		must(r == 1, "a subscriber: %s", leat_subscriber_detail(subscriber));
		must(account_reader_take(reading->reader, &message), "a subscriber: %s",
		     account_reader_complaint(reading->reader));
	}
	testpoint_hook = NULL;
	leat_subscriber_close(subscriber);
	leat_close(bus);
	return 0;
}

static uint64_t stop_subscribers(const struct testpoints *points, uint64_t n,
				 struct account_reader *const readers[TOGETHER])
{
	struct victims victims = { 0 };
	uint64_t stopped;

	for (unsigned i = 0; i < TOGETHER; i++) {
		struct reading reading = { readers[i], (int32_t)pick(3) - 1 };

		account_reader_clear(readers[i]);
		victims.points[i] = points->names[(n + i) % points->n];
		strcpy(target, victims.points[i]);
		if (strcmp(target, "read-copied") == 0 && reading.shard < 0)
			reading.shard = 0;
		left = 1 + pick(20);
		victims.pids[i] = harness_fork(subscribe, &reading);
	}
	stopped = let_stand(&victims);
	reap(&victims);
	return stopped;
}

START_TEST(stopped_subscribers_are_noticed_by_nobody_and_miss_nothing)
{
	struct account_reader *readers[TOGETHER];
	uint64_t n = n_stops(), stopped = 0;
	struct testpoints points;

	setup_crowd(0);
	for (int i = 0; i < TOGETHER; i++)
		readers[i] = account_reader_new(crowd->account);
	testpoints_those(testpoints_is_subscribers, &points);
	while (stopped < n) {
		struct crowd_part part = {
			.crowd = crowd, .writer = 1, .n_steps = UINT64_MAX, .pause_us = 500
		};
		uint64_t begin = stopped;
		pid_t pid;

		open_round();
		part.seed = harness_random(&seed);
		pid = harness_fork(crowd_publish, &part);
		while (stopped < n && stopped - begin < ROUND / 8)
			stopped += stop_subscribers(&points, stopped, readers);
		store_release(&crowd->stop, 1);
		harness_reap_ok(pid, 60, "a publisher");
		close_round();
	}
	check_points(&points);
	report("subscribers", stopped);
	harness_bus_stop(&crowd->bus);
}
END_TEST

/* ---- the daemon ---- */

/* At that point if it comes there soon; returns whether it did. */
static bool stop_daemon(const char *name)
{
	pid_t pid = crowd->bus.pid;
	char armed[160];
	bool stopped;
	int fd;

	snprintf(armed, sizeof(armed), "%s/points/%s.stop", crowd->bus.dir, name);
	fd = open(armed, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	must(fd >= 0, "%s: %s", armed, strerror(errno));
	close(fd);
	stopped = harness_until(harness_is_stopped, &pid, 0.3);
	if (!stopped && unlink(armed) == 0)
		return false;
	must(harness_until(harness_is_stopped, &pid, 10), "the daemon does not stop at %s", name);
	harness_pause_ns(CLAIM_TIMEOUT_MS * 1500000ull);
	must(kill(pid, SIGCONT) == 0, "SIGCONT: %s", strerror(errno));
	crowd_wait(crowd, 10, "when the daemon goes on");
	return true;
}

/* The others do not come up by themselves: crash_points stops it at each. */
static bool comes_by_itself(const char *name)
{
	return testpoints_is_daemons(name) && !testpoints_is_starts(name) &&
	       !testpoints_is_provoked(name);
}

START_TEST(a_stopped_daemon_loses_nothing)
{
	uint64_t n = n_stops() / 4, stopped = 0;
	struct testpoints points;

	setup_crowd(HARNESS_TESTPOINTS);
	crowd->delays.bound_ns = 60000000000u; /* it is the daemon that everybody waits for */
	testpoints_those(comes_by_itself, &points);
	while (stopped < n) {
		struct crowd_part part = { .crowd = crowd, .writer = 1, .n_steps = UINT64_MAX };
		uint64_t begin = stopped;
		pid_t pid;

		open_round();
		part.seed = harness_random(&seed);
		pid = harness_fork(crowd_publish, &part);
		for (uint64_t i = 0; stopped < n && i < ROUND && stopped - begin < ROUND / 8; i++)
			stopped += stop_daemon(points.names[i % points.n]);
		store_release(&crowd->stop, 1);
		harness_reap_ok(pid, 60, "a publisher");
		close_round();
	}
	report("daemons", stopped);
	harness_bus_stop(&crowd->bus);
}
END_TEST

/* CK_RUN_CASE chooses one. */
int main(void)
{
	Suite *suite = suite_create("crash_stops");
	double seconds = getenv("LEAT_STOPS") ? 36000 : 240;

	harness_add(suite, "publishers", stopped_publishers_are_left_behind_and_told_the_truth,
		    seconds);
	harness_add(suite, "subscribers",
		    stopped_subscribers_are_noticed_by_nobody_and_miss_nothing, seconds);
	harness_add(suite, "daemon", a_stopped_daemon_loses_nothing, seconds);
	return harness_main(suite);
}
