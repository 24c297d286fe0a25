/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>

#include "daemon/quantity.h"

START_TEST(sizes_take_units_of_1024)
{
	static const struct {
		const char *text;
		uint64_t len;
	} good[] = {
		{ "0", 0 },          { "4096", 4096 },   { "64K", 65536 },     { "64k", 65536 },
		{ "16M", 16 << 20 }, { "1G", 1u << 30 }, { "2T", 2ull << 40 }, { "8KB", 8192 },
		{ "8KiB", 8192 },    { "100B", 100 },
	};

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		uint64_t len;

		ck_assert_int_eq(quantity_parse_len(good[i].text, &len), 0);
		ck_assert_uint_eq(len, good[i].len);
	}
}
END_TEST

START_TEST(what_is_not_a_size_is_refused)
{
	static const char *const bad[] = { "",   "K",   "-1",   "1.5G",  "1X", "1KK",
					   " 1", "1 K", "0x10", "1KiBB", "1iB" };
	uint64_t len;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_msg(quantity_parse_len(bad[i], &len) == -EINVAL, "%s", bad[i]);
	ck_assert_int_eq(quantity_parse_len("9223372036854775807", &len), 0);
	ck_assert_int_eq(quantity_parse_len("9223372036854775808", &len), -ERANGE);
	ck_assert_int_eq(quantity_parse_len("8388608T", &len), -ERANGE);
	ck_assert_int_eq(quantity_parse_len("99999999999999999999999", &len), -ERANGE);
}
END_TEST

START_TEST(times_need_a_unit_unless_they_are_0)
{
	uint64_t ns;

	ck_assert_int_eq(quantity_parse_ns("0", &ns), 0);
	ck_assert_uint_eq(ns, 0);
	ck_assert_int_eq(quantity_parse_ns("5", &ns), -EINVAL);
	ck_assert_int_eq(quantity_parse_ns("100ms", &ns), 0);
	ck_assert_uint_eq(ns, 100 * NS_PER_MS);
	ck_assert_int_eq(quantity_parse_ns("7d", &ns), 0);
	ck_assert_uint_eq(ns, 7 * 86400 * NS_PER_S);
	ck_assert_int_eq(quantity_parse_ns("1y", &ns), -EINVAL);
	ck_assert_int_eq(quantity_parse_ns("1000000d", &ns), -ERANGE);
}
END_TEST

START_TEST(what_is_printed_is_read_back)
{
	static const uint64_t values[] = {
		0, 1, 999, 1000, 1024, 65536, 16 << 20, 86400000000000, 3600000000000, 12345678901
	};
	char text[QUANTITY_LEN];
	uint64_t back;

	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		ck_assert_int_eq(quantity_parse_len(quantity_print_len(values[i], text), &back), 0);
		ck_assert_uint_eq(back, values[i]);
		ck_assert_int_eq(quantity_parse_ns(quantity_print_ns(values[i], text), &back), 0);
		ck_assert_uint_eq(back, values[i]);
	}
	ck_assert_str_eq(quantity_print_len(16 * MIB, text), "16M");
	ck_assert_str_eq(quantity_print_ns(90 * NS_PER_S, text), "90s");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("quantity");
	TCase *tc = tcase_create("quantity");
	SRunner *runner = srunner_create(suite);
	int n_failed;

	tcase_add_test(tc, sizes_take_units_of_1024);
	tcase_add_test(tc, what_is_not_a_size_is_refused);
	tcase_add_test(tc, times_need_a_unit_unless_they_are_0);
	tcase_add_test(tc, what_is_printed_is_read_back);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
