/* SPDX-License-Identifier: Apache-2.0 */
/* Sleeping on several 32-bit words at once, beyond what shm/wait.h offers for doorbells. */
#ifndef CLIENTLIB_SLEEP_H
#define CLIENTLIB_SLEEP_H

#include "shm/atomic.h"
#include "shm/base.h"

enum {
	SLEEP_WORDS_MAX = 128
}; /* the kernel's FUTEX_WAITV_MAX */

struct ring;

struct sleep_word {
	const _Atomic uint32_t *word; /* shared between processes, may be mapped read-only */
	const struct ring *ring;      /* whose doorbell it is, announced: NULL = another word */
	uint32_t expected;
	uint32_t reserved;
};

/*
 * Sleeps until a word is woken or differs from what is expected, or a relative time-out ends.
 * Returns the index of a word that was woken, -EAGAIN (one differs), -ETIMEDOUT, -EINTR, -EINVAL.
 */
int sleep_any(const struct sleep_word *words, unsigned int n, uint64_t timeout_ns);

#endif
