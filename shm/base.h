/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few helpers that every part shares: compiler hints, alignment, ownership of locals,
 * and the one way to turn an offset that somebody else wrote into a pointer.
 */
#ifndef SHM_BASE_H
#define SHM_BASE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

_Static_assert(sizeof(void *) == 8 && sizeof(size_t) == 8, "leat needs a 64-bit machine");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "leat needs a little-endian machine");

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
/* For the few functions that a record goes through, where the compiler would rather call. */
#define inline_always inline __attribute__((always_inline))
#define inline_never __attribute__((noinline))
/* The compiler forgets what it knows of a value: it is computed where it is written, and not
 * replaced by another that has to be computed first. */
#define compiler_keep(x) __asm__("" : "+r"(x))
/* Memory that is going to be read soon; any address. */
#define prefetch_read(p) __builtin_prefetch(p)
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)

/* A local that frees what it owns when it goes out of scope; hand it over with take_ptr(). */
#define cleanup_with(fn) __attribute__((cleanup(fn)))

#define take_ptr(p)                                                                                \
	({                                                                                         \
		__typeof__(p) take_ptr_value = (p);                                                \
		(p) = NULL;                                                                        \
		take_ptr_value;                                                                    \
	})

#define take_fd(fd)                                                                                \
	({                                                                                         \
		int take_fd_value = (fd);                                                          \
		(fd) = -1;                                                                         \
		take_fd_value;                                                                     \
	})

/* Rounds up to a multiple of `align`, a power of two; the caller keeps x below 2^63. */
static inline uint64_t align_up(uint64_t x, uint64_t align)
{
	return (x + align - 1) & ~(align - 1);
}

static inline bool is_power_of_two(uint64_t x)
{
	return x != 0 && (x & (x - 1)) == 0;
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Nanoseconds of `clock`; the clocks used here cannot fail on Linux. */
static inline uint64_t clock_now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static inline int close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
	return -1;
}

static inline void close_fdp(int *fd)
{
	*fd = close_fd(*fd);
}

static inline void free_ptr(void *p)
{
	void **ptr = p;

	free(*ptr);
	*ptr = NULL;
}

/* Memory shared with somebody else: where it is and how much of it may be touched. */
struct region {
	void *base;
	uint64_t len;
};

/* The only way from an offset that came from outside to a pointer: NULL when out of range. */
static inline void *region_at(const struct region *region, uint64_t off, uint64_t len)
{
	if (unlikely(off > region->len || len > region->len - off))
		return NULL;
	return (char *)region->base + off;
}

#endif
