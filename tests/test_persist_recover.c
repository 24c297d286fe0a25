/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "persist/file.h"
#include "persist/reader.h"
#include "persist/verify.h"
#include "shm/atomic.h"
#include "shm/crc32c.h"
#include "tests/persist_log.h"

static char dir[64];
static char image[80]; /* the directory as a crash left it */
static struct store_options options;
static struct persist_log ring;
static struct persist_log_store s;
static char segment_path[128];
static uint64_t durable; /* what the checkpoint in the image says */

static void setup(void)
{
	persist_log_make_dir(dir);
	snprintf(image, sizeof(image), "%.60s.image", dir);
	persist_log_options(&options, dir, true);
	options.segment_len = MIB;
	persist_log_init(&ring, PERSIST_LOG_FIRST, true);
	persist_log_segment_path(image, ring.base, segment_path);
}

static void teardown(void)
{
	persist_log_deinit(&ring);
	persist_log_remove_dir(dir);
	persist_log_remove_dir(image);
}

/*
 * Writes the ring to `dir`, of which what is below `below` is in the checkpoint, and leaves a
 * copy of the files in `image`, as if the process had been killed.
 */
static void crash(uint64_t below)
{
	struct persist_log first = ring;

	persist_log_open(&s, &options, 0);
	ck_assert_int_eq(store_start(s.store, ring.base), 0);
	first.len = below - ring.base;
	persist_log_write(&s, &first, ring.base, 4000);
	persist_log_sync(&s);
	store_tick(s.store);
	while (io_pending(s.io) > 0)
		io_wait(s.io, 1000);
	durable = store_durable(s.store);
	ck_assert_uint_eq(durable, below);
	persist_log_write(&s, &ring, below, 4000);
	while (io_pending(s.io) > 0)
		io_wait(s.io, 1000);
	persist_log_copy_dir(dir, image);
	persist_log_close(&s);
	options.path = image;
}

static void reopen(void)
{
	persist_log_open(&s, &options, 0);
}

/* The one range of that kind; fails when there are others. */
static void expect_range(enum recover_kind kind, uint64_t from, uint64_t to)
{
	ck_assert_uint_eq(s.recovered.n_ranges, 1);
	ck_assert_int_eq(s.recovered.ranges[0].kind, kind);
	ck_assert_uint_eq(s.recovered.ranges[0].from, from);
	ck_assert_uint_eq(s.recovered.ranges[0].to, to);
}

static uint64_t file_off(uint64_t pos)
{
	return format_file_off(ring.base, pos);
}

START_TEST(a_killed_process_loses_nothing_that_was_written)
{
	persist_log_fill(&ring, 300, 1);
	crash(ring.base);
	reopen();
	ck_assert_uint_eq(s.recovered.end, persist_log_end(&ring));
	ck_assert_uint_eq(s.recovered.n_ranges, 0);
	ck_assert_uint_eq(s.recovered.epoch, 2);
	persist_log_compare(&s, &ring, ring.base, persist_log_end(&ring));
	/* Rings that live on: the log goes on where it was, in a segment of its own. */
	ck_assert_int_eq(store_start(s.store, s.recovered.end), 0);
	persist_log_fill(&ring, 300, 1);
	persist_log_write(&s, &ring, s.recovered.end, 1000);
	persist_log_compare(&s, &ring, ring.base, persist_log_end(&ring));
	persist_log_close(&s);
}
END_TEST

static struct {
	_Atomic uint32_t syncs, dir_syncs, opens;
	_Atomic uint64_t read_len;
} calls;

static int count_call(void *ctx, const struct file_event *event)
{
	(void)ctx;
	if (event->kind == FILE_FDATASYNC)
		fetch_add_relaxed(&calls.syncs, 1);
	else if (event->kind == FILE_FSYNC)
		fetch_add_relaxed(&calls.dir_syncs, 1);
	else if (event->kind == FILE_OPEN)
		fetch_add_relaxed(&calls.opens, 1);
	else if (event->kind == FILE_READ)
		fetch_add_relaxed(&calls.read_len, event->len);
	return 0;
}

static const struct file_hooks counting = { .before = count_call };

