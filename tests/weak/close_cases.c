/* SPDX-License-Identifier: Apache-2.0 */
/* Cases about two rings: a ring that is closed in favour of its successor; pages being made. */
#include "tests/weak/bed.h"

enum {
	CLOSE_MAKING = 0, /* state of a ring that is not OPEN yet */
};

static uint64_t close_tail;
static struct bed_log close_untold; /* published, but told that it does not count */
static struct bed_log close_logged;

static void close_init(void)
{
	bed_init(&close_case_close, 2);
}

static void close_begin(void)
{
	bed_begin();
	close_tail = 0;
	close_untold.n = close_logged.n = 0;
}

/* clientlib/follow.c: follow_fate(). */
static bool close_counts(uint64_t pos, uint64_t word)
{
	if (ring_state(&bed_ring[0], NULL) != GOVERN_SUCCEEDED)
		return true;
	if (pos < ring_close_pos(&bed_ring[0]))
		return true;
	while (ring_state(&bed_ring[1], NULL) != GOVERN_OPEN)
		weak_pause();
	return ring_word_at(&bed_ring[1], pos) == word;
}

static void close_publisher(void)
{
	struct ring_publisher publisher = bed_publisher[weak_self()];
	uint64_t pos;

	if (bed_reserve(&publisher, 32, &pos) != 0)
		return;
	if (bed_commit(&publisher, pos, 32) == 0 ||
	    close_counts(pos, ring_committed_word(&publisher, 32)))
		bed_note(&bed_told, pos);
	else
		bed_note(&close_untold, pos);
}

/* daemon/shard_succeed.c: shard_decide_one(). */
static uint64_t close_decide_one(uint64_t pos, uint64_t tail)
{
	struct ring *old = &bed_ring[0], *new = &bed_ring[1];
	uint64_t word = ring_word_load(old, pos), len = record_word_len(word);

	if (record_word_kind(word) == RECORD_COMMITTED) {
		memcpy(ring_at(new, pos), ring_at(old, pos), len);
		store_relaxed((_Atomic uint64_t *)ring_at(new, pos), word);
		bed_note(&close_logged, pos);
		return len;
	}
	if (word == 0)
		len = orphan_hole_len(old, pos, tail);
	else if (record_word_kind(word) != RECORD_RESERVED)
		len = tail - pos;
	if (len != 0)
		orphan_bury(new, pos, (uint32_t)len, RECORD_TOMBSTONE, &(struct orphan_dead){ 0 },
			    1, false);
	return len;
}

static void close_finish(uint64_t pos, uint64_t tail)
{
	struct ring *old = &bed_ring[0], *new = &bed_ring[1];

	store_relaxed(&new->govern->reclaimed, pos);
	store_relaxed(&new->publish->tail, tail);
	ring_set_succeeded(old, pos);
	while (pos < tail)
		pos += close_decide_one(pos, tail);
	ring_set_state(new, GOVERN_OPEN, 0);
	ring_set_state(old, GOVERN_SUCCEEDED, 0);
}

static void close_drain(void)
{
	static struct bed_drain drain;

	drain = (struct bed_drain){ .ring = &bed_ring[0], .pos = BED_FIRST };
	bed_drain_step(&drain);
	close_tail = ring_close_tail(&bed_ring[0]);
	bed_drain_step(&drain);
	for (unsigned int i = 0; i < bed_drained.n; i++)
		bed_note(&close_logged, bed_drained.pos[i]);
	close_finish(drain.pos, close_tail);
}

static void close_end(void)
{
	for (unsigned int i = 0; i < bed_told.n; i++)
		weak_must(bed_noted(&close_logged, bed_told.pos[i]),
			  "a record told published is lost");
	for (unsigned int i = 0; i < close_untold.n; i++)
		weak_must(!bed_noted(&close_logged, close_untold.pos[i]),
			  "a record told lost counts");
}

const struct weak_case close_case_close = {
	.name = "close",
	.init = close_init,
	.begin = close_begin,
	.party = { close_publisher, close_publisher, close_drain },
	.end = close_end,
	.depth = 3,
	.ring_len = 128,
	.moves_stores = true,
};

