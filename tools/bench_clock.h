/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ticks of the fastest steady clock there is. Reading it has to cost much less than what is
 * measured: a round trip through shared memory takes about five times a clock_gettime.
 */
#ifndef TOOLS_BENCH_CLOCK_H
#define TOOLS_BENCH_CLOCK_H

#include <stdint.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

/* Compares ticks and nanoseconds for 20 ms. Once, before any fork. */
void bench_clock_init(void);
double bench_clock_ns(uint64_t ticks);
uint64_t bench_clock_from_ns(uint64_t ns);

static inline uint64_t bench_clock_ticks(void)
{
#if defined(__x86_64__)
	return __rdtsc();
#elif defined(__aarch64__)
	uint64_t ticks;

	__asm__ __volatile__("mrs %0, cntvct_el0" : "=r"(ticks));
	return ticks;
#else
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
#endif
}

#endif
