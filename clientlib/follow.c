/* SPDX-License-Identifier: Apache-2.0 */
/* What a publisher does when the ring does not simply take a record. */
#include "clientlib/follow.h"

#include "clientlib/encode.h"
#include "shm/clock.h"
#include "shm/wait.h"

enum {
	FOLLOW_SPINS = 200, /* looks at a full ring before the first sleep; each some pauses */
	FOLLOW_PAUSES = 20,
};

#define FOLLOW_SLICE_MIN_NS (10 * NS_PER_MS) /* a sleep, before the connection is looked at */
#define FOLLOW_SLICE_MAX_NS NS_PER_S
#define FOLLOW_MOVING_NS NS_PER_MS          /* a sleep while a successor is being made */
#define FOLLOW_REQUEST_NS (250 * NS_PER_MS) /* one request, also of a call that does not wait */

int follow_state(struct leat_publisher *publisher, const struct publish_shard *shard)
{
	int error;

	switch (ring_state(shard->ring, &error)) {
	case GOVERN_REMOVED:
		return detail_fail(&publisher->detail, -ENOENT, "stream '%s' was deleted",
				   publisher->stream);
	case GOVERN_FAILED:
		if (error >= 0 || error < -4095)
			error = -EIO;
		return detail_fail(
			&publisher->detail, error,
			"stream '%s' shard %u is stopped by a disk error (%s): `leat stat "
			"%s` and the daemon's log say more",
			publisher->stream, shard->shard, strerror(-error), publisher->stream);
	default:
		return 0;
	}
}

/* The ring may be gone with its daemon, and what was not written with it: `ring` is the daemon's,
 * which begins above all positions that it can have had. */
static void note_loss(struct publish_shard *shard, const struct ring *ring)
{
	uint64_t written = ring_written(shard->ring);

	if (ring->govern->origin <= shard->ring->generation)
		return;
	shard->lost_from = shard->lost_to ? min_u64(shard->lost_from, written) : written;
	shard->lost_to = ring->first_pos;
	shard->lost = shard->lost || shard->last_pos >= max_u64(written, 1);
}

/* From now on records go to reply's ring. */
static int take_ring(struct leat_publisher *publisher, struct publish_shard *shard,
		     struct attach_reply *reply)
{
	struct ring_publisher rp;
	int r = ring_publisher_init(&rp, reply->ring, (uint16_t)reply->slot, reply->kick_fd);

	if (r < 0) {
		ring_close(reply->ring);
		close_fd(reply->kick_fd);
		return detail_fail(&publisher->detail, -EBADMSG,
				   "the daemon gave a publisher slot that does not exist");
	}
	note_loss(shard, reply->ring);
	if (shard->claim_open && !shard->claimed_ring) {
		shard->claimed_ring = shard->ring;
		shard->claimed_rp = shard->rp;
		shard->claimed_rp.kick_fd = -1;
	} else {
		ring_close(shard->ring);
	}
	close_fd(shard->kick_fd);
	rp.n_kicks = shard->rp.n_kicks;
	rp.n_wakes = shard->rp.n_wakes;
	shard->rp = rp;
	shard->ring = reply->ring;
	encode_quick_init(&shard->quick, reply->ring);
	shard->kick_fd = reply->kick_fd;
	shard->kicked_limit = 0;
	publisher->successors++;
	return 0;
}

static struct attach_request request_of(const struct leat_publisher *publisher,
					const struct publish_shard *shard)
{
	return (struct attach_request){
		.stream = publisher->stream,
		.shard = shard->shard,
		.access = REGION_PUBLISHER,
		.reattach = true,
		.once = true,
		.slot = shard->rp.owner,
		.generation = shard->ring->generation,
		.uuid = shard->ring->stream_uuid,
	};
}

