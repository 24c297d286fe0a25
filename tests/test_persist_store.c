/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>

#include "persist/file.h"
#include "persist/reader.h"
#include "tests/persist_log.h"

static char dir[64];
static struct store_options options;
static struct persist_log ring; /* stands for it */
static struct persist_log_store s;

/* Lets the n-th call of a kind, counted from when it is armed, fail; n < 0: all. */
static struct {
	pthread_mutex_t mutex;
	enum file_kind kind;
	int error;
	int countdown;
	int n_opened; /* segments */
	bool armed;
} fault = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static int fault_before(void *ctx, const struct file_event *event)
{
	int r = 0;

	(void)ctx;
	pthread_mutex_lock(&fault.mutex);
	if (event->kind == FILE_OPEN && event->name && strstr(event->name, ".seg"))
		fault.n_opened++;
	if (fault.armed && event->kind == fault.kind &&
	    (fault.countdown < 0 || --fault.countdown == 0)) {
		r = fault.error;
		fault.armed = fault.countdown < 0;
	}
	pthread_mutex_unlock(&fault.mutex);
	return r;
}

static const struct file_hooks hooks = { .before = fault_before };

static void arm(enum file_kind kind, int error, int countdown)
{
	pthread_mutex_lock(&fault.mutex);
	fault.kind = kind;
	fault.error = error;
	fault.countdown = countdown;
	fault.armed = true;
	pthread_mutex_unlock(&fault.mutex);
}

/* True when the fault did not happen. */
static bool disarm(void)
{
	bool was_armed;

	pthread_mutex_lock(&fault.mutex);
	was_armed = fault.armed;
	fault.armed = false;
	pthread_mutex_unlock(&fault.mutex);
	return was_armed;
}

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

static void open_and_start(unsigned int io_flags)
{
	persist_log_open(&s, &options, io_flags);
	ck_assert_int_eq(store_start(s.store, s.recovered.end), 0);
}

static void round_trip(unsigned int io_flags)
{
	persist_log_fill(&ring, 5000, 1000);
	open_and_start(io_flags);
	ck_assert(s.recovered.is_new);
	persist_log_write(&s, &ring, ring.base, 5000);
	persist_log_compare(&s, &ring, ring.base, persist_log_end(&ring));
	persist_log_sync(&s);
	ck_assert_uint_eq(store_durable(s.store), persist_log_end(&ring));
	ck_assert_uint_gt(s.n_changed, 0);
	persist_log_close(&s);

	persist_log_open(&s, &options, io_flags);
	ck_assert(!s.recovered.is_new);
	ck_assert_uint_eq(s.recovered.end, persist_log_end(&ring));
	ck_assert_uint_eq(s.recovered.earliest, ring.base);
	ck_assert_uint_eq(s.recovered.n_ranges, 0);
	persist_log_compare(&s, &ring, ring.base, persist_log_end(&ring));
	persist_log_close(&s);
}

START_TEST(a_log_comes_back_as_it_was_written_through_io_uring)
{
	round_trip(0);
}
END_TEST

START_TEST(a_log_comes_back_as_it_was_written_through_threads)
{
	round_trip(IO_F_THREADS);
}
END_TEST

START_TEST(a_shard_goes_on_after_a_clean_close_without_a_gap_when_positions_are_given_back)
{
	uint64_t middle;

	persist_log_fill(&ring, 300, 1);
	middle = persist_log_end(&ring);
	open_and_start(0);
	ck_assert_uint_ge(store_reserved(s.store), ring.base + 4 * GIB);
	persist_log_write(&s, &ring, ring.base, 1000);
	store_give_back(s.store);
	persist_log_close(&s);
	persist_log_open(&s, &options, 0);
	ck_assert_uint_eq(s.recovered.end, middle);
	ck_assert_uint_eq(s.recovered.reserved_until, middle);
	ck_assert_int_eq(store_start(s.store, middle), 0);
	persist_log_fill(&ring, 300, 1);
	persist_log_write(&s, &ring, middle, 1000);
	persist_log_compare(&s, &ring, ring.base, persist_log_end(&ring));
	persist_log_close(&s);
}
END_TEST

