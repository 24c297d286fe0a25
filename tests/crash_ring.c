/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One process dies at each test point of shm/: a publisher while another one, alive, stands in the
 * middle of its reservation; a drain while it reclaims or buries. Afterwards everything that was
 * committed is there once and in order, the dead have a tombstone at most, and nothing of the
 * living is buried.
 */
#include <check.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "shm/testpoint.h"
#include "shm/wait.h"
#include "tests/ring_bed.h"
#include "tests/testpoints.h"

enum {
	VICTIM = 3, /* slots, and who it is in the records */
	BYSTANDER = 4,
	LATER = 5,
	NTH = 4, /* time at a point at which the victim dies */
};

/* What a publisher's death there leaves; the records that it had committed before are NTH - 1. */
static const struct {
	const char *name;
	unsigned int tombstones;
	unsigned int records; /* of the attempt in which it died */
	bool named;
} publisher_points[] = {
	{ "reserve-claimed", 0, 0, false }, { "reserve-moved", 1, 0, false },
	{ "reserve-marked", 1, 0, true },   { "reserve-done", 1, 0, true },
	{ "commit-filled", 1, 0, true },    { "commit-stored", 0, 1, false },
};

static const char *const drain_points[] = { "reclaim-announced", "reclaim-zeroed", "bury-filled" };

/* Shared with the children. */
struct scene {
	_Atomic uint32_t parked;
	_Atomic uint32_t go;
};

static struct ring_bed bed;
static struct scene *scene;
static struct ring_publisher later;
static uint64_t n_later;

static const char *point;
static int times;

static void setup(void)
{
	scene = mmap(NULL, sizeof(*scene), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	ck_assert_ptr_ne(scene, MAP_FAILED);
	ring_bed_init(&bed, LAYOUT_RING_MIN);
	ring_bed_own(bed.daemon, LATER, OWNER_TAKEN, (uint32_t)getpid());
	ck_assert_int_eq(ring_publisher_init(&later, bed.writer, LATER, -1), 0);
	n_later = 0;
}

static void teardown(void)
{
	ring_bed_deinit(&bed);
	munmap(scene, sizeof(*scene));
}

/* ---- children ---- */

static void die_here(const char *name)
{
	if (strcmp(name, point) == 0 && --times == 0)
		kill(getpid(), SIGKILL);
}

static void park_here(const char *name)
{
	if (strcmp(name, point) != 0 || load_relaxed(&scene->parked))
		return;
	store_release(&scene->parked, 1);
	while (!load_acquire(&scene->go))
		(void)wait_futex(&scene->go, 0, UINT64_MAX);
}

static int child_publish(uint16_t slot, uint64_t n)
{
	struct ring_publisher publisher;
	struct ring *ring = ring_bed_open(&bed, REGION_PUBLISHER);

	bed_must(ring_publisher_init(&publisher, ring, slot, -1) == 0, "ring_publisher_init");
	for (uint64_t i = 0; i < n; i++)
		bed_must(ring_bed_publish(&publisher, slot, i, (uint32_t)(16 + i * 50), NULL) == 0,
			 "publishing record %d", (int)i);
	return 0;
}

static __attribute__((noreturn)) void child_drain(uint64_t pos)
{
	struct ring_bed_drain drain;

	ring_bed_drain_init(&drain, ring_bed_open(&bed, REGION_DAEMON), pos);
	for (;;)
		if (!ring_bed_drain_pass(&drain))
			sched_yield();
}

/* A process that does `what` for a slot, with that hook at that point. */
static pid_t start(uint16_t slot, void (*hook)(const char *), const char *name, uint64_t n)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		testpoint_hook = hook;
		point = name;
		times = NTH;
		if (!slot)
			child_drain(LAYOUT_FIRST_POS);
		_exit(child_publish(slot, n));
	}
	ck_assert_int_gt(pid, 0);
	if (slot)
		ring_bed_own(bed.daemon, slot, OWNER_TAKEN, (uint32_t)pid);
	return pid;
}

static void wants_killed(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "it did not get there");
}

/* ---- publishers ---- */

struct seen {
	uint64_t next[8]; /* by slot: the number that comes next */
};

static void on_record(void *arg, const struct record_view *view)
{
	struct seen *seen = arg;
	uint64_t who, number;

	ck_assert(ring_bed_check(view, &who, &number));
	ck_assert_uint_lt(who, ARRAY_LEN(seen->next));
	ck_assert_uint_eq(number, seen->next[who]);
	seen->next[who]++;
}

static void publish_later(void)
{
	ck_assert_int_eq(ring_bed_publish(&later, LATER, n_later++, 40, NULL), 0);
}

static pid_t park_bystander(void)
{
	pid_t pid = start(BYSTANDER, park_here, "reserve-moved", 3);

	while (!load_acquire(&scene->parked))
		sched_yield();
	return pid;
}

