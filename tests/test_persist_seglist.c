/* SPDX-License-Identifier: Apache-2.0 */
/* Old segments, looked for by position and by time, while their files go or cannot be read. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "persist/file.h"
#include "persist/timeindex.h"
#include "tests/persist_log.h"

enum {
	N_SEGMENTS_MAX = 32
};

static char dir[64];
static struct store_options options;
static struct persist_log ring;
static struct persist_log_store s;
static struct store_segment_info infos[N_SEGMENTS_MAX];
static size_t n_segments;

/* What opening a segment for reading gives from now on. */
static int open_error;

static int fail_open(void *ctx, const struct file_event *event)
{
	(void)ctx;
	return event->kind == FILE_OPEN && event->name && strstr(event->name, ".seg") ? open_error
										      : 0;
}

static const struct file_hooks hooks = { .before = fail_open };

/* A log of several segments, taken up again: of the old ones nothing is known but their names. */
static void setup(void)
{
	persist_log_make_dir(dir);
	persist_log_options(&options, dir, true);
	persist_log_init(&ring, PERSIST_LOG_FIRST, true);
	persist_log_fill(&ring, 3000, 1000);
	persist_log_open(&s, &options, 0);
	ck_assert_int_eq(store_start(s.store, ring.base), 0);
	persist_log_write(&s, &ring, ring.base, 1000);
	n_segments = store_list(s.store, 0, infos, N_SEGMENTS_MAX);
	ck_assert_uint_gt(n_segments, 5);
	persist_log_close(&s);
	persist_log_open(&s, &options, 0);
	ck_assert_int_eq(store_start(s.store, s.recovered.end), 0);
	open_error = 0;
	file_set_hooks(&hooks);
}

static void teardown(void)
{
	persist_log_close(&s);
	persist_log_deinit(&ring);
	persist_log_remove_dir(dir);
}

static void take_away(size_t i)
{
	char path[128];

	persist_log_segment_path(dir, infos[i].base, path);
	ck_assert_int_eq(unlink(path), 0);
}

static uint64_t opened_at(uint64_t pos)
{
	uint64_t base, end;
	bool closed;
	int fd;

	ck_assert_int_eq(store_open_segment(s.store, pos, &base, &end, &closed, &fd), 0);
	close(fd);
	return base;
}

START_TEST(files_that_somebody_took_away_are_stepped_over)
{
	uint64_t pos, base, end;
	char path[128];
	bool closed;
	int fd;

	take_away(1);
	take_away(2);
	ck_assert_uint_eq(opened_at(infos[0].base), infos[0].base);
	ck_assert_uint_eq(opened_at(infos[1].base), infos[3].base);
	/* Known by now, and then gone. */
	ck_assert_uint_eq(opened_at(infos[4].base), infos[4].base);
	take_away(4);
	ck_assert_uint_eq(opened_at(infos[4].base), infos[5].base);
	ck_assert_int_eq(store_seek_pos(s.store, infos[2].base + 32, &pos), 0);
	ck_assert_uint_eq(pos, infos[3].base);
	for (size_t i = 0; i < n_segments && infos[i].base < persist_log_end(&ring); i++)
		if (i != 1 && i != 2 && i != 4)
			take_away(i);
	/* The current one, empty, is what there is. */
	ck_assert_int_eq(store_open_segment(s.store, ring.base, &base, &end, &closed, &fd), 0);
	ck_assert(!closed);
	ck_assert_uint_eq(base, persist_log_end(&ring));
	close(fd);
	/* And without that there is nothing. */
	persist_log_segment_path(dir, base, path);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(store_open_segment(s.store, ring.base, &base, &end, &closed, &fd),
			 STORE_E_END);
}
END_TEST

START_TEST(what_is_no_file_is_stepped_over_as_one_that_is_gone)
{
	char path[128];
	uint64_t pos;

	take_away(2);
	persist_log_segment_path(dir, infos[2].base, path);
	ck_assert_int_eq(symlink("/dev/zero", path), 0);
	/* Nobody asks it where the one before it ends. */
	ck_assert_uint_eq(opened_at(infos[1].base), infos[1].base);
	take_away(1);
	persist_log_segment_path(dir, infos[1].base, path);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_uint_eq(opened_at(infos[1].base), infos[3].base);
	ck_assert_int_eq(store_seek_pos(s.store, infos[2].base + 32, &pos), 0);
	ck_assert_uint_eq(pos, infos[3].base);
	ck_assert_int_eq(store_seek_time(s.store, 1001, &pos), 0);
	ck_assert_uint_lt(pos, infos[1].base);
}
END_TEST

