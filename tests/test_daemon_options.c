/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>

#include "daemon/options.h"

static struct config config;
static struct permission_subject somebody = { .uid = 4711, .gid = 4712 };
static struct options options;
static char detail[OPTIONS_DETAIL_LEN];

static void setup(void)
{
	config_init(&config);
}

static int parse(const char *text)
{
	json_t *object = json_loads(text, 0, NULL);
	int r;

	ck_assert_ptr_nonnull(object);
	detail[0] = '\0';
	r = options_parse(object, &config, &somebody, &options, detail, sizeof(detail));
	json_decref(object);
	return r;
}

START_TEST(what_is_not_said_has_a_default)
{
	ck_assert_int_eq(parse("{}"), 0);
	ck_assert_uint_eq(options.n_shards, 1);
	ck_assert_uint_eq(options.ring_len, 16 * MIB);
	ck_assert_uint_eq(options.segment_len, 64 * MIB);
	ck_assert_uint_eq(options.policy.claim_timeout_ns, 10 * NS_PER_S);
	ck_assert_int_eq(options.policy.sync, SHARD_SYNC_ALWAYS);
	ck_assert_uint_eq(options.access.owner, 4711);
	ck_assert_uint_eq(options.access.group, 4712);
	ck_assert_uint_eq(options.access.mode, 0600);
	ck_assert_uint_eq(options_flags(&options), GOVERN_F_CHECKSUM);
	ck_assert_str_eq(options.owner, "4711");
	ck_assert_int_eq(options_parse(NULL, &config, &somebody, &options, detail, sizeof(detail)),
			 0);
}
END_TEST

START_TEST(everything_can_be_said)
{
	ck_assert_int_eq(parse("{\"shards\":4,\"ring\":65536,\"segment\":1048576,\"retain_ns\":5,"
			       "\"retain_len\":16777216,\"sync\":1000000,\"full\":\"fail\","
			       "\"on_disk_full\":\"drop-oldest\",\"memory\":false,\"hash\":\"md5\","
			       "\"checksum\":false,\"owner\":\"4711\",\"group\":\"4712\","
			       "\"mode\":420,\"claim_timeout_ns\":1000000,\"rate_limit\":1000}"),
			 0);
	ck_assert_uint_eq(options.n_shards, 4);
	ck_assert_int_eq(options.policy.sync, SHARD_SYNC_INTERVAL);
	ck_assert_uint_eq(options.policy.sync_ns, 1000000);
	ck_assert_int_eq(options.policy.on_disk_full, SHARD_DISK_FULL_DROP_OLDEST);
	ck_assert_uint_eq(options_flags(&options), GOVERN_F_FULL_FAIL | GOVERN_F_HASH_MD5);
	ck_assert_uint_eq(options.access.mode, 0644);
}
END_TEST

START_TEST(nonsense_is_refused_with_a_sentence)
{
	static const char *const bad[] = {
		"{\"shards\":129}",
		"{\"shards\":-1}",
		"{\"shards\":\"4\"}",
		"{\"shards\":1.5}",
		"{\"ring\":65535}",
		"{\"ring\":32768}",
		"{\"ring\":100000}",
		"{\"segment\":1000}",
		"{\"sync\":\"often\"}",
		"{\"sync\":true}",
		"{\"sync\":-1}",
		"{\"sync\":9223372036854775807}",
		"{\"full\":\"maybe\"}",
		"{\"hash\":\"crc\"}",
		"{\"memory\":1}",
		"{\"checksum\":\"on\"}",
		"{\"mode\":512}",
		"{\"mode\":\"0600\"}",
		"{\"owner\":4711}",
		"{\"group\":4712}",
		"{\"unknown\":1}",
		"{\"Ring\":65536}",
		"{\"claim_timeout_ns\":1}",
		"{\"memory\":true,\"retain_len\":1000000}",
		"{\"memory\":true,\"retain_ns\":1000000}",
		"{\"memory\":true,\"segment\":1000000}",
		"{\"ring\":9223372036854775807}",
		"{\"on_disk_full\":\"\"}",
		"{\"rate_limit\":-5}",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		ck_assert_msg(parse(bad[i]) == -EINVAL, "%s", bad[i]);
		ck_assert_msg(strlen(detail) > 10, "%s: %s", bad[i], detail);
	}
}
END_TEST

