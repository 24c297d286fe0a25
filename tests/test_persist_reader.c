/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "persist/file.h"
#include "persist/reader.h"
#include "persist/timeindex.h"
#include "tests/persist_log.h"

static struct persist_log ring;
static struct format_segment header;
static char buf[RECORD_LEN_MAX];

static void setup(void)
{
	persist_log_init(&ring, PERSIST_LOG_FIRST, true);
	memset(&header, 0, sizeof(header));
	memcpy(header.stream_uuid, persist_log_uuid, 16);
	header.shard = PERSIST_LOG_SHARD;
	header.flags = FORMAT_F_CHECKSUM;
	header.base = header.prev_end = ring.base;
	header.epoch = 7;
	header.created_ns = 123;
	header.crc_seed = ring.seed;
	format_segment_seal(&header);
}

static void teardown(void)
{
	persist_log_deinit(&ring);
}

/* A file with the header and the ring's records, and `tail` bytes of zeros. */
static int make_file(uint64_t tail)
{
	int fd = memfd_create("segment", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(file_write(fd, &header, sizeof(header), 0), 0);
	ck_assert_int_eq(file_write(fd, ring.bytes, ring.len, sizeof(header)), 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)(sizeof(header) + ring.len + tail)), 0);
	return fd;
}

static struct reader *open_ring(void)
{
	struct reader *reader;

	ck_assert_int_eq(reader_open(make_file(0), &reader), 0);
	return reader;
}

static uint64_t word_at(uint64_t pos)
{
	uint64_t word;

	memcpy(&word, ring.bytes + (pos - ring.base), 8);
	return word;
}

static uint64_t timestamp_at(uint64_t pos)
{
	uint64_t ns;

	memcpy(&ns, ring.bytes + (pos - ring.base) + 8, 8);
	return ns;
}

START_TEST(runs_of_any_buffer_length_give_the_same_bytes)
{
	static const size_t caps[] = { 512, 544, 1000, 4096, 65536, sizeof(buf) };
	uint64_t pos, end;
	struct reader *reader;
	struct reader_run run;
	size_t i;

	persist_log_fill(&ring, 1000, 1);
	end = persist_log_end(&ring);
	reader = open_ring();
	for (i = 0; i < ARRAY_LEN(caps); i++) {
		for (pos = ring.base; pos < end; pos = run.next_pos) {
			ck_assert_int_eq(reader_read(reader, pos, end, buf, caps[i], &run), 0);
			ck_assert_uint_le(run.len, caps[i]);
			ck_assert_int_eq(memcmp(buf, ring.bytes + (pos - ring.base), run.len), 0);
		}
		ck_assert_uint_eq(pos, end);
	}
	ck_assert_int_eq(reader_read(reader, end, end, buf, 512, &run), READER_E_END);
	ck_assert_int_eq(reader_read(reader, ring.base + 1, end, buf, 512, &run), -EINVAL);
	ck_assert_int_eq(reader_read(reader, ring.base - 32, end, buf, 512, &run), -EINVAL);
	ck_assert_int_eq(reader_read(reader, ring.base, end, buf, 31, &run), -EINVAL);
	reader_close(reader);
}
END_TEST

START_TEST(a_batch_is_not_given_in_part_where_the_file_ends_in_it)
{
	uint64_t end, cut;

	persist_log_add_batch(&ring, 4, 50);
	end = persist_log_end(&ring);
	for (cut = 1; cut < ring.len; cut++) {
		struct reader *reader;
		struct reader_run run;
		int fd = make_file(0);

		ck_assert_int_eq(ftruncate(fd, (off_t)(sizeof(header) + ring.len - cut)), 0);
		ck_assert_int_eq(reader_open(fd, &reader), 0);
		ck_assert_int_eq(reader_read(reader, ring.base, end, buf, sizeof(buf), &run),
				 -EBADMSG);
		reader_close(reader);
	}
}
END_TEST

