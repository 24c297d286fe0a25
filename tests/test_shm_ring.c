/* SPDX-License-Identifier: Apache-2.0 */
/* Reserve, commit, read, close, reclaim: one thread plays all parts, so every order is chosen. */
#include <check.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "tests/ring_bed.h"

#define FIRST LAYOUT_FIRST_POS

static struct ring_bed bed;
static struct ring_publisher publisher;
static char buf[LAYOUT_RING_MIN];
static uint64_t limit, got;

static void setup(void)
{
	ring_bed_init(&bed, LAYOUT_RING_MIN);
	ck_assert_int_eq(ring_publisher_init(&publisher, bed.writer, 9, -1), 0);
	ring_bed_own(bed.daemon, 9, OWNER_TAKEN, 9);
	limit = got = 0;
}

static void teardown(void)
{
	ring_bed_deinit(&bed);
}

static uint64_t publish(uint32_t value_len, uint64_t number)
{
	uint64_t pos;

	ck_assert_int_eq(ring_bed_publish(&publisher, 1, number, value_len, &pos), 0);
	return pos;
}

static int read_at(uint64_t pos)
{
	return ring_read(bed.reader, pos, UINT64_MAX, &limit, buf, sizeof(buf), &got);
}

static void commit_word(uint64_t pos, uint64_t word)
{
	ck_assert_int_eq(ring_commit(&publisher, pos, word, 1), 0);
}

/* ---- publishing ---- */

START_TEST(positions_begin_where_the_shard_says_and_grow_by_the_rounded_length)
{
	ck_assert_uint_eq(publish(16, 0), FIRST);
	ck_assert_uint_eq(publish(32, 1), FIRST + 64);
	ck_assert_uint_eq(publish(33, 2), FIRST + 128);
	ck_assert_uint_eq(publish(16, 3), FIRST + 128 + 96);
	ck_assert_uint_eq(ring_tail(bed.reader), FIRST + 128 + 96 + 64);
}
END_TEST

START_TEST(a_reservation_names_its_owner_and_length_before_any_content)
{
	uint64_t pos;

	ck_assert_int_eq(ring_reserve(&publisher, 77, &pos), 0);
	ck_assert_uint_eq(ring_word_at(bed.reader, pos), record_word(RECORD_RESERVED, 77, 9, 0));
	ck_assert_uint_eq(load_relaxed(&publisher.slot->claim) & 1, 0);
}
END_TEST

START_TEST(reserve_returns_full_at_the_limit_and_leaves_everything_as_it_was)
{
	uint64_t pos = 123, tail, n = LAYOUT_RING_MIN / 128;

	for (uint64_t i = 0; i < n; i++)
		publish(96, i);
	tail = ring_tail(bed.reader);
	ck_assert_uint_eq(tail, FIRST + LAYOUT_RING_MIN);
	ck_assert_int_eq(ring_reserve(&publisher, 32, &pos), RING_E_FULL);
	ck_assert_uint_eq(pos, 123);
	ck_assert_uint_eq(ring_tail(bed.reader), tail);
	ck_assert_uint_eq(load_relaxed(&publisher.slot->claim) & 1, 0);
	/* The header at the limit is the first one of this lap still. */
	ck_assert_int_eq(record_word_kind(ring_word_at(bed.reader, FIRST)), RECORD_COMMITTED);
}
END_TEST

START_TEST(a_record_that_would_end_beyond_the_limit_does_not_fit)
{
	uint64_t pos;

	for (unsigned int i = 0; i < LAYOUT_RING_MIN / 128 - 1; i++)
		publish(96, i);
	ck_assert_int_eq(ring_reserve(&publisher, 129, &pos), RING_E_FULL);
	ck_assert_int_eq(ring_reserve(&publisher, 128, &pos), 0);
}
END_TEST

START_TEST(reserve_sees_a_raised_limit_by_itself)
{
	uint64_t pos, first;

	for (unsigned int i = 0; i < LAYOUT_RING_MIN / 128; i++)
		first = publish(96, i);
	ck_assert_int_eq(ring_reserve(&publisher, 128, &pos), RING_E_FULL);
	ring_reclaim(bed.daemon, FIRST + 128);
	ck_assert_int_eq(ring_reserve(&publisher, 128, &pos), 0);
	ck_assert_uint_eq(pos, first + 128);
	ck_assert_int_eq(ring_reserve(&publisher, 128, &pos), RING_E_FULL);
}
END_TEST

