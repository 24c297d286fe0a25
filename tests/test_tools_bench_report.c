/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench_report.h"

static struct bench_series *all;
static struct bench_row row;

static void setup(void)
{
	all = calloc(bench_table_len, sizeof(*all));
	ck_assert_ptr_nonnull(all);
}

static void teardown(void)
{
	free(all);
}

static size_t index_of(const char *name)
{
	const struct bench_workload *workload = bench_table_find(name);

	ck_assert_ptr_nonnull(workload);
	return (size_t)(workload - bench_table);
}

static const struct bench_workload *row_of(const char *name)
{
	return &bench_table[index_of(name)];
}

static void add_run(const char *name, double value)
{
	struct bench_series *series = &all[index_of(name)];

	series->selected = true;
	series->ok[series->n_ok] = true;
	series->runs[series->n_ok++] = (struct bench_result){
		.value = value,
		.p99 = value * 2,
		.p999 = value * 3,
		.max = value * 10,
		.n_samples = 5,
	};
}

START_TEST(a_row_is_the_median_over_the_runs)
{
	add_run("ring", 300);
	add_run("ring", 100);
	add_run("ring", 200);
	add_run("round-trip", 280);
	add_run("round-trip", 290);
	add_run("round-trip", 900);
	ck_assert(bench_report_row(all, index_of("round-trip"), &row));
	ck_assert_double_eq(row.median.value, 290);
	ck_assert_double_eq(row.median.p99, 580);
	ck_assert_double_eq(row.median.max, 9000);
	ck_assert_uint_eq(row.median.n_samples, 15);
}
END_TEST

START_TEST(each_run_is_compared_with_the_floor_of_the_same_run)
{
	/* The machine is four times slower for a while; the ratio is the same. */
	add_run("ring", 100);
	add_run("ring", 400);
	add_run("ring", 100);
	add_run("round-trip", 105);
	add_run("round-trip", 420);
	add_run("round-trip", 420);
	ck_assert(bench_report_row(all, index_of("round-trip"), &row));
	ck_assert_double_eq(row.median.value, 420);
	ck_assert_double_eq_tol(row.ratio, 1.05, 1e-9);
	ck_assert_double_eq_tol(row.ratio_p999, 1.05, 1e-9);
	ck_assert_int_eq(row.verdict, BENCH_MET);
}
END_TEST

START_TEST(a_run_that_failed_takes_no_part)
{
	add_run("ring", 100);
	add_run("ring", 100);
	add_run("round-trip", 1000);
	add_run("round-trip", 120);
	all[index_of("round-trip")].ok[0] = false;
	all[index_of("round-trip")].n_ok--;
	ck_assert(bench_report_row(all, index_of("round-trip"), &row));
	ck_assert_double_eq(row.median.value, 120);
	ck_assert_double_eq_tol(row.ratio, 1.2, 1e-9);
}
END_TEST

START_TEST(a_latency_over_its_goal_is_not_met)
{
	add_run("ring", 100);
	add_run("round-trip", 100 * row_of("round-trip")->goal_ratio + 1);
	ck_assert(bench_report_row(all, index_of("round-trip"), &row));
	ck_assert_int_eq(row.verdict, BENCH_NOT_MET);
}
END_TEST

START_TEST(a_tail_over_its_goal_is_not_met_however_good_the_median)
{
	struct bench_result *run;

	add_run("ring", 100);
	add_run("round-trip", 100);
	run = &all[index_of("round-trip")].runs[0];
	run->p999 = all[index_of("ring")].runs[0].p999 * 1.9;
	ck_assert(bench_report_row(all, index_of("round-trip"), &row));
	ck_assert_int_eq(row.verdict, BENCH_MET);
	run->p999 = all[index_of("ring")].runs[0].p999 * 2.1;
	ck_assert(bench_report_row(all, index_of("round-trip"), &row));
	ck_assert_int_eq(row.verdict, BENCH_NOT_MET);
}
END_TEST

START_TEST(a_rate_under_its_goal_is_not_met)
{
	add_run("rate", row_of("rate")->goal_absolute * 0.99);
	ck_assert(bench_report_row(all, index_of("rate"), &row));
	ck_assert_int_eq(row.verdict, BENCH_NOT_MET);
	all[index_of("rate")].runs[0].value = row_of("rate")->goal_absolute * 1.01;
	ck_assert(bench_report_row(all, index_of("rate"), &row));
	ck_assert_int_eq(row.verdict, BENCH_MET);
}
END_TEST

