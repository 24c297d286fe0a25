/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What dead publishers leave behind, found and buried by the shard's drain thread.
 *
 * A reservation whose word is there names its owner. A hole of zeros below the tail has no name:
 * once every live publisher's claim has been seen even, or changed, after that tail was read,
 * nobody alive can own it. This is the argument of an RCU grace period (McKenney, Walpole, 1998),
 * across processes: an odd claim is a read-side critical section.
 */
#ifndef SHM_ORPHAN_H
#define SHM_ORPHAN_H

#include "shm/ring.h"

enum {
	ORPHAN_E_WAIT = 1,   /* somebody alive may still own it: ask again later */
	ORPHAN_E_FILLED = 2, /* there is a word now: it was not a hole */

	/* A hole is buried in pieces of at most so many bytes: the longest record is no longer, and
	 * a tail that was moved by force makes one as long as the ring. */
	ORPHAN_HOLE_MAX = 16 << 20,
};

/* The search for the owner of one hole. Embedded; zero = no search under way. */
struct orphan_scan {
	uint64_t pos;      /* of the hole; 0 = none */
	uint64_t tail;     /* as read when the search began */
	uint64_t since_ns; /* CLOCK_MONOTONIC when it began */
	uint32_t n_pending;
	uint32_t reserved;
	uint16_t pending[LAYOUT_PUBLISHER_SLOTS]; /* slots whose claim was odd */
	uint64_t claim[LAYOUT_PUBLISHER_SLOTS];   /* and its value */
};

/*
 * Goes on with the search at pos, whose word reads 0 below the tail. Slots whose owner is not
 * OWNER_TAKEN in the govern page are dead. Returns 0 with the length of the hole in bytes (up to
 * the next nonzero word, the tail or ORPHAN_HOLE_MAX), ORPHAN_E_WAIT or ORPHAN_E_FILLED. Bounded.
 */
int orphan_step(const struct ring *ring, struct orphan_scan *scan, uint64_t pos, uint64_t now_ns,
		uint64_t *ret_len);

/* Where the hole at pos ends at the latest at `tail`; 0 if there is a word at pos by now. */
uint64_t orphan_hole_len(const struct ring *ring, uint64_t pos, uint64_t tail);

/* Who is named on a tombstone. */
struct orphan_dead {
	uint32_t pid;
	uint32_t uid;
	uint16_t owner;
};

/*
 * Stores a tombstone (or RECORD_DAMAGED) of len bytes at pos: header, checksum, then the word.
 * wipe: the content is zeroed first, because its writer is dead and cannot race.
 */
void orphan_bury(struct ring *ring, uint64_t pos, uint32_t len, enum record_kind kind,
		 const struct orphan_dead *dead, uint64_t timestamp_ns, bool wipe);

#endif