START_TEST(positions_above_those_handed_out_are_used_when_the_ring_is_lost)
{
	struct persist_log second;
	uint64_t base, end;
	bool closed;
	int fd;

	persist_log_fill(&ring, 300, 1);
	open_and_start(0);
	persist_log_write(&s, &ring, ring.base, 1000);
	persist_log_close(&s);
	persist_log_open(&s, &options, 0);
	ck_assert_uint_eq(s.recovered.end, persist_log_end(&ring));
	ck_assert_uint_ge(s.recovered.reserved_until, ring.base + 4 * GIB);
	ck_assert_int_eq(store_start(s.store, s.recovered.reserved_until), 0);
	persist_log_init(&second, s.recovered.reserved_until, true);
	persist_log_fill(&second, 10, 1);
	persist_log_write(&s, &second, second.base, 1000);
	persist_log_compare(&s, &ring, ring.base, persist_log_end(&ring));
	persist_log_compare(&s, &second, second.base, persist_log_end(&second));
	/* A position in the gap leads to the segment after it. */
	ck_assert_int_eq(store_open_segment(s.store, second.base - 32, &base, &end, &closed, &fd),
			 0);
	ck_assert_uint_eq(base, second.base);
	ck_assert(!closed);
	close(fd);
	ck_assert_int_eq(store_open_segment(s.store, persist_log_end(&second), &base, &end, &closed,
					    &fd),
			 STORE_E_END);
	persist_log_close(&s);
	persist_log_deinit(&second);
}
END_TEST

START_TEST(positions_are_reserved_ahead_durably)
{
	struct store_recovered recovered;
	struct store *other;
	uint64_t upto;

	open_and_start(0);
	upto = store_reserved(s.store) + GIB;
	store_reserve(s.store, upto);
	while (store_reserved(s.store) < upto)
		io_wait(s.io, 1000);
	/* Locked against a second daemon. */
	ck_assert_int_eq(store_open(&options, s.io, &recovered, &other), -EBUSY);
	persist_log_close(&s);
	persist_log_open(&s, &options, 0);
	ck_assert_uint_ge(s.recovered.reserved_until, upto);
	persist_log_close(&s);
}
END_TEST

START_TEST(a_closed_segment_has_its_real_size_and_its_index)
{
	struct store_segment_info infos[64];
	char path[128];
	struct stat st;
	size_t i, n;

	persist_log_fill(&ring, 3000, 77);
	open_and_start(0);
	persist_log_write(&s, &ring, ring.base, 3000);
	persist_log_sync(&s);
	while (io_pending(s.io) > 0)
		io_wait(s.io, 1000);
	n = store_list(s.store, 0, infos, ARRAY_LEN(infos));
	ck_assert_uint_gt(n, 3);
	for (i = 0; i < n; i++) {
		persist_log_segment_path(dir, infos[i].base, path);
		ck_assert_int_eq(stat(path, &st), 0);
		ck_assert_int_eq(st.st_mode & 0777, 0600);
		/* There may be zeros ahead of what is written next. */
		ck_assert_uint_ge((uint64_t)st.st_size, infos[i].bytes);
		ck_assert_uint_eq(infos[i].bytes, 4096 + infos[i].end - infos[i].base);
		ck_assert(infos[i].known);
		ck_assert(infos[i].closed == (i < n - 1));
		ck_assert_uint_gt(infos[i].max_ns, 77);
		if (i > 0)
			ck_assert_uint_eq(infos[i].base, infos[i - 1].end);
		if (!infos[i].closed)
			continue;
		ck_assert_uint_eq((uint64_t)st.st_size, infos[i].bytes);
		ck_assert_int_le(st.st_blocks * 512, (st.st_size + 8191) / 4096 * 4096);
		memcpy(path + strlen(path) - 3, "idx", 3);
		ck_assert_int_eq(stat(path, &st), 0);
	}
	persist_log_close(&s);
}
END_TEST

