/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in the place of shm/atomic.h when the sources of shm/ are compiled for the weak machine:
 * given with -include, so that shm/atomic.h finds its guard defined and is empty. Every access to
 * shared memory becomes a call of machine.c: the ordering functions here by name, plain loads and
 * stores by -fsanitize=thread, whose calls machine.c answers itself.
 */
#ifndef SHM_ATOMIC_H
#define SHM_ATOMIC_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#define __rdtsc() (UINT64_C(1) << 40) /* stands still */
#endif

enum weak_order {
	WEAK_RELAXED = 0,
	WEAK_ACQUIRE = 1,
	WEAK_RELEASE = 2,
	WEAK_ACQ_REL = 3,
};

/* One ordering call in the sources; weakened ones order nothing. */
struct weak_site {
	const char *file;
	const char *func;
	const char *op;
	int line;
	bool weakened;
	bool passed; /* since somebody set it to false */
} __attribute__((aligned(32)));

#define weak_site(name)                                                                            \
	({                                                                                         \
		static struct weak_site weak_here __attribute__((section("weak_sites"), used)) = { \
			__FILE__, __func__, name, __LINE__, false, false                           \
		};                                                                                 \
		&weak_here;                                                                        \
	})

uint64_t weak_load(const void *at, unsigned int size, enum weak_order order,
		   struct weak_site *site);
void weak_store(void *at, unsigned int size, uint64_t value, enum weak_order order,
		struct weak_site *site);
enum weak_rmw {
	WEAK_XCHG,
	WEAK_ADD,
	WEAK_OR,
	WEAK_AND
};
uint64_t weak_rmw(void *at, unsigned int size, enum weak_rmw kind, uint64_t value,
		  struct weak_site *site);
bool weak_cas(void *at, unsigned int size, uint64_t *expected, uint64_t value,
	      struct weak_site *site);
void weak_fence(enum weak_order order, struct weak_site *site);
void weak_fence_full(struct weak_site *site);
void weak_fence_compiler(struct weak_site *site);
bool weak_membarrier(struct weak_site *site);
bool weak_membarrier_register(void);
void weak_memcpy(void *to, const void *from, size_t len);
void weak_memset(void *to, int byte, size_t len);
long weak_syscall(long number, ...);
int weak_poll(struct pollfd *fds, unsigned int n);
long weak_write(int fd, const void *buf, size_t len);
void *weak_mmap(void *at, size_t len, int prot, int flags, int fd, long off);

#define weak_type(p) __typeof__(*(p) + 0)
#define load_relaxed(p) ((weak_type(p))weak_load((p), sizeof(*(p)), WEAK_RELAXED, NULL))
#define load_acquire(p)                                                                            \
	((weak_type(p))weak_load((p), sizeof(*(p)), WEAK_ACQUIRE, weak_site("load_acquire")))
#define store_relaxed(p, v) weak_store((p), sizeof(*(p)), (uint64_t)(v), WEAK_RELAXED, NULL)
#define store_release(p, v)                                                                        \
	weak_store((p), sizeof(*(p)), (uint64_t)(v), WEAK_RELEASE, weak_site("store_release"))
#define weak_exchange(p, kind, v, name)                                                            \
	((weak_type(p))weak_rmw((p), sizeof(*(p)), kind, (uint64_t)(v), name))
#define fetch_add_relaxed(p, v) weak_exchange(p, WEAK_ADD, v, NULL)
#define fetch_add_acq_rel(p, v) weak_exchange(p, WEAK_ADD, v, weak_site("fetch_add_acq_rel"))
#define fetch_or_acq_rel(p, v) weak_exchange(p, WEAK_OR, v, weak_site("fetch_or_acq_rel"))
#define fetch_and_acq_rel(p, v) weak_exchange(p, WEAK_AND, v, weak_site("fetch_and_acq_rel"))
#define xchg_acq_rel(p, v) weak_exchange(p, WEAK_XCHG, v, weak_site("xchg_acq_rel"))
#define cas_acq_rel(p, expected, v)                                                                \
	weak_cas((p), sizeof(*(p)), (expected), (uint64_t)(v), weak_site("cas_acq_rel"))
#define fence_acquire() weak_fence(WEAK_ACQUIRE, weak_site("fence_acquire"))
#define fence_release() weak_fence(WEAK_RELEASE, weak_site("fence_release"))
#define fence_full() weak_fence_full(weak_site("fence_full"))
#define fence_compiler() weak_fence_compiler(weak_site("fence_compiler"))
#define membarrier_sync() weak_membarrier(weak_site("membarrier_sync"))
#define membarrier_register() weak_membarrier_register()

/* For tests of other kinds. */
#define shared_load(at, len) ((void)0)
#define shared_loaded(p, value) (value)

/* Statistics of one writer: no part of the protocol. */
#define counter_add(counter, n) ((void)(counter), (void)(n))
#define cpu_relax() ((void)0)

#define memcpy(to, from, len) weak_memcpy((to), (from), (len))
#define memset(to, byte, len) weak_memset((to), (byte), (len))
#define syscall(...) weak_syscall(__VA_ARGS__)
#define poll(fds, n, timeout) weak_poll((fds), (n))
#define write(fd, buf, len) weak_write((fd), (buf), (len))
#define mmap(...) weak_mmap(__VA_ARGS__)
#define munmap(at, len) ((void)(at), (void)(len), 0)

#endif
