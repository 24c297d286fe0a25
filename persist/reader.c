/* SPDX-License-Identifier: Apache-2.0 */
#include "persist/reader.h"

#include "persist/file.h"
#include "persist/timeindex.h"

enum {
	WINDOW_LEN = 256 << 10, /* read at once when walking */
	PAGE = 4096,            /* what a disk cannot give is at least so long */
	/* Without checksums, records in a row that have to look right after damage. */
	RESYNC_CHAIN = 4,
};

/* What one resync may read over and over; hostile content could make it quadratic. */
#define RESYNC_BUDGET (4 * GIB)

struct reader {
	int fd;
	uint32_t reserved;
	struct format_segment header;
	const struct timeindex *index;
	/* The walked part of the file: [window_pos, window_pos + window_len) is in memory. */
	char *window;
	uint64_t window_cap;
	uint64_t window_pos;
	uint64_t window_len;
};

int reader_open_bare(int fd, uint64_t base, uint32_t flags, uint32_t crc_seed,
		     struct reader **ret_reader)
{
	struct reader *reader;

	if (!format_pos_is_sane(base))
		return -EINVAL;
	reader = calloc(1, sizeof(*reader));
	if (!reader)
		return -ENOMEM;
	reader->fd = fd;
	reader->header.base = base;
	reader->header.prev_end = base;
	reader->header.flags = flags;
	reader->header.crc_seed = crc_seed;
	*ret_reader = reader;
	return 0;
}

int reader_open(int fd, struct reader **ret_reader)
{
	struct format_segment header;
	struct reader *reader;
	int64_t n = file_read(fd, &header, sizeof(header), 0);
	int r;

	if (n < 0)
		return (int)n;
	if (n != sizeof(header))
		return -EBADMSG;
	r = format_segment_check(&header);
	if (r < 0)
		return r;
	r = reader_open_bare(fd, header.base, header.flags, header.crc_seed, &reader);
	if (r < 0)
		return r;
	reader->header = header;
	*ret_reader = reader;
	return 0;
}

static bool belongs_to(const struct format_segment *header, const struct reader_log *log,
		       uint64_t base)
{
	return header->base == base && header->shard == log->shard && header->prev_end <= base &&
	       format_pos_is_sane(header->prev_end) &&
	       memcmp(header->stream_uuid, log->stream_uuid, sizeof(log->stream_uuid)) == 0;
}

int reader_open_of(int fd, const struct reader_log *log, uint64_t base, struct reader **ret_reader)
{
	struct reader *reader;
	int r = reader_open(fd, &reader);

	/* A header that the disk does not give is damaged as well. */
	if (r == -EIO)
		r = -EBADMSG;
	if (r == 0 && belongs_to(&reader->header, log, base)) {
		*ret_reader = reader;
		return 0;
	}
	if (r == 0) {
		reader->fd = -1;
		reader_close(reader);
	} else if (r != -EBADMSG) {
		return r;
	}
	return reader_open_bare(fd, base, log->flags, log->crc_seed, ret_reader);
}

struct reader *reader_close(struct reader *reader)
{
	if (!reader)
		return NULL;
	file_close(reader->fd);
	free(reader->window);
	free(reader);
	return NULL;
}

const struct format_segment *reader_header(const struct reader *reader)
{
	return &reader->header;
}

int reader_size_end(struct reader *reader, uint64_t *ret_end)
{
	uint64_t len;
	int r = file_size(reader->fd, &len);

	if (r < 0)
		return r;
	len = len > FORMAT_SEGMENT_LEN ? len - FORMAT_SEGMENT_LEN : 0;
	len -= len % RECORD_ALIGN;
	*ret_end = reader->header.base + min_u64(len, FORMAT_POS_END - reader->header.base);
	return 0;
}

/* Where the last byte that is not 0 ends; 0 when there is none. */
static uint64_t content_end(const char *bytes, uint64_t len)
{
	while (len > 0 && bytes[len - 1] == 0)
		len--;
	return len;
}

uint64_t reader_trim(struct reader *reader, uint64_t from, uint64_t upto)
{
	char buf[16 * KIB];

	while (upto > from) {
		uint64_t len = min_u64(upto - from, sizeof(buf)), end;
		uint64_t off = format_file_off(reader->header.base, upto - len);

		/* What cannot be read may be anything. */
		if (file_read(reader->fd, buf, len, off) != (int64_t)len)
			break;
		end = content_end(buf, len);
		if (end > 0)
			return upto - len + align_up(end, RECORD_ALIGN);
		upto -= len;
	}
	return upto;
}

void reader_use_index(struct reader *reader, const struct timeindex *index)
{
	reader->index = index;
}

