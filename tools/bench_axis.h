/* SPDX-License-Identifier: Apache-2.0 */
/* Where a value lies on an axis of a chart, and which values get a mark there. */
#ifndef TOOLS_BENCH_AXIS_H
#define TOOLS_BENCH_AXIS_H

#include <stdbool.h>
#include <stddef.h>

enum bench_scale {
	BENCH_LINEAR, /* from zero */
	BENCH_LOG,    /* decades: latencies and rates differ by thousands */
	BENCH_LOG2,   /* doublings: sizes, numbers of shards */
	BENCH_NINES,  /* quantiles: 0.9, 0.99 and 0.999 are equally far apart */
};

enum {
	BENCH_TICKS_MAX = 64
};

struct bench_tick {
	double value;
	bool labelled; /* the others are thinner and have no words */
};

struct bench_axis {
	enum bench_scale scale;
	double low; /* the ends: every value lies between them */
	double high;
	size_t n_ticks;
	struct bench_tick ticks[BENCH_TICKS_MAX];
};

/*
 * An axis with round ends that holds both values, and not much more. All scales but the linear
 * one want positive values.
 */
void bench_axis_fit(struct bench_axis *axis, enum bench_scale scale, double least, double most);
/* 0 at the low end to 1 at the high one; a value beyond an end lies at the end. */
double bench_axis_place(const struct bench_axis *axis, double value);

/*
 * Moves the places of n labels apart so that neighbours are at least `gap` from each other, each
 * as little as possible, and all between `low` and `high` as long as there is room. Their order is
 * kept; they must be sorted.
 */
void bench_axis_spread(double *places, size_t n, double gap, double low, double high);

#endif
