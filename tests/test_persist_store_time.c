/* SPDX-License-Identifier: Apache-2.0 */
/* Records of a time, found by the index of a segment. */
#include "tests/persist_log.h"

static char dir[64];
static struct store_options options;
static struct persist_log ring; /* stands for it */
static struct persist_log_store s;

static void setup(void)
{
	persist_log_make_dir(dir);
	persist_log_options(&options, dir, true);
	persist_log_init(&ring, PERSIST_LOG_FIRST, true);
	persist_log_fill(&ring, 3000, 1000);
	persist_log_open(&s, &options, 0);
	ck_assert_int_eq(store_start(s.store, s.recovered.end), 0);
	persist_log_write(&s, &ring, ring.base, 2000);
}

static void teardown(void)
{
	persist_log_deinit(&ring);
	persist_log_remove_dir(dir);
}

START_TEST(a_time_is_found_in_old_segments_in_the_new_one_and_nowhere)
{
	uint64_t pos, word, ns, at;

	for (at = ring.base; at < persist_log_end(&ring); at += record_span((uint32_t)word)) {
		memcpy(&word, ring.bytes + (at - ring.base), 8);
		memcpy(&ns, ring.bytes + (at - ring.base) + 8, 8);
		if (record_word_kind(word) != RECORD_COMMITTED || ns % 7 != 0)
			continue;
		ck_assert_int_eq(store_seek_time(s.store, ns, &pos), 0);
		ck_assert_uint_eq(pos, at);
	}
	ck_assert_int_eq(store_seek_time(s.store, 0, &pos), 0);
	ck_assert_uint_eq(pos, ring.base);
	ck_assert_int_eq(store_seek_time(s.store, 100000, &pos), STORE_E_END);
	ck_assert_uint_eq(pos, persist_log_end(&ring));
	ck_assert_int_eq(store_seek_pos(s.store, 0, &pos), 0);
	ck_assert_uint_eq(pos, ring.base);
	ck_assert_int_eq(store_seek_pos(s.store, pos + 1, &pos), 0);
	ck_assert_uint_eq(pos, ring.base + 32);
	ck_assert_int_eq(store_seek_pos(s.store, UINT64_MAX, &pos), STORE_E_END);
	persist_log_close(&s);
}
END_TEST

START_TEST(a_lost_or_damaged_index_is_made_again)
{
	uint64_t pos, expected;
	char path[128];

	ck_assert_int_eq(store_seek_time(s.store, 1100, &expected), 0);
	persist_log_close(&s);
	persist_log_segment_path(dir, ring.base, path);
	memcpy(path + strlen(path) - 3, "idx", 3);
	for (int i = 0; i < 2; i++) {
		if (i == 0)
			persist_log_poke(path, 100 + (uint64_t)i, NULL, 1);
		else
			ck_assert_int_eq(unlink(path), 0);
		persist_log_open(&s, &options, 0);
		ck_assert_int_eq(store_seek_time(s.store, 1100, &pos), 0);
		ck_assert_uint_eq(pos, expected);
		ck_assert_int_eq(access(path, F_OK), 0);
		persist_log_close(&s);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store_time");
	TCase *tc = tcase_create("store_time");
	SRunner *runner;
	int n_failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_time_is_found_in_old_segments_in_the_new_one_and_nowhere);
	tcase_add_test(tc, a_lost_or_damaged_index_is_made_again);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
