/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The slow side of publishing: waiting for room, moving to a successor ring, finding out what
 * became of a record, coming back to a restarted daemon. Negative errnos have their sentence in
 * the publisher's detail.
 */
#ifndef CLIENTLIB_FOLLOW_H
#define CLIENTLIB_FOLLOW_H

#include "clientlib/publish.h"

/*
 * Reserves where ring_reserve() could not: waits for room, follows the ring. 0 and the position in
 * shard->ring, -EAGAIN, -ETIMEDOUT, -EMSGSIZE (the ring has become smaller), -ENOENT, -ENOSPC,
 * -EIO, or what attaching gave.
 */
int follow_room(struct leat_publisher *publisher, struct publish_shard *shard, uint32_t len,
		struct deadline *deadline, uint64_t *ret_pos);

/*
 * After ring_commit() through rp said RING_E_CLOSED: 0 the record counts, -ECANCELED it does not,
 * -ESTALE not known, -ENOENT. rp may be shard->rp.
 */
int follow_fate(struct leat_publisher *publisher, struct publish_shard *shard,
		const struct ring_publisher *rp, uint64_t pos, uint64_t word,
		struct deadline *deadline);

/* One try to move to the successor of a succeeded ring: 1 moved, 0 not yet. */
int follow_successor(struct leat_publisher *publisher, struct publish_shard *shard);

/*
 * Looks whether the daemon has gone or come back, and tells a new one of our slot. Returns -ENOENT
 * when that one does not know the stream; other failures are for the next look. `now_ns` of the
 * shard's clock.
 */
int follow_check(struct leat_publisher *publisher, struct publish_shard *shard, uint64_t now_ns);

/* What a ring that is not open means for publishing: 0 open or succeeded, else the errno. */
int follow_state(struct leat_publisher *publisher, const struct publish_shard *shard);

#endif
