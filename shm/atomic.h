/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only header that includes <stdatomic.h>. Every ordering function is named after its order,
 * and every call of one outside this file carries an MO() tag that names its edge; the table of
 * edges opens shm/ring.c. Relaxed accesses need no tag: they order nothing.
 */
#ifndef SHM_ATOMIC_H
#define SHM_ATOMIC_H

#include <linux/membarrier.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * Memory that others may write is about to be read. Nothing in a normal build; with
 * -DLEAT_TESTPOINTS a test sees each reading and can change what is read: what is looked at twice
 * may be something else the second time.
 */
#ifdef LEAT_TESTPOINTS
extern void (*shared_load_hook)(const volatile void *at, uint64_t len);
#define shared_load(at, len)                                                                       \
	do {                                                                                       \
		if (shared_load_hook)                                                              \
			shared_load_hook((at), (len));                                             \
	} while (0)
#define shared_loaded(p, value)                                                                    \
	({                                                                                         \
		shared_load((p), sizeof(*(p)));                                                    \
		(value);                                                                           \
	})
#else
#define shared_load(at, len)                                                                       \
	do {                                                                                       \
	} while (0)
#define shared_loaded(p, value) (value)
#endif

#define load_relaxed(p) shared_loaded((p), atomic_load_explicit((p), memory_order_relaxed))
#define store_relaxed(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define fetch_add_relaxed(p, v) atomic_fetch_add_explicit((p), (v), memory_order_relaxed)
#define load_acquire(p) shared_loaded((p), atomic_load_explicit((p), memory_order_acquire))
#define store_release(p, v) atomic_store_explicit((p), (v), memory_order_release)
#define fetch_add_acq_rel(p, v) atomic_fetch_add_explicit((p), (v), memory_order_acq_rel)
#define fetch_or_acq_rel(p, v) atomic_fetch_or_explicit((p), (v), memory_order_acq_rel)
#define fetch_and_acq_rel(p, v) atomic_fetch_and_explicit((p), (v), memory_order_acq_rel)
#define xchg_acq_rel(p, v) atomic_exchange_explicit((p), (v), memory_order_acq_rel)

/* Compare-and-swap; on failure *expected holds what was found. May not fail spuriously. */
#define cas_acq_rel(p, expected, v)                                                                \
	atomic_compare_exchange_strong_explicit((p), (expected), (v), memory_order_acq_rel,        \
						memory_order_acquire)

/* The race detector does not see fences: under it a fence is nothing more than a fence. */
#define fence_acquire() atomic_thread_fence(memory_order_acquire)
#define fence_release() atomic_thread_fence(memory_order_release)
#define fence_full() atomic_thread_fence(memory_order_seq_cst)

/* Orders the compiler only; the other side of the edge pays with membarrier_sync(). */
#define fence_compiler() atomic_signal_fence(memory_order_seq_cst)

/*
 * Adds to a counter that others read and only the caller writes: one instruction, not locked, whole
 * for every reader.
 */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t n)
{
#if defined(__x86_64__)
	__asm__("addq %1, %0" : "+m"(*counter) : "er"(n));
#else
	store_relaxed(counter, load_relaxed(counter) + n);
#endif
}

static inline void cpu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield" ::: "memory");
#endif
}

/*
 * Makes this process answer membarrier_sync() of others. Once a process, before it publishes;
 * kept across threads, not across exec. Returns false where the kernel has no membarrier: then
 * the process has to use fence_full() in the place of fence_compiler().
 */
static inline bool membarrier_register(void)
{
	return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0;
}

/* A full barrier on every running thread of every registered process, and on the caller. */
static inline bool membarrier_sync(void)
{
	return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0;
}

#endif
