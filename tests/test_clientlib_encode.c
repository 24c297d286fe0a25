/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>

#include "clientlib/encode.h"

static struct ring ring = { .flags = GOVERN_F_CHECKSUM, .crc_seed = 77 };
static struct encode_stamp stamp = { .timestamp_ns = 5, .who = UINT64_C(7) << 32 | 6 };
static const uint64_t pos = 4096;
static _Alignas(32) char bytes[1 << 17];

static uint64_t encode(const struct leat_record *record, struct record_view *ret_view)
{
	uint32_t len = (uint32_t)encode_len(record);
	uint64_t word = encode_word(record, len, 8);

	encode_record(&ring, bytes, pos, word, record, &stamp);
	ck_assert_int_eq(record_parse(word, bytes, pos, ret_view), 0);
	return word;
}

START_TEST(what_is_encoded_parses_back)
{
	struct leat_header headers[] = {
		{ "n", 1, "value", 5 },
		{ "", 0, "", 0 },
		{ "no value", 8, NULL, 0 },
	};
	struct leat_record record = { .key = "k\0y",
				      .key_len = 3,
				      .value = "v\0lue",
				      .value_len = 5,
				      .headers = headers,
				      .n_headers = 3,
				      .event_time_ns = 99 };
	struct record_field field;
	struct record_view view;
	uint32_t off = 0, i;
	uint64_t word = encode(&record, &view);

	ck_assert_uint_eq(record_word_len(word), 32 + 8 + 3 + (4 + 6) + 4 + (4 + 8) + 5);
	ck_assert_uint_eq(record_word_owner(word), 8);
	ck_assert_uint_eq(view.timestamp_ns, 5);
	ck_assert_uint_eq(view.publisher, 6);
	ck_assert_uint_eq(view.sequence, 7);
	ck_assert_uint_eq(view.event_time_ns, 99);
	ck_assert_mem_eq(view.key, "k\0y", 3);
	ck_assert_mem_eq(view.value, "v\0lue", 5);
	ck_assert_uint_eq(view.value_len, 5);
	for (i = 0; i < 3; i++) {
		ck_assert_int_eq(record_headers_next(view.headers, view.headers_len, &off, &field),
				 1);
		ck_assert_uint_eq(field.name_len, headers[i].name_len);
		ck_assert_uint_eq(field.value_len, headers[i].value_len);
		ck_assert_mem_eq(field.name, headers[i].name, field.name_len);
		if (field.value_len)
			ck_assert_mem_eq(field.value, headers[i].value, field.value_len);
	}
	ck_assert_int_eq(record_headers_next(view.headers, view.headers_len, &off, &field), 0);
}
END_TEST

START_TEST(an_empty_record_is_a_header)
{
	struct leat_record record = { .shard = LEAT_SHARD_ANY };
	struct record_view view;

	ck_assert_uint_eq(record_word_len(encode(&record, &view)), RECORD_HEADER_LEN);
	ck_assert_uint_eq(view.key_len + view.value_len + view.headers_len, 0);
}
END_TEST

START_TEST(the_checksum_is_bound_to_the_position_and_left_out_when_switched_off)
{
	struct leat_record record = { .value = "value", .value_len = 5 };
	struct record_view view;
	uint64_t word = encode(&record, &view);
	uint32_t crc;

	memcpy(&crc, bytes + offsetof(struct record_header, crc), 4);
	ck_assert_uint_eq(crc, record_crc(77, pos, word, bytes));
	ck_assert_uint_ne(crc, record_crc(77, pos + 32, word, bytes));
	ring.flags = 0;
	encode(&record, &view);
	ring.flags = GOVERN_F_CHECKSUM;
	memcpy(&crc, bytes + offsetof(struct record_header, crc), 4);
	ck_assert_uint_eq(crc, 0);
}
END_TEST

START_TEST(the_largest_key_and_headers_pass_and_one_byte_more_is_refused)
{
	static char big[65536];
	struct leat_header header = { big, 65535, NULL, 0 };
	struct leat_record record = { .key = big, .key_len = 65535 };
	struct detail detail;
	struct record_view view;

	encode(&record, &view);
	ck_assert_uint_eq(view.key_len, 65535);
	record.key_len++;
	ck_assert_uint_gt(encode_len(&record), RECORD_LEN_MAX);
	ck_assert_int_eq(encode_refuse(&record, 4096, &detail), -EMSGSIZE);
	ck_assert_ptr_nonnull(strstr(detail.text, "65535"));

	/* 4 bytes stand before each header, and 65,535 is the limit of all together. */
	record = (struct leat_record){ .headers = &header, .n_headers = 1 };
	header.name_len = 65531;
	encode(&record, &view);
	ck_assert_uint_eq(view.headers_len, 65535);
	header.name_len = 65532;
	ck_assert_uint_gt(encode_len(&record), RECORD_LEN_MAX);
	ck_assert_int_eq(encode_refuse(&record, 4096, &detail), -EMSGSIZE);
	ck_assert_ptr_nonnull(strstr(detail.text, "headers"));
}
END_TEST

START_TEST(lengths_that_would_wrap_are_refused)
{
	struct leat_header headers[2] = { { "", SIZE_MAX, "", SIZE_MAX }, { "", 9, "", SIZE_MAX } };
	struct leat_record records[] = {
		{ .key_len = SIZE_MAX },
		{ .value_len = SIZE_MAX },
		{ .value_len = SIZE_MAX - 31 },
		{ .key_len = SIZE_MAX - 100, .value_len = 200 },
		{ .headers = headers, .n_headers = 1 },
		{ .headers = headers, .n_headers = 2 },
	};
	struct detail detail;
	size_t i;

	for (i = 0; i < ARRAY_LEN(records); i++) {
		ck_assert_uint_gt(encode_len(&records[i]), RECORD_LEN_MAX);
		ck_assert_int_eq(encode_refuse(&records[i], 4096, &detail), -EMSGSIZE);
	}
}
END_TEST

START_TEST(a_value_that_is_left_out_is_pointed_to)
{
	struct leat_record record = { .key = "key", .key_len = 3, .value_len = 100 };
	char *value;

	memset(bytes, 0x55, sizeof(bytes));
	value = encode_front(bytes, &record, &stamp);
	ck_assert_ptr_eq(value, bytes + 32 + 3);
	ck_assert_int_eq(*value, 0x55);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("encode");
	TCase *tc = tcase_create("encode");
	SRunner *runner;
	int n_failed;

	tcase_add_test(tc, what_is_encoded_parses_back);
	tcase_add_test(tc, an_empty_record_is_a_header);
	tcase_add_test(tc, the_checksum_is_bound_to_the_position_and_left_out_when_switched_off);
	tcase_add_test(tc, the_largest_key_and_headers_pass_and_one_byte_more_is_refused);
	tcase_add_test(tc, lengths_that_would_wrap_are_refused);
	tcase_add_test(tc, a_value_that_is_left_out_is_pointed_to);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