static void count_start(void)
{
	memset(&calls, 0, sizeof(calls));
	file_set_hooks(&counting);
	reopen();
	ck_assert_int_eq(store_start(s.store, s.recovered.end), 0);
	file_set_hooks(NULL);
	persist_log_close(&s);
}

START_TEST(a_start_does_the_same_with_few_segments_and_with_many)
{
	uint32_t opens = 0;
	uint64_t read_len = 0;

	options.segment_len = 64 * KIB;
	for (int i = 0; i < 2; i++) {
		persist_log_fill(&ring, i ? 3000 : 100, 1);
		persist_log_open(&s, &options, 0);
		ck_assert_int_eq(store_start(s.store, s.recovered.end), 0);
		persist_log_write(&s, &ring, s.recovered.end, 4000);
		persist_log_close(&s);
		/* What was closed at the first start has records, at the second it is empty. */
		for (int k = 0; k < 2; k++) {
			count_start();
			ck_assert_uint_eq(calls.dir_syncs, 1);
			ck_assert_uint_le(calls.syncs, 4);
		}
		ck_assert_uint_gt(calls.opens, 0);
		if (i == 1) {
			ck_assert_uint_eq(calls.opens, opens);
			ck_assert_uint_eq(calls.read_len, read_len);
		}
		opens = calls.opens;
		read_len = calls.read_len;
	}
}
END_TEST

static uint64_t read_by_reopen(uint64_t known_durable)
{
	options.durable = known_durable;
	memset(&calls, 0, sizeof(calls));
	file_set_hooks(&counting);
	reopen();
	file_set_hooks(NULL);
	ck_assert_uint_eq(s.recovered.end, persist_log_end(&ring));
	ck_assert_uint_eq(s.recovered.n_ranges, 0);
	persist_log_close(&s);
	return calls.read_len;
}

START_TEST(what_is_known_to_be_durable_is_not_read_again)
{
	uint64_t all, middle;

	persist_log_fill(&ring, 5000, 1);
	middle = persist_log_end(&ring);
	persist_log_fill(&ring, 10, 1);
	crash(ring.base);
	all = read_by_reopen(0);
	ck_assert_uint_ge(all, ring.len);
	ck_assert_uint_lt(read_by_reopen(middle), all - (middle - ring.base) / 2);
	/* Beyond all that was ever handed out: nonsense. */
	ck_assert_uint_eq(read_by_reopen(FORMAT_POS_END - 32), all);
}
END_TEST

START_TEST(a_log_can_be_taken_up_again_below_its_end)
{
	uint64_t middle, base, end;
	bool closed;
	int fd;

	persist_log_fill(&ring, 100, 1);
	middle = persist_log_end(&ring);
	persist_log_fill(&ring, 3000, 1);
	crash(middle);
	reopen();
	ck_assert_uint_eq(s.recovered.end, persist_log_end(&ring));
	ck_assert_int_eq(store_start(s.store, middle - 32), -EINVAL);
	ck_assert_int_eq(store_start(s.store, middle), 0);
	ck_assert_int_eq(store_open_segment(s.store, ring.base, &base, &end, &closed, &fd), 0);
	close(fd);
	ck_assert_uint_eq(end, middle);
	ck_assert_int_eq(store_open_segment(s.store, middle, &base, &end, &closed, &fd),
			 STORE_E_END);
	persist_log_write(&s, &ring, middle, 1000);
	persist_log_compare(&s, &ring, ring.base, persist_log_end(&ring));
	persist_log_close(&s);
	reopen();
	ck_assert_uint_eq(s.recovered.end, persist_log_end(&ring));
	ck_assert_uint_eq(s.recovered.n_ranges, 0);
	persist_log_compare(&s, &ring, ring.base, persist_log_end(&ring));
	persist_log_close(&s);
}
END_TEST

