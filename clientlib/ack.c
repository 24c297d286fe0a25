/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting until what was published is written, or durable. */
#include "clientlib/follow.h"
#include "shm/clock.h"
#include "shm/wait.h"

enum {
	/* Looks before the first sleep, for the page cache. No disk is worth a look. */
	ACK_SPINS = 50,
	ACK_PAUSES = 20,
};

#define ACK_SLICE_MIN_NS (10 * NS_PER_MS)
#define ACK_SLICE_MAX_NS NS_PER_S
#define ACK_MOVING_NS NS_PER_MS /* while a successor is being made */
/* Longer than any policy of "always" takes: then a sync is asked for whatever the policy was. */
#define ACK_PATIENCE_NS (2 * NS_PER_S)

#define ACK_AGAIN_NS NS_PER_S

struct ack_wait {
	struct leat_publisher *publisher;
	struct publish_shard *shard;
	uint64_t pos;
	enum leat_ack level;
	uint64_t asked_pos; /* a sync was asked for when `written` stood here */
	uint64_t asked_ns;
	uint64_t began_ns;
	uint32_t bits;  /* of the durable bell */
	bool sync_soon; /* the policy alone would not sync in time */
};

static bool is_reached(const struct ack_wait *wait)
{
	const struct ring *ring = wait->shard->ring;

	if (wait->level == LEAT_ACK_DURABLE)
		return ring_durable(ring) > wait->pos;
	return ring_written(ring) > wait->pos;
}

/* What is lost must not be taken for durable because what came later is. */
static bool is_lost(const struct ack_wait *wait)
{
	return wait->pos >= wait->shard->lost_from && wait->pos < wait->shard->lost_to;
}

static int fail_lost(struct leat_publisher *publisher, const struct publish_shard *shard)
{
	return detail_fail(
		&publisher->detail, -ESTALE,
		"the daemon of stream '%s' shard %u died with its rings: whether what was "
		"published from position %llu on and not written yet counts is not known",
		publisher->stream, shard->shard, (unsigned long long)shard->lost_from);
}

/* Asks for an fdatasync where the stream's policy does not bring one in time. */
static void ask_sync(struct ack_wait *wait)
{
	struct leat_publisher *publisher = wait->publisher;
	struct control_reply reply = CONTROL_REPLY_NULL;
	struct deadline deadline = DEADLINE(NS_PER_S);
	cleanup_with(control_decref) json_t *request = NULL;
	uint64_t written = ring_written(wait->shard->ring), now;

	if (wait->level != LEAT_ACK_DURABLE || written <= wait->pos)
		return;
	now = clock_now_ns(CLOCK_MONOTONIC);
	/* Asked once; again if nothing came of it, as when the daemon died over it. */
	if (wait->asked_pos >= written && now - wait->asked_ns < ACK_AGAIN_NS)
		return;
	if (!wait->sync_soon && now - wait->began_ns < ACK_PATIENCE_NS)
		return;
	request = json_pack("{s:s, s:s, s:I}", "op", "sync", "stream", publisher->stream, "shard",
			    (json_int_t)wait->shard->shard);
	if (!request ||
	    control_request_once(&publisher->bus->control, request, &deadline, &reply, NULL) < 0)
		return;
	control_reply_deinit(&reply);
	wait->asked_pos = written;
	wait->asked_ns = now;
}

/* What stands in the way of ever getting there; 1 = the shard moved, look again. */
static int look_around(struct ack_wait *wait)
{
	int r = follow_state(wait->publisher, wait->shard);

	if (r < 0)
		return r;
	if (ring_state(wait->shard->ring, NULL) == GOVERN_SUCCEEDED)
		return follow_successor(wait->publisher, wait->shard);
	return 0;
}

static const _Atomic uint32_t *bell_of(const struct ack_wait *wait)
{
	const struct layout_govern *govern = wait->shard->ring->govern;

	return wait->level == LEAT_ACK_DURABLE ? &govern->durable_bell : &govern->written_bell;
}

static int wait_reached(struct ack_wait *wait, struct deadline *deadline)
{
	uint64_t slice_ns = ACK_SLICE_MIN_NS, left;
	struct leat_publisher *publisher = wait->publisher;
	struct publish_shard *shard = wait->shard;
	unsigned int spins = 0, i;
	int r;

	for (;;) {
		const _Atomic uint32_t *bell = bell_of(wait);
		uint32_t rung = ring_bell(bell);

		if (is_lost(wait))
			return fail_lost(publisher, shard);
		if (is_reached(wait))
			return 0;
		r = look_around(wait);
		if (r < 0)
			return r;
		if (r > 0)
			continue;
		left = deadline_left(deadline);
		if (left == 0)
			return -ETIMEDOUT;
		if (spins == 0)
			ring_kick_drain(&shard->rp, false);
		if (spins++ < ACK_SPINS && wait->level == LEAT_ACK_WRITTEN) {
			for (i = 0; i < ACK_PAUSES; i++)
				cpu_relax();
			continue;
		}
		ask_sync(wait);
		if (ring_state(shard->ring, NULL) == GOVERN_SUCCEEDED)
			left = min_u64(left, ACK_MOVING_NS);
		if (wait_futex_bits(bell, rung, wait->bits, min_u64(left, slice_ns)) != -ETIMEDOUT)
			continue;
		slice_ns = min_u64(2 * slice_ns, ACK_SLICE_MAX_NS);
		r = follow_check(publisher, shard, clock_ns(shard->ring->govern));
		if (r < 0)
			return r;
		ring_kick_drain(&shard->rp, true);
	}
}

