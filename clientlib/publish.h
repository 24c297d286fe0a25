/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A leat_publisher: one ring_publisher for each shard. publish.c is the path of a record;
 * follow.c everything slow: a full ring, a ring that moves, a daemon that went away.
 */
#ifndef CLIENTLIB_PUBLISH_H
#define CLIENTLIB_PUBLISH_H

#include "clientlib/attach.h"
#include "clientlib/bus.h"
#include "clientlib/keys.h"
#include "clientlib/leat.h"
#include "shm/ring.h"

/* A shard as this publisher has it. */
struct publish_shard {
	struct ring_publisher rp;
	struct ring *ring; /* the newest one known */
	/* The ring of the open claim, where it has been followed away from since; its publisher. */
	struct ring *claimed_ring;
	struct ring_publisher claimed_rp;
	uint64_t claim_pos;
	uint64_t claim_word; /* that commits it */
	bool claim_open;
	bool published; /* last_pos counts */
	int kick_fd;
	uint32_t shard;
	uint32_t publisher; /* id in the records */
	uint32_t sequence;
	uint32_t epoch; /* of the connection on which the daemon was last told of the slot */
	uint64_t last_pos;
	uint64_t records; /* for leat_publisher_statistics() */
	uint64_t bytes;
	uint64_t checked_ns;   /* timestamp at which the connection was last looked at */
	uint64_t kicked_limit; /* the limit at which the drain was kicked because of a full ring */
};

struct leat_publisher {
	struct leat_bus *bus;
	struct publish_shard *shards;
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

/* Chooses the shard of a record; -EINVAL. */
int publish_choose(struct leat_publisher *publisher, const struct leat_record *record,
		   struct publish_shard **ret_shard);

/* Discards what leat_reserve() left open on the shard, if anything. */
void claim_drop(struct leat_publisher *publisher, struct publish_shard *shard);

/* Notes n records of `len` bytes together, published at pos, for leat_flush() and statistics. */
static inline void publish_note(struct publish_shard *shard, uint64_t pos, uint64_t len, size_t n)
{
	shard->last_pos = pos;
	shard->published = true;
	shard->records += n;
	shard->bytes += len;
}

#endif
