/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A word on a cache line of its own that one process writes and others poll: what the floors are
 * made of. They measure the machine and so stand alone, without the product's own atomics; a
 * load orders what follows it and a store what precedes it, at the price of a plain move where
 * the processor does so by itself.
 */
#ifndef TOOLS_BENCH_CELL_H
#define TOOLS_BENCH_CELL_H

#include <linux/futex.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	/* Two lines, because processors fetch lines in pairs. */
	CELL_LEN = 128,
	/* A peer that takes longer than this many looks has lost its processor. */
	CELL_PATIENCE = 1 << 14,
};

struct bench_cell {
	uint64_t value;
	uint64_t reserved[CELL_LEN / 8 - 1];
} __attribute__((aligned(CELL_LEN)));

static inline uint64_t cell_load(const uint64_t *word)
{
	uint64_t value;

#if defined(__x86_64__)
	value = *(const volatile uint64_t *)word;
	__asm__ __volatile__("" ::: "memory");
#elif defined(__aarch64__)
	__asm__ __volatile__("ldar %0, %1" : "=r"(value) : "Q"(*word) : "memory");
#else
	value = *(const volatile _Atomic uint64_t *)word;
#endif
	return value;
}

static inline void cell_store(uint64_t *word, uint64_t value)
{
#if defined(__x86_64__)
	__asm__ __volatile__("" ::: "memory");
	*(volatile uint64_t *)word = value;
#elif defined(__aarch64__)
	__asm__ __volatile__("stlr %1, %0" : "=Q"(*word) : "r"(value) : "memory");
#else
	*(volatile _Atomic uint64_t *)word = value;
#endif
}

/* Adds 1 and returns what was there: what several writers share out turns with. */
static inline uint64_t cell_add(uint64_t *word)
{
	return (*(volatile _Atomic uint64_t *)word)++;
}

/* Keeps away from memory for so many steps of some 20 ns. */
static inline void cell_pause(int n)
{
	for (; n > 0; n--) {
#if defined(__x86_64__)
		__builtin_ia32_pause();
#elif defined(__aarch64__)
		__asm__ __volatile__("yield");
#endif
	}
}

/* Sleeps or wakes on 32 bits: the lower half of a cell where the machine is little-endian. */
static inline long cell_futex(uint64_t *word, int op, uint32_t value)
{
	return syscall(SYS_futex, word, op, value, NULL, NULL, 0);
}

/* Polls until the word is `value`; lends the processor away when that takes very long. */
static inline void cell_await(const uint64_t *word, uint64_t value)
{
	uint32_t n = 0;

	while (cell_load(word) != value) {
		if (++n % CELL_PATIENCE == 0)
			sched_yield();
	}
}

#endif
