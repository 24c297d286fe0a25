/* SPDX-License-Identifier: Apache-2.0 */
/* Records out of the shared memory: copied first, believed afterwards. */
#include "clientlib/helper.h"
#include "clientlib/source.h"

#define SOURCE_REQUEST_NS (250 * NS_PER_MS)
/* The daemon has had its time to say what a senseless word is. */
#define SOURCE_DAMAGED_NS (100 * NS_PER_MS)

bool source_ring_is_behind(const struct subscribe_shard *shard)
{
	/* What lies in between, of memory alone, is nowhere else. */
	if (shard->next && (shard->ring->flags & GOVERN_F_MEMORY))
		return false;
	return ring_state(subscribe_newest(shard), NULL) == GOVERN_SUCCEEDED;
}

/* On to the successor, which is mapped already. */
static int move_on(struct leat_subscriber *sub, struct subscribe_shard *shard)
{
	helper_retire(sub, shard->ring);
	shard->ring = shard->next;
	shard->next = NULL;
	shard->limit = 0;
	sub->n_moves++;
	return SOURCE_AGAIN;
}

static int attach_newest(struct leat_subscriber *sub, struct subscribe_shard *shard,
			 uint32_t at_least, struct ring **ret_ring)
{
	struct attach_request request = {
		.stream = sub->stream,
		.shard = shard->shard,
		.at_least = at_least,
		.access = REGION_SUBSCRIBER,
		.once = true,
		.uuid = shard->ring->stream_uuid,
	};
	struct deadline deadline = DEADLINE(SOURCE_REQUEST_NS);
	struct attach_reply reply;
	int r;

	if (clock_now_ns(CLOCK_MONOTONIC) < shard->later_ns)
		return -EAGAIN;
	r = attach(&sub->bus->control, &request, &deadline, &reply, &sub->detail);
	if (r < 0) {
		shard->later_ns = clock_now_ns(CLOCK_MONOTONIC) + SOURCE_LATER_NS;
		sub->failure = sub->detail.text;
		return r == -ENOTCONN || r == -ETIMEDOUT ? -EAGAIN : r;
	}
	shard->epoch = load_relaxed(&sub->bus->control.epoch);
	*ret_ring = reply.ring;
	return 0;
}

int source_ring_follow(struct leat_subscriber *sub, struct subscribe_shard *shard)
{
	struct ring *newer;
	int r = attach_newest(sub, shard, subscribe_newest(shard)->generation + 1, &newer);

	if (r == -EAGAIN)
		return SOURCE_LATER;
	/* From now on the newest ring tells the progress. */
	sub->n_moves++;
	if (r < 0)
		return r;
	if (shard->next)
		helper_retire(sub, shard->next);
	shard->next = newer;
	return SOURCE_AGAIN;
}

int source_ring_check(struct leat_subscriber *sub, struct subscribe_shard *shard)
{
	struct ring *ring;
	int r;

	if (shard->next || shard->epoch == load_relaxed(&sub->bus->control.epoch))
		return 0;
	r = attach_newest(sub, shard, 0, &ring);
	if (r < 0)
		return r == -ENOENT || r == -EACCES ? r : 0;
	if (ring->generation == shard->ring->generation &&
	    ring->first_pos == shard->ring->first_pos) {
		ring_close(ring);
		return 0;
	}
	shard->next = ring;
	return 0;
}

static int fail_removed(struct leat_subscriber *sub)
{
	sub->failure = sub->detail.text;
	return detail_fail(&sub->detail, -ENOENT, "stream '%s' was deleted", sub->stream);
}

/* Nothing at pos: is that all, or does the shard go on somewhere else? */
static int judge_empty(struct leat_subscriber *sub, struct subscribe_shard *shard)
{
	switch (ring_state(shard->ring, NULL)) {
	case GOVERN_REMOVED:
		return fail_removed(sub);
	case GOVERN_SUCCEEDED:
		if (shard->next && shard->pos >= ring_close_pos(shard->ring))
			return move_on(sub, shard);
		if (source_ring_is_behind(shard))
			return source_ring_follow(sub, shard);
		return SOURCE_NONE;
	default:
		/* A daemon that lost its rings has made another: this one gets nothing more. */
		return shard->next ? move_on(sub, shard) : SOURCE_NONE;
	}
}

static int judge_lapped(struct leat_subscriber *sub, struct subscribe_shard *shard)
{
	if (shard->ring->flags & GOVERN_F_MEMORY)
		return subscribe_gap(sub, shard, ring_reclaimed(shard->ring), LEAT_GAP_LAPPED);
	shard->on_disk = true;
	return SOURCE_AGAIN;
}

/*
 * No sense at pos. The daemon is given time to say what it is, counted from the first look at this
 * place: what is read here in between, and comes to nothing, is no reason to begin again.
 */
