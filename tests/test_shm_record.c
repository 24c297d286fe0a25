/* SPDX-License-Identifier: Apache-2.0 */
/* shm/FORMAT.md, record_header: the commit word, taking a record apart, the checksum. */
#include <check.h>

#include "shm/crc32c.h"
#include "tests/ring_bed.h"

enum {
	MAX_LEN = 16 << 10,
	RING_LEN = 64 << 10,
};

static const uint8_t uuid[16] = "fifteen letters";

/* Record bytes in a block of exactly their length, so that a read past the end is seen. */
struct sample {
	uint8_t *bytes;
	uint64_t word;
};

static struct sample sample_new(uint32_t len, uint8_t flags, uint16_t key_len, uint16_t headers_len)
{
	struct sample sample = { .bytes = malloc(len),
				 .word = record_word(RECORD_COMMITTED, len, 3, flags) };

	for (uint32_t i = 0; i < len; i++)
		sample.bytes[i] = (uint8_t)(i * 7 + 1);
	memcpy(sample.bytes, &sample.word, 8);
	memcpy(sample.bytes + 20, &key_len, 2);
	memcpy(sample.bytes + 22, &headers_len, 2);
	return sample;
}

START_TEST(the_word_holds_length_owner_kind_and_flags_at_their_bits)
{
	uint64_t word = record_word(RECORD_TOMBSTONE, 0x89abcdef, 0x1234, 0x56);

	ck_assert_uint_eq(word, UINT64_C(0x5603123489abcdef));
	ck_assert_uint_eq(record_word_len(word), 0x89abcdef);
	ck_assert_uint_eq(record_word_owner(word), 0x1234);
	ck_assert_int_eq(record_word_kind(word), RECORD_TOMBSTONE);
	ck_assert_uint_eq(record_word_flags(word), 0x56);
}
END_TEST

START_TEST(a_record_takes_its_length_rounded_up_to_32)
{
	ck_assert_uint_eq(record_span(32), 32);
	ck_assert_uint_eq(record_span(33), 64);
	ck_assert_uint_eq(record_span(64), 64);
	/* No length wraps around. */
	ck_assert_uint_eq(record_span(UINT32_MAX), UINT64_C(1) << 32);
}
END_TEST

START_TEST(a_walk_steps_into_a_batch_and_over_everything_else)
{
	ck_assert_uint_eq(record_step(record_word(RECORD_BATCH, 4096, 0, 0)), 32);
	ck_assert_uint_eq(record_step(record_word(RECORD_COMMITTED, 40, 0, 0)), 64);
	ck_assert_uint_eq(record_step(record_word(RECORD_TOMBSTONE, 4096, 0, 0)), 4096);
	ck_assert_uint_eq(record_step(record_word(RECORD_PADDING, 95, 0, 0)), 96);
	ck_assert_uint_eq(record_step(record_word(RECORD_DAMAGED, 128, 0, 0)), 128);
}
END_TEST

START_TEST(free_reserved_and_unknown_kinds_are_not_done)
{
	ck_assert(!record_word_is_done(0, MAX_LEN, RING_LEN));
	ck_assert(!record_word_is_done(record_word(RECORD_RESERVED, 64, 0, 0), MAX_LEN, RING_LEN));
	for (unsigned int kind = 2; kind < 256; kind++) {
		uint64_t word = record_word((enum record_kind)kind, 64, 0, 0);

		ck_assert_int_eq(record_word_is_done(word, MAX_LEN, RING_LEN),
				 kind <= RECORD_DAMAGED);
	}
}
END_TEST

