/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/clock.h"

#include <fcntl.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

enum {
	CLOCK_TRIES = 4,
	CLOCK_STEP_NS = 10 * 1000 * 1000, /* a larger difference is stepped over, not slewed */
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

/* One pair of readings, the best of a few: the smallest distance around the system's clock. */
static void clock_pair(uint64_t *ret_tsc, uint64_t *ret_ns)
{
	uint64_t best = UINT64_MAX;

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
}

void clock_source_init(struct clock_source *source)
{
	uint64_t tsc, ns, start = clock_now_ns(CLOCK_MONOTONIC);

	*source = (struct clock_source){ .mode = CLOCK_MODE_SYSCALL };
	if (!clock_tsc_trusted())
		return;
	clock_pair(&source->tsc_base, &source->ns_base);
	while (clock_now_ns(CLOCK_MONOTONIC) - start < NS_PER_MS)
		cpu_relax();
	clock_pair(&tsc, &ns);
	if (ns <= source->ns_base || tsc <= source->tsc_base)
		return;
	source->mult = (uint64_t)(((unsigned __int128)(ns - source->ns_base) << 32) /
				  (tsc - source->tsc_base));
	source->ns_real = source->ns_base;
	source->mode = CLOCK_MODE_TSC;
}

void clock_source_update(struct clock_source *source)
{
	uint64_t tsc, ns, guess, elapsed, rate;
	int64_t error;

	if (source->mode != CLOCK_MODE_TSC)
		return;
	clock_pair(&tsc, &ns);
	elapsed = tsc - source->tsc_base;
	guess = clock_convert(tsc, source->tsc_base, source->ns_base, source->mult);
	error = (int64_t)(ns - guess);
	if (elapsed == 0 || error > CLOCK_STEP_NS || error < -CLOCK_STEP_NS) {
		source->tsc_base = tsc;
		source->ns_base = source->ns_real = ns;
		return;
	}
	/* The rate that the last interval had, and half of the error on top until the next one. */
	rate = (uint64_t)(((unsigned __int128)(ns - source->ns_real) << 32) / elapsed);
	source->mult =
		rate + (uint64_t)(((__int128)error * (INT64_C(1) << 32) / (int64_t)elapsed) / 2);
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
