/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The path of a record into the ring: choose the shard, reserve, write, commit. No system call, no
 * lock and no allocation, unless the ring is full, moved, or somebody sleeps.
 */
#include "clientlib/publish.h"

#include "clientlib/encode.h"
#include "clientlib/follow.h"
#include "shm/clock.h"

int publish_done(struct leat_publisher *publisher, int r)
{
	if (r >= 0)
		return r;
	/* The sentences that never change are said often: not worth the bus' lock. */
	if (publisher->failure == publisher->detail.text)
		return bus_done(publisher->bus, r, &publisher->detail);
	return r;
}

int publish_forked(struct leat_publisher *publisher)
{
	publisher->failure = publisher->detail.text;
	return bus_forked(&publisher->detail);
}

uint32_t publish_turn(struct leat_publisher *publisher, const struct leat_record *record)
{
	uint32_t shard;

	if (record->key)
		return keys_shard(&publisher->keys, record->key, record->key_len);
	shard = publisher->turn;
	publisher->turn = shard + 1 < publisher->n_shards ? shard + 1 : 0;
	return shard;
}

int publish_no_shard(struct leat_publisher *publisher, const struct leat_record *record)
{
	publisher->failure = publisher->detail.text;
	return detail_fail(&publisher->detail, -EINVAL,
			   "stream '%s' has no shard %d: it has %u, from 0 on", publisher->stream,
			   record->shard, publisher->n_shards);
}

/* Writes and commits what was reserved at pos; what ring_commit() says. */
static int publish_fill(struct publish_shard *shard, const struct leat_record *record, uint64_t pos,
			uint64_t *ret_now_ns)
{
	struct ring *ring = shard->ring;
	uint64_t word = encode_word(record, (uint32_t)encode_len(record), shard->rp.owner);
	struct encode_stamp stamp = {
		.timestamp_ns = clock_ns(ring->govern),
		.who = publish_who(shard),
	};

	encode_record(ring, ring_at(ring, pos), pos, word, record, &stamp);
	*ret_now_ns = stamp.timestamp_ns;
	return ring_commit(&shard->rp, pos, word, 1);
}

static int publish_end(struct leat_publisher *publisher, struct publish_shard *shard, uint64_t pos,
		       uint64_t len, uint64_t now_ns, struct leat_result *ret_result)
{
	publish_note(shard, pos, len, 1);
	if (ret_result)
		*ret_result = (struct leat_result){ .pos = pos, .shard = shard->shard };
	if (now_ns - shard->checked_ns > PUBLISH_CHECK_NS)
		(void)follow_check(publisher, shard, now_ns);
	return 0;
}

static int publish_fits(struct leat_publisher *publisher, struct publish_shard *shard,
			const struct leat_record *record, uint64_t len)
{
	publisher->failure = publisher->detail.text;
	/* It may fit the ring that the stream has by now. */
	while (len > shard->ring->max_len && ring_state(shard->ring, NULL) == GOVERN_SUCCEEDED) {
		int r = follow_successor(publisher, shard);

		if (r < 0)
			return r;
		if (r == 0)
			break;
	}
	if (len <= shard->ring->max_len)
		return 0;
	return encode_refuse(record, shard->ring->max_len, &publisher->detail);
}

/* What became of a record whose commit said RING_E_CLOSED, as follow_fate(). */
static int publish_fate(struct leat_publisher *publisher, struct publish_shard *shard,
			const struct leat_record *record, uint64_t pos, struct deadline *deadline)
{
	uint64_t word = encode_word(record, (uint32_t)encode_len(record), shard->rp.owner);

	return follow_fate(publisher, shard, &shard->rp, pos, word, deadline);
}

/* A record on its way: where it is, and what has been said of it. */
struct publish_going {
	uint64_t pos;
	uint64_t now_ns;
	enum {
		PUBLISH_NOTHING, /* nothing is reserved */
		PUBLISH_RESERVED,
		PUBLISH_COMMITTED, /* into a ring that was closed meanwhile */
	} state;
};

/* From wherever it has got to, as often as it takes. */
static int publish_on(struct leat_publisher *publisher, struct publish_shard *shard,
		      const struct leat_record *record, struct deadline *deadline,
		      struct publish_going *going)
{
	uint64_t len = encode_len(record);
	int r;

	for (;;) {
		if (going->state == PUBLISH_NOTHING) {
			r = publish_fits(publisher, shard, record, len);
			if (r == 0 && ring_reserve(&shard->rp, (uint32_t)len, &going->pos) != 0)
				r = follow_room(publisher, shard, (uint32_t)len, deadline,
						&going->pos);
			if (r < 0)
				return r;
			going->state = PUBLISH_RESERVED;
		}
		if (going->state == PUBLISH_RESERVED &&
		    publish_fill(shard, record, going->pos, &going->now_ns) == 0)
			return 0;
		r = publish_fate(publisher, shard, record, going->pos, deadline);
		if (r != -ECANCELED)
			return r;
		going->state = PUBLISH_NOTHING;
	}
}

/* What the quick way leaves, in full. */
static int publish_all(struct leat_publisher *publisher, struct publish_shard *shard,
		       const struct leat_record *record, struct deadline *deadline,
		       struct publish_going *going, struct leat_result *ret_result)
{
	int r = publish_on(publisher, shard, record, deadline, going);

	if (r == 0)
		return publish_end(publisher, shard, going->pos, encode_len(record), going->now_ns,
				   ret_result);
	if (ret_result)
		*ret_result = (struct leat_result){ .error = r };
	return publish_done(publisher, r);
}

