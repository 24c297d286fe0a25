/* SPDX-License-Identifier: Apache-2.0 */
/* Headers whose checksum is right and whose numbers make no sense, as a strange writer's are. */
#include <check.h>

#include "persist/format.h"
#include "shm/crc32c.h"

START_TEST(a_sealed_segment_header_has_to_make_sense)
{
	struct format_segment good = { .base = 4096, .prev_end = 4096, .epoch = 1 }, bad;

	format_segment_seal(&good);
	ck_assert_int_eq(format_segment_check(&good), 0);
	bad = good;
	bad.prev_end = 4096 + 32;
	format_segment_seal(&bad);
	ck_assert_int_eq(format_segment_check(&bad), -EBADMSG);
	bad = good;
	bad.prev_end = 4096 - 1;
	format_segment_seal(&bad);
	ck_assert_int_eq(format_segment_check(&bad), -EBADMSG);
	bad = good;
	bad.base = FORMAT_POS_END;
	format_segment_seal(&bad);
	ck_assert_int_eq(format_segment_check(&bad), -EBADMSG);
	bad = good;
	bad.flags = FORMAT_F_KNOWN + 1;
	format_segment_seal(&bad);
	ck_assert_int_eq(format_segment_check(&bad), -EPROTONOSUPPORT);
}
END_TEST

START_TEST(a_header_of_a_version_to_come_is_told_from_a_damaged_one)
{
	struct format_checkpoint good = { .sequence = 1, .durable = 64, .reserved_until = 64 };
	static const int want[] = { -EPROTONOSUPPORT, -EPROTONOSUPPORT, -EBADMSG, 0, 0 };
	struct format_checkpoint bad;

	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		format_checkpoint_seal(&good);
		bad = good;
		bad.major = (uint16_t)(bad.major + (i == 0));
		bad.incompat |= i == 1;
		bad.len += i == 2 ? 64 : 0;
		bad.minor = (uint16_t)(bad.minor + (i == 3));
		bad.compat |= i == 4;
		bad.crc = 0;
		bad.crc = crc32c(0, &bad, sizeof(bad));
		ck_assert_int_eq(format_checkpoint_check(&bad), want[i]);
		/* Who cannot tell that it is whole cannot tell its version. */
		bad.crc++;
		ck_assert_int_eq(format_checkpoint_check(&bad), -EBADMSG);
	}
}
END_TEST

START_TEST(a_sealed_checkpoint_has_to_make_sense)
{
	struct format_checkpoint good = { .sequence = 1, .durable = 64, .reserved_until = 64 };
	struct format_checkpoint bad;

	format_checkpoint_seal(&good);
	ck_assert_int_eq(format_checkpoint_check(&good), 0);
	bad = good;
	bad.sequence = 0;
	format_checkpoint_seal(&bad);
	ck_assert_int_eq(format_checkpoint_check(&bad), -EBADMSG);
	bad = good;
	bad.durable = 96;
	format_checkpoint_seal(&bad);
	ck_assert_int_eq(format_checkpoint_check(&bad), -EBADMSG);
	bad = good;
	bad.durable = 33;
	format_checkpoint_seal(&bad);
	ck_assert_int_eq(format_checkpoint_check(&bad), -EBADMSG);
	bad = good;
	bad.reserved_until = FORMAT_POS_END;
	format_checkpoint_seal(&bad);
	ck_assert_int_eq(format_checkpoint_check(&bad), -EBADMSG);
}
END_TEST

START_TEST(an_index_is_as_long_as_its_entries_say)
{
	struct {
		struct format_index header;
		struct format_index_entry entries[2];
	} index = { .header = { .n_entries = 2 } };

	format_index_seal(&index.header);
	ck_assert_int_eq(format_index_check(&index.header, sizeof(index)), 0);
	ck_assert_int_eq(format_index_check(&index.header, sizeof(index) - 16), -EBADMSG);
	ck_assert_int_eq(format_index_check(&index.header, sizeof(index.header) - 1), -EBADMSG);
	/* So many that their length in bytes comes round. */
	index.header.n_entries = (UINT64_C(1) << 60) + 2;
	ck_assert_int_eq(format_index_check(&index.header, sizeof(index)), -EBADMSG);
}
END_TEST

START_TEST(only_names_of_twenty_digits_that_are_a_position_are_segments)
{
	static const char *const bad[] = {
		"",
		"0",
		"00000000000000004096.idx",
		"0000000000000000409a.seg",
		"00000000000000004097.seg",
		"00000000000000004096.segx",
		"0000000000000004096.seg",
		"99999999999999999999.seg",
		"04611686018427387904.seg",
	};
	uint64_t base = 0;

	ck_assert(format_segment_base("00000000000000004096.seg", &base));
	ck_assert_uint_eq(base, 4096);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_msg(!format_segment_base(bad[i], &base), "%s", bad[i]);
	ck_assert_uint_eq(base, 4096);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("format");
	TCase *tc = tcase_create("format");
	SRunner *runner;
	int n_failed;

	tcase_add_test(tc, a_sealed_segment_header_has_to_make_sense);
	tcase_add_test(tc, a_header_of_a_version_to_come_is_told_from_a_damaged_one);
	tcase_add_test(tc, a_sealed_checkpoint_has_to_make_sense);
	tcase_add_test(tc, an_index_is_as_long_as_its_entries_say);
	tcase_add_test(tc, only_names_of_twenty_digits_that_are_a_position_are_segments);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
