/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Draining: from the daemon's own position on, every reservation is resolved (committed, or a dead
 * publisher's and buried, or unreadable and marked) and checked. Nothing read here is trusted:
 * publishers can write anything into the ring and into its tail at any time.
 */
#include "daemon/shard_internal.h"

#include <inttypes.h>

#include "daemon/log.h"
#include "shm/testpoint.h"

/* A tombstone's length is 32 bits; a longer hole is buried in pieces. */
#define SHARD_BURY_MAX ((uint64_t)1 << 30)

static void shard_count(_Atomic uint64_t *counter, uint64_t n)
{
	/* One writer, the drain thread; readers may see the old value a moment longer. */
	store_relaxed(counter, load_relaxed(counter) + n);
}

/* ---- is it valid? ---- */

static bool shard_valid_record(const struct ring *ring, uint64_t pos, uint64_t word,
			       uint64_t *max_ns)
{
	const char *bytes = ring_at(ring, pos);
	/* Taken once: the header that is checked is the one that is used. */
	char header[RECORD_HEADER_LEN + RECORD_EVENT_TIME_LEN] = { 0 };
	struct record_view view;
	uint32_t crc;

	shared_load(bytes + 8, RECORD_HEADER_LEN - 8);
	memcpy(header + 8, bytes + 8, RECORD_HEADER_LEN - 8);
	memcpy(&crc, header + offsetof(struct record_header, crc), sizeof(crc));
	if ((ring->flags & GOVERN_F_CHECKSUM) &&
	    crc != record_crc_of(ring->crc_seed, pos, word, header, bytes + RECORD_HEADER_LEN))
		return false;
	if (record_parse(word, header, pos, &view) < 0)
		return false;
	if (view.timestamp_ns > *max_ns && view.kind == RECORD_COMMITTED)
		*max_ns = view.timestamp_ns;
	return true;
}

/*
 * Inline for what most records are: committed, no flags, in a stream with checksums. `word` was
 * loaded once at pos; span 0 when it is anything else, or not valid, or longer than `room`.
 */
static inline_always uint64_t shard_valid_plain(const struct ring *ring, uint64_t pos,
						uint64_t word, uint64_t room, uint64_t *max_ns)
{
	const char *bytes = ring_at(ring, pos);
	uint64_t len = record_word_len(word), span = align_up(len, RECORD_ALIGN), timestamp_ns;
	/* Taken once, as in shard_valid_record(). */
	char header[RECORD_HEADER_LEN];
	uint32_t crc, lens;

	if (word >> 48 != RECORD_COMMITTED || len < RECORD_HEADER_LEN || len > ring->max_len ||
	    span > room)
		return 0;
	prefetch_read(bytes + SHARD_PREFETCH_LEN);
	shared_load(bytes + 8, RECORD_HEADER_LEN - 8);
	memcpy(header + 8, bytes + 8, RECORD_HEADER_LEN - 8);
	/* The key's length, and the headers' if there are any. */
	memcpy(&lens, header + offsetof(struct record_header, key_len), sizeof(lens));
	memcpy(&crc, header + offsetof(struct record_header, crc), sizeof(crc));
	memcpy(&timestamp_ns, header + offsetof(struct record_header, timestamp_ns), 8);
	if (lens > len - RECORD_HEADER_LEN ||
	    crc != record_crc_fast(ring->crc_seed, pos, word, header, bytes + RECORD_HEADER_LEN))
		return 0;
	*max_ns = max_u64(*max_ns, timestamp_ns);
	return span;
}

/* Can records be checked that way? */
static bool shard_is_plain(const struct ring *ring)
{
	return (ring->flags & GOVERN_F_CHECKSUM) && crc32c_is_fast();
}

/* The records of a batch fill it exactly, and each is valid. */
static bool shard_valid_batch(const struct ring *ring, uint64_t pos, uint64_t end,
			      uint32_t *n_records, uint64_t *max_ns)
{
	uint64_t at = pos + RECORD_HEADER_LEN;
	bool is_plain = shard_is_plain(ring);

	while (at < end) {
		uint64_t word = ring_word_load(ring, at), span = 0;

		(*n_records)++;
		if (is_plain)
			span = shard_valid_plain(ring, at, word, end - at, max_ns);
		at += span;
		if (span > 0)
			continue;
		if (record_word_kind(word) != RECORD_COMMITTED ||
		    !record_word_is_done(word, ring->max_len, ring->len) ||
		    record_step(word) > end - at || !shard_valid_record(ring, at, word, max_ns))
			return false;
		at += record_step(word);
	}
	return at == end;
}

