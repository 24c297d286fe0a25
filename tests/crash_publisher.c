/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A publisher dies at each test point that publishing passes. The others go on, what it was told
 * is published is there, nothing half-made is, and at most a tombstone is left.
 */
/* TEST_TIMEOUT=180 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/atomic.h"
#include "shm/testpoint.h"
#include "tests/harness.h"
#include "tests/testpoints.h"

enum {
	DEATHS = 20, /* at each point, at different occurrences */
	PASSES = 60, /* a point is passed so often by a whole life of a victim, at least */
	BATCH = 3,
	VICTIM = 1000, /* numbers of survivors' records begin at 0 */
};

/* Shared by the case and its victims. */
struct scene {
	struct harness_bus bus;
	struct testpoints seen; /* filled by the first life, which nobody ends */
	char target[TESTPOINTS_NAME_LEN];
	uint64_t left;                 /* times that the target is still passed */
	pid_t daemon;                  /* dies first, when not 0 */
	_Atomic uint64_t acknowledged; /* records of this victim */
	_Atomic uint64_t under_way;    /* records that become visible with the next commit */
};

static struct scene *scene;

static void note_name(const char *name)
{
	testpoints_add(&scene->seen, name);
}

static void die_at_target(const char *name)
{
	if (strcmp(name, scene->target) != 0 || --scene->left > 0)
		return;
	if (scene->daemon)
		kill(scene->daemon, SIGKILL);
	kill(getpid(), SIGKILL);
}

/* ---- the victim ---- */

static void told(int r, uint64_t n, const struct leat_publisher *publisher)
{
	must(r >= 0, "a victim: %s", leat_publisher_detail(publisher));
	store_release(&scene->under_way, 0);
	fetch_add_acq_rel(&scene->acknowledged, n);
}

static void publish_each_way(struct leat_publisher *publisher, uint64_t i)
{
	char value[200] = "victim";
	struct leat_record record = { .value = value, .value_len = 10 + i, .shard = 0 };
	struct leat_record batch[BATCH] = { record, record, record };
	struct leat_result results[BATCH];
	struct leat_claim claim;

	store_release(&scene->under_way, 1);
	told(leat_publish(publisher, &record, NULL), 1, publisher);
	store_release(&scene->under_way, BATCH);
	told(leat_publish_batch(publisher, batch, BATCH, results), BATCH, publisher);
	store_release(&scene->under_way, 1);
	must(leat_reserve(publisher, &record, &claim) == 0, "reserve: %s",
	     leat_publisher_detail(publisher));
	memset(claim.value, 'v', claim.value_len);
	told(leat_commit(publisher, &claim, NULL), 1, publisher);
	must(leat_reserve(publisher, &record, &claim) == 0, "reserve: %s",
	     leat_publisher_detail(publisher));
	leat_discard(publisher, &claim);
}

static int live(void *arg)
{
	struct leat_bus *bus = harness_connect(&scene->bus);
	struct leat_publisher *publisher = harness_publisher(bus, "scene");

	testpoint_hook = *(void (**)(const char *))arg;
	for (uint64_t i = 0; i < PASSES / 3; i++)
		publish_each_way(publisher, i);
	testpoint_hook = NULL;
	leat_publisher_close(publisher);
	leat_close(bus);
	return 0;
}

/* ---- the survivors ---- */

struct survivors {
	struct leat_bus *bus;
	struct leat_publisher *publisher;
	struct leat_subscriber *subscriber;
	uint64_t number;
};

/* Publishes one more record and takes what comes up to it; the number of the victim's records. */
static uint64_t take_turn(struct survivors *survivors)
{
	struct leat_record record = { .value = &survivors->number,
				      .value_len = sizeof(survivors->number) };
	struct leat_message message;
	uint64_t n = 0;
	int r = leat_publish_timed(survivors->publisher, &record, 10000000000u, NULL);

	must(r == 0, "a survivor cannot publish: %s", leat_publisher_detail(survivors->publisher));
	for (;; n++) {
		r = leat_next(survivors->subscriber, 10000000000u, &message);
		must(r == 1, "a survivor waits for record %llu: %s",
		     (unsigned long long)survivors->number, leat_strerror(r));
		must(message.kind == LEAT_RECORD, "a gap of reason %d", (int)message.reason);
		if (message.value_len == sizeof(survivors->number))
			break;
		must(memcmp(message.value, "vi", 2) == 0 || memcmp(message.value, "vv", 2) == 0,
		     "half a record");
	}
	must(memcmp(message.value, &survivors->number, sizeof(survivors->number)) == 0,
	     "a survivor's record is not what was published");
	survivors->number++;
	return n;
}

