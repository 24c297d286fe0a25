/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that lies on disk, byte by byte, apart from the records, which are the same bytes as
 * in the ring (shm/record.h). persist/FORMAT.md says the same in words and `make check-format`
 * compares the two. All numbers are little-endian.
 */
#ifndef PERSIST_FORMAT_H
#define PERSIST_FORMAT_H

#include "shm/base.h"

#define FORMAT_MAGIC_SEGMENT UINT64_C(0x676d67657374616c)    /* "latsegmg" */
#define FORMAT_MAGIC_CHECKPOINT UINT64_C(0x746e706b6374616c) /* "latckpnt" */
#define FORMAT_MAGIC_INDEX UINT64_C(0x7865646e6974616c)      /* "latindex" */
#define FORMAT_READY UINT64_C(0x79646165725f6f6b)            /* "ko_ready" */
#define FORMAT_ORDER_MARK UINT32_C(0x01020304)
/* Positions stay below it, so that sums of a position and a length never wrap. */
#define FORMAT_POS_END (UINT64_C(1) << 62)
#define FORMAT_CHECKPOINT_NAME "checkpoint"
#define FORMAT_NEXT_NAME "next.tmp" /* the segment whose space is reserved ahead of need */

enum {
	FORMAT_MAJOR = 1,
	FORMAT_MINOR = 0,
	FORMAT_SEGMENT_LEN = 4096,       /* of a segment's header; the records follow at once */
	FORMAT_CHECKPOINT_LEN = 512,     /* of one slot */
	FORMAT_CHECKPOINT_STRIDE = 4096, /* from one slot to the other */
	FORMAT_CHECKPOINT_SLOTS = 2,
	FORMAT_INDEX_LEN = 128, /* of a time index' header; the entries follow at once */
	FORMAT_NAME_LEN = 32,   /* enough for every file name here, NUL included */
};

/* Flags of a segment. */
enum {
	FORMAT_F_CHECKSUM = 1, /* records carry their CRC */
	FORMAT_F_KNOWN = 1,
};

/* The first 4 KiB of a segment file, written once. */
struct format_segment {
	uint64_t magic;
	uint32_t order_mark;
	uint16_t major;
	uint16_t minor;
	uint64_t len;
	uint32_t incompat; /* an unknown bit: refuse */
	uint32_t compat;   /* an unknown bit: ignore */
	uint8_t stream_uuid[16];
	uint32_t shard;
	uint32_t flags;
	uint64_t base;     /* position of the first record */
	uint64_t epoch;    /* one more each time the shard's log was taken up again */
	uint64_t prev_end; /* where the segment before this one ends; [prev_end, base) is a gap */
	uint64_t created_ns;
	uint32_t crc_seed; /* of this stream's and shard's records */
	uint32_t crc;      /* of this header, taken with crc as 0 */
	uint8_t reserved[3992];
	uint64_t ready;
};

/* One of the two slots of a shard's checkpoint; the valid one of higher sequence counts. */
struct format_checkpoint {
	uint64_t magic;
	uint32_t order_mark;
	uint16_t major;
	uint16_t minor;
	uint64_t len;
	uint32_t incompat;
	uint32_t compat;
	uint8_t stream_uuid[16];
	uint32_t shard;
	uint32_t crc; /* of this slot, taken with crc as 0 */
	uint64_t sequence;
	uint64_t durable;        /* all records below it are on stable storage */
	uint64_t reserved_until; /* no position from it on was ever handed out */
	uint64_t epoch;
	uint64_t written_ns;
	uint8_t reserved[408];
	uint64_t ready;
};

/* Header of the time index of one segment: a side file that can always be made again. */
struct format_index {
	uint64_t magic;
	uint32_t order_mark;
	uint16_t major;
	uint16_t minor;
	uint64_t len; /* of the whole file */
	uint32_t incompat;
	uint32_t compat;
	uint8_t stream_uuid[16];
	uint32_t shard;
	uint32_t crc; /* of the whole file, taken with crc as 0 */
	uint64_t base;
	uint64_t end; /* of the segment when the index was made */
	uint64_t epoch;
	uint64_t created_ns; /* the segment's: the index belongs to that very file */
	uint64_t max_ns;     /* of all records */
	uint64_t n_entries;
	uint8_t reserved[16];
	uint64_t ready;
};