static uint32_t bits_of(const struct publish_shard *shard, uint64_t pos, enum leat_ack level)
{
	uint64_t word;

	if (level != LEAT_ACK_DURABLE)
		return UINT32_MAX;
	/* Of somebody else's position, or one gone from the ring, either of its bits will do. */
	word = ring_word_at(shard->ring, pos);
	return ring_ack_bit(pos, record_span(record_word_len(word)));
}

/* Waits for one shard; the sentence is in the detail. */
static int ack_wait(struct leat_publisher *publisher, struct publish_shard *shard, uint64_t pos,
		    enum leat_ack level, struct deadline *deadline)
{
	struct ack_wait wait = {
		.publisher = publisher,
		.shard = shard,
		.pos = pos,
		.level = level,
		.bits = bits_of(shard, pos, level),
		.began_ns = clock_now_ns(CLOCK_MONOTONIC),
		.sync_soon = publisher->sync == LEAT_SYNC_NONE ||
			     (publisher->sync == LEAT_SYNC_INTERVAL &&
			      publisher->sync_ns > deadline->timeout_ns),
	};
	int r;

	if (level == LEAT_ACK_RING)
		return 0;
	if (shard->ring->flags & GOVERN_F_MEMORY)
		return detail_fail(&publisher->detail, -EOPNOTSUPP,
				   "stream '%s' is memory-only: nothing of it is ever written or "
				   "durable",
				   publisher->stream);
	r = wait_reached(&wait, deadline);
	if (r == -ETIMEDOUT)
		return detail_fail(
			&publisher->detail, r,
			"stream '%s' shard %u is %s up to %llu, not yet %llu", publisher->stream,
			shard->shard, level == LEAT_ACK_DURABLE ? "durable" : "written",
			(unsigned long long)(level == LEAT_ACK_DURABLE ? ring_durable(shard->ring)
								       : ring_written(shard->ring)),
			(unsigned long long)pos);
	return r;
}

static int check_level(struct leat_publisher *publisher, enum leat_ack level)
{
	publisher->failure = publisher->detail.text;
	if (level == LEAT_ACK_RING || level == LEAT_ACK_WRITTEN || level == LEAT_ACK_DURABLE)
		return 0;
	return detail_fail(&publisher->detail, -EINVAL, "there is no acknowledgement level %d",
			   (int)level);
}

int leat_wait(struct leat_publisher *publisher, uint32_t shard, uint64_t pos, enum leat_ack level,
	      uint64_t timeout_ns)
{
	struct deadline deadline = DEADLINE(timeout_ns);
	int r;

	if (!bus_alive(publisher->bus))
		return publish_forked(publisher);
	r = check_level(publisher, level);
	if (r == 0 && (shard >= publisher->n_shards || pos >= LAYOUT_POS_END))
		r = detail_fail(&publisher->detail, -EINVAL,
				"stream '%s' has no position %llu in a shard %u", publisher->stream,
				(unsigned long long)pos, shard);
	if (r == 0)
		r = ack_wait(publisher, &publisher->shards[shard], pos, level, &deadline);
	return publish_done(publisher, r);
}

int leat_flush(struct leat_publisher *publisher, enum leat_ack level, uint64_t timeout_ns)
{
	struct deadline deadline = DEADLINE(timeout_ns);
	uint32_t i;
	int r;

	if (!bus_alive(publisher->bus))
		return publish_forked(publisher);
	r = check_level(publisher, level);
	/* All drains work at the same time while the first is waited for. */
	for (i = 0; r == 0 && level != LEAT_ACK_RING && i < publisher->n_shards; i++) {
		if (publisher->shards[i].last_pos != 0)
			ring_kick_drain(&publisher->shards[i].rp, false);
	}
	for (i = 0; r == 0 && i < publisher->n_shards; i++) {
		struct publish_shard *shard = &publisher->shards[i];

		if (shard->last_pos != 0)
			r = ack_wait(publisher, shard, shard->last_pos, level, &deadline);
		/* Said once: what is published afterwards is another matter. */
		if (r == 0 && level != LEAT_ACK_RING && shard->lost)
			r = fail_lost(publisher, shard);
		if (r == -ESTALE)
			shard->lost = false;
	}
	return publish_done(publisher, r);
}
