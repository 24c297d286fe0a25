/* SPDX-License-Identifier: Apache-2.0 */
/* Timestamps: from the TSC or from the kernel, never from two conversions at once. */
#include <check.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "shm/clock.h"
#include "tests/ring_bed.h"

static struct layout_govern *govern;
static struct clock_source source;

static void setup(void)
{
	govern = calloc(1, sizeof(*govern));
	clock_source_init(&source);
	clock_publish(govern, &source);
}

static void teardown(void)
{
	free(govern);
}

/* Where the machine has no TSC to be trusted, there is nothing to see; said once. */
static bool has_tsc(void)
{
	if (source.mode == CLOCK_MODE_TSC)
		return true;
	printf("no TSC that can be trusted: not tried\n");
	return false;
}

static int64_t error_now(void)
{
	return (int64_t)(clock_ns(govern) - clock_now_ns(CLOCK_REALTIME));
}

/* The smallest of a few differences: what is left is the conversion's, not the scheduler's. */
static int64_t error_best(void)
{
	int64_t best = INT64_MAX;

	for (int i = 0; i < 50; i++) {
		int64_t error = error_now();

		if (llabs(error) < llabs(best))
			best = error;
	}
	return best;
}

static void spin(uint64_t ns)
{
	uint64_t start = clock_now_ns(CLOCK_MONOTONIC);

	while (clock_now_ns(CLOCK_MONOTONIC) - start < ns)
		cpu_relax();
}

START_TEST(without_a_conversion_it_is_the_systems_clock)
{
	uint64_t before, now, after;

	memset((void *)govern, 0, sizeof(*govern));
	before = clock_now_ns(CLOCK_REALTIME);
	now = clock_ns(govern);
	after = clock_now_ns(CLOCK_REALTIME);
	ck_assert_uint_le(before, now);
	ck_assert_uint_le(now, after);
}
END_TEST

START_TEST(where_the_counter_is_not_trusted_every_update_leaves_the_systems_clock)
{
	source = (struct clock_source){ .mode = CLOCK_MODE_SYSCALL };
	clock_publish(govern, &source);
	clock_source_update(&source);
	clock_publish(govern, &source);
	ck_assert_int_eq(source.mode, CLOCK_MODE_SYSCALL);
	ck_assert_int_eq(load_relaxed(&govern->clock_mode), CLOCK_MODE_SYSCALL);
	/* No reader takes what is there for a conversion. */
	ck_assert_uint_eq(load_relaxed(&govern->clock_seq) & 1, 0);
	ck_assert_int_lt(llabs(error_best()), (int64_t)NS_PER_MS);
	/* A daemon after this one, on a machine that has one. */
	clock_source_init(&source);
	clock_publish(govern, &source);
	ck_assert_uint_eq(load_relaxed(&govern->clock_seq) & 1, source.mode == CLOCK_MODE_TSC);
}
END_TEST

START_TEST(the_conversion_is_close_to_the_systems_clock)
{
	if (!has_tsc())
		return;
	ck_assert_int_lt(llabs(error_best()), 20 * (int64_t)NS_PER_US);
	for (int i = 0; i < 10; i++) {
		spin(5 * NS_PER_MS);
		clock_source_update(&source);
		clock_publish(govern, &source);
		ck_assert_int_lt(llabs(error_best()), 200 * (int64_t)NS_PER_US);
	}
}
END_TEST

START_TEST(time_does_not_go_back_when_the_conversion_is_renewed)
{
	uint64_t last = 0;

	if (!has_tsc())
		return;
	for (int i = 0; i < 20; i++) {
		for (int k = 0; k < 1000; k++) {
			uint64_t now = clock_ns(govern);

			ck_assert_uint_ge(now, last);
			last = now;
		}
		spin(2 * NS_PER_MS);
		clock_source_update(&source);
		clock_publish(govern, &source);
	}
}
END_TEST

/* How far ahead of the system's clock the conversion will be in a second. */
static int64_t error_in_a_second(void)
{
	uint64_t ticks = (UINT64_C(1) << 32) * NS_PER_S / source.rate;

	return (int64_t)(clock_convert(source.tsc_base + ticks, source.tsc_base, source.ns_base,
				       source.mult) -
			 source.ns_real - NS_PER_S);
}

START_TEST(a_small_error_is_slewed_without_a_jump)
{
	uint64_t before, after;

	if (!has_tsc())
		return;
	spin(10 * NS_PER_MS);
	source.ns_base -= NS_PER_MS;
	clock_publish(govern, &source);
	before = clock_ns(govern);
	ck_assert_int_lt(error_best(), -900 * (int64_t)NS_PER_US);
	clock_source_update(&source);
	clock_publish(govern, &source);
	after = clock_ns(govern);
	ck_assert_uint_ge(after, before);
	/* Not a step: most of the error is still there; and then it shrinks. */
	ck_assert_int_lt(error_best(), -500 * (int64_t)NS_PER_US);
	ck_assert_int_gt(error_in_a_second(), -600 * (int64_t)NS_PER_US);
	ck_assert_int_lt(error_in_a_second(), -300 * (int64_t)NS_PER_US);
}
END_TEST