START_TEST(a_record_that_does_not_fit_says_how_much_it_needs)
{
	struct reader *reader;
	struct reader_run run;
	uint64_t end;

	persist_log_add(&ring, RECORD_COMMITTED, 1001, 1);
	end = persist_log_end(&ring);
	reader = open_ring();
	ck_assert_int_eq(reader_read(reader, ring.base, end, buf, 64, &run), READER_E_SMALL);
	ck_assert_uint_eq(run.needed, record_span(1033));
	ck_assert_int_eq(reader_read(reader, ring.base, end, buf, run.needed - 1, &run),
			 READER_E_SMALL);
	ck_assert_int_eq(reader_read(reader, ring.base, end, buf, run.needed, &run), 0);
	ck_assert_uint_eq(run.next_pos, end);
	reader_close(reader);
}
END_TEST

START_TEST(a_long_tombstone_needs_no_long_buffer)
{
	struct reader *reader;
	struct reader_run run;
	uint64_t end, tomb;

	persist_log_fill(&ring, 3, 1);
	tomb = persist_log_add(&ring, RECORD_TOMBSTONE, 100000, 1);
	persist_log_fill(&ring, 3, 1);
	end = persist_log_end(&ring);
	reader = open_ring();
	ck_assert_int_eq(reader_read(reader, ring.base, end, buf, 1024, &run), 0);
	ck_assert_uint_eq(run.len, tomb - ring.base + 32);
	ck_assert_uint_eq(run.next_pos, tomb + record_span(100032));
	ck_assert_int_eq(reader_read(reader, run.next_pos, end, buf, 1024, &run), 0);
	ck_assert_uint_eq(run.next_pos, end);
	reader_close(reader);
}
END_TEST

START_TEST(every_flipped_bit_of_a_record_is_found_but_for_padding)
{
	uint64_t end, bad, i, next;
	struct reader *reader;
	struct reader_run run;
	int fd;

	persist_log_fill(&ring, 3, 1);
	bad = persist_log_add(&ring, RECORD_COMMITTED, 77, 1);
	end = persist_log_end(&ring);
	persist_log_fill(&ring, 3, 1);
	fd = make_file(0);
	ck_assert_int_eq(reader_open(dup(fd), &reader), 0);
	for (i = 0; i < (32 + 77) * 8; i++) {
		off_t off = (off_t)(4096 + bad - ring.base + i / 8);
		char byte, flipped;

		ck_assert_int_eq(pread(fd, &byte, 1, off), 1);
		flipped = (char)(byte ^ (1 << i % 8));
		ck_assert_int_eq(pwrite(fd, &flipped, 1, off), 1);
		ck_assert_int_eq(reader_read(reader, bad, persist_log_end(&ring), buf, sizeof(buf),
					     &run),
				 -EBADMSG);
		ck_assert_int_eq(reader_resync(reader, bad, persist_log_end(&ring), &next), 0);
		ck_assert_uint_eq(next, end);
		ck_assert_int_eq(pwrite(fd, &byte, 1, off), 1);
	}
	reader_close(reader);
	close(fd);
}
END_TEST

START_TEST(a_record_in_the_wrong_place_does_not_validate)
{
	struct reader *reader;
	struct reader_run run;
	uint64_t a, b;

	a = persist_log_add(&ring, RECORD_COMMITTED, 64, 1);
	b = persist_log_add(&ring, RECORD_COMMITTED, 64, 1);
	memcpy(ring.bytes + (b - a), ring.bytes, b - a);
	reader = open_ring();
	ck_assert_int_eq(reader_read(reader, b, persist_log_end(&ring), buf, 512, &run), -EBADMSG);
	reader_close(reader);
}
END_TEST

START_TEST(a_copy_of_a_record_inside_a_value_is_not_taken_for_one)
{
	uint64_t outer, next, inner;
	struct reader *reader;

	/* The value holds the bytes of a record, as a replay of a dump would. */
	persist_log_fill(&ring, 3, 1);
	inner = persist_log_add(&ring, RECORD_COMMITTED, 64, 1);
	outer = persist_log_add(&ring, RECORD_COMMITTED, 960, 1);
	memcpy(ring.bytes + (outer - ring.base) + 32, ring.bytes + (inner - ring.base), 96);
	persist_log_fill(&ring, 3, 1);
	reader = open_ring();
	ck_assert_int_eq(reader_resync(reader, outer, persist_log_end(&ring), &next), 0);
	ck_assert_uint_eq(next, outer + record_span(992));
	reader_close(reader);
}
END_TEST