START_TEST(a_length_out_of_range_is_not_done)
{
	static const enum record_kind long_ones[] = { RECORD_TOMBSTONE, RECORD_PADDING,
						      RECORD_BATCH, RECORD_DAMAGED };

	for (uint32_t len = 0; len < 32; len++)
		ck_assert(!record_word_is_done(record_word(RECORD_COMMITTED, len, 0, 0), MAX_LEN,
					       RING_LEN));
	ck_assert(record_word_is_done(record_word(RECORD_COMMITTED, MAX_LEN, 0, 0), MAX_LEN,
				      RING_LEN));
	ck_assert(!record_word_is_done(record_word(RECORD_COMMITTED, MAX_LEN + 1, 0, 0), MAX_LEN,
				       RING_LEN));
	for (unsigned int i = 0; i < ARRAY_LEN(long_ones); i++) {
		ck_assert(!record_word_is_done(record_word(long_ones[i], 31, 0, 0), MAX_LEN,
					       RING_LEN));
		ck_assert(record_word_is_done(record_word(long_ones[i], RING_LEN, 0, 0), MAX_LEN,
					      RING_LEN));
		ck_assert(!record_word_is_done(record_word(long_ones[i], RING_LEN + 1, 0, 0),
					       MAX_LEN, RING_LEN));
		/* Rounded up in 32 bits this one would be 0. */
		ck_assert(!record_word_is_done(record_word(long_ones[i], UINT32_MAX, 0, 0), MAX_LEN,
					       RING_LEN));
	}
}
END_TEST

START_TEST(an_unknown_flag_is_refused)
{
	ck_assert(record_word_is_done(record_word(RECORD_COMMITTED, 64, 0, 1), MAX_LEN, RING_LEN));
	for (unsigned int bit = 1; bit < 8; bit++)
		ck_assert(!record_word_is_done(record_word(RECORD_COMMITTED, 64, 0,
							   (uint8_t)(1 << bit)),
					       MAX_LEN, RING_LEN));
}
END_TEST

START_TEST(a_record_is_taken_apart_into_its_pieces)
{
	struct sample sample = sample_new(100, RECORD_F_EVENT_TIME, 9, 11);
	struct record_view view;
	uint64_t timestamp, event;

	ck_assert_int_eq(record_parse(sample.word, sample.bytes, 4096, &view), 0);
	memcpy(&timestamp, sample.bytes + 8, 8);
	memcpy(&event, sample.bytes + 32, 8);
	ck_assert_uint_eq(view.pos, 4096);
	ck_assert_uint_eq(view.timestamp_ns, timestamp);
	ck_assert_uint_eq(view.event_time_ns, event);
	ck_assert_ptr_eq(view.key, sample.bytes + 40);
	ck_assert_uint_eq(view.key_len, 9);
	ck_assert_ptr_eq(view.headers, sample.bytes + 49);
	ck_assert_uint_eq(view.headers_len, 11);
	ck_assert_ptr_eq(view.value, sample.bytes + 60);
	ck_assert_uint_eq(view.value_len, 40);
	ck_assert_uint_eq(view.len, 100);
	ck_assert_int_eq(view.kind, RECORD_COMMITTED);
	free(sample.bytes);
}
END_TEST

START_TEST(an_empty_record_is_legal)
{
	struct sample sample = sample_new(32, 0, 0, 0);
	struct record_view view;

	ck_assert_int_eq(record_parse(sample.word, sample.bytes, 0, &view), 0);
	ck_assert_uint_eq(view.key_len + view.headers_len + view.value_len, 0);
	ck_assert_uint_eq(view.event_time_ns, 0);
	free(sample.bytes);
}
END_TEST

START_TEST(pieces_that_exceed_the_length_are_refused_without_a_look_behind_it)
{
	for (uint32_t len = 32; len < 80; len++)
		for (uint8_t flags = 0; flags < 2; flags++)
			for (uint16_t key_len = 0; key_len < 50; key_len += 7) {
				struct sample sample = sample_new(len, flags, key_len, 5);
				uint32_t need = 32u + flags * 8u + key_len + 5u;
				struct record_view view;
				int r = record_parse(sample.word, sample.bytes, 0, &view);

				ck_assert_int_eq(r, need <= len ? 0 : -EBADMSG);
				free(sample.bytes);
			}
}
END_TEST