START_TEST(retention_takes_the_oldest_segment_and_nothing_else)
{
	struct store_totals before, after;
	struct store_segment_info info;
	int r;

	persist_log_fill(&ring, 2000, 1);
	open_and_start(0);
	persist_log_write(&s, &ring, ring.base, 3000);
	persist_log_sync(&s);
	while (io_pending(s.io) > 0)
		io_wait(s.io, 1000);
	store_totals(s.store, &before);
	ck_assert_uint_eq(store_list(s.store, 1, &info, 1), 1);
	ck_assert_int_eq(store_drop_oldest(s.store), 0);
	ck_assert_int_eq(store_drop_oldest(s.store), STORE_E_WAIT);
	while (io_pending(s.io) > 0)
		io_wait(s.io, 1000);
	store_totals(s.store, &after);
	ck_assert_uint_eq(after.earliest, info.base);
	ck_assert_uint_eq(after.n_segments, before.n_segments - 1);
	ck_assert_uint_eq(after.bytes, before.bytes - (4096 + info.base - before.earliest));
	persist_log_compare(&s, &ring, info.base, persist_log_end(&ring));
	while ((r = store_drop_oldest(s.store)) != STORE_E_END) {
		ck_assert_int_ge(r, 0);
		io_wait(s.io, 1000);
	}
	persist_log_close(&s);
	persist_log_open(&s, &options, 0);
	ck_assert_uint_eq(s.recovered.end, persist_log_end(&ring));
	persist_log_close(&s);
}
END_TEST

START_TEST(a_segment_that_cannot_be_taken_away_stays_in_the_log)
{
	struct store_totals before, after;
	struct store_segment_info info;

	persist_log_fill(&ring, 2000, 1);
	open_and_start(0);
	persist_log_write(&s, &ring, ring.base, 3000);
	persist_log_sync(&s);
	while (io_pending(s.io) > 0)
		io_wait(s.io, 1000);
	store_totals(s.store, &before);
	ck_assert_uint_eq(store_list(s.store, 1, &info, 1), 1);
	arm(FILE_UNLINK, -EIO, -1);
	ck_assert_int_eq(store_drop_oldest(s.store), 0);
	/* Nobody is sent there while it may be going. */
	ck_assert_uint_eq(store_earliest(s.store), info.base);
	while (io_pending(s.io) > 0)
		io_wait(s.io, 1000);
	disarm();
	store_totals(s.store, &after);
	ck_assert_uint_eq(after.n_segments, before.n_segments);
	ck_assert_uint_eq(store_earliest(s.store), ring.base);
	persist_log_compare(&s, &ring, ring.base, persist_log_end(&ring));
	/* It is told once, and tried again. */
	ck_assert_int_eq(store_drop_oldest(s.store), -EIO);
	ck_assert_int_eq(store_drop_oldest(s.store), 0);
	while (io_pending(s.io) > 0)
		io_wait(s.io, 1000);
	ck_assert_uint_eq(store_earliest(s.store), info.base);
	persist_log_close(&s);
}
END_TEST

START_TEST(a_record_longer_than_a_segment_gets_one_of_its_own)
{
	persist_log_fill(&ring, 10, 1);
	persist_log_add(&ring, RECORD_COMMITTED, 300000, 1);
	persist_log_fill(&ring, 10, 1);
	open_and_start(0);
	persist_log_write(&s, &ring, ring.base, 1);
	persist_log_compare(&s, &ring, ring.base, persist_log_end(&ring));
	persist_log_close(&s);
}
END_TEST