int follow_successor(struct leat_publisher *publisher, struct publish_shard *shard)
{
	struct control *control = &publisher->bus->control;
	struct attach_request request = request_of(publisher, shard);
	struct deadline deadline = DEADLINE(FOLLOW_REQUEST_NS);
	struct attach_reply reply;
	uint32_t epoch = control_epoch(control);
	int r;

	request.at_least = shard->ring->generation + 1;
	r = attach(control, &request, &deadline, &reply, &publisher->detail);
	if (r == -EAGAIN || r == -ENOTCONN || r == -ETIMEDOUT)
		return 0;
	if (r < 0)
		return r;
	/* Another slot: the daemon does not know the old one as ours. Its number may stand for one
	 * of another publisher of this process by now, so it is not given back. */
	shard->epoch = epoch;
	publish_sign(shard, reply.publisher);
	r = take_ring(publisher, shard, &reply);
	return r < 0 ? r : 1;
}

int follow_check(struct leat_publisher *publisher, struct publish_shard *shard, uint64_t now_ns)
{
	struct control *control = &publisher->bus->control;
	struct attach_request request = request_of(publisher, shard);
	struct deadline deadline = DEADLINE(FOLLOW_REQUEST_NS);
	uint32_t epoch = control_epoch(control);
	struct attach_reply reply;
	int r;

	shard->checked_ns = now_ns;
	if (epoch == shard->epoch || ring_state(shard->ring, NULL) == GOVERN_SUCCEEDED)
		return 0;
	r = attach(control, &request, &deadline, &reply, &publisher->detail);
	if (r < 0)
		return r == -ENOENT || r == -EACCES ? r : 0;
	shard->epoch = epoch;
	/* The rings of the daemon that went away may be gone with it. */
	if (reply.ring) {
		publish_sign(shard, reply.publisher);
		return take_ring(publisher, shard, &reply);
	}
	close_fd(shard->kick_fd);
	shard->kick_fd = reply.kick_fd;
	shard->rp.kick_fd = reply.kick_fd;
	ring_kick_drain(&shard->rp, true);
	return 0;
}

/* ---- a full ring ---- */

/* Once for each place where the ring is full; then only if the drain sleeps. */
static void kick(struct publish_shard *shard)
{
	bool always = shard->kicked_limit != shard->rp.limit;

	shard->kicked_limit = shard->rp.limit;
	ring_kick_drain(&shard->rp, always);
}

/* What ring_reserve() said: 1 look again at once, 0 wait, or an errno that is final. */
static int judge(struct leat_publisher *publisher, struct publish_shard *shard, int reserved)
{
	int r = follow_state(publisher, shard);

	if (r < 0)
		return r;
	if (reserved == RING_E_CLOSED && ring_state(shard->ring, NULL) == GOVERN_SUCCEEDED)
		return follow_successor(publisher, shard);
	return 0;
}

static int give_up(struct leat_publisher *publisher, struct publish_shard *shard, int reserved,
		   const struct deadline *deadline)
{
	int r = deadline_error(deadline);

	if (reserved == -EBADMSG)
		return detail_fail(&publisher->detail, -EIO,
				   "a publisher has damaged the shared memory of stream '%s' shard "
				   "%u: the daemon repairs it",
				   publisher->stream, shard->shard);
	/* Said often, so without a sentence of its own. */
	publisher->failure =
		r == -EAGAIN ? "the shard's ring is full and the call was not to wait"
			     : "the shard's ring is still full: the daemon is away or its disk "
			       "is slower than the publishers";
	return r;
}

/* One sleep until the limit moves, `slice_ns` at most. */
static void sleep_for_room(struct publish_shard *shard, uint32_t bell, uint64_t left_ns,
			   uint64_t slice_ns)
{
	if (ring_state(shard->ring, NULL) == GOVERN_SUCCEEDED)
		slice_ns = FOLLOW_MOVING_NS;
	(void)wait_bell(&shard->ring->govern->limit_bell, bell, min_u64(left_ns, slice_ns));
}