START_TEST(every_position_leads_to_the_boundary_at_or_after_it)
{
	struct timeindex index = { .entries = NULL };
	uint64_t pos, boundary, found, end;
	struct reader *reader;

	persist_log_fill(&ring, 6000, 1);
	end = persist_log_end(&ring);
	reader = open_ring();
	ck_assert_int_eq(timeindex_build(reader, end, &index), 0);
	ck_assert_uint_gt(index.n_entries, 2);
	if (_i == 1)
		reader_use_index(reader, &index);
	ck_assert_int_eq(reader_seek_pos(reader, 0, end, &found), 0);
	ck_assert_uint_eq(found, ring.base);
	for (pos = boundary = ring.base; pos < end; pos += _i ? 32 : 32 * 97) {
		while (boundary < pos)
			boundary += record_step(word_at(boundary));
		if (boundary == end)
			break;
		ck_assert_int_eq(reader_seek_pos(reader, pos, end, &found), 0);
		ck_assert_uint_eq(found, boundary);
	}
	ck_assert_int_eq(reader_seek_pos(reader, end, end, &found), READER_E_END);
	ck_assert_uint_eq(found, end);
	ck_assert_int_eq(reader_seek_pos(reader, UINT64_MAX, end, &found), READER_E_END);
	timeindex_deinit(&index);
	reader_close(reader);
}
END_TEST

/* The first record with a timestamp >= ns, the slow way. */
static uint64_t first_at_time(uint64_t ns)
{
	uint64_t pos = ring.base;

	while (pos < persist_log_end(&ring)) {
		if (record_word_kind(word_at(pos)) == RECORD_COMMITTED && timestamp_at(pos) >= ns)
			return pos;
		pos += record_step(word_at(pos));
	}
	return pos;
}

START_TEST(a_time_is_found_exactly_also_when_clocks_go_back)
{
	struct timeindex index = { .entries = NULL };
	struct reader *reader;
	uint64_t i, ns, found, expected;

	for (i = 0; i < 8000; i++)
		persist_log_add(&ring, i % 17 == 3 ? RECORD_TOMBSTONE : RECORD_COMMITTED, 100,
				1000 + i * 10 + (i * 7919 % 101) * 50 - (i > 4000 ? 3000 : 0));
	reader = open_ring();
	ck_assert_int_eq(timeindex_build(reader, persist_log_end(&ring), &index), 0);
	if (_i == 1)
		reader_use_index(reader, &index);
	for (ns = 0; ns < 90000; ns += 977) {
		int r = reader_seek_time(reader, ns, persist_log_end(&ring), &found);

		expected = first_at_time(ns);
		ck_assert_int_eq(r, expected == persist_log_end(&ring) ? READER_E_END : 0);
		ck_assert_uint_eq(found, expected);
	}
	timeindex_deinit(&index);
	reader_close(reader);
}
END_TEST

START_TEST(a_seek_goes_on_behind_damage)
{
	uint64_t bad, after, found, end;
	struct reader *reader;

	persist_log_fill(&ring, 100, 1000);
	bad = persist_log_add(&ring, RECORD_COMMITTED, 100, 5000);
	after = persist_log_add(&ring, RECORD_COMMITTED, 100, 6000);
	persist_log_fill(&ring, 100, 7000);
	end = persist_log_end(&ring);
	memset(ring.bytes + (bad - ring.base), 0xee, 40);
	reader = open_ring();
	ck_assert_int_eq(reader_seek_time(reader, 4000, end, &found), 0);
	ck_assert_uint_eq(found, after);
	ck_assert_int_eq(reader_seek_pos(reader, bad + 32, end, &found), 0);
	ck_assert_uint_eq(found, after);
	reader_close(reader);
}
END_TEST

