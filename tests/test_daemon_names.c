/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>

#include "daemon/names.h"

START_TEST(names_that_can_be_directories_are_valid)
{
	static const char *const good[] = { "a", "events", "A.b_c-9", "-x", "0", "a..b" };
	static const char *const bad[] = { "",    ".",   "..",       ".hidden", "a/b",
					   "a b", "a\n", "\xc3\xa4", "a:b",     "a%" };
	char longest[NAMES_STREAM_MAX + 2];

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		ck_assert_msg(names_is_valid(good[i]), "%s", good[i]);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_msg(!names_is_valid(bad[i]), "%s", bad[i]);
	memset(longest, 'x', sizeof(longest));
	longest[NAMES_STREAM_MAX] = '\0';
	ck_assert(names_is_valid(longest));
	longest[NAMES_STREAM_MAX] = 'x';
	longest[NAMES_STREAM_MAX + 1] = '\0';
	ck_assert(!names_is_valid(longest));
}
END_TEST

START_TEST(a_client_cannot_write_on_our_terminal)
{
	char client[NAMES_CLIENT_LEN], much[300];

	names_copy_client(client, "tool\033[2J\n\x7f\xff");
	ck_assert_str_eq(client, "tool?[2J???");
	memset(much, 'a', sizeof(much));
	much[sizeof(much) - 1] = '\0';
	names_copy_client(client, much);
	ck_assert_uint_eq(strlen(client), NAMES_CLIENT_LEN - 1);
}
END_TEST

START_TEST(users_and_groups_go_by_name_or_number)
{
	char name[NAMES_USER_LEN];
	uid_t uid;
	gid_t gid;

	ck_assert_int_eq(names_parse_user("root", &uid), 0);
	ck_assert_uint_eq(uid, 0);
	ck_assert_int_eq(names_parse_user("4294967294", &uid), 0);
	ck_assert_uint_eq(uid, 4294967294u);
	ck_assert_int_lt(names_parse_user("4294967295", &uid), 0);
	ck_assert_int_lt(names_parse_user("no-such-user-here", &uid), 0);
	ck_assert_int_eq(names_parse_group("root", &gid), 0);
	ck_assert_int_lt(names_parse_group("no-such-group-here", &gid), 0);
	names_print_user(0, name);
	ck_assert_str_eq(name, "root");
	names_print_user(3999999999u, name);
	ck_assert_str_eq(name, "3999999999");
}
END_TEST

START_TEST(a_uuid_comes_back_as_it_went)
{
	uint8_t uuid[16], back[16];
	char hex[33], text[NAMES_UUID_LEN];

	for (int i = 0; i < 16; i++)
		uuid[i] = (uint8_t)(i * 17 + 1);
	names_print_uuid_hex(uuid, hex);
	ck_assert_int_eq(names_parse_uuid_hex(hex, back), 0);
	ck_assert_mem_eq(uuid, back, 16);
	names_print_uuid(uuid, text);
	ck_assert_uint_eq(strlen(text), 36);
	ck_assert(text[8] == '-' && text[13] == '-' && text[18] == '-' && text[23] == '-');
}
END_TEST

START_TEST(a_uuid_has_thirty_two_small_digits)
{
	static const char bad[] = "/:`gGA-";
	const char *good = "0123456789abcdef0123456789abcdef";
	uint8_t before[16] = { 1, 2, 3 }, uuid[16];
	char hex[33];

	memcpy(uuid, before, 16);
	/* The string's end is none of them: nothing behind it is looked at. */
	for (size_t place = 0; place < 32; place++) {
		for (size_t i = 0; i < sizeof(bad); i++) {
			memcpy(hex, good, sizeof(hex));
			hex[place] = bad[i];
			ck_assert_int_eq(names_parse_uuid_hex(hex, uuid), -EINVAL);
		}
	}
	ck_assert_mem_eq(uuid, before, 16);
	ck_assert_int_eq(names_parse_uuid_hex(good, uuid), 0);
	ck_assert_uint_eq(uuid[15], 0xef);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("names");
	TCase *tc = tcase_create("names");
	SRunner *runner = srunner_create(suite);
	int n_failed;

	tcase_add_test(tc, names_that_can_be_directories_are_valid);
	tcase_add_test(tc, a_client_cannot_write_on_our_terminal);
	tcase_add_test(tc, users_and_groups_go_by_name_or_number);
	tcase_add_test(tc, a_uuid_comes_back_as_it_went);
	tcase_add_test(tc, a_uuid_has_thirty_two_small_digits);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
