/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shard and its segments: writes go out as the walk moves, syncs as the policy says, progress
 * comes back to the govern page, and ring memory is freed no earlier than the stream promises.
 */
#include "daemon/shard_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "daemon/drain.h"
#include "daemon/log.h"
#include "shm/testpoint.h"

/* Positions reserved ahead by the checkpoint: many rings of any size that fits a machine. */
#define SHARD_AHEAD_LEN (64 * GIB)

static void shard_store_changed(void *ctx)
{
	struct shard *shard = ctx;

	shard->disk_changed = true;
}

int shard_disk_open(struct shard *shard, struct store_recovered *ret_recovered, char *detail,
		    size_t detail_len)
{
	struct store *store = NULL;
	struct store_options options = {
		.path = shard->directory,
		.shard = shard->shard,
		.crc_seed = shard->crc_seed,
		.checksum = (shard->flags & GOVERN_F_CHECKSUM) != 0,
		.segment_len = shard->segment_len,
		.first_pos = LAYOUT_FIRST_POS,
		/* A ring that survived knows better than the last checkpoint: less to be read. */
		.durable = shard->cur.ring ? ring_durable(shard->cur.ring) : 0,
		.ahead_len = SHARD_AHEAD_LEN,
		.changed = shard_store_changed,
		.ctx = shard,
	};
	int r;

	memcpy(options.stream_uuid, shard->stream_uuid, sizeof(options.stream_uuid));
	r = store_open(&options, drain_io(shard->drain), ret_recovered, &store);
	/* The control thread may look already, at a ring that survived. */
	pthread_mutex_lock(&shard->lock);
	shard->store = store;
	pthread_mutex_unlock(&shard->lock);
	if (r < 0)
		snprintf(detail, detail_len, "the segments in %s cannot be opened: %s",
			 shard->directory, strerror(-r));
	for (size_t i = 0; r == 0 && i < ret_recovered->n_ranges; i++) {
		const struct recover_range *range = &ret_recovered->ranges[i];

		log_warning("stream %s shard %u: recovery found positions %" PRIu64 " to %" PRIu64
			    " %s",
			    shard->stream, shard->shard, range->from, range->to,
			    range->kind == RECOVER_TORN  ? "torn off by the crash"
			    : range->kind == RECOVER_GAP ? "never used"
							 : "damaged");
	}
	return r;
}

/* ---- progress ---- */

static void shard_publish_progress(struct shard *shard)
{
	struct layout_govern *govern = shard->cur.ring->govern;
	uint64_t written = store_written(shard->store), durable = store_durable(shard->store);
	uint64_t said_written = load_relaxed(&govern->written);
	uint64_t said_durable = load_relaxed(&govern->durable);

	if (written <= said_written && durable <= said_durable)
		return;
	if (durable > said_durable)
		store_relaxed(&govern->counters.syncs, load_relaxed(&govern->counters.syncs) + 1);
	ring_progress(shard->cur.ring, written > said_written ? written : 0,
		      durable > said_durable ? durable : 0);
	TESTPOINT("drain-progress");
}

static void shard_tell_retention(struct shard *shard)
{
	store_relaxed(&shard->quota->news, 1);
	drain_notify(shard->drain);
}

static bool shard_is_over(const struct shard_quota *quota)
{
	uint64_t limit = load_relaxed(&quota->limit);

	return limit != 0 && load_relaxed(&quota->charged) > limit;
}

/* The current segment counts as full: that is what it will be when it cannot be stopped. */
static void shard_charge(struct shard *shard, uint64_t bytes, uint64_t n_closed)
{
	bool is_more = bytes > shard->charged;

	if (!shard->quota)
		return;
	fetch_add_relaxed(&shard->quota->charged, bytes - shard->charged);
	fetch_add_relaxed(&shard->quota->n_closed, n_closed - shard->n_closed);
	if (n_closed > shard->n_closed)
		shard->segment_ns = 0;
	/* A segment was closed, or old ones turn out to be longer than was known. */
	if (n_closed > shard->n_closed || (is_more && shard_is_over(shard->quota)))
		shard_tell_retention(shard);
	shard->charged = bytes;
	shard->n_closed = n_closed;
}