/* What a reader is told of the log and what the file holds are two things. */
START_TEST(a_seek_ends_where_the_file_does_and_not_a_terabyte_later)
{
	uint64_t bad, end, found;
	struct reader *reader;

	persist_log_fill(&ring, 100, 1000);
	bad = persist_log_add(&ring, RECORD_COMMITTED, 100, 5000);
	end = ring.base + (UINT64_C(1) << 40);
	memset(ring.bytes + (bad - ring.base), 0xee, 40);
	reader = open_ring();
	ck_assert_int_eq(reader_seek_time(reader, 6000, end, &found), READER_E_END);
	ck_assert_uint_eq(found, end);
	ck_assert_int_eq(reader_resync(reader, bad, end, &found), 0);
	ck_assert_uint_eq(found, end);
	reader_close(reader);
}
END_TEST

/* A disk that cannot give some pages. */
struct bad_pages {
	uint64_t off, len;
	int n_asked; /* how often it was asked for one of them */
};

static int refuse_bad_pages(void *ctx, const struct file_event *event)
{
	struct bad_pages *bad = ctx;

	if (event->kind != FILE_READ || event->off < bad->off || event->off >= bad->off + bad->len)
		return 0;
	bad->n_asked++;
	return -EIO;
}

START_TEST(a_page_that_cannot_be_read_is_asked_for_once)
{
	enum {
		PAGES = 16
	};
	struct bad_pages bad = { .off = 32768, .len = PAGES * 4096 };
	const struct file_hooks hooks = { .before = refuse_bad_pages, .ctx = &bad };
	uint64_t found, end, off;
	struct reader *reader;

	persist_log_fill(&ring, 2000, 1000);
	end = persist_log_end(&ring);
	ck_assert_uint_gt(end - ring.base, 2 * (bad.off + bad.len));
	reader = open_ring();
	file_set_hooks(&hooks);
	ck_assert_int_eq(reader_resync(reader, ring.base + bad.off - sizeof(header), end, &found),
			 0);
	file_set_hooks(NULL);
	off = found - ring.base + sizeof(header);
	ck_assert_uint_ge(off, bad.off + bad.len);
	ck_assert_uint_lt(off, bad.off + bad.len + 20000);
	ck_assert_int_le(bad.n_asked, PAGES + 1);
	reader_close(reader);
}
END_TEST

START_TEST(an_index_that_lies_about_places_does_no_harm)
{
	struct format_index_entry entries[3] = { { PERSIST_LOG_FIRST, 5 },
						 { PERSIST_LOG_FIRST + 64, 10 },
						 { PERSIST_LOG_FIRST + 320000, 99999 } };
	struct timeindex index = { .entries = entries, .n_entries = 3, .max_ns = 99999 };
	uint64_t found, pos;
	struct reader *reader;

	persist_log_add(&ring, RECORD_COMMITTED, 500, 1);
	pos = persist_log_add(&ring, RECORD_COMMITTED, 500, 8);
	reader = open_ring();
	reader_use_index(reader, &index);
	ck_assert_int_eq(reader_seek_time(reader, 8, persist_log_end(&ring), &found), 0);
	ck_assert_uint_eq(found, pos);
	ck_assert_int_eq(reader_seek_pos(reader, ring.base + 96, persist_log_end(&ring), &found),
			 0);
	ck_assert_uint_eq(found, pos);
	/* It says nothing, or begins somewhere else. */
	for (int i = 0; i < 2; i++) {
		index.n_entries = i ? 3 : 0;
		entries[0].pos = PERSIST_LOG_FIRST + 32;
		ck_assert_int_eq(reader_seek_time(reader, 8, persist_log_end(&ring), &found), 0);
		ck_assert_uint_eq(found, pos);
	}
	reader_close(reader);
}
END_TEST

