/* SPDX-License-Identifier: Apache-2.0 */
/* A subscriber with nothing to do. */
#ifndef CLIENTLIB_IDLE_H
#define CLIENTLIB_IDLE_H

#include "clientlib/subscribe.h"

/*
 * Polls, then sleeps, until some shard has a message: 1, 0 all have reached their stop,
 * -ETIMEDOUT, -EINTR, or what a source gave.
 */
int idle_wait(struct leat_subscriber *sub, uint64_t timeout_ns, struct leat_message *ret_message);

/* True while the bells that this subscriber waits for are the acknowledgements'. */
static inline bool idle_waits_for_acks(const struct leat_subscriber *sub)
{
	return sub->options.isolation != LEAT_ISOLATION_RING;
}

#endif
