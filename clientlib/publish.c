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

int publish_choose(struct leat_publisher *publisher, const struct leat_record *record,
		   struct publish_shard **ret_shard)
{
	uint32_t shard;

	if (record->shard >= 0) {
		shard = (uint32_t)record->shard;
	} else if (unlikely(record->shard != LEAT_SHARD_ANY)) {
		shard = UINT32_MAX;
	} else if (record->key) {
		shard = keys_shard(&publisher->keys, record->key, record->key_len);
	} else {
		shard = publisher->turn;
		publisher->turn = shard + 1 < publisher->n_shards ? shard + 1 : 0;
	}
	if (unlikely(shard >= publisher->n_shards)) {
		publisher->failure = publisher->detail.text;
		return detail_fail(&publisher->detail, -EINVAL,
				   "stream '%s' has no shard %d: it has %u, from 0 on",
				   publisher->stream, record->shard, publisher->n_shards);
	}
	*ret_shard = &publisher->shards[shard];
	return 0;
}

/* Writes and commits what was reserved at pos; what ring_commit() says. */
static int publish_fill(struct publish_shard *shard, const struct leat_record *record, uint32_t len,
			uint64_t pos, uint64_t *ret_word, uint64_t *ret_now_ns)
{
	struct ring *ring = shard->ring;
	void *at = ring_at(ring, pos);
	struct encode_stamp stamp = {
		.pos = pos,
		.timestamp_ns = clock_ns(ring->govern),
		.publisher = shard->publisher,
		.sequence = shard->sequence++,
		.owner = shard->rp.owner,
	};
	uint64_t word = encode_word(record, len, stamp.owner);

	encode_content(at, record, record->value, &stamp, NULL);
	encode_seal(ring, at, pos, word);
	*ret_word = word;
	*ret_now_ns = stamp.timestamp_ns;
	return ring_commit(&shard->rp, pos, word, 1);
}

static __attribute__((noinline)) int publish_refuse(struct leat_publisher *publisher,
						    struct publish_shard *shard,
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

static int publish_one(struct leat_publisher *publisher, const struct leat_record *record,
		       struct deadline *deadline, struct leat_result *ret_result)
{
	struct publish_shard *shard;
	uint64_t len, pos, word, now_ns;
	int r = publish_choose(publisher, record, &shard);

	if (unlikely(r < 0))
		return r;
	len = encode_len(record);
	if (unlikely(len > shard->ring->max_len)) {
		r = publish_refuse(publisher, shard, record, len);
		if (r < 0)
			return r;
	}
	do {
		r = ring_reserve(&shard->rp, (uint32_t)len, &pos);
		if (unlikely(r != 0)) {
			r = follow_room(publisher, shard, (uint32_t)len, deadline, &pos);
			if (r < 0)
				return r;
		}
		r = publish_fill(shard, record, (uint32_t)len, pos, &word, &now_ns);
		if (unlikely(r == RING_E_CLOSED))
			r = follow_fate(publisher, shard, &shard->rp, pos, word, deadline);
	} while (unlikely(r == -ECANCELED));
	if (unlikely(r < 0))
		return r;
	publish_note(shard, pos, len, 1);
	if (ret_result)
		*ret_result = (struct leat_result){ .pos = pos, .shard = shard->shard };
	if (unlikely(now_ns - shard->checked_ns > PUBLISH_CHECK_NS))
		(void)follow_check(publisher, shard, now_ns);
	return 0;
}

int leat_publish_timed(struct leat_publisher *publisher, const struct leat_record *record,
		       uint64_t timeout_ns, struct leat_result *ret_result)
{
	struct deadline deadline = DEADLINE(timeout_ns);
	int r;

	if (unlikely(!bus_alive(publisher->bus)))
		return publish_forked(publisher);
	r = publish_one(publisher, record, &deadline, ret_result);
	if (likely(r == 0))
		return 0;
	if (ret_result)
		*ret_result = (struct leat_result){ .error = r };
	return publish_done(publisher, r);
}

int leat_publish(struct leat_publisher *publisher, const struct leat_record *record,
		 struct leat_result *ret_result)
{
	return leat_publish_timed(publisher, record, publisher->timeout_ns, ret_result);
}

int leat_publish_many(struct leat_publisher *publisher, const struct leat_record *records, size_t n,
		      struct leat_result *results)
{
	struct deadline deadline = DEADLINE(publisher->timeout_ns);
	int n_published = 0, r = 0;
	size_t i;

	if (unlikely(!bus_alive(publisher->bus)))
		return publish_forked(publisher);
	if (n > INT32_MAX) {
		publisher->failure = publisher->detail.text;
		return publish_done(publisher,
				    detail_fail(&publisher->detail, -EINVAL,
						"%zu records in one call are too many", n));
	}
	for (i = 0; i < n; i++) {
		r = publish_one(publisher, &records[i], &deadline, &results[i]);
		if (likely(r == 0)) {
			n_published++;
			continue;
		}
		results[i] = (struct leat_result){ .error = r };
		(void)publish_done(publisher, r);
	}
	return n_published;
}