START_TEST(a_tail_torn_at_any_byte_is_cut_at_the_record_before)
{
	uint64_t last, cut, expected, second;

	persist_log_fill(&ring, 20, 1);
	durable = persist_log_end(&ring);
	second = persist_log_add(&ring, RECORD_COMMITTED, 100, 1);
	last = persist_log_add(&ring, RECORD_COMMITTED, 55, 1);
	crash(durable);
	/* From the last record's padding, which says nothing, down to the durable position. */
	for (cut = persist_log_end(&ring) - 1; cut >= durable; cut--) {
		ck_assert_int_eq(truncate(segment_path, (off_t)file_off(cut)), 0);
		expected = cut >= last ? last : cut >= second + record_span(132) ? last : second;
		expected = cut < second + record_span(132) ? second : expected;
		reopen();
		ck_assert_uint_eq(s.recovered.end, expected);
		ck_assert_uint_le(s.recovered.n_ranges, 1);
		if (s.recovered.n_ranges == 1)
			ck_assert_int_eq(s.recovered.ranges[0].kind, RECOVER_TORN);
		persist_log_compare(&s, &ring, ring.base, expected);
		persist_log_close(&s);
	}
}
END_TEST

START_TEST(zeros_behind_the_last_record_are_nothing)
{
	uint64_t last;

	persist_log_fill(&ring, 20, 1);
	last = persist_log_add(&ring, RECORD_COMMITTED, 5000, 1);
	crash(ring.base);
	ck_assert_int_eq(truncate(segment_path, (off_t)file_off(last)), 0);
	ck_assert_int_eq(truncate(segment_path, (off_t)file_off(last + 100000)), 0);
	reopen();
	ck_assert_uint_eq(s.recovered.end, last);
	ck_assert_uint_eq(s.recovered.n_ranges, 0);
	persist_log_close(&s);
}
END_TEST

START_TEST(a_torn_tail_ends_where_zeros_begin)
{
	uint64_t last;

	persist_log_fill(&ring, 20, 1);
	last = persist_log_add(&ring, RECORD_COMMITTED, 5000, 1);
	crash(ring.base);
	ck_assert_int_eq(truncate(segment_path, (off_t)file_off(last + 3001)), 0);
	ck_assert_int_eq(truncate(segment_path, (off_t)file_off(last + 100000)), 0);
	reopen();
	ck_assert_uint_eq(s.recovered.end, last);
	expect_range(RECOVER_TORN, last, last + align_up(3001, RECORD_ALIGN));
	persist_log_close(&s);
}
END_TEST

/* A record may end in zeros itself, and the file with it. */
START_TEST(zeros_that_belong_to_a_record_are_kept)
{
	struct store_totals totals;
	uint64_t pos;

	persist_log_fill(&ring, 20, 1);
	pos = persist_log_add(&ring, RECORD_TOMBSTONE, 4000, 1);
	memset(ring.bytes + (pos - ring.base) + RECORD_HEADER_LEN, 0, 4000);
	crash(ring.base);
	reopen();
	ck_assert_uint_eq(s.recovered.end, persist_log_end(&ring));
	ck_assert_uint_eq(s.recovered.n_ranges, 0);
	store_totals(s.store, &totals);
	ck_assert_uint_eq(totals.written, persist_log_end(&ring));
	persist_log_close(&s);
}
END_TEST

START_TEST(records_after_damage_above_the_checkpoint_are_kept)
{
	uint64_t bad, after;
	struct stat now;

	persist_log_fill(&ring, 20, 1);
	bad = persist_log_add(&ring, RECORD_COMMITTED, 200, 1);
	persist_log_add(&ring, RECORD_COMMITTED, 200, 1);
	after = persist_log_add(&ring, RECORD_COMMITTED, 200, 1);
	persist_log_fill(&ring, 20, 1);
	crash(bad);
	persist_log_poke(segment_path, file_off(bad), NULL, 300);
	reopen();
	ck_assert_uint_eq(s.recovered.end, persist_log_end(&ring));
	expect_range(RECOVER_DAMAGE, bad, after);
	ck_assert_int_eq(store_start(s.store, s.recovered.reserved_until), 0);
	persist_log_close(&s);
	/* The zeros behind the last record are all that goes. */
	ck_assert_int_eq(stat(segment_path, &now), 0);
	ck_assert_uint_eq(now.st_size, file_off(persist_log_end(&ring)));
}
END_TEST

