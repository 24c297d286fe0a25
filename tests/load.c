/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/harness.h"

enum {
	STEP = 32,     /* positions are multiples of it */
	OVERHEAD = 40, /* header and event time */
	KEY_MAX = 200,
	SMALL = 600,
};

void load_init(struct load *load)
{
	/* The event time is counted with what a record may have. */
	load->max_len = leat_publisher_max_len(load->publisher) - 8;
	load->values = malloc(load->max_len * LOAD_MANY);
	must(load->values, "no memory for values");
	memset(load->next_pos, 0, sizeof(load->next_pos));
	/* What an earlier publisher was told is not flushed by this one. */
	for (int i = 0; i < ACCOUNT_LEVELS; i++)
		load->flushed[i] = account_n(load->account, load->writer);
}

void load_deinit(struct load *load)
{
	free(load->values);
	load->values = NULL;
}

static uint64_t pick(struct load *load, uint64_t n)
{
	return harness_random(&load->seed) % n;
}

/* So long that the record ends where the ring does, or one step before or after it. */
static size_t to_the_edge(struct load *load, size_t key_len, uint32_t shard)
{
	uint64_t pos = load->next_pos[shard % ACCOUNT_SHARDS_MAX];
	uint64_t rest = load->ring_len - (pos & (load->ring_len - 1));
	uint64_t len = rest + STEP * pick(load, 3) - STEP - pick(load, STEP);

	if (len < OVERHEAD + key_len || len - OVERHEAD > load->max_len)
		return key_len + pick(load, SMALL);
	return len - OVERHEAD;
}

/* Of key and value together. */
static size_t pick_len(struct load *load, size_t key_len, uint32_t shard)
{
	switch (pick(load, 24)) {
	case 0:
	case 1:
		return key_len;
	case 2:
		return key_len + 1;
	case 3:
		return load->max_len;
	case 4:
		return load->max_len - pick(load, 2 * STEP);
	case 5:
	case 6:
	case 7:
	case 8:
		return to_the_edge(load, key_len, shard);
	default:
		return key_len + pick(load, SMALL);
	}
}

static void draft(struct load *load, struct leat_record *record, char *buf, int32_t shard)
{
	size_t key_len = pick(load, 3) == 0 ? pick(load, KEY_MAX) : 0;
	size_t len = pick_len(load, key_len, shard < 0 ? 0 : (uint32_t)shard);

	account_fill(buf, len, harness_random(&load->seed));
	*record = (struct leat_record){
		.key = key_len ? buf : NULL,
		.key_len = key_len,
		.value = buf + key_len,
		.value_len = len - key_len,
		.shard = shard,
	};
}

/* The result of one record: into the account. */
static int note(struct load *load, uint64_t number, int r, const struct leat_result *result,
		size_t len)
{
	if (r == 0) {
		account_told(load->account, load->writer, number, result, LEAT_ACK_RING);
		load->next_pos[result->shard % ACCOUNT_SHARDS_MAX] =
			result->pos + (len + OVERHEAD + STEP - 1) / STEP * STEP;
	} else if (r != -ESTALE) {
		account_refused(load->account, load->writer, number, 1);
	}
	return r;
}

static int publish(struct load *load, struct leat_record *record, struct leat_result *ret_result)
{
	uint64_t number = account_try(load->account, load->writer, record, 1);
	int r = leat_publish_timed(load->publisher, record, load->timeout_ns, ret_result);

	return note(load, number, r, ret_result, record->key_len + record->value_len);
}

int load_publish(struct load *load, size_t len, int32_t shard, struct leat_result *ret_result)
{
	struct leat_record record = { .value = load->values, .value_len = len, .shard = shard };

	account_fill(load->values, len, harness_random(&load->seed));
	return publish(load, &record, ret_result);
}

int load_flush(struct load *load, enum leat_ack level)
{
	int r = leat_flush(load->publisher, level, load->timeout_ns);

	if (r == 0)
		account_flushed(load->account, load->writer, load->flushed[level], level);
	if (r == 0)
		load->flushed[level] = account_n(load->account, load->writer);
	return r;
}

