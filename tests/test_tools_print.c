/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/escape.h"
#include "tools/out.h"
#include "tools/print.h"

static struct out out;

static void open_out(void)
{
	ck_assert_int_eq(out_init(&out, -1, 65536), 0);
}

static void close_out(void)
{
	out_deinit(&out);
}

/* What was written since the last call. */
static const char *written(void)
{
	ck_assert_uint_lt(out.len, out.cap);
	out.buf[out.len] = '\0';
	out.len = 0;
	return out.buf;
}

static struct leat_message message(const char *key, const void *value, size_t value_len)
{
	return (struct leat_message){
		.kind = LEAT_RECORD,
		.shard = 3,
		.pos = 4294901792u,
		.timestamp_ns = UINT64_C(1700000000123456789),
		.key = key,
		.key_len = (uint32_t)strlen(key),
		.value = value,
		.value_len = (uint32_t)value_len,
	};
}

static const char *formatted(const char *text, const struct leat_message *from)
{
	struct print_format format;
	const char *bad = NULL;

	ck_assert_int_eq(print_format_parse(text, &format, &bad), 0);
	print_format_write(&format, &out, "orders", from);
	print_format_free(&format);
	return written();
}

START_TEST(every_letter_of_a_format_gives_its_field)
{
	struct leat_message m = message("k1", "value", 5);

	ck_assert_str_eq(formatted("%s", &m), "value");
	ck_assert_str_eq(formatted("%S %K", &m), "5 2");
	ck_assert_str_eq(formatted("%k=%s;", &m), "k1=value;");
	ck_assert_str_eq(formatted("%t/%p@%o", &m), "orders/3@4294901792");
	ck_assert_str_eq(formatted("%T %N", &m), "1700000000123 1700000000123456789");
	ck_assert_str_eq(formatted("[%h]", &m), "[]");
	ck_assert_str_eq(formatted("100%%\\n\\t\\x41\\\\", &m), "100%\n\tA\\");
	ck_assert_str_eq(formatted("", &m), "");
}
END_TEST

START_TEST(a_value_with_nul_bytes_is_given_whole)
{
	struct leat_message m = message("", "a\0b", 3);

	formatted("%s", &m);
	ck_assert_mem_eq(out.buf, "a\0b", 4);
}
END_TEST

START_TEST(an_unknown_escape_is_refused_and_shown)
{
	static const char *const bad_formats[] = { "%x", "ab%", "\\q", "%s\\", "\\x", "%s %z\\n" };
	static const char *const where[] = { "%x", "%", "\\q", "\\", "\\x", "%z\\n" };
	struct print_format format;
	const char *bad;
	size_t i;

	for (i = 0; i < sizeof(where) / sizeof(where[0]); i++) {
		bad = NULL;
		ck_assert_int_eq(print_format_parse(bad_formats[i], &format, &bad), -EINVAL);
		ck_assert_str_eq(bad, where[i]);
	}
}
END_TEST

START_TEST(json_has_one_object_with_our_names)
{
	struct leat_message m = message("k\"1", "line\n\x01", 6);

	print_json(&out, "orders", &m);
	ck_assert_str_eq(written(), "{\"stream\":\"orders\",\"shard\":3,\"position\":4294901792,"
				    "\"ts\":1700000000123,\"ts_ns\":1700000000123456789,"
				    "\"key\":\"k\\\"1\",\"value\":\"line\\n\\u0001\"}");
}
END_TEST

START_TEST(json_gives_what_is_not_utf8_as_base64)
{
	struct leat_message m = message("", "\xff\x00\x01", 3);

	m.event_time_ns = 7;
	print_json(&out, "o", &m);
	ck_assert_str_eq(written(), "{\"stream\":\"o\",\"shard\":3,\"position\":4294901792,"
				    "\"ts\":1700000000123,\"ts_ns\":1700000000123456789,"
				    "\"event_time_ns\":7,\"key\":null,"
				    "\"value\":{\"base64\":\"/wAB\"}}");
}
END_TEST

START_TEST(json_shows_a_gap_with_its_range)
{
	struct leat_message m = { .kind = LEAT_GAP,
				  .shard = 1,
				  .pos = 32,
				  .next_pos = 96,
				  .reason = LEAT_GAP_RETENTION };

	print_json(&out, "o", &m);
	ck_assert_str_eq(written(), "{\"gap\":{\"stream\":\"o\",\"shard\":1,\"from\":32,\"to\":96,"
				    "\"reason\":\"retention\"}}");
}
END_TEST