START_TEST(damage_below_the_checkpoint_is_kept_and_found_by_readers_and_verify)
{
	struct verify_stats stats;
	struct reader_run run;
	struct reader *reader;
	uint64_t bad, after, base, end, next;
	char buf[8192];
	bool closed;
	int fd;

	persist_log_fill(&ring, 20, 1);
	bad = persist_log_add(&ring, RECORD_COMMITTED, 200, 1);
	after = persist_log_add(&ring, RECORD_COMMITTED, 200, 1);
	persist_log_fill(&ring, 20, 1);
	crash(persist_log_end(&ring));
	persist_log_poke(segment_path, file_off(bad) + 50, NULL, 1);
	reopen();
	ck_assert_uint_eq(s.recovered.end, persist_log_end(&ring));
	ck_assert_uint_eq(s.recovered.n_ranges, 0);
	ck_assert_int_eq(store_open_segment(s.store, bad, &base, &end, &closed, &fd), 0);
	ck_assert_int_eq(reader_open(fd, &reader), 0);
	ck_assert_int_eq(reader_read(reader, ring.base, end, buf, sizeof(buf), &run), 0);
	ck_assert_uint_eq(run.next_pos, bad);
	ck_assert_int_eq(reader_read(reader, bad, end, buf, sizeof(buf), &run), -EBADMSG);
	ck_assert_int_eq(reader_resync(reader, bad, end, &next), 0);
	ck_assert_uint_eq(next, after);
	reader_close(reader);
	persist_log_close(&s);
	ck_assert_int_eq(verify_dir(image, NULL, NULL, &stats), 0);
	ck_assert_uint_eq(stats.n_damaged, 1);
	ck_assert_uint_eq(stats.end, persist_log_end(&ring));
}
END_TEST

START_TEST(what_is_missing_below_the_checkpoint_is_damage_and_never_used_again)
{
	uint64_t bad, end;

	persist_log_fill(&ring, 20, 1);
	bad = persist_log_end(&ring);
	persist_log_fill(&ring, 20, 1);
	end = persist_log_end(&ring);
	crash(end);
	ck_assert_int_eq(truncate(segment_path, (off_t)file_off(bad)), 0);
	reopen();
	ck_assert_uint_eq(s.recovered.end, end);
	expect_range(RECOVER_DAMAGE, bad, end);
	ck_assert_int_eq(store_start(s.store, bad), -EINVAL);
	ck_assert_int_eq(store_start(s.store, end), 0);
	persist_log_close(&s);
}
END_TEST

START_TEST(a_batch_that_is_not_whole_is_dropped_whole)
{
	uint64_t batch, inner;

	persist_log_fill(&ring, 20, 1);
	batch = persist_log_add_batch(&ring, 5, 100);
	inner = batch + 32 + 3 * record_span(132) + 64;
	crash(batch);
	if (_i == 0)
		ck_assert_int_eq(truncate(segment_path, (off_t)file_off(inner)), 0);
	else
		persist_log_poke(segment_path, file_off(inner), NULL, 1);
	reopen();
	ck_assert_uint_eq(s.recovered.end, batch);
	ck_assert_int_eq(s.recovered.ranges[0].kind, RECOVER_TORN);
	persist_log_close(&s);
}
END_TEST

START_TEST(a_broken_batch_in_the_middle_is_damage_as_a_whole)
{
	uint64_t batch, after;

	persist_log_fill(&ring, 20, 1);
	batch = persist_log_add_batch(&ring, 5, 100);
	after = persist_log_end(&ring);
	persist_log_add_batch(&ring, 5, 100);
	persist_log_fill(&ring, 5, 1);
	crash(batch);
	persist_log_poke(segment_path, file_off(after) - 20, NULL, 1);
	reopen();
	/* In the padding of the last record that changes nothing; the value is hit. */
	persist_log_close(&s);
	persist_log_poke(segment_path, file_off(after) - record_span(132) + 40, NULL, 1);
	reopen();
	ck_assert_uint_eq(s.recovered.end, persist_log_end(&ring));
	expect_range(RECOVER_DAMAGE, batch, after);
	persist_log_close(&s);
}
END_TEST

