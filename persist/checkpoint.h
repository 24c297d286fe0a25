/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checkpoint of one shard: two slots in one file, written in turn, so that one of them is
 * whole whenever the power goes. Written again and again in place: no journal, no allocation.
 */
#ifndef PERSIST_CHECKPOINT_H
#define PERSIST_CHECKPOINT_H

#include "persist/format.h"
#include "persist/segment.h"
#include "shm/base.h"

struct checkpoint {
	int fd;
	uint32_t reserved;
	uint64_t sequence; /* of the last one that is durable; 0: none */
	uint64_t durable;
	uint64_t reserved_until;
	uint64_t epoch;
};

/*
 * Opens the shard's checkpoint file, makes it if need be, and reads the newer valid slot. Returns
 * 1 for a checkpoint, 0 when there is none and never was, -EBADMSG when both slots are damaged (the
 * file is usable all the same), -ESTALE for another stream's or shard's, -EPROTONOSUPPORT.
 */
int checkpoint_open(int dir_fd, const struct segment_identity *identity,
		    struct checkpoint *ret_checkpoint);
void checkpoint_close(struct checkpoint *checkpoint);

/*
 * Writes the values that are newer than checkpoint's and makes them durable, then updates
 * checkpoint; the older slot is overwritten, and after an error the same one is tried again.
 */
int checkpoint_write(struct checkpoint *checkpoint, const struct segment_identity *identity,
		     uint64_t durable, uint64_t reserved_until, uint64_t epoch);

/* Reads the checkpoint without making or changing anything; -ENOENT when there is no file. */
int checkpoint_read(int dir_fd, struct format_checkpoint *ret_slot);

#endif
