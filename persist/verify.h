/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks every byte kept of one shard, offline or beside a running daemon, and changes nothing.
 */
#ifndef PERSIST_VERIFY_H
#define PERSIST_VERIFY_H

#include "shm/base.h"

enum verify_kind {
	VERIFY_GAP = 1,        /* a segment says that nothing was kept there: not an error */
	VERIFY_DAMAGE = 2,     /* bytes of [from, to) do not validate, or are missing */
	VERIFY_HEADER = 3,     /* a segment's header is damaged; [from, to) was read all the same */
	VERIFY_CHAIN = 4,      /* a segment's header contradicts the one before it */
	VERIFY_FOREIGN = 5,    /* a segment of another stream or shard, or of an unknown version */
	VERIFY_TORN = 6,       /* above the checkpoint: what was, or is, being written */
	VERIFY_CHECKPOINT = 7, /* the checkpoint is missing or damaged */
};

/* True for what makes `leat verify` exit with 1. */
static inline bool verify_is_damage(enum verify_kind kind)
{
	return kind != VERIFY_GAP && kind != VERIFY_TORN;
}

struct verify_finding {
	enum verify_kind kind;
	uint32_t reserved;
	uint64_t base; /* of the segment concerned; its file is format_segment_name(base) */
	uint64_t from;
	uint64_t to;
};

struct verify_stats {
	uint64_t n_segments;
	uint64_t n_records; /* committed */
	uint64_t n_bytes;   /* of log that validated */
	uint64_t n_damaged; /* findings for which verify_is_damage() */
	uint64_t earliest;
	uint64_t end;
};

/*
 * Verifies the shard directory `path`; each finding is given to `found`, which may be NULL. Returns
 * 0 whatever was found, or negative errno when something could not be read at all.
 */
int verify_dir(const char *path, void (*found)(void *ctx, const struct verify_finding *finding),
	       void *ctx, struct verify_stats *ret_stats);

#endif
