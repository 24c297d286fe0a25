/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One shard's ring: copy and check by subscribers; close, reclaim and limit by the daemon; reserve
 * and commit by publishers are in ring_publish.h. The protocol, its edges and why it is right: top
 * of ring.c.
 *
 * Which calls may run at the same time, from any process:
 *
 *              reserve/commit  read  reclaim  close
 *   reserve/c.       yes       yes     yes     yes     (one thread per ring_publisher)
 *   read             yes       yes     yes     yes     (one thread per buffer)
 *   reclaim          yes       yes     no      no      (the drain thread of the shard only)
 */
#ifndef SHM_RING_H
#define SHM_RING_H

#include "shm/record.h"
#include "shm/region.h"

/* Expected outcomes; the direct caller handles them and does not pass them on. */
enum {
	RING_E_FULL = 1,    /* no room below the limit now */
	RING_E_CLOSED = 2,  /* this ring has ended here; see ring_state() and the next generation */
	RING_E_LAPPED = 3,  /* the position is not in the ring any more: read it from disk */
	RING_E_EMPTY = 4,   /* nothing finished at this position yet */
	RING_E_SMALL = 5,   /* the buffer cannot take the next record; its span is returned */
	RING_E_GARBAGE = 6, /* not a word a publisher writes; the daemon will mark the range */
};

/* A mapped ring. The constants are private copies, read once and checked when it was opened. */
struct ring {
	char *data; /* mapped twice: data[idx .. idx + len) is contiguous for every idx < len */
	uint64_t len;
	uint64_t mask;
	struct layout_publish *publish;
	struct layout_govern *govern; /* read-only unless access is REGION_DAEMON */
	struct layout_wait *wait;
	uint64_t first_pos;
	uint32_t max_len;
	uint32_t flags; /* GOVERN_F_* */
	uint32_t crc_seed;
	uint32_t generation;
	uint32_t shard;
	enum region_access access;
	uint8_t stream_uuid[16];
	pid_t pid; /* of the process that mapped it: the mapping is not inherited by fork */
	uint32_t reserved;
};

/*
 * Maps and checks the regions in `fds` (which stay the caller's). Heap object. -EBADMSG,
 * -EPROTONOSUPPORT, -ENOMEM as region_map(). REGION_MONITOR maps publish and govern only.
 */
int ring_open(const struct region_fds *fds, enum region_access access, struct ring **ret_ring);
struct ring *ring_close(struct ring *ring);

static inline void *ring_at(const struct ring *ring, uint64_t pos)
{
	return ring->data + (pos & ring->mask);
}

/* The word at pos, as its publisher stored it last. What it promises is for the caller to doubt. */
static inline uint64_t ring_word_load(const struct ring *ring, uint64_t pos)
{
	/* MO(publish.A) pairs with publish.R in ring_commit_store(): whoever sees a finished word
	 * sees the content that was stored before it. */
	return load_acquire((_Atomic uint64_t *)ring_at(ring, pos));
}

/* enum govern_state of the ring; *ret_error (may be NULL) gets the errno of GOVERN_FAILED. */
enum govern_state ring_state(const struct ring *ring, int *ret_error);
/* Where a closed ring ends and its successor begins; only after ring_state() says so. */
uint64_t ring_close_pos(const struct ring *ring);
/* The next position to be reserved, clamped to what is possible: input from publishers. */
uint64_t ring_tail(const struct ring *ring);
uint64_t ring_reclaimed(const struct ring *ring);
/* Words are looked at below it only. */
uint64_t ring_limit(const struct ring *ring);
uint64_t ring_written(const struct ring *ring);
uint64_t ring_durable(const struct ring *ring);

/* A bell's value (limit_bell, ...), to be read before what it tells of, then slept on. */
uint32_t ring_bell(const _Atomic uint32_t *bell);

/*
 * Who waits for a position to be durable sleeps on that bell with this bit, so that news of others
 * do not wake it. Positions that lie near to each other, 1 KiB among short records and 32 KiB among
 * others, share a bit, and so do some far away: it may be woken for nothing, but never left asleep.
 */
