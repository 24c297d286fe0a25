/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/bench_clock.h"
#include "tools/bench_kernel.h"
#include "tools/bench_machine.h"
#include "tools/bench_team.h"

#define SECOND UINT64_C(1000000000)

static struct bench_env env;
static struct bench_team team;

static void setup(void)
{
	memset(&env, 0, sizeof(env));
	env.run_ns = SECOND / 50;
	strcpy(env.dir, "/tmp");
	bench_clock_init();
	bench_machine_choose_cpus(&env);
	ck_assert_int_eq(bench_team_init(&team, &env, 4096), 0);
}

static void teardown(void)
{
	bench_team_deinit(&team);
}

static void no_child_is_left(void)
{
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	ck_assert_int_eq(errno, ECHILD);
}

static int leave_my_mark(struct bench_team *t, int me, const void *context)
{
	uint64_t *marks = t->shared;

	bench_team_ready(t, me);
	marks[me] = *(const uint64_t *)context + (uint64_t)me;
	return 0;
}

static int wait_for_ever(struct bench_team *t, int me, const void *context)
{
	(void)t;
	(void)me;
	(void)context;
	pause();
	return -EINTR;
}

static int give_up(struct bench_team *t, int me, const void *context)
{
	(void)context;
	return bench_team_fail(t, me, -EBADMSG, "record %d is wrong", 7);
}

static int die(struct bench_team *t, int me, const void *context)
{
	(void)t;
	(void)me;
	(void)context;
	signal(SIGTERM, SIG_DFL);
	raise(SIGTERM);
	return 0;
}

START_TEST(members_run_and_leave_their_figures)
{
	const uint64_t base = 100;
	struct bench_member members[3];
	const uint64_t *marks = team.shared;
	int i;

	for (i = 0; i < 3; i++)
		members[i] = (struct bench_member){ leave_my_mark, &base, -1 };
	ck_assert_int_eq(bench_team_run(&team, members, 3, 10 * SECOND), 0);
	for (i = 0; i < 3; i++)
		ck_assert_uint_eq(marks[i], 100 + (uint64_t)i);
	no_child_is_left();
}
END_TEST

START_TEST(one_that_fails_is_heard_and_the_others_are_killed)
{
	const struct bench_member members[] = {
		{ wait_for_ever, NULL, -1 },
		{ give_up, NULL, -1 },
	};

	ck_assert_int_eq(bench_team_run(&team, members, 2, 10 * SECOND), -ECHILD);
	ck_assert_str_eq(env.error, "record 7 is wrong");
	no_child_is_left();
}
END_TEST

START_TEST(one_that_dies_of_a_signal_is_a_failure)
{
	const struct bench_member member = { die, NULL, -1 };

	ck_assert_int_eq(bench_team_run(&team, &member, 1, 10 * SECOND), -ECHILD);
	ck_assert_str_eq(env.error, "a process of it died of signal 15");
	no_child_is_left();
}
END_TEST

START_TEST(a_team_that_hangs_is_ended_at_its_time_out)
{
	const struct bench_member members[] = {
		{ wait_for_ever, NULL, -1 },
		{ wait_for_ever, NULL, -1 },
	};

	ck_assert_int_eq(bench_team_run(&team, members, 2, SECOND / 10), -ETIMEDOUT);
	ck_assert_str_eq(env.error, "it does not come to an end");
	no_child_is_left();
}
END_TEST

START_TEST(the_kernel_watch_counts_each_stretch_that_makes_a_system_call)
{
	volatile int sum = 0;
	long pid = 0;
	int i;

	if (bench_kernel_init() < 0)
		return;
	for (i = 0; i < 1000; i++) {
		bench_kernel_watch(1);
		sum += i;
		if (i % 100 == 0)
			pid = syscall(SYS_getpid);
		bench_kernel_watch(0);
	}
	ck_assert_uint_eq(bench_kernel_entries(), 10);
	ck_assert_int_eq(sum, 999 * 1000 / 2);
	/* The call that was refused first was made all the same. */
	ck_assert_int_eq(pid, getpid());
}
END_TEST

START_TEST(every_floor_gives_a_figure_that_can_be)
{
	struct bench_result result;
	size_t i;

	env.disk_ns = SECOND / 50;
	env.disk_len = 4 << 20;
	env.disk_long_ns = SECOND / 20;
	env.disk_long_len = 8 << 20;
	for (i = 0; i < bench_table_len; i++) {
		if (!bench_table[i].is_floor || bench_table_needs_bus(&bench_table[i]))
			continue;
		memset(&result, 0, sizeof(result));
		env.row = &bench_table[i];
		ck_assert_msg(bench_table[i].run(&env, &result) == 0, "%s: %s", bench_table[i].name,
			      env.error);
		ck_assert_msg(result.value > 0, "%s is nothing", bench_table[i].name);
		if (bench_table[i].kind != BENCH_LATENCY)
			continue;
		ck_assert_msg(result.n_samples > 0, "%s has no sample", bench_table[i].name);
		ck_assert_msg(result.p99 <= result.p999 && result.p999 <= result.max,
			      "the tail of %s is out of order", bench_table[i].name);
	}
	no_child_is_left();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tools/bench_team");
	TCase *tc = tcase_create("team");
	SRunner *runner = srunner_create(suite);
	int n_failed;

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, members_run_and_leave_their_figures);
	tcase_add_test(tc, one_that_fails_is_heard_and_the_others_are_killed);
	tcase_add_test(tc, one_that_dies_of_a_signal_is_a_failure);
	tcase_add_test(tc, a_team_that_hangs_is_ended_at_its_time_out);
	tcase_add_test(tc, the_kernel_watch_counts_each_stretch_that_makes_a_system_call);
#ifdef __SANITIZE_THREAD__
	/* Under the race detector a floor measures the detector, and may count nothing. */
	(void)every_floor_gives_a_figure_that_can_be;
#else
	tcase_add_test(tc, every_floor_gives_a_figure_that_can_be);
#endif
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed ? 1 : 0;
}