START_TEST(what_does_not_follow_is_refused)
{
	persist_log_fill(&ring, 10, 1);
	persist_log_open(&s, &options, 0);
	ck_assert_int_eq(store_start(s.store, ring.base + 1), -EINVAL);
	ck_assert_int_eq(store_start(s.store, FORMAT_POS_END), -EINVAL);
	ck_assert_int_eq(store_start(s.store, ring.base), 0);
	ck_assert_int_eq(store_start(s.store, ring.base), -EINVAL);
	ck_assert_int_eq(store_write(s.store, ring.base + 32, ring.bytes, 64, 1), -EINVAL);
	ck_assert_int_eq(store_write(s.store, ring.base, ring.bytes, 33, 1), -EINVAL);
	ck_assert_int_eq(store_write(s.store, ring.base, ring.bytes, 0, 1), -EINVAL);
	ck_assert_int_eq(store_restart(s.store, ring.base), -EINVAL);
	ck_assert_int_eq(store_retry(s.store), -EINVAL);
	ck_assert_int_eq(store_roll(s.store), 0);
	persist_log_close(&s);
}
END_TEST

/* Waits for the error that was armed. */
static int await_error(bool *ret_is_sync)
{
	int i, r = 0;

	for (i = 0; i < 100 && (r = store_error(s.store, ret_is_sync)) == 0; i++)
		io_wait(s.io, 100);
	return r;
}

static int settle_and(int (*call)(struct store *store))
{
	int r;

	while ((r = call(s.store)) == STORE_E_WAIT)
		io_wait(s.io, 1000);
	return r;
}

static int restart_at_durable(struct store *store)
{
	return store_restart(store, store_durable(store));
}

/* Behind the end of a file that nobody writes to any more. */
static void expect_nothing_reserved(uint64_t base)
{
	struct stat st;
	char path[128];

	persist_log_segment_path(dir, base, path);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_le(st.st_blocks * 512, (off_t)align_up((uint64_t)st.st_size, 4096));
}

static void sync_failure(unsigned int io_flags)
{
	uint64_t durable, middle, max_segments;
	struct store_totals totals;
	bool is_sync = false;

	/* They would hide what is reserved. */
	options.zero_len = io_flags ? STORE_NO_ZEROS : 0;
	persist_log_fill(&ring, 100, 1);
	middle = persist_log_end(&ring);
	open_and_start(io_flags);
	persist_log_write(&s, &ring, ring.base, 1000);
	persist_log_sync(&s);
	durable = store_durable(s.store);
	ck_assert_uint_eq(durable, middle);
	persist_log_fill(&ring, 100, 1);
	persist_log_write(&s, &ring, middle, 1000);
	while (io_pending(s.io) > 0)
		io_wait(s.io, 1000);
	arm(FILE_FDATASYNC, -EIO, 1);
	ck_assert_int_eq(store_sync(s.store), 0);
	ck_assert_int_eq(await_error(&is_sync), -EIO);
	disarm();
	ck_assert(is_sync);
	ck_assert_uint_eq(store_durable(s.store), durable);
	ck_assert_int_eq(store_write(s.store, store_next(s.store), ring.bytes, 64, 1), -EIO);
	ck_assert_int_eq(store_sync(s.store), -EIO);
	ck_assert_int_eq(store_retry(s.store), -EINVAL);
	/* Nothing that is durable is written anew, and nothing is left out. */
	ck_assert_int_eq(store_restart(s.store, durable - 32), -EINVAL);
	ck_assert_int_eq(store_restart(s.store, durable + 1), -EINVAL);
	ck_assert_int_eq(store_restart(s.store, store_next(s.store) + 32), -EINVAL);
	ck_assert_int_eq(settle_and(restart_at_durable), 0);
	expect_nothing_reserved(ring.base);
	ck_assert_int_eq(store_error(s.store, NULL), 0);
	ck_assert_uint_eq(store_next(s.store), durable);
	persist_log_write(&s, &ring, durable, 1000);
	persist_log_sync(&s);
	persist_log_compare(&s, &ring, ring.base, persist_log_end(&ring));
	store_totals(s.store, &totals);
	max_segments = totals.n_segments;
	ck_assert_uint_eq(max_segments, 2);
	persist_log_close(&s);
	persist_log_open(&s, &options, io_flags);
	ck_assert_uint_eq(s.recovered.end, persist_log_end(&ring));
	ck_assert_uint_eq(s.recovered.n_ranges, 0);
	persist_log_compare(&s, &ring, ring.base, persist_log_end(&ring));
	persist_log_close(&s);
}