START_TEST(only_the_privileged_give_streams_to_others)
{
	ck_assert_int_eq(parse("{\"owner\":\"root\"}"), -EACCES);
	ck_assert_int_eq(parse("{\"group\":\"root\"}"), -EACCES);
	ck_assert_int_lt(parse("{\"owner\":\"no-such-user\"}"), 0);
	somebody.uid = 0;
	ck_assert_int_eq(parse("{\"owner\":\"4999\",\"group\":\"4998\"}"), 0);
	ck_assert_uint_eq(options.access.owner, 4999);
	somebody.uid = 4711;
}
END_TEST

START_TEST(segments_fit_ring_and_retention)
{
	/* The default shrinks with the limit ... */
	ck_assert_int_eq(parse("{\"ring\":65536,\"retain_len\":8388608,\"shards\":4}"), 0);
	ck_assert_uint_eq(options.segment_len, MIB);
	/* ... but not below the largest record. */
	ck_assert_int_eq(parse("{\"retain_len\":1048576}"), 0);
	ck_assert_uint_eq(options.segment_len, 4 * MIB + 64 * KIB);
	ck_assert_int_eq(parse("{\"ring\":67108864}"), 0);
	ck_assert_uint_eq(options.segment_len, 64 * MIB);
	/* What was asked for is not changed but refused. */
	ck_assert_int_eq(parse("{\"segment\":4194304}"), -EINVAL);
	ck_assert_int_eq(parse("{\"segment\":67108864,\"retain_len\":67108864}"), -EINVAL);
	ck_assert_ptr_nonnull(strstr(detail, "32M"));
	/* Many open segments alone would be more than the limit. */
	ck_assert_int_eq(parse("{\"shards\":128,\"retain_len\":10000000}"), -EINVAL);
	ck_assert_int_eq(parse("{\"shards\":128,\"ring\":65536,\"retain_len\":16777216}"), 0);
}
END_TEST

START_TEST(set_changes_one_thing_and_says_what)
{
	unsigned int changed = 9;

	ck_assert_int_eq(parse("{\"ring\":65536}"), 0);
	ck_assert_int_eq(options_set(&options, "retain-size", "1G", &somebody, &changed, detail,
				     sizeof(detail)),
			 0);
	ck_assert_uint_eq(changed, OPTIONS_CHANGED_POLICY);
	ck_assert_uint_eq(options.retain_len, GIB);
	ck_assert_int_eq(options_set(&options, "sync", "10ms", &somebody, &changed, detail,
				     sizeof(detail)),
			 0);
	ck_assert_uint_eq(changed, OPTIONS_CHANGED_POLICY);
	ck_assert_int_eq(options.policy.sync, SHARD_SYNC_INTERVAL);
	ck_assert_int_eq(options_set(&options, "ring", "1M", &somebody, &changed, detail,
				     sizeof(detail)),
			 0);
	ck_assert_uint_eq(changed, OPTIONS_CHANGED_RING);
	ck_assert_int_eq(options_set(&options, "mode", "0644", &somebody, &changed, detail,
				     sizeof(detail)),
			 0);
	ck_assert_uint_eq(options.access.mode, 0644);
	ck_assert_int_eq(options_set(&options, "retain-time", "0", &somebody, &changed, detail,
				     sizeof(detail)),
			 0);
}
END_TEST

START_TEST(set_refuses_and_leaves_everything_as_it_was)
{
	static const char *const bad[][2] = {
		{ "nonsense", "1" },
		{ "shards", "4" },
		{ "ring", "100K" },
		{ "ring", "" },
		{ "retain-size", "much" },
		{ "retain-time", "5" },
		{ "mode", "9" },
		{ "mode", "" },
		{ "mode", "77777" },
		{ "sync", "" },
		{ "full", "open" },
		{ "on-disk-full", "go" },
		{ "claim-timeout", "0" },
		{ "claim-timeout", "2d" },
		{ "rate-limit", "-1" },
		/* its segments were made for records of a smaller ring */
		{ "ring", "1G" },
	};
	struct options before;
	unsigned int changed;

	ck_assert_int_eq(parse("{\"ring\":65536,\"segment\":1048576}"), 0);
	before = options;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		int r = options_set(&options, bad[i][0], bad[i][1], &somebody, &changed, detail,
				    sizeof(detail));

		ck_assert_msg(r == -EINVAL, "%s=%s gives %d", bad[i][0], bad[i][1], r);
		ck_assert_mem_eq(&options, &before, sizeof(options));
	}
	ck_assert_int_eq(options_set(&options, "owner", "root", &somebody, &changed, detail,
				     sizeof(detail)),
			 -EACCES);
}
END_TEST