/* 0 for something to read, READER_E_END, -EINVAL. */
static int check_range(const struct reader *reader, uint64_t pos, uint64_t upto)
{
	if (pos % RECORD_ALIGN != 0 || upto % RECORD_ALIGN != 0 || upto > FORMAT_POS_END ||
	    pos < reader->header.base)
		return -EINVAL;
	return pos < upto ? 0 : READER_E_END;
}

/* Bytes of a record that have to be at hand: the rest of the other kinds says nothing. */
static uint64_t content_len(uint64_t word)
{
	if (record_word_kind(word) == RECORD_COMMITTED)
		return record_word_len(word);
	return RECORD_HEADER_LEN;
}

/*
 * Validates the record at `bytes`, of which `len` are at hand and which may reach `room` bytes
 * far. 0 and its word, -EBADMSG, or READER_E_SMALL with the bytes that have to be at hand.
 */
static int check_bytes(const struct reader *reader, const char *bytes, uint64_t len, uint64_t pos,
		       uint64_t room, uint64_t *ret_word, uint64_t *ret_needed)
{
	struct record_view view;
	uint64_t word;
	uint32_t crc;

	*ret_needed = RECORD_HEADER_LEN;
	if (len < RECORD_HEADER_LEN)
		return READER_E_SMALL;
	memcpy(&word, bytes, sizeof(word));
	if (!record_word_is_done(word, RECORD_LEN_MAX, UINT64_MAX) ||
	    record_span(record_word_len(word)) > room)
		return -EBADMSG;
	*ret_needed = content_len(word);
	if (len < *ret_needed)
		return READER_E_SMALL;
	if (record_parse(word, bytes, pos, &view) < 0)
		return -EBADMSG;
	memcpy(&crc, bytes + offsetof(struct record_header, crc), sizeof(crc));
	if ((reader->header.flags & FORMAT_F_CHECKSUM) &&
	    crc != record_crc(reader->header.crc_seed, pos, word, bytes))
		return -EBADMSG;
	*ret_word = word;
	return 0;
}

/* Whole records in the buffer from *len on: the one there, or the whole batch that it begins. */
static int take_unit(const struct reader *reader, const char *buf, uint64_t n, uint64_t upto,
		     struct reader_run *run, uint64_t *ret_needed)
{
	uint64_t at = run->len, pos = run->next_pos, end = 0, word, step;
	int r;

	do {
		r = check_bytes(reader, buf + at, n - at, pos, upto - pos, &word, ret_needed);
		if (r != 0)
			return r;
		step = record_step(word);
		if (record_word_kind(word) == RECORD_BATCH) {
			if (end != 0)
				return -EBADMSG;
			end = upto = pos + record_span(record_word_len(word));
		}
		if (step > n - at && (end != 0 || record_word_kind(word) == RECORD_COMMITTED))
			return READER_E_SMALL;
		at += min_u64(step, n - at);
		pos += step;
	} while (pos < end);
	/* The last one may be cut to its header. */
	if (pos - run->next_pos > at - run->len)
		at = run->len + RECORD_HEADER_LEN;
	run->len = at;
	run->next_pos = pos;
	return 0;
}

int reader_check_batch(struct reader *reader, uint64_t pos, uint64_t end)
{
	uint64_t word;
	int r;

	for (pos += RECORD_HEADER_LEN; pos < end; pos += record_step(word)) {
		r = reader_check(reader, pos, end, &word, NULL);
		if (r < 0)
			return r;
		if (record_word_kind(word) == RECORD_BATCH)
			return -EBADMSG;
	}
	return 0;
}

/* The batch at pos does not fit the buffer: it is looked at apart, then given piece by piece. */
static int begin_batch(struct reader *reader, const char *buf, uint64_t n, uint64_t upto,
		       struct reader_run *run)
{
	uint64_t word, needed, size_end, pos = run->next_pos;
	int r;

	if (check_bytes(reader, buf, n, pos, upto - pos, &word, &needed) != 0 ||
	    record_word_kind(word) != RECORD_BATCH)
		return READER_E_SMALL;
	/* A file that ends in what rounds up the last record's length is short of that record. */
	r = reader_size_end(reader, &size_end);
	if (r < 0)
		return r;
	if (size_end < pos + record_span(record_word_len(word)))
		return -EBADMSG;
	r = reader_check_batch(reader, pos, pos + record_span(record_word_len(word)));
	if (r < 0)
		return r;
	run->len = RECORD_HEADER_LEN;
	run->next_pos += RECORD_HEADER_LEN;
	do
		r = take_unit(reader, buf, n, upto, run, &needed);
	while (r == 0 && run->len < n && run->next_pos - pos == run->len);
	return 0;
}