START_TEST(a_failed_sync_is_repaired_from_the_ring_in_a_new_segment)
{
	sync_failure(_i ? IO_F_THREADS : 0);
}
END_TEST

START_TEST(a_failed_sync_with_nothing_durable_replaces_the_segment)
{
	bool is_sync = false;

	persist_log_fill(&ring, 100, 1);
	open_and_start(0);
	while (io_pending(s.io) > 0)
		io_wait(s.io, 1000);
	persist_log_write(&s, &ring, ring.base, 1000);
	arm(FILE_FDATASYNC, -EIO, 1);
	store_sync(s.store);
	ck_assert_int_eq(await_error(&is_sync), -EIO);
	/* And there is none for a while. */
	arm(FILE_RENAME, -ENOSPC, -1);
	ck_assert_int_eq(settle_and(restart_at_durable), -ENOSPC);
	ck_assert_uint_eq(store_room(s.store), 0);
	disarm();
	ck_assert_int_eq(settle_and(restart_at_durable), 0);
	persist_log_write(&s, &ring, ring.base, 1000);
	persist_log_sync(&s);
	persist_log_compare(&s, &ring, ring.base, persist_log_end(&ring));
	persist_log_close(&s);
	persist_log_open(&s, &options, 0);
	ck_assert_uint_eq(s.recovered.end, persist_log_end(&ring));
	persist_log_close(&s);
}
END_TEST

START_TEST(a_failed_sync_over_several_segments_loses_nothing)
{
	uint64_t durable;
	bool is_sync;
	int r = 0;

	persist_log_fill(&ring, 2000, 1);
	options.dirty_max = GIB;
	open_and_start(_i ? IO_F_THREADS : 0);
	/* Every call of a kind once in turn: publishing, syncing, closing are all hit. */
	for (int n = 1; n < 30 && store_next(s.store) < persist_log_end(&ring); n++) {
		uint64_t pos = store_next(s.store);

		arm(n % 3 == 0   ? FILE_FDATASYNC
		    : n % 3 == 1 ? FILE_WRITE
				 : FILE_RENAME,
		    -EIO, n / 3 + 1);
		while (pos < persist_log_end(&ring) && store_error(s.store, NULL) == 0) {
			uint64_t len =
				record_span(*(uint32_t *)(void *)(ring.bytes + (pos - ring.base)));

			r = store_write(s.store, pos, ring.bytes + (pos - ring.base), len, 1);
			if (r == STORE_E_ROLL)
				r = store_roll(s.store);
			else if (r == 0)
				pos += len;
			if (r == STORE_E_WAIT || pos % 64 == 0)
				io_wait(s.io, r == STORE_E_WAIT ? 100 : 0);
			if (r == STORE_E_WAIT)
				store_tick(s.store);
		}
		disarm();
		durable = store_durable(s.store);
		if (store_error(s.store, &is_sync) == 0)
			break;
		ck_assert_int_eq(settle_and(is_sync ? restart_at_durable : store_retry), 0);
		ck_assert_uint_ge(store_next(s.store), durable);
	}
	persist_log_write(&s, &ring, store_next(s.store), 1000);
	persist_log_sync(&s);
	persist_log_compare(&s, &ring, ring.base, persist_log_end(&ring));
	persist_log_close(&s);
	persist_log_open(&s, &options, 0);
	ck_assert_uint_eq(s.recovered.end, persist_log_end(&ring));
	persist_log_compare(&s, &ring, ring.base, persist_log_end(&ring));
	persist_log_close(&s);
}
END_TEST

