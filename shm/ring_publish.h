/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A publisher's way through a ring: reserve, fill, commit. Inline, because every instruction of it
 * is paid once a record; what does not happen for every record is in ring.c.
 */
#ifndef SHM_RING_PUBLISH_H
#define SHM_RING_PUBLISH_H

#include "shm/ring.h"
#include "shm/testpoint.h"

/* One publisher of a ring: one thread, one slot. Embedded in its owner. */
struct ring_publisher {
	struct ring *ring;
	/* Where the ring's pages have what each record needs. */
	_Atomic uint64_t *tail;
	struct layout_slot *slot;
	const _Atomic uint32_t *attention; /* always set where commits need a fence */
	const _Atomic uint32_t *n_sleepers;
	char *data;
	uint64_t mask;
	uint64_t reserved_word; /* of length 0 */
	uint64_t limit;         /* cached; never above the govern page's */
	uint64_t claim;
	uint64_t n_kicks; /* system calls made to wake the drain */
	uint64_t n_wakes; /* and to wake subscribers */
	uint16_t owner;
	bool fence; /* membarrier is not to be had: pay for a full fence at each commit */
	uint8_t reserved[1];
	int kick_fd; /* eventfd that wakes the shard's drain, not owned; -1 in tests */
};

/* Takes slot `owner` (given by the daemon). -EINVAL when there is no such slot. */
int ring_publisher_init(struct ring_publisher *publisher, struct ring *ring, uint16_t owner,
			int kick_fd);

/* Kicks the shard's drain if nobody has since it looked last, or in any case when `always`. */
void ring_kick_drain(struct ring_publisher *publisher, bool always);

/* As ring_reserve(), where ring_try_reserve() did not do. */
int ring_reserve_again(struct ring_publisher *publisher, uint32_t len, uint64_t *ret_pos);
/* After a commit: wakes whoever wants to be told. As ring_commit(). */
int ring_commit_attend(struct ring_publisher *publisher);

/* Bits of a tail that nobody can reserve at: the closed bit, or what no tail has. */
#define RING_TAIL_ODD (LAYOUT_POS_END << 1 | (RECORD_ALIGN - 1))

/* A reservation: the position, and where it is in memory. */
struct ring_place {
	uint64_t pos;
	void *at;
};

/* As ring_reserve(), where there is room below the cached limit; false otherwise. */
static inline_always bool ring_try_reserve(struct ring_publisher *publisher, uint64_t len,
					   struct ring_place *ret_place)
{
	uint64_t span = align_up(len, RECORD_ALIGN), claim = publisher->claim, tail;
	_Atomic uint64_t *tail_at = publisher->tail;
	struct layout_slot *slot = publisher->slot;
	bool reserved = false;

	/* MO(claim.R) pairs with claim.A in orphan_step(): odd before the tail moves (its CAS
	 * releases), so a hole below a tail always has an odd claim beside it. */
	store_release(&slot->claim, claim + 1);
	TESTPOINT("reserve-claimed");
	tail = load_relaxed(tail_at);
	do {
		if (unlikely((tail & RING_TAIL_ODD) != 0 || tail + span > publisher->limit))
			goto done;
		/* MO(tail.R) pairs with tail.A in orphan_step(): whoever reads this tail sees that
		 * the claim is odd. MO(tail.A): and the claims behind the tails before it. */
	} while (unlikely(!cas_acq_rel(tail_at, &tail, tail + span)));
	TESTPOINT("reserve-moved");
	ret_place->pos = tail;
	ret_place->at = publisher->data + (tail & publisher->mask);
	store_relaxed((_Atomic uint64_t *)ret_place->at, publisher->reserved_word | len);
	TESTPOINT("reserve-marked");
	/* MO(claim.R) the word before any content: orphan_step() looks at the word again after it
	 * has seen something behind it, and must then find the length. */
	fence_release();
	reserved = true;
done:
	publisher->claim = claim + 2;
	/* MO(claim.R) pairs with claim.A in orphan_step(): the word before the even claim. */
	store_release(&slot->claim, claim + 2);
	TESTPOINT("reserve-done");
	return reserved;
}

/*
 * Reserves record_span(len) bytes and stores the reserved word. len is exact, at least 32, at most
 * ring->max_len (batches and padding: at most a quarter of the ring), checked by the caller.
 * Returns 0 and the position; RING_E_FULL; RING_E_CLOSED (also when the ring was removed or has
 * failed: ask ring_state()); -EBADMSG when the tail is nonsense.
 */
static inline int ring_reserve(struct ring_publisher *publisher, uint32_t len, uint64_t *ret_pos)
{
	struct ring_place place;

	if (unlikely(!ring_try_reserve(publisher, len, &place)))
		return ring_reserve_again(publisher, len, ret_pos);
	*ret_pos = place.pos;
	return 0;
}

/* The word that commits a record of this length. */
static inline uint64_t ring_committed_word(const struct ring_publisher *publisher, uint64_t len)
{
	return publisher->reserved_word +
	       (record_word(RECORD_COMMITTED, 0, 0, 0) - record_word(RECORD_RESERVED, 0, 0, 0)) +
	       len;
}

/* The first half of ring_commit(); true: ring_commit_attend() is to follow. */
static inline_always bool ring_commit_store(struct ring_publisher *publisher, void *at,
					    uint64_t word, uint64_t span, uint32_t n_records)
{
	struct layout_slot *slot = publisher->slot;

	TESTPOINT("commit-filled");
	/* MO(publish.R) pairs with publish.A in ring_word_load(): the content before its word. */
	store_release((_Atomic uint64_t *)at, word);
	TESTPOINT("commit-stored");
	counter_add(&slot->records, n_records);
	counter_add(&slot->bytes, span);
	/* MO(sleep.A) MO(kick.A) MO(close.A) the store above before the loads below. Only the
	 * compiler is held: the other sides (wait_barrier(), ring_drain_sleeps(),
	 * ring_set_succeeded()) make this processor pass a full barrier between their store and
	 * their look at the ring, so either they see the word or these loads see their store. */
	fence_compiler();
	return (load_relaxed(publisher->attention) | load_relaxed(publisher->n_sleepers)) != 0;
}

/*
 * Publishes what was reserved at pos: one release store of `word` (record_word(...)), then wakes
 * whoever sleeps. n_records and the span of word are added to the slot's statistics. Returns 0, or
 * RING_E_CLOSED when the ring was closed meanwhile: then the record counts if pos lies below
 * ring_close_pos() or the successor holds a committed word at pos (see ring_word_at()).
 */
static inline int ring_commit(struct ring_publisher *publisher, uint64_t pos, uint64_t word,
			      uint32_t n_records)
{
	void *at = publisher->data + (pos & publisher->mask);
	uint64_t span = record_span(record_word_len(word));

	return unlikely(ring_commit_store(publisher, at, word, span, n_records))
		       ? ring_commit_attend(publisher)
		       : 0;
}

#endif
