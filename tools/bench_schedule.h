/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An open loop: records are due at a steady rate, whatever becomes of those before them, and a
 * latency counts from when its record was due. Whoever stalls is late for all that was due
 * meanwhile; a loop that waits for its answers would measure the stall once.
 */
#ifndef TOOLS_BENCH_SCHEDULE_H
#define TOOLS_BENCH_SCHEDULE_H

#include <stdint.h>

#include "tools/bench_clock.h"

struct bench_schedule {
	uint64_t start; /* ticks at which the first record is due */
	uint64_t n;     /* records in all */
	double step;    /* ticks from one to the next */
};

/* `rate` records a second for run_ns, from `start` on; at least one. */
static inline struct bench_schedule bench_schedule_make(uint64_t start, double rate,
							uint64_t run_ns)
{
	struct bench_schedule schedule = { .start = start };

	schedule.n = (uint64_t)(rate * (double)run_ns / 1e9);
	if (schedule.n == 0)
		schedule.n = 1;
	schedule.step = (double)bench_clock_from_ns(run_ns) / (double)schedule.n;
	return schedule;
}

/* When record i is due. Computed anew for each, so that nothing adds up. */
static inline uint64_t bench_schedule_due(const struct bench_schedule *schedule, uint64_t i)
{
	return schedule->start + (uint64_t)((double)i * schedule->step);
}

/* How late `now` is for what was due then; clocks of two processors may differ a little. */
static inline uint64_t bench_schedule_late(uint64_t due, uint64_t now)
{
	return now > due ? now - due : 0;
}

#endif