START_TEST(a_goal_that_is_a_ratio_has_no_verdict_without_its_floor)
{
	add_run("disk", 1e9);
	ck_assert(bench_report_row(all, index_of("disk"), &row));
	ck_assert_double_eq(row.ratio, 0);
	ck_assert_int_eq(row.verdict, BENCH_NO_GOAL);
}
END_TEST

START_TEST(an_even_number_of_runs_takes_the_middle_of_two)
{
	add_run("futex", 10);
	add_run("futex", 40);
	add_run("futex", 20);
	add_run("futex", 30);
	ck_assert(bench_report_row(all, index_of("futex"), &row));
	ck_assert_double_eq(row.median.value, 25);
}
END_TEST

START_TEST(a_workload_without_a_run_has_no_row)
{
	ck_assert(!bench_report_row(all, index_of("ring"), &row));
}
END_TEST

START_TEST(values_are_written_with_three_digits_and_a_unit)
{
	static const struct {
		enum bench_kind kind;
		double value;
		const char *text;
	} cases[] = {
		{ BENCH_LATENCY, 109.7, "110 ns" },  { BENCH_LATENCY, 34210, "34.2 us" },
		{ BENCH_LATENCY, 1.5e6, "1.50 ms" }, { BENCH_LATENCY, 999.7, "1.00 us" },
		{ BENCH_RATE, 15.04e6, "15.0 M/s" }, { BENCH_BYTES, 1.43e9, "1.43 GB/s" },
		{ BENCH_LATENCY, 5e12, "5000 s" },   { BENCH_COUNT, 0, "0" },
		{ BENCH_TIME, 49.96e6, "50.0 ms" },  { BENCH_EVENTS, 1.5, "1.50 /s" },
		{ BENCH_SHARE, 0.02, "0.02 %" },     { BENCH_SIZE, 5.016e6, "5.02 MB" },
	};
	char buf[32];
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_str_eq(bench_report_value(cases[i].kind, cases[i].value, buf,
						    sizeof(buf)),
				 cases[i].text);
	ck_assert_str_eq(bench_report_times(0.307, buf, sizeof(buf)), "0.31");
	ck_assert_str_eq(bench_report_times(2.41, buf, sizeof(buf)), "2.4");
	ck_assert_str_eq(bench_report_times(56.7, buf, sizeof(buf)), "57");
}
END_TEST

START_TEST(a_peer_is_compared_with_leat_in_the_same_run)
{
	/* Half as much in the first run, a quarter in the others. */
	add_run("rate", 100);
	add_run("rate", 400);
	add_run("rate", 100);
	add_run("pipe-rate", 50);
	add_run("pipe-rate", 100);
	add_run("pipe-rate", 25);
	ck_assert(bench_report_row(all, index_of("pipe-rate"), &row));
	ck_assert_double_eq_tol(row.leat, 4, 1e-9);
	ck_assert_double_eq(row.ratio, 0);
	/* Less is better. */
	add_run("round-trip-free", 10);
	add_run("pipe-round-trip", 25);
	ck_assert(bench_report_row(all, index_of("pipe-round-trip"), &row));
	ck_assert_double_eq_tol(row.leat, 2.5, 1e-9);
	ck_assert(bench_report_row(all, index_of("rate"), &row));
	ck_assert_double_eq(row.leat, 0);
}
END_TEST

START_TEST(every_peer_stands_beside_a_row_of_leat_of_its_kind)
{
	const struct bench_workload *leat;
	size_t i, n = 0;

	for (i = 0; i < bench_table_len; i++) {
		if (!bench_table[i].is_peer) {
			ck_assert_ptr_null(bench_table[i].beside);
			ck_assert_ptr_null(bench_table[i].peer);
			continue;
		}
		n++;
		ck_assert_msg(!!bench_table[i].peer == !!bench_table[i].work, "%s",
			      bench_table[i].name);
		if (!bench_table[i].beside)
			continue;
		leat = bench_table_find(bench_table[i].beside);
		ck_assert_ptr_nonnull(leat);
		ck_assert(bench_table_needs_bus(leat));
		ck_assert_int_eq(leat->kind, bench_table[i].kind);
	}
	ck_assert_uint_ge(n, 8);
}
END_TEST

