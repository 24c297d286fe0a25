/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving a shard to a successor ring: to grow it, or to leave a stopped publisher's reservation
 * behind. The protocol is described at the top of shm/ring.c; the steps here are
 *
 *   MAKING   the new ring's memory is populated on a worker thread
 *   CLOSING  the old tail is closed; the walk goes on until it reaches the final tail or the claim
 *            time-out has passed
 *   then     old: SUCCEEDED with close_pos = where the walk stands, and the barrier;
 *            what lies between close_pos and the final tail is decided and copied;
 *            new: OPEN, and everybody is woken
 *
 * A crash between two steps leaves a new ring that is not OPEN: the next daemon decides again, and
 * nobody has seen the first decision.
 */
#include "daemon/shard_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "daemon/drain.h"
#include "daemon/log.h"
#include "shm/testpoint.h"

/* On a worker thread: touches make_len, make_error and next.fds alone. */
static int shard_make_ring(struct io_op *op)
{
	struct shard *shard = (struct shard *)((char *)op - offsetof(struct shard, make_op));
	struct region_options options = {
		.shard = shard->shard,
		.generation = shard->cur.ring->generation + 1,
		.ring_len = shard->make_len,
		.first_pos = LAYOUT_FIRST_POS, /* shard_succeed_rebase() sets the real one */
		.flags = shard->flags,
		.node = shard->node,
	};
	uint64_t available;
	int r;

	memcpy(options.stream_uuid, shard->stream_uuid, sizeof(options.stream_uuid));
	r = region_create(&options, &shard->next.fds, &available);
	return r;
}

/* On the drain thread, outside of the shard's pass. */
static void shard_ring_made(struct io_op *op, int result)
{
	struct shard *shard = (struct shard *)((char *)op - offsetof(struct shard, make_op));

	pthread_mutex_lock(&shard->lock);
	shard->make_error = result;
	shard->make_done = true;
	pthread_mutex_unlock(&shard->lock);
}

static void shard_succession_begin(struct shard *shard, uint64_t ring_len)
{
	shard->succession = SUCCESSION_MAKING;
	shard->make_len = ring_len;
	shard->make_done = false;
	shard->make_op = (struct io_op){
		.kind = IO_CALL,
		.call = shard_make_ring,
		.done = shard_ring_made,
	};
	io_submit(drain_io(shard->drain), &shard->make_op);
}

void shard_succeed_force(struct shard *shard)
{
	if (shard->succession != SUCCESSION_NONE || shard->old.ring || shard->want_ring_len)
		return;
	log_warning("stream %s shard %u: a publisher has held a reservation at %" PRIu64
		    " for longer than the claim time-out; moving to a new ring",
		    shard->stream, shard->shard, shard->pos);
	shard->close_forced = true;
	shard->want_ring_len = shard->cur.ring->len;
}

void shard_succeed_rebase(struct shard *shard, uint64_t first, uint64_t tail)
{
	struct ring *ring = shard->next.ring;
	const struct layout_govern *from = shard->cur.ring->govern;
	struct layout_govern *govern = ring->govern;

	ring->first_pos = first;
	govern->first_pos = first;
	govern->origin = from->origin;
	store_relaxed(&govern->limit, first + ring->len);
	store_relaxed(&govern->reclaimed, first);
	store_relaxed(&govern->written, load_relaxed(&from->written));
	store_relaxed(&govern->durable, load_relaxed(&from->durable));
	store_relaxed(&ring->publish->tail, tail);
	memcpy(&govern->counters, &from->counters, sizeof(govern->counters));
	memcpy(govern->owners, from->owners, sizeof(govern->owners));
	for (unsigned int slot = 0; slot < LAYOUT_PUBLISHER_SLOTS; slot++) {
		const struct layout_slot *old = &shard->cur.ring->publish->slots[slot];
		struct layout_slot *new = &ring->publish->slots[slot];

		store_relaxed(&new->records, load_relaxed(&old->records));
		store_relaxed(&new->bytes, load_relaxed(&old->bytes));
	}
}

/* What becomes of the unit at pos of the closed ring: copied, or buried in the new one. */
static uint64_t shard_decide_one(struct shard *shard, uint64_t pos, uint64_t tail)
{
	struct ring *old = shard->cur.ring, *new = shard->next.ring;
	struct layout_counters *counters = &new->govern->counters;
	struct orphan_dead dead = { 0 };
	uint64_t word = ring_word_load(old, pos), max_ns, len;
	uint32_t n_records;

	len = shard_drain_unit(old, pos, word, tail, &n_records, &max_ns);
	if (len > 0) {
		shared_load(ring_at(old, pos), len);
		memcpy(ring_at(new, pos), ring_at(old, pos), len);
		store_relaxed(&((struct record_header *)ring_at(new, pos))->word, word);
		/* The copy is made of memory that others may write: it counts if it is valid. */
		if (shard_drain_unit(new, pos, word, tail, &n_records, &max_ns) == len)
			return len;
		memset(ring_at(new, pos), 0, len);
	} else if (record_word_kind(word) == RECORD_RESERVED &&
		   record_word_len(word) >= RECORD_HEADER_LEN &&
		   record_span(record_word_len(word)) <= tail - pos) {
		len = record_span(record_word_len(word));
		dead.owner = record_word_owner(word);
		if (dead.owner < LAYOUT_PUBLISHER_SLOTS) {
			dead.pid = old->govern->owners[dead.owner].pid;
			dead.uid = old->govern->owners[dead.owner].uid;
		}
	} else if (word == 0) {
		len = orphan_hole_len(old, pos, tail);
		if (len == 0)
			return 0; /* its owner woke up just now: look at the word again */
	} else {
		len = tail - pos;
	}
	len = min_u64(len, (uint64_t)1 << 30);
	orphan_bury(new, pos, (uint32_t)len, RECORD_TOMBSTONE, &dead, clock_ns(new->govern), false);
	store_relaxed(&counters->tombstones, load_relaxed(&counters->tombstones) + 1);
	store_relaxed(&counters->tombstone_bytes, load_relaxed(&counters->tombstone_bytes) + len);
	return len;
}

