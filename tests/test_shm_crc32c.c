/* SPDX-License-Identifier: Apache-2.0 */
/* The checksum against the published vectors, against itself, and against a definition in bits. */
#include <check.h>

#include "shm/crc32c.h"
#include "tests/ring_bed.h"

/* Bit by bit, as the polynomial says; shares nothing with what it judges. */
static uint32_t by_definition(uint32_t crc, const uint8_t *p, size_t len)
{
	crc = ~crc;
	for (size_t i = 0; i < len; i++)
		for (int bit = 0; bit < 8; bit++) {
			uint32_t out = (crc ^ (uint32_t)p[i] >> bit) & 1;

			crc = crc >> 1 ^ (out ? 0x82f63b78 : 0);
		}
	return ~crc;
}

START_TEST(the_vectors_of_rfc_3720_come_out)
{
	static const uint8_t read_10[48] = { 0x01,        0xc0,        [16] = 0x14, [22] = 4,
					     [27] = 0x14, [31] = 0x18, [32] = 0x28, [40] = 0x02 };
	uint8_t buf[32];

	ck_assert_uint_eq(crc32c(0, "123456789", 9), 0xe3069283);
	memset(buf, 0, sizeof(buf));
	ck_assert_uint_eq(crc32c(0, buf, sizeof(buf)), 0x8a9136aa);
	memset(buf, 0xff, sizeof(buf));
	ck_assert_uint_eq(crc32c(0, buf, sizeof(buf)), 0x62a8ab43);
	for (unsigned int i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)i;
	ck_assert_uint_eq(crc32c(0, buf, sizeof(buf)), 0x46dd794e);
	for (unsigned int i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(31 - i);
	ck_assert_uint_eq(crc32c(0, buf, sizeof(buf)), 0x113fdb5c);
	ck_assert_uint_eq(crc32c(0, read_10, sizeof(read_10)), 0xd9963a56);
}
END_TEST

START_TEST(nothing_at_all_leaves_the_checksum_as_it_is)
{
	ck_assert_uint_eq(crc32c(0, "", 0), 0);
	ck_assert_uint_eq(crc32c(0x12345678, NULL, 0), 0x12345678);
	ck_assert_uint_eq(crc32c_portable(0x12345678, NULL, 0), 0x12345678);
}
END_TEST

START_TEST(hardware_portable_and_definition_agree_at_every_length_and_alignment)
{
	uint64_t state = ring_bed_seed();
	uint8_t buf[4096 + 16];

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)ring_bed_random(&state);
	for (size_t len = 0; len < 4096; len += len < 600 ? 1 : 97) {
		const uint8_t *p = buf + len % 16;
		uint32_t start = (uint32_t)ring_bed_random(&state);
		uint32_t expected = by_definition(start, p, len);

		ck_assert_uint_eq(crc32c(start, p, len), expected);
		ck_assert_uint_eq(crc32c_portable(start, p, len), expected);
	}
}
END_TEST

START_TEST(a_checksum_goes_on_where_the_last_piece_ended)
{
	uint64_t state = ring_bed_seed();
	uint8_t buf[300];
	uint32_t whole;

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)ring_bed_random(&state);
	whole = crc32c(0, buf, sizeof(buf));
	for (size_t cut = 0; cut <= sizeof(buf); cut++) {
		uint32_t first = crc32c(0, buf, cut);

		ck_assert_uint_eq(crc32c(first, buf + cut, sizeof(buf) - cut), whole);
		ck_assert_uint_eq(crc32c_portable(first, buf + cut, sizeof(buf) - cut), whole);
		ck_assert_uint_eq(crc32c_pair(0, buf, cut, buf + cut, sizeof(buf) - cut), whole);
	}
}
END_TEST

START_TEST(every_single_bit_counts)
{
	uint8_t buf[64] = { 0 };
	uint32_t clean = crc32c(0, buf, sizeof(buf));

	for (unsigned int bit = 0; bit < sizeof(buf) * 8; bit++) {
		buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
		ck_assert_uint_ne(crc32c(0, buf, sizeof(buf)), clean);
		buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("shm/crc32c");
	TCase *tcase = tcase_create("crc32c");
	SRunner *runner;
	int failed;

	tcase_add_test(tcase, the_vectors_of_rfc_3720_come_out);
	tcase_add_test(tcase, nothing_at_all_leaves_the_checksum_as_it_is);
	tcase_add_test(tcase, hardware_portable_and_definition_agree_at_every_length_and_alignment);
	tcase_add_test(tcase, a_checksum_goes_on_where_the_last_piece_ended);
	tcase_add_test(tcase, every_single_bit_counts);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
