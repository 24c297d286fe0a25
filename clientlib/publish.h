/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A leat_publisher: one ring_publisher for each shard. publish.c is the path of a record;
 * follow.c everything slow: a full ring, a ring that moves, a daemon that went away.
 */
#ifndef CLIENTLIB_PUBLISH_H
#define CLIENTLIB_PUBLISH_H

#include "clientlib/attach.h"
#include "clientlib/bus.h"
#include "clientlib/encode.h"
#include "clientlib/keys.h"
#include "clientlib/leat.h"
#include "shm/ring_publish.h"

/* A shard as this publisher has it. */
struct publish_shard {
	struct ring_publisher rp;
	struct encode_quick quick;
	struct ring *ring; /* the newest one known */
	/* The ring of the open claim, where it has been followed away from since; its publisher. */
	struct ring *claimed_ring;
	struct ring_publisher claimed_rp;
	uint64_t claim_pos;
	uint64_t claim_word; /* that commits it */
	bool claim_open;
	int kick_fd;
	uint32_t shard;
	uint64_t who;      /* record_who() of the next record */
	uint32_t epoch;    /* of the connection on which the daemon was last told of the slot */
	uint64_t last_pos; /* 0 = nothing has been published */
	/* What was published in [lost_from, lost_to) may have gone with a daemon's rings; `lost`:
	 * something was, and leat_flush() has not said so yet. */
	uint64_t lost_from, lost_to;
	bool lost;
	uint64_t records; /* for leat_publisher_statistics() */
	uint64_t bytes;
	uint64_t checked_ns;   /* timestamp at which the connection was last looked at */
	uint64_t kicked_limit; /* the limit at which the drain was kicked because of a full ring */
};

struct leat_publisher {
	struct leat_bus *bus;
	const volatile uint32_t *alive; /* of the bus */
	struct publish_shard *shards;
	struct publish_shard *only; /* in a stream of one shard, or NULL */
	struct keys_map keys;
	uint32_t n_shards;
	uint32_t turn; /* of records without a key */
	uint64_t timeout_ns;
	/* How the stream syncs, as it was when this was opened. */
	enum leat_sync sync;
	uint64_t sync_ns;
	uint64_t full_waits;
	uint64_t successors;
	const char *failure; /* the sentence: detail.text, or one that never changes */
	struct detail detail;
	char *stream;
};

/* Whether the connection is still good is looked at this often, by timestamps of records. */
#define PUBLISH_CHECK_NS NS_PER_S

/* Ends a call: keeps the sentence for leat_publisher_detail() and leat_detail(). */
int publish_done(struct leat_publisher *publisher, int r);

/* -EPERM: this is a forked child. */
int publish_forked(struct leat_publisher *publisher);

/* The number of the shard of a record that names none, in a stream of several. */
uint32_t publish_turn(struct leat_publisher *publisher, const struct leat_record *record);
/* Says that a record names a shard that the stream does not have. -EINVAL. */
int publish_no_shard(struct leat_publisher *publisher, const struct leat_record *record);

/* The shard of a record; NULL when it names one that the stream does not have. */
static inline struct publish_shard *publish_choose(struct leat_publisher *publisher,
						   const struct leat_record *record)
{
	uint32_t shard = (uint32_t)record->shard;

	if (record->shard == LEAT_SHARD_ANY)
		shard = publisher->n_shards == 1 ? 0 : publish_turn(publisher, record);
	return likely(shard < publisher->n_shards) ? &publisher->shards[shard] : NULL;
}

/* Publishes to that shard; NULL is refused as publish_no_shard() does. As leat_publish(). */
int publish_to(struct leat_publisher *publisher, struct publish_shard *shard,
	       const struct leat_record *record, struct deadline *deadline,
	       struct leat_result *ret_result);

/* Discards what leat_reserve() left open on the shard, if anything. */
void claim_drop(struct leat_publisher *publisher, struct publish_shard *shard);

/* What the next record of this shard is signed with. */
static inline uint64_t publish_who(struct publish_shard *shard)
{
	uint64_t who = shard->who;

	shard->who = who + record_who(0, 1);
	return who;
}

/* The daemon gave another id, or (0) none. */
static inline void publish_sign(struct publish_shard *shard, uint32_t publisher)
{
	if (publisher)
		shard->who = record_who(publisher, (uint32_t)(shard->who >> 32));
}

/* Notes n records of `len` bytes together, published at pos, for leat_flush() and statistics. */
static inline void publish_note(struct publish_shard *shard, uint64_t pos, uint64_t len, size_t n)
{
	shard->last_pos = pos;
	shard->records += n;
	shard->bytes += len;
}

#endif
