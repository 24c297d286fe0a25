/* SPDX-License-Identifier: Apache-2.0 */
/* A shard's making and end, and what the control thread asks of it. */
#include "daemon/shard_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/eventfd.h>

#include "daemon/drain.h"
#include "daemon/log.h"

static void shard_lock(const struct shard *shard)
{
	/* The lock is no part of what a const shard promises. */
	pthread_mutex_lock((pthread_mutex_t *)&shard->lock);
}

static void shard_unlock(const struct shard *shard)
{
	pthread_mutex_unlock((pthread_mutex_t *)&shard->lock);
}

/* ---- rings and where they are kept ---- */

struct ring *shard_ring_of(const struct shard *shard, uint64_t pos)
{
	if (shard->old.ring && pos < shard->cur.ring->first_pos)
		return shard->old.ring;
	return shard->cur.ring;
}

struct layout_counters *shard_counters(const struct shard *shard)
{
	return &shard->cur.ring->govern->counters;
}

void shard_ring_name(const struct shard *shard, uint32_t generation, char *buf, size_t len)
{
	char uuid[33];

	for (int i = 0; i < 16; i++)
		snprintf(uuid + 2 * i, 3, "%02x", shard->stream_uuid[i]);
	snprintf(buf, len, "%s.%u.%u", uuid, shard->shard, generation);
}

void shard_ring_keep(struct shard *shard, const struct shard_ring *sr)
{
	char name[64];

	shard_ring_name(shard, sr->ring->generation, name, sizeof(name));
	if (shard->keep.store)
		shard->keep.store(shard->keep.ctx, name, &sr->fds);
}

void shard_ring_release(struct shard *shard, struct shard_ring *sr, bool forget)
{
	char name[64];

	if (sr->ring && forget && shard->keep.forget) {
		shard_ring_name(shard, sr->ring->generation, name, sizeof(name));
		shard->keep.forget(shard->keep.ctx, name);
	}
	sr->ring = ring_close(sr->ring);
	region_fds_close(&sr->fds);
}

static int shard_make_first_ring(struct shard *shard, uint64_t ring_len, uint64_t first_pos,
				 char *detail, size_t detail_len)
{
	struct region_options options = {
		.shard = shard->shard,
		.generation = shard->first_generation,
		.ring_len = ring_len,
		.first_pos = first_pos,
		.flags = shard->flags,
		.node = shard->node,
	};
	uint64_t available = 0;
	int r;

	memcpy(options.stream_uuid, shard->stream_uuid, sizeof(options.stream_uuid));
	r = region_create(&options, &shard->cur.fds, &available);
	if (r == -ENOSPC)
		snprintf(detail, detail_len,
			 "stream '%s' shard %u: a ring of %" PRIu64
			 " bytes needs more memory than there is; needed %" PRIu64
			 ", available %" PRIu64,
			 shard->stream, shard->shard, ring_len, ring_len, available);
	else if (r < 0)
		snprintf(detail, detail_len, "stream '%s' shard %u: the ring cannot be made: %s",
			 shard->stream, shard->shard, strerror(-r));
	if (r < 0)
		return r;
	return ring_open(&shard->cur.fds, REGION_DAEMON, &shard->cur.ring);
}

/* ---- taking over what the last daemon left ---- */

static bool shard_is_own_ring(const struct shard *shard, const struct ring *ring)
{
	return ring->shard == shard->shard &&
	       memcmp(ring->stream_uuid, shard->stream_uuid, 16) == 0;
}

/*
 * The newest usable ring becomes the current one, and the one before it, if its records may still
 * be needed, the old one. A newest ring that is not OPEN was being made when the daemon died: the
 * one before it is current, and if that had been closed, everything is decided again. One that
 * cannot be looked at now may be whole: then the shard fails, and the rings stay with their keeper.
 */