START_TEST(records_added_after_the_index_was_made_are_found)
{
	struct timeindex index = { .entries = NULL };
	struct reader *reader;
	uint64_t middle, found;

	persist_log_fill(&ring, 3000, 1000);
	middle = persist_log_end(&ring);
	persist_log_fill(&ring, 3000, 10000);
	reader = open_ring();
	ck_assert_int_eq(timeindex_build(reader, middle, &index), 0);
	reader_use_index(reader, &index);
	ck_assert_int_eq(reader_seek_time(reader, 10000, persist_log_end(&ring), &found), 0);
	ck_assert_uint_eq(found, middle);
	timeindex_deinit(&index);
	reader_close(reader);
}
END_TEST

START_TEST(headers_that_are_not_ours_are_refused_each_with_its_errno)
{
	struct format_segment good = header;
	struct reader *reader;
	size_t i;
	int fd;

	persist_log_fill(&ring, 3, 1);
	for (i = 0; i < sizeof(header); i++) {
		header = good;
		((uint8_t *)&header)[i] ^= 0x40;
		fd = make_file(0);
		ck_assert_int_eq(reader_open(fd, &reader), -EBADMSG);
		close(fd);
	}
	header = good;
	fd = make_file(0);
	ck_assert_int_eq(ftruncate(fd, 4095), 0);
	ck_assert_int_eq(reader_open(fd, &reader), -EBADMSG);
	close(fd);
	header.flags = 2;
	format_segment_seal(&header);
	fd = make_file(0);
	ck_assert_int_eq(reader_open(fd, &reader), -EPROTONOSUPPORT);
	close(fd);
	header = good;
	header.base += 1;
	format_segment_seal(&header);
	fd = make_file(0);
	ck_assert_int_eq(reader_open(fd, &reader), -EBADMSG);
	close(fd);
}
END_TEST

START_TEST(bytes_above_upto_are_looked_at_again_when_they_are_written)
{
	uint64_t first, second, end, ns;
	struct reader *reader;
	int fd;

	first = persist_log_add(&ring, RECORD_COMMITTED, 100, 1);
	fd = make_file(4096);
	second = persist_log_add(&ring, RECORD_COMMITTED, 100, 2);
	end = persist_log_end(&ring);
	ck_assert_int_eq(reader_open(dup(fd), &reader), 0);
	ck_assert_int_eq(reader_check(reader, first, second, NULL, &ns), 0);
	ck_assert_int_eq(reader_check(reader, second, second, NULL, &ns), READER_E_END);
	reader_close(reader);
	ck_assert_int_eq(reader_open(dup(fd), &reader), 0);
	ck_assert_int_eq(reader_resync(reader, first, second, &ns), 0);
	ck_assert_uint_eq(ns, second);
	ck_assert_int_eq(file_write(fd, ring.bytes, ring.len, 4096), 0);
	ck_assert_int_eq(reader_check(reader, second, end, NULL, &ns), 0);
	ck_assert_uint_eq(ns, 2);
	reader_close(reader);
	close(fd);
}
END_TEST

START_TEST(without_checksums_damage_is_bridged_by_records_that_look_right_in_a_row)
{
	uint64_t bad, after, found;
	struct reader *reader;

	header.flags = 0;
	format_segment_seal(&header);
	ring.checksum = false;
	persist_log_fill(&ring, 5, 1);
	bad = persist_log_add(&ring, RECORD_COMMITTED, 400, 1);
	after = persist_log_end(&ring);
	persist_log_fill(&ring, 30, 1);
	memset(ring.bytes + (bad - ring.base), 0, 300);
	reader = open_ring();
	ck_assert_int_eq(reader_resync(reader, bad, persist_log_end(&ring), &found), 0);
	ck_assert_uint_eq(found, after);
	reader_close(reader);
}
END_TEST

/* ---- batches ---- */