uint64_t shard_drain_unit(const struct ring *ring, uint64_t pos, uint64_t word, uint64_t tail,
			  uint32_t *ret_records, uint64_t *ret_max_ns)
{
	uint64_t span = record_span(record_word_len(word));
	enum record_kind kind = record_word_kind(word);
	uint32_t n_records = kind == RECORD_COMMITTED;
	uint64_t max_ns = 0;

	if (!record_word_is_done(word, ring->max_len, ring->len) || span > tail - pos ||
	    !shard_valid_record(ring, pos, word, &max_ns))
		return 0;
	if (kind == RECORD_BATCH && !shard_valid_batch(ring, pos, pos + span, &n_records, &max_ns))
		return 0;
	*ret_records = n_records;
	*ret_max_ns = max_ns;
	return span;
}

/* ---- what the tail says, and what it can be ---- */

/* The low bits of the tail: closed by this daemon or the last one, or else by nobody. */
static uint64_t shard_tail_bits(const struct shard *shard, uint64_t raw)
{
	enum govern_state state = ring_state(shard->cur.ring, NULL);

	if (shard->succession == SUCCESSION_CLOSING || state == GOVERN_REMOVED ||
	    (shard->life == SHARD_STOPPING && shard->want_stop == SHARD_STOP_DROP))
		return LAYOUT_TAIL_CLOSED;
	if (shard->want_ring_len != 0 || state == GOVERN_SUCCEEDED)
		return raw & LAYOUT_TAIL_CLOSED;
	return 0;
}

static uint64_t shard_tail(struct shard *shard)
{
	struct ring *ring = shard->cur.ring;
	/* MO(tail.A) pairs with tail.R in ring_try_reserve(), as in ring_tail(). Loaded once: what
	 * is checked here is what is used. */
	uint64_t raw = load_acquire(&ring->publish->tail);
	uint64_t tail = raw & ~(uint64_t)(RECORD_ALIGN - 1);
	uint64_t limit = load_relaxed(&ring->govern->limit);
	uint64_t bits = raw & (RECORD_ALIGN - 1);

	/* Bits are looked into when there are any, or when there have to be. */
	if (likely((bits | (uint64_t)shard->succession | (uint64_t)shard->want_stop) == 0) ||
	    bits == shard_tail_bits(shard, raw)) {
		if (likely(tail >= shard->pos && tail <= limit))
			return tail;
	}
	tail = tail > limit ? limit : max_u64(tail, shard->pos);
	log_limited(LOG_LEVEL_WARNING,
		    "stream %s shard %u: a publisher has overwritten the tail; set to %" PRIu64,
		    shard->stream, shard->shard, tail);
	shard_count(&shard_counters(shard)->damaged, 1);
	tail |= shard_tail_bits(shard, raw);
	/* MO(tail.R) MO(tail.A): a repair of what nobody may write; a publisher that moved it
	 * meanwhile wins, and the next pass looks again. */
	if (!cas_acq_rel(&ring->publish->tail, &raw, tail))
		return shard->pos;
	return tail & ~(uint64_t)(RECORD_ALIGN - 1);
}

/* ---- burying ---- */

static struct orphan_dead shard_owner(const struct ring *ring, uint16_t owner)
{
	struct orphan_dead dead = { .owner = owner };

	if (owner < LAYOUT_PUBLISHER_SLOTS) {
		dead.pid = ring->govern->owners[owner].pid;
		dead.uid = ring->govern->owners[owner].uid;
	}
	return dead;
}

static void shard_bury(struct shard *shard, uint64_t len, enum record_kind kind,
		       const struct orphan_dead *dead)
{
	struct layout_counters *counters = shard_counters(shard);
	struct ring *ring = shard_ring_of(shard, shard->pos);
	bool damaged = kind == RECORD_DAMAGED;

	len = min_u64(len, SHARD_BURY_MAX);
	orphan_bury(ring, shard->pos, (uint32_t)len, kind, dead, clock_ns(ring->govern), !damaged);
	/* Records behind it may be committed already; who came for them went back to sleep. */
	ring_wake_subscribers(ring);
	shard_count(damaged ? &counters->damaged : &counters->tombstones, 1);
	shard_count(damaged ? &counters->damaged_bytes : &counters->tombstone_bytes, len);
	if (damaged)
		log_limited(LOG_LEVEL_WARNING,
			    "stream %s shard %u: positions %" PRIu64 " to %" PRIu64
			    " are unreadable; marked as damaged",
			    shard->stream, shard->shard, shard->pos, shard->pos + len);
	shard->stuck_pos = 0;
	shard->resync = 0;
}