/* A reader that comes from one ring to the other has the log, once and whole. */
static void close_read_new(uint64_t pos, struct bed_log *got)
{
	uint64_t limit = 0;

	while (ring_state(&bed_ring[1], NULL) != GOVERN_OPEN)
		weak_pause();
	weak_must(pos >= ring_reclaimed(&bed_ring[1]), "a reader stands before the successor");
	while (pos < close_tail)
		if (bed_read(&bed_ring[1], &pos, &limit, got) != 0)
			weak_pause();
	weak_must(pos == close_tail, "a reader stands inside of a record");
	for (unsigned int i = 0; i < close_logged.n; i++)
		weak_must(bed_noted(got, close_logged.pos[i]), "a reader misses a record");
	for (unsigned int i = 0; i < got->n; i++)
		weak_must(bed_noted(&close_logged, got->pos[i]),
			  "a reader has what does not count");
}

static void close_reader(void)
{
	uint64_t pos = BED_FIRST, limit = 0;
	struct bed_log got = { 0 };
	int r;

	while ((r = bed_read(&bed_ring[0], &pos, &limit, &got)) != RING_E_CLOSED)
		if (r != 0)
			weak_pause();
	close_read_new(pos, &got);
}

/* The same with the views that stay in the ring. */
static void close_peeker(void)
{
	uint64_t pos = BED_FIRST, limit = 0, word;
	struct bed_log got = { 0 };
	const void *bytes;
	char buf[64];
	int r;

	while (ring_state(&bed_ring[0], NULL) != GOVERN_SUCCEEDED ||
	       pos < ring_close_pos(&bed_ring[0])) {
		bytes = pos < limit ? ring_view_plain(&bed_ring[0], pos, &word) : NULL;
		r = bytes ? 0 : ring_peek(&bed_ring[0], pos, &limit, &word, &bytes);
		if (r == RING_E_EMPTY)
			weak_pause();
		if (r != 0)
			continue;
		memcpy(buf, bytes, 32);
		if (!ring_still_valid(&bed_ring[0], pos))
			continue;
		bed_check(pos, word, buf);
		bed_note(&got, pos);
		pos += 32;
	}
	close_read_new(pos, &got);
}

static void close_short_reader(void)
{
	uint64_t pos = BED_FIRST, limit = 0, word;
	struct bed_log got = { 0 };
	char buf[RING_SHORT_LEN];
	int r = 0;

	while (r != RING_E_CLOSED) {
		if (ring_read_short(&bed_ring[0], pos, buf, &word)) {
			bed_check(pos, word, buf);
			bed_note(&got, pos);
			pos += 32;
			continue;
		}
		r = bed_read(&bed_ring[0], &pos, &limit, &got);
		if (r != 0 && r != RING_E_CLOSED)
			weak_pause();
	}
	close_read_new(pos, &got);
}

const struct weak_case close_case_read = {
	.name = "close-read",
	.init = close_init,
	.begin = close_begin,
	.party = { close_publisher, close_drain, close_reader },
	.end = close_end,
	.depth = 3,
	.unregistered = 4,
	.ring_len = 128,
};

const struct weak_case close_case_short = {
	.name = "close-short",
	.init = close_init,
	.begin = close_begin,
	.party = { close_publisher, close_drain, close_short_reader },
	.end = close_end,
	.depth = 3,
	.unregistered = 4,
	.ring_len = 128,
};

const struct weak_case close_case_peek = {
	.name = "close-peek",
	.init = close_init,
	.begin = close_begin,
	.party = { close_publisher, close_drain, close_peeker },
	.end = close_end,
	.depth = 3,
	.unregistered = 4,
	.ring_len = 128,
};

/* ---- pages that are being made ---- */

#include "shm/region.c"

static void ready_init(void)
{
}

static void ready_maker(void)
{
	struct region_options options = { .ring_len = LAYOUT_RING_MIN,
					  .first_pos = BED_FIRST,
					  .generation = 5 };
	struct region_fds fds = { { REGION_RING, REGION_PUBLISH, REGION_GOVERN, REGION_WAIT } };

	region_init_pages(&options, &fds);
}

static void ready_client(void)
{
	struct layout_govern *govern = &weak_shared[0].govern;

	while (region_check_page(&govern->header, REGION_GOVERN) == -EBADMSG)
		weak_pause();
	weak_must(govern->header.generation == 5 && govern->ring_len == LAYOUT_RING_MIN &&
			  load_relaxed(&govern->limit) == BED_FIRST + LAYOUT_RING_MIN,
		  "a half-made ring is used");
}

const struct weak_case close_case_ready = {
	.name = "ready",
	.init = ready_init,
	.begin = bed_begin,
	.party = { ready_maker, ready_client },
	.depth = 3,
	.ring_len = 128,
};
