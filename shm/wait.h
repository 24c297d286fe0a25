/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sleeping until something happens in a ring, and futexes. A publisher's fast path has no fence:
 * who wants to sleep announces himself, then makes every publisher's processor pass a barrier
 * (membarrier), then looks once more, then sleeps.
 *
 *   for each ring: wait_announce(&ticket[i], ring);
 *   wait_barrier();
 *   look at every ring again; something there? go on without sleeping
 *   wait_sleep(ticket, n, timeout_ns);
 */
#ifndef SHM_WAIT_H
#define SHM_WAIT_H

#include "shm/ring.h"

enum {
	WAIT_RINGS_MAX = 128
}; /* of one wait_sleep(): the kernel's FUTEX_WAITV_MAX */

struct wait_ticket {
	struct ring *ring;
	uint32_t bell; /* the doorbell's value when the sleep was announced */
	uint32_t reserved;
};

void wait_announce(struct wait_ticket *ticket, struct ring *ring);
/* False where the kernel has no membarrier: then sleep for a millisecond at most. */
bool wait_barrier(void);
/*
 * Sleeps until a doorbell rings; who was woken wakes two others of the same shard, if there can be
 * any, so that the waker pays for one. timeout_ns: relative, UINT64_MAX = none. Returns 0 (woken,
 * or the bell had changed), -ETIMEDOUT, -EINTR, -EINVAL for n over WAIT_RINGS_MAX.
 */
int wait_sleep(const struct wait_ticket *tickets, unsigned int n, uint64_t timeout_ns);

/* What wait_sleep() does for those who sleep in another way: after a wake-up, for each ring that
 * was announced, with the bell of its ticket. */
void wait_pass_on(const struct ring *ring, uint32_t bell);

/* Plain shared futexes, relative timeout; 0, -EAGAIN (value differs), -ETIMEDOUT, -EINTR. */
int wait_futex(const _Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns);
void wait_futex_wake(const _Atomic uint32_t *word, int n);
/* The same for a part of those who sleep on a word: who has a bit in common is woken. */
int wait_futex_bits(const _Atomic uint32_t *word, uint32_t expected, uint32_t bits,
		    uint64_t timeout_ns);
void wait_futex_wake_bits(const _Atomic uint32_t *word, uint32_t bits);

/*
 * Sleeps until one of the govern page's bells (limit_bell, ...) changes from `expected`. A
 * thin name for wait_futex() that says what for.
 */
static inline int wait_bell(const _Atomic uint32_t *bell, uint32_t expected, uint64_t timeout_ns)
{
	return wait_futex(bell, expected, timeout_ns);
}

#endif