START_TEST(the_largest_record_fits_and_wraps_without_a_seam)
{
	struct ring_bed_drain drain;
	struct record_view view;
	uint64_t who, number, word;
	uint32_t max = bed.writer->max_len - RECORD_HEADER_LEN;

	ck_assert_uint_eq(bed.writer->max_len, LAYOUT_RING_MIN / 4);
	ring_bed_drain_init(&drain, bed.daemon, FIRST);
	publish(64, 0);
	for (uint64_t i = 1; i < 50; i++) {
		uint64_t pos;

		while (ring_bed_publish(&publisher, 1, i, max, &pos) == RING_E_FULL)
			ring_bed_drain_pass(&drain);
		ck_assert_int_eq(read_at(pos), 0);
		memcpy(&word, buf, 8);
		ck_assert_int_eq(record_parse(word, buf, pos, &view), 0);
		ck_assert(ring_bed_check(&view, &who, &number));
		ck_assert_uint_eq(number, i);
		ring_bed_drain_pass(&drain);
	}
	ck_assert_uint_eq(drain.records, 50);
	ck_assert_uint_eq(drain.damaged, 0);
}
END_TEST

START_TEST(a_tail_that_is_nonsense_is_refused_and_full_beyond_the_limit)
{
	_Atomic uint64_t *tail = &bed.writer->publish->tail;
	uint64_t pos;

	for (uint64_t low = 2; low < 32; low += 2) {
		store_relaxed(tail, FIRST | low);
		ck_assert_int_eq(ring_reserve(&publisher, 64, &pos), -EBADMSG);
	}
	store_relaxed(tail, UINT64_MAX & ~UINT64_C(31));
	ck_assert_int_eq(ring_reserve(&publisher, 64, &pos), -EBADMSG);
	store_relaxed(tail, LAYOUT_POS_END);
	ck_assert_int_eq(ring_reserve(&publisher, 64, &pos), RING_E_FULL);
	store_relaxed(tail, FIRST + LAYOUT_RING_MIN + 4096);
	ck_assert_int_eq(ring_reserve(&publisher, 64, &pos), RING_E_FULL);
	ck_assert_uint_eq(load_relaxed(&publisher.slot->claim) & 1, 0);
}
END_TEST

START_TEST(the_tail_is_believed_only_between_reclaimed_and_limit)
{
	_Atomic uint64_t *tail = &bed.writer->publish->tail;

	store_relaxed(tail, 0);
	ck_assert_uint_eq(ring_tail(bed.reader), FIRST);
	store_relaxed(tail, UINT64_MAX);
	ck_assert_uint_eq(ring_tail(bed.reader), FIRST + LAYOUT_RING_MIN);
	store_relaxed(tail, FIRST + 64 + 31);
	ck_assert_uint_eq(ring_tail(bed.reader), FIRST + 64);
}
END_TEST

START_TEST(there_are_256_slots_and_only_publishers_get_one)
{
	struct ring_publisher p;

	ck_assert_int_eq(ring_publisher_init(&p, bed.writer, 255, -1), 0);
	ck_assert_int_eq(ring_publisher_init(&p, bed.writer, 256, -1), -EINVAL);
	ck_assert_int_eq(ring_publisher_init(&p, bed.reader, 0, -1), -EINVAL);
}
END_TEST

START_TEST(a_slot_counts_records_and_bytes_of_log)
{
	struct ring_publisher again;

	publish(16, 1);
	publish(100, 2);
	ck_assert_uint_eq(load_relaxed(&publisher.slot->records), 2);
	ck_assert_uint_eq(load_relaxed(&publisher.slot->bytes), 64 + 160);
	ck_assert_int_eq(ring_publisher_init(&again, bed.writer, 9, -1), 0);
	publisher = again;
	publish(16, 3);
	ck_assert_uint_eq(load_relaxed(&publisher.slot->records), 3);
}
END_TEST

/* ---- no system call ---- */

/* From here on every system call but exit_group ends the process with SIGSYS. */
static void forbid_calls(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = { .len = ARRAY_LEN(code), .filter = code };

	bed_must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "PR_SET_NO_NEW_PRIVS");
	bed_must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "PR_SET_SECCOMP");
}

static int publish_and_read_1000(bool cheat)
{
	struct ring *writer = ring_bed_open(&bed, REGION_PUBLISHER);
	struct ring *reader = ring_bed_open(&bed, REGION_SUBSCRIBER);
	struct ring_publisher p;
	uint64_t pos, at = FIRST;

	bed_must(ring_publisher_init(&p, writer, 9, -1) == 0, "ring_publisher_init");
	forbid_calls();
	for (uint64_t i = 0; i < 1000; i++) {
		if (ring_bed_publish(&p, 1, i, 32, &pos) != 0)
			return 1;
		if (ring_read(reader, at, UINT64_MAX, &limit, buf, sizeof(buf), &got) != 0)
			return 2;
		at += got;
	}
	if (cheat)
		(void)syscall(SYS_getppid);
	return at == FIRST + 64 * 1000 ? 0 : 3;
}