int reader_read(struct reader *reader, uint64_t pos, uint64_t upto, void *buf, size_t cap,
		struct reader_run *ret_run)
{
	struct reader_run run = { .next_pos = pos };
	uint64_t len, needed = RECORD_HEADER_LEN;
	int64_t n;
	int r = check_range(reader, pos, upto);

	if (r != 0)
		return r;
	len = min_u64(cap - cap % RECORD_ALIGN, upto - pos);
	if (len == 0)
		return -EINVAL;
	n = file_read(reader->fd, buf, len, format_file_off(reader->header.base, pos));
	if (n < 0)
		return n == -EIO ? -EBADMSG : (int)n;
	while (r == 0 && run.len < (uint64_t)n && run.next_pos - pos == run.len)
		r = take_unit(reader, buf, (uint64_t)n, upto, &run, &needed);
	if (run.len == 0 && r == READER_E_SMALL)
		r = begin_batch(reader, buf, (uint64_t)n, upto, &run);
	if (run.len > 0) {
		*ret_run = run;
		return 0;
	}
	/* The file ends, or cannot be read any further, before the record does. */
	if ((uint64_t)n < len || r != READER_E_SMALL)
		return r < 0 ? r : -EBADMSG;
	ret_run->len = 0;
	ret_run->next_pos = pos;
	ret_run->needed = align_up(needed, RECORD_ALIGN);
	return READER_E_SMALL;
}

static int window_grow(struct reader *reader, uint64_t len)
{
	uint64_t cap = max_u64(len, WINDOW_LEN);
	char *window;

	if (cap <= reader->window_cap)
		return 0;
	window = malloc(cap);
	if (!window)
		return -ENOMEM;
	free(reader->window);
	reader->window = window;
	reader->window_cap = cap;
	reader->window_len = 0;
	return 0;
}

/*
 * Brings [pos, pos + len) into the window, and as much after it, up to upto, as is read at once.
 * -EBADMSG when the file ends within; -ENODATA when it ends at pos or before; -EIO.
 */
static int window_at(struct reader *reader, uint64_t pos, uint64_t len, uint64_t upto,
		     const char **ret_bytes, uint64_t *ret_len)
{
	uint64_t have;
	int64_t n;
	int r;

	if (pos >= reader->window_pos && pos - reader->window_pos <= reader->window_len) {
		have = reader->window_len - (pos - reader->window_pos);
		if (have >= len)
			goto found;
	}
	r = window_grow(reader, len);
	if (r < 0)
		return r;
	reader->window_len = 0;
	n = file_read(reader->fd, reader->window, min_u64(reader->window_cap, upto - pos),
		      format_file_off(reader->header.base, pos));
	if (n <= 0)
		return n == 0 ? -ENODATA : (int)n;
	reader->window_pos = pos;
	reader->window_len = (uint64_t)n;
	have = (uint64_t)n;
	if (have < len)
		return -EBADMSG;
found:
	*ret_bytes = reader->window + (pos - reader->window_pos);
	*ret_len = min_u64(have, upto - pos);
	return 0;
}

/* As reader_check(), for a range that is checked, with the errors of window_at(). Adds what it
 * looked at to *cost. */
static int check_at(struct reader *reader, uint64_t pos, uint64_t upto, uint64_t *cost,
		    uint64_t *ret_word, uint64_t *ret_timestamp_ns)
{
	uint64_t word, have = 0, needed = RECORD_HEADER_LEN;
	const char *bytes = NULL;
	int r;

	do {
		r = window_at(reader, pos, needed, upto, &bytes, &have);
		if (r < 0)
			return r;
		r = check_bytes(reader, bytes, have, pos, upto - pos, &word, &needed);
	} while (r == READER_E_SMALL);
	*cost += needed - RECORD_HEADER_LEN;
	if (r < 0)
		return r;
	if (ret_word)
		*ret_word = word;
	if (ret_timestamp_ns)
		memcpy(ret_timestamp_ns, bytes + offsetof(struct record_header, timestamp_ns), 8);
	return 0;
}

int reader_check(struct reader *reader, uint64_t pos, uint64_t upto, uint64_t *ret_word,
		 uint64_t *ret_timestamp_ns)
{
	uint64_t cost = 0;
	int r = check_range(reader, pos, upto);

	if (r != 0)
		return r;
	r = check_at(reader, pos, upto, &cost, ret_word, ret_timestamp_ns);
	return r == -ENODATA || r == -EIO ? -EBADMSG : r;
}