void shard_disk_publish_totals(struct shard *shard)
{
	struct layout_counters *counters = shard_counters(shard);
	struct store_totals totals;

	store_totals(shard->store, &totals);
	store_relaxed(&counters->earliest, totals.earliest);
	store_relaxed(&counters->kept_bytes, totals.bytes);
	store_relaxed(&counters->segments, totals.n_segments);
	shard_charge(shard, totals.bytes + store_room(shard->store),
		     totals.n_segments ? totals.n_segments - 1 : 0);
}

bool shard_disk_may_roll(struct shard *shard)
{
	struct shard_quota *quota = shard->quota;

	if (!quota || load_relaxed(&quota->limit) == 0)
		return true;
	shard_disk_publish_totals(shard);
	if (!shard_is_over(quota) || load_relaxed(&quota->n_closed) == 0)
		return true;
	shard_tell_retention(shard);
	return false;
}

void shard_disk_close(struct shard *shard)
{
	shard->store = store_close(shard->store);
	shard_charge(shard, 0, 0);
}

/* ---- trouble ---- */

static void shard_fail(struct shard *shard, int error, bool at_once)
{
	shard->failures++;
	shard->fail_pos = store_written(shard->store);
	if (shard->failed || (shard->failures < SHARD_FAILURES_MAX && !at_once))
		return;
	shard->failed = true;
	log_error("stream %s shard %u: stopped, %s; nothing is lost, it goes on by itself when the "
		  "disk does",
		  shard->stream, shard->shard, strerror(-error));
	ring_set_state(shard->cur.ring, GOVERN_FAILED, error);
}

static void shard_recovered_from_failure(struct shard *shard)
{
	shard->failures = 0;
	if (!shard->failed)
		return;
	shard->failed = false;
	log_notice("stream %s shard %u: the disk works again", shard->stream, shard->shard);
	if (ring_state(shard->cur.ring, NULL) == GOVERN_FAILED)
		ring_set_state(shard->cur.ring, GOVERN_OPEN, 0);
}

static bool shard_is_full(int error)
{
	return error == -ENOSPC || error == -EDQUOT;
}

/* A full disk: make room if the stream says so. */
static void shard_make_room(struct shard *shard)
{
	struct layout_counters *counters = shard_counters(shard);

	if (shard->policy.on_disk_full != SHARD_DISK_FULL_DROP_OLDEST)
		return;
	if (store_drop_oldest(shard->store) == 0)
		store_relaxed(&counters->gaps, load_relaxed(&counters->gaps) + 1);
}

/* The walk goes on from `pos`: what was not written is checked and written again. */
static void shard_rewind(struct shard *shard, uint64_t pos)
{
	shard->pos = pos;
	shard->max_ns = 0;
	shard->n_marks = 0;
}

/* The oldest position whose bytes are still in a ring. */
static uint64_t shard_in_memory_from(const struct shard *shard)
{
	return ring_reclaimed(shard->old.ring ? shard->old.ring : shard->cur.ring);
}

static bool shard_disk_trouble(struct shard *shard, int error, bool is_sync, uint64_t now_ns)
{
	struct layout_counters *counters = shard_counters(shard);
	uint64_t from;
	int r;

	if (now_ns < shard->retry_ns)
		return false;
	if (is_sync) {
		from = max_u64(store_durable(shard->store), shard_in_memory_from(shard));
		r = store_restart(shard->store, from);
	} else {
		from = store_written(shard->store);
		r = store_retry(shard->store);
	}
	if (r == STORE_E_WAIT)
		return false;
	store_relaxed(&counters->disk_errors, load_relaxed(&counters->disk_errors) + 1);
	shard->retry_ns = now_ns + SHARD_RETRY_MS * NS_PER_MS;
	log_limited(LOG_LEVEL_ERROR, "stream %s shard %u: %s failed: %s; trying again",
		    shard->stream, shard->shard, is_sync ? "fdatasync" : "writing a segment",
		    strerror(-error));
	/* Then that is what stands in the way now. */
	if (shard_is_full(r))
		error = r;
	shard_fail(shard, error, shard_is_full(error));
	if (shard_is_full(error))
		shard_make_room(shard);
	if (r == 0)
		shard_rewind(shard, from);
	return r == 0;
}

/* ---- writing and syncing ---- */