START_TEST(a_batch_is_read_whole_or_piece_by_piece_and_gives_the_same_bytes)
{
	static const size_t caps[] = { 256, 320, 1024, 65536 };
	struct reader_run run;
	struct reader *reader;
	uint64_t pos, end;

	persist_log_fill(&ring, 3, 1);
	persist_log_add_batch(&ring, 40, 100);
	persist_log_fill(&ring, 3, 1);
	end = persist_log_end(&ring);
	reader = open_ring();
	for (size_t i = 0; i < ARRAY_LEN(caps); i++) {
		for (pos = ring.base; pos < end; pos = run.next_pos) {
			ck_assert_int_eq(reader_read(reader, pos, end, buf, caps[i], &run), 0);
			ck_assert_uint_gt(run.len, 0);
			ck_assert_uint_eq(run.next_pos, pos + run.len);
			ck_assert_int_eq(memcmp(buf, ring.bytes + (pos - ring.base), run.len), 0);
		}
		ck_assert_uint_eq(pos, end);
	}
	reader_close(reader);
}
END_TEST

START_TEST(of_a_batch_with_damage_in_it_no_piece_is_given)
{
	uint64_t batch, after, end, next;
	struct reader_run run;
	struct reader *reader;

	batch = persist_log_add_batch(&ring, 40, 100);
	after = persist_log_add(&ring, RECORD_COMMITTED, 100, 1);
	end = persist_log_end(&ring);
	/* The last record's value: far behind a short buffer. */
	ring.bytes[after - ring.base - 70] ^= 1;
	reader = open_ring();
	ck_assert_int_eq(reader_read(reader, batch, end, buf, 256, &run), -EBADMSG);
	ck_assert_int_eq(reader_read(reader, batch, end, buf, sizeof(buf), &run), -EBADMSG);
	ck_assert_int_eq(reader_check_batch(reader, batch, after), -EBADMSG);
	ck_assert_int_eq(reader_resync(reader, batch, end, &next), 0);
	ck_assert_uint_eq(next, after);
	reader_close(reader);
}
END_TEST

START_TEST(a_batch_inside_of_a_batch_is_no_batch)
{
	uint64_t outer, inner, end, word;
	struct reader_run run;
	struct reader *reader;
	char *at;
	uint32_t crc;

	outer = persist_log_add(&ring, RECORD_BATCH, 0, 1);
	inner = persist_log_add_batch(&ring, 3, 100);
	end = persist_log_end(&ring);
	at = ring.bytes + (outer - ring.base);
	word = record_word(RECORD_BATCH, (uint32_t)(end - outer), 5, 0);
	memcpy(at, &word, sizeof(word));
	crc = record_crc(ring.seed, outer, word, at);
	memcpy(at + offsetof(struct record_header, crc), &crc, sizeof(crc));
	reader = open_ring();
	ck_assert_int_eq(reader_check(reader, outer, end, &word, NULL), 0);
	ck_assert_int_eq(reader_check_batch(reader, outer, end), -EBADMSG);
	ck_assert_int_eq(reader_read(reader, outer, end, buf, sizeof(buf), &run), -EBADMSG);
	ck_assert_int_eq(reader_read(reader, inner, end, buf, sizeof(buf), &run), 0);
	reader_close(reader);
}
END_TEST

START_TEST(a_file_that_ends_inside_of_a_record_is_damaged_there)
{
	uint64_t last, end, pos, word;
	struct reader_run run;
	struct reader *reader;
	int fd;

	persist_log_fill(&ring, 3, 1);
	last = persist_log_add(&ring, RECORD_COMMITTED, 400, 1);
	end = persist_log_end(&ring);
	for (uint64_t kept = 0; kept < RECORD_HEADER_LEN + 400; kept += 16) {
		fd = make_file(0);
		ck_assert_int_eq(ftruncate(fd, (off_t)format_file_off(ring.base, last + kept)), 0);
		ck_assert_int_eq(reader_open(fd, &reader), 0);
		ck_assert_int_eq(reader_read(reader, ring.base, end, buf, sizeof(buf), &run), 0);
		ck_assert_uint_eq(run.next_pos, last);
		ck_assert_int_eq(reader_read(reader, last, end, buf, sizeof(buf), &run), -EBADMSG);
		ck_assert_int_eq(reader_check(reader, last, end, &word, NULL), -EBADMSG);
		ck_assert_int_eq(reader_size_end(reader, &pos), 0);
		ck_assert_uint_eq(pos, last + kept / 32 * 32);
		reader_close(reader);
	}
}
END_TEST

/* ---- whose file it is, and errors ---- */

