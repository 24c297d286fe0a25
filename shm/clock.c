/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/clock.h"

#include <fcntl.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

enum {
	CLOCK_TRIES = 4,
	CLOCK_STEP_NS = 10 * 1000 * 1000, /* a larger difference is stepped over, not slewed */
	/*
	 * The fastest slew, as a part of the rate: about 500 ppm, as adjtimex(2) has it. A daemon
	 * that is stopped or killed then leaves a clock behind that is half a millisecond wrong
	 * after a second, and not one that runs away.
	 */
	CLOCK_SLEW = 2048,
	CLOCK_RATE_NS = 100 * 1000 * 1000, /* an interval that is long enough to measure the rate */
	/*
	 * The first interval is shorter, because the daemon's start waits for it: until its ends
	 * are uncertain by no more than this part of it.
	 */
	CLOCK_FIRST_NS = 1000 * 1000,
	CLOCK_FIRST_MAX_NS = 50 * 1000 * 1000,
	CLOCK_UNCERTAIN = 4096,
};

uint64_t clock_again(const struct layout_govern *govern)
{
	uint64_t ns;

	for (int i = 0; i < CLOCK_TRIES; i++) {
		if (clock_try(govern, &ns))
			return ns;
	}
	return clock_now_ns(CLOCK_REALTIME);
}

/* True when the counter runs at one rate for ever, and the kernel keeps its own time by it. */
static bool clock_tsc_trusted(void)
{
#if defined(__x86_64__)
	static const char path[] =
		"/sys/devices/system/clocksource/clocksource0/current_clocksource";
	unsigned int eax, ebx, ecx, edx;
	char name[16] = "";
	int fd;
	ssize_t n;

	if (!__get_cpuid(0x80000007, &eax, &ebx, &ecx, &edx) || (edx & 1u << 8) == 0)
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, name, sizeof(name) - 1);
	close(fd);
	return n > 0 && (strncmp(name, "tsc", 3) == 0 || strncmp(name, "kvm-clock", 9) == 0);
#else
	return false;
#endif
}

/* One pair of readings, the best of a few: the smallest distance around the system's clock, which
 * is returned, in ticks. */
static uint64_t clock_pair(uint64_t *ret_tsc, uint64_t *ret_ns)
{
	uint64_t best = UINT64_MAX;

	*ret_tsc = *ret_ns = 0;
	for (int i = 0; i < 8; i++) {
		uint64_t before = clock_tsc();
		uint64_t ns = clock_now_ns(CLOCK_REALTIME);
		uint64_t after = clock_tsc();

		if (after - before < best) {
			best = after - before;
			*ret_tsc = before + (after - before) / 2;
			*ret_ns = ns;
		}
	}
	return best;
}

static uint64_t clock_rate(const struct clock_source *source, uint64_t tsc, uint64_t ns)
{
	return (uint64_t)(((unsigned __int128)(ns - source->ns_real) << 32) /
			  (tsc - source->tsc_base));
}

void clock_source_init(struct clock_source *source)
{
	uint64_t tsc, ns, uncertain, start = clock_now_ns(CLOCK_MONOTONIC), spent;

	*source = (struct clock_source){ .mode = CLOCK_MODE_SYSCALL };
	if (!clock_tsc_trusted())
		return;
	uncertain = clock_pair(&source->tsc_base, &source->ns_real);
	do {
		cpu_relax();
		spent = clock_now_ns(CLOCK_MONOTONIC) - start;
	} while (spent < CLOCK_FIRST_NS ||
		 (uncertain + clock_pair(&tsc, &ns) > (tsc - source->tsc_base) / CLOCK_UNCERTAIN &&
		  spent < CLOCK_FIRST_MAX_NS));
	if (ns <= source->ns_real || tsc <= source->tsc_base)
		return;
	source->ns_base = source->ns_real;
	source->mult = source->rate = clock_rate(source, tsc, ns);
	source->mode = CLOCK_MODE_TSC;
}

/* What makes up for half of the error in as much time as led to it, CLOCK_SLEW at most. */
static int64_t clock_slew(const struct clock_source *source, int64_t error, uint64_t elapsed)
{
	int64_t most = (int64_t)(source->rate / CLOCK_SLEW);
	__int128 slew = (__int128)error * (INT64_C(1) << 32) / (int64_t)elapsed / 2;

	return slew > most ? most : slew < -most ? -most : (int64_t)slew;
}

void clock_source_update(struct clock_source *source)
{
	uint64_t tsc, ns, guess, elapsed;
	int64_t error;

	if (source->mode != CLOCK_MODE_TSC)
		return;
	(void)clock_pair(&tsc, &ns);
	elapsed = tsc - source->tsc_base;
	guess = clock_convert(tsc, source->tsc_base, source->ns_base, source->mult);
	error = (int64_t)(ns - guess);
	if (elapsed == 0 || error > CLOCK_STEP_NS || error < -CLOCK_STEP_NS) {
		source->tsc_base = tsc;
		source->ns_base = source->ns_real = ns;
		source->mult = source->rate;
		return;
	}
	if ((int64_t)(ns - source->ns_real) >= CLOCK_RATE_NS)
		source->rate = clock_rate(source, tsc, ns);
	source->mult = source->rate + (uint64_t)clock_slew(source, error, elapsed);
	source->tsc_base = tsc;
	source->ns_base = guess;
	source->ns_real = ns;
}

void clock_publish(struct layout_govern *govern, const struct clock_source *source)
{
	/* Even already where there is no conversion, or where a daemon died in here. */
	uint32_t seq = load_relaxed(&govern->clock_seq) | 1;

	/* MO(clock.R) pairs with clock.A in clock_try(): even before the fields, odd after. */
	store_relaxed(&govern->clock_seq, seq + 1);
	fence_release();
	store_relaxed(&govern->clock_tsc_base, source->tsc_base);
	store_relaxed(&govern->clock_ns_base, source->ns_base);
	store_relaxed(&govern->clock_mult, source->mult);
	store_relaxed(&govern->clock_mode, source->mode);
	if (source->mode != CLOCK_MODE_TSC)
		return;
	/* MO(clock.R) the fields before the odd sequence. */
	store_release(&govern->clock_seq, seq + 2);
}
