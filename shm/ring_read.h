/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A subscriber's way to the next record where that is short and there, as it mostly is: what
 * ring_read() does for one record, inline. Whatever is unusual is left to ring_read().
 */
#ifndef SHM_RING_READ_H
#define SHM_RING_READ_H

#include "shm/ring.h"
#include "shm/testpoint.h"

enum {
	RING_SHORT_LEN = 1024, /* of a record that is read this way */
};

/* Copies the record at pos, if it is a committed one of at most RING_SHORT_LEN bytes that no flag
 * makes special, into buf, which takes so many, and gives its word. Otherwise false. */
static inline_always bool ring_read_short(const struct ring *ring, uint64_t pos, char *buf,
					  uint64_t *ret_word)
{
#if defined(__SANITIZE_THREAD__)
	/* The copy races by design; ring_read() is told so. */
	(void)ring, (void)pos, (void)buf, (void)ret_word;
	return false;
#else
	const char *at = ring_at(ring, pos), *end;
	/* MO(publish.A) pairs with publish.R in ring_commit_store(), as in ring_word_load(). */
	uint64_t word = load_acquire((_Atomic uint64_t *)at);
	uint64_t len = record_word_len(word);

	if (word >> 48 != RECORD_COMMITTED ||
	    unlikely(len - RECORD_HEADER_LEN > RING_SHORT_LEN - RECORD_HEADER_LEN))
		return false;
	/* Whole steps: what lies between a record and the next belongs to it. */
	end = at + align_up(len, RECORD_ALIGN);
	do {
		shared_load(at, RECORD_ALIGN);
		memcpy(buf, at, RECORD_ALIGN);
		buf += RECORD_ALIGN;
		at += RECORD_ALIGN;
		compiler_keep(at);
	} while (at != end);
	TESTPOINT("read-copied");
	/* MO(reclaim.A) pairs with reclaim.R in ring_reclaim(), as in ring_lapped(). */
	fence_acquire();
	*ret_word = word;
	if (unlikely(load_relaxed(&ring->govern->reclaimed) > pos))
		return false;
	/* MO(close.A) pairs with close.R in ring_set_succeeded(), as in ring_read(): a ring that is
	 * closed is read with more care. */
	return likely(load_acquire(&ring->govern->state) == GOVERN_OPEN);
#endif
}

/* The record at pos in place, if it is a committed one that no flag makes special, and its word;
 * otherwise NULL. As after ring_view(): what it holds may change, to be asked of
 * ring_still_valid(). */
static inline_always const char *ring_view_plain(const struct ring *ring, uint64_t pos,
						 uint64_t *ret_word)
{
#if defined(__SANITIZE_THREAD__)
	(void)ring, (void)pos, (void)ret_word;
	return NULL;
#else
	uint64_t word = ring_word_load(ring, pos);

	if (word >> 48 != RECORD_COMMITTED || !record_word_is_done(word, ring->max_len, 0))
		return NULL;
	/* MO(reclaim.A) pairs with reclaim.R in ring_reclaim(), as in ring_lapped(). */
	fence_acquire();
	if (unlikely(load_relaxed(&ring->govern->reclaimed) > pos))
		return NULL;
	/* MO(close.A) pairs with close.R in ring_set_succeeded(), as in ring_read_short(). */
	if (unlikely(load_acquire(&ring->govern->state) != GOVERN_OPEN))
		return NULL;
	*ret_word = word;
	return ring_at(ring, pos);
#endif
}

/* True when a finished batch begins at pos: one steps into it by RECORD_HEADER_LEN, as ring_read()
 * does. */
static inline bool ring_at_batch(const struct ring *ring, uint64_t pos)
{
#if defined(__SANITIZE_THREAD__)
	(void)ring, (void)pos;
	return false;
#else
	uint64_t word = ring_word_load(ring, pos);

	if (word >> 48 != RECORD_BATCH || !record_word_is_done(word, ring->max_len, ring->len))
		return false;
	/* MO(reclaim.A) pairs with reclaim.R in ring_reclaim(), as in ring_lapped(). */
	fence_acquire();
	if (load_relaxed(&ring->govern->reclaimed) > pos)
		return false;
	/* MO(close.A) pairs with close.R in ring_set_succeeded(), as in ring_read_short(). */
	return load_acquire(&ring->govern->state) == GOVERN_OPEN;
#endif
}

#endif