static int read_error;
static uint64_t read_error_off; /* and behind it */

static int fail_read(void *ctx, const struct file_event *event)
{
	(void)ctx;
	return event->kind == FILE_READ && event->off >= read_error_off ? read_error : 0;
}

START_TEST(what_the_disk_does_not_give_is_damage_and_other_errors_are_told)
{
	static const struct file_hooks hooks = { .before = fail_read };
	struct reader_log log = { .shard = PERSIST_LOG_SHARD,
				  .flags = FORMAT_F_CHECKSUM,
				  .crc_seed = ring.seed };
	struct reader *reader;
	struct reader_run run;
	uint64_t end, found;
	int fd, want;

	memcpy(log.stream_uuid, persist_log_uuid, 16);
	persist_log_fill(&ring, 10, 1);
	end = persist_log_end(&ring);
	fd = make_file(0);
	file_set_hooks(&hooks);
	read_error = _i ? -ENXIO : -EIO;
	want = _i ? -ENXIO : -EBADMSG;
	ck_assert_int_eq(reader_open(fd, &reader), read_error);
	read_error_off = FORMAT_SEGMENT_LEN;
	ck_assert_int_eq(reader_open_of(fd, &log, ring.base, &reader), 0);
	ck_assert_int_eq(reader_read(reader, ring.base, end, buf, 512, &run), want);
	ck_assert_int_eq(reader_check(reader, ring.base, end, NULL, NULL), want);
	ck_assert_uint_eq(reader_trim(reader, ring.base, end), end);
	/* All of it is damaged, so there is nothing to be found; or nothing is known. */
	ck_assert_int_eq(reader_resync(reader, ring.base, end, &found), _i ? -ENXIO : 0);
	ck_assert_int_eq(reader_seek_time(reader, 5, end, &found), _i ? -ENXIO : READER_E_END);
	ck_assert_int_eq(reader_seek_pos(reader, ring.base + 32, end, &found),
			 _i ? -ENXIO : READER_E_END);
	reader_close(reader);
	/* Without its header a segment is read as the log's own. */
	fd = make_file(0);
	read_error_off = 0;
	ck_assert_int_eq(reader_open_of(fd, &log, ring.base, &reader), _i ? -ENXIO : 0);
	read_error = 0;
	if (_i == 0) {
		ck_assert_int_eq(reader_read(reader, ring.base, end, buf, 4096, &run), 0);
		reader_close(reader);
	} else {
		close(fd);
	}
	file_set_hooks(NULL);
}
END_TEST

START_TEST(a_file_of_another_log_is_read_as_damage_of_this_one)
{
	struct reader_log log = { .shard = PERSIST_LOG_SHARD + 1,
				  .flags = FORMAT_F_CHECKSUM,
				  .crc_seed = ring.seed + 1 };
	struct reader *reader;
	struct reader_run run;

	memcpy(log.stream_uuid, persist_log_uuid, 16);
	persist_log_fill(&ring, 10, 1);
	ck_assert_int_eq(reader_open_of(make_file(0), &log, ring.base, &reader), 0);
	ck_assert_int_eq(reader_read(reader, ring.base, persist_log_end(&ring), buf, 4096, &run),
			 -EBADMSG);
	reader_close(reader);
	/* The right shard of another stream, whose records would validate. */
	log.shard = PERSIST_LOG_SHARD;
	log.stream_uuid[15] ^= 1;
	ck_assert_int_eq(reader_open_of(make_file(0), &log, ring.base, &reader), 0);
	ck_assert_int_eq(reader_read(reader, ring.base, persist_log_end(&ring), buf, 4096, &run),
			 -EBADMSG);
	reader_close(reader);
	log.stream_uuid[15] ^= 1;
	ck_assert_int_eq(reader_open_of(make_file(0), &log, ring.base, &reader), 0);
	ck_assert_int_eq(reader_read(reader, ring.base, persist_log_end(&ring), buf, 4096, &run),
			 0);
	reader_close(reader);
	ck_assert_int_eq(reader_open_of(-1, &log, ring.base, &reader), -EBADF);
	ck_assert_int_eq(reader_open_bare(-1, ring.base + 1, 0, 0, &reader), -EINVAL);
	ck_assert_int_eq(reader_open_bare(-1, FORMAT_POS_END, 0, 0, &reader), -EINVAL);
}
END_TEST

