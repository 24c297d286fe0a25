/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "tools/units.h"

#define S UINT64_C(1000000000)

static uint64_t size_of(const char *text)
{
	uint64_t len = 1;
	int rc = units_parse_size(text, &len);

	return rc < 0 ? (uint64_t)rc : len;
}

static uint64_t time_of(const char *text)
{
	uint64_t ns = 1;
	int rc = units_parse_time(text, &ns);

	return rc < 0 ? (uint64_t)rc : ns;
}

static uint64_t date_of(const char *text)
{
	struct units_where where = { 0 };
	int rc = units_parse_where(text, 1000 * S, &where);

	if (rc < 0)
		return (uint64_t)rc;
	ck_assert_int_eq(where.where, LEAT_TIME);
	return where.value;
}

START_TEST(sizes_are_powers_of_1024)
{
	ck_assert_uint_eq(size_of("0"), 0);
	ck_assert_uint_eq(size_of("4096"), 4096);
	ck_assert_uint_eq(size_of("64K"), 65536);
	ck_assert_uint_eq(size_of("64k"), 65536);
	ck_assert_uint_eq(size_of("16M"), 16 << 20);
	ck_assert_uint_eq(size_of("16MB"), 16 << 20);
	ck_assert_uint_eq(size_of("16MiB"), 16 << 20);
	ck_assert_uint_eq(size_of("3G"), UINT64_C(3) << 30);
	ck_assert_uint_eq(size_of("1T"), UINT64_C(1) << 40);
	ck_assert_uint_eq(size_of("18446744073709551615"), UINT64_MAX);
}
END_TEST

START_TEST(sizes_that_are_none_are_refused)
{
	static const char *const bad[] = { "",     "K",  "-1",  "+1",   " 1",  "1 K",
					   "1.5G", "1X", "1KK", "0x10", "1Ki", "1iB" };
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(size_of(bad[i]) == (uint64_t)-EINVAL, "\"%s\" was taken", bad[i]);
	ck_assert_uint_eq(size_of("18446744073709551616"), (uint64_t)-ERANGE);
	ck_assert_uint_eq(size_of("99999999999G"), (uint64_t)-ERANGE);
}
END_TEST

START_TEST(times_need_their_unit)
{
	ck_assert_uint_eq(time_of("0"), 0);
	ck_assert_uint_eq(time_of("1ns"), 1);
	ck_assert_uint_eq(time_of("2us"), 2000);
	ck_assert_uint_eq(time_of("100ms"), 100000000);
	ck_assert_uint_eq(time_of("30s"), 30 * S);
	ck_assert_uint_eq(time_of("5m"), 300 * S);
	ck_assert_uint_eq(time_of("2h"), 7200 * S);
	ck_assert_uint_eq(time_of("7d"), 7 * 86400 * S);
	ck_assert_uint_eq(time_of("10"), (uint64_t)-EINVAL);
	ck_assert_uint_eq(time_of("10 s"), (uint64_t)-EINVAL);
	ck_assert_uint_eq(time_of("-1s"), (uint64_t)-EINVAL);
	ck_assert_uint_eq(time_of("1w"), (uint64_t)-EINVAL);
	ck_assert_uint_eq(time_of("999999999d"), (uint64_t)-ERANGE);
}
END_TEST

START_TEST(places_have_words_positions_and_times)
{
	struct units_where where;

	ck_assert_int_eq(units_parse_where("earliest", 0, &where), 0);
	ck_assert_int_eq(where.where, LEAT_EARLIEST);
	ck_assert_int_eq(units_parse_where("beginning", 0, &where), 0);
	ck_assert_int_eq(where.where, LEAT_EARLIEST);
	ck_assert_int_eq(units_parse_where("latest", 0, &where), 0);
	ck_assert_int_eq(where.where, LEAT_LATEST);
	ck_assert_int_eq(units_parse_where("4294901760", 0, &where), 0);
	ck_assert_int_eq(where.where, LEAT_POSITION);
	ck_assert_uint_eq(where.value, 4294901760u);
	ck_assert_int_eq(units_parse_where("", 0, &where), -EINVAL);
	ck_assert_int_eq(units_parse_where("first", 0, &where), -EINVAL);
	ck_assert_int_eq(units_parse_where("-5", 0, &where), -EINVAL);
	ck_assert_int_eq(units_parse_where("12x", 0, &where), -EINVAL);
}
END_TEST

START_TEST(times_since_1970_tell_their_unit_by_their_length)
{
	ck_assert_uint_eq(date_of("@1700000000"), 1700000000 * S);
	ck_assert_uint_eq(date_of("@1700000000.25"), 1700000000 * S + S / 4);
	ck_assert_uint_eq(date_of("@1700000000.1234567899"), 1700000000 * S + 123456789);
	ck_assert_uint_eq(date_of("@1700000000123"), 1700000000 * S + 123000000);
	ck_assert_uint_eq(date_of("@1700000000123456"), 1700000000 * S + 123456000);
	ck_assert_uint_eq(date_of("@1700000000123456789"), 1700000000 * S + 123456789);
	ck_assert_uint_eq(date_of("@0"), 0);
}
END_TEST

