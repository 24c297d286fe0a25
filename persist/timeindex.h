/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sparse time index of one segment: for each stretch of about 256 KiB where it begins and the
 * highest timestamp in it. It is a hint. It lives in a side file that may be lost at any time.
 */
#ifndef PERSIST_TIMEINDEX_H
#define PERSIST_TIMEINDEX_H

#include "persist/format.h"
#include "shm/base.h"

#define TIMEINDEX_STRIDE (256 * KIB)

struct timeindex {
	struct format_index_entry *entries; /* ascending pos */
	uint64_t n_entries;
	uint64_t n_allocated;
	uint64_t max_ns; /* of all */
};

struct reader;

void timeindex_deinit(struct timeindex *index);

/*
 * Notes that the records of [pos, pos + something) have timestamps up to max_ns; called with
 * ascending record boundaries. 0 or -ENOMEM (the index stays usable: coarser, never wrong).
 */
int timeindex_add(struct timeindex *index, uint64_t pos, uint64_t max_ns);

/* Highest indexed record boundary <= pos, or `base`. */
uint64_t timeindex_floor_pos(const struct timeindex *index, uint64_t base, uint64_t pos);

/* Begin of the first stretch with a timestamp >= ns; UINT64_MAX when there is none. */
uint64_t timeindex_first_stretch(const struct timeindex *index, uint64_t ns);

/*
 * Reads the index of the segment with that header from dir_fd. -ENOENT, or -EBADMSG when it is
 * damaged or belongs to another file. *ret_end is where the segment ended when it was made.
 */
int timeindex_load(int dir_fd, const struct format_segment *segment, struct timeindex *ret_index,
		   uint64_t *ret_end);

/* Writes the side file; not made durable, because it can be made again. */
int timeindex_store(int dir_fd, const struct format_segment *segment, uint64_t end,
		    const struct timeindex *index);

/* Makes the index from the records themselves. */
int timeindex_build(struct reader *reader, uint64_t end, struct timeindex *ret_index);

#endif
