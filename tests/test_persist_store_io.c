/* SPDX-License-Identifier: Apache-2.0 */
/* What a store asks of the kernel beside writing records: zeros ahead, and dropping of pages. */
#include <pthread.h>
#include <sys/stat.h>

#include "persist/file.h"
#include "persist/format.h"
#include "tests/persist_log.h"

enum {
	N_FILES = 8,
};

static char dir[64];
static struct store_options options;
static struct persist_log ring; /* stands for it */
static struct persist_log_store s;

/* What was seen of calls on files; those of the store's own headers are left out. */
static struct {
	pthread_mutex_t mutex;
	unsigned int n_dropped;
	unsigned int n_zeros;
	uint64_t dropped_len; /* of each file's records, each byte once */
	uint64_t dropped_max; /* at once */
	struct {
		ino_t file;
		uint64_t upto;
	} dropped[N_FILES];
	uint64_t zeros_end; /* byte of the file where the last zeros end */
	int zeros_error;    /* what writing zeros gives */
} seen = { .mutex = PTHREAD_MUTEX_INITIALIZER };

/* A record begins with its word, which is not 0. */
static bool is_zeros(const struct file_event *event)
{
	const char *bytes = event->buf;
	uint64_t i;

	for (i = 0; i < event->len; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

/* Stretches of a file follow each other, and may begin before the end of the last one. */
static void note_drop(const struct file_event *event)
{
	uint64_t from = max_u64(event->off, format_file_off(0, 0)), end = event->off + event->len;
	struct stat st;
	int i = 0;

	ck_assert_int_eq(fstat(event->fd, &st), 0);
	while (i < N_FILES && seen.dropped[i].file != 0 && seen.dropped[i].file != st.st_ino)
		i++;
	ck_assert_int_lt(i, N_FILES);
	seen.dropped[i].file = st.st_ino;
	from = max_u64(from, seen.dropped[i].upto);
	ck_assert_uint_ge(end, from);
	seen.dropped[i].upto = end;
	seen.dropped_len += end - from;
	seen.dropped_max = max_u64(seen.dropped_max, event->len);
	seen.n_dropped++;
}

static int look(void *ctx, const struct file_event *event)
{
	int r = 0;

	(void)ctx;
	pthread_mutex_lock(&seen.mutex);
	if (event->kind == FILE_DROP)
		note_drop(event);
	if (event->kind == FILE_WRITE && is_zeros(event)) {
		seen.n_zeros++;
		seen.zeros_end = event->off + event->len;
		r = seen.zeros_error;
	}
	pthread_mutex_unlock(&seen.mutex);
	return r;
}

static const struct file_hooks hooks = { .before = look };

static void setup(void)
{
	persist_log_make_dir(dir);
	persist_log_options(&options, dir, true);
	persist_log_init(&ring, PERSIST_LOG_FIRST, true);
	file_set_hooks(&hooks);
}

static void teardown(void)
{
	persist_log_deinit(&ring);
	persist_log_remove_dir(dir);
}

static void open_and_start(void)
{
	persist_log_open(&s, &options, 0);
	ck_assert_int_eq(store_start(s.store, s.recovered.end), 0);
}

static void settle(void)
{
	while (io_pending(s.io) > 0)
		io_wait(s.io, 1000);
}

/* n records, in writes of `run` bytes, made durable. */
static void step(unsigned int n, uint64_t run)
{
	uint64_t pos = persist_log_end(&ring);

	persist_log_fill(&ring, n, 1000);
	persist_log_write(&s, &ring, pos, run);
	persist_log_sync(&s);
	settle();
}

/* Writes 200 KiB in steps. Returns how many bytes left the page cache. */
static uint64_t dropped_of_burst(uint64_t burst_rate)
{
	options.cache_len = 64 * KIB;
	options.burst_rate = burst_rate;
	open_and_start();
	for (int i = 0; i < 10; i++)
		step(120, 4 * KIB);
	persist_log_compare(&s, &ring, ring.base, persist_log_end(&ring));
	persist_log_close(&s);
	return seen.dropped_len;
}

START_TEST(what_a_burst_leaves_in_memory_is_dropped_but_for_the_newest)
{
	uint64_t dropped = dropped_of_burst(1);

	ck_assert_uint_gt(ring.len, 192 * KIB);
	ck_assert_uint_ge(dropped + 64 * KIB + 32 * KIB, ring.len);
	ck_assert_uint_le(dropped + 64 * KIB, ring.len);
	/* Stretches that lie in two segments are dropped in two pieces. */
	ck_assert_uint_gt(seen.n_dropped, dropped / (32 * KIB));
}
END_TEST

START_TEST(a_long_stretch_is_dropped_step_by_step)
{
	options.segment_len = 64 * MIB;
	options.cache_len = 16 * MIB;
	options.burst_rate = 1;
	open_and_start();
	while (ring.len < 26 * MIB)
		persist_log_add(&ring, RECORD_COMMITTED, 60 * KIB, 1000);
	persist_log_write(&s, &ring, ring.base, MIB);
	persist_log_sync(&s);
	settle();
	ck_assert_uint_eq(seen.dropped_len, 8 * MIB);
	/* Two, and up to two that were left of what was before. */
	ck_assert_uint_le(seen.dropped_max, 4 * MIB);
	persist_log_compare(&s, &ring, ring.base, persist_log_end(&ring));
	persist_log_close(&s);
}
END_TEST

START_TEST(what_comes_slower_stays_in_memory)
{
	ck_assert_uint_eq(dropped_of_burst(UINT64_MAX), 0);
}
END_TEST

START_TEST(zeros_go_ahead_of_short_writes_once_for_many)
{
	options.segment_len = MIB;
	options.zero_len = 16 * KIB;
	open_and_start();
	for (int i = 0; i < 400; i++) {
		uint64_t end;

		step(1, 1);
		end = format_file_off(PERSIST_LOG_FIRST, persist_log_end(&ring));
		/* What was written by now lies where bytes were before, or with the zeros. */
		ck_assert_uint_ge(seen.zeros_end, end);
		ck_assert_uint_le(seen.zeros_end, end + 20 * KIB);
	}
	ck_assert_uint_ge(seen.n_zeros, ring.len / (20 * KIB));
	ck_assert_uint_le(seen.n_zeros, ring.len / (16 * KIB) + 1);
	persist_log_compare(&s, &ring, ring.base, persist_log_end(&ring));
	persist_log_close(&s);
}
END_TEST

START_TEST(zeros_stay_within_the_segment)
{
	struct store_segment_info infos[8];
	char path[128];
	struct stat st;
	size_t n;

	options.zero_len = 48 * KIB;
	open_and_start();
	for (int i = 0; i < 100; i++) {
		step(10, 1);
		n = store_list(s.store, 0, infos, ARRAY_LEN(infos));
		persist_log_segment_path(dir, infos[n - 1].base, path);
		ck_assert_int_eq(stat(path, &st), 0);
		ck_assert_uint_le((uint64_t)st.st_size, FORMAT_SEGMENT_LEN + options.segment_len);
	}
	ck_assert_uint_gt(n, 1);
	ck_assert_uint_gt(seen.n_zeros, 2);
	persist_log_compare(&s, &ring, ring.base, persist_log_end(&ring));
	persist_log_close(&s);
}
END_TEST

START_TEST(a_burst_and_who_does_not_sync_write_no_zeros)
{
	options.segment_len = 16 * MIB;
	options.zero_len = 16 * KIB;
	open_and_start();
	step(3000, 128 * KIB);
	ck_assert_uint_gt(ring.len, 512 * KIB);
	/* Short writes, but one sync for many of them. */
	step(3000, 4 * KIB);
	ck_assert_uint_eq(seen.n_zeros, 0);
	persist_log_close(&s);
}
END_TEST

START_TEST(zeros_that_cannot_be_written_stop_nothing)
{
	options.zero_len = 16 * KIB;
	seen.zeros_error = -ENOSPC;
	open_and_start();
	for (int i = 0; i < 100; i++)
		step(10, 1);
	ck_assert_uint_gt(seen.n_zeros, 2);
	ck_assert_int_eq(store_error(s.store, NULL), 0);
	persist_log_compare(&s, &ring, ring.base, persist_log_end(&ring));
	persist_log_close(&s);
}
END_TEST

START_TEST(what_was_written_over_zeros_is_found_again_after_a_crash)
{
	char image[64];

	options.zero_len = 16 * KIB;
	open_and_start();
	for (int i = 0; i < 50; i++)
		step(5, 1);
	persist_log_make_dir(image);
	persist_log_copy_dir(dir, image);
	persist_log_close(&s);
	options.path = image;
	persist_log_open(&s, &options, 0);
	ck_assert_uint_eq(s.recovered.end, persist_log_end(&ring));
	ck_assert_uint_eq(s.recovered.n_ranges, 0);
	persist_log_compare(&s, &ring, ring.base, persist_log_end(&ring));
	persist_log_close(&s);
	persist_log_remove_dir(image);
}
END_TEST

/* Writes of records wait here until they are let go, and fail then. */
static struct {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	bool is_shut;
	bool has_one; /* that waits */
} gate = { .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static int wait_at_gate(void *ctx, const struct file_event *event)
{
	int r = 0;

	(void)ctx;
	if (event->kind != FILE_WRITE || event->off < FORMAT_SEGMENT_LEN)
		return 0;
	pthread_mutex_lock(&gate.mutex);
	if (gate.is_shut) {
		gate.has_one = true;
		pthread_cond_broadcast(&gate.changed);
		while (gate.is_shut)
			pthread_cond_wait(&gate.changed, &gate.mutex);
		r = -ENOSPC;
	}
	pthread_mutex_unlock(&gate.mutex);
	return r;
}

static void shut_gate(bool is_shut)
{
	pthread_mutex_lock(&gate.mutex);
	gate.is_shut = is_shut;
	pthread_cond_broadcast(&gate.changed);
	pthread_mutex_unlock(&gate.mutex);
}

START_TEST(a_write_that_fails_when_its_segment_has_ended_is_made_again_in_a_new_one)
{
	static const struct file_hooks waiting = { .before = wait_at_gate };
	uint64_t middle, len;
	bool is_sync = true;
	int r;

	options.zero_len = STORE_NO_ZEROS;
	persist_log_open(&s, &options, IO_F_THREADS);
	ck_assert_int_eq(store_start(s.store, s.recovered.end), 0);
	step(100, 1000);
	middle = persist_log_end(&ring);
	store_tick(s.store);
	settle();
	file_set_hooks(&waiting);
	persist_log_fill(&ring, 100, 2000);
	len = persist_log_end(&ring) - middle;
	shut_gate(true);
	ck_assert_int_eq(store_write(s.store, middle, ring.bytes + (middle - ring.base), len, 1),
			 0);
	pthread_mutex_lock(&gate.mutex);
	while (!gate.has_one)
		pthread_cond_wait(&gate.changed, &gate.mutex);
	pthread_mutex_unlock(&gate.mutex);
	ck_assert_int_eq(store_roll(s.store), 0);
	shut_gate(false);
	while (store_error(s.store, &is_sync) == 0)
		io_wait(s.io, 1000);
	ck_assert_int_eq(store_error(s.store, NULL), -ENOSPC);
	ck_assert(!is_sync);
	while ((r = store_retry(s.store)) == STORE_E_WAIT)
		io_wait(s.io, 1000);
	ck_assert_int_eq(r, 0);
	ck_assert_uint_eq(store_next(s.store), middle);
	ck_assert_uint_eq(store_durable(s.store), middle);
	persist_log_write(&s, &ring, middle, 1000);
	persist_log_sync(&s);
	persist_log_compare(&s, &ring, ring.base, persist_log_end(&ring));
	persist_log_close(&s);
	persist_log_open(&s, &options, 0);
	ck_assert_uint_eq(s.recovered.end, persist_log_end(&ring));
	ck_assert_uint_eq(s.recovered.n_ranges, 0);
	persist_log_compare(&s, &ring, ring.base, persist_log_end(&ring));
	persist_log_close(&s);
}
END_TEST

START_TEST(options_that_cannot_be_are_refused)
{
	struct store_options bad[5];
	struct store_recovered recovered;
	struct store *store;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		bad[i] = options;
	bad[0].path = NULL;
	bad[1].segment_len = 64 * KIB - 1;
	bad[2].segment_len = UINT64_MAX;
	bad[3].first_pos = 1;
	bad[4].ahead_len = UINT64_MAX;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_int_eq(store_open(&bad[i], NULL, &recovered, &store), -EINVAL);
	ck_assert_ptr_null(store_close(NULL));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store_io");
	TCase *tc = tcase_create("store_io");
	SRunner *runner;
	int n_failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, what_a_burst_leaves_in_memory_is_dropped_but_for_the_newest);
	tcase_add_test(tc, a_long_stretch_is_dropped_step_by_step);
	tcase_add_test(tc, what_comes_slower_stays_in_memory);
	tcase_add_test(tc, zeros_go_ahead_of_short_writes_once_for_many);
	tcase_add_test(tc, zeros_stay_within_the_segment);
	tcase_add_test(tc, a_burst_and_who_does_not_sync_write_no_zeros);
	tcase_add_test(tc, zeros_that_cannot_be_written_stop_nothing);
	tcase_add_test(tc, what_was_written_over_zeros_is_found_again_after_a_crash);
	tcase_add_test(tc,
		       a_write_that_fails_when_its_segment_has_ended_is_made_again_in_a_new_one);
	tcase_add_test(tc, options_that_cannot_be_are_refused);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