void shard_succeed_decide(struct shard *shard, uint64_t from, uint64_t tail)
{
	uint64_t at = from;
	int again = 0;

	while (at < tail) {
		uint64_t len = shard_decide_one(shard, at, tail);

		/* Twice at most for the same place: a word once stored stays. */
		if (len == 0 && again++ < 2)
			continue;
		again = 0;
		at += len ? len : RECORD_ALIGN;
	}
}

/* The new ring becomes the current one. */
void shard_succeed_finish(struct shard *shard)
{
	struct shard_ring old = shard->cur;

	shard->cur = shard->next;
	shard->old = old;
	shard->next = (struct shard_ring){ .fds = REGION_FDS_NULL };
	shard->n_marks = 0;
	shard->scan.pos = 0;
	shard->stuck_pos = 0;
	shard->resync = 0;
	shard->succession = SUCCESSION_NONE;
	shard->close_forced = false;
	shard->rate_ns = 0;
	shard->failed = false;
	store_relaxed(&shard_counters(shard)->successors,
		      load_relaxed(&shard_counters(shard)->successors) + 1);
	drain_set_clock(shard->drain, shard->cur.ring);
	if (shard->life == SHARD_STOPPING && shard->want_stop == SHARD_STOP_DROP)
		(void)ring_close_tail(shard->cur.ring);
	/* Everybody who waits on the old ring finds it SUCCEEDED and asks for this one. */
	ring_set_state(shard->cur.ring, GOVERN_OPEN, 0);
	ring_set_state(old.ring, GOVERN_SUCCEEDED, 0);
	log_info("stream %s shard %u: moved to ring %u of %" PRIu64 " bytes at %" PRIu64,
		 shard->stream, shard->shard, shard->cur.ring->generation, shard->cur.ring->len,
		 shard->cur.ring->first_pos);
}

static void shard_succession_made(struct shard *shard, uint64_t now_ns)
{
	int r = shard->make_error;

	shard->want_ring_len = 0;
	if (r == 0)
		r = ring_open(&shard->next.fds, REGION_DAEMON, &shard->next.ring);
	if (r < 0) {
		log_error("stream %s shard %u: no memory for a new ring of %" PRIu64 " bytes: %s",
			  shard->stream, shard->shard, shard->make_len, strerror(-r));
		region_fds_close(&shard->next.fds);
		shard->succession = SUCCESSION_NONE;
		return;
	}
	/* Not OPEN until it is whole: a restarted daemon would else take it for the current one. */
	store_relaxed(&shard->next.ring->govern->state, 0);
	shard_ring_keep(shard, &shard->next);
	TESTPOINT("succeed-made");
	shard->close_tail = max_u64(ring_close_tail(shard->cur.ring), shard->pos);
	TESTPOINT("succeed-closed");
	/* Who holds a reservation behind a stuck one has a moment to commit it. */
	shard->close_deadline = now_ns + (shard->close_forced ? SHARD_CLOSE_GRACE_MS * NS_PER_MS
							      : shard->policy.claim_timeout_ns);
	shard->succession = SUCCESSION_CLOSING;
}

bool shard_succeed_pass(struct shard *shard, uint64_t now_ns)
{
	if (shard->succession == SUCCESSION_NONE) {
		/* One old ring at a time: its records have to be safe first. */
		if (shard->want_ring_len == 0 || shard->old.ring || shard->want_stop)
			return false;
		shard_succession_begin(shard, shard->want_ring_len);
		return true;
	}
	if (shard->succession == SUCCESSION_MAKING) {
		if (!shard->make_done)
			return false;
		shard_succession_made(shard, now_ns);
		return true;
	}
	/* Of a stream that is being deleted nothing goes on. */
	if (ring_state(shard->cur.ring, NULL) == GOVERN_REMOVED)
		return false;
	if (shard->pos < shard->close_tail && now_ns < shard->close_deadline)
		return false;
	if (shard->close_tail - shard->pos > shard->next.ring->len) {
		/* What is left behind a stuck publisher does not fit: then as long as it was. */
		shard_ring_release(shard, &shard->next, true);
		shard->want_ring_len = shard->cur.ring->len;
		shard->succession = SUCCESSION_NONE;
		return true;
	}
	shard_succeed_rebase(shard, shard->pos, shard->close_tail);
	ring_set_succeeded(shard->cur.ring, shard->pos);
	TESTPOINT("succeed-announced");
	shard_succeed_decide(shard, shard->pos, shard->close_tail);
	TESTPOINT("succeed-decided");
	shard_succeed_finish(shard);
	return true;
}
