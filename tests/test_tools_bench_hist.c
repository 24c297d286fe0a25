/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench_hist.h"

static struct bench_hist hist;

static void empty(void)
{
	memset(&hist, 0, sizeof(hist));
}

START_TEST(every_value_has_a_step_of_its_size)
{
	uint32_t index, last = 0, bit, i;
	uint64_t value;

	for (bit = 0; bit < 64; bit++) {
		for (i = 0; i < 4; i++) {
			value = (UINT64_C(1) << bit) + i * ((UINT64_C(1) << bit) / 4);
			index = bench_hist_index(value);
			ck_assert_uint_ge(index, last);
			ck_assert_uint_lt(index, BENCH_HIST_LEN);
			last = index;
		}
	}
	ck_assert_uint_lt(bench_hist_index(UINT64_MAX), BENCH_HIST_LEN);
}
END_TEST

START_TEST(small_values_are_exact)
{
	uint64_t value;

	empty();
	for (value = 0; value < 256; value++)
		bench_hist_add(&hist, value);
	ck_assert_uint_eq(bench_hist_quantile(&hist, 0.5), 127);
	ck_assert_uint_eq(bench_hist_quantile(&hist, 1.0), 255);
	ck_assert_uint_eq(bench_hist_quantile(&hist, 0.0), 0);
	ck_assert_uint_eq(hist.max, 255);
}
END_TEST

START_TEST(quantiles_are_right_to_half_a_percent)
{
	static const double quantiles[] = { 0.01, 0.5, 0.9, 0.99, 0.999, 1.0 };
	const uint64_t n = 100000, unit = 977;
	double exact, got;
	uint64_t i;

	empty();
	for (i = 1; i <= n; i++)
		bench_hist_add(&hist, i * unit);
	for (i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++) {
		exact = quantiles[i] * (double)(n * unit);
		got = (double)bench_hist_quantile(&hist, quantiles[i]);
		ck_assert_double_lt(got, exact * 1.005);
		ck_assert_double_gt(got, exact * 0.995);
	}
	ck_assert_uint_eq(hist.max, n * unit);
}
END_TEST

START_TEST(a_single_stall_shows_in_the_maximum_and_not_in_the_median)
{
	uint64_t i;

	empty();
	for (i = 0; i < 9999; i++)
		bench_hist_add(&hist, 100);
	bench_hist_add(&hist, 5000000);
	ck_assert_uint_eq(bench_hist_quantile(&hist, 0.5), 100);
	ck_assert_uint_eq(bench_hist_quantile(&hist, 0.999), 100);
	ck_assert_uint_eq(hist.max, 5000000);
	ck_assert_uint_le(bench_hist_quantile(&hist, 1.0), 5000000);
	ck_assert_uint_gt(bench_hist_quantile(&hist, 1.0), 4970000);
}
END_TEST

START_TEST(the_curve_rises_through_the_percentiles_that_have_a_name)
{
	struct bench_result result;
	uint64_t i;
	size_t j;

	empty();
	for (i = 1; i <= 100000; i++)
		bench_hist_add(&hist, i * 100);
	bench_hist_result(&hist, &result);
	for (j = 1; j < BENCH_CURVE_LEN; j++) {
		ck_assert_double_gt(bench_hist_quantiles[j], bench_hist_quantiles[j - 1]);
		ck_assert_double_ge(result.curve[j], result.curve[j - 1]);
		if (bench_hist_quantiles[j] == 0.99)
			ck_assert_double_eq(result.curve[j], result.p99);
		if (bench_hist_quantiles[j] == 0.999)
			ck_assert_double_eq(result.curve[j], result.p999);
	}
	ck_assert_double_eq(result.curve[0], result.value);
	ck_assert_double_eq(result.curve[BENCH_CURVE_LEN - 1], result.p9999);
	ck_assert_double_gt(result.p9999, result.p99);
	ck_assert_double_lt(result.p9999, result.max);
}
END_TEST

START_TEST(an_empty_histogram_says_zero)
{
	empty();
	ck_assert_uint_eq(bench_hist_quantile(&hist, 0.5), 0);
}
END_TEST

START_TEST(laps_before_the_warm_up_do_not_count)
{
	struct bench_laps *laps = calloc(1, sizeof(*laps));
	uint64_t now;

	ck_assert_ptr_nonnull(laps);
	laps->warm = 100000;
	/* 1,000 ticks each while it warms up, 110 afterwards. */
	for (now = 1000; now < laps->warm; now += 1000)
		bench_hist_lap(laps, now);
	for (now = laps->warm; now < 400000; now += 110)
		bench_hist_lap(laps, now);
	ck_assert_uint_gt(laps->singles.n, 1000);
	ck_assert_uint_eq(laps->singles.max, 110);
	ck_assert_uint_eq(laps->blocks.n, laps->singles.n / BENCH_HIST_BLOCK);
	ck_assert_uint_eq(laps->blocks.max, 110 * BENCH_HIST_BLOCK);
	free(laps);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tools/bench_hist");
	TCase *tc = tcase_create("hist");
	SRunner *runner = srunner_create(suite);
	int n_failed;

	tcase_add_test(tc, every_value_has_a_step_of_its_size);
	tcase_add_test(tc, small_values_are_exact);
	tcase_add_test(tc, quantiles_are_right_to_half_a_percent);
	tcase_add_test(tc, a_single_stall_shows_in_the_maximum_and_not_in_the_median);
	tcase_add_test(tc, the_curve_rises_through_the_percentiles_that_have_a_name);
	tcase_add_test(tc, an_empty_histogram_says_zero);
	tcase_add_test(tc, laps_before_the_warm_up_do_not_count);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed ? 1 : 0;
}