START_TEST(the_json_says_what_was_measured_on_what_and_how)
{
	struct bench_machine machine = { .cpu = "a processor", .commit = "abc", .date = "now" };
	struct bench_env env = { .n_runs = 1, .quick = true, .cpus = { 1, 0 } };
	const char *unit, *kind, *skipped, *beside;
	json_t *root, *results, *object;
	double median, p9999, times;
	size_t len;
	char *text;
	FILE *file;

	strcpy(machine.kernel, "a kernel");
	add_run("rate", 100);
	add_run("pipe-rate", 50);
	add_run("ring", 7);
	all[index_of("nats-rate")].selected = true;
	strcpy(all[index_of("nats-rate")].skipped, "it is not here");
	file = open_memstream(&text, &len);
	ck_assert_int_eq(bench_report_json(file, &env, &machine, all), 0);
	fclose(file);
	ck_assert_ptr_eq(strchr(text, '\n'), text + len - 1);
	root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	ck_assert_ptr_nonnull(root);
	ck_assert_int_eq(json_unpack(root, "{s:s, s:s, s:s, s:{s:s, s:s}, s:{s:b}, s:o}", "version",
				     &unit, "commit", &unit, "date", &unit, "machine", "cpu", &unit,
				     "kernel", &kind, "options", "quick", &(int){ 0 }, "results",
				     &results),
			 0);
	ck_assert_str_eq(unit, "a processor");
	ck_assert_uint_eq(json_object_size(results), 4);
	object = json_object_get(results, "pipe-rate");
	ck_assert_int_eq(json_unpack(object, "{s:s, s:s, s:f, s:s, s:f}", "kind", &kind, "unit",
				     &unit, "median", &median, "beside", &beside, "leat_times",
				     &times),
			 0);
	ck_assert_str_eq(kind, "rate");
	ck_assert_str_eq(beside, "rate");
	ck_assert_double_eq(times, 2);
	ck_assert(json_is_true(json_object_get(object, "is_peer")));
	ck_assert_uint_eq(json_array_size(json_object_get(object, "runs")), 1);
	object = json_object_get(results, "ring");
	ck_assert_int_eq(json_unpack(object, "{s:f, s:f}", "median", &median, "p9999", &p9999), 0);
	ck_assert_double_eq(median, 7);
	object = json_object_get(results, "nats-rate");
	ck_assert_int_eq(json_unpack(object, "{s:s}", "skipped", &skipped), 0);
	ck_assert_str_eq(skipped, "it is not here");
	ck_assert_uint_eq(json_array_size(json_object_get(object, "runs")), 0);
	json_decref(root);
	free(text);
}
END_TEST

START_TEST(every_row_of_the_table_has_a_name_of_its_own_and_a_floor_of_its_kind)
{
	const struct bench_workload *floor;
	size_t i;

	for (i = 0; i < bench_table_len; i++) {
		ck_assert_ptr_eq(bench_table_find(bench_table[i].name), &bench_table[i]);
		ck_assert_ptr_nonnull(bench_table[i].run);
		if (!bench_table[i].floor)
			continue;
		floor = bench_table_find(bench_table[i].floor);
		ck_assert_ptr_nonnull(floor);
		ck_assert(floor->is_floor);
		ck_assert_int_eq(floor->kind, bench_table[i].kind);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tools/bench_report");
	TCase *tc = tcase_create("report");
	SRunner *runner = srunner_create(suite);
	int n_failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_row_is_the_median_over_the_runs);
	tcase_add_test(tc, each_run_is_compared_with_the_floor_of_the_same_run);
	tcase_add_test(tc, a_run_that_failed_takes_no_part);
	tcase_add_test(tc, a_latency_over_its_goal_is_not_met);
	tcase_add_test(tc, a_tail_over_its_goal_is_not_met_however_good_the_median);
	tcase_add_test(tc, a_rate_under_its_goal_is_not_met);
	tcase_add_test(tc, a_goal_that_is_a_ratio_has_no_verdict_without_its_floor);
	tcase_add_test(tc, an_even_number_of_runs_takes_the_middle_of_two);
	tcase_add_test(tc, a_workload_without_a_run_has_no_row);
	tcase_add_test(tc, values_are_written_with_three_digits_and_a_unit);
	tcase_add_test(tc, a_peer_is_compared_with_leat_in_the_same_run);
	tcase_add_test(tc, every_peer_stands_beside_a_row_of_leat_of_its_kind);
	tcase_add_test(tc, the_json_says_what_was_measured_on_what_and_how);
	tcase_add_test(tc, every_row_of_the_table_has_a_name_of_its_own_and_a_floor_of_its_kind);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed ? 1 : 0;
}