START_TEST(dates_are_iso_8601)
{
	ck_assert_uint_eq(date_of("@1970-01-02T00:00:01Z"), 86401 * S);
	ck_assert_uint_eq(date_of("@1970-01-02 00:00:01Z"), 86401 * S);
	ck_assert_uint_eq(date_of("@1970-01-02T00:00:01.5Z"), 86401 * S + S / 2);
	ck_assert_uint_eq(date_of("@1970-01-02T01:00:01+01:00"), 86401 * S);
	ck_assert_uint_eq(date_of("@1970-01-01T23:30:01-0030"), 86401 * S);
	ck_assert_uint_eq(date_of("@1970-01-02T02:00:01+02"), 86401 * S);
	ck_assert_uint_eq(date_of("@1970-01-02T00:01Z"), 86460 * S);
	/* Without a zone it is local time. */
	ck_assert_uint_eq(date_of("@1970-01-02T00:00:01"), 86401 * S - 3600 * S);
	ck_assert_uint_eq(date_of("@1970-01-02"), 86400 * S - 3600 * S);
	ck_assert_uint_eq(date_of("@2026-07-01T12:00:00Z"), 1782907200 * S);
}
END_TEST

START_TEST(relative_times_go_back_from_now)
{
	ck_assert_uint_eq(date_of("@-10m"), 400 * S);
	ck_assert_uint_eq(date_of("@-7d"), 0);
	ck_assert_uint_eq(date_of("@now"), 1000 * S);
}
END_TEST

START_TEST(dates_that_are_none_are_refused)
{
	static const char *const bad[] = {
		"@",
		"@-",
		"@x",
		"@1.",
		"@1970-13-01",
		"@1970-01-32",
		"@1970-01-01T25:00",
		"@1970-01-01T12",
		"@1970-1-1",
		"@1970-01-01Tnoon",
		"@-10",
		"@1970-01-01T12:00:00X",
		"@1970-01-01T12:60:00Z",
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(date_of(bad[i]) == (uint64_t)-EINVAL, "\"%s\" was taken", bad[i]);
}
END_TEST

START_TEST(speeds_are_max_or_a_factor)
{
	double factor = -1;

	ck_assert_int_eq(units_parse_speed("max", &factor), 0);
	ck_assert(factor == 0);
	ck_assert_int_eq(units_parse_speed("10x", &factor), 0);
	ck_assert(factor == 10);
	ck_assert_int_eq(units_parse_speed("0.5x", &factor), 0);
	ck_assert(factor == 0.5);
	ck_assert_int_eq(units_parse_speed("2", &factor), 0);
	ck_assert(factor == 2);
	ck_assert_int_eq(units_parse_speed("0x", &factor), -EINVAL);
	ck_assert_int_eq(units_parse_speed("-1x", &factor), -EINVAL);
	ck_assert_int_eq(units_parse_speed("fast", &factor), -EINVAL);
	ck_assert_int_eq(units_parse_speed("1y", &factor), -EINVAL);
	ck_assert_int_eq(units_parse_speed("", &factor), -EINVAL);
}
END_TEST

START_TEST(exact_forms_can_be_read_again)
{
	static const uint64_t values[] = { 0,     1,        1023,          1024,      1536,
					   65536, 16 << 20, 7 * 86400 * S, 100000000, UINT64_MAX };
	char text[UNITS_TEXT_LEN];
	size_t i;

	for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		ck_assert_uint_eq(size_of(units_exact_size(values[i], text)), values[i]);
		ck_assert_uint_eq(time_of(units_exact_time(values[i], text)), values[i]);
	}
	ck_assert_str_eq(units_exact_size(16 << 20, text), "16M");
	ck_assert_str_eq(units_exact_time(7 * 86400 * S, text), "7d");
}
END_TEST

START_TEST(short_forms_have_few_figures)
{
	char text[UNITS_TEXT_LEN];

	ck_assert_str_eq(units_show_size(0, text), "0");
	ck_assert_str_eq(units_show_size(1000, text), "1000");
	ck_assert_str_eq(units_show_size(1536, text), "1.5K");
	ck_assert_str_eq(units_show_size(UINT64_C(123) << 30, text), "123G");
	ck_assert_str_eq(units_show_count(1234567, text), "1.2M");
	ck_assert_str_eq(units_show_count(0.5, text), "0.5");
	ck_assert_str_eq(units_show_time(1500000, text), "1.5ms");
	ck_assert_str_eq(units_show_date(0, text), "-");
	ck_assert_str_eq(units_show_date(86401 * S + 5, text), "1970-01-02T00:00:01.000000005Z");
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("units");
	Suite *suite = suite_create("tools_units");
	SRunner *runner;
	int n_failed;

	/* A zone without summer time, one hour east. */
	setenv("TZ", "XYZ-1", 1);
	tzset();
	tcase_add_test(tcase, sizes_are_powers_of_1024);
	tcase_add_test(tcase, sizes_that_are_none_are_refused);
	tcase_add_test(tcase, times_need_their_unit);
	tcase_add_test(tcase, places_have_words_positions_and_times);
	tcase_add_test(tcase, times_since_1970_tell_their_unit_by_their_length);
	tcase_add_test(tcase, dates_are_iso_8601);
	tcase_add_test(tcase, relative_times_go_back_from_now);
	tcase_add_test(tcase, dates_that_are_none_are_refused);
	tcase_add_test(tcase, speeds_are_max_or_a_factor);
	tcase_add_test(tcase, exact_forms_can_be_read_again);
	tcase_add_test(tcase, short_forms_have_few_figures);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed ? 1 : 0;
}