static pid_t kill_victim(int which)
{
	pid_t pid = start(VICTIM, die_here, publisher_points[which].name, NTH + 1);

	wants_killed(pid);
	ring_bed_own(bed.daemon, VICTIM, OWNER_DEAD, 0);
	return pid;
}

/* The tombstones as a subscriber sees them; returns how many name this process. */
static unsigned int tombstones_of(pid_t pid)
{
	uint64_t limit = 0, len, word, pos = LAYOUT_FIRST_POS;
	struct record_view view;
	unsigned int n = 0;
	char buf[4096];

	while (ring_read(bed.reader, pos, UINT64_MAX, &limit, buf, sizeof(buf), &len) == 0)
		for (uint64_t end = pos + len, from = pos; pos < end; pos += record_step(word)) {
			memcpy(&word, buf + (pos - from), 8);
			ck_assert_int_eq(record_parse(word, buf + (pos - from), pos, &view), 0);
			if (view.kind == RECORD_TOMBSTONE && view.publisher == (uint32_t)pid)
				n++;
		}
	ck_assert_uint_eq(pos, ring_tail(bed.reader));
	return n;
}

/* The loop's number: which point, and who comes first in the log. */
START_TEST(a_publisher_killed_at_any_point_leaves_a_tombstone_at_most)
{
	int which = _i / 2, status;
	bool bystander_first = _i % 2;
	struct ring_bed_drain drain;
	struct seen seen = { 0 };
	pid_t bystander = 0, victim;
	uint64_t hole;

	if (bystander_first)
		bystander = park_bystander();
	victim = kill_victim(which);
	if (!bystander_first)
		bystander = park_bystander();
	publish_later();
	ring_bed_drain_init(&drain, bed.daemon, LAYOUT_FIRST_POS);
	drain.on_record = on_record;
	drain.arg = &seen;
	/* Somebody alive stands in the middle: nothing of his is touched however long it takes. */
	for (int i = 0; i < 1000; i++)
		ring_bed_drain_pass(&drain);
	ck_assert(drain.waits);
	hole = drain.pos;
	ck_assert_uint_eq(ring_word_at(bed.reader, hole), 0);
	ck_assert_uint_eq(seen.next[BYSTANDER], 0);
	store_release(&scene->go, 1);
	wait_futex_wake(&scene->go, 1);
	ck_assert_int_eq(waitpid(bystander, &status, 0), bystander);
	ck_assert_int_eq(status, 0);
	publish_later();
	while (drain.pos < ring_tail(bed.daemon))
		ck_assert(ring_bed_drain_pass(&drain));
	ck_assert_uint_eq(seen.next[BYSTANDER], 3);
	ck_assert_uint_eq(seen.next[LATER], 2);
	ck_assert_uint_eq(seen.next[VICTIM], NTH - 1 + publisher_points[which].records);
	ck_assert_uint_eq(drain.tombstones, publisher_points[which].tombstones);
	ck_assert_uint_eq(drain.damaged, 0);
	ck_assert_uint_eq(tombstones_of(victim), publisher_points[which].named);
	ck_assert_int_eq(load_relaxed(&bed.daemon->govern->owners[VICTIM].state), OWNER_FREE);
}
END_TEST

START_TEST(without_anybody_in_the_middle_the_dead_are_buried_in_one_pass)
{
	struct ring_bed_drain drain;

	kill_victim(_i);
	publish_later();
	ring_bed_drain_init(&drain, bed.daemon, LAYOUT_FIRST_POS);
	ring_bed_drain_pass(&drain);
	ck_assert_uint_eq(drain.pos, ring_tail(bed.daemon));
	ck_assert_uint_eq(drain.tombstones, publisher_points[_i].tombstones);
}
END_TEST

START_TEST(a_victim_that_is_not_marked_dead_is_waited_for)
{
	/* The negative control: it is the kernel's word that buries, not the time that passes. */
	struct ring_bed_drain drain;
	pid_t pid = start(VICTIM, die_here, publisher_points[_i].name, NTH + 1);

	wants_killed(pid);
	publish_later();
	ring_bed_drain_init(&drain, bed.daemon, LAYOUT_FIRST_POS);
	for (int i = 0; i < 1000; i++)
		ring_bed_drain_pass(&drain);
	ck_assert_int_eq(drain.waits, publisher_points[_i].tombstones);
	ck_assert_uint_eq(drain.tombstones, 0);
}
END_TEST

/* ---- the drain ---- */

/* One more record, or nothing when the ring is full. */
static bool try_publish(void)
{
	uint32_t value_len = (uint32_t)(16 + n_later * 7 % 300);
	int r = ring_bed_publish(&later, LATER, n_later, value_len, NULL);

	ck_assert(r == 0 || r == RING_E_FULL);
	n_later += r == 0;
	return r == 0;
}