START_TEST(one_damaged_slot_of_the_checkpoint_is_no_loss)
{
	char path[128];

	persist_log_fill(&ring, 50, 1);
	crash(persist_log_end(&ring));
	snprintf(path, sizeof(path), "%s/checkpoint", image);
	persist_log_poke(path, (uint64_t)_i * 4096 + 70, NULL, 1);
	reopen();
	ck_assert(!s.recovered.checkpoint_lost);
	ck_assert_uint_eq(s.recovered.end, persist_log_end(&ring));
	ck_assert_uint_ge(s.recovered.reserved_until, ring.base + 4 * GIB);
	persist_log_close(&s);
}
END_TEST

START_TEST(without_a_checkpoint_the_log_goes_on_far_above)
{
	char path[128];

	persist_log_fill(&ring, 50, 1);
	crash(persist_log_end(&ring));
	snprintf(path, sizeof(path), "%s/checkpoint", image);
	if (_i == 0) {
		persist_log_poke(path, 70, NULL, 1);
		persist_log_poke(path, 4096 + 70, NULL, 1);
	} else {
		ck_assert_int_eq(unlink(path), 0);
	}
	reopen();
	ck_assert(s.recovered.checkpoint_lost);
	ck_assert_uint_eq(s.recovered.end, persist_log_end(&ring));
	ck_assert_uint_ge(s.recovered.reserved_until, persist_log_end(&ring) + RECOVER_JUMP);
	persist_log_compare(&s, &ring, ring.base, persist_log_end(&ring));
	ck_assert_int_eq(store_start(s.store, s.recovered.reserved_until), 0);
	persist_log_close(&s);
	reopen();
	ck_assert(!s.recovered.checkpoint_lost);
	persist_log_close(&s);
}
END_TEST

START_TEST(the_records_of_a_segment_with_a_damaged_header_are_kept)
{
	bool closed;
	uint64_t base, end;
	struct reader *reader;
	int fd;

	persist_log_fill(&ring, 50, 1);
	crash(ring.base);
	persist_log_poke(segment_path, 1000, NULL, 1);
	reopen();
	ck_assert_uint_eq(s.recovered.end, persist_log_end(&ring));
	expect_range(RECOVER_HEADER, ring.base, ring.base + 32);
	ck_assert_int_eq(store_start(s.store, s.recovered.end), 0);
	ck_assert_int_eq(store_open_segment(s.store, ring.base, &base, &end, &closed, &fd), 0);
	ck_assert_int_eq(reader_open(fd, &reader), -EBADMSG);
	close(fd);
	persist_log_close(&s);
	ck_assert_int_eq(access(segment_path, F_OK), 0);
}
END_TEST

START_TEST(a_segment_of_a_newer_format_stops_us_and_stays)
{
	struct store_recovered recovered;
	struct format_segment header;
	struct store *store;
	struct io *io;
	int fd;

	persist_log_fill(&ring, 50, 1);
	crash(ring.base);
	fd = open(segment_path, O_RDWR);
	ck_assert_int_eq(pread(fd, &header, sizeof(header), 0), sizeof(header));
	format_segment_seal(&header);
	header.incompat = 4;
	/* A newer writer's CRC covers its bit. */
	header.crc = 0;
	header.crc = crc32c(0, &header, sizeof(header));
	ck_assert_int_eq(pwrite(fd, &header, sizeof(header), 0), sizeof(header));
	close(fd);
	ck_assert_int_eq(io_new(0, 0, &io), 0);
	ck_assert_int_eq(store_open(&options, io, &recovered, &store), -EPROTONOSUPPORT);
	io_free(io);
	ck_assert_int_eq(access(segment_path, F_OK), 0);
}
END_TEST

/* Bytes of log in the closed segments; none takes more of the disk than that. */
static uint64_t len_of_closed(void)
{
	struct store_segment_info infos[64];
	uint64_t len = 0;
	size_t i, n = store_list(s.store, 0, infos, ARRAY_LEN(infos));

	for (i = 0; i + 1 < n; i++) {
		struct stat st;

		persist_log_segment_path(dir, infos[i].base, segment_path);
		ck_assert_int_eq(stat(segment_path, &st), 0);
		ck_assert_int_le(st.st_blocks * 512, (off_t)align_up((uint64_t)st.st_size, 4096));
		len += (uint64_t)st.st_size - FORMAT_SEGMENT_LEN;
	}
	return len;
}

