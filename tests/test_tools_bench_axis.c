/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "tools/bench_axis.h"

static struct bench_axis axis;

static size_t n_labels(void)
{
	size_t i, n = 0;

	for (i = 0; i < axis.n_ticks; i++)
		n += axis.ticks[i].labelled;
	return n;
}

static void is_sound(double least, double most)
{
	size_t i;

	ck_assert_double_le(axis.low, least);
	ck_assert_double_ge(axis.high, most);
	ck_assert_uint_ge(n_labels(), 2);
	ck_assert_double_eq(bench_axis_place(&axis, axis.low), 0);
	ck_assert_double_eq(bench_axis_place(&axis, axis.high), 1);
	for (i = 0; i < axis.n_ticks; i++) {
		ck_assert_double_ge(axis.ticks[i].value, axis.low * (1 - 1e-9));
		ck_assert_double_le(axis.ticks[i].value, axis.high * (1 + 1e-9));
		if (i > 0)
			ck_assert_double_gt(axis.ticks[i].value, axis.ticks[i - 1].value);
	}
}

START_TEST(a_linear_axis_starts_at_zero_and_has_round_steps)
{
	bench_axis_fit(&axis, BENCH_LINEAR, 3, 1.73e9);
	is_sound(0, 1.73e9);
	ck_assert_double_eq(axis.low, 0);
	ck_assert_double_eq_tol(axis.high, 2e9, 1);
	ck_assert_double_eq_tol(axis.ticks[1].value, 0.5e9, 1);
	ck_assert_double_eq_tol(bench_axis_place(&axis, 1e9), 0.5, 1e-9);
	bench_axis_fit(&axis, BENCH_LINEAR, 0, 0);
	is_sound(0, 0);
}
END_TEST

START_TEST(a_logarithmic_axis_holds_what_it_must_and_little_more)
{
	bench_axis_fit(&axis, BENCH_LOG, 116, 8.1e6);
	is_sound(116, 8.1e6);
	ck_assert_double_eq_tol(axis.low, 100, 1e-6);
	ck_assert_double_eq_tol(axis.high, 1e7, 1e-3);
	ck_assert_uint_eq(n_labels(), 6);
	ck_assert_double_eq_tol(bench_axis_place(&axis, 1e4), 0.4, 1e-9);
	bench_axis_fit(&axis, BENCH_LOG, 6.1e8, 1.7e9);
	is_sound(6.1e8, 1.7e9);
	ck_assert_double_eq_tol(axis.low, 5e8, 1);
	ck_assert_double_eq_tol(axis.high, 2e9, 1);
	ck_assert_uint_eq(n_labels(), 3);
}
END_TEST

START_TEST(a_logarithmic_axis_of_one_value_is_not_empty)
{
	static const double values[] = { 1, 2, 5, 9.99, 10, 1e9 };
	size_t i;

	for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		bench_axis_fit(&axis, BENCH_LOG, values[i], values[i]);
		is_sound(values[i], values[i]);
	}
}
END_TEST

START_TEST(doublings_are_equally_far_apart)
{
	bench_axis_fit(&axis, BENCH_LOG2, 16, 1 << 20);
	is_sound(16, 1 << 20);
	ck_assert_double_eq(axis.low, 16);
	ck_assert_double_eq(axis.high, 1 << 20);
	ck_assert_uint_eq(axis.n_ticks, 17);
	ck_assert_uint_eq(n_labels(), 9);
	ck_assert_double_eq_tol(bench_axis_place(&axis, 4096), 0.5, 1e-9);
	bench_axis_fit(&axis, BENCH_LOG2, 1, 64);
	is_sound(1, 64);
	ck_assert_uint_eq(n_labels(), 7);
	bench_axis_fit(&axis, BENCH_LOG2, 3, 3);
	is_sound(3, 3);
}
END_TEST