/* The records of [pos, pos of the next entry) have timestamps up to max_ns. */
struct format_index_entry {
	uint64_t pos;
	uint64_t max_ns;
};

_Static_assert(sizeof(struct format_segment) == 4096, "format_segment size 4096");
_Static_assert(offsetof(struct format_segment, magic) == 0, "format_segment.magic 0 8");
_Static_assert(offsetof(struct format_segment, order_mark) == 8, "format_segment.order_mark 8 4");
_Static_assert(offsetof(struct format_segment, major) == 12, "format_segment.major 12 2");
_Static_assert(offsetof(struct format_segment, minor) == 14, "format_segment.minor 14 2");
_Static_assert(offsetof(struct format_segment, len) == 16, "format_segment.len 16 8");
_Static_assert(offsetof(struct format_segment, incompat) == 24, "format_segment.incompat 24 4");
_Static_assert(offsetof(struct format_segment, compat) == 28, "format_segment.compat 28 4");
_Static_assert(offsetof(struct format_segment, stream_uuid) == 32,
	       "format_segment.stream_uuid 32 16");
_Static_assert(offsetof(struct format_segment, shard) == 48, "format_segment.shard 48 4");
_Static_assert(offsetof(struct format_segment, flags) == 52, "format_segment.flags 52 4");
_Static_assert(offsetof(struct format_segment, base) == 56, "format_segment.base 56 8");
_Static_assert(offsetof(struct format_segment, epoch) == 64, "format_segment.epoch 64 8");
_Static_assert(offsetof(struct format_segment, prev_end) == 72, "format_segment.prev_end 72 8");
_Static_assert(offsetof(struct format_segment, created_ns) == 80, "format_segment.created_ns 80 8");
_Static_assert(offsetof(struct format_segment, crc_seed) == 88, "format_segment.crc_seed 88 4");
_Static_assert(offsetof(struct format_segment, crc) == 92, "format_segment.crc 92 4");
_Static_assert(offsetof(struct format_segment, reserved) == 96, "format_segment.reserved 96 3992");
_Static_assert(offsetof(struct format_segment, ready) == 4088, "format_segment.ready 4088 8");
_Static_assert(sizeof(struct format_checkpoint) == 512, "format_checkpoint size 512");
_Static_assert(offsetof(struct format_checkpoint, magic) == 0, "format_checkpoint.magic 0 8");
_Static_assert(offsetof(struct format_checkpoint, order_mark) == 8,
	       "format_checkpoint.order_mark 8 4");
_Static_assert(offsetof(struct format_checkpoint, major) == 12, "format_checkpoint.major 12 2");
_Static_assert(offsetof(struct format_checkpoint, minor) == 14, "format_checkpoint.minor 14 2");
_Static_assert(offsetof(struct format_checkpoint, len) == 16, "format_checkpoint.len 16 8");
_Static_assert(offsetof(struct format_checkpoint, incompat) == 24,
	       "format_checkpoint.incompat 24 4");
_Static_assert(offsetof(struct format_checkpoint, compat) == 28, "format_checkpoint.compat 28 4");
_Static_assert(offsetof(struct format_checkpoint, stream_uuid) == 32,
	       "format_checkpoint.stream_uuid 32 16");
_Static_assert(offsetof(struct format_checkpoint, shard) == 48, "format_checkpoint.shard 48 4");
_Static_assert(offsetof(struct format_checkpoint, crc) == 52, "format_checkpoint.crc 52 4");
_Static_assert(offsetof(struct format_checkpoint, sequence) == 56,
	       "format_checkpoint.sequence 56 8");
_Static_assert(offsetof(struct format_checkpoint, durable) == 64, "format_checkpoint.durable 64 8");
_Static_assert(offsetof(struct format_checkpoint, reserved_until) == 72,
	       "format_checkpoint.reserved_until 72 8");