static int shard_adopt(struct shard *shard, const struct shard_options *options, char *detail,
		       size_t detail_len)
{
	int failed = 0;

	for (size_t i = 0; i < options->n_survivors; i++) {
		struct shard_ring sr = { .fds = options->survivors[i] };
		int r = ring_open(&sr.fds, REGION_DAEMON, &sr.ring);

		if (r < 0 && r != -EBADMSG && r != -EPROTONOSUPPORT && r != -EINVAL) {
			failed = r;
			snprintf(detail, detail_len, "a ring that survived cannot be mapped: %s",
				 strerror(-r));
			shard_ring_release(shard, &sr, false);
			continue;
		}
		if (r < 0 || !shard_is_own_ring(shard, sr.ring)) {
			log_warning("stream %s shard %u: a ring that survived is unusable: %s",
				    shard->stream, shard->shard,
				    r < 0 ? strerror(-r) : "it belongs to another shard");
			shard_ring_release(shard, &sr, true);
			continue;
		}
		if (ring_state(sr.ring, NULL) == 0) {
			shard_ring_release(shard, &shard->next, true);
			shard->next = sr;
			continue;
		}
		shard_ring_release(shard, &shard->old, true);
		shard->old = shard->cur;
		shard->cur = sr;
	}
	return failed;
}

/* Goes on with a succession that the last daemon's death cut off. */
static void shard_adopt_succession(struct shard *shard)
{
	struct ring *ring = shard->cur.ring;
	bool closed = (load_relaxed(&ring->publish->tail) & LAYOUT_TAIL_CLOSED) != 0;
	uint64_t tail = ring_tail(ring);

	if (ring_state(ring, NULL) == GOVERN_SUCCEEDED && shard->next.ring) {
		uint64_t from = ring_close_pos(ring);

		/* Publishers may have moved the tail since; the new ring holds no more. */
		tail = min_u64(max_u64(tail, from), from + shard->next.ring->len);
		memset(shard->next.ring->data, 0, shard->next.ring->len);
		shard_succeed_rebase(shard, from, tail);
		/* The last daemon may have died between the state and what makes everybody see it:
		 * who does not would take for published what is buried now. */
		ring_set_succeeded(ring, from);
		shard_succeed_decide(shard, from, tail);
		shard_ring_release(shard, &shard->old, true);
		shard_succeed_finish(shard);
		return;
	}
	shard_ring_release(shard, &shard->next, true);
	/* Its publishers already ask for a successor, so one is made. */
	if (closed || ring_state(ring, NULL) == GOVERN_SUCCEEDED)
		shard->want_ring_len = ring->len;
	if (ring_state(ring, NULL) == GOVERN_FAILED)
		ring_set_state(ring, GOVERN_OPEN, 0);
}

/* The last daemon may have died between a change and its bell: nobody else would ring it. */
static void shard_wake_sleepers(struct shard *shard)
{
	ring_wake_all(shard->cur.ring);
	if (shard->old.ring)
		ring_wake_all(shard->old.ring);
}

/*
 * Where draining goes on in rings that survived: at the end of what is in the segments, or where
 * of several writes under way an earlier one did not get there; the ring still has it. A hole
 * below `written` is damage and stays what it is.
 */
static uint64_t shard_adopted_pos(const struct shard *shard, const struct store_recovered *found)
{
	const struct ring *ring = shard->cur.ring;
	uint64_t oldest = ring_reclaimed(shard->old.ring ? shard->old.ring : ring);
	uint64_t written = ring_written(ring), end = found->end;

	if (!shard->store)
		return max_u64(written, oldest);
	for (size_t i = 0; i < found->n_ranges; i++) {
		const struct recover_range *range = &found->ranges[i];

		if (range->kind == RECOVER_DAMAGE && range->from >= max_u64(written, oldest))
			end = min_u64(end, range->from);
	}
	if (end < oldest) {
		log_error("stream %s shard %u: positions %" PRIu64 " to %" PRIu64
			  " were written and are not in the segments any more",
			  shard->stream, shard->shard, end, oldest);
		return oldest;
	}
	if (end > ring_tail(ring))
		return max_u64(written, oldest);
	return end;
}

/* ---- making and freeing ---- */