static int in_a_child(bool cheat)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		int r = publish_and_read_1000(cheat);

		for (;;)
			(void)syscall(SYS_exit_group, r);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

START_TEST(a_thousand_records_of_64_bytes_make_no_system_call_at_either_end)
{
	ck_assert_int_eq(in_a_child(false), 0);
}
END_TEST

START_TEST(the_filter_that_proves_it_does_catch_a_system_call)
{
	int status = in_a_child(true);

	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGSYS);
}
END_TEST

/* ---- reading ---- */

START_TEST(an_empty_ring_is_empty_and_not_an_error)
{
	ck_assert_int_eq(read_at(FIRST), RING_E_EMPTY);
	ck_assert_int_eq(read_at(FIRST + LAYOUT_RING_MIN), RING_E_EMPTY);
	ck_assert_int_eq(read_at(LAYOUT_POS_END), RING_E_EMPTY);
}
END_TEST

START_TEST(a_run_ends_before_what_is_not_finished)
{
	uint64_t pos, word;

	publish(16, 0);
	publish(16, 1);
	ck_assert_int_eq(ring_reserve(&publisher, 64, &pos), 0);
	memset((char *)ring_at(bed.writer, pos) + 8, 1, 56);
	word = record_word(RECORD_COMMITTED, 64, 9, 0);
	publish(16, 3);
	ck_assert_int_eq(read_at(FIRST), 0);
	ck_assert_uint_eq(got, 128);
	ck_assert_int_eq(read_at(pos), RING_E_EMPTY);
	commit_word(pos, word);
	ck_assert_int_eq(read_at(pos), 0);
	ck_assert_uint_eq(got, 128);
}
END_TEST

START_TEST(a_run_ends_at_upto_and_at_the_end_of_the_buffer)
{
	for (unsigned int i = 0; i < 10; i++)
		publish(32, i);
	ck_assert_int_eq(
		ring_read(bed.reader, FIRST, FIRST + 128 + 63, &limit, buf, sizeof(buf), &got), 0);
	ck_assert_uint_eq(got, 128);
	ck_assert_int_eq(ring_read(bed.reader, FIRST, UINT64_MAX, &limit, buf, 200, &got), 0);
	ck_assert_uint_eq(got, 192);
	ck_assert_int_eq(ring_read(bed.reader, FIRST, FIRST, &limit, buf, 200, &got), RING_E_EMPTY);
	ck_assert_int_eq(ring_read(bed.reader, FIRST, FIRST + 63, &limit, buf, 200, &got),
			 RING_E_EMPTY);
}
END_TEST

START_TEST(a_buffer_that_is_too_small_is_told_the_span_that_it_needs)
{
	publish(1000, 1);
	ck_assert_int_eq(ring_read(bed.reader, FIRST, UINT64_MAX, &limit, buf, 1055, &got),
			 RING_E_SMALL);
	ck_assert_uint_eq(got, 1056);
	ck_assert_int_eq(ring_read(bed.reader, FIRST, UINT64_MAX, &limit, buf, got, &got), 0);
	ck_assert_uint_eq(got, 1056);
}
END_TEST

START_TEST(of_padding_tombstones_and_damage_the_header_alone_is_copied)
{
	static const enum record_kind kinds[] = { RECORD_PADDING, RECORD_TOMBSTONE,
						  RECORD_DAMAGED };

	for (unsigned int i = 0; i < ARRAY_LEN(kinds); i++) {
		uint64_t before = publish(16, i), pos, word = record_word(kinds[i], 4096, 9, 0);

		ck_assert_int_eq(ring_reserve(&publisher, 4096, &pos), 0);
		((struct record_header *)ring_at(bed.writer, pos))->crc =
			record_crc(bed.writer->crc_seed, pos, word, ring_at(bed.writer, pos));
		commit_word(pos, word);
		publish(16, i);
		ck_assert_int_eq(read_at(before), 0);
		ck_assert_uint_eq(got, 64 + 32);
		memcpy(&word, buf + 64, 8);
		ck_assert_int_eq(record_word_kind(word), kinds[i]);
		/* The step leads beyond the run. */
		ck_assert_int_eq(read_at(pos + record_step(word)), 0);
		ck_assert_uint_eq(got, 64);
	}
}
END_TEST