/* Can a log go on at pos? One record that validates, or several that look right. */
static int check_resync(struct reader *reader, uint64_t pos, uint64_t upto, uint64_t *cost)
{
	unsigned int i, n = reader->header.flags & FORMAT_F_CHECKSUM ? 1 : RESYNC_CHAIN;
	uint64_t word;
	int r;

	for (i = 0; i < n && pos < upto; i++) {
		r = check_at(reader, pos, upto, cost, &word, NULL);
		if (r < 0)
			return i > 0 && r == -ENODATA ? -EBADMSG : r;
		pos += record_step(word);
	}
	return 0;
}

/* To the next place worth a look, after what check_resync() said of pos. */
static uint64_t skip_bad(const struct reader *reader, uint64_t pos, uint64_t upto, int r)
{
	/* Nothing more is there: not even damage, of which upto may promise terabytes. */
	if (r == -ENODATA)
		return upto;
	/* Each attempt may take a disk seconds. */
	if (r == -EIO)
		return pos + PAGE - format_file_off(reader->header.base, pos) % PAGE;
	return pos + RECORD_ALIGN;
}

int reader_resync(struct reader *reader, uint64_t pos, uint64_t upto, uint64_t *ret_pos)
{
	uint64_t word, cost = 0;
	int r = check_range(reader, pos, upto);

	if (r < 0)
		return r;
	if (r == 0) {
		/* A batch is seen whole or not at all: what is inside of it does not count. */
		r = check_at(reader, pos, FORMAT_POS_END, &cost, &word, NULL);
		if (r == 0 && record_word_kind(word) == RECORD_BATCH)
			pos += record_span(record_word_len(word));
		else
			pos += RECORD_ALIGN;
		/* It may hold bytes above upto, which are not written yet. */
		reader->window_len = 0;
	}
	while (pos < upto && cost < RESYNC_BUDGET) {
		r = check_resync(reader, pos, upto, &cost);
		if (r == 0) {
			*ret_pos = pos;
			return 0;
		}
		if (r != -EBADMSG && r != -ENODATA && r != -EIO)
			return r;
		pos = skip_bad(reader, pos, upto, r);
	}
	*ret_pos = upto;
	return 0;
}

/* From the record boundary `pos` to the next one that can be told, over damage. */
static int next_boundary(struct reader *reader, uint64_t upto, uint64_t *pos, uint64_t *ret_word,
			 uint64_t *ret_timestamp_ns)
{
	int r = reader_check(reader, *pos, upto, ret_word, ret_timestamp_ns);

	if (r == -EBADMSG) {
		*ret_word = 0;
		return reader_resync(reader, *pos, upto, pos);
	}
	if (r == 0)
		*pos += record_step(*ret_word);
	return r;
}

int reader_seek_pos(struct reader *reader, uint64_t pos, uint64_t upto, uint64_t *ret_pos)
{
	uint64_t base = reader->header.base, at = base, word, timestamp_ns;
	int r = check_range(reader, base, upto);

	if (r < 0)
		return r;
	if (r == 0 && pos < upto && reader->index) {
		at = timeindex_floor_pos(reader->index, base, pos);
		if (at != base && reader_check(reader, at, upto, NULL, NULL) != 0)
			at = base;
	}
	while (at < pos && at < upto && pos < upto) {
		r = next_boundary(reader, upto, &at, &word, &timestamp_ns);
		if (r != 0)
			return r;
	}
	*ret_pos = pos < upto ? min_u64(at, upto) : upto;
	return *ret_pos < upto ? 0 : READER_E_END;
}

/* Where to begin the walk for a time: no record before it has one that late. */
static uint64_t time_floor(struct reader *reader, uint64_t ns, uint64_t upto)
{
	const struct timeindex *index = reader->index;
	uint64_t pos, base = reader->header.base;

	if (!index || index->n_entries == 0 || index->entries[0].pos != base)
		return base;
	/* The index may be older than the last records: the last stretch is always walked. */
	pos = min_u64(timeindex_first_stretch(index, ns), index->entries[index->n_entries - 1].pos);
	if (pos < base || pos >= upto || reader_check(reader, pos, upto, NULL, NULL) != 0)
		return base;
	return pos;
}

int reader_seek_time(struct reader *reader, uint64_t ns, uint64_t upto, uint64_t *ret_pos)
{
	uint64_t pos, at, word, timestamp_ns;
	int r = check_range(reader, reader->header.base, upto);

	if (r < 0)
		return r;
	pos = r == 0 ? time_floor(reader, ns, upto) : upto;
	while (pos < upto) {
		at = pos;
		r = next_boundary(reader, upto, &pos, &word, &timestamp_ns);
		if (r < 0)
			return r;
		if (record_word_kind(word) == RECORD_COMMITTED && timestamp_ns >= ns) {
			*ret_pos = at;
			return 0;
		}
	}
	*ret_pos = upto;
	return READER_E_END;
}