static void shard_init(struct shard *shard, const struct shard_options *options)
{
	pthread_mutex_init(&shard->lock, NULL);
	pthread_cond_init(&shard->changed, NULL);
	shard->drain = options->drain;
	memcpy(shard->stream_uuid, options->stream_uuid, sizeof(shard->stream_uuid));
	shard->shard = options->shard;
	shard->flags = options->flags;
	shard->crc_seed = record_crc_seed(options->stream_uuid, options->shard);
	shard->first_generation = options->first_generation ? options->first_generation : 1;
	shard->node = options->node;
	shard->segment_len = options->segment_len;
	shard->keep = options->keep;
	shard->policy = options->policy;
	shard->quota = options->quota;
	shard->cur.fds = shard->old.fds = shard->next.fds = REGION_FDS_NULL;
	shard->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	shard->stream = strdup(options->stream);
	shard->directory = options->directory ? strdup(options->directory) : NULL;
}

/* No ring survived. What is on disk says where the log goes on. */
static int shard_make_ring(struct shard *shard, uint64_t ring_len, char *detail, size_t detail_len)
{
	struct store_recovered found = { .is_new = true };
	int r = 0;

	shard_ring_release(shard, &shard->next, true);
	if (shard->directory)
		r = shard_disk_open(shard, &found, detail, detail_len);
	if (r < 0)
		return r;
	/* Above everything that the lost ring can have handed out: the jump shows as a gap. */
	shard->pos = found.is_new ? LAYOUT_FIRST_POS : found.reserved_until;
	r = shard_make_first_ring(shard, ring_len, shard->pos, detail, detail_len);
	if (r == 0)
		shard_ring_keep(shard, &shard->cur);
	return r;
}

static int shard_open_ring(struct shard *shard, const struct shard_options *options, char *detail,
			   size_t detail_len)
{
	int r = shard_adopt(shard, options, detail, detail_len);

	if (r < 0)
		return r;
	if (shard->cur.ring)
		shard_adopt_succession(shard);
	else
		r = shard_make_ring(shard, options->ring_len, detail, detail_len);
	if (r < 0)
		return r;
	/* The last daemon may have died asleep; its publishers would kick at each commit. */
	ring_drain_wakes(shard->cur.ring);
	shard_wake_sleepers(shard);
	drain_set_clock(shard->drain, shard->cur.ring);
	return 0;
}

int shard_new(const struct shard_options *options, char *detail, size_t detail_len,
	      struct shard **ret_shard)
{
	struct shard *shard = calloc(1, sizeof(*shard));
	int r = 0;

	if (!shard)
		return -ENOMEM;
	shard_init(shard, options);
	if (shard->kick_fd < 0)
		r = -EMFILE;
	else if (!shard->stream || (options->directory && !shard->directory))
		r = -ENOMEM;
	if (r < 0)
		snprintf(detail, detail_len, "stream '%s' shard %u: %s", options->stream,
			 options->shard, strerror(-r));
	if (r == 0)
		r = shard_open_ring(shard, options, detail, detail_len);
	if (r < 0) {
		/* Rings that survived are worth another attempt. */
		shard->want_stop = SHARD_STOP_KEEP;
		shard_free(shard);
		return r;
	}
	*ret_shard = shard;
	return 0;
}

int shard_start(struct shard *shard, char *detail, size_t detail_len)
{
	struct store_recovered found = { .is_new = true };
	bool survived = shard->pos == 0;
	int r = 0;

	/* Then it was the drain that could not begin. */
	if (shard->started)
		return 0;
	if (survived) {
		if (shard->directory)
			r = shard_disk_open(shard, &found, detail, detail_len);
		if (r == 0)
			shard->pos = shard_adopted_pos(shard, &found);
	}
	if (r == 0 && shard->store) {
		r = store_start(shard->store, shard->pos);
		if (r < 0)
			snprintf(detail, detail_len, "a segment cannot be begun in %s: %s",
				 shard->directory, strerror(-r));
	}
	shard->counted = shard->guard_pos = shard->pos;
	if (r == 0 && shard->store) {
		/* Who comes before the drain has looked takes the ring's word for it. */
		shard_lock(shard);
		shard_disk_publish_totals(shard);
		shard_unlock(shard);
	}
	shard->started = r == 0;
	if (r == 0 && shard->life == SHARD_BROKEN) {
		/* An attempt before this one failed. */
		shard_lock(shard);
		shard->want_stop = SHARD_STOP_NOT;
		if (ring_state(shard->cur.ring, NULL) == GOVERN_FAILED)
			ring_set_state(shard->cur.ring, GOVERN_OPEN, 0);
		shard_unlock(shard);
	}
	if (r < 0) {
		shard_lock(shard);
		shard->life = SHARD_BROKEN;
		/* A ring that survived is worth another attempt; its publishers are told. */
		if (survived) {
			shard->want_stop = SHARD_STOP_KEEP;
			ring_set_state(shard->cur.ring, GOVERN_FAILED, r);
		}
		shard_unlock(shard);
	}
	return r;
}