static int judge_garbage(struct leat_subscriber *sub, struct subscribe_shard *shard)
{
	uint64_t now = clock_now_ns(CLOCK_MONOTONIC), boundary, drained;

	if (!shard->damaged) {
		shard->damaged = true;
		shard->damaged_ns = now;
		shard->damaged_pos = shard->pos;
	}
	if (now - shard->damaged_ns < SOURCE_DAMAGED_NS)
		return SOURCE_LATER;
	/* Of a ring that is left behind nobody says anything any more. */
	if (ring_state(shard->ring, NULL) == GOVERN_SUCCEEDED && !shard->next)
		return source_ring_follow(sub, shard);
	shard->damaged = false;
	/* Drained, and overwritten afterwards: the disk has it as it was. */
	drained = ring_written(subscribe_newest(shard));
	if (shard->pos < drained && !(shard->ring->flags & GOVERN_F_MEMORY)) {
		shard->disk_upto = drained;
		shard->on_disk = true;
		return SOURCE_AGAIN;
	}
	/* Read on where a walk from the oldest record arrives: marked or not, this is lost. */
	if (ring_seek(shard->ring, shard->pos, &boundary) == 0 && boundary > shard->pos)
		return subscribe_gap(sub, shard, boundary, LEAT_GAP_DAMAGE);
	if (shard->pos < drained)
		return subscribe_gap(sub, shard, drained, LEAT_GAP_DAMAGE);
	if (ring_state(shard->ring, NULL) == GOVERN_REMOVED)
		return fail_removed(sub);
	return SOURCE_LATER;
}

/* pos may lie in the middle of a record, or beyond the end: finds the boundary. 0 or SOURCE_*. */
static int place(struct leat_subscriber *sub, struct subscribe_shard *shard)
{
	uint64_t boundary;

	/* What lies behind the end of a closed ring has been decided in its successor. */
	if (ring_state(shard->ring, NULL) == GOVERN_SUCCEEDED &&
	    shard->pos >= ring_close_pos(shard->ring))
		return judge_empty(sub, shard);
	switch (ring_seek(shard->ring, shard->pos, &boundary)) {
	case RING_E_LAPPED:
		return judge_lapped(sub, shard);
	case RING_E_EMPTY:
		shard->skip_pos = max_u64(shard->skip_pos, shard->pos);
		break;
	default:
		break;
	}
	shard->pos = boundary;
	shard->seek = false;
	return 0;
}

int source_ring_fill(struct leat_subscriber *sub, struct subscribe_shard *shard)
{
	uint64_t upto = UINT64_MAX, len;
	int r;

	if (unlikely(shard->seek)) {
		r = place(sub, shard);
		if (r != 0)
			return r;
	}
	if (unlikely(sub->options.isolation != LEAT_ISOLATION_RING)) {
		upto = subscribe_upto(sub, shard);
		if (shard->pos >= upto)
			return judge_empty(sub, shard);
	}
	if (unlikely(shard->damaged) && shard->pos != shard->damaged_pos)
		shard->damaged = false;
	if (unlikely(shard->senseless)) {
		shard->senseless = false;
		return judge_garbage(sub, shard);
	}
	r = ring_read(shard->ring, shard->pos, upto, &shard->limit, sub->buffer, sub->buffer_len,
		      &len);
	switch (r) {
	case 0:
		sub->run_shard = shard;
		sub->run_off = 0;
		sub->run_len = len;
		sub->run_from_disk = false;
		return SOURCE_RUN;
	case RING_E_LAPPED:
		sub->stats.lapped++;
		return judge_lapped(sub, shard);
	case RING_E_SMALL:
		r = subscribe_grow(sub, len);
		return r < 0 ? r : SOURCE_AGAIN;
	case RING_E_GARBAGE:
		return judge_garbage(sub, shard);
	case RING_E_EMPTY:
		/* The daemon has read what is no longer there: a publisher wiped it out. */
		if (shard->pos < ring_written(subscribe_newest(shard)))
			return judge_garbage(sub, shard);
		return judge_empty(sub, shard);
	default:
		return judge_empty(sub, shard);
	}
}

int source_ring_view(struct leat_subscriber *sub, struct subscribe_shard *shard,
		     struct leat_message *ret_message)
{
	const void *bytes;
	uint64_t word;

	if (shard->on_disk || shard->seek || shard->skip_pos || shard->skip_ns)
		return 0;
	if (ring_peek(shard->ring, shard->pos, &shard->limit, &word, &bytes) != 0)
		return 0;
	if (record_word_kind(word) == RECORD_BATCH) {
		shard->pos += RECORD_HEADER_LEN;
		if (shard->pos >= shard->stop_pos ||
		    ring_peek(shard->ring, shard->pos, &shard->limit, &word, &bytes) != 0)
			return 0;
	}
	if (record_word_kind(word) != RECORD_COMMITTED)
		return 0;
	if (sub->options.isolation != LEAT_ISOLATION_RING &&
	    shard->pos + record_step(word) > subscribe_upto(sub, shard))
		return 0;
	return subscribe_view(sub, shard, word, bytes, ret_message);
}