START_TEST(the_largest_key_and_headers_do_not_wrap_the_sum)
{
	struct sample sample = sample_new(64, 0, UINT16_MAX, UINT16_MAX);
	struct record_view view;

	ck_assert_int_eq(record_parse(sample.word, sample.bytes, 0, &view), -EBADMSG);
	free(sample.bytes);
}
END_TEST

START_TEST(a_refused_record_leaves_the_result_untouched)
{
	struct sample sample = sample_new(40, 0, 100, 0);
	struct record_view view = { .pos = 77 };

	ck_assert_int_eq(record_parse(sample.word, sample.bytes, 5, &view), -EBADMSG);
	ck_assert_uint_eq(view.pos, 77);
	free(sample.bytes);
}
END_TEST

START_TEST(of_a_tombstone_the_header_alone_is_read)
{
	struct sample sample = sample_new(32, 0, UINT16_MAX, 1);
	struct record_view view;
	uint64_t word = record_word(RECORD_TOMBSTONE, RING_LEN, 9, 0);

	ck_assert_int_eq(record_parse(word, sample.bytes, 64, &view), 0);
	ck_assert_int_eq(view.kind, RECORD_TOMBSTONE);
	ck_assert_uint_eq(view.len, RING_LEN);
	ck_assert_ptr_null(view.value);
	(void)record_crc(1, 64, word, sample.bytes);
	free(sample.bytes);
}
END_TEST

/* The order that shm/FORMAT.md gives, put together by hand. */
START_TEST(the_checksum_covers_what_the_format_says_in_that_order)
{
	struct sample sample = sample_new(77, 0, 3, 4);
	uint64_t pos = LAYOUT_FIRST_POS + 64;
	uint32_t shard = 7, crc = crc32c(crc32c(0, uuid, 16), &shard, 4);
	uint32_t seed = record_crc_seed(uuid, shard);

	ck_assert_uint_eq(seed, crc);
	crc = crc32c(crc, &pos, 8);
	crc = crc32c(crc, &sample.word, 8);
	crc = crc32c(crc, sample.bytes + 8, 8);
	crc = crc32c(crc, sample.bytes + 24, 8);
	crc = crc32c(crc, sample.bytes + 20, 4);
	crc = crc32c(crc, "\0\0\0", 4);
	crc = crc32c(crc, sample.bytes + 32, 77 - 32);
	ck_assert_uint_eq(record_crc(seed, pos, sample.word, sample.bytes), crc);
	free(sample.bytes);
}
END_TEST

START_TEST(a_record_in_the_wrong_place_never_validates)
{
	struct sample sample = sample_new(64, 0, 0, 0);
	uint32_t seed = record_crc_seed(uuid, 1);
	uint32_t crc = record_crc(seed, 64, sample.word, sample.bytes);
	uint8_t other[16];

	memcpy(other, uuid, 16);
	other[15] ^= 1;
	ck_assert_uint_ne(record_crc(seed, 96, sample.word, sample.bytes), crc);
	ck_assert_uint_ne(record_crc(seed, 64 + (UINT64_C(1) << 32), sample.word, sample.bytes),
			  crc);
	ck_assert_uint_ne(record_crc(record_crc_seed(uuid, 2), 64, sample.word, sample.bytes), crc);
	ck_assert_uint_ne(record_crc(record_crc_seed(other, 1), 64, sample.word, sample.bytes),
			  crc);
	free(sample.bytes);
}
END_TEST