struct drain *shard_drain(const struct shard *shard)
{
	return shard->drain;
}

struct shard *shard_free(struct shard *shard)
{
	bool forget;

	if (!shard)
		return NULL;
	forget = shard->want_stop != SHARD_STOP_KEEP;
	shard_disk_close(shard);
	shard_ring_release(shard, &shard->cur, forget);
	shard_ring_release(shard, &shard->old, forget);
	shard_ring_release(shard, &shard->next, forget);
	close_fd(shard->kick_fd);
	pthread_cond_destroy(&shard->changed);
	pthread_mutex_destroy(&shard->lock);
	free(shard->stream);
	free(shard->directory);
	free(shard);
	return NULL;
}

/* ---- control thread ---- */

/* Not by the shard's eventfd: publishers can make a write to that wait. */
static void shard_kick(const struct shard *shard)
{
	drain_kick(shard->drain);
}

int shard_region_fds(struct shard *shard, enum region_access access, uint32_t at_least,
		     uint32_t *ret_generation, struct region_fds *ret_fds)
{
	int r = -EAGAIN;

	shard_lock(shard);
	if (shard->cur.ring->generation >= at_least) {
		*ret_generation = shard->cur.ring->generation;
		r = region_reopen(&shard->cur.fds, access, ret_fds);
	}
	shard_unlock(shard);
	return r;
}

uint32_t shard_origin(const struct shard *shard)
{
	uint32_t origin;

	shard_lock(shard);
	origin = shard->cur.ring->govern->origin;
	shard_unlock(shard);
	return origin;
}

int shard_kick_fd(const struct shard *shard)
{
	return shard->kick_fd;
}

int shard_slot_take(struct shard *shard, uint32_t pid, uint32_t uid, uint64_t start_time,
		    uint32_t publisher, uint32_t *ret_slot)
{
	int r = -EAGAIN;

	shard_lock(shard);
	for (uint32_t slot = 0; slot < LAYOUT_PUBLISHER_SLOTS; slot++) {
		struct layout_owner *owner = &shard->cur.ring->govern->owners[slot];

		if (load_relaxed(&owner->state) != OWNER_FREE)
			continue;
		owner->pid = pid;
		owner->uid = uid;
		owner->publisher = publisher;
		owner->start_time = start_time;
		owner->dead_tail = 0;
		store_relaxed(&owner->state, OWNER_TAKEN);
		*ret_slot = slot;
		r = 0;
		break;
	}
	shard_unlock(shard);
	return r;
}

void shard_slot_gone(struct shard *shard, uint32_t slot)
{
	struct layout_owner *owner;

	if (slot >= LAYOUT_PUBLISHER_SLOTS)
		return;
	shard_lock(shard);
	owner = &shard->cur.ring->govern->owners[slot];
	if (load_relaxed(&owner->state) == OWNER_TAKEN) {
		owner->dead_tail = ring_tail(shard->cur.ring);
		store_relaxed(&owner->state, OWNER_DEAD);
	}
	shard_unlock(shard);
	shard_kick(shard);
}

size_t shard_slots(const struct shard *shard, struct layout_owner *owners, uint32_t *slots,
		   size_t n)
{
	size_t found = 0;

	shard_lock(shard);
	for (uint32_t slot = 0; slot < LAYOUT_PUBLISHER_SLOTS && found < n; slot++) {
		const struct layout_owner *owner = &shard->cur.ring->govern->owners[slot];

		if (load_relaxed(&owner->state) != OWNER_TAKEN)
			continue;
		memcpy(&owners[found], owner, sizeof(*owner));
		slots[found++] = slot;
	}
	shard_unlock(shard);
	return found;
}