/* ---- the ways to publish ---- */

static int one(struct load *load)
{
	struct leat_record record;
	struct leat_result result;

	draft(load, &record, load->values, LEAT_SHARD_ANY);
	return publish(load, &record, &result);
}

static int one_that_waits(struct load *load)
{
	enum leat_ack level = pick(load, 2) ? LEAT_ACK_WRITTEN : LEAT_ACK_DURABLE;
	uint64_t number = account_n(load->account, load->writer);
	struct leat_record record;
	struct leat_result result;
	int r;

	draft(load, &record, load->values, LEAT_SHARD_ANY);
	r = publish(load, &record, &result);
	if (r == 0)
		r = leat_wait(load->publisher, result.shard, result.pos, level, load->timeout_ns);
	if (r == 0)
		account_told(load->account, load->writer, number, &result, level);
	return r;
}

/* Fewer and shorter, so that they may go together. */
static size_t draft_some(struct load *load, struct leat_record records[LOAD_MANY], int32_t shard)
{
	size_t n = 1 + pick(load, LOAD_MANY);

	for (size_t i = 0; i < n; i++) {
		char *buf = load->values + i * load->max_len;

		draft(load, &records[i], buf, shard);
		if (records[i].value_len > SMALL)
			records[i].value_len = SMALL;
	}
	return n;
}

static int batch(struct load *load)
{
	int32_t shard = (int32_t)pick(load, leat_publisher_n_shards(load->publisher));
	struct leat_record records[LOAD_MANY];
	struct leat_result results[LOAD_MANY];
	size_t n = draft_some(load, records, shard);
	uint64_t number = account_try(load->account, load->writer, records, n);
	int r = leat_publish_batch(load->publisher, records, n, results);

	for (size_t i = 0; i < n; i++)
		note(load, number + i, r, &results[i], records[i].key_len + records[i].value_len);
	return r;
}

static int many(struct load *load)
{
	struct leat_record records[LOAD_MANY];
	struct leat_result results[LOAD_MANY];
	size_t n = draft_some(load, records, LEAT_SHARD_ANY);
	uint64_t number = account_n(load->account, load->writer);
	int failed = 0;

	for (size_t i = 0; i < n; i++)
		account_try(load->account, load->writer, &records[i], 1);
	leat_publish_many(load->publisher, records, n, results);
	for (size_t i = 0; i < n; i++) {
		size_t len = records[i].key_len + records[i].value_len;
		int r = note(load, number + i, results[i].error, &results[i], len);

		failed = r ? r : failed;
	}
	return failed;
}

static int in_place(struct load *load)
{
	struct leat_record record;
	struct leat_result result;
	struct leat_claim claim;
	uint64_t number;
	int r;

	draft(load, &record, load->values, LEAT_SHARD_ANY);
	number = account_try(load->account, load->writer, &record, 1);
	r = leat_reserve(load->publisher, &record, &claim);
	if (r == 0 && pick(load, 4) == 0) {
		leat_discard(load->publisher, &claim);
		account_refused(load->account, load->writer, number, 1);
		return 0;
	}
	if (r == 0) {
		if (record.value_len)
			memcpy(claim.value, record.value, record.value_len);
		r = leat_commit(load->publisher, &claim, &result);
	}
	return note(load, number, r, &result, record.key_len + record.value_len);
}

static int flush(struct load *load)
{
	return load_flush(load, pick(load, 2) ? LEAT_ACK_WRITTEN : LEAT_ACK_DURABLE);
}

int load_step(struct load *load)
{
	static int (*const ways[])(struct load * load) = { one,   one,      one,  one,
							   batch, in_place, many, one };
	uint64_t n = pick(load, 64);

	if (n == 0)
		return flush(load);
	if (n == 1)
		return one_that_waits(load);
	return ways[pick(load, sizeof(ways) / sizeof(ways[0]))](load);
}