/* Or nothing would ever make the room that it needs. */
START_TEST(who_cannot_begin_a_segment_on_a_full_disk_drops_the_oldest)
{
	struct store_totals before, after;
	uint64_t middle;
	bool is_sync;

	persist_log_fill(&ring, 2000, 1);
	open_and_start(0);
	persist_log_write(&s, &ring, ring.base, 3000);
	persist_log_sync(&s);
	middle = persist_log_end(&ring);
	persist_log_fill(&ring, 10, 1);
	persist_log_write(&s, &ring, middle, 100);
	arm(FILE_FDATASYNC, -EIO, -1);
	ck_assert_int_eq(store_sync(s.store), 0);
	ck_assert_int_eq(await_error(&is_sync), -EIO);
	arm(FILE_RENAME, -ENOSPC, -1);
	ck_assert_int_eq(settle_and(restart_at_durable), -ENOSPC);
	store_totals(s.store, &before);
	while (store_drop_oldest(s.store) == 0)
		while (io_pending(s.io) > 0)
			io_wait(s.io, 1000);
	store_totals(s.store, &after);
	ck_assert_uint_gt(before.n_segments, 2);
	ck_assert_uint_eq(after.n_segments, 1);
	disarm();
	ck_assert_int_eq(settle_and(restart_at_durable), 0);
	persist_log_write(&s, &ring, middle, 100);
	persist_log_sync(&s);
	persist_log_compare(&s, &ring, after.earliest, persist_log_end(&ring));
	persist_log_close(&s);
	persist_log_open(&s, &options, 0);
	ck_assert_uint_eq(s.recovered.end, persist_log_end(&ring));
	persist_log_close(&s);
}
END_TEST

START_TEST(a_failed_write_is_retried_in_the_same_segment)
{
	struct store_totals totals;
	bool is_sync = true;

	persist_log_fill(&ring, 100, 1);
	/* It is the records' write that has to fail. */
	options.zero_len = STORE_NO_ZEROS;
	open_and_start(_i ? IO_F_THREADS : 0);
	while (io_pending(s.io) > 0)
		io_wait(s.io, 1000);
	arm(FILE_WRITE, -ENOSPC, 1);
	ck_assert_int_eq(store_write(s.store, ring.base, ring.bytes, ring.len, 1), 0);
	ck_assert_int_eq(await_error(&is_sync), -ENOSPC);
	ck_assert(!is_sync);
	disarm();
	ck_assert_int_eq(settle_and(store_retry), 0);
	ck_assert_uint_eq(store_next(s.store), ring.base);
	persist_log_write(&s, &ring, ring.base, 1000);
	persist_log_compare(&s, &ring, ring.base, persist_log_end(&ring));
	store_totals(s.store, &totals);
	ck_assert_uint_eq(totals.n_segments, 1);
	persist_log_close(&s);
}
END_TEST

START_TEST(a_full_disk_is_visible_and_goes_away)
{
	int i, r = 0;

	persist_log_fill(&ring, 2000, 1);
	open_and_start(0);
	arm(FILE_ALLOCATE, -ENOSPC, -1);
	while (io_pending(s.io) > 0)
		io_wait(s.io, 1000);
	for (i = 0; i < 2000 && r != STORE_E_WAIT; i++) {
		uint64_t pos = store_next(s.store);
		uint64_t len = record_span(*(uint32_t *)(void *)(ring.bytes + (pos - ring.base)));

		r = store_write(s.store, pos, ring.bytes + (pos - ring.base), len, 1);
		if (r == STORE_E_ROLL)
			r = store_roll(s.store);
		else
			r = 0;
		io_wait(s.io, 100);
	}
	while (io_pending(s.io) > 0)
		io_wait(s.io, 1000);
	/* The first may have been prepared before the disk was full. */
	if (store_space_error(s.store) == 0) {
		ck_assert_int_eq(store_roll(s.store), 0);
		while (io_pending(s.io) > 0)
			io_wait(s.io, 1000);
	}
	ck_assert_int_eq(store_space_error(s.store), -ENOSPC);
	ck_assert_int_eq(store_error(s.store, NULL), 0);
	disarm();
	store_tick(s.store);
	while (io_pending(s.io) > 0)
		io_wait(s.io, 1000);
	ck_assert_int_eq(store_space_error(s.store), 0);
	persist_log_write(&s, &ring, store_next(s.store), 1000);
	persist_log_compare(&s, &ring, ring.base, persist_log_end(&ring));
	persist_log_close(&s);
}
END_TEST