START_TEST(utf8_is_what_the_standard_calls_well_formed)
{
	static const char *const good[] = { "",
					    "plain ascii text",
					    "\xc2\x80",
					    "\xdf\xbf",
					    "\xe0\xa0\x80",
					    "\xed\x9f\xbf",
					    "\xee\x80\x80",
					    "\xf0\x90\x80\x80",
					    "\xf4\x8f\xbf\xbf",
					    "gr\xc3\xbc\xc3\x9f dich wohl" };
	static const char *const bad[] = { "\x80",
					   "\xc0\x80",
					   "\xc1\xbf",
					   "\xc2",
					   "\xc2 ",
					   "\xe0\x9f\xbf",
					   "\xed\xa0\x80",
					   "\xe2\x82",
					   "\xf0\x8f\xbf\xbf",
					   "\xf4\x90\x80\x80",
					   "\xf5\x80\x80\x80",
					   "eight ok\xff" };
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		ck_assert_msg(escape_is_utf8(good[i], strlen(good[i])), "good %zu", i);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(!escape_is_utf8(bad[i], strlen(bad[i])), "bad %zu", i);
}
END_TEST

START_TEST(base64_pads_to_four)
{
	static const char *const wanted[] = { "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=" };
	size_t i;

	for (i = 0; i < 6; i++) {
		escape_base64(&out, "fooba", i);
		ck_assert_str_eq(written(), wanted[i]);
	}
}
END_TEST

START_TEST(c_escapes_go_both_ways)
{
	static const unsigned char bytes[] = { 'a', 0, '\n', '\t', '\\', 0xff, '"', 0x1b, 'z' };
	char *text, *back;
	size_t len;

	escape_c(&out, bytes, sizeof(bytes));
	text = strdup(written());
	ck_assert_str_eq(text, "a\\x00\\n\\t\\\\\\xff\\\"\\x1bz");
	ck_assert_int_eq(escape_decode(text, &back, &len), 0);
	ck_assert_uint_eq(len, sizeof(bytes));
	ck_assert_mem_eq(back, bytes, len);
	free(back);
	free(text);
	ck_assert_int_eq(escape_decode("\\0\\12\\x9", &back, &len), 0);
	ck_assert_uint_eq(len, 3);
	ck_assert_mem_eq(back, "\0\n\t", 3);
	free(back);
	ck_assert_int_eq(escape_decode("\\400", &back, &len), -EINVAL);
	ck_assert_int_eq(escape_decode("a\\", &back, &len), -EINVAL);
	ck_assert_int_eq(escape_decode("\\xg", &back, &len), -EINVAL);
}
END_TEST

START_TEST(output_longer_than_the_buffer_keeps_its_order)
{
	char big[100], wanted[106], got[200];
	struct out small;
	int fds[2];
	ssize_t n;

	memset(big, 'b', sizeof(big));
	memcpy(wanted, "aaa", 3);
	memcpy(wanted + 3, big, sizeof(big));
	memcpy(wanted + 103, "ccc", 3);
	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(out_init(&small, fds[1], 10), 0);
	out_text(&small, "aaa");
	out_write(&small, big, sizeof(big));
	out_text(&small, "ccc");
	ck_assert_int_eq(out_flush(&small), 0);
	n = read(fds[0], got, sizeof(got));
	ck_assert_int_eq(n, sizeof(wanted));
	ck_assert_mem_eq(got, wanted, sizeof(wanted));
	close(fds[0]);
	close(fds[1]);
	/* The fd is gone: the first failure is remembered. */
	out_text(&small, "x");
	ck_assert_int_eq(out_flush(&small), -EBADF);
	ck_assert_int_eq(out_flush(&small), -EBADF);
	out_deinit(&small);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("print");
	Suite *suite = suite_create("tools_print");
	SRunner *runner;
	int n_failed;

	tcase_add_checked_fixture(tcase, open_out, close_out);
	tcase_add_test(tcase, every_letter_of_a_format_gives_its_field);
	tcase_add_test(tcase, a_value_with_nul_bytes_is_given_whole);
	tcase_add_test(tcase, an_unknown_escape_is_refused_and_shown);
	tcase_add_test(tcase, json_has_one_object_with_our_names);
	tcase_add_test(tcase, json_gives_what_is_not_utf8_as_base64);
	tcase_add_test(tcase, json_shows_a_gap_with_its_range);
	tcase_add_test(tcase, utf8_is_what_the_standard_calls_well_formed);
	tcase_add_test(tcase, base64_pads_to_four);
	tcase_add_test(tcase, c_escapes_go_both_ways);
	tcase_add_test(tcase, output_longer_than_the_buffer_keeps_its_order);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed ? 1 : 0;
}