START_TEST(a_successor_that_cannot_be_right_does_not_say_where_a_segment_ends)
{
	struct format_segment header;
	char path[128];
	int fd;

	persist_log_segment_path(dir, infos[3].base, path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(pread(fd, &header, sizeof(header), 0), sizeof(header));
	header.prev_end = infos[2].base - 32;
	format_segment_seal(&header);
	ck_assert_int_eq(pwrite(fd, &header, sizeof(header), 0), sizeof(header));
	close(fd);
	ck_assert_uint_eq(opened_at(infos[2].base), infos[2].base);
	ck_assert_uint_eq(opened_at(infos[3].base - 32), infos[2].base);
}
END_TEST

START_TEST(an_error_that_says_nothing_of_the_segment_is_told)
{
	uint64_t pos, base, end;
	bool closed;
	int fd;

	ck_assert_uint_eq(opened_at(infos[0].base), infos[0].base);
	open_error = -EMFILE;
	ck_assert_int_eq(store_open_segment(s.store, infos[0].base, &base, &end, &closed, &fd),
			 -EMFILE);
	ck_assert_int_eq(store_seek_time(s.store, 1500, &pos), -EMFILE);
	ck_assert_int_eq(store_seek_pos(s.store, infos[1].base, &pos), -EMFILE);
	open_error = 0;
	ck_assert_int_eq(store_seek_time(s.store, 1500, &pos), 0);
	ck_assert_uint_eq(opened_at(infos[0].base), infos[0].base);
}
END_TEST

START_TEST(an_index_that_ends_before_its_segment_is_made_again)
{
	struct format_segment header;
	struct timeindex index = { .entries = NULL };
	uint64_t expected, pos, end;
	char path[128];
	int fd, dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	ck_assert_int_eq(store_seek_time(s.store, 1300, &expected), 0);
	persist_log_segment_path(dir, infos[0].base, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(pread(fd, &header, sizeof(header), 0), sizeof(header));
	close(fd);
	/* Of the first record alone: whoever believes it finds nothing later in this segment. */
	ck_assert_int_eq(timeindex_add(&index, infos[0].base, 1000), 0);
	ck_assert_int_eq(timeindex_store(dir_fd, &header, infos[0].base + 32, &index), 0);
	timeindex_deinit(&index);
	persist_log_close(&s);
	persist_log_open(&s, &options, 0);
	ck_assert_int_eq(store_seek_time(s.store, 1300, &pos), 0);
	ck_assert_uint_eq(pos, expected);
	ck_assert_int_eq(timeindex_load(dir_fd, &header, &index, &end), 0);
	ck_assert_uint_eq(end, infos[0].end);
	timeindex_deinit(&index);
	close(dir_fd);
}
END_TEST

START_TEST(a_segment_that_cannot_be_read_is_as_old_as_its_file)
{
	const struct timespec then[2] = { { .tv_sec = 1000000, .tv_nsec = 7 },
					  { .tv_sec = 1000000, .tv_nsec = 7 } };
	struct store_segment_info info;
	char path[128];

	persist_log_segment_path(dir, infos[0].base, path);
	ck_assert_int_eq(utimensat(AT_FDCWD, path, then, 0), 0);
	open_error = -EACCES;
	for (int i = 0; i < 100; i++) {
		store_tick(s.store);
		while (io_pending(s.io) > 0)
			io_wait(s.io, 1000);
		ck_assert_uint_eq(store_list(s.store, 0, &info, 1), 1);
		if (info.max_ns != 0)
			break;
	}
	ck_assert_uint_eq(info.base, infos[0].base);
	ck_assert_uint_eq(info.max_ns, 1000000 * NS_PER_S + 7);
	open_error = 0;
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("seglist");
	TCase *tc = tcase_create("seglist");
	SRunner *runner;
	int n_failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, files_that_somebody_took_away_are_stepped_over);
	tcase_add_test(tc, what_is_no_file_is_stepped_over_as_one_that_is_gone);
	tcase_add_test(tc, a_successor_that_cannot_be_right_does_not_say_where_a_segment_ends);
	tcase_add_test(tc, an_error_that_says_nothing_of_the_segment_is_told);
	tcase_add_test(tc, an_index_that_ends_before_its_segment_is_made_again);
	tcase_add_test(tc, a_segment_that_cannot_be_read_is_as_old_as_its_file);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