/* Two records of 64 bytes inside one reservation; not committed yet. */
static uint64_t reserve_batch(uint64_t *ret_word)
{
	uint64_t pos, at;

	ck_assert_int_eq(ring_reserve(&publisher, 32 + 128, &pos), 0);
	for (at = pos + 32; at < pos + 160; at += 64) {
		struct record_header *record = ring_at(bed.writer, at);
		uint64_t word = record_word(RECORD_COMMITTED, 64, 9, 0);

		memset((char *)record + 8, 0, 56);
		store_relaxed(&record->word, word);
		record->crc = record_crc(bed.writer->crc_seed, at, word, record);
	}
	*ret_word = record_word(RECORD_BATCH, 160, 9, 0);
	memset((char *)ring_at(bed.writer, pos) + 8, 0, 24);
	((struct record_header *)ring_at(bed.writer, pos))->crc =
		record_crc(bed.writer->crc_seed, pos, *ret_word, ring_at(bed.writer, pos));
	return pos;
}

START_TEST(of_a_batch_all_is_seen_or_nothing)
{
	uint64_t word, pos = reserve_batch(&word), tail = ring_tail(bed.reader);

	ck_assert_int_eq(read_at(pos), RING_E_EMPTY);
	commit_word(pos, word);
	publish(16, 1);
	ck_assert_int_eq(read_at(pos), 0);
	ck_assert_uint_eq(got, 160 + 64);
	ck_assert_uint_eq(ring_bed_unit(bed.daemon, pos, word, tail), 160);
}
END_TEST

START_TEST(of_a_batch_whose_publisher_died_nothing_is_seen)
{
	struct ring_bed_drain drain;
	uint64_t word, pos = reserve_batch(&word);

	ring_bed_own(bed.daemon, 9, OWNER_DEAD, 0);
	ring_bed_drain_init(&drain, bed.daemon, FIRST);
	ck_assert(ring_bed_drain_pass(&drain));
	ck_assert_uint_eq(drain.tombstone_bytes, 160);
	ck_assert_uint_eq(drain.records, 0);
	ck_assert_int_eq(read_at(pos), 0);
	ck_assert_uint_eq(got, 32);
	ck_assert_int_eq(read_at(pos + 32), RING_E_EMPTY);
}
END_TEST

START_TEST(a_word_that_no_publisher_writes_is_garbage_to_every_reader)
{
	static const uint64_t words[] = {
		UINT64_C(0xdeadbeefdeadbeef),
		UINT64_C(2) << 48 | 31,                        /* too short */
		UINT64_C(2) << 48 | (LAYOUT_RING_MIN / 4 + 1), /* too long */
		UINT64_C(3) << 48 | UINT32_MAX,
		(uint64_t)RECORD_BATCH << 48 | (LAYOUT_RING_MIN + 1),
		UINT64_C(2) << 56 | UINT64_C(2) << 48 | 64, /* unknown flag */
		UINT64_C(7) << 48 | 64,
		1,
	};
	uint64_t pos = publish(16, 0) + 64, word, boundary;
	const void *bytes;

	for (unsigned int i = 0; i < ARRAY_LEN(words); i++) {
		store_relaxed((_Atomic uint64_t *)ring_at(bed.writer, pos), words[i]);
		ck_assert_int_eq(read_at(FIRST), 0);
		ck_assert_uint_eq(got, 64);
		ck_assert_int_eq(read_at(pos), RING_E_GARBAGE);
		ck_assert_int_eq(ring_peek(bed.reader, pos, &limit, &word, &bytes), RING_E_GARBAGE);
		ck_assert_ptr_null(ring_view_plain(bed.reader, pos, &word));
		ck_assert(!ring_at_batch(bed.reader, pos));
		ck_assert_int_eq(ring_seek(bed.reader, pos + 64, &boundary), RING_E_EMPTY);
		ck_assert_uint_eq(boundary, pos);
	}
}
END_TEST

START_TEST(nobody_steps_by_a_length_that_no_checksum_holds_or_the_tail_has_not_reached)
{
	uint64_t pos = publish(16, 0) + 64, word, boundary;
	struct record_header *record = ring_at(bed.writer, pos);
	const void *bytes;

	for (unsigned int i = 0; i < 2; i++) {
		word = record_word(RECORD_TOMBSTONE, 32 * 1024, 9, 0);
		record->crc = record_crc(bed.writer->crc_seed, pos, word, record) ^ (i == 0);
		store_relaxed(&record->word, word);
		store_relaxed(&bed.writer->publish->tail, pos + (i == 0 ? 32 * 1024 : 64));
		ck_assert_int_eq(read_at(pos), RING_E_GARBAGE);
		ck_assert_int_eq(ring_peek(bed.reader, pos, &limit, &word, &bytes), RING_E_GARBAGE);
		ck_assert_int_eq(ring_seek(bed.reader, pos + 64, &boundary), RING_E_EMPTY);
		ck_assert_uint_eq(boundary, pos);
	}
	store_relaxed(&bed.writer->publish->tail, pos + 32 * 1024);
	ck_assert_int_eq(read_at(pos), 0);
}
END_TEST