/* Up to where the next write goes: a record's end, not too far if one is known. */
static uint64_t shard_write_end(const struct shard *shard, uint64_t next)
{
	uint64_t end = 0;

	if (shard->pos - next <= SHARD_WRITE_LEN)
		return shard->pos;
	for (uint32_t i = 0; i < shard->n_marks; i++) {
		uint64_t mark = shard->marks[(shard->mark_first + i) % SHARD_MARKS];

		if (end > 0 && mark > next + SHARD_WRITE_LEN)
			break;
		if (mark > next)
			end = mark;
	}
	return end > 0 ? end : shard->pos;
}

static bool shard_write(struct shard *shard)
{
	uint64_t next = store_next(shard->store), end = shard_write_end(shard, next);
	const struct ring *ring = shard_ring_of(shard, next);
	int r;

	if (next >= end)
		return false;
	if (ring != shard->cur.ring)
		end = min_u64(end, shard->cur.ring->first_pos);
	r = store_write(shard->store, next, ring_at(ring, next), end - next, shard->max_ns);
	if (r != 0)
		return false;
	if (end == shard->pos)
		shard->max_ns = 0;
	TESTPOINT("drain-write-submitted");
	return true;
}

static bool shard_sync_is_due(struct shard *shard, uint64_t now_ns)
{
	uint64_t durable = store_durable(shard->store), written = store_written(shard->store);
	const struct layout_govern *govern = shard->cur.ring->govern;
	uint64_t room;

	if (durable >= written)
		return false;
	if (shard->policy.sync == SHARD_SYNC_ALWAYS || shard->sync_upto > durable)
		return true;
	if (shard->policy.sync == SHARD_SYNC_NONE)
		return shard->life == SHARD_STOPPING;
	/* Publishers would soon wait for memory that only a sync can free. */
	room = load_relaxed(&govern->limit) -
	       min_u64(ring_tail(shard->cur.ring), load_relaxed(&govern->limit));
	return now_ns - shard->synced_ns >= shard->policy.sync_ns ||
	       room < shard->cur.ring->len / 4 || shard->life == SHARD_STOPPING;
}

static void shard_check_space(struct shard *shard, uint64_t now_ns)
{
	int error = store_space_error(shard->store);

	if (error == 0 || now_ns < shard->retry_ns)
		return;
	shard->retry_ns = now_ns + SHARD_RETRY_MS * NS_PER_MS;
	/* The current segment still takes records; only a shard that cannot go on is stopped. */
	if (shard->roll_waits)
		shard_fail(shard, error, shard_is_full(error));
	shard_make_room(shard);
	store_tick(shard->store);
}

/* Retention deletes whole closed segments: one that does not fill must not stay for ever. */
static void shard_roll_by_age(struct shard *shard, uint64_t now_ns)
{
	if (shard->policy.roll_ns == 0 || store_room(shard->store) >= shard->segment_len)
		shard->segment_ns = 0;
	else if (shard->segment_ns == 0)
		shard->segment_ns = now_ns;
	else if (now_ns - shard->segment_ns >= shard->policy.roll_ns &&
		 store_next(shard->store) == shard->pos && store_roll(shard->store) == 0)
		shard->segment_ns = 0;
}

static int shard_drop_result(int r)
{
	return r == STORE_E_WAIT ? -EAGAIN : r == STORE_E_END ? -ENOENT : r;
}

static void shard_drop_wanted(struct shard *shard)
{
	struct store_segment_info oldest;

	if (!shard->want_drop)
		return;
	shard->drop_result = -ENOENT;
	if (store_list(shard->store, 0, &oldest, 1) == 1 && oldest.closed &&
	    oldest.base == shard->drop_base)
		shard->drop_result = shard_drop_result(store_drop_oldest(shard->store));
	shard->want_drop = false;
	shard->disk_changed = true;
	pthread_cond_broadcast(&shard->changed);
}

