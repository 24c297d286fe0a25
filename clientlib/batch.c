/* SPDX-License-Identifier: Apache-2.0 */
/* Several records as one: one reservation, one commit word, all or none. */
#include "clientlib/batch.h"

#include "clientlib/encode.h"
#include "clientlib/follow.h"
#include "shm/clock.h"

/* Span of the whole batch with its header, or an errno. */
static int64_t batch_span(struct leat_publisher *publisher, const struct publish_shard *shard,
			  const struct leat_record *records, size_t n)
{
	uint64_t span = RECORD_HEADER_LEN, most = shard->ring->max_len;
	size_t i;

	publisher->failure = publisher->detail.text;
	for (i = 0; i < n; i++) {
		uint64_t len = encode_len(&records[i]);

		if (len > most)
			return encode_refuse(&records[i], most, &publisher->detail);
		span += record_span((uint32_t)len);
		if (span > most)
			return detail_fail(&publisher->detail, -EMSGSIZE,
					   "the batch is longer than %llu bytes, the limit of this "
					   "stream, at record %zu of %zu",
					   (unsigned long long)most, i + 1, n);
	}
	return (int64_t)span;
}

/* A record of any kind; returns its length. */
static inline_never uint64_t batch_put_any(struct publish_shard *shard,
					   const struct leat_record *record, char *at, uint64_t pos,
					   uint64_t timestamp_ns, uint64_t who)
{
	struct encode_stamp stamp = { .timestamp_ns = timestamp_ns, .who = who };
	uint32_t len = (uint32_t)encode_len(record);
	uint64_t word = encode_word(record, len, shard->rp.owner);

	encode_record(shard->ring, at, pos, word, record, &stamp);
	/* As in batch_put(). */
	store_relaxed((_Atomic uint64_t *)at, word);
	return len;
}

/* Writes the records behind the batch's header; each is committed on its own terms. */
static void batch_put(struct publish_shard *shard, const struct batch *batch, uint64_t pos,
		      uint64_t timestamp_ns)
{
	const struct leat_record *record = batch->records, *end = record + batch->n;
	const struct encode_quick quick = shard->quick;
	uint64_t word_begin = ring_committed_word(&shard->rp, 0), len, word;
	uint64_t who = shard->who;
	struct leat_result *result = batch->results;
	char *at = ring_at(shard->ring, pos);
	uint32_t number = shard->shard;

	for (; record != end; record++) {
		if (batch->shards && batch->shards[record - batch->records] != number) {
			result++;
			continue;
		}
		if (likely(encode_is_quick(&quick, record))) {
			len = RECORD_HEADER_LEN + record->key_len + record->value_len;
			word = word_begin + len;
			encode_quickly(&quick, at, pos, word, record, timestamp_ns, who);
			/* The batch's own word, stored last and releasing, covers it. */
			store_relaxed((_Atomic uint64_t *)at, word);
		} else {
			len = batch_put_any(shard, record, at, pos, timestamp_ns, who);
		}
		if (result) {
			result->pos = pos;
			result->shard = number;
			result->error = 0;
			result++;
		}
		len = align_up(len, RECORD_ALIGN);
		pos += len;
		at += len;
		who += record_who(0, 1);
	}
	shard->who = who;
}

int batch_commit(struct leat_publisher *publisher, struct publish_shard *shard,
		 const struct batch *batch, uint64_t pos, uint32_t span, uint32_t n_records,
		 struct deadline *deadline)
{
	void *at = ring_at(shard->ring, pos);
	uint64_t word = record_word(RECORD_BATCH, span, shard->rp.owner, 0);
	struct encode_stamp stamp = {
		.timestamp_ns = clock_ns(shard->ring->govern),
	};
	int r;

	batch_put(shard, batch, pos + RECORD_HEADER_LEN, stamp.timestamp_ns);
	stamp.who = shard->who;
	encode_header(at, &stamp, 0);
	encode_seal(shard->ring, at, pos, word);
	r = ring_commit(&shard->rp, pos, word, n_records);
	if (unlikely(r == RING_E_CLOSED))
		r = follow_fate(publisher, shard, &shard->rp, pos, word, deadline);
	if (r == 0) {
		/* The batch is written as one, so its own place stands for all. */
		publish_note(shard, pos, span, n_records);
		if (stamp.timestamp_ns - shard->checked_ns > PUBLISH_CHECK_NS)
			(void)follow_check(publisher, shard, stamp.timestamp_ns);
	}
	return r;
}

/* One try; -ECANCELED: the ring was closed under it, and it does not count. */
static int batch_try(struct leat_publisher *publisher, struct publish_shard *shard,
		     const struct batch *batch, struct deadline *deadline)
{
	int64_t span = batch_span(publisher, shard, batch->records, batch->n);
	uint64_t pos;
	int r;

	if (span < 0)
		return (int)span;
	r = ring_reserve(&shard->rp, (uint32_t)span, &pos);
	if (r != 0)
		r = follow_room(publisher, shard, (uint32_t)span, deadline, &pos);
	if (r < 0)
		return r;
	return batch_commit(publisher, shard, batch, pos, (uint32_t)span, (uint32_t)batch->n,
			    deadline);
}

int leat_publish_batch(struct leat_publisher *publisher, const struct leat_record *records,
		       size_t n, struct leat_result *results)
{
	struct deadline deadline = DEADLINE(publisher->timeout_ns);
	struct batch batch = { .records = records, .results = results, .n = n };
	struct publish_shard *shard;
	size_t i;
	int r;

	if (!bus_alive(publisher->bus))
		return publish_forked(publisher);
	if (n == 0)
		return 0;
	shard = publish_choose(publisher, &records[0]);
	if (!shard)
		r = publish_no_shard(publisher, &records[0]);
	else
		do
			r = batch_try(publisher, shard, &batch, &deadline);
		while (r == -ECANCELED);
	for (i = 0; r < 0 && results && i < n; i++)
		results[i] = (struct leat_result){ .error = r };
	return publish_done(publisher, r);
}
