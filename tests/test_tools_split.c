/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "tools/split.h"

/* What came out, written as "one|two|#7" where #7 is a record of 7 bytes that is too large. */
static char result[4096];

static void note(const struct split_part *part)
{
	size_t len = strlen(result);

	if (len > 0)
		result[len++] = '|';
	if (part->too_large) {
		snprintf(result + len, sizeof(result) - len, "#%llu",
			 (unsigned long long)part->full_len);
		return;
	}
	ck_assert_uint_eq(part->len, part->full_len);
	ck_assert_uint_lt(len + part->len, sizeof(result));
	memcpy(result + len, part->data, part->len);
	result[len + part->len] = '\0';
	if (part->len == 0)
		strcpy(result + len, "<>");
}

/* Splits the input as it comes in pieces of `piece` bytes. */
static const char *split_in_pieces(struct split *split, const char *input, size_t len, size_t piece)
{
	struct split_part part;
	size_t room, n;
	char *to;

	result[0] = '\0';
	split_reset(split);
	for (;;) {
		while (split_next(split, &part) > 0)
			note(&part);
		if (split->eof)
			return result;
		to = split_room(split, &room);
		ck_assert_ptr_nonnull(to);
		ck_assert_uint_gt(room, 0);
		n = len < piece ? len : piece;
		n = n < room ? n : room;
		memcpy(to, input, n);
		split_filled(split, n);
		input += n;
		len -= n;
	}
}