int follow_room(struct leat_publisher *publisher, struct publish_shard *shard, uint32_t len,
		struct deadline *deadline, uint64_t *ret_pos)
{
	uint64_t slice_ns = FOLLOW_SLICE_MIN_NS, left;
	unsigned int spins = 0, i;
	int reserved, r;

	publisher->failure = publisher->detail.text;
	for (;; spins++) {
		uint32_t bell = ring_bell(&shard->ring->govern->limit_bell);

		if (len > shard->ring->max_len)
			return detail_fail(
				&publisher->detail, -EMSGSIZE,
				"a record of %u bytes does not fit the stream's new ring: "
				"the limit is %u",
				len, shard->ring->max_len);
		reserved = ring_reserve(&shard->rp, len, ret_pos);
		if (reserved == 0)
			return 0;
		r = judge(publisher, shard, reserved);
		if (r < 0)
			return r;
		if (r > 0)
			continue;
		if (spins == 0) {
			publisher->full_waits++;
			kick(shard);
		}
		left = deadline_left(deadline);
		if (left == 0)
			return give_up(publisher, shard, reserved, deadline);
		if (spins < FOLLOW_SPINS) {
			for (i = 0; i < FOLLOW_PAUSES; i++)
				cpu_relax();
			continue;
		}
		sleep_for_room(shard, bell, left, slice_ns);
		slice_ns = min_u64(2 * slice_ns, FOLLOW_SLICE_MAX_NS);
		r = follow_check(publisher, shard, clock_ns(shard->ring->govern));
		if (r < 0)
			return r;
		kick(shard);
	}
}

/* ---- a ring that was closed under a commit ---- */

/* What the successor says of a word that was committed at pos. */
static int look_up(struct leat_publisher *publisher, const struct publish_shard *shard,
		   uint64_t pos, uint64_t word)
{
	uint64_t found = ring_word_at(shard->ring, pos);
	enum record_kind kind = record_word_kind(found);

	if (found == word)
		return 0;
	if (kind == RECORD_TOMBSTONE || kind == RECORD_COMMITTED || kind == RECORD_BATCH ||
	    kind == RECORD_PADDING || kind == RECORD_DAMAGED)
		return -ECANCELED;
	return detail_fail(&publisher->detail, -ESTALE,
			   "stream '%s' shard %u moved to a new ring that does not hold position "
			   "%llu any more: whether the record counts is not known",
			   publisher->stream, shard->shard, (unsigned long long)pos);
}

int follow_fate(struct leat_publisher *publisher, struct publish_shard *shard,
		const struct ring_publisher *rp, uint64_t pos, uint64_t word,
		struct deadline *deadline)
{
	const struct ring *old = rp->ring;
	uint32_t generation = old->generation;
	/* The record may count, so the answer is worth a wait even if the call was not to wait. */
	uint64_t patience = max_u64(publisher->bus->control.timeout_ns, deadline->timeout_ns);
	struct deadline until = DEADLINE(patience);

	publisher->failure = publisher->detail.text;
	switch (ring_state(old, NULL)) {
	case GOVERN_SUCCEEDED:
		break;
	case GOVERN_REMOVED:
		return detail_fail(&publisher->detail, -ENOENT, "stream '%s' was deleted",
				   publisher->stream);
	default:
		return 0; /* it is in the ring, and the ring still counts */
	}
	if (pos < ring_close_pos(old))
		return 0;
	while (shard->ring->generation <= generation) {
		struct timespec pause = { .tv_nsec = (long)FOLLOW_MOVING_NS };
		int r = follow_successor(publisher, shard);

		if (r == -ENOENT)
			return r;
		if (r < 0 || (r == 0 && deadline_over(&until)))
			return detail_fail(
				&publisher->detail, -ESTALE,
				"stream '%s' shard %u moved to a new ring that is not to "
				"be had: whether position %llu counts is not known",
				publisher->stream, shard->shard, (unsigned long long)pos);
		if (r == 0)
			nanosleep(&pause, NULL);
	}
	return look_up(publisher, shard, pos, word);
}