START_TEST(each_nine_takes_the_same_room)
{
	double first, second;

	bench_axis_fit(&axis, BENCH_NINES, 0.5, 0.9999);
	is_sound(0.5, 0.9999);
	ck_assert_uint_eq(n_labels(), 5);
	first = bench_axis_place(&axis, 0.99) - bench_axis_place(&axis, 0.9);
	second = bench_axis_place(&axis, 0.9999) - bench_axis_place(&axis, 0.999);
	ck_assert_double_eq_tol(first, second, 1e-9);
	ck_assert_double_gt(first, 0.25);
}
END_TEST

START_TEST(what_lies_beyond_an_end_is_shown_at_the_end)
{
	bench_axis_fit(&axis, BENCH_LOG, 10, 1000);
	ck_assert_double_eq(bench_axis_place(&axis, 1), 0);
	ck_assert_double_eq(bench_axis_place(&axis, -5), 0);
	ck_assert_double_eq(bench_axis_place(&axis, 1e9), 1);
}
END_TEST

START_TEST(any_axis_of_any_values_is_sound)
{
	double least, most;
	int i;

	srand(1);
	for (i = 0; i < 1000; i++) {
		least = pow(10, rand() % 12 - 2) * (1 + rand() % 1000 / 111.0);
		most = least * (1 + rand() % 100000 / (double)(1 + rand() % 1000));
		bench_axis_fit(&axis, BENCH_LOG, least, most);
		is_sound(least, most);
		ck_assert_uint_le(n_labels(), 20);
		ck_assert_double_lt(axis.high / axis.low, 26 * most / least);
		bench_axis_fit(&axis, BENCH_LOG2, least, most);
		is_sound(least, most);
		ck_assert_uint_le(n_labels(), 9);
		bench_axis_fit(&axis, BENCH_LINEAR, 0, most);
		is_sound(0, most);
		ck_assert_uint_le(n_labels(), 7);
	}
}
END_TEST

START_TEST(labels_that_do_not_touch_stay_where_they_are)
{
	double places[] = { 10, 30, 60 };

	bench_axis_spread(places, 3, 14, 0, 100);
	ck_assert_double_eq(places[0], 10);
	ck_assert_double_eq(places[1], 30);
	ck_assert_double_eq(places[2], 60);
}
END_TEST

START_TEST(labels_that_touch_move_apart_about_their_middle)
{
	double places[] = { 50, 51, 90 };

	bench_axis_spread(places, 3, 14, 0, 100);
	ck_assert_double_eq_tol(places[0], 43.5, 1e-9);
	ck_assert_double_eq_tol(places[1], 57.5, 1e-9);
	ck_assert_double_eq(places[2], 90);
}
END_TEST

START_TEST(labels_stay_within_the_chart_and_apart)
{
	double places[12];
	int turn, n, i;

	srand(2);
	for (turn = 0; turn < 500; turn++) {
		n = 1 + rand() % 12;
		places[0] = rand() % 30;
		for (i = 1; i < n; i++)
			places[i] = places[i - 1] + rand() % 20;
		bench_axis_spread(places, (size_t)n, 14, 0, 200);
		for (i = 0; i < n; i++) {
			ck_assert_double_ge(places[i], 0);
			ck_assert_double_le(places[i], 200);
			if (i > 0)
				ck_assert_double_ge(places[i], places[i - 1] + 14 - 1e-6);
		}
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tools/bench_axis");
	TCase *tc = tcase_create("axis");
	SRunner *runner = srunner_create(suite);
	int n_failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_linear_axis_starts_at_zero_and_has_round_steps);
	tcase_add_test(tc, a_logarithmic_axis_holds_what_it_must_and_little_more);
	tcase_add_test(tc, a_logarithmic_axis_of_one_value_is_not_empty);
	tcase_add_test(tc, doublings_are_equally_far_apart);
	tcase_add_test(tc, each_nine_takes_the_same_room);
	tcase_add_test(tc, what_lies_beyond_an_end_is_shown_at_the_end);
	tcase_add_test(tc, any_axis_of_any_values_is_sound);
	tcase_add_test(tc, labels_that_do_not_touch_stay_where_they_are);
	tcase_add_test(tc, labels_that_touch_move_apart_about_their_middle);
	tcase_add_test(tc, labels_stay_within_the_chart_and_apart);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed ? 1 : 0;
}