/* A reservation that nobody will finish, of a slot whose owner is dead. */
static void leave_reservation(void)
{
	struct ring_publisher dead;
	uint64_t pos;

	ring_bed_own(bed.daemon, VICTIM, OWNER_TAKEN, 1);
	ck_assert_int_eq(ring_publisher_init(&dead, bed.writer, VICTIM, -1), 0);
	if (ring_reserve(&dead, 200, &pos) == 0)
		memset((char *)ring_at(bed.writer, pos) + 8, 0x77, 192);
	ring_bed_own(bed.daemon, VICTIM, OWNER_DEAD, 0);
}

/* Publishes, with the dead in between, until the drain has died. */
static void feed_until_dead(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (!try_publish())
			sched_yield();
		else if (n_later % 100 == 0)
			leave_reservation();
	}
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "it did not get there");
}

static uint64_t expected;

static void on_later(void *arg, const struct record_view *view)
{
	bool *any = arg;
	uint64_t who, number;

	ck_assert(ring_bed_check(view, &who, &number));
	ck_assert_uint_eq(who, LATER);
	/* Where the next drain takes up is a matter of the disk; from there on all is there. */
	if (*any)
		ck_assert_uint_eq(number, expected);
	*any = true;
	expected = number + 1;
}

START_TEST(a_drain_killed_while_it_reclaims_or_buries_is_taken_over)
{
	struct ring_bed_drain drain;
	struct ring *heir;
	bool any = false;
	char buf[64];
	uint64_t len, tail, limit = 0;

	feed_until_dead(start(0, die_here, drain_points[_i], 0));
	heir = ring_bed_open(&bed, REGION_DAEMON);
	tail = ring_tail(heir);
	ring_bed_drain_init(&drain, heir, ring_written(heir));
	drain.on_record = on_later;
	drain.arg = &any;
	/* What is free is zero again, and no reader finds a previous lap there. */
	ck_assert_uint_eq(load_relaxed(&heir->govern->limit), ring_reclaimed(heir) + heir->len);
	ck_assert(ring_bed_is_clean(heir));
	ck_assert_int_eq(ring_read(bed.reader, tail, UINT64_MAX, &limit, buf, sizeof(buf), &len),
			 RING_E_EMPTY);
	while (ring_tail(heir) < tail + 3 * heir->len)
		if (!try_publish()) {
			ring_bed_drain_pass(&drain);
			ck_assert(ring_bed_is_clean(heir));
		}
	ring_bed_drain_pass(&drain);
	ck_assert_uint_eq(drain.pos, ring_tail(heir));
	ck_assert_uint_eq(expected, n_later);
	ck_assert_uint_eq(drain.damaged, 0);
	ring_close(heir);
}
END_TEST

/* ---- nothing forgotten ---- */

static bool is_known(const char *name)
{
	for (unsigned int i = 0; i < ARRAY_LEN(publisher_points); i++)
		if (strcmp(publisher_points[i].name, name) == 0)
			return true;
	for (unsigned int i = 0; i < ARRAY_LEN(drain_points); i++)
		if (strcmp(drain_points[i], name) == 0)
			return true;
	return false;
}

START_TEST(every_test_point_of_shm_is_tried_here)
{
	static const char *const sources[] = { "shm/ring.c", "shm/ring_publish.h", "shm/orphan.c" };
	unsigned int n = 0;

	for (unsigned int i = 0; i < ARRAY_LEN(sources); i++) {
		char line[256], name[40];
		FILE *file = fopen(sources[i], "re");

		ck_assert_msg(file != NULL, "no %s: run it from the root", sources[i]);
		while (fgets(line, sizeof(line), file)) {
			const char *at = strstr(line, "TESTPOINT(\"");

			if (!at || sscanf(at, "TESTPOINT(\"%39[^\"]\")", name) != 1)
				continue;
			/* Those of subscribers are tried in crash_kills. */
			if (testpoints_is_subscribers(name))
				continue;
			ck_assert_msg(is_known(name), "nobody dies at %s", name);
			n++;
		}
		fclose(file);
	}
	ck_assert_uint_eq(n, ARRAY_LEN(publisher_points) + ARRAY_LEN(drain_points));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("crash/ring");
	TCase *tcase = tcase_create("ring");
	SRunner *runner;
	int failed, n = ARRAY_LEN(publisher_points);

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 30);
	tcase_add_loop_test(tcase, a_publisher_killed_at_any_point_leaves_a_tombstone_at_most, 0,
			    2 * n);
	tcase_add_loop_test(tcase, without_anybody_in_the_middle_the_dead_are_buried_in_one_pass, 0,
			    n);
	tcase_add_loop_test(tcase, a_victim_that_is_not_marked_dead_is_waited_for, 0, n);
	tcase_add_loop_test(tcase, a_drain_killed_while_it_reclaims_or_buries_is_taken_over, 0,
			    ARRAY_LEN(drain_points));
	tcase_add_test(tcase, every_test_point_of_shm_is_tried_here);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
