/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a call may still wait. The clock is read when the first wait is at hand and not
 * before, because most calls never wait.
 */
#ifndef CLIENTLIB_DEADLINE_H
#define CLIENTLIB_DEADLINE_H

#include "shm/base.h"

#define DEADLINE_FOREVER UINT64_MAX

struct deadline {
	uint64_t timeout_ns; /* DEADLINE_FOREVER: never */
	uint64_t end_ns;     /* CLOCK_MONOTONIC; 0 = not begun */
};

#define DEADLINE(ns) ((struct deadline){ .timeout_ns = (ns) })

/* Nanoseconds left; 0 when it is over, DEADLINE_FOREVER when there is none. */
static inline uint64_t deadline_left(struct deadline *deadline)
{
	uint64_t now;

	if (deadline->timeout_ns == DEADLINE_FOREVER || deadline->timeout_ns == 0)
		return deadline->timeout_ns;
	now = clock_now_ns(CLOCK_MONOTONIC);
	if (deadline->end_ns == 0) {
		deadline->end_ns = now + deadline->timeout_ns;
		if (deadline->end_ns < now)
			deadline->end_ns = DEADLINE_FOREVER;
	}
	return deadline->end_ns > now ? deadline->end_ns - now : 0;
}

static inline bool deadline_over(struct deadline *deadline)
{
	return deadline_left(deadline) == 0;
}

/* The error that says so: a call that was not to wait at all says "try again". */
static inline int deadline_error(const struct deadline *deadline)
{
	return deadline->timeout_ns == 0 ? -EAGAIN : -ETIMEDOUT;
}

#endif
