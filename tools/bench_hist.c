/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_hist.h"

#include <math.h>

#include "tools/bench_clock.h"

const double bench_hist_quantiles[BENCH_CURVE_LEN] = {
	0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999,
};

static uint64_t middle_of(uint32_t index)
{
	uint32_t shift;

	if (index < 2 * BENCH_HIST_STEPS)
		return index;
	shift = index / BENCH_HIST_STEPS - 1;
	return ((uint64_t)(index % BENCH_HIST_STEPS + BENCH_HIST_STEPS) << shift) +
	       ((UINT64_C(1) << shift) >> 1);
}

uint64_t bench_hist_quantile(const struct bench_hist *hist, double q)
{
	uint64_t rank = (uint64_t)ceil(q * (double)hist->n), seen = 0, value;
	uint32_t i;

	if (hist->n == 0)
		return 0;
	if (rank < 1)
		rank = 1;
	for (i = 0; i < BENCH_HIST_LEN; i++) {
		seen += hist->counts[i];
		if (seen >= rank)
			break;
	}
	value = middle_of(i < BENCH_HIST_LEN ? i : BENCH_HIST_LEN - 1);
	return value < hist->max ? value : hist->max;
}

void bench_hist_merge(struct bench_hist *hist, const struct bench_hist *other)
{
	uint32_t i;

	for (i = 0; i < BENCH_HIST_LEN; i++)
		hist->counts[i] += other->counts[i];
	hist->n += other->n;
	if (other->max > hist->max)
		hist->max = other->max;
}

void bench_hist_result(const struct bench_hist *hist, struct bench_result *result)
{
	size_t i;

	for (i = 0; i < BENCH_CURVE_LEN; i++)
		result->curve[i] =
			bench_clock_ns(bench_hist_quantile(hist, bench_hist_quantiles[i]));
	result->value = result->curve[0];
	result->p99 = bench_clock_ns(bench_hist_quantile(hist, 0.99));
	result->p999 = bench_clock_ns(bench_hist_quantile(hist, 0.999));
	result->p9999 = bench_clock_ns(bench_hist_quantile(hist, 0.9999));
	result->max = bench_clock_ns(hist->max);
	result->n_samples = hist->n;
}

void bench_hist_laps_result(const struct bench_laps *laps, struct bench_result *result)
{
	bench_hist_result(&laps->singles, result);
	if (laps->blocks.n > 0)
		result->value =
			bench_clock_ns(bench_hist_quantile(&laps->blocks, 0.5)) / BENCH_HIST_BLOCK;
	result->curve[0] = result->value;
}