START_TEST(a_checkpoint_that_cannot_be_written_is_tried_again)
{
	uint64_t reserved;

	open_and_start(0);
	while (io_pending(s.io) > 0)
		io_wait(s.io, 1000);
	reserved = store_reserved(s.store);
	arm(FILE_FDATASYNC, -EIO, 1);
	store_reserve(s.store, reserved + 1024);
	while (io_pending(s.io) > 0)
		io_wait(s.io, 1000);
	disarm();
	ck_assert_int_eq(store_checkpoint_error(s.store), -EIO);
	ck_assert_uint_eq(store_reserved(s.store), reserved);
	store_tick(s.store);
	while (io_pending(s.io) > 0)
		io_wait(s.io, 1000);
	ck_assert_int_eq(store_checkpoint_error(s.store), 0);
	ck_assert_uint_gt(store_reserved(s.store), reserved);
	persist_log_close(&s);
}
END_TEST

START_TEST(each_system_call_of_open_and_start_fails_once_in_turn)
{
	static const enum file_kind kinds[] = { FILE_OPEN,      FILE_READ,   FILE_WRITE,
						FILE_FDATASYNC, FILE_FSYNC,  FILE_ALLOCATE,
						FILE_RENAME,    FILE_UNLINK, FILE_MKDIR };
	struct store_recovered recovered;
	struct store *store;
	struct io *io;
	bool was_armed;
	size_t k;
	int n, r;

	persist_log_fill(&ring, 100, 1);
	open_and_start(0);
	persist_log_write(&s, &ring, ring.base, 1000);
	persist_log_close(&s);
	ck_assert_int_eq(io_new(0, 0, &io), 0);
	for (k = 0; k < ARRAY_LEN(kinds); k++) {
		for (n = 1; n < 40; n++) {
			arm(kinds[k], -EIO, n);
			r = store_open(&options, io, &recovered, &store);
			if (r < 0)
				continue;
			ck_assert_uint_ge(recovered.end, ring.base);
			r = store_start(store, recovered.end);
			was_armed = disarm();
			if (r < 0)
				ck_assert_int_eq(store_start(store, recovered.end), 0);
			store_close(store);
			if (was_armed)
				break;
		}
		disarm();
		ck_assert_int_lt(n, 40);
	}
	io_free(io);
	persist_log_open(&s, &options, 0);
	ck_assert_uint_eq(s.recovered.end, persist_log_end(&ring));
	persist_log_compare(&s, &ring, ring.base, persist_log_end(&ring));
	persist_log_close(&s);
}
END_TEST

START_TEST(another_streams_files_are_refused)
{
	struct store_recovered recovered;
	struct store *store;
	struct io *io;

	open_and_start(0);
	persist_log_close(&s);
	ck_assert_int_eq(io_new(0, 0, &io), 0);
	options.shard++;
	ck_assert_int_eq(store_open(&options, io, &recovered, &store), -ESTALE);
	options.shard--;
	options.stream_uuid[3]++;
	ck_assert_int_eq(store_open(&options, io, &recovered, &store), -ESTALE);
	io_free(io);
}
END_TEST