START_TEST(every_bit_but_those_of_the_checksum_itself_counts)
{
	struct sample sample = sample_new(70, 0, 0, 0);
	uint32_t crc = record_crc(1, 64, sample.word, sample.bytes);

	for (unsigned int bit = 64; bit < 70 * 8; bit++) {
		bool is_crc = bit / 8 >= 16 && bit / 8 < 20;

		sample.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		ck_assert_int_eq(record_crc(1, 64, sample.word, sample.bytes) == crc, is_crc);
		sample.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	/* The word that counts is the one given, not the one that stands there still. */
	for (unsigned int bit = 32; bit < 64; bit++)
		ck_assert_uint_ne(record_crc(1, 64, sample.word ^ UINT64_C(1) << bit, sample.bytes),
				  crc);
	free(sample.bytes);
}
END_TEST

/* Encodes a header at *at. */
static void field_put(uint8_t *buf, uint32_t *at, uint16_t name_len, uint16_t value_len)
{
	memcpy(buf + *at, &name_len, 2);
	memcpy(buf + *at + 2, &value_len, 2);
	memset(buf + *at + 4, 'n', name_len);
	memset(buf + *at + 4 + name_len, 'v', value_len);
	*at += 4u + name_len + value_len;
}

START_TEST(headers_are_stepped_through_one_by_one_to_their_exact_end)
{
	uint8_t buf[128] = { 0 };
	uint32_t len = 0, off = 0;
	struct record_field field;

	ck_assert_int_eq(record_headers_next(buf, 0, &off, &field), 0);
	field_put(buf, &len, 3, 5);
	field_put(buf, &len, 0, 0);
	field_put(buf, &len, 1, 40);
	ck_assert_int_eq(record_headers_next(buf, len, &off, &field), 1);
	ck_assert_ptr_eq(field.name, buf + 4);
	ck_assert_uint_eq(field.name_len, 3);
	ck_assert_ptr_eq(field.value, buf + 7);
	ck_assert_uint_eq(field.value_len, 5);
	ck_assert_int_eq(record_headers_next(buf, len, &off, &field), 1);
	ck_assert_uint_eq(field.name_len + field.value_len, 0);
	ck_assert_int_eq(record_headers_next(buf, len, &off, &field), 1);
	ck_assert_uint_eq(field.value_len, 40);
	ck_assert_int_eq(record_headers_next(buf, len, &off, &field), 0);
}
END_TEST

START_TEST(headers_cut_anywhere_are_refused_and_not_read_past_the_cut)
{
	uint8_t whole[64];
	uint32_t len = 0;

	field_put(whole, &len, 6, 9);
	for (uint32_t cut = 1; cut < len; cut++) {
		uint8_t *part = malloc(cut);
		uint32_t off = 0;
		struct record_field field;

		memcpy(part, whole, cut);
		ck_assert_int_eq(record_headers_next(part, cut, &off, &field), -EBADMSG);
		ck_assert_uint_eq(off, 0);
		off = cut + 1;
		ck_assert_int_eq(record_headers_next(part, cut, &off, &field), -EBADMSG);
		free(part);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("shm/record");
	TCase *tcase = tcase_create("record");
	SRunner *runner;
	int failed;

	tcase_add_test(tcase, the_word_holds_length_owner_kind_and_flags_at_their_bits);
	tcase_add_test(tcase, a_record_takes_its_length_rounded_up_to_32);
	tcase_add_test(tcase, a_walk_steps_into_a_batch_and_over_everything_else);
	tcase_add_test(tcase, free_reserved_and_unknown_kinds_are_not_done);
	tcase_add_test(tcase, a_length_out_of_range_is_not_done);
	tcase_add_test(tcase, an_unknown_flag_is_refused);
	tcase_add_test(tcase, a_record_is_taken_apart_into_its_pieces);
	tcase_add_test(tcase, an_empty_record_is_legal);
	tcase_add_test(tcase, pieces_that_exceed_the_length_are_refused_without_a_look_behind_it);
	tcase_add_test(tcase, the_largest_key_and_headers_do_not_wrap_the_sum);
	tcase_add_test(tcase, a_refused_record_leaves_the_result_untouched);
	tcase_add_test(tcase, of_a_tombstone_the_header_alone_is_read);
	tcase_add_test(tcase, the_checksum_covers_what_the_format_says_in_that_order);
	tcase_add_test(tcase, a_record_in_the_wrong_place_never_validates);
	tcase_add_test(tcase, every_bit_but_those_of_the_checksum_itself_counts);
	tcase_add_test(tcase, headers_are_stepped_through_one_by_one_to_their_exact_end);
	tcase_add_test(tcase, headers_cut_anywhere_are_refused_and_not_read_past_the_cut);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