_Static_assert(offsetof(struct format_checkpoint, epoch) == 80, "format_checkpoint.epoch 80 8");
_Static_assert(offsetof(struct format_checkpoint, written_ns) == 88,
	       "format_checkpoint.written_ns 88 8");
_Static_assert(offsetof(struct format_checkpoint, reserved) == 96,
	       "format_checkpoint.reserved 96 408");
_Static_assert(offsetof(struct format_checkpoint, ready) == 504, "format_checkpoint.ready 504 8");
_Static_assert(sizeof(struct format_index) == 128, "format_index size 128");
_Static_assert(offsetof(struct format_index, magic) == 0, "format_index.magic 0 8");
_Static_assert(offsetof(struct format_index, order_mark) == 8, "format_index.order_mark 8 4");
_Static_assert(offsetof(struct format_index, major) == 12, "format_index.major 12 2");
_Static_assert(offsetof(struct format_index, minor) == 14, "format_index.minor 14 2");
_Static_assert(offsetof(struct format_index, len) == 16, "format_index.len 16 8");
_Static_assert(offsetof(struct format_index, incompat) == 24, "format_index.incompat 24 4");
_Static_assert(offsetof(struct format_index, compat) == 28, "format_index.compat 28 4");
_Static_assert(offsetof(struct format_index, stream_uuid) == 32, "format_index.stream_uuid 32 16");
_Static_assert(offsetof(struct format_index, shard) == 48, "format_index.shard 48 4");
_Static_assert(offsetof(struct format_index, crc) == 52, "format_index.crc 52 4");
_Static_assert(offsetof(struct format_index, base) == 56, "format_index.base 56 8");
_Static_assert(offsetof(struct format_index, end) == 64, "format_index.end 64 8");
_Static_assert(offsetof(struct format_index, epoch) == 72, "format_index.epoch 72 8");
_Static_assert(offsetof(struct format_index, created_ns) == 80, "format_index.created_ns 80 8");
_Static_assert(offsetof(struct format_index, max_ns) == 88, "format_index.max_ns 88 8");
_Static_assert(offsetof(struct format_index, n_entries) == 96, "format_index.n_entries 96 8");
_Static_assert(offsetof(struct format_index, reserved) == 104, "format_index.reserved 104 16");
_Static_assert(offsetof(struct format_index, ready) == 120, "format_index.ready 120 8");
_Static_assert(sizeof(struct format_index_entry) == 16, "format_index_entry size 16");
_Static_assert(offsetof(struct format_index_entry, pos) == 0, "format_index_entry.pos 0 8");
_Static_assert(offsetof(struct format_index_entry, max_ns) == 8, "format_index_entry.max_ns 8 8");

/*
 * Fill in magic, version, length, CRC and ready word of a header whose other fields are set and
 * whose reserved bytes are 0. An index' entries follow its header in the same memory.
 */
void format_segment_seal(struct format_segment *segment);
void format_checkpoint_seal(struct format_checkpoint *checkpoint);
void format_index_seal(struct format_index *index);

/*
 * Check what came from a file: 0, -EBADMSG for damage or another kind of file, -EPROTONOSUPPORT
 * for a sound header of a version, or with an incompat bit, that is not known here. An index is
 * checked with all `len` bytes that the file has.
 */
int format_segment_check(const struct format_segment *segment);
int format_checkpoint_check(const struct format_checkpoint *checkpoint);
int format_index_check(const struct format_index *index, uint64_t len);

/* "<base, 20 digits>.seg" and ".idx". */
void format_segment_name(uint64_t base, char ret_name[FORMAT_NAME_LEN]);
void format_index_name(uint64_t base, char ret_name[FORMAT_NAME_LEN]);

/* True when `name` is a segment's, exactly as format_segment_name() writes it. */
bool format_segment_base(const char *name, uint64_t *ret_base);

/* Where in the segment's file `pos` lies; base <= pos < FORMAT_POS_END. */
static inline uint64_t format_file_off(uint64_t base, uint64_t pos)
{
	return pos - base + FORMAT_SEGMENT_LEN;
}

static inline bool format_pos_is_sane(uint64_t pos)
{
	return pos % 32 == 0 && pos < FORMAT_POS_END;
}

#endif