/* ---- laps ---- */

START_TEST(reclaiming_announces_zeroes_and_raises_the_limit_by_as_much)
{
	uint32_t bell;

	for (unsigned int i = 0; i < LAYOUT_RING_MIN / 128; i++)
		publish(96, i);
	bell = ring_bell(&bed.writer->govern->limit_bell);
	ring_reclaim(bed.daemon, FIRST + 128 * 100);
	ck_assert_uint_eq(ring_reclaimed(bed.reader), FIRST + 128 * 100);
	ck_assert_uint_eq(load_relaxed(&bed.reader->govern->limit),
			  FIRST + 128 * 100 + LAYOUT_RING_MIN);
	ck_assert(ring_bed_is_clean(bed.daemon));
	ck_assert_uint_ne(ring_bell(&bed.writer->govern->limit_bell), bell);
	/* Not one byte more. */
	ck_assert_int_eq(record_word_kind(ring_word_at(bed.reader, FIRST + 128 * 100)),
			 RECORD_COMMITTED);
}
END_TEST

START_TEST(reclaiming_backwards_or_further_than_the_ring_does_nothing)
{
	publish(96, 0);
	ring_reclaim(bed.daemon, FIRST + 128);
	ring_reclaim(bed.daemon, FIRST);
	ring_reclaim(bed.daemon, FIRST + 128);
	ring_reclaim(bed.daemon, FIRST + 128 + 32 + LAYOUT_RING_MIN);
	ck_assert_uint_eq(ring_reclaimed(bed.reader), FIRST + 128);
	ck_assert_uint_eq(load_relaxed(&bed.reader->govern->limit), FIRST + 128 + LAYOUT_RING_MIN);
}
END_TEST

START_TEST(a_reclaim_that_a_death_cut_short_is_completed_by_the_next_one)
{
	struct layout_govern *govern = bed.daemon->govern;

	for (unsigned int i = 0; i < LAYOUT_RING_MIN / 128; i++)
		publish(96, i);
	/* The daemon died after it had announced, before it had zeroed. */
	store_relaxed(&govern->reclaimed, FIRST + 128 * 8);
	ring_reclaim(bed.daemon, FIRST + 128 * 8);
	ck_assert_uint_eq(load_relaxed(&govern->limit), FIRST + 128 * 8 + LAYOUT_RING_MIN);
	ck_assert(ring_bed_is_clean(bed.daemon));
	store_relaxed(&govern->reclaimed, FIRST + 128 * 16);
	ring_reclaim(bed.daemon, FIRST + 128 * 24);
	ck_assert_uint_eq(load_relaxed(&govern->limit), FIRST + 128 * 24 + LAYOUT_RING_MIN);
	ck_assert(ring_bed_is_clean(bed.daemon));
}
END_TEST

START_TEST(below_reclaimed_everything_is_lapped_for_everybody)
{
	uint64_t word, boundary;
	const void *bytes;

	for (unsigned int i = 0; i < 8; i++)
		publish(96, i);
	ck_assert_int_eq(ring_peek(bed.reader, FIRST, &limit, &word, &bytes), 0);
	ck_assert(ring_still_valid(bed.reader, FIRST));
	ring_reclaim(bed.daemon, FIRST + 128 * 2);
	ck_assert(!ring_still_valid(bed.reader, FIRST));
	ck_assert(!ring_still_valid(bed.reader, FIRST + 128));
	ck_assert(ring_still_valid(bed.reader, FIRST + 128 * 2));
	ck_assert_int_eq(read_at(FIRST), RING_E_LAPPED);
	ck_assert_int_eq(read_at(FIRST + 128), RING_E_LAPPED);
	ck_assert_int_eq(ring_peek(bed.reader, FIRST, &limit, &word, &bytes), RING_E_LAPPED);
	ck_assert_int_eq(ring_seek(bed.reader, FIRST + 255, &boundary), RING_E_LAPPED);
	ck_assert_uint_eq(ring_word_at(bed.reader, FIRST), 0);
	ck_assert_int_eq(read_at(FIRST + 128 * 2), 0);
	ck_assert_uint_eq(got, 128 * 6);
}
END_TEST