/* Whatever the conversion is, the daemon may be stopped before it makes another. */
START_TEST(a_conversion_never_runs_away)
{
	if (!has_tsc())
		return;
	for (int sign = -1; sign <= 1; sign += 2) {
		source.ns_base += (uint64_t)(sign * 5 * (int64_t)NS_PER_MS);
		for (int i = 0; i < 3; i++) {
			clock_source_update(&source);
			ck_assert_uint_le(source.mult, source.rate + source.rate / 2048);
			ck_assert_uint_ge(source.mult, source.rate - source.rate / 2048);
		}
		source.ns_base = source.ns_real;
	}
}
END_TEST

START_TEST(a_large_error_is_stepped_over)
{
	if (!has_tsc())
		return;
	for (int sign = -1; sign <= 1; sign += 2) {
		source.ns_base += (uint64_t)(sign * (int64_t)NS_PER_S);
		clock_publish(govern, &source);
		ck_assert_int_gt(llabs(error_best()), 900 * (int64_t)NS_PER_MS);
		clock_source_update(&source);
		clock_publish(govern, &source);
		ck_assert_int_lt(llabs(error_best()), 200 * (int64_t)NS_PER_US);
	}
}
END_TEST

START_TEST(a_processor_that_is_behind_the_base_reads_the_base)
{
	if (!has_tsc())
		return;
	source.tsc_base = clock_tsc() + (UINT64_C(1) << 40);
	source.ns_base = 123456789;
	clock_publish(govern, &source);
	ck_assert_uint_eq(clock_ns(govern), 123456789);
}
END_TEST

START_TEST(a_writer_that_died_in_the_middle_does_not_stop_the_clock)
{
	uint64_t before = clock_now_ns(CLOCK_REALTIME), now;

	store_relaxed(&govern->clock_mode, CLOCK_MODE_TSC);
	store_relaxed(&govern->clock_seq, 8);
	now = clock_ns(govern);
	ck_assert_uint_le(before, now);
	ck_assert_uint_le(now, clock_now_ns(CLOCK_REALTIME));
}
END_TEST

/* Two conversions so unlike that a mixture shows: 10^18 exactly, and ticks since the start. */
static const struct clock_source fixed = { .ns_base = 1000000000000000000, .mode = CLOCK_MODE_TSC };
static const struct clock_source ticks = { .mult = UINT64_C(1) << 32, .mode = CLOCK_MODE_TSC };
static _Atomic bool stop;

static void *flip(void *arg)
{
	(void)arg;
	while (!load_relaxed(&stop)) {
		clock_publish(govern, &fixed);
		clock_publish(govern, &ticks);
	}
	return NULL;
}

START_TEST(no_reader_mixes_two_conversions)
{
	uint64_t real = clock_now_ns(CLOCK_REALTIME), start, spent, n[3] = { 0 };
	pthread_t thread;

	if (!has_tsc())
		return;
	clock_publish(govern, &fixed);
	ck_assert_int_eq(pthread_create(&thread, NULL, flip, NULL), 0);
	start = clock_now_ns(CLOCK_MONOTONIC);
	do {
		for (int i = 0; i < 1000; i++) {
			uint64_t ns = clock_ns(govern);

			if (ns == fixed.ns_base)
				n[0]++;
			else if (ns > 0 && ns < fixed.ns_base)
				n[1]++;
			else if (ns >= real)
				n[2]++; /* a writer was always in the way */
			else
				ck_abort_msg("a mixture: %llu", (unsigned long long)ns);
		}
		spent = clock_now_ns(CLOCK_MONOTONIC) - start;
	} while (spent < 300 * NS_PER_MS || ((n[0] == 0 || n[1] == 0) && spent < 60 * NS_PER_S));
	store_relaxed(&stop, true);
	pthread_join(thread, NULL);
	ck_assert_uint_gt(n[0], 0);
	ck_assert_uint_gt(n[1], 0);
}
END_TEST

static int ask_without_calls(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = { .len = ARRAY_LEN(code), .filter = code };
	uint64_t sum = 0;

	bed_must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "PR_SET_NO_NEW_PRIVS");
	bed_must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "PR_SET_SECCOMP");
	for (int i = 0; i < 1000; i++)
		sum |= clock_ns(govern);
	return sum == 0;
}

START_TEST(a_timestamp_from_the_tsc_makes_no_system_call)
{
	int status;
	pid_t pid;

	if (!has_tsc())
		return;
	pid = fork();
	if (pid == 0) {
		int r = ask_without_calls();

		for (;;)
			(void)syscall(SYS_exit_group, r);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("shm/clock");
	TCase *tcase = tcase_create("clock");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 30);
	tcase_add_test(tcase, without_a_conversion_it_is_the_systems_clock);
	tcase_add_test(tcase,
		       where_the_counter_is_not_trusted_every_update_leaves_the_systems_clock);
	tcase_add_test(tcase, the_conversion_is_close_to_the_systems_clock);
	tcase_add_test(tcase, time_does_not_go_back_when_the_conversion_is_renewed);
	tcase_add_test(tcase, a_small_error_is_slewed_without_a_jump);
	tcase_add_test(tcase, a_conversion_never_runs_away);
	tcase_add_test(tcase, a_large_error_is_stepped_over);
	tcase_add_test(tcase, a_processor_that_is_behind_the_base_reads_the_base);
	tcase_add_test(tcase, a_writer_that_died_in_the_middle_does_not_stop_the_clock);
	tcase_add_test(tcase, no_reader_mixes_two_conversions);
	tcase_add_test(tcase, a_timestamp_from_the_tsc_makes_no_system_call);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
