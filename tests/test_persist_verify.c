/* SPDX-License-Identifier: Apache-2.0 */
/* What is found in a directory that somebody else has had his hands in. */
#include <fcntl.h>
#include <stdio.h>

#include "persist/checkpoint.h"
#include "persist/file.h"
#include "persist/verify.h"
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
static unsigned int found[8];
static struct verify_finding last_found[8];
static struct verify_stats stats;

enum {
	THE_CHECKPOINT = 1, /* no segment begins there */
};

/* Reading this segment's header, or the checkpoint, gives this. */
static uint64_t failing_base;
static int failing_with;

static bool is_failing(const struct file_event *event)
{
	char link[64], path[256], name[128];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", event->fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0)
		return false;
	path[n] = '\0';
	if (failing_base == THE_CHECKPOINT)
		snprintf(name, sizeof(name), "%s/%s", dir, FORMAT_CHECKPOINT_NAME);
	else
		persist_log_segment_path(dir, failing_base, name);
	return strcmp(path, name) == 0;
}

static int fail_header(void *ctx, const struct file_event *event)
{
	(void)ctx;
	if (failing_with != 0 && event->kind == FILE_READ && event->off == 0 && is_failing(event))
		return failing_with;
	return 0;
}

static const struct file_hooks hooks = { .before = fail_header };

/* A log of several segments, closed properly. */
static void setup(void)
{
	persist_log_make_dir(dir);
	persist_log_options(&options, dir, true);
	persist_log_init(&ring, PERSIST_LOG_FIRST, true);
	persist_log_fill(&ring, 2000, 1);
	persist_log_open(&s, &options, 0);
	ck_assert_int_eq(store_start(s.store, ring.base), 0);
	persist_log_write(&s, &ring, ring.base, 1000);
	n_segments = store_list(s.store, 0, infos, N_SEGMENTS_MAX);
	ck_assert_uint_gt(n_segments, 3);
	persist_log_close(&s);
	file_set_hooks(&hooks);
}

static void teardown(void)
{
	persist_log_deinit(&ring);
	persist_log_remove_dir(dir);
}

static void note(void *ctx, const struct verify_finding *finding)
{
	(void)ctx;
	found[finding->kind]++;
	last_found[finding->kind] = *finding;
}

static int verify(void)
{
	memset(found, 0, sizeof(found));
	return verify_dir(dir, note, NULL, &stats);
}