START_TEST(above_the_limit_the_previous_lap_is_not_looked_at)
{
	uint64_t end = FIRST + LAYOUT_RING_MIN, word;
	const void *bytes;

	for (unsigned int i = 0; i < LAYOUT_RING_MIN / 128; i++)
		publish(96, i);
	/* A whole lap of committed records stands there. */
	ck_assert_int_eq(read_at(end), RING_E_EMPTY);
	ck_assert_int_eq(ring_peek(bed.reader, end, &limit, &word, &bytes), RING_E_EMPTY);
	ck_assert_uint_eq(ring_word_at(bed.reader, end), 0);
}
END_TEST

START_TEST(seek_finds_the_record_boundary_at_or_after_a_position)
{
	uint64_t at, second, third, word, batch;

	publish(96, 0);
	second = publish(200, 1);
	third = publish(16, 2);
	batch = reserve_batch(&word);
	commit_word(batch, word);
	ck_assert_int_eq(ring_seek(bed.reader, FIRST, &at), 0);
	ck_assert_uint_eq(at, FIRST);
	ck_assert_int_eq(ring_seek(bed.reader, FIRST + 1, &at), 0);
	ck_assert_uint_eq(at, second);
	ck_assert_int_eq(ring_seek(bed.reader, second + 33, &at), 0);
	ck_assert_uint_eq(at, third);
	ck_assert_int_eq(ring_seek(bed.reader, batch + 33, &at), 0);
	ck_assert_uint_eq(at, batch + 96);
	ck_assert_int_eq(ring_seek(bed.reader, batch + 160, &at), 0);
	ck_assert_uint_eq(at, batch + 160);
	ck_assert_int_eq(ring_seek(bed.reader, batch + 161, &at), RING_E_EMPTY);
	ck_assert_uint_eq(at, batch + 160);
	ck_assert_int_eq(ring_seek(bed.reader, LAYOUT_POS_END, &at), RING_E_EMPTY);
}
END_TEST

START_TEST(a_position_between_two_records_has_no_word)
{
	publish(96, 0);
	ck_assert_uint_eq(ring_word_at(bed.reader, FIRST + 8), 0);
	ck_assert_uint_eq(ring_word_at(bed.reader, FIRST - 32), 0);
	ck_assert_uint_ne(ring_word_at(bed.reader, FIRST), 0);
}
END_TEST

/* ---- closing ---- */

START_TEST(after_the_tail_is_closed_no_reservation_succeeds)
{
	uint64_t pos, end;

	publish(16, 0);
	end = ring_close_tail(bed.daemon);
	ck_assert_uint_eq(end, FIRST + 64);
	ck_assert_int_eq(ring_reserve(&publisher, 64, &pos), RING_E_CLOSED);
	ck_assert_uint_eq(ring_close_tail(bed.daemon), end);
	ck_assert_uint_eq(ring_tail(bed.reader), end);
	/* What is there can still be read. */
	ck_assert_int_eq(read_at(FIRST), 0);
}
END_TEST

START_TEST(who_commits_into_a_closed_ring_is_told)
{
	uint64_t pos;

	ck_assert_int_eq(ring_reserve(&publisher, 64, &pos), 0);
	ring_close_tail(bed.daemon);
	ring_set_succeeded(bed.daemon, pos);
	ck_assert_int_eq(ring_commit(&publisher, pos, record_word(RECORD_COMMITTED, 64, 9, 0), 1),
			 RING_E_CLOSED);
	ck_assert_int_eq(ring_state(bed.reader, NULL), GOVERN_SUCCEEDED);
	ck_assert_uint_eq(ring_close_pos(bed.reader), pos);
}
END_TEST

START_TEST(what_is_committed_behind_the_end_of_a_closed_ring_is_seen_by_nobody)
{
	uint64_t pos, after, word, at;
	const void *bytes;

	publish(16, 0);
	ck_assert_int_eq(ring_reserve(&publisher, 64, &pos), 0);
	after = publish(16, 2);
	ring_close_tail(bed.daemon);
	ring_set_succeeded(bed.daemon, pos);
	memset((char *)ring_at(bed.writer, pos) + 8, 0, 56);
	(void)ring_commit(&publisher, pos, record_word(RECORD_COMMITTED, 64, 9, 0), 1);
	ck_assert_int_eq(read_at(FIRST), 0);
	ck_assert_uint_eq(got, 64);
	ck_assert_int_eq(read_at(pos), RING_E_CLOSED);
	ck_assert_int_eq(read_at(after), RING_E_CLOSED);
	ck_assert_int_eq(ring_peek(bed.reader, pos, &limit, &word, &bytes), RING_E_CLOSED);
	ck_assert_int_eq(ring_peek(bed.reader, FIRST, &limit, &word, &bytes), 0);
	ck_assert(!ring_still_valid(bed.reader, pos));
	/* Its boundaries need not be those of the successor. */
	ck_assert_int_eq(ring_seek(bed.reader, pos, &at), 0);
	ck_assert_uint_eq(at, pos);
	ck_assert_int_eq(ring_seek(bed.reader, after, &at), RING_E_EMPTY);
	ck_assert_uint_eq(at, pos);
}
END_TEST

