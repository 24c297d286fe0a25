/* SPDX-License-Identifier: Apache-2.0 */
/* The file beside a segment that says where its times are: believed when it is that very one's. */
#include <fcntl.h>
#include <sys/stat.h>

#include "persist/timeindex.h"
#include "tests/persist_log.h"

static const uint64_t base = PERSIST_LOG_FIRST;
static struct format_segment header;

static void setup(void)
{
	header = (struct format_segment){ .shard = PERSIST_LOG_SHARD,
					  .base = PERSIST_LOG_FIRST,
					  .prev_end = PERSIST_LOG_FIRST,
					  .epoch = 7,
					  .created_ns = 123 };
	memcpy(header.stream_uuid, persist_log_uuid, 16);
	format_segment_seal(&header);
}

START_TEST(an_index_belongs_to_one_very_segment)
{
	struct timeindex index = { .entries = NULL }, loaded;
	char dir[64], path[128];
	uint64_t end, i;
	int dir_fd;

	persist_log_make_dir(dir);
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY);
	for (i = 0; i < 10; i++)
		ck_assert_int_eq(timeindex_add(&index, base + i * 300000 / 32 * 32, i), 0);
	ck_assert_int_eq(timeindex_load(dir_fd, &header, &loaded, &end), -ENOENT);
	ck_assert_int_eq(timeindex_store(dir_fd, &header, base + 3200000, &index), 0);
	ck_assert_int_eq(timeindex_load(dir_fd, &header, &loaded, &end), 0);
	ck_assert_uint_eq(end, base + 3200000);
	ck_assert_uint_eq(loaded.n_entries, 10);
	ck_assert_uint_eq(loaded.max_ns, 9);
	timeindex_deinit(&loaded);
	header.epoch++;
	ck_assert_int_eq(timeindex_load(dir_fd, &header, &loaded, &end), -EBADMSG);
	header.epoch--;
	header.created_ns++;
	ck_assert_int_eq(timeindex_load(dir_fd, &header, &loaded, &end), -EBADMSG);
	header.created_ns--;
	header.shard++;
	ck_assert_int_eq(timeindex_load(dir_fd, &header, &loaded, &end), -EBADMSG);
	header.shard--;
	persist_log_segment_path(dir, base, path);
	memcpy(path + strlen(path) - 3, "idx", 3);
	for (i = 0; i < 128 + 160; i++) {
		persist_log_poke(path, i, NULL, 1);
		ck_assert_int_eq(timeindex_load(dir_fd, &header, &loaded, &end), -EBADMSG);
		persist_log_poke(path, i, NULL, 1);
	}
	ck_assert_int_eq(truncate(path, 200), 0);
	ck_assert_int_eq(timeindex_load(dir_fd, &header, &loaded, &end), -EBADMSG);
	timeindex_deinit(&index);
	close(dir_fd);
	persist_log_remove_dir(dir);
}
END_TEST

START_TEST(an_index_whose_entries_cannot_be_is_not_believed)
{
	struct format_index_entry entries[3];
	struct timeindex index = { .entries = entries, .n_entries = 3, .max_ns = 9 }, loaded;
	uint64_t end = base + 640, got;
	char dir[64], path[128];
	int dir_fd;

	persist_log_make_dir(dir);
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 8; i++) {
		for (uint64_t k = 0; k < 3; k++)
			entries[k] = (struct format_index_entry){ base + k * 32, k };
		entries[0].pos += i == 1 ? 32 : 0;
		entries[1].pos += i == 2 ? 1 : 0;
		entries[2].pos -= i == 3 ? 32 : 0;
		entries[2].pos += i == 4 ? 640 : 0;
		entries[2].max_ns += i == 5 ? 9 : 0;
		end = i == 6 ? base - 32 : i == 7 ? base + 641 : base + 640;
		ck_assert_int_eq(timeindex_store(dir_fd, &header, end, &index), 0);
		ck_assert_msg(timeindex_load(dir_fd, &header, &loaded, &got) ==
				      (i == 0 ? 0 : -EBADMSG),
			      "case %d", i);
		if (i == 0)
			timeindex_deinit(&loaded);
	}
	/* One that says nothing is one. */
	index.n_entries = 0;
	ck_assert_int_eq(timeindex_store(dir_fd, &header, base, &index), 0);
	ck_assert_int_eq(timeindex_load(dir_fd, &header, &loaded, &got), 0);
	ck_assert_uint_eq(loaded.n_entries, 0);
	timeindex_deinit(&loaded);
	index.n_entries = 3;
	persist_log_segment_path(dir, base, path);
	memcpy(path + strlen(path) - 3, "idx", 3);
	ck_assert_int_eq(truncate(path, 100), 0);
	ck_assert_int_eq(timeindex_load(dir_fd, &header, &loaded, &got), -EBADMSG);
	ck_assert_int_eq(truncate(path, 65 << 20), 0);
	ck_assert_int_eq(timeindex_load(dir_fd, &header, &loaded, &got), -EBADMSG);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(timeindex_load(dir_fd, &header, &loaded, &got), -EBADMSG);
	ck_assert_int_eq(timeindex_store(dir_fd, &header, end, &index), -EISDIR);
	ck_assert_int_eq(rmdir(path), 0);
	close(dir_fd);
	persist_log_remove_dir(dir);
}
END_TEST

START_TEST(a_time_that_no_stretch_reaches_is_in_none)
{
	struct format_index_entry entries[2] = { { 0, 3 }, { 32, 5 } };
	struct timeindex index = { .entries = entries, .n_entries = 2, .max_ns = 7 };

	ck_assert_uint_eq(timeindex_first_stretch(&index, 3), 0);
	ck_assert_uint_eq(timeindex_first_stretch(&index, 4), 32);
	ck_assert_uint_eq(timeindex_first_stretch(&index, 6), UINT64_MAX);
	ck_assert_uint_eq(timeindex_first_stretch(&index, 8), UINT64_MAX);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("timeindex");
	TCase *tc = tcase_create("timeindex");
	SRunner *runner;
	int n_failed;

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, an_index_belongs_to_one_very_segment);
	tcase_add_test(tc, an_index_whose_entries_cannot_be_is_not_believed);
	tcase_add_test(tc, a_time_that_no_stretch_reaches_is_in_none);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