/* A process that begins with what the last one left, writes a little and is killed. */
static void live_and_die(void)
{
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		persist_log_open(&s, &options, 0);
		ring.base = s.recovered.reserved_until;
		ck_assert_int_eq(store_start(s.store, ring.base), 0);
		persist_log_fill(&ring, 10, 1);
		persist_log_write(&s, &ring, ring.base, 1000);
		persist_log_sync(&s);
		kill(getpid(), SIGKILL);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGKILL);
}

START_TEST(what_a_killed_process_had_reserved_is_given_back)
{
	struct verify_stats stats;
	uint64_t len;

	/* Zeros go ahead of such writes on some file systems only. */
	options.zero_len = 64 * KIB;
	for (int i = 0; i < 20; i++)
		live_and_die();
	persist_log_open(&s, &options, 0);
	ck_assert_int_eq(store_start(s.store, s.recovered.reserved_until), 0);
	len = len_of_closed();
	persist_log_close(&s);
	ck_assert_int_eq(verify_dir(dir, NULL, NULL, &stats), 0);
	ck_assert_uint_eq(stats.n_damaged, 0);
	ck_assert_uint_eq(stats.n_records, 20 * 10);
	ck_assert_uint_eq(stats.n_bytes, len);
}
END_TEST

START_TEST(crashes_one_after_the_other_leave_a_log_that_verifies)
{
	struct verify_stats stats;
	uint64_t n_bytes = 0, pos;
	int i;

	options.segment_len = 64 * KIB;
	persist_log_fill(&ring, 1500, 1);
	crash(ring.base);
	n_bytes = ring.len;
	for (i = 0; i < 5; i++) {
		struct persist_log more;

		persist_log_open(&s, &options, 0);
		pos = i % 2 ? s.recovered.end : s.recovered.reserved_until;
		ck_assert_int_eq(store_start(s.store, pos), 0);
		persist_log_init(&more, pos, true);
		persist_log_fill(&more, 700, 5);
		persist_log_write(&s, &more, pos, 1000);
		while (io_pending(s.io) > 0)
			io_wait(s.io, 1000);
		persist_log_copy_dir(image, dir);
		persist_log_close(&s);
		/* The copy, not the closed one, is what the next one finds. */
		persist_log_remove_dir(image);
		persist_log_copy_dir(dir, image);
		persist_log_remove_dir(dir);
		n_bytes += more.len;
		persist_log_deinit(&more);
	}
	ck_assert_int_eq(verify_dir(image, NULL, NULL, &stats), 0);
	ck_assert_uint_eq(stats.n_damaged, 0);
	ck_assert_uint_eq(stats.n_bytes, n_bytes);
	ck_assert_uint_eq(stats.earliest, ring.base);
}
END_TEST

START_TEST(a_log_without_checksums_is_cut_at_the_first_record_that_looks_wrong)
{
	uint64_t bad;

	options.checksum = false;
	persist_log_deinit(&ring);
	persist_log_init(&ring, PERSIST_LOG_FIRST, false);
	persist_log_fill(&ring, 20, 1);
	bad = persist_log_end(&ring);
	persist_log_fill(&ring, 20, 1);
	crash(ring.base);
	reopen();
	ck_assert_uint_eq(s.recovered.end, persist_log_end(&ring));
	persist_log_close(&s);
	persist_log_poke(segment_path, file_off(bad), "\0\0\0\0\0\0\0\0", 8);
	reopen();
	ck_assert_uint_eq(s.recovered.end, bad);
	expect_range(RECOVER_TORN, bad, persist_log_end(&ring));
	persist_log_close(&s);
}
END_TEST

/* The n-th read, or open, gives this. */
static struct {
	enum file_kind kind;
	int error;
	_Atomic uint32_t n;
} once;

