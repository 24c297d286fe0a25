/* SPDX-License-Identifier: Apache-2.0 */
/* Where a subscriber's records come from: the ring, or segments on disk. */
#ifndef CLIENTLIB_SOURCE_H
#define CLIENTLIB_SOURCE_H

#include "clientlib/subscribe.h"

/* How soon a shard is looked at again for which no bell rings. */
#define SOURCE_LATER_NS (5 * NS_PER_MS)

/* SOURCE_*, or a negative errno with its sentence. Never waits, apart from one request. */
int source_ring_fill(struct leat_subscriber *sub, struct subscribe_shard *shard);
int source_disk_fill(struct leat_subscriber *sub, struct subscribe_shard *shard);

/*
 * Zero-copy: the record at shard->pos where it lies in the ring; 1 with *ret_message set, 0 when
 * there is nothing to be had this way.
 */
int source_ring_view(struct leat_subscriber *sub, struct subscribe_shard *shard,
		     struct leat_message *ret_message);

/* True when the newest ring at hand has been succeeded: its words of progress stand still. */
bool source_ring_is_behind(const struct subscribe_shard *shard);

/* Attaches the daemon's newest ring as shard->next, in place of one that has been succeeded as
 * well, if it is there: SOURCE_AGAIN or SOURCE_LATER, or an errno that is final. */
int source_ring_follow(struct leat_subscriber *sub, struct subscribe_shard *shard);

/*
 * When the connection was made anew: is the ring still the one that the daemon has? If not, the
 * new one becomes shard->next, and what is left in the old one is read first.
 */
int source_ring_check(struct leat_subscriber *sub, struct subscribe_shard *shard);

void source_disk_close(struct subscribe_disk *disk);

/* Goes to the first record of the shard with timestamp ns or later, as far as the disk knows. */
int source_disk_seek_time(struct leat_subscriber *sub, struct subscribe_shard *shard, uint64_t ns,
			  struct deadline *deadline);

#endif
