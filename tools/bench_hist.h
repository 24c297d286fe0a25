/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A histogram of latencies with an error below 0.4 %: exact up to 256, then 128 equal steps for
 * each doubling (Tene's HdrHistogram). Fixed in size, so that it can lie in shared memory.
 */
#ifndef TOOLS_BENCH_HIST_H
#define TOOLS_BENCH_HIST_H

#include <stdint.h>

#include "tools/bench.h"

enum {
	BENCH_HIST_STEPS = 128,
	BENCH_HIST_LEN = (64 - 7 + 1) * BENCH_HIST_STEPS,
};

struct bench_hist {
	uint64_t n;
	uint64_t max;
	uint64_t counts[BENCH_HIST_LEN];
};

static inline uint32_t bench_hist_index(uint64_t value)
{
	uint32_t shift;

	if (value < BENCH_HIST_STEPS)
		return (uint32_t)value;
	shift = 63 - (uint32_t)__builtin_clzll(value) - 7;
	return (shift + 1) * BENCH_HIST_STEPS + (uint32_t)((value >> shift) - BENCH_HIST_STEPS);
}

static inline void bench_hist_add(struct bench_hist *hist, uint64_t value)
{
	hist->counts[bench_hist_index(value)]++;
	hist->n++;
	if (value > hist->max)
		hist->max = value;
}

/*
 * Round trips one after the other. A processor's clock may step in 10 ns, too coarse for what
 * takes a hundred: the median is that of blocks of 32, the tail that of single round trips.
 */
enum {
	BENCH_HIST_BLOCK = 32
};

struct bench_laps {
	struct bench_hist singles;
	struct bench_hist blocks;
	uint64_t warm; /* ticks from which on they count */
	uint64_t last;
	uint64_t block_start;
	uint64_t n;
};

static inline void bench_hist_lap(struct bench_laps *laps, uint64_t now)
{
	uint64_t last = laps->last;

	laps->last = now;
	if (last < laps->warm || last == 0) {
		laps->block_start = now;
		return;
	}
	bench_hist_add(&laps->singles, now - last);
	if (++laps->n % BENCH_HIST_BLOCK == 0) {
		bench_hist_add(&laps->blocks, now - laps->block_start);
		laps->block_start = now;
	}
}

/* From the median to 99.99 %: where a curve of latencies is drawn through. */
extern const double bench_hist_quantiles[BENCH_CURVE_LEN];

/* The value that a share `q` of what was added does not exceed (middle of its step); 0 if none. */
uint64_t bench_hist_quantile(const struct bench_hist *hist, double q);
/* Adds all that is in `other`. */
void bench_hist_merge(struct bench_hist *hist, const struct bench_hist *other);
/* The quantiles of a histogram of ticks, in nanoseconds. */
void bench_hist_result(const struct bench_hist *hist, struct bench_result *result);
void bench_hist_laps_result(const struct bench_laps *laps, struct bench_result *result);

#endif
