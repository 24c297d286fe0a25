/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread behind leat_subscriber_fd(): while the user waits in epoll, it sleeps on the bells in
 * his place and makes an eventfd readable when one rings. It never touches the subscriber: it is
 * handed the bells, and nobody unmaps them while it sleeps.
 */
#ifndef CLIENTLIB_HELPER_H
#define CLIENTLIB_HELPER_H

#include "clientlib/sleep.h"
#include "clientlib/subscribe.h"

/* Starts it; its fd. */
int helper_start(struct helper **ret_helper);
/* NULL ok. Waits for its end, apart from in a forked child, where it does not exist. */
struct helper *helper_stop(struct helper *helper, bool forked);
int helper_fd(const struct helper *helper);

/* Makes the fd unreadable. Then the user looks at every shard once more, and then helper_arm(). */
void helper_clear(struct helper *helper);
/* Sleeps on these words, slice_ns at most, and then makes the fd readable. */
void helper_arm(struct helper *helper, const struct sleep_word *words, unsigned int n,
		uint64_t slice_ns);
/* Makes the fd readable now. */
void helper_signal(struct helper *helper);

/* Closes a ring that a helper may sleep on. */
void helper_retire(struct leat_subscriber *sub, struct ring *ring);

#endif