size_t shard_slot_statistics(const struct shard *shard, struct shard_slot_stats *stats, size_t n)
{
	size_t found = 0;

	shard_lock(shard);
	for (uint32_t slot = 0; slot < LAYOUT_PUBLISHER_SLOTS && found < n; slot++) {
		const struct ring *ring = shard->cur.ring;
		const struct layout_owner *owner = &ring->govern->owners[slot];

		if (load_relaxed(&owner->state) != OWNER_TAKEN)
			continue;
		stats[found++] = (struct shard_slot_stats){
			.slot = slot,
			.pid = owner->pid,
			.uid = owner->uid,
			.publisher = owner->publisher,
			.records = load_relaxed(&ring->publish->slots[slot].records),
			.bytes = load_relaxed(&ring->publish->slots[slot].bytes),
		};
	}
	shard_unlock(shard);
	return found;
}

int shard_succeed(struct shard *shard, uint64_t ring_len, char *detail, size_t detail_len)
{
	int r = 0;

	shard_lock(shard);
	if (ring_len == 0)
		ring_len = shard->cur.ring->len;
	if (ring_len < LAYOUT_RING_MIN || !is_power_of_two(ring_len)) {
		snprintf(detail, detail_len, "a ring has a power of two of bytes, at least 64 KiB");
		r = -EINVAL;
	} else if (region_max_len(ring_len) < shard->cur.ring->max_len &&
		   ring_len < shard->cur.ring->len) {
		snprintf(detail, detail_len,
			 "stream '%s': its records can be as long as %u bytes; a ring of %" PRIu64
			 " bytes is too small for them",
			 shard->stream, shard->cur.ring->max_len, ring_len);
		r = -EINVAL;
	} else if (shard->want_stop || shard->want_ring_len ||
		   shard->succession != SUCCESSION_NONE) {
		snprintf(detail, detail_len, "stream '%s' shard %u is moving to another ring now",
			 shard->stream, shard->shard);
		r = -EBUSY;
	} else {
		shard->want_ring_len = ring_len;
	}
	shard_unlock(shard);
	shard_kick(shard);
	return r;
}

void shard_request_sync(struct shard *shard)
{
	shard_lock(shard);
	shard->want_sync = true;
	shard_unlock(shard);
	shard_kick(shard);
}

void shard_set_policy(struct shard *shard, const struct shard_policy *policy)
{
	shard_lock(shard);
	shard->policy = *policy;
	shard_unlock(shard);
	shard_kick(shard);
}

void shard_set_removed(struct shard *shard)
{
	shard_lock(shard);
	(void)ring_close_tail(shard->cur.ring);
	ring_set_state(shard->cur.ring, GOVERN_REMOVED, -ENOENT);
	shard_unlock(shard);
	shard_kick(shard);
}

void shard_statistics(const struct shard *shard, struct shard_stats *ret_stats)
{
	const struct layout_counters *counters;
	const struct ring *ring;
	struct shard_stats stats = { 0 };

	shard_lock(shard);
	ring = shard->cur.ring;
	counters = &ring->govern->counters;
	stats.tail = ring_tail(ring);
	stats.written = shard->store ? ring_written(ring) : 0;
	stats.durable = shard->store ? ring_durable(ring) : 0;
	stats.reclaimed = ring_reclaimed(ring);
	stats.limit = load_relaxed(&ring->govern->limit);
	stats.ring_len = ring->len;
	stats.earliest = shard->store ? load_relaxed(&counters->earliest) : stats.reclaimed;
	if (shard->store && load_relaxed(&counters->segments) == 0)
		stats.earliest = stats.reclaimed;
	stats.records = load_relaxed(&counters->records);
	stats.bytes = load_relaxed(&counters->bytes);
	stats.tombstones = load_relaxed(&counters->tombstones);
	stats.tombstone_bytes = load_relaxed(&counters->tombstone_bytes);
	stats.damaged = load_relaxed(&counters->damaged);
	stats.damaged_bytes = load_relaxed(&counters->damaged_bytes);
	stats.gaps = load_relaxed(&counters->gaps);
	stats.disk_errors = load_relaxed(&counters->disk_errors);
	stats.syncs = load_relaxed(&counters->syncs);
	stats.segments = load_relaxed(&counters->segments);
	stats.kept_bytes = load_relaxed(&counters->kept_bytes);
	stats.full_waits = load_relaxed(&counters->full_waits);
	stats.successors = load_relaxed(&counters->successors);
	stats.latest_ns = load_relaxed(&counters->latest_ns);
	stats.generation = ring->generation;
	stats.state = ring_state(ring, &stats.error);
	for (uint32_t slot = 0; slot < LAYOUT_PUBLISHER_SLOTS; slot++)
		stats.n_publishers += load_relaxed(&ring->govern->owners[slot].state) ==
				      OWNER_TAKEN;
	shard_unlock(shard);
	*ret_stats = stats;
}

