/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench_chart.h"
#include "tools/bench_plot.h"

static struct bench_chart *chart;
static char *text;
static size_t text_len;

static void setup(void)
{
	chart = calloc(1, sizeof(*chart));
	ck_assert_ptr_nonnull(chart);
	chart->title = "a title";
	chart->x_scale = BENCH_LOG2;
	chart->y_scale = BENCH_LOG;
	chart->x_unit = BENCH_UNIT_SIZE;
	chart->y_unit = BENCH_UNIT_RATE;
}

static void teardown(void)
{
	free(chart);
	free(text);
	text = NULL;
}

static void draw(void (*as)(FILE *file, const struct bench_chart *chart))
{
	FILE *file = open_memstream(&text, &text_len);

	as(file, chart);
	fclose(file);
}

static size_t n_of(const char *what)
{
	const char *at = text;
	size_t n = 0;

	while ((at = strstr(at, what))) {
		n++;
		at += strlen(what);
	}
	return n;
}

/* Every number of that attribute lies within the picture. */
static void all_within(const char *attribute, double most)
{
	const char *at = text;
	char *end;
	double value;

	while ((at = strstr(at, attribute))) {
		at += strlen(attribute);
		value = strtod(at, &end);
		ck_assert_ptr_ne(end, at);
		ck_assert_msg(value >= 0 && value <= most, "%s%f", attribute, value);
	}
}

START_TEST(ticks_are_written_with_their_unit)
{
	static const struct {
		enum bench_unit unit;
		double value;
		const char *words;
	} cases[] = {
		{ BENCH_UNIT_PLAIN, 64, "64" },      { BENCH_UNIT_PLAIN, 10000, "10000" },
		{ BENCH_UNIT_TIME, 200, "200 ns" },  { BENCH_UNIT_TIME, 1e6, "1 ms" },
		{ BENCH_UNIT_RATE, 5e7, "50 M/s" },  { BENCH_UNIT_RATE, 100, "100 /s" },
		{ BENCH_UNIT_BYTES, 1e9, "1 GB/s" }, { BENCH_UNIT_BYTES, 0, "0 B/s" },
		{ BENCH_UNIT_SIZE, 64, "64 B" },     { BENCH_UNIT_SIZE, 1 << 20, "1 MiB" },
		{ BENCH_UNIT_PERCENT, 0.5, "50 %" }, { BENCH_UNIT_PERCENT, 0.9999, "99.99 %" },
	};
	char buf[32];
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_str_eq(bench_chart_words(cases[i].unit, cases[i].value, buf, sizeof(buf)),
				 cases[i].words);
}
END_TEST

START_TEST(a_line_is_drawn_from_left_to_right_whatever_came_first)
{
	struct bench_line *line = bench_chart_add(chart, BENCH_LEAT, "leat");

	bench_chart_point(line, 1024, 2);
	bench_chart_point(line, 16, 3);
	bench_chart_point(line, 64, 1);
	ck_assert_double_eq(line->points[0].x, 16);
	ck_assert_double_eq(line->points[1].x, 64);
	ck_assert_double_eq(line->points[2].x, 1024);
}
END_TEST

START_TEST(every_line_is_there_once_with_its_label_inside_the_picture)
{
	char label[32];
	int i, j;

	for (i = 0; i < BENCH_CHART_LINES_MAX; i++) {
		snprintf(label, sizeof(label), "line %d.", i);
		for (j = 4; j < 21; j += 2)
			bench_chart_point(chart->n_lines == (size_t)i
						  ? bench_chart_add(chart, i % 3, label)
						  : &chart->lines[i],
					  1 << j, 1e6 + i * j);
	}
	ck_assert_ptr_null(bench_chart_add(chart, BENCH_PEER, "one too many"));
	draw(bench_chart_lines);
	for (i = 0; i < BENCH_CHART_LINES_MAX; i++) {
		snprintf(label, sizeof(label), ">line %d.<", i);
		ck_assert_uint_eq(n_of(label), 1);
	}
	ck_assert_uint_eq(n_of("<circle"), (size_t)9 * BENCH_CHART_LINES_MAX);
	all_within(" x=\"", 860);
	all_within(" y=\"", 484);
	all_within("cx=\"", 860);
	all_within("cy=\"", 484);
}
END_TEST

START_TEST(bars_are_sorted_and_say_their_figure)
{
	static const char *const words[] = { ">50.0 M/s<", ">2.00 M/s<", ">300 k/s<" };
	const char *last = NULL, *at;
	size_t i;

	bench_chart_point(bench_chart_add(chart, BENCH_LEAT, "leat"), 0, 2e6);
	bench_chart_point(bench_chart_add(chart, BENCH_PEER, "pipe"), 0, 3e5);
	bench_chart_point(bench_chart_add(chart, BENCH_FLOOR, "ring"), 0, 5e7);
	draw(bench_chart_bars);
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		at = strstr(text, words[i]);
		ck_assert_msg(at && (!last || at > last), "%s", words[i]);
		last = at;
	}
	all_within(" x=\"", 860);
}
END_TEST

