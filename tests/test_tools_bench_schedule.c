/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdlib.h>

#include "tools/bench_hist.h"
#include "tools/bench_ring.h"
#include "tools/bench_schedule.h"

#define SECOND UINT64_C(1000000000)

static void setup(void)
{
	bench_clock_init();
}

START_TEST(records_are_due_at_a_steady_rate_to_the_end)
{
	static const double rates[] = { 10e3, 333333, 1e6, 3e6 };
	const uint64_t start = UINT64_C(1) << 50, run_ns = 3 * SECOND;
	uint64_t last, end = start + bench_clock_from_ns(run_ns), i, step;
	struct bench_schedule schedule;
	size_t k;

	for (k = 0; k < sizeof(rates) / sizeof(rates[0]); k++) {
		schedule = bench_schedule_make(start, rates[k], run_ns);
		ck_assert_uint_eq(schedule.n, (uint64_t)(rates[k] * 3));
		ck_assert_uint_eq(bench_schedule_due(&schedule, 0), start);
		/* Nothing adds up: the end is where it has to be. */
		last = bench_schedule_due(&schedule, schedule.n);
		ck_assert_uint_le(last, end + 1);
		ck_assert_uint_ge(last + 1, end);
		for (i = 1; i < schedule.n; i += 997) {
			step = bench_schedule_due(&schedule, i) -
			       bench_schedule_due(&schedule, i - 1);
			ck_assert_double_lt((double)step, schedule.step + 1);
			ck_assert_double_gt((double)step, schedule.step - 1);
		}
	}
}
END_TEST

START_TEST(a_rate_below_one_in_the_run_is_one_record)
{
	struct bench_schedule schedule = bench_schedule_make(5, 0.1, SECOND);

	ck_assert_uint_eq(schedule.n, 1);
	ck_assert_uint_eq(bench_schedule_due(&schedule, 0), 5);
}
END_TEST

START_TEST(a_record_before_its_time_is_not_late)
{
	ck_assert_uint_eq(bench_schedule_late(100, 90), 0);
	ck_assert_uint_eq(bench_schedule_late(100, 100), 0);
	ck_assert_uint_eq(bench_schedule_late(100, 175), 75);
}
END_TEST

/* A server that takes 1 tick for a record stands still for a tenth of the run, once. */
START_TEST(a_stall_counts_for_every_record_that_was_due_meanwhile)
{
	struct bench_schedule schedule = { .start = 1000, .n = 10000, .step = 100 };
	struct bench_hist *hist = calloc(1, sizeof(*hist));
	const uint64_t stall = schedule.n / 10 * 100;
	uint64_t now = 0, due, i, late = 0;

	ck_assert_ptr_nonnull(hist);
	for (i = 0; i < schedule.n; i++) {
		due = bench_schedule_due(&schedule, i);
		if (now < due)
			now = due;
		now += i == schedule.n / 2 ? stall : 1;
		late += bench_schedule_late(due, now) > 100;
		bench_hist_add(hist, bench_schedule_late(due, now));
	}
	/* A closed loop would have seen a single slow record, and a median that is far away. */
	ck_assert_uint_ge(late, schedule.n / 10);
	ck_assert_uint_eq(hist->max, stall);
	ck_assert_uint_eq(bench_hist_quantile(hist, 0.5), 1);
	ck_assert_uint_gt(bench_hist_quantile(hist, 0.95), stall * 45 / 100);
	ck_assert_uint_lt(bench_hist_quantile(hist, 0.95), stall * 55 / 100);
	free(hist);
}
END_TEST

START_TEST(merged_histograms_are_one)
{
	struct bench_hist *sum = calloc(1, sizeof(*sum)), *other = calloc(1, sizeof(*other));
	uint64_t i;

	ck_assert_ptr_nonnull(sum);
	ck_assert_ptr_nonnull(other);
	for (i = 1; i <= 50; i++) {
		bench_hist_add(sum, i);
		bench_hist_add(other, i + 50);
	}
	bench_hist_merge(sum, other);
	ck_assert_uint_eq(sum->n, 100);
	ck_assert_uint_eq(sum->max, 100);
	ck_assert_uint_eq(bench_hist_quantile(sum, 0.5), 50);
	ck_assert_uint_eq(bench_hist_quantile(sum, 0.99), 99);
	free(sum);
	free(other);
}
END_TEST

START_TEST(a_ring_of_any_record_has_a_power_of_two_of_slots)
{
	size_t len, n;

	for (len = 16; len <= 1 << 20; len *= 2) {
		n = bench_ring_slots(len);
		ck_assert_uint_ge(n, 4);
		ck_assert_uint_le(n, 4096);
		ck_assert_uint_eq(n & (n - 1), 0);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tools/bench_schedule");
	TCase *tc = tcase_create("schedule");
	SRunner *runner = srunner_create(suite);
	int n_failed;

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, records_are_due_at_a_steady_rate_to_the_end);
	tcase_add_test(tc, a_rate_below_one_in_the_run_is_one_record);
	tcase_add_test(tc, a_record_before_its_time_is_not_late);
	tcase_add_test(tc, a_stall_counts_for_every_record_that_was_due_meanwhile);
	tcase_add_test(tc, merged_histograms_are_one);
	tcase_add_test(tc, a_ring_of_any_record_has_a_power_of_two_of_slots);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed ? 1 : 0;
}
