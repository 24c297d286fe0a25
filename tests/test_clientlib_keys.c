/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdio.h>

#include "clientlib/keys.h"
#include "clientlib/md5.h"

static void hex(const uint8_t digest[MD5_LEN], char text[2 * MD5_LEN + 1])
{
	unsigned int i;

	for (i = 0; i < MD5_LEN; i++)
		snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

/* RFC 1321, section A.5. */
START_TEST(md5_gives_the_digests_of_its_specification)
{
	static const char *const suite[][2] = {
		{ "", "d41d8cd98f00b204e9800998ecf8427e" },
		{ "a", "0cc175b9c0f1b6a831c399e269772661" },
		{ "abc", "900150983cd24fb0d6963f7d28e17f72" },
		{ "message digest", "f96b697d7cb7938d525a2f31aaf161d0" },
		{ "abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b" },
		{ "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
		  "d174ab98d277d9f5a5611c2c9f419d9f" },
		{ "1234567890123456789012345678901234567890"
		  "1234567890123456789012345678901234567890",
		  "57edf4a22be3c955ac49da2e2107b67a" },
	};
	uint8_t digest[MD5_LEN];
	char text[2 * MD5_LEN + 1];
	size_t i;

	for (i = 0; i < ARRAY_LEN(suite); i++) {
		md5(suite[i][0], strlen(suite[i][0]), digest);
		hex(digest, text);
		ck_assert_str_eq(text, suite[i][1]);
	}
}
END_TEST

/* md5sum's answers, around the lengths at which the padding takes another block. */
START_TEST(md5_pads_right_around_a_block)
{
	static const struct {
		size_t len;
		const char *digest;
	} suite[] = {
		{ 55, "ef1772b6dff9a122358552954ad0df65" },
		{ 56, "3b0c8ac703f828b04c6c197006d17218" },
		{ 63, "b06521f39153d618550606be297466d5" },
		{ 64, "014842d480b571495a4a0363793f7367" },
		{ 65, "c743a45e0d2e6a95cb859adae0248435" },
	};
	uint8_t digest[MD5_LEN];
	char text[2 * MD5_LEN + 1], as[65];
	size_t i;

	memset(as, 'a', sizeof(as));
	for (i = 0; i < ARRAY_LEN(suite); i++) {
		md5(as, suite[i].len, digest);
		hex(digest, text);
		ck_assert_str_eq(text, suite[i].digest);
	}
}
END_TEST

static keys_hash number(uint64_t hi, uint64_t lo)
{
	return (keys_hash)hi << 64 | lo;
}

/* From the sanity test of the xxHash library: its buffer's first bytes, seed 0. */
START_TEST(xxh3_hashes_are_those_that_the_library_publishes)
{
	uint64_t state = 2654435761u;
	uint8_t bytes[6];
	size_t i;

	for (i = 0; i < sizeof(bytes); i++) {
		bytes[i] = (uint8_t)(state >> 56);
		state *= UINT64_C(11400714785074694797);
	}
	ck_assert(keys_hash_of(KEYS_XXH3, "", 0) ==
		  number(UINT64_C(0x99aa06d3014798d8), UINT64_C(0x6001c324468d497f)));
	ck_assert(keys_hash_of(KEYS_XXH3, bytes, 1) ==
		  number(UINT64_C(0xa6cd5e9392000f6a), UINT64_C(0xc44bdff4074eecdb)));
	ck_assert(keys_hash_of(KEYS_XXH3, bytes, 6) ==
		  number(UINT64_C(0x082afe0b8162d12a), UINT64_C(0x3e7039bdda43cfc6)));
}
END_TEST

START_TEST(an_md5_hash_is_the_digest_as_a_big_endian_number)
{
	ck_assert(keys_hash_of(KEYS_MD5, "abc", 3) ==
		  number(UINT64_C(0x900150983cd24fb0), UINT64_C(0xd6963f7d28e17f72)));
}
END_TEST

/*
 * Kinesis cuts three shards at 113427455640312821154458202477256070485 and
 * 226854911280625642308916404954512140970: multiples of floor(2^128 / 3).
 */
START_TEST(three_shards_are_cut_where_kinesis_cuts_them)
{
	keys_hash first = number(UINT64_C(0x5555555555555555), UINT64_C(0x5555555555555555));
	struct keys_map map;

	keys_map_init(&map, KEYS_MD5, 3);
	ck_assert_uint_eq(keys_shard_of_hash(&map, 0), 0);
	ck_assert_uint_eq(keys_shard_of_hash(&map, first - 1), 0);
	ck_assert_uint_eq(keys_shard_of_hash(&map, first), 1);
	ck_assert_uint_eq(keys_shard_of_hash(&map, 2 * first - 1), 1);
	ck_assert_uint_eq(keys_shard_of_hash(&map, 2 * first), 2);
	ck_assert_uint_eq(keys_shard_of_hash(&map, ~(keys_hash)0), 2);
}
END_TEST

START_TEST(every_range_begins_at_its_multiple_for_any_number_of_shards)
{
	uint32_t n, i;

	for (n = 1; n <= 128; n++) {
		keys_hash range = ~(keys_hash)0 / n;
		struct keys_map map;

		if ((n & (n - 1)) == 0)
			range++;
		keys_map_init(&map, KEYS_XXH3, n);
		ck_assert_uint_eq(keys_shard_of_hash(&map, ~(keys_hash)0), n - 1);
		for (i = 1; i < n; i++) {
			ck_assert_uint_eq(keys_shard_of_hash(&map, range * i), i);
			ck_assert_uint_eq(keys_shard_of_hash(&map, range * i - 1), i - 1);
		}
	}
}
END_TEST

START_TEST(keys_spread_evenly)
{
	uint32_t counts[7] = { 0 }, i;
	struct keys_map map;
	char key[16];

	keys_map_init(&map, KEYS_XXH3, ARRAY_LEN(counts));
	for (i = 0; i < 70000; i++)
		counts[keys_shard(&map, key, (size_t)snprintf(key, sizeof(key), "key %u", i))]++;
	for (i = 0; i < ARRAY_LEN(counts); i++) {
		ck_assert_uint_gt(counts[i], 9500);
		ck_assert_uint_lt(counts[i], 10500);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("keys");
	TCase *tc = tcase_create("keys");
	SRunner *runner;
	int n_failed;

	tcase_add_test(tc, md5_gives_the_digests_of_its_specification);
	tcase_add_test(tc, md5_pads_right_around_a_block);
	tcase_add_test(tc, xxh3_hashes_are_those_that_the_library_publishes);
	tcase_add_test(tc, an_md5_hash_is_the_digest_as_a_big_endian_number);
	tcase_add_test(tc, three_shards_are_cut_where_kinesis_cuts_them);
	tcase_add_test(tc, every_range_begins_at_its_multiple_for_any_number_of_shards);
	tcase_add_test(tc, keys_spread_evenly);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
