/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/process.h"
#include "daemon/registry.h"
#include "daemon/shard.h"
#include "tests/daemon_bed.h"

static struct daemon_bed bed;
static struct registry_stream *stream;
static pid_t child;

static void setup(void)
{
	struct daemon_bed_client client;

	/* Before the daemon: it would inherit the locks of the segments. */
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	daemon_bed_start(&bed);
	daemon_bed_connect(&bed, &client);
	ck_assert_int_eq(daemon_bed_ask(&client, "{\"op\":\"create\",\"stream\":\"events\"}"), 0);
	daemon_bed_disconnect(&client);
	stream = registry_find(&bed.server->registry, "events");
}

static void kill_child(void)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

static void teardown(void)
{
	kill_child();
	daemon_bed_end(&bed);
}

static uint64_t start_of(pid_t pid)
{
	uint64_t start = 0;

	ck_assert_int_eq(process_read_stat(pid, &start, NULL), 0);
	ck_assert_uint_gt(start, 0);
	return start;
}

static struct process *get_child(void)
{
	struct process *process = NULL;

	ck_assert_int_eq(process_get(bed.server, -1, child, start_of(child), &process), 0);
	return process;
}

/* The child holds a slot of the stream's one shard. */
static uint32_t hold(struct process *process)
{
	struct process_slot held = { .stream = stream };

	ck_assert_int_eq(shard_slot_take(stream->shards[0].shard, (uint32_t)process->pid, 0,
					 process->start_time, 1, &held.slot),
			 0);
	ck_assert_int_eq(process_hold(process, &held), 0);
	return held.slot;
}

static unsigned int taken(void)
{
	static struct layout_owner owners[LAYOUT_PUBLISHER_SLOTS];
	static uint32_t slots[LAYOUT_PUBLISHER_SLOTS];

	return (unsigned int)shard_slots(stream->shards[0].shard, owners, slots,
					 LAYOUT_PUBLISHER_SLOTS);
}

static bool nobody_is_known(void *arg)
{
	(void)arg;
	return cds_list_empty(&bed.server->processes);
}

static uint64_t duration_of_a_death(void)
{
	struct process *process = get_child();
	uint64_t begin;

	hold(process);
	hold(process);
	process_put(process);
	ck_assert_uint_eq(taken(), 2);
	begin = clock_now_ns(CLOCK_MONOTONIC);
	kill_child();
	daemon_bed_until(&bed, nobody_is_known, NULL);
	ck_assert_uint_eq(taken(), 0);
	ck_assert(cds_list_empty(&bed.server->slots));
	return clock_now_ns(CLOCK_MONOTONIC) - begin;
}

/* Of a few, because a machine may stand still; what waits for a while does so each time. */
START_TEST(a_death_gives_up_all_slots_at_once)
{
	uint64_t least = duration_of_a_death();

	for (int i = 0; i < 10 && least >= 100 * NS_PER_MS; i++) {
		teardown();
		setup();
		least = min_u64(least, duration_of_a_death());
	}
	ck_assert_uint_lt(least, 100 * NS_PER_MS);
}
END_TEST

START_TEST(a_process_is_known_once_and_forgotten_when_nobody_needs_it)
{
	struct process *first = get_child(), *second = get_child();
	uint32_t slot;

	ck_assert_ptr_eq(first, second);
	slot = hold(first);
	process_put(first);
	process_put(second);
	/* Its connections are gone; the slot is its own all the same. */
	ck_assert(!cds_list_empty(&bed.server->processes));
	ck_assert_ptr_nonnull(process_find_slot(first, stream, 0, slot));
	ck_assert_ptr_null(process_find_slot(first, stream, 0, slot + 1));
	process_release(process_find_slot(first, stream, 0, slot));
	ck_assert(cds_list_empty(&bed.server->processes));
	ck_assert_uint_eq(taken(), 0);
}
END_TEST

START_TEST(a_process_that_cannot_be_looked_at_now_is_not_taken_for_dead)
{
	struct process *process = get_child(), *again = NULL;
	uint64_t start = start_of(child);
	struct rlimit limit, none;

	hold(process);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = limit.rlim_max };
	/* Now poll() fails as well. */
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	ck_assert_int_eq(process_get(bed.server, -1, child, start, &again), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_ptr_eq(process, again);
	process_put(again);
	process_put(process);
	ck_assert_uint_eq(taken(), 1);
}
END_TEST

START_TEST(another_process_of_the_same_pid_is_not_taken_for_it)
{
	struct process *process = NULL;

	ck_assert_int_eq(process_get(bed.server, -1, child, start_of(child) + 1, &process), -ESRCH);
	kill_child();
	ck_assert_int_eq(process_get(bed.server, -1, child, 0, &process), -ESRCH);
	ck_assert_ptr_null(process);
}
END_TEST

START_TEST(a_process_that_died_before_we_looked_is_noticed)
{
	struct process *process = get_child();

	kill_child();
	ck_assert_int_eq(process_get(bed.server, -1, child, process->start_time, &process), -ESRCH);
	process_put(process);
	daemon_bed_settle(&bed);
	ck_assert(cds_list_empty(&bed.server->processes));
}
END_TEST

START_TEST(slots_are_watched_again_after_a_restart)
{
	/* Memory-only, so that its ring could live on; here it does not, and the slots with it.
	 * What matters: a slot whose process is dead is given up when the daemon starts. */
	struct process *process = get_child();

	hold(process);
	process_put(process);
	daemon_bed_stop(&bed);
	daemon_bed_start(&bed);
	daemon_bed_settle(&bed);
	stream = registry_find(&bed.server->registry, "events");
	ck_assert_ptr_nonnull(stream);
	ck_assert_uint_eq(taken(), 0);
}
END_TEST

START_TEST(a_name_with_brackets_and_blanks_is_no_field)
{
	int cpu = -1;

	prctl(PR_SET_NAME, "a) 1 2 (b");
	ck_assert_uint_eq(start_of(getpid()), start_of(getpid()));
	ck_assert_int_eq(process_read_stat(getpid(), NULL, &cpu), 0);
	ck_assert_int_ge(cpu, 0);
	ck_assert_int_lt(cpu, (int)sysconf(_SC_NPROCESSORS_CONF));
	ck_assert_int_eq(process_read_stat(0x7ffffff0, NULL, &cpu), -ESRCH);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("process");
	TCase *tc = tcase_create("process");
	SRunner *runner = srunner_create(suite);
	int n_failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, a_death_gives_up_all_slots_at_once);
	tcase_add_test(tc, a_process_is_known_once_and_forgotten_when_nobody_needs_it);
	tcase_add_test(tc, a_process_that_cannot_be_looked_at_now_is_not_taken_for_dead);
	tcase_add_test(tc, another_process_of_the_same_pid_is_not_taken_for_it);
	tcase_add_test(tc, a_process_that_died_before_we_looked_is_noticed);
	tcase_add_test(tc, slots_are_watched_again_after_a_restart);
	tcase_add_test(tc, a_name_with_brackets_and_blanks_is_no_field);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
