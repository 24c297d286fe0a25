/* SPDX-License-Identifier: Apache-2.0 */
/* Several records as one: one reservation, one commit word, all or none. */
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

/* Writes the records behind the batch's header; each is committed on its own terms. */
static void put_records(struct publish_shard *shard, const struct leat_record *records, size_t n,
			uint64_t pos, struct encode_stamp *stamp, struct leat_result *results)
{
	struct ring *ring = shard->ring;
	uint64_t at_pos = pos + RECORD_HEADER_LEN;
	size_t i;

	for (i = 0; i < n; i++) {
		uint32_t len = (uint32_t)encode_len(&records[i]);
		uint64_t word = encode_word(&records[i], len, stamp->owner);
		struct record_header *at = ring_at(ring, at_pos);

		stamp->pos = at_pos;
		stamp->sequence = shard->sequence++;
		encode_content(at, &records[i], records[i].value, stamp, NULL);
		encode_seal(ring, at, at_pos, word);
		/* The batch's own word, stored last and releasing, covers it. */
		store_relaxed(&at->word, word);
		if (results)
			results[i] = (struct leat_result){ .pos = at_pos, .shard = shard->shard };
		at_pos += record_span(len);
	}
}

static int batch_publish(struct leat_publisher *publisher, struct publish_shard *shard,
			 const struct leat_record *records, size_t n, uint32_t span,
			 struct deadline *deadline, struct leat_result *results)
{
	struct encode_stamp stamp;
	uint64_t pos, word;
	void *at;
	int r = ring_reserve(&shard->rp, span, &pos);

	if (r != 0)
		r = follow_room(publisher, shard, span, deadline, &pos);
	if (r < 0)
		return r;
	at = ring_at(shard->ring, pos);
	stamp = (struct encode_stamp){
		.timestamp_ns = clock_ns(shard->ring->govern),
		.publisher = shard->publisher,
		.owner = shard->rp.owner,
	};
	put_records(shard, records, n, pos, &stamp, results);
	stamp.pos = pos;
	stamp.sequence = shard->sequence;
	encode_header(at, &stamp);
	word = record_word(RECORD_BATCH, span, stamp.owner, 0);
	encode_seal(shard->ring, at, pos, word);
	r = ring_commit(&shard->rp, pos, word, (uint32_t)n);
	if (r == RING_E_CLOSED)
		r = follow_fate(publisher, shard, &shard->rp, pos, word, deadline);
	if (r == 0) {
		/* The batch is written as one, so its own place stands for all. */
		publish_note(shard, pos, span, n);
		if (stamp.timestamp_ns - shard->checked_ns > PUBLISH_CHECK_NS)
			(void)follow_check(publisher, shard, stamp.timestamp_ns);
	}
	return r;
}

int leat_publish_batch(struct leat_publisher *publisher, const struct leat_record *records,
		       size_t n, struct leat_result *results)
{
	struct deadline deadline = DEADLINE(publisher->timeout_ns);
	struct publish_shard *shard;
	int64_t span;
	size_t i;
	int r;

	if (!bus_alive(publisher->bus))
		return publish_forked(publisher);
	if (n == 0)
		return 0;
	r = publish_choose(publisher, &records[0], &shard);
	while (r == 0) {
		span = batch_span(publisher, shard, records, n);
		r = span < 0 ? (int)span
			     : batch_publish(publisher, shard, records, n, (uint32_t)span,
					     &deadline, results);
		if (r != -ECANCELED)
			break;
		r = 0;
	}
	for (i = 0; r < 0 && results && i < n; i++)
		results[i] = (struct leat_result){ .error = r };
	return publish_done(publisher, r);
}
