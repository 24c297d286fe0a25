/* SPDX-License-Identifier: Apache-2.0 */
/* A shard's directory goes with all that is the shard's, and with nothing else. */
#include <fcntl.h>
#include <stdio.h>

#include "tests/persist_log.h"

static char dir[64];
static struct store_options options;
static struct persist_log ring;
static struct persist_log_store s;

static void setup(void)
{
	persist_log_make_dir(dir);
	persist_log_options(&options, dir, true);
	persist_log_init(&ring, PERSIST_LOG_FIRST, true);
}

static void teardown(void)
{
	persist_log_deinit(&ring);
}

START_TEST(a_removed_shard_leaves_nothing)
{
	persist_log_fill(&ring, 1000, 1);
	persist_log_open(&s, &options, 0);
	ck_assert_int_eq(store_start(s.store, s.recovered.end), 0);
	persist_log_write(&s, &ring, ring.base, 2000);
	persist_log_close(&s);
	ck_assert_int_eq(store_remove(dir), 0);
	ck_assert_int_eq(access(dir, F_OK), -1);
	ck_assert_int_eq(store_remove(dir), -ENOENT);
}
END_TEST

START_TEST(a_strange_file_is_not_removed_with_a_shard)
{
	static const char *const names[] = { "notes", "abcdefghijklmnopqrst.seg",
					     "00000000000000004096.txt" };
	char path[256];

	persist_log_open(&s, &options, 0);
	ck_assert_int_eq(store_start(s.store, s.recovered.end), 0);
	persist_log_close(&s);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
		ck_assert_int_eq(store_remove(dir), -ENOTEMPTY);
		ck_assert_int_eq(unlink(path), 0);
	}
	ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("segment");
	TCase *tc = tcase_create("segment");
	SRunner *runner;
	int n_failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_removed_shard_leaves_nothing);
	tcase_add_test(tc, a_strange_file_is_not_removed_with_a_shard);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