/* The same result must come out however the input is cut. */
static void expect(struct split *split, const char *input, const char *wanted)
{
	static const size_t pieces[] = { 1, 2, 3, 5, 1000 };
	size_t i;

	for (i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
		ck_assert_msg(strcmp(split_in_pieces(split, input, strlen(input), pieces[i]),
				     wanted) == 0,
			      "\"%s\" in pieces of %zu gave \"%s\", not \"%s\"", input, pieces[i],
			      result, wanted);
}

START_TEST(lines_are_records_and_the_last_one_may_lack_its_end)
{
	struct split split;

	ck_assert_int_eq(split_init(&split, SPLIT_DELIMITER, "\n", 1, 100), 0);
	expect(&split, "", "");
	expect(&split, "one", "one");
	expect(&split, "one\n", "one");
	expect(&split, "one\ntwo", "one|two");
	expect(&split, "one\ntwo\n", "one|two");
	expect(&split, "\n", "<>");
	expect(&split, "\n\na\n", "<>|<>|a");
	split_deinit(&split);
}
END_TEST

START_TEST(delimiters_may_be_long_and_begin_in_one_piece_and_end_in_the_next)
{
	struct split split;

	ck_assert_int_eq(split_init(&split, SPLIT_DELIMITER, "--+", 3, 100), 0);
	expect(&split, "a--+b--+", "a|b");
	expect(&split, "a---+b", "a-|b");
	expect(&split, "--+--+a", "<>|<>|a");
	expect(&split, "a--", "a--");
	expect(&split, "--+", "<>");
	split_deinit(&split);
}
END_TEST

START_TEST(a_nul_is_a_delimiter_like_any_other)
{
	struct split split;
	size_t piece;

	ck_assert_int_eq(split_init(&split, SPLIT_DELIMITER, "\0", 1, 100), 0);
	for (piece = 1; piece < 8; piece++)
		ck_assert_str_eq(split_in_pieces(&split, "a\nb\0c\0\0", 7, piece), "a\nb|c|<>");
	split_deinit(&split);
}
END_TEST

START_TEST(paragraphs_are_separated_by_any_number_of_empty_lines)
{
	struct split split;

	ck_assert_int_eq(split_init(&split, SPLIT_PARAGRAPHS, NULL, 0, 100), 0);
	expect(&split, "", "");
	expect(&split, "\n\n\n", "");
	expect(&split, "a: 1\nb: 2\n\nc: 3\n", "a: 1\nb: 2|c: 3");
	expect(&split, "\n\na\n\n\n\n\nb\n\n\n", "a|b");
	expect(&split, "a\nb", "a\nb");
	expect(&split, "a\n \nb\n", "a\n \nb");
	split_deinit(&split);
}
END_TEST

START_TEST(a_whole_input_is_one_record_even_an_empty_one)
{
	struct split split;

	ck_assert_int_eq(split_init(&split, SPLIT_WHOLE, NULL, 0, 10), 0);
	expect(&split, "", "<>");
	expect(&split, "a\n\nb\n", "a\n\nb\n");
	expect(&split, "0123456789", "0123456789");
	expect(&split, "0123456789a", "#11");
	split_deinit(&split);
}
END_TEST

START_TEST(a_record_too_large_is_told_with_its_length_and_the_rest_goes_on)
{
	struct split split;

	ck_assert_int_eq(split_init(&split, SPLIT_DELIMITER, "\n", 1, 4), 0);
	expect(&split, "1234\n12345\n1\n", "1234|#5|1");
	expect(&split, "123456789012345\n", "#15");
	expect(&split, "a\n123456789012345", "a|#15");
	split_deinit(&split);
	ck_assert_int_eq(split_init(&split, SPLIT_DELIMITER, "+++", 3, 4), 0);
	expect(&split, "1234+++12345+++++1", "1234|#5|++1");
	expect(&split, "123456789012345+++a+++", "#15|a");
	split_deinit(&split);
	ck_assert_int_eq(split_init(&split, SPLIT_PARAGRAPHS, NULL, 0, 4), 0);
	expect(&split, "1\n2\n\n123456789\n12\n\n\na\n", "1\n2|#12|a");
	expect(&split, "123456789\n", "#9");
	split_deinit(&split);
}
END_TEST

START_TEST(a_record_larger_than_the_first_buffer_comes_in_one_piece)
{
	size_t len = 5 << 20, piece;
	struct split_part part;
	struct split split;
	size_t room, n, left;
	char *to;

	ck_assert_int_eq(split_init(&split, SPLIT_DELIMITER, "\n", 1, len), 0);
	for (piece = 4096; piece < 1u << 20; piece *= 7) {
		split_reset(&split);
		for (left = len; left > 0; left -= n) {
			ck_assert_int_eq(split_next(&split, &part), 0);
			to = split_room(&split, &room);
			ck_assert_ptr_nonnull(to);
			n = left < piece ? left : piece;
			n = n < room ? n : room;
			memset(to, 'x', n);
			split_filled(&split, n);
		}
		split_filled(&split, 0);
		ck_assert_int_eq(split_next(&split, &part), 1);
		ck_assert_uint_eq(part.len, len);
		ck_assert(!part.too_large && part.data[0] == 'x' && part.data[len - 1] == 'x');
		ck_assert_int_eq(split_next(&split, &part), 0);
	}
	split_deinit(&split);
}
END_TEST

START_TEST(memory_does_not_grow_with_a_record_too_large)
{
	struct split_part part;
	struct split split;
	size_t room, i;
	char *to;

	ck_assert_int_eq(split_init(&split, SPLIT_DELIMITER, "\n", 1, 1 << 20), 0);
	for (i = 0; i < 1000; i++) {
		ck_assert_int_eq(split_next(&split, &part), 0);
		to = split_room(&split, &room);
		ck_assert_ptr_nonnull(to);
		ck_assert_uint_ge(room, 65536);
		memset(to, 'x', 65536);
		split_filled(&split, 65536);
	}
	ck_assert_uint_le(split.cap, 8 << 20);
	split_filled(&split, 0);
	ck_assert_int_eq(split_next(&split, &part), 1);
	ck_assert(part.too_large);
	ck_assert_uint_eq(part.full_len, 65536000);
	split_deinit(&split);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("split");
	Suite *suite = suite_create("tools_split");
	SRunner *runner;
	int n_failed;

	tcase_add_test(tcase, lines_are_records_and_the_last_one_may_lack_its_end);
	tcase_add_test(tcase, delimiters_may_be_long_and_begin_in_one_piece_and_end_in_the_next);
	tcase_add_test(tcase, a_nul_is_a_delimiter_like_any_other);
	tcase_add_test(tcase, paragraphs_are_separated_by_any_number_of_empty_lines);
	tcase_add_test(tcase, a_whole_input_is_one_record_even_an_empty_one);
	tcase_add_test(tcase, a_record_too_large_is_told_with_its_length_and_the_rest_goes_on);
	tcase_add_test(tcase, a_record_larger_than_the_first_buffer_comes_in_one_piece);
	tcase_add_test(tcase, memory_does_not_grow_with_a_record_too_large);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed ? 1 : 0;
}