static bool shard_owner_lives(const struct ring *ring, uint16_t owner)
{
	return owner < LAYOUT_PUBLISHER_SLOTS &&
	       load_relaxed(&ring->govern->owners[owner].state) == OWNER_TAKEN;
}

/* Somebody alive holds the reservation at pos: since when? */
static void shard_unresolved(struct shard *shard, uint64_t now_ns)
{
	if (shard->stuck_pos != shard->pos) {
		shard->stuck_pos = shard->pos;
		shard->stuck_ns = now_ns;
	} else if (now_ns - shard->stuck_ns > shard->policy.claim_timeout_ns) {
		shard_succeed_force(shard);
	}
}

/* How much was read to find out that `word` is nothing valid: a word can promise a long record. */
static uint64_t shard_waste(const struct ring *ring, uint64_t word)
{
	enum record_kind kind = record_word_kind(word);

	if ((kind == RECORD_COMMITTED || kind == RECORD_BATCH) &&
	    record_word_is_done(word, ring->max_len, ring->len))
		return record_span(record_word_len(word));
	return 0;
}

/* True for a word at which a search for something valid may stop. */
static bool shard_resync_stops(struct shard *shard, uint64_t at, uint64_t tail)
{
	const struct ring *ring = shard->cur.ring;
	uint64_t word = ring_word_load(ring, at);
	uint32_t n_records;
	uint64_t max_ns;

	shard->wasted += RECORD_ALIGN;
	if (record_word_kind(word) == RECORD_RESERVED)
		return shard_owner_lives(ring, record_word_owner(word)) &&
		       record_word_len(word) >= RECORD_HEADER_LEN &&
		       record_span(record_word_len(word)) <= tail - at;
	if (word != 0 && shard_drain_unit(ring, at, word, tail, &n_records, &max_ns) > 0)
		return true;
	shard->wasted += shard_waste(ring, word);
	return false;
}

/* What lies between pos and tail is lost as a whole. */
static bool shard_give_up(struct shard *shard, uint64_t tail)
{
	static const struct orphan_dead nobody;

	shard_bury(shard, tail - shard->pos, RECORD_DAMAGED, &nobody);
	return true;
}

/*
 * Garbage at pos: looks for what comes after it, a bounded amount of checking at a time. Words can
 * be made so that each costs the check of a long record; then the search is given up, and what has
 * been reserved up to now is lost as a whole.
 */
static bool shard_resync(struct shard *shard, uint64_t tail)
{
	static const struct orphan_dead nobody;
	uint64_t at = max_u64(shard->resync, shard->pos + RECORD_ALIGN);
	uint64_t budget = shard->wasted + SHARD_PASS_LEN / 4;
	bool stops = false;

	if (shard->wasted > SHARD_WASTE_RINGS * shard->cur.ring->len) {
		shard->wasted = 0;
		return shard_give_up(shard, tail);
	}
	while (at < tail && !stops && shard->wasted < budget) {
		stops = shard_resync_stops(shard, at, tail);
		at += stops ? 0 : RECORD_ALIGN;
	}
	if (at < tail && !stops) {
		shard->resync = at;
		return false;
	}
	shard_bury(shard, min_u64(at, tail) - shard->pos, RECORD_DAMAGED, &nobody);
	return true;
}