uint32_t ring_ack_bit(uint64_t pos, uint64_t span);
/* The bits that it can give for positions of [from, to). */
uint32_t ring_ack_bits(uint64_t from, uint64_t to);

/* The commit word at pos now; 0 where the ring does not hold pos (below reclaimed, above limit). */
uint64_t ring_word_at(const struct ring *ring, uint64_t pos);

/*
 * Copies a run of finished records that starts at pos (a record boundary) and ends at or below
 * `upto` into buf[cap]; *ret_len gets its length in bytes, > 0 on 0. Take the run apart with
 * record_word_is_done()/record_step()/record_parse() on the copy alone. Otherwise RING_E_EMPTY,
 * RING_E_LAPPED, RING_E_CLOSED (pos has reached ring_close_pos()), RING_E_SMALL (*ret_len gets
 * the span needed), RING_E_GARBAGE. *limit is the caller's cached limit, 0 at first. Of padding,
 * tombstones and damage only the 32-byte header is copied, and they end the run: step over them by
 * record_step(), which may lead beyond *ret_len.
 */
int ring_read(const struct ring *ring, uint64_t pos, uint64_t upto, uint64_t *limit, void *buf,
	      uint64_t cap, uint64_t *ret_len);

/* For a poll loop: false while there is surely nothing new at pos, a position below the caller's
 * cached limit. Orders nothing; ring_read() does. */
static inline bool ring_stirs(const struct ring *ring, uint64_t pos)
{
	uint64_t word = load_relaxed((_Atomic uint64_t *)ring_at(ring, pos));

	return word != 0 && record_word_kind(word) != RECORD_RESERVED;
}

/*
 * Zero-copy: the finished record at pos in place. The bytes may change under the caller until
 * ring_still_valid() has said that the position was not reclaimed while it used them.
 */
int ring_peek(const struct ring *ring, uint64_t pos, uint64_t *limit, uint64_t *ret_word,
	      const void **ret_bytes);
bool ring_still_valid(const struct ring *ring, uint64_t pos);

/*
 * The first record boundary at or after pos in the ring, walked from the oldest one. Returns 0,
 * RING_E_LAPPED when pos lies below what the ring holds, RING_E_EMPTY when pos is beyond the last
 * finished record or the end of a closed ring (then *ret_pos is the boundary after it).
 */
int ring_seek(const struct ring *ring, uint64_t pos, uint64_t *ret_pos);

/* Wakes everybody that waits for this shard: subscribers by the doorbell. Any party with RW. */
void ring_wake_subscribers(struct ring *ring);

/* ---- the daemon's side (REGION_DAEMON, the shard's drain thread) ---- */

/*
 * Gives back ring memory below `upto` (a record boundary): reclaimed, zero, limit, wake. Also
 * completes what a daemon that died in here left half done, as ring_open() does for a daemon.
 */
void ring_reclaim(struct ring *ring, uint64_t upto);
/* Raises the progress and wakes who waits for that; 0 leaves a value as it is. */
void ring_progress(struct ring *ring, uint64_t written, uint64_t durable);
/* The drain is about to sleep: after this for each of its rings it calls membarrier_sync() once,
 * looks at every ring once more, and sleeps on the kick fds. */
void ring_drain_sleeps(struct ring *ring);
void ring_drain_wakes(struct ring *ring);
/*
 * The drain has looked at this ring and may be about to wait, without having been announced asleep:
 * from now on a kick by ring_kick_drain() gets through. True when somebody wanted to kick since
 * the last time: look once more.
 */
bool ring_drain_rearm(struct ring *ring);
/* Closes the tail: no reservation succeeds after it returns the final tail. */
uint64_t ring_close_tail(struct ring *ring);
/* Says where the ring ended and makes every publisher see it (membarrier). */
void ring_set_succeeded(struct ring *ring, uint64_t close_pos);
void ring_set_state(struct ring *ring, enum govern_state state, int error);
/* Everybody who may sleep on this ring looks at it again. */
void ring_wake_all(struct ring *ring);

#endif
