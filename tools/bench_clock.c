/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_clock.h"

#include "tools/tool.h"

enum {
	COMPARE_NS = 20 * 1000 * 1000
};

static double ns_per_tick = 1.0;

void bench_clock_init(void)
{
	uint64_t start_ns = tool_monotonic_ns(), start = bench_clock_ticks();
	uint64_t ns, ticks;

	do {
		ns = tool_monotonic_ns() - start_ns;
		ticks = bench_clock_ticks() - start;
	} while (ns < COMPARE_NS);
	ns_per_tick = (double)ns / (double)ticks;
}

double bench_clock_ns(uint64_t ticks)
{
	return (double)ticks * ns_per_tick;
}

uint64_t bench_clock_from_ns(uint64_t ns)
{
	return (uint64_t)((double)ns / ns_per_tick);
}
