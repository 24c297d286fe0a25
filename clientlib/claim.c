/* SPDX-License-Identifier: Apache-2.0 */
/* Records that the user writes in place: reserve, fill, commit or discard. */
#include "clientlib/encode.h"
#include "clientlib/follow.h"
#include "shm/clock.h"

/* The first opaque word of a claim that is open. */
#define CLAIM_MARK UINT64_C(0x6d69616c63)

/* The open claim's shard, or NULL when the claim is not one of this publisher's. */
static struct publish_shard *shard_of(struct leat_publisher *publisher,
				      const struct leat_claim *claim)
{
	struct publish_shard *shard;

	if (claim->opaque[0] != CLAIM_MARK || claim->shard >= publisher->n_shards)
		return NULL;
	shard = &publisher->shards[claim->shard];
	return shard->claim_open && shard->claim_pos == claim->pos ? shard : NULL;
}

static int refuse(struct leat_publisher *publisher, int error, const char *sentence)
{
	publisher->failure = sentence;
	return error;
}

int leat_reserve(struct leat_publisher *publisher, const struct leat_record *record,
		 struct leat_claim *ret_claim)
{
	struct deadline deadline = DEADLINE(publisher->timeout_ns);
	struct encode_stamp stamp;
	struct publish_shard *shard;
	uint64_t len, pos;
	void *value;
	int r = 0;

	if (!bus_alive(publisher->bus))
		return publish_forked(publisher);
	shard = publish_choose(publisher, record);
	if (!shard)
		return publish_done(publisher, publish_no_shard(publisher, record));
	if (shard->claim_open)
		return refuse(publisher, -EINVAL,
			      "a claim is open on this shard: commit or discard "
			      "it first");
	len = encode_len(record);
	publisher->failure = publisher->detail.text;
	if (len > shard->ring->max_len)
		r = encode_refuse(record, shard->ring->max_len, &publisher->detail);
	else if (ring_reserve(&shard->rp, (uint32_t)len, &pos) != 0)
		r = follow_room(publisher, shard, (uint32_t)len, &deadline, &pos);
	if (r < 0)
		return publish_done(publisher, r);
	stamp = (struct encode_stamp){
		.timestamp_ns = clock_ns(shard->ring->govern),
		.who = publish_who(shard),
	};
	value = encode_front(ring_at(shard->ring, pos), record, &stamp);
	shard->claim_open = true;
	shard->claim_pos = pos;
	shard->claim_word = encode_word(record, (uint32_t)len, shard->rp.owner);
	*ret_claim = (struct leat_claim){
		.value = value,
		.value_len = record->value_len,
		.pos = pos,
		.shard = shard->shard,
		.opaque = { CLAIM_MARK },
	};
	return 0;
}

/* Commits `word` where the claim is, also in a ring that was followed away from. */
static int commit_word(struct leat_publisher *publisher, struct publish_shard *shard, uint64_t word,
		       uint32_t n_records)
{
	struct deadline deadline = DEADLINE(publisher->timeout_ns);
	struct ring_publisher *rp = shard->claimed_ring ? &shard->claimed_rp : &shard->rp;
	uint64_t pos = shard->claim_pos;
	int r;

	encode_seal(rp->ring, ring_at(rp->ring, pos), pos, word);
	r = ring_commit(rp, pos, word, n_records);
	/* One that was followed away from and has no successor died with its daemon. */
	if (r == 0 && n_records > 0 && shard->claimed_ring &&
	    ring_state(shard->claimed_ring, NULL) != GOVERN_SUCCEEDED)
		r = detail_fail(&publisher->detail, -ESTALE,
				"the daemon came back without the ring of stream '%s' shard %u "
				"that the claim is in: the record was not published",
				publisher->stream, shard->shard);
	/* The claim stays open meanwhile, so that following keeps its ring. */
	if (r == RING_E_CLOSED && n_records > 0)
		r = follow_fate(publisher, shard, rp, pos, word, &deadline);
	shard->claim_open = false;
	shard->claimed_ring = ring_close(shard->claimed_ring);
	return r;
}

void claim_drop(struct leat_publisher *publisher, struct publish_shard *shard)
{
	uint64_t word = shard->claim_word;

	if (!shard->claim_open)
		return;
	word = record_word(RECORD_PADDING, record_word_len(word), record_word_owner(word), 0);
	(void)commit_word(publisher, shard, word, 0);
}

int leat_commit(struct leat_publisher *publisher, struct leat_claim *claim,
		struct leat_result *ret_result)
{
	struct publish_shard *shard;
	int r;

	if (!bus_alive(publisher->bus))
		return publish_forked(publisher);
	shard = shard_of(publisher, claim);
	if (!shard)
		return refuse(publisher, -EINVAL, "the claim is not an open one of this publisher");
	r = commit_word(publisher, shard, shard->claim_word, 1);
	claim->opaque[0] = 0;
	if (r == -ECANCELED)
		r = detail_fail(&publisher->detail, -ESTALE,
				"the claim was held longer than the claim timeout of stream '%s': "
				"the record was not published",
				publisher->stream);
	if (r == 0)
		publish_note(shard, claim->pos, record_word_len(shard->claim_word), 1);
	if (ret_result)
		*ret_result = (struct leat_result){ .pos = claim->pos,
						    .shard = claim->shard,
						    .error = r };
	return publish_done(publisher, r);
}

void leat_discard(struct leat_publisher *publisher, struct leat_claim *claim)
{
	struct publish_shard *shard;

	if (!bus_alive(publisher->bus))
		return;
	shard = shard_of(publisher, claim);
	claim->opaque[0] = 0;
	if (shard)
		claim_drop(publisher, shard);
}