int publish_to(struct leat_publisher *publisher, struct publish_shard *shard,
	       const struct leat_record *record, struct deadline *deadline,
	       struct leat_result *ret_result)
{
	struct publish_going going = { .state = PUBLISH_NOTHING };
	int r;

	if (likely(shard != NULL))
		return publish_all(publisher, shard, record, deadline, &going, ret_result);
	r = publish_no_shard(publisher, record);
	if (ret_result)
		*ret_result = (struct leat_result){ .error = r };
	return publish_done(publisher, r);
}

/*
 * The quick way of a short record into a ring with room. A leaf, because a function that calls
 * others on its way spends much of what a record costs on saving registers: whatever is unusual
 * goes on in one of these, by a jump at its end.
 */
static inline_never int publish_slowly(struct leat_publisher *publisher,
				       struct publish_shard *shard,
				       const struct leat_record *record, uint64_t timeout_ns,
				       struct leat_result *ret_result)
{
	struct deadline deadline = DEADLINE(timeout_ns);

	return publish_to(publisher, shard, record, &deadline, ret_result);
}

static inline_never int publish_reserved(struct leat_publisher *publisher,
					 struct publish_shard *shard,
					 const struct leat_record *record, uint64_t timeout_ns,
					 uint64_t pos, struct leat_result *ret_result)
{
	struct deadline deadline = DEADLINE(timeout_ns);
	struct publish_going going = { .pos = pos, .state = PUBLISH_RESERVED };

	return publish_all(publisher, shard, record, &deadline, &going, ret_result);
}

static inline_never int publish_attend(struct leat_publisher *publisher,
				       struct publish_shard *shard,
				       const struct leat_record *record, uint64_t timeout_ns,
				       uint64_t pos, struct leat_result *ret_result)
{
	struct deadline deadline = DEADLINE(timeout_ns);
	struct publish_going going = { .pos = pos,
				       .now_ns = shard->checked_ns,
				       .state = PUBLISH_COMMITTED };

	if (ring_commit_attend(&shard->rp) == 0)
		return publish_end(publisher, shard, pos, encode_len(record), shard->checked_ns,
				   ret_result);
	return publish_all(publisher, shard, record, &deadline, &going, ret_result);
}

/* How long a call waits: its own timeout, or (not timed) the publisher's. */
#define PUBLISH_TIMEOUT (timed ? timeout_ns : publisher->timeout_ns)

static inline_always int publish_quickly(struct leat_publisher *publisher,
					 struct publish_shard *shard,
					 const struct leat_record *record, bool timed,
					 uint64_t timeout_ns, struct leat_result *ret_result)
{
	uint64_t len = RECORD_HEADER_LEN + record->key_len + record->value_len, now_ns, word;
	struct ring_place place;

	if (unlikely(!encode_is_quick(&shard->quick, record) ||
		     !ring_try_reserve(&shard->rp, len, &place)))
		return publish_slowly(publisher, shard, record, PUBLISH_TIMEOUT, ret_result);
	if (unlikely(!clock_try(shard->ring->govern, &now_ns) ||
		     now_ns - shard->checked_ns > PUBLISH_CHECK_NS))
		return publish_reserved(publisher, shard, record, PUBLISH_TIMEOUT, place.pos,
					ret_result);
	word = ring_committed_word(&shard->rp, len);
	encode_quickly(&shard->quick, place.at, place.pos, word, record, now_ns,
		       publish_who(shard));
	if (unlikely(ring_commit_store(&shard->rp, place.at, word, align_up(len, RECORD_ALIGN), 1)))
		return publish_attend(publisher, shard, record, PUBLISH_TIMEOUT, place.pos,
				      ret_result);
	publish_note(shard, place.pos, len, 1);
	if (ret_result) {
		ret_result->pos = place.pos;
		ret_result->shard = shard->shard;
		ret_result->error = 0;
	}
	return 0;
}

static inline_never int publish_any(struct leat_publisher *publisher,
				    const struct leat_record *record, uint64_t timeout_ns,
				    struct leat_result *ret_result)
{
	struct publish_shard *shard;

	if (!bus_alive(publisher->bus))
		return publish_forked(publisher);
	shard = publish_choose(publisher, record);
	if (unlikely(!shard))
		return publish_slowly(publisher, shard, record, timeout_ns, ret_result);
	return publish_quickly(publisher, shard, record, true, timeout_ns, ret_result);
}

static inline_always int publish(struct leat_publisher *publisher, const struct leat_record *record,
				 bool timed, uint64_t timeout_ns, struct leat_result *ret_result)
{
	struct publish_shard *shard = publisher->only;

	/* Shard 0 is the only one there is, too. */
	if (unlikely((uint32_t)record->shard + 1 > 1 || !shard || *publisher->alive == 0))
		return publish_any(publisher, record, PUBLISH_TIMEOUT, ret_result);
	return publish_quickly(publisher, shard, record, timed, timeout_ns, ret_result);
}

int leat_publish_timed(struct leat_publisher *publisher, const struct leat_record *record,
		       uint64_t timeout_ns, struct leat_result *ret_result)
{
	return publish(publisher, record, true, timeout_ns, ret_result);
}

int leat_publish(struct leat_publisher *publisher, const struct leat_record *record,
		 struct leat_result *ret_result)
{
	return publish(publisher, record, false, 0, ret_result);
}