START_TEST(what_goes_to_disk_cannot_be_set_on_a_memory_only_stream)
{
	static const char *const keys[] = { "retain-time", "retain-size" };
	unsigned int changed;

	ck_assert_int_eq(parse("{\"memory\":true}"), 0);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		ck_assert_int_eq(options_set(&options, keys[i], "1000000", &somebody, &changed,
					     detail, sizeof(detail)),
				 -EINVAL);
		ck_assert_ptr_nonnull(strstr(detail, keys[i]));
	}
}
END_TEST

START_TEST(numbers_of_the_catalogue_that_nobody_can_live_with_are_not_believed)
{
	ck_assert_int_eq(parse("{}"), 0);
	ck_assert(options_are_possible(&options));
	for (int i = 0; i < 8; i++) {
		struct options bad = options;

		bad.n_shards = i == 0 ? 0 : i == 1 ? OPTIONS_SHARDS_MAX + 1 : 1;
		bad.access.mode |= i == 2 ? 01000 : 0;
		bad.ring_len = i == 3 ? UINT64_C(1) << 62 : i == 4 ? 32768 : bad.ring_len;
		bad.policy.claim_timeout_ns = i == 5 ? 1 : bad.policy.claim_timeout_ns;
		bad.segment_len = i == 6 ? 0 : i == 7 ? UINT64_MAX : bad.segment_len;
		ck_assert_msg(!options_are_possible(&bad), "case %d", i);
		/* What has no segments may say of them what it likes. */
		bad.memory = true;
		ck_assert_int_eq(options_are_possible(&bad), i > 5);
	}
}
END_TEST

START_TEST(words_of_the_catalogue_are_known_or_refused)
{
	enum shard_disk_full disk_full;
	enum shard_sync sync;

	for (int i = SHARD_SYNC_ALWAYS; i <= SHARD_SYNC_INTERVAL; i++) {
		ck_assert_int_eq(
			options_parse_sync_name(options_sync_name((enum shard_sync)i), &sync), 0);
		ck_assert_int_eq(sync, i);
	}
	ck_assert_int_eq(options_parse_sync_name("often", &sync), -EINVAL);
	ck_assert_int_eq(options_parse_disk_full_name("drop-oldest", &disk_full), 0);
	ck_assert_int_eq(disk_full, SHARD_DISK_FULL_DROP_OLDEST);
	ck_assert_int_eq(options_parse_disk_full_name("drop", &disk_full), -EINVAL);
}
END_TEST

START_TEST(a_description_can_be_created_again)
{
	struct options first;
	json_t *object, *number;

	ck_assert_int_eq(parse("{\"shards\":2,\"ring\":131072,\"retain_len\":33554432,"
			       "\"sync\":\"none\",\"full\":\"fail\"}"),
			 0);
	first = options;
	object = options_to_json(&options);
	ck_assert_ptr_nonnull(object);
	number = json_object_get(object, "shards");
	ck_assert_int_eq(json_integer_value(number), 2);
	ck_assert_int_eq(
		options_parse(object, &config, &somebody, &options, detail, sizeof(detail)), 0);
	ck_assert_mem_eq(&options, &first, sizeof(options));
	json_decref(object);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("options");
	TCase *tc = tcase_create("options");
	SRunner *runner = srunner_create(suite);
	int n_failed;

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, what_is_not_said_has_a_default);
	tcase_add_test(tc, everything_can_be_said);
	tcase_add_test(tc, nonsense_is_refused_with_a_sentence);
	tcase_add_test(tc, only_the_privileged_give_streams_to_others);
	tcase_add_test(tc, segments_fit_ring_and_retention);
	tcase_add_test(tc, set_changes_one_thing_and_says_what);
	tcase_add_test(tc, set_refuses_and_leaves_everything_as_it_was);
	tcase_add_test(tc, what_goes_to_disk_cannot_be_set_on_a_memory_only_stream);
	tcase_add_test(tc, numbers_of_the_catalogue_that_nobody_can_live_with_are_not_believed);
	tcase_add_test(tc, words_of_the_catalogue_are_known_or_refused);
	tcase_add_test(tc, a_description_can_be_created_again);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