/* `word`, loaded once at pos, is nothing finished and valid. Returns true when that has changed. */
static bool shard_resolve(struct shard *shard, uint64_t word, uint64_t tail, uint64_t now_ns)
{
	struct ring *ring = shard_ring_of(shard, shard->pos);
	uint32_t len = record_word_len(word);
	uint64_t hole;

	/* A ring that was succeeded has no open reservations: this was written into it later. */
	if (ring != shard->cur.ring)
		return shard_give_up(shard, tail);
	if (word == 0) {
		switch (orphan_step(ring, &shard->scan, shard->pos, now_ns, &hole)) {
		case 0:
			shard_bury(shard, hole, RECORD_TOMBSTONE, &(struct orphan_dead){ 0 });
			return true;
		case ORPHAN_E_FILLED:
			return true;
		default:
			shard_unresolved(shard, now_ns);
			return false;
		}
	}
	if (record_word_kind(word) != RECORD_RESERVED || len < RECORD_HEADER_LEN ||
	    record_span(len) > tail - shard->pos || record_span(len) > ring->len)
		return shard_resync(shard, tail);
	if (!shard_owner_lives(ring, record_word_owner(word))) {
		struct orphan_dead dead = shard_owner(ring, record_word_owner(word));

		/* It may have committed just before it died: its death came after that. */
		if (ring_word_load(ring, shard->pos) != word)
			return true;
		shard_bury(shard, len, RECORD_TOMBSTONE, &dead);
		return true;
	}
	shard_unresolved(shard, now_ns);
	return false;
}

/* ---- walking ---- */

static void shard_mark(struct shard *shard, uint64_t pos)
{
	uint64_t step = shard->cur.ring->len / SHARD_MARKS_PER_RING;
	uint32_t last = (shard->mark_first + shard->n_marks + SHARD_MARKS - 1) % SHARD_MARKS;

	if (shard->n_marks > 0 && pos < shard->marks[last] + step)
		return;
	if (shard->n_marks == SHARD_MARKS) {
		shard->mark_first = (shard->mark_first + 1) % SHARD_MARKS;
		shard->n_marks--;
	}
	shard->marks[(shard->mark_first + shard->n_marks++) % SHARD_MARKS] = pos;
}

/* True when the unit of `span` bytes at pos still goes into the range to be written next. */
static bool shard_fits_segment(struct shard *shard, uint64_t span)
{
	uint64_t next;

	if (!shard->store)
		return true;
	next = store_next(shard->store);
	shard->roll_waits = false;
	if (shard->pos + span - next <= store_room(shard->store))
		return true;
	if (shard->pos > next)
		return false;
	/* Nothing is waiting: roll now. An empty segment takes whatever comes. */
	shard->roll_waits = !shard_disk_may_roll(shard) || store_roll(shard->store) != 0;
	return !shard->roll_waits;
}

static void shard_counted(struct shard *shard, uint64_t span, uint32_t n_records, uint64_t max_ns)
{
	struct layout_counters *counters = shard_counters(shard);

	shard->max_ns = max_u64(shard->max_ns, max_ns);
	if (shard->pos < shard->counted)
		return;
	shard->counted = shard->pos + span;
	shard_count(&counters->records, n_records);
	shard_count(&counters->bytes, span);
	if (max_ns)
		store_relaxed(&counters->latest_ns, max_ns);
}

/* Up to where the walk may go on as it is, without another look at tail or segment. */
static uint64_t shard_clear_upto(const struct shard *shard, uint64_t tail)
{
	if (!shard->store)
		return tail;
	return max_u64(shard->pos,
		       min_u64(tail, store_next(shard->store) + store_room(shard->store)));
}

/*
 * Walks over plain valid records, as most are, and stops before anything else, at the latest behind
 * the one that reaches `stop`. What shard_drain_unit() finds out of each, without its detours.
 */
static bool shard_walk_plain(struct shard *shard, const struct ring *ring, uint64_t clear_upto,
			     uint64_t stop)
{
	uint64_t pos = shard->pos, start = pos, max_ns = 0;
	uint32_t n_records = 0;

	while (pos < stop) {
		uint64_t span = shard_valid_plain(ring, pos, ring_word_load(ring, pos),
						  clear_upto - pos, &max_ns);

		if (span == 0)
			break;
		n_records++;
		pos += span;
		TESTPOINT("drain-walked");
	}
	if (n_records == 0)
		return false;
	shard->wasted -= min_u64(shard->wasted, pos - start);
	shard_counted(shard, pos - start, n_records, max_ns);
	shard->pos = pos;
	shard_mark(shard, pos);
	return true;
}

/* The next boundary at which something has to be noted, `upto` at the latest. */
static uint64_t shard_walk_stop(const struct shard *shard, uint64_t upto)
{
	if (shard->pos < shard->counted)
		upto = min_u64(upto, shard->counted);
	return min_u64(upto, shard->pos + shard->cur.ring->len / SHARD_MARKS_PER_RING);
}