START_TEST(a_failed_ring_says_why)
{
	uint32_t limit_bell = ring_bell(&bed.writer->govern->limit_bell);
	uint32_t durable_bell = ring_bell(&bed.writer->govern->durable_bell);
	uint32_t written_bell = ring_bell(&bed.writer->govern->written_bell);
	int error = 0;

	ring_set_state(bed.daemon, GOVERN_FAILED, -EIO);
	ck_assert_int_eq(ring_state(bed.reader, &error), GOVERN_FAILED);
	ck_assert_int_eq(error, -EIO);
	ck_assert_uint_ne(ring_bell(&bed.writer->govern->limit_bell), limit_bell);
	ck_assert_uint_ne(ring_bell(&bed.writer->govern->durable_bell), durable_bell);
	ck_assert_uint_ne(ring_bell(&bed.writer->govern->written_bell), written_bell);
}
END_TEST

START_TEST(progress_of_zero_leaves_a_position_as_it_is)
{
	const struct layout_govern *govern = bed.writer->govern;
	uint32_t durable = ring_bell(&govern->durable_bell);
	uint32_t written = ring_bell(&govern->written_bell);

	ring_progress(bed.daemon, FIRST + 64, 0);
	ck_assert_uint_eq(ring_written(bed.reader), FIRST + 64);
	ck_assert_uint_eq(ring_durable(bed.reader), FIRST);
	ck_assert_uint_ne(ring_bell(&govern->written_bell), written);
	ck_assert_uint_eq(ring_bell(&govern->durable_bell), durable);
	written = ring_bell(&govern->written_bell);
	ring_progress(bed.daemon, 0, FIRST + 32);
	ck_assert_uint_eq(ring_written(bed.reader), FIRST + 64);
	ck_assert_uint_eq(ring_durable(bed.reader), FIRST + 32);
	ck_assert_uint_eq(ring_bell(&govern->written_bell), written);
	ck_assert_uint_ne(ring_bell(&govern->durable_bell), durable);
}
END_TEST

/* ---- kicking the drain ---- */

static uint64_t kicks(int fd)
{
	uint64_t n;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

START_TEST(a_sleeping_drain_is_kicked_once_by_all_its_publishers_together)
{
	struct ring_publisher second;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	publisher.kick_fd = fd;
	ck_assert_int_eq(ring_publisher_init(&second, bed.writer, 10, fd), 0);
	publish(16, 0);
	ck_assert_uint_eq(kicks(fd), 0);
	ring_drain_sleeps(bed.daemon);
	publish(16, 1);
	ck_assert_int_eq(ring_bed_publish(&second, 2, 0, 16, NULL), 0);
	publish(16, 2);
	ck_assert_uint_eq(kicks(fd), 1);
	ring_drain_wakes(bed.daemon);
	publish(16, 3);
	ck_assert_uint_eq(kicks(fd), 0);
	ring_drain_sleeps(bed.daemon);
	publish(16, 4);
	ck_assert_uint_eq(kicks(fd), 1);
	ring_kick_drain(&publisher, false);
	ck_assert_uint_eq(kicks(fd), 0);
	ring_kick_drain(&publisher, true);
	ck_assert_uint_eq(kicks(fd), 1);
	close(fd);
}
END_TEST

START_TEST(a_drain_that_waits_is_kicked_once_each_time_it_has_looked)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	publisher.kick_fd = fd;
	ck_assert(!ring_drain_rearm(bed.daemon));
	ring_kick_drain(&publisher, false);
	ring_kick_drain(&publisher, false);
	ck_assert_uint_eq(kicks(fd), 1);
	/* Somebody wanted it meanwhile: the drain looks once more, and can be kicked again. */
	ck_assert(ring_drain_rearm(bed.daemon));
	ck_assert(!ring_drain_rearm(bed.daemon));
	ring_kick_drain(&publisher, false);
	ck_assert_uint_eq(kicks(fd), 1);
	close(fd);
}
END_TEST