/* Rewrites a segment's header, with a checksum that is right. */
static void rewrite(size_t i, void (*change)(struct format_segment *header))
{
	struct format_segment header;
	char path[128];
	int fd;

	persist_log_segment_path(dir, infos[i].base, path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(pread(fd, &header, sizeof(header), 0), sizeof(header));
	change(&header);
	format_segment_seal(&header);
	ck_assert_int_eq(pwrite(fd, &header, sizeof(header), 0), sizeof(header));
	close(fd);
}

static void to_other_shard(struct format_segment *header)
{
	header->shard++;
}

static void to_old_epoch(struct format_segment *header)
{
	header->epoch = 0;
}

static void to_later_version(struct format_segment *header)
{
	header->flags |= FORMAT_F_KNOWN + 1;
}

static void to_before_everything(struct format_segment *header)
{
	header->prev_end = 0;
}

START_TEST(a_segment_of_another_shard_is_named_and_not_read)
{
	rewrite(1, to_other_shard);
	ck_assert_int_eq(verify(), 0);
	ck_assert_uint_eq(found[VERIFY_FOREIGN], 1);
	ck_assert_uint_eq(last_found[VERIFY_FOREIGN].base, infos[1].base);
	ck_assert_uint_eq(stats.n_segments, n_segments - 1);
	/* What it should have held is missing from the log. */
	ck_assert_uint_eq(found[VERIFY_DAMAGE], 1);
	ck_assert_uint_eq(last_found[VERIFY_DAMAGE].from, infos[1].base);
	ck_assert_uint_eq(last_found[VERIFY_DAMAGE].to, infos[2].base);
}
END_TEST

START_TEST(an_older_epoch_after_a_newer_one_contradicts_it)
{
	rewrite(2, to_old_epoch);
	ck_assert_int_eq(verify(), 0);
	ck_assert_uint_eq(found[VERIFY_CHAIN], 1);
	ck_assert_uint_eq(last_found[VERIFY_CHAIN].base, infos[2].base);
	ck_assert_uint_eq(stats.n_bytes, ring.len);
}
END_TEST

START_TEST(a_segment_of_a_version_to_come_is_named_and_not_read)
{
	rewrite(1, to_later_version);
	ck_assert_int_eq(verify(), 0);
	ck_assert_uint_eq(found[VERIFY_FOREIGN], 1);
	ck_assert_uint_eq(last_found[VERIFY_FOREIGN].base, infos[1].base);
	ck_assert_uint_eq(stats.n_segments, n_segments - 1);
}
END_TEST

START_TEST(a_segment_that_follows_what_lies_before_its_neighbour_contradicts_it)
{
	rewrite(2, to_before_everything);
	ck_assert_int_eq(verify(), 0);
	ck_assert_uint_eq(found[VERIFY_CHAIN], 1);
	ck_assert_uint_eq(last_found[VERIFY_CHAIN].base, infos[2].base);
	/* By its word nothing lies in between. */
	ck_assert_uint_eq(found[VERIFY_GAP], 1);
	ck_assert_uint_eq(last_found[VERIFY_GAP].from, infos[1].base);
	ck_assert_uint_eq(last_found[VERIFY_GAP].to, infos[2].base);
}
END_TEST

START_TEST(the_end_that_is_missing_below_the_checkpoint_is_damage)
{
	const struct store_segment_info *last = &infos[n_segments - 1];
	char path[128];

	persist_log_segment_path(dir, last->base, path);
	ck_assert_int_eq(truncate(path, FORMAT_SEGMENT_LEN), 0);
	ck_assert_int_eq(verify(), 0);
	ck_assert_uint_eq(found[VERIFY_DAMAGE], 1);
	ck_assert_uint_eq(last_found[VERIFY_DAMAGE].from, last->base);
	ck_assert_uint_eq(last_found[VERIFY_DAMAGE].to, persist_log_end(&ring));
	ck_assert_uint_eq(stats.end, persist_log_end(&ring));
}
END_TEST

START_TEST(rubbish_above_the_checkpoint_is_torn_and_no_damage)
{
	char path[128], rubbish[100];
	int fd;

	persist_log_segment_path(dir, infos[n_segments - 1].base, path);
	fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	memset(rubbish, 0xee, sizeof(rubbish));
	ck_assert_int_eq(write(fd, rubbish, sizeof(rubbish)), sizeof(rubbish));
	close(fd);
	ck_assert_int_eq(verify(), 0);
	ck_assert_uint_eq(found[VERIFY_TORN], 1);
	ck_assert_uint_eq(last_found[VERIFY_TORN].from, persist_log_end(&ring));
	ck_assert_uint_eq(stats.n_damaged, 0);
}
END_TEST

START_TEST(what_is_broken_at_the_end_is_damage_where_it_was_durable_or_nobody_knows)
{
	uint64_t last = infos[n_segments - 1].base, off = FORMAT_SEGMENT_LEN + 40;
	char path[128], checkpoint[128];

	persist_log_segment_path(dir, last, path);
	persist_log_poke(path, off, NULL, 1);
	ck_assert_int_eq(verify(), 0);
	ck_assert_uint_eq(found[VERIFY_DAMAGE], 1);
	ck_assert_uint_eq(last_found[VERIFY_DAMAGE].from, last);
	ck_assert_uint_eq(found[VERIFY_TORN], 0);
	snprintf(checkpoint, sizeof(checkpoint), "%s/%s", dir, FORMAT_CHECKPOINT_NAME);
	ck_assert_int_eq(unlink(checkpoint), 0);
	ck_assert_int_eq(verify(), 0);
	ck_assert_uint_eq(found[VERIFY_CHECKPOINT], 1);
	ck_assert_uint_eq(found[VERIFY_DAMAGE], 1);
	ck_assert_uint_eq(found[VERIFY_TORN], 0);
}
END_TEST

START_TEST(a_header_that_the_disk_does_not_give_is_damaged_and_hides_no_other)
{
	failing_base = infos[1].base;
	failing_with = -EIO;
	ck_assert_int_eq(verify(), 0);
	ck_assert_uint_eq(found[VERIFY_HEADER], 1);
	ck_assert_uint_eq(last_found[VERIFY_HEADER].base, infos[1].base);
	ck_assert_uint_eq(stats.n_damaged, 1);
	/* Its records are there all the same. */
	ck_assert_uint_eq(stats.n_bytes, ring.len);
	ck_assert_uint_eq(stats.n_segments, n_segments);
}
END_TEST

START_TEST(what_says_nothing_of_the_disk_ends_it)
{
	failing_with = -ESTALE;
	failing_base = infos[0].base;
	ck_assert_int_eq(verify(), 0);
	ck_assert_uint_eq(found[VERIFY_FOREIGN], 1);
	for (size_t i = 0; i < 3; i++) {
		failing_base = infos[i].base;
		failing_with = -ENOMEM;
		ck_assert_int_eq(verify(), -ENOMEM);
	}
}
END_TEST

START_TEST(a_checkpoint_is_called_damaged_only_if_it_is)
{
	char path[128];

	failing_base = THE_CHECKPOINT;
	failing_with = -EMFILE;
	ck_assert_int_eq(verify(), -EMFILE);
	ck_assert_uint_eq(found[VERIFY_CHECKPOINT], 0);
	failing_with = -EIO;
	ck_assert_int_eq(verify(), 0);
	ck_assert_uint_eq(found[VERIFY_CHECKPOINT], 1);
	failing_with = 0;
	snprintf(path, sizeof(path), "%s/%s", dir, FORMAT_CHECKPOINT_NAME);
	for (unsigned int i = 0; i < FORMAT_CHECKPOINT_SLOTS; i++)
		persist_log_poke(path, i * FORMAT_CHECKPOINT_STRIDE, NULL, 1);
	ck_assert_int_eq(verify(), 0);
	ck_assert_uint_eq(found[VERIFY_CHECKPOINT], 1);
	ck_assert_uint_eq(stats.n_damaged, 1);
}
END_TEST

START_TEST(an_empty_directory_has_no_checkpoint_and_nothing_else_wrong)
{
	char empty[64];

	persist_log_make_dir(empty);
	memset(found, 0, sizeof(found));
	ck_assert_int_eq(verify_dir(empty, note, NULL, &stats), 0);
	ck_assert_uint_eq(found[VERIFY_CHECKPOINT], 1);
	ck_assert_uint_eq(stats.n_damaged, 1);
	ck_assert_uint_eq(stats.n_segments, 0);
	persist_log_remove_dir(empty);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("verify");
	TCase *tc = tcase_create("verify");
	SRunner *runner;
	int n_failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_segment_of_another_shard_is_named_and_not_read);
	tcase_add_test(tc, an_older_epoch_after_a_newer_one_contradicts_it);
	tcase_add_test(tc, a_segment_of_a_version_to_come_is_named_and_not_read);
	tcase_add_test(tc, a_segment_that_follows_what_lies_before_its_neighbour_contradicts_it);
	tcase_add_test(tc, the_end_that_is_missing_below_the_checkpoint_is_damage);
	tcase_add_test(tc, rubbish_above_the_checkpoint_is_torn_and_no_damage);
	tcase_add_test(tc,
		       what_is_broken_at_the_end_is_damage_where_it_was_durable_or_nobody_knows);
	tcase_add_test(tc, a_header_that_the_disk_does_not_give_is_damaged_and_hides_no_other);
	tcase_add_test(tc, what_says_nothing_of_the_disk_ends_it);
	tcase_add_test(tc, a_checkpoint_is_called_damaged_only_if_it_is);
	tcase_add_test(tc, an_empty_directory_has_no_checkpoint_and_nothing_else_wrong);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