/*
 * One pass over what is there. Bounded in bytes drained, in bytes checked in vain, and in looks: a
 * publisher can write at pos all the time, and the other shards have their turn all the same.
 */
static bool shard_walk(struct shard *shard, uint64_t now_ns)
{
	uint64_t start = shard->pos, waste = shard->wasted + SHARD_PASS_LEN / 4;
	unsigned int tries = 0;
	bool is_plain = shard_is_plain(shard->cur.ring);
	bool changed = false;
	uint64_t tail = 0;

	while (shard->pos - start < SHARD_PASS_LEN && shard->wasted < waste &&
	       tries < SHARD_PASS_TRIES) {
		struct ring *ring = shard_ring_of(shard, shard->pos);
		bool is_cur = ring == shard->cur.ring;
		uint64_t word, span, max_ns;
		uint32_t n_records;

		if (shard->pos >= tail)
			tail = is_cur ? shard_tail(shard) : shard->cur.ring->first_pos;
		if (shard->pos >= tail)
			break;
		if (is_plain && shard_walk_plain(shard, ring, shard_clear_upto(shard, tail),
						 shard_walk_stop(shard, start + SHARD_PASS_LEN)))
			continue;
		/* Loaded once: what was reserved a moment ago may be committed the next time. */
		word = ring_word_load(ring, shard->pos);
		span = shard_drain_unit(ring, shard->pos, word, tail, &n_records, &max_ns);
		if (span == 0) {
			shard->wasted += shard_waste(ring, word);
			tries++;
			if (!shard_resolve(shard, word, tail, now_ns))
				break;
			changed = true;
			continue;
		}
		if (!shard_fits_segment(shard, span))
			break;
		shard->wasted -= min_u64(shard->wasted, span);
		shard_counted(shard, span, n_records, max_ns);
		shard->pos += span;
		shard_mark(shard, shard->pos);
		TESTPOINT("drain-walked");
	}
	if (!shard->store && shard->pos != start)
		store_relaxed(&shard->cur.ring->govern->written, shard->pos);
	return changed || shard->pos != start || shard->resync != 0;
}

/* ---- one pass ---- */

/*
 * A hostile subscriber can wipe the number of sleepers, or take a wake-up and not pass it on. So
 * the daemon rings for everybody at most every 20 ms while records come. Publishers pay nothing.
 */
static void shard_guard_sleepers(struct shard *shard, uint64_t now_ns)
{
	if (shard->guard_pos == shard->pos ||
	    now_ns - shard->guard_ns < SHARD_WAKE_GUARD_MS * NS_PER_MS)
		return;
	shard->guard_pos = shard->pos;
	shard->guard_ns = now_ns;
	ring_wake_subscribers(shard->cur.ring);
}

/* A dead publisher's slot is free again when nothing of it can be left below pos. */
static void shard_free_slots(struct shard *shard)
{
	struct layout_owner *owners = shard->cur.ring->govern->owners;

	for (unsigned int slot = 0; slot < LAYOUT_PUBLISHER_SLOTS; slot++) {
		if (load_relaxed(&owners[slot].state) == OWNER_DEAD &&
		    shard->pos >= owners[slot].dead_tail)
			store_relaxed(&owners[slot].state, OWNER_FREE);
	}
}

static void shard_stop_begin(struct shard *shard, uint64_t now_ns)
{
	shard->stop_since_ns = now_ns;
	shard->life = SHARD_STOPPING;
	if (shard->want_stop == SHARD_STOP_DROP)
		shard->close_tail = ring_close_tail(shard->cur.ring);
}

/* All that can be resolved is; a stopped publisher's reservation cannot be waited for. */
static bool shard_stop_is_done(const struct shard *shard, uint64_t now_ns)
{
	uint64_t patience = shard->want_stop == SHARD_STOP_KEEP ? NS_PER_S / 10 : NS_PER_S;

	if (shard->succession == SUCCESSION_MAKING)
		return false;
	if (ring_state(shard->cur.ring, NULL) == GOVERN_REMOVED)
		return true;
	return shard_disk_idle(shard) && (shard->pos >= ring_tail(shard->cur.ring) ||
					  now_ns - shard->stop_since_ns > patience);
}

