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

/* As clock_ns(), where one look was not enough. */
uint64_t clock_again(const struct layout_govern *govern);

static inline uint64_t clock_convert(uint64_t tsc, uint64_t tsc_base, uint64_t ns_base,
				     uint64_t mult)
{
	__extension__ typedef unsigned __int128 wide;

	/* Another processor's counter can be a few ticks behind the base. */
	if (unlikely((int64_t)(tsc - tsc_base) < 0))
		return ns_base;
	return ns_base + (uint64_t)((wide)(tsc - tsc_base) * mult >> 32);
}

/* One look at the conversion; false when there is none (the sequence is even), or when a writer was
 * in the way. */
static inline bool clock_try(const struct layout_govern *govern, uint64_t *ret_ns)
{
	uint64_t tsc_base, ns_base, mult;
	/* MO(clock.A) pairs with clock.R in clock_publish(): the sequence before what it guards.
	 * Otherwise two halves of different conversions could meet. */
	uint32_t seq = load_acquire(&govern->clock_seq);

	if (unlikely((seq & 1) == 0))
		return false;
	tsc_base = load_relaxed(&govern->clock_tsc_base);
	ns_base = load_relaxed(&govern->clock_ns_base);
	mult = load_relaxed(&govern->clock_mult);
	/* MO(clock.A) the loads before the second look at the sequence. */
	fence_acquire();
	if (unlikely(load_relaxed(&govern->clock_seq) != seq))
		return false;
	*ret_ns = clock_convert(clock_tsc(), tsc_base, ns_base, mult);
	return true;
}

/*
 * Now, in nanoseconds since 1970. Any thread; bounded: a writer in the way means clock_gettime.
 * Inline because every record has one.
 */
static inline uint64_t clock_ns(const struct layout_govern *govern)
{
	uint64_t ns;

	return likely(clock_try(govern, &ns)) ? ns : clock_again(govern);
}

/* The daemon's side: what it knows of the TSC of this machine. Embedded, one owner thread. */
struct clock_source {
	uint64_t tsc_base;
	uint64_t ns_base; /* as published at tsc_base */
	uint64_t ns_real; /* CLOCK_REALTIME at tsc_base */
	uint64_t mult;    /* nanoseconds per tick, 32.32 fixed point, as published */
	uint64_t rate;    /* the same, as measured */
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