static int fail_once(void *ctx, const struct file_event *event)
{
	(void)ctx;
	if (event->kind != once.kind || once.error == 0)
		return 0;
	return fetch_add_relaxed(&once.n, UINT32_MAX) == 1 ? once.error : 0;
}

START_TEST(an_error_that_is_no_damage_is_told_and_cuts_nothing)
{
	static const struct file_hooks hooks = { .before = fail_once };
	struct store_recovered recovered;
	unsigned int n_failed = 0;
	struct store *store;
	struct io *io;
	uint64_t bad;
	int r = -1;

	persist_log_fill(&ring, 300, 1);
	bad = persist_log_add(&ring, RECORD_COMMITTED, 200, 1);
	persist_log_fill(&ring, 300, 1);
	crash(ring.base);
	persist_log_poke(segment_path, file_off(bad) + 50, NULL, 1);
	ck_assert_int_eq(io_new(0, 0, &io), 0);
	file_set_hooks(&hooks);
	once.kind = _i ? FILE_OPEN : FILE_READ;
	once.error = _i ? -ENFILE : -ENXIO;
	for (uint32_t n = 1; n < 100; n++) {
		store_relaxed(&once.n, n);
		r = store_open(&options, io, &recovered, &store);
		if (r < 0) {
			ck_assert_int_eq(r, once.error);
			n_failed++;
			continue;
		}
		ck_assert_uint_eq(recovered.end, persist_log_end(&ring));
		/* Zeros behind the end that cannot be read count as torn. */
		ck_assert_uint_ge(recovered.n_ranges, 1);
		ck_assert_int_eq(recovered.ranges[0].kind, RECOVER_DAMAGE);
		ck_assert_uint_eq(recovered.ranges[0].from, bad);
		store_close(store);
		if ((int32_t)load_relaxed(&once.n) > 0)
			break;
	}
	ck_assert_int_eq(r, 0);
	ck_assert_uint_gt(n_failed, 2);
	file_set_hooks(NULL);
	io_free(io);
}
END_TEST

START_TEST(more_damage_than_there_is_room_for_is_one_range_to_its_end)
{
	uint64_t bad = 0, first = 0;
	unsigned int n = 0;

	options.segment_len = 4 * MIB;
	while (n < RECOVER_RANGES_MAX + 10) {
		bad = persist_log_add(&ring, RECORD_COMMITTED, 32, 1);
		first = first ? first : bad;
		persist_log_add(&ring, RECORD_COMMITTED, 32, 1);
		n++;
	}
	crash(ring.base);
	for (uint64_t pos = first; pos <= bad; pos += 2 * record_span(RECORD_HEADER_LEN + 32))
		persist_log_poke(segment_path, file_off(pos) + 40, NULL, 1);
	reopen();
	ck_assert_uint_eq(s.recovered.end, persist_log_end(&ring));
	ck_assert_uint_eq(s.recovered.n_ranges, RECOVER_RANGES_MAX);
	ck_assert_uint_eq(s.recovered.ranges[0].from, first);
	/* In the order of the log, none of them forgotten. */
	for (size_t i = 1; i < s.recovered.n_ranges; i++)
		ck_assert_uint_gt(s.recovered.ranges[i].from, s.recovered.ranges[i - 1].to);
	ck_assert_uint_eq(s.recovered.ranges[RECOVER_RANGES_MAX - 1].to,
			  bad + record_span(RECORD_HEADER_LEN + 32));
	persist_log_close(&s);
}
END_TEST

static unsigned int found_kinds[8];

static void count_kind(void *ctx, const struct verify_finding *finding)
{
	(void)ctx;
	found_kinds[finding->kind]++;
}

