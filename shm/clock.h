/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nanoseconds since 1970 for record timestamps: from the TSC where the daemon says that it can
 * be trusted, through the conversion it keeps in the govern page (a sequence lock: Lameter,
 * Linux kernel include/linux/seqlock.h), otherwise from clock_gettime.
 */
#ifndef SHM_CLOCK_H
#define SHM_CLOCK_H

#include "shm/layout.h"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

static inline uint64_t clock_tsc(void)
{
#if defined(__x86_64__)
	return __rdtsc();
#else
	return 0;
#endif
}

/* Now, in nanoseconds since 1970. Any thread; bounded: a writer in the way means clock_gettime. */
uint64_t clock_ns(const struct layout_govern *govern);

/* The daemon's side: what it knows of the TSC of this machine. Embedded, one owner thread. */
struct clock_source {
	uint64_t tsc_base;
	uint64_t ns_base; /* as published at tsc_base */
	uint64_t ns_real; /* CLOCK_REALTIME at tsc_base */
	uint64_t mult;    /* nanoseconds per tick, 32.32 fixed point; 0 = not measured yet */
	uint32_t mode;    /* CLOCK_MODE_* */
	uint32_t reserved;
};

/* Finds out whether the TSC is invariant and the kernel itself trusts it; measures for ~1 ms. */
void clock_source_init(struct clock_source *source);
/* Measures again, slewing towards CLOCK_REALTIME; call about once a second. */
void clock_source_update(struct clock_source *source);
/* Publishes the conversion to one shard. Only the daemon, one thread a shard. */
void clock_publish(struct layout_govern *govern, const struct clock_source *source);

#endif