START_TEST(what_xml_cannot_bear_is_written_otherwise)
{
	chart->title = "a <b> & \"c\"";
	bench_chart_point(bench_chart_add(chart, BENCH_PEER, "x<y&z"), 16, 1);
	draw(bench_chart_lines);
	ck_assert_uint_ge(n_of("a &lt;b&gt; &amp; &quot;c&quot;"), 1);
	ck_assert_uint_eq(n_of(">x&lt;y&amp;z<"), 1);
	ck_assert_uint_eq(n_of("x<y"), 0);
}
END_TEST

START_TEST(a_chart_without_anything_is_still_a_picture)
{
	draw(bench_chart_lines);
	ck_assert_uint_eq(n_of("</svg>"), 1);
	ck_assert_uint_eq(n_of("nan"), 0);
	ck_assert_uint_eq(n_of("inf"), 0);
}
END_TEST

/* ---- which chart shows what ---- */

static struct bench_series *measured(void)
{
	struct bench_series *all = calloc(bench_table_len, sizeof(*all));
	size_t i, j;

	ck_assert_ptr_nonnull(all);
	for (i = 0; i < bench_table_len; i++) {
		all[i].selected = true;
		all[i].n_ok = 1;
		all[i].ok[0] = true;
		all[i].runs[0].value = 1000;
		all[i].runs[0].n_samples = 20000;
		for (j = 0; j < BENCH_CURVE_LEN; j++)
			all[i].runs[0].curve[j] = 1000.0 * (double)(j + 1);
	}
	return all;
}

static bool shows(const char *label)
{
	size_t i;

	for (i = 0; i < chart->n_lines; i++) {
		if (strcmp(chart->lines[i].label, label) == 0)
			return true;
	}
	return false;
}

START_TEST(every_chart_has_something_to_show_and_fits)
{
	struct bench_series *all = measured();
	size_t i;

	for (i = 0; bench_plot_name(i); i++) {
		ck_assert_msg(bench_plot_fill(i, all, chart), "%s", bench_plot_name(i));
		ck_assert_uint_ge(chart->n_lines, 2);
		ck_assert_msg(chart->n_lines < BENCH_CHART_LINES_MAX, "%s is full",
			      bench_plot_name(i));
		if (strcmp(bench_plot_name(i), "round-trip") != 0)
			continue;
		ck_assert(shows("leat, polling"));
		ck_assert(shows("minimal ring"));
		ck_assert(shows("pipe"));
		ck_assert(shows("ZeroMQ"));
		ck_assert(shows("NATS JetStream"));
		ck_assert_uint_eq(chart->lines[0].n_points, BENCH_CURVE_LEN);
	}
	ck_assert_uint_ge(i, 6);
	free(all);
}
END_TEST

START_TEST(a_curve_ends_where_there_are_no_samples_left)
{
	struct bench_series *all = measured();
	size_t row = (size_t)(bench_table_find("ring") - bench_table);

	all[row].runs[0].n_samples = 500;
	ck_assert_str_eq(bench_plot_name(0), "round-trip");
	ck_assert(bench_plot_fill(0, all, chart));
	ck_assert_str_eq(chart->lines[0].label, "minimal ring");
	/* 99.5 %, and not 99.9. */
	ck_assert_uint_eq(chart->lines[0].n_points, 6);
	ck_assert_uint_eq(chart->lines[1].n_points, BENCH_CURVE_LEN);
	free(all);
}
END_TEST

START_TEST(what_was_not_measured_is_in_no_chart)
{
	struct bench_series *all = calloc(bench_table_len, sizeof(*all));
	size_t i;

	ck_assert_ptr_nonnull(all);
	for (i = 0; bench_plot_name(i); i++)
		ck_assert(!bench_plot_fill(i, all, chart));
	free(all);
}
END_TEST

START_TEST(every_series_of_the_table_has_a_chart)
{
	struct bench_series *all = calloc(bench_table_len, sizeof(*all));
	size_t row, i;
	bool found;

	ck_assert_ptr_nonnull(all);
	for (row = 0; row < bench_table_len; row++) {
		if (!bench_table[row].series)
			continue;
		memset(all, 0, bench_table_len * sizeof(*all));
		all[row].selected = true;
		all[row].n_ok = 1;
		all[row].ok[0] = true;
		all[row].runs[0].value = 1000;
		found = false;
		for (i = 0; bench_plot_name(i); i++)
			found |= bench_plot_fill(i, all, chart);
		ck_assert_msg(found, "no chart shows the series %s: see bench_plot.c",
			      bench_table[row].series);
	}
	free(all);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tools/bench_chart");
	TCase *tc = tcase_create("chart");
	SRunner *runner = srunner_create(suite);
	int n_failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, ticks_are_written_with_their_unit);
	tcase_add_test(tc, a_line_is_drawn_from_left_to_right_whatever_came_first);
	tcase_add_test(tc, every_line_is_there_once_with_its_label_inside_the_picture);
	tcase_add_test(tc, bars_are_sorted_and_say_their_figure);
	tcase_add_test(tc, what_xml_cannot_bear_is_written_otherwise);
	tcase_add_test(tc, a_chart_without_anything_is_still_a_picture);
	tcase_add_test(tc, every_chart_has_something_to_show_and_fits);
	tcase_add_test(tc, a_curve_ends_where_there_are_no_samples_left);
	tcase_add_test(tc, what_was_not_measured_is_in_no_chart);
	tcase_add_test(tc, every_series_of_the_table_has_a_chart);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed ? 1 : 0;
}
