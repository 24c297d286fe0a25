/* SPDX-License-Identifier: Apache-2.0 */
/* Where a subscription begins and ends. */
#ifndef CLIENTLIB_START_H
#define CLIENTLIB_START_H

#include "clientlib/subscribe.h"

/* Puts the shard there; what was read ahead of it is dropped by the caller. -EINVAL, -ENOTCONN,
 * -EIO, with the sentence in sub's detail. */
int start_at(struct leat_subscriber *sub, struct subscribe_shard *shard, enum leat_where where,
	     uint64_t value, struct deadline *deadline);

/* Sets the shard's stop, and sub's where it is a time. -EINVAL. */
int start_stop_at(struct leat_subscriber *sub, struct subscribe_shard *shard, enum leat_where where,
		  uint64_t value);

#endif