START_TEST(verify_names_each_thing_that_is_wrong)
{
	struct verify_stats stats;
	struct store_segment_info infos[16];
	char path[128];
	size_t n;

	options.segment_len = 64 * KIB;
	persist_log_fill(&ring, 3000, 1);
	persist_log_open(&s, &options, 0);
	ck_assert_int_eq(store_start(s.store, ring.base), 0);
	persist_log_write(&s, &ring, ring.base, 1000);
	n = store_list(s.store, 0, infos, ARRAY_LEN(infos));
	ck_assert_uint_gt(n, 5);
	persist_log_close(&s);
	ck_assert_int_eq(verify_dir(dir, count_kind, NULL, &stats), 0);
	ck_assert_uint_eq(stats.n_damaged, 0);
	ck_assert_uint_eq(stats.n_bytes, ring.len);
	ck_assert_uint_eq(stats.n_records, 3000 - 60);
	ck_assert_uint_eq(stats.n_segments, n);

	persist_log_segment_path(dir, infos[1].base, path);
	persist_log_poke(path, 5000, NULL, 1); /* a record */
	persist_log_segment_path(dir, infos[2].base, path);
	persist_log_poke(path, 20, NULL, 1); /* the header */
	persist_log_segment_path(dir, infos[4].base, path);
	ck_assert_int_eq(truncate(path, 30000), 0); /* its end */
	snprintf(path, sizeof(path), "%s/checkpoint", dir);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(verify_dir(dir, count_kind, NULL, &stats), 0);
	ck_assert_uint_eq(found_kinds[VERIFY_DAMAGE], 2);
	ck_assert_uint_eq(found_kinds[VERIFY_HEADER], 1);
	ck_assert_uint_eq(found_kinds[VERIFY_CHECKPOINT], 1);
	ck_assert_uint_eq(found_kinds[VERIFY_CHAIN], 0);
	ck_assert_uint_eq(found_kinds[VERIFY_GAP], 0);
	ck_assert_uint_eq(stats.n_damaged, 4);
	/* A whole segment that somebody took away. */
	persist_log_segment_path(dir, infos[3].base, path);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(verify_dir(dir, count_kind, NULL, &stats), 0);
	ck_assert_uint_gt(stats.n_damaged, 4);
	ck_assert_int_eq(verify_dir("/nonexistent", NULL, NULL, &stats), -ENOENT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("recover");
	TCase *tc = tcase_create("recover");
	SRunner *runner;
	int n_failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_killed_process_loses_nothing_that_was_written);
	tcase_add_test(tc, a_start_does_the_same_with_few_segments_and_with_many);
	tcase_add_test(tc, what_is_known_to_be_durable_is_not_read_again);
	tcase_add_test(tc, a_log_can_be_taken_up_again_below_its_end);
	tcase_add_test(tc, a_tail_torn_at_any_byte_is_cut_at_the_record_before);
	tcase_add_test(tc, zeros_behind_the_last_record_are_nothing);
	tcase_add_test(tc, a_torn_tail_ends_where_zeros_begin);
	tcase_add_test(tc, zeros_that_belong_to_a_record_are_kept);
	tcase_add_test(tc, records_after_damage_above_the_checkpoint_are_kept);
	tcase_add_test(tc, damage_below_the_checkpoint_is_kept_and_found_by_readers_and_verify);
	tcase_add_test(tc, what_is_missing_below_the_checkpoint_is_damage_and_never_used_again);
	tcase_add_loop_test(tc, a_batch_that_is_not_whole_is_dropped_whole, 0, 2);
	tcase_add_test(tc, a_broken_batch_in_the_middle_is_damage_as_a_whole);
	tcase_add_loop_test(tc, one_damaged_slot_of_the_checkpoint_is_no_loss, 0, 2);
	tcase_add_loop_test(tc, without_a_checkpoint_the_log_goes_on_far_above, 0, 2);
	tcase_add_test(tc, the_records_of_a_segment_with_a_damaged_header_are_kept);
	tcase_add_test(tc, a_segment_of_a_newer_format_stops_us_and_stays);
	tcase_add_test(tc, what_a_killed_process_had_reserved_is_given_back);
	tcase_add_test(tc, crashes_one_after_the_other_leave_a_log_that_verifies);
	tcase_add_test(tc, a_log_without_checksums_is_cut_at_the_first_record_that_looks_wrong);
	tcase_add_loop_test(tc, an_error_that_is_no_damage_is_told_and_cuts_nothing, 0, 2);
	tcase_add_test(tc, more_damage_than_there_is_room_for_is_one_range_to_its_end);
	tcase_add_test(tc, verify_names_each_thing_that_is_wrong);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