START_TEST(ten_thousand_segments_open_without_being_looked_at)
{
	struct format_segment header = { .shard = PERSIST_LOG_SHARD, .flags = 1 };
	struct store_totals totals;
	uint64_t i, begin, took = UINT64_MAX;
	char path[128];
	int fd;

	memcpy(header.stream_uuid, persist_log_uuid, 16);
	header.crc_seed = options.crc_seed;
	for (i = 0; i < 10000; i++) {
		header.base = header.prev_end = ring.base + i * 64 * KIB;
		if (i == 1000)
			header.prev_end -= 32 * KIB;
		header.epoch = 1;
		format_segment_seal(&header);
		persist_log_segment_path(dir, header.base, path);
		fd = open(path, O_WRONLY | O_CREAT, 0600);
		ck_assert_int_eq(write(fd, &header, sizeof(header)), sizeof(header));
		ck_assert_int_eq(ftruncate(fd, (off_t)(4096 + 64 * KIB)), 0);
		close(fd);
	}
	/* Of a few, because a machine may stand still. */
	for (int tries = 0; tries < 10 && took >= NS_PER_S / 2; tries++) {
		if (tries > 0)
			persist_log_close(&s);
		begin = clock_now_ns(CLOCK_MONOTONIC);
		fault.n_opened = 0;
		persist_log_open(&s, &options, 0);
		took = clock_now_ns(CLOCK_MONOTONIC) - begin;
		ck_assert_int_lt(fault.n_opened, 10);
	}
	ck_assert_uint_lt(took, NS_PER_S / 2);
	store_totals(s.store, &totals);
	ck_assert_uint_eq(totals.n_segments, 10000);
	ck_assert_uint_gt(totals.n_unknown, 9990);
	/* Found out in the background, the gap in the middle included. */
	ck_assert_int_eq(store_start(s.store, s.recovered.end), 0);
	store_tick(s.store);
	ck_assert_int_lt(fault.n_opened, 20);
	store_tick(s.store);
	while (io_pending(s.io) > 0)
		io_wait(s.io, 1000);
	store_totals(s.store, &totals);
	ck_assert_uint_eq(totals.n_unknown, 0);
	ck_assert_uint_eq(totals.bytes, 9999 * (4096 + 64 * KIB) - 32 * KIB + 4096 +
						(totals.n_segments == 10001 ? 4096 : 0));
	persist_log_close(&s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store");
	TCase *tc = tcase_create("store");
	SRunner *runner;
	int n_failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_log_comes_back_as_it_was_written_through_io_uring);
	tcase_add_test(tc, a_log_comes_back_as_it_was_written_through_threads);
	tcase_add_test(
		tc,
		a_shard_goes_on_after_a_clean_close_without_a_gap_when_positions_are_given_back);
	tcase_add_test(tc, positions_above_those_handed_out_are_used_when_the_ring_is_lost);
	tcase_add_test(tc, positions_are_reserved_ahead_durably);
	tcase_add_test(tc, a_closed_segment_has_its_real_size_and_its_index);
	tcase_add_test(tc, retention_takes_the_oldest_segment_and_nothing_else);
	tcase_add_test(tc, a_segment_that_cannot_be_taken_away_stays_in_the_log);
	tcase_add_test(tc, a_record_longer_than_a_segment_gets_one_of_its_own);
	tcase_add_test(tc, what_does_not_follow_is_refused);
	tcase_add_loop_test(tc, a_failed_sync_is_repaired_from_the_ring_in_a_new_segment, 0, 2);
	tcase_add_test(tc, a_failed_sync_with_nothing_durable_replaces_the_segment);
	tcase_add_loop_test(tc, a_failed_sync_over_several_segments_loses_nothing, 0, 2);
	tcase_add_test(tc, who_cannot_begin_a_segment_on_a_full_disk_drops_the_oldest);
	tcase_add_loop_test(tc, a_failed_write_is_retried_in_the_same_segment, 0, 2);
	tcase_add_test(tc, a_full_disk_is_visible_and_goes_away);
	tcase_add_test(tc, a_checkpoint_that_cannot_be_written_is_tried_again);
	tcase_add_test(tc, each_system_call_of_open_and_start_fails_once_in_turn);
	tcase_add_test(tc, another_streams_files_are_refused);
	tcase_add_test(tc, ten_thousand_segments_open_without_being_looked_at);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