static bool shard_stop_pass(struct shard *shard, uint64_t now_ns)
{
	if (shard->want_stop == SHARD_STOP_NOT)
		return false;
	if (shard->life == SHARD_RUNNING)
		shard_stop_begin(shard, now_ns);
	if (!shard_stop_is_done(shard, now_ns))
		return false;
	/* With nobody left who could publish below the end, the log can go on there. */
	if (shard->store && shard->want_stop == SHARD_STOP_DROP &&
	    shard->pos >= ring_tail(shard->cur.ring))
		store_give_back(shard->store);
	shard_disk_close(shard);
	if (shard->want_stop == SHARD_STOP_DROP &&
	    ring_state(shard->cur.ring, NULL) != GOVERN_REMOVED) {
		ring_set_succeeded(shard->cur.ring, shard->pos);
		ring_set_state(shard->cur.ring, GOVERN_SUCCEEDED, 0);
	}
	shard->life = SHARD_STOPPED;
	pthread_cond_broadcast(&shard->changed);
	return true;
}

/* Something may become due without anybody kicking. */
static bool shard_is_restless(const struct shard *shard)
{
	if (shard->life != SHARD_RUNNING && shard->life != SHARD_STOPPING)
		return false;
	return shard->life == SHARD_STOPPING || shard->succession != SUCCESSION_NONE ||
	       shard->want_ring_len != 0 || shard->guard_pos != shard->pos || shard->failures > 0 ||
	       shard->pos < ring_tail(shard->cur.ring) || shard->policy.rate_limit != 0 ||
	       (shard->store && shard->policy.sync == SHARD_SYNC_INTERVAL &&
		store_durable(shard->store) < store_next(shard->store));
}

/*
 * Records of a stream without segments wait for nothing but room. Whoever comes for every few of
 * them takes the lines that they are written to, and the tail, away from their publisher again and
 * again. So the next pass is due when a part of the ring will have been filled, at the rate seen.
 * A publisher that had to wait meanwhile was faster than it seems: no rest is longer than twice the
 * last.
 */
static void shard_pace(struct shard *shard, uint64_t walked, struct shard_round *round)
{
	uint64_t elapsed_ns = min_u64(round->now_ns - shard->pass_ns, NS_PER_S), due_ns;

	shard->pace_ns = min_u64(elapsed_ns * (shard->cur.ring->len / SHARD_PACE_PART / walked),
				 2 * shard->pace_ns);
	shard->pace_ns = max_u64(shard->pace_ns, SHARD_PACE_MIN_US * NS_PER_US);
	shard->pace_ns = min_u64(shard->pace_ns, SHARD_PACE_MAX_US * NS_PER_US);
	due_ns = round->now_ns + shard->pace_ns;
	if (round->due_ns == 0 || due_ns < round->due_ns)
		round->due_ns = due_ns;
}

static bool shard_run_pass(struct shard *shard, struct shard_round *round)
{
	uint64_t start = shard->pos, now_ns = round->now_ns;
	bool moved = shard_walk(shard, now_ns), freed;
	uint64_t walked = shard->pos - start;

	round->walked += walked;
	if (walked > 0 && walked < SHARD_PASS_LEN && !shard->store) {
		shard_pace(shard, walked, round);
		moved = false;
	}
	shard->pass_ns = now_ns;
	moved |= shard_disk_pass(shard, now_ns);
	freed = shard_disk_reclaim(shard, now_ns);
	moved |= freed && shard->store;
	moved |= shard_succeed_pass(shard, now_ns);
	shard_free_slots(shard);
	shard_guard_sleepers(shard, now_ns);
	moved |= shard_stop_pass(shard, now_ns);
	/* What is under way ends with a pass anyway; until then a kick would be in vain. */
	if (!moved && (!shard->store || !store_is_working(shard->store)))
		moved = ring_drain_rearm(shard->cur.ring);
	return moved;
}

bool shard_drain_pass(struct shard *shard, struct shard_round *round)
{
	bool moved = false;

	pthread_mutex_lock(&shard->lock);
	if (shard->life == SHARD_RUNNING || shard->life == SHARD_STOPPING)
		moved = shard_run_pass(shard, round);
	round->restless |= shard_is_restless(shard);
	pthread_mutex_unlock(&shard->lock);
	return moved;
}