struct expected {
	struct leat_bus *bus;
	int64_t tombstones;
	int64_t publishers;
};

static bool is_cleared_up(void *arg)
{
	struct expected *expected = arg;

	return harness_figure(expected->bus, "scene", "tombstones") == expected->tombstones &&
	       harness_figure(expected->bus, "scene", "publishers") == expected->publishers;
}

static bool leaves_tombstone(const char *name)
{
	return strcmp(name, "reserve-claimed") != 0 && strcmp(name, "commit-stored") != 0;
}

static void die_once(struct survivors *survivors, const char *name, uint64_t occurrence)
{
	void (*hook)(const char *) = die_at_target;
	struct expected expected = { .bus = survivors->bus, .publishers = 1 };
	uint64_t n, told_n, more;
	int status;

	expected.tombstones =
		harness_figure(survivors->bus, "scene", "tombstones") + leaves_tombstone(name);
	strcpy(scene->target, name);
	scene->left = occurrence;
	store_release(&scene->acknowledged, 0);
	store_release(&scene->under_way, 0);
	status = harness_reap(harness_fork(live, &hook), 20);
	must(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
	     "the victim outlived occurrence %llu of %s: %#x", (unsigned long long)occurrence, name,
	     (unsigned)status);
	n = take_turn(survivors);
	told_n = load_acquire(&scene->acknowledged);
	more = strcmp(name, "commit-stored") == 0 ? load_acquire(&scene->under_way) : 0;
	must(n == told_n + more, "%s, occurrence %llu: %llu records came, %llu told and %llu more",
	     name, (unsigned long long)occurrence, (unsigned long long)n,
	     (unsigned long long)told_n, (unsigned long long)more);
	must(harness_until(is_cleared_up, &expected, 10),
	     "%s, occurrence %llu: %lld tombstones instead of %lld, %lld publishers", name,
	     (unsigned long long)occurrence,
	     (long long)harness_figure(survivors->bus, "scene", "tombstones"),
	     (long long)expected.tombstones,
	     (long long)harness_figure(survivors->bus, "scene", "publishers"));
}

static void open_scene(struct survivors *survivors, unsigned flags)
{
	scene = harness_shared(sizeof(*scene));
	harness_bus_start(&scene->bus, flags);
	*survivors = (struct survivors){ .bus = harness_connect(&scene->bus) };
	harness_stream(survivors->bus, "scene", 1, 64 << 10, NULL);
	survivors->publisher = harness_publisher(survivors->bus, "scene");
	survivors->subscriber = harness_subscriber(survivors->bus, "scene");
}

static void close_scene(struct survivors *survivors)
{
	leat_subscriber_close(survivors->subscriber);
	leat_publisher_close(survivors->publisher);
	leat_close(survivors->bus);
	harness_bus_stop(&scene->bus);
}

START_TEST(a_publisher_that_dies_at_any_point_leaves_at_most_a_tombstone)
{
	void (*hook)(const char *) = note_name;
	struct survivors survivors;
	struct testpoints known;
	uint64_t seed = harness_seed();

	open_scene(&survivors, 0);
	harness_reap_ok(harness_fork(live, &hook), 20, "the first publisher");
	take_turn(&survivors);
	testpoints_of_sources(&known);
	for (size_t i = 0; i < known.n; i++)
		must(!testpoints_is_publishers(known.names[i]) ||
			     testpoints_has(&scene->seen, known.names[i]),
		     "no publisher passes %s", known.names[i]);
	for (size_t i = 0; i < scene->seen.n; i++) {
		for (int j = 0; j < DEATHS; j++)
			die_once(&survivors, scene->seen.names[i],
				 1 + harness_random(&seed) % PASSES);
		printf("%s: %d deaths\n", scene->seen.names[i], DEATHS);
	}
	close_scene(&survivors);
}
END_TEST

/* The same when the daemon dies just before: it has to find the dead when it comes back. */
START_TEST(a_daemon_that_comes_back_buries_who_died_meanwhile)
{
	static const char *const points[] = { "reserve-moved", "reserve-marked", "commit-filled" };
	struct survivors survivors;

	open_scene(&survivors, HARNESS_KEEP);
	for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		scene->daemon = harness_daemon_pid(&scene->bus);
		die_once(&survivors, points[i], 5);
	}
	close_scene(&survivors);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("crash_publisher");
	TCase *tcase = tcase_create("publisher");

	tcase_set_timeout(tcase, 150);
	tcase_add_test(tcase, a_publisher_that_dies_at_any_point_leaves_at_most_a_tombstone);
	tcase_add_test(tcase, a_daemon_that_comes_back_buries_who_died_meanwhile);
	suite_add_tcase(suite, tcase);
	return harness_main(suite);
}