START_TEST(no_search_takes_an_end_that_is_no_position)
{
	struct reader *reader;
	uint64_t found, end;

	persist_log_fill(&ring, 10, 1);
	end = persist_log_end(&ring);
	reader = open_ring();
	ck_assert_int_eq(reader_seek_pos(reader, ring.base, end + 1, &found), -EINVAL);
	ck_assert_int_eq(reader_seek_time(reader, 1, end + 1, &found), -EINVAL);
	ck_assert_int_eq(reader_resync(reader, ring.base, end + 1, &found), -EINVAL);
	ck_assert_int_eq(reader_seek_pos(reader, ring.base, FORMAT_POS_END + 32, &found), -EINVAL);
	/* Nothing to be looked at is no error. */
	ck_assert_int_eq(reader_seek_pos(reader, ring.base, ring.base, &found), READER_E_END);
	ck_assert_int_eq(reader_seek_time(reader, 1, ring.base, &found), READER_E_END);
	ck_assert_int_eq(reader_resync(reader, end, end, &found), 0);
	ck_assert_uint_eq(found, end);
	reader_close(reader);
}
END_TEST

static TCase *hard_cases(void)
{
	TCase *tc = tcase_create("hard cases");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_batch_is_read_whole_or_piece_by_piece_and_gives_the_same_bytes);
	tcase_add_test(tc, of_a_batch_with_damage_in_it_no_piece_is_given);
	tcase_add_test(tc, a_batch_inside_of_a_batch_is_no_batch);
	tcase_add_test(tc, a_file_that_ends_inside_of_a_record_is_damaged_there);
	tcase_add_loop_test(tc, what_the_disk_does_not_give_is_damage_and_other_errors_are_told, 0,
			    2);
	tcase_add_test(tc, a_file_of_another_log_is_read_as_damage_of_this_one);
	tcase_add_test(tc, no_search_takes_an_end_that_is_no_position);
	return tc;
}

int main(void)
{
	Suite *suite = suite_create("reader");
	TCase *tc = tcase_create("reader");
	SRunner *runner;
	int n_failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, runs_of_any_buffer_length_give_the_same_bytes);
	tcase_add_test(tc, a_batch_is_not_given_in_part_where_the_file_ends_in_it);
	tcase_add_test(tc, a_record_that_does_not_fit_says_how_much_it_needs);
	tcase_add_test(tc, a_long_tombstone_needs_no_long_buffer);
	tcase_add_test(tc, every_flipped_bit_of_a_record_is_found_but_for_padding);
	tcase_add_test(tc, a_record_in_the_wrong_place_does_not_validate);
	tcase_add_test(tc, a_copy_of_a_record_inside_a_value_is_not_taken_for_one);
	tcase_add_loop_test(tc, every_position_leads_to_the_boundary_at_or_after_it, 0, 2);
	tcase_add_loop_test(tc, a_time_is_found_exactly_also_when_clocks_go_back, 0, 2);
	tcase_add_test(tc, a_seek_goes_on_behind_damage);
	tcase_add_test(tc, a_seek_ends_where_the_file_does_and_not_a_terabyte_later);
	tcase_add_test(tc, a_page_that_cannot_be_read_is_asked_for_once);
	tcase_add_test(tc, an_index_that_lies_about_places_does_no_harm);
	tcase_add_test(tc, records_added_after_the_index_was_made_are_found);
	tcase_add_test(tc, headers_that_are_not_ours_are_refused_each_with_its_errno);
	tcase_add_test(tc, bytes_above_upto_are_looked_at_again_when_they_are_written);
	tcase_add_test(tc, without_checksums_damage_is_bridged_by_records_that_look_right_in_a_row);
	suite_add_tcase(suite, tc);
	suite_add_tcase(suite, hard_cases());
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
