/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads one segment file through an fd. Everything in the file is input. Used by the daemon, by
 * the client library and by tools; it needs nothing but the fd. One thread at a time.
 *
 * `upto` bounds every read: the shard's written or durable position for the segment that is being
 * written, the segment's end otherwise; a record boundary, never taken from the file's size alone.
 */
#ifndef PERSIST_READER_H
#define PERSIST_READER_H

#include "persist/format.h"
#include "shm/base.h"
#include "shm/record.h"

struct reader;
struct timeindex;

/* Expected outcomes. */
enum {
	READER_E_END = 1,   /* nothing from there up to `upto` */
	READER_E_SMALL = 2, /* the next record does not fit the buffer */
};

/* What reader_read() put into the buffer. */
struct reader_run {
	/* Bytes in the buffer: whole records one after the other, walked by record_step(). Only
	 * the last may be cut, to its header, and only if its kind has no content (tombstone,
	 * padding, damaged). */
	uint64_t len;
	uint64_t next_pos; /* where to read on */
	uint64_t needed;   /* READER_E_SMALL: the buffer length that is enough */
};

/*
 * Takes the segment at fd. The reader owns the fd from then on, on success only. -EBADMSG when the
 * header is damaged or not a segment's, -EPROTONOSUPPORT for an unknown version or incompat bit,
 * -ENOMEM, or what reading gave.
 */
int reader_open(int fd, struct reader **ret_reader);

/* A shard's log, as who has it at hand knows it. */
struct reader_log {
	uint8_t stream_uuid[16];
	uint32_t shard;
	uint32_t flags; /* FORMAT_F_*, and the seed: where no header says them */
	uint32_t crc_seed;
};

/*
 * The same for the file that by its name is the segment of this log at `base`. A header that is
 * damaged, or belongs elsewhere, is as good as none: what of the records is this log's validates
 * all the same. Then created_ns is 0. -EPROTONOSUPPORT, -ENOMEM, or what reading gave.
 */
int reader_open_of(int fd, const struct reader_log *log, uint64_t base, struct reader **ret_reader);

/*
 * The same for a file whose header is damaged: the caller knows where it begins (from its name)
 * and the stream's seed. For recovery and tools.
 */
int reader_open_bare(int fd, uint64_t base, uint32_t flags, uint32_t crc_seed,
		     struct reader **ret_reader);

/* Closes the fd, frees. NULL is accepted. Returns NULL. */
struct reader *reader_close(struct reader *reader);

/* The header as checked. */
const struct format_segment *reader_header(const struct reader *reader);

/* Position that the file's present size reaches to: a bound for `upto`, nothing more. */
int reader_size_end(struct reader *reader, uint64_t *ret_end);

/* The same without the zeros at its end that a writer leaves where it will write next: at or above
 * `from`, at most `upto`. */
uint64_t reader_trim(struct reader *reader, uint64_t from, uint64_t upto);

/* Makes seeks quick. Borrowed: it must live as long as the reader. NULL takes it away. */
void reader_use_index(struct reader *reader, const struct timeindex *index);

/*
 * Reads a run of records that begins at `pos`, a record boundary, and ends at or before `upto`.
 * Each is checked: structure, and CRC where the segment has checksums. 0 and a run of at least
 * one record; READER_E_END (pos >= upto); READER_E_SMALL (needed says how much; cap must be at
 * least RECORD_HEADER_LEN); -EBADMSG when the record at `pos` does not validate, cannot be read
 * from the disk (-EIO) or does not end before `upto`: go on at reader_resync(); -EINVAL for a
 * position outside of the segment; or what reading gave. A run ends before a damaged record; only
 * the next call reports it. A batch of which anything does not validate is damaged as a whole.
 */
int reader_read(struct reader *reader, uint64_t pos, uint64_t upto, void *buf, size_t cap,
		struct reader_run *ret_run);

/*
 * Validates the one record at pos: 0 and its word and timestamp (NULL is accepted for each),
 * READER_E_END or -EBADMSG.
 */
int reader_check(struct reader *reader, uint64_t pos, uint64_t upto, uint64_t *ret_word,
		 uint64_t *ret_timestamp_ns);

/* 0 when every record of the batch whose header is at pos validates up to its exact end. */
int reader_check_batch(struct reader *reader, uint64_t pos, uint64_t end);

/*
 * The next position >= pos + 32 at which a record validates; `upto` when there is none: the range
 * [pos, *ret_pos) is damaged. Without checksums several records in a row have to look right. When
 * the batch header at pos itself validates, nothing inside of that batch is offered.
 */
int reader_resync(struct reader *reader, uint64_t pos, uint64_t upto, uint64_t *ret_pos);

/*
 * The first record boundary >= pos; pos may lie in the middle of a record, or before the segment.
 * Returns 0, or READER_E_END with *ret_pos = upto.
 */
int reader_seek_pos(struct reader *reader, uint64_t pos, uint64_t upto, uint64_t *ret_pos);

/*
 * The first committed record whose timestamp is >= ns; timestamps may go up and down. 0, or
 * READER_E_END with *ret_pos = upto. Walks the whole segment where there is no index.
 */
int reader_seek_time(struct reader *reader, uint64_t ns, uint64_t upto, uint64_t *ret_pos);

static inline void reader_closep(struct reader **reader)
{
	*reader = reader_close(*reader);
}

#endif