START_TEST(the_bit_of_each_position_is_among_those_of_any_range_around_it)
{
	uint64_t seed = 1;

	for (int i = 0; i < 100000; i++) {
		uint64_t from = ring_bed_random(&seed) % (UINT64_C(1) << 33) / 32 * 32;
		uint64_t len = 32 + ring_bed_random(&seed) % (64 * KIB << i % 5) / 32 * 32;
		uint64_t pos = from + ring_bed_random(&seed) % len / 32 * 32;
		uint32_t bits = ring_ack_bits(from, from + len);

		ck_assert_uint_ne(bits & ring_ack_bit(pos, 64), 0);
		ck_assert_uint_ne(bits & ring_ack_bit(pos, 4128), 0);
		/* A few KiB behind a short range there is another bit. */
		if (len <= 4 * KIB)
			ck_assert_uint_eq(bits & ring_ack_bit(from + len + 2 * KIB, 64), 0);
	}
	ck_assert_uint_eq(ring_ack_bits(64, 64), 0);
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, positions_begin_where_the_shard_says_and_grow_by_the_rounded_length);
	tcase_add_test(tcase, a_reservation_names_its_owner_and_length_before_any_content);
	tcase_add_test(tcase, reserve_returns_full_at_the_limit_and_leaves_everything_as_it_was);
	tcase_add_test(tcase, a_record_that_would_end_beyond_the_limit_does_not_fit);
	tcase_add_test(tcase, reserve_sees_a_raised_limit_by_itself);
	tcase_add_test(tcase, the_largest_record_fits_and_wraps_without_a_seam);
	tcase_add_test(tcase, a_tail_that_is_nonsense_is_refused_and_full_beyond_the_limit);
	tcase_add_test(tcase, the_tail_is_believed_only_between_reclaimed_and_limit);
	tcase_add_test(tcase, there_are_256_slots_and_only_publishers_get_one);
	tcase_add_test(tcase, a_slot_counts_records_and_bytes_of_log);
	tcase_add_test(tcase, a_thousand_records_of_64_bytes_make_no_system_call_at_either_end);
	tcase_add_test(tcase, the_filter_that_proves_it_does_catch_a_system_call);
	tcase_add_test(tcase, an_empty_ring_is_empty_and_not_an_error);
	tcase_add_test(tcase, a_run_ends_before_what_is_not_finished);
	tcase_add_test(tcase, a_run_ends_at_upto_and_at_the_end_of_the_buffer);
	tcase_add_test(tcase, a_buffer_that_is_too_small_is_told_the_span_that_it_needs);
	tcase_add_test(tcase, of_padding_tombstones_and_damage_the_header_alone_is_copied);
	tcase_add_test(tcase, of_a_batch_all_is_seen_or_nothing);
	tcase_add_test(tcase, of_a_batch_whose_publisher_died_nothing_is_seen);
	tcase_add_test(tcase, a_word_that_no_publisher_writes_is_garbage_to_every_reader);
	tcase_add_test(tcase,
		       nobody_steps_by_a_length_that_no_checksum_holds_or_the_tail_has_not_reached);
	tcase_add_test(tcase, reclaiming_announces_zeroes_and_raises_the_limit_by_as_much);
	tcase_add_test(tcase, reclaiming_backwards_or_further_than_the_ring_does_nothing);
	tcase_add_test(tcase, a_reclaim_that_a_death_cut_short_is_completed_by_the_next_one);
	tcase_add_test(tcase, below_reclaimed_everything_is_lapped_for_everybody);
	tcase_add_test(tcase, above_the_limit_the_previous_lap_is_not_looked_at);
	tcase_add_test(tcase, seek_finds_the_record_boundary_at_or_after_a_position);
	tcase_add_test(tcase, a_position_between_two_records_has_no_word);
	tcase_add_test(tcase, after_the_tail_is_closed_no_reservation_succeeds);
	tcase_add_test(tcase, who_commits_into_a_closed_ring_is_told);
	tcase_add_test(tcase, what_is_committed_behind_the_end_of_a_closed_ring_is_seen_by_nobody);
	tcase_add_test(tcase, a_failed_ring_says_why);
	tcase_add_test(tcase, progress_of_zero_leaves_a_position_as_it_is);
	tcase_add_test(tcase, a_sleeping_drain_is_kicked_once_by_all_its_publishers_together);
	tcase_add_test(tcase, a_drain_that_waits_is_kicked_once_each_time_it_has_looked);
	tcase_add_test(tcase, the_bit_of_each_position_is_among_those_of_any_range_around_it);
}

int main(void)
{
	Suite *suite = suite_create("shm/ring");
	TCase *tcase = tcase_create("ring");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, setup, teardown);
	add_tests(tcase);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
