/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many records in one call, each on its own terms. What goes to the same shard shares a
 * reservation and a commit, which is most of what a record costs; where that does not simply work
 * (no room, a ring that moves, a record that is refused) each record is published by itself.
 */
#include "clientlib/batch.h"
#include "clientlib/encode.h"

enum {
	MANY_RECORDS = 128,     /* looked at together */
	MANY_SPAN = 64 << 10,   /* and at most so many bytes of log, so that nobody waits long */
	MANY_DONE = UINT32_MAX, /* in the place of a shard */
};

/* Records from first on that can be published together, and the shards they go to. */
struct many {
	const struct leat_record *records;
	struct leat_result *results;
	size_t n;
	uint64_t span; /* of all, with the header of one batch */
	uint32_t shards[MANY_RECORDS];
	uint32_t turn; /* the shard of those without a key; MANY_DONE = not chosen yet */
};

/* Those without a key stay together. */
static inline struct publish_shard *many_choose(struct leat_publisher *publisher, struct many *many,
						const struct leat_record *record)
{
	if (likely(publisher->only && record->shard == LEAT_SHARD_ANY))
		return publisher->only;
	if (record->key || record->shard != LEAT_SHARD_ANY)
		return publish_choose(publisher, record);
	if (many->turn == MANY_DONE)
		many->turn = publish_turn(publisher, record);
	return &publisher->shards[many->turn];
}

/* As many as belong together; at least one, because the first is taken whatever it is. */
static size_t many_gather(struct leat_publisher *publisher, struct many *many, size_t n_left)
{
	uint64_t span = RECORD_HEADER_LEN, most;
	size_t i;

	many->turn = MANY_DONE;
	most = min_u64(MANY_SPAN, publisher->shards[0].ring->max_len);
	for (i = 0; i < n_left && i < MANY_RECORDS; i++) {
		const struct leat_record *record = &many->records[i];
		struct publish_shard *shard = many_choose(publisher, many, record);
		uint64_t len = encode_len(record);

		if (unlikely(!shard || len > most))
			break;
		len = align_up(len, RECORD_ALIGN);
		if (span + len > most)
			break;
		span += len;
		many->shards[i] = shard->shard;
	}
	many->n = i;
	many->span = span;
	return i;
}

/* The span of those of one shard, and how many they are. */
static uint64_t many_span(const struct leat_publisher *publisher, const struct many *many,
			  uint32_t shard, uint32_t *ret_n_records)
{
	uint64_t span = RECORD_HEADER_LEN;
	uint32_t n_records = 0;
	size_t i;

	if (publisher->only) {
		*ret_n_records = (uint32_t)many->n;
		return many->span;
	}
	for (i = 0; i < many->n; i++) {
		if (many->shards[i] != shard)
			continue;
		span += record_span((uint32_t)encode_len(&many->records[i]));
		n_records++;
	}
	*ret_n_records = n_records;
	return span;
}

/* Those of one shard. Returns true when they are published; otherwise nothing has happened. */
static bool many_together(struct leat_publisher *publisher, struct publish_shard *shard,
			  struct many *many, struct deadline *deadline, int *ret_error)
{
	struct batch batch = {
		.records = many->records,
		.results = many->results,
		.shards = publisher->only ? NULL : many->shards,
		.n = many->n,
	};
	uint32_t n_records;
	uint64_t span = many_span(publisher, many, shard->shard, &n_records), pos;

	if (n_records == 1 || span > shard->ring->max_len ||
	    ring_reserve(&shard->rp, (uint32_t)span, &pos) != 0)
		return false;
	*ret_error =
		batch_commit(publisher, shard, &batch, pos, (uint32_t)span, n_records, deadline);
	return *ret_error != -ECANCELED;
}

/* Publishes those of the shard of record `first`. Returns how many were published. */
static int many_publish(struct leat_publisher *publisher, struct many *many, size_t first,
			struct deadline *deadline)
{
	uint32_t shard = many->shards[first];
	int n_published = 0, error = 0;
	bool together = many_together(publisher, &publisher->shards[shard], many, deadline, &error);
	size_t i;

	if (likely(together && error == 0 && publisher->only)) {
		many->shards[first] = MANY_DONE;
		return (int)many->n;
	}

	for (i = first; i < many->n; i++) {
		if (many->shards[i] != shard)
			continue;
		many->shards[i] = MANY_DONE;
		if (!together)
			error = publish_to(publisher, &publisher->shards[shard], &many->records[i],
					   deadline, &many->results[i]);
		else if (error < 0)
			many->results[i] = (struct leat_result){ .error = error };
		n_published += error == 0;
	}
	return n_published;
}

int leat_publish_many(struct leat_publisher *publisher, const struct leat_record *records, size_t n,
		      struct leat_result *results)
{
	struct deadline deadline = DEADLINE(publisher->timeout_ns);
	struct many many = { .records = records, .results = results };
	int n_published = 0;
	size_t i, end;

	if (unlikely(!bus_alive(publisher->bus)))
		return publish_forked(publisher);
	if (n > INT32_MAX) {
		publisher->failure = "more than 2^31 - 1 records in one call";
		return -EINVAL;
	}
	for (; n > 0; n -= end, many.records += end, many.results += end) {
		end = many_gather(publisher, &many, n);
		for (i = 0; i < end; i++) {
			if (many.shards[i] != MANY_DONE)
				n_published += many_publish(publisher, &many, i, &deadline);
			if (publisher->only)
				break;
		}
		if (end == 0) {
			/* Too long for company, or wrong: it says so itself. */
			end = 1;
			n_published += publish_to(publisher,
						  many_choose(publisher, &many, many.records),
						  many.records, &deadline, many.results) == 0;
		}
	}
	return n_published;
}