void shard_stop(struct shard *shard, bool keep_ring)
{
	shard_lock(shard);
	if (shard->want_stop == SHARD_STOP_NOT)
		shard->want_stop = keep_ring ? SHARD_STOP_KEEP : SHARD_STOP_DROP;
	shard_unlock(shard);
	shard_kick(shard);
}

bool shard_stopped(const struct shard *shard)
{
	bool stopped;

	shard_lock(shard);
	stopped = shard->life == SHARD_STOPPED || shard->life == SHARD_BROKEN;
	shard_unlock(shard);
	return stopped;
}

/* ---- segments ---- */

/*
 * The store stays open while the shard is served, and the drain thread lets go of it under the
 * lock; so it is held for these calls, which open files but never wait for the disk's writes.
 */
int shard_segments(struct shard *shard, uint64_t pos, struct shard_segment *segments, size_t n,
		   struct shard_kept *ret_kept)
{
	size_t found = 0;
	int r = 0;

	*ret_kept = (struct shard_kept){ .end = 0 };
	pthread_mutex_lock(&shard->lock);
	/* The end before the segments, the beginning after them: what is not found between the two
	 * is neither new nor deleted, but missing. */
	if (shard->store)
		ret_kept->end = store_listed(shard->store);
	while (shard->store && found < n) {
		struct shard_segment *segment = &segments[found];
		bool closed;

		*segment = (struct shard_segment){ .fd = -1 };
		r = store_open_segment(shard->store, pos, &segment->base, &segment->end, &closed,
				       &segment->fd);
		if (r != 0)
			break;
		pos = segment->end;
		if (!closed)
			segment->end = 0;
		found++;
		if (!closed)
			break;
	}
	if (shard->store)
		ret_kept->earliest = store_earliest(shard->store);
	pthread_mutex_unlock(&shard->lock);
	return r < 0 && found == 0 ? r : (int)found;
}

size_t shard_closed_segments(struct shard *shard, struct shard_closed_segment *segments, size_t n)
{
	struct store_segment_info infos[64];
	size_t found = 0, first = 0, got;

	pthread_mutex_lock(&shard->lock);
	while (shard->store && found < n) {
		got = store_list(shard->store, first, infos, ARRAY_LEN(infos));
		if (got == 0)
			break;
		for (size_t i = 0; i < got && found < n; i++) {
			if (!infos[i].closed)
				continue;
			segments[found++] = (struct shard_closed_segment){
				.base = infos[i].base,
				.bytes = infos[i].bytes ? infos[i].bytes
							: infos[i].end - infos[i].base,
				.last_ns = infos[i].max_ns,
				.going = infos[i].going,
			};
		}
		first += got;
	}
	pthread_mutex_unlock(&shard->lock);
	return found;
}

bool shard_knows_earliest(const struct shard *shard)
{
	return !shard->directory || load_relaxed(&shard->cur.ring->govern->counters.earliest) != 0;
}

uint64_t shard_kept_bytes(const struct shard *shard)
{
	return load_relaxed(&shard->cur.ring->govern->counters.kept_bytes);
}

int shard_drop_segment(struct shard *shard, uint64_t base)
{
	int r = -ENOENT;

	pthread_mutex_lock(&shard->lock);
	if (shard->store && shard->life == SHARD_RUNNING) {
		shard->want_drop = true;
		shard->drop_base = base;
		shard->drop_result = -ENOENT;
		shard_kick(shard);
		while (shard->want_drop && shard->life == SHARD_RUNNING)
			pthread_cond_wait(&shard->changed, &shard->lock);
		r = shard->drop_result;
	}
	pthread_mutex_unlock(&shard->lock);
	return r;
}