bool shard_disk_pass(struct shard *shard, uint64_t now_ns)
{
	bool moved, is_sync;
	int error;

	if (!shard->store)
		return false;
	if (shard->want_sync) {
		shard->want_sync = false;
		shard->sync_upto = shard->pos;
	}
	shard_drop_wanted(shard);
	if (now_ns - shard->tick_ns >= NS_PER_S) {
		shard->tick_ns = now_ns;
		store_tick(shard->store);
		shard_roll_by_age(shard, now_ns);
		shard->disk_changed = true;
	}
	shard_publish_progress(shard);
	error = store_error(shard->store, &is_sync);
	if (error < 0)
		return shard_disk_trouble(shard, error, is_sync, now_ns);
	shard_check_space(shard, now_ns);
	moved = shard_write(shard);
	if (shard->failures > 0 && !shard->roll_waits &&
	    store_written(shard->store) > shard->fail_pos)
		shard_recovered_from_failure(shard);
	if (shard_sync_is_due(shard, now_ns) && store_sync(shard->store) == 0)
		shard->synced_ns = now_ns;
	if (shard->disk_changed) {
		shard->disk_changed = false;
		shard_disk_publish_totals(shard);
	}
	return moved;
}

bool shard_disk_idle(const struct shard *shard)
{
	bool is_sync;
	int error;

	if (!shard->store || ring_state(shard->cur.ring, NULL) == GOVERN_REMOVED)
		return true;
	error = store_error(shard->store, &is_sync);
	if (error < 0)
		return shard->failed;
	return store_next(shard->store) >= shard->pos &&
	       store_durable(shard->store) >= store_next(shard->store);
}

/* ---- freeing ring memory ---- */

/* Up to here the stream's promise is kept without the ring. */
static uint64_t shard_safe_pos(const struct shard *shard)
{
	if (!shard->store)
		return shard->pos;
	if (shard->policy.sync == SHARD_SYNC_NONE)
		return min_u64(store_written(shard->store), shard->pos);
	return min_u64(store_durable(shard->store), shard->pos);
}

/* The latest record boundary known at or below pos; 0 = none. */
static uint64_t shard_boundary(struct shard *shard, uint64_t pos)
{
	uint64_t found = 0;

	while (shard->n_marks > 0 && shard->marks[shard->mark_first] <= pos) {
		found = shard->marks[shard->mark_first];
		shard->mark_first = (shard->mark_first + 1) % SHARD_MARKS;
		shard->n_marks--;
	}
	return found;
}

/* After a rewind few boundaries are known: the first one, or where the walk stands, if safe. */
static uint64_t shard_next_boundary(const struct shard *shard, uint64_t safe)
{
	uint64_t next = shard->n_marks > 0 ? shard->marks[shard->mark_first] : shard->pos;

	return next <= safe ? next : 0;
}

/* A cap on the byte rate is a limit that is raised no faster than the cap. */
static uint64_t shard_rate_cap(struct shard *shard, uint64_t now_ns, uint64_t limit)
{
	uint64_t rate = shard->policy.rate_limit;
	uint64_t earned;

	if (rate == 0)
		return UINT64_MAX;
	if (shard->rate_ns == 0 || now_ns - shard->rate_ns > NS_PER_S) {
		shard->rate_ns = now_ns;
		shard->rate_pos = limit;
	}
	earned = (uint64_t)((unsigned __int128)(now_ns - shard->rate_ns) * rate / NS_PER_S);
	return shard->rate_pos + earned;
}

bool shard_disk_reclaim(struct shard *shard, uint64_t now_ns)
{
	struct ring *ring = shard->cur.ring;
	uint64_t safe = shard_safe_pos(shard), limit = load_relaxed(&ring->govern->limit);
	uint64_t tail = ring_tail(ring), target, cap, upto;

	if (shard->old.ring && safe >= ring->first_pos) {
		shard_ring_release(shard, &shard->old, true);
	}
	if (shard->store)
		store_reserve(shard->store, limit + SHARD_AHEAD_LEN / 2);
	/* Lazily: while half of the ring is free the rest stays as a cache for subscribers. */
	if (limit - tail >= ring->len / 2 || safe <= ring_reclaimed(ring))
		return false;
	target = min_u64(safe, tail - ring->len / 2 + ring->len / SHARD_MARKS_PER_RING);
	cap = shard_rate_cap(shard, now_ns, limit) - ring->len;
	if (shard->store)
		cap = min_u64(cap, store_reserved(shard->store) - ring->len);
	upto = shard_boundary(shard, min_u64(target, cap));
	if (upto == 0 && limit - tail < ring->len / 4)
		upto = shard_next_boundary(shard, min_u64(safe, cap));
	if (upto <= ring_reclaimed(ring))
		return false;
	ring_reclaim(ring, upto);
	TESTPOINT("drain-reclaimed");
	return true;
}
