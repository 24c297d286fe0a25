/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/orphan.h"

#include "shm/testpoint.h"

static void orphan_begin(const struct ring *ring, struct orphan_scan *scan, uint64_t pos,
			 uint64_t now_ns)
{
	scan->pos = pos;
	scan->since_ns = now_ns;
	scan->n_pending = 0;
	/* ring_tail() acquires: the claims below are at least as new as this tail. */
	scan->tail = ring_tail(ring);
	for (uint16_t slot = 0; slot < LAYOUT_PUBLISHER_SLOTS; slot++) {
		uint64_t claim;

		if (load_relaxed(&ring->govern->owners[slot].state) != OWNER_TAKEN)
			continue;
		/* MO(claim.A) MO(tail.A) pair with claim.R and tail.R in ring_reserve(): an even
		 * claim means that its publisher's words below the tail are visible. */
		claim = load_acquire(&ring->publish->slots[slot].claim);
		if (claim & 1) {
			scan->pending[scan->n_pending] = slot;
			scan->claim[scan->n_pending++] = claim;
		}
	}
}

/* Forgets the slots that have gone on, or whose publisher has died since. */
static void orphan_look_again(const struct ring *ring, struct orphan_scan *scan)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < scan->n_pending; i++) {
		uint16_t slot = scan->pending[i];

		if (load_relaxed(&ring->govern->owners[slot].state) != OWNER_TAKEN)
			continue;
		/* MO(claim.A) as in orphan_begin(). */
		if (load_acquire(&ring->publish->slots[slot].claim) != scan->claim[i])
			continue;
		scan->pending[n] = slot;
		scan->claim[n++] = scan->claim[i];
	}
	scan->n_pending = n;
}

uint64_t orphan_hole_len(const struct ring *ring, uint64_t pos, uint64_t tail)
{
	uint64_t end = pos + RECORD_ALIGN;

	if (tail <= pos || tail - pos > ring->len)
		return 0;
	while (end < tail && ring_word_load(ring, end) == 0)
		end += RECORD_ALIGN;
	/* Stopped owners who go on right now store their word before any content, so what ended the
	 * hole may be content behind a word that was passed too early. Looked at backwards, the
	 * earliest word that is there by now is the end; forwards one could be passed again. */
	for (uint64_t at = end; at > pos;) {
		at -= RECORD_ALIGN;
		if (ring_word_load(ring, at) != 0)
			end = at;
	}
	return end - pos;
}

int orphan_step(const struct ring *ring, struct orphan_scan *scan, uint64_t pos, uint64_t now_ns,
		uint64_t *ret_len)
{
	uint64_t len;

	if (scan->pos != pos)
		orphan_begin(ring, scan, pos, now_ns);
	else
		orphan_look_again(ring, scan);
	if (ring_word_load(ring, pos) != 0) {
		scan->pos = 0;
		return ORPHAN_E_FILLED;
	}
	if (scan->n_pending > 0)
		return ORPHAN_E_WAIT;
	/* Its owner is dead, so it can be cut anywhere: nobody writes into the second half. */
	len = orphan_hole_len(ring, pos, min_u64(scan->tail, pos + ORPHAN_HOLE_MAX));
	scan->pos = 0;
	if (len == 0)
		return ORPHAN_E_FILLED;
	*ret_len = len;
	return 0;
}

void orphan_bury(struct ring *ring, uint64_t pos, uint32_t len, enum record_kind kind,
		 const struct orphan_dead *dead, uint64_t timestamp_ns, bool wipe)
{
	struct record_header *record = ring_at(ring, pos);
	uint64_t word = record_word(kind, len, dead->owner, 0);

	if (wipe)
		memset((char *)record + RECORD_HEADER_LEN, 0, record_span(len) - RECORD_HEADER_LEN);
	record->timestamp_ns = timestamp_ns;
	record->key_len = 0;
	record->headers_len = 0;
	record->publisher = dead->pid;
	record->sequence = dead->uid;
	record->crc = 0;
	if (ring->flags & GOVERN_F_CHECKSUM)
		record->crc = record_crc(ring->crc_seed, pos, word, record);
	TESTPOINT("bury-filled");
	/* MO(publish.R) pairs with publish.A in ring_word_load(): the header before its word. */
	store_release(&record->word, word);
}
