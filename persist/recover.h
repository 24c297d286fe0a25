/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a shard's files hold after whatever happened to them. Only what lies above the checkpointed
 * durable position is looked at, so the time does not grow with the data kept. Nothing is changed.
 */
#ifndef PERSIST_RECOVER_H
#define PERSIST_RECOVER_H

#include "persist/checkpoint.h"
#include "persist/segment.h"
#include "shm/base.h"

enum recover_kind {
	RECOVER_GAP = 1, /* no record was ever kept there; said by a segment's prev_end */
	RECOVER_DAMAGE =
		2,        /* bytes that do not validate, or that are missing, with valid ones after
			       them or below the durable position */
	RECOVER_TORN = 3, /* the end of what was being written: cut off, nothing promised is lost */
	RECOVER_HEADER = 4, /* a segment's header is damaged; its records were read all the same */
};

struct recover_range {
	enum recover_kind kind;
	uint32_t reserved;
	uint64_t from;
	uint64_t to;
};

/* Start from `{ 0 }`; freed by recover_deinit(). */
struct recover {
	uint64_t *bases; /* of all segments, ascending */
	size_t n_bases;
	uint64_t *ends; /* of the last n_ends segments, exact; the others are not known yet */
	size_t n_ends;
	uint64_t end;         /* position after the last valid record */
	uint64_t content_end; /* of the last segment: nothing but zeros from there on */
	uint64_t durable; /* as the checkpoint says; above `end` when the log's end is missing */
	uint64_t reserved_until;      /* nothing from there on was ever handed out */
	uint64_t epoch;               /* the highest seen; 0 for a new shard */
	uint64_t scanned_len;         /* bytes looked at */
	uint64_t n_records;           /* committed, among them */
	bool checkpoint_lost;         /* both slots damaged: reserved_until is a guess far ahead */
	struct recover_range *ranges; /* ascending */
	size_t n_ranges;
};

/* How far above the last valid record a log goes on when no checkpoint says how far it went. */
#define RECOVER_JUMP (64 * GIB)
/* Ranges reported; what comes after is one range, so that a file cannot make us use all memory. */
#define RECOVER_RANGES_MAX 4096

/*
 * Looks at the shard in dir_fd. `checkpoint` is open; `have` is what checkpoint_open() returned.
 * Dirty pages are written first and clean ones dropped, so that what is found valid is on disk.
 */
int recover_scan(int dir_fd, const struct segment_identity *identity,
		 const struct checkpoint *checkpoint, int have, uint64_t first_pos,
		 struct recover *ret_recover);
void recover_deinit(struct recover *recover);

struct reader;

/*
 * Walks the records of [from, upto) of one segment. Returns 0 and where the last valid record (or
 * whole batch) ends; damaged ranges before it are added to `recover`, committed records counted.
 * Without `resync` it ends before the first damage.
 */
int recover_walk(struct reader *reader, uint64_t from, uint64_t upto, bool resync,
		 struct recover *recover, uint64_t *ret_end);

#endif
