/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts how often a stretch of code enters the kernel, by the kernel's own word: while the watch
 * is on, it refuses every system call of this thread once (syscall user dispatch, Linux 5.11).
 * The refusal is counted and the call made again with the watch off. Costs the code watched
 * nothing as long as it makes none.
 */
#ifndef TOOLS_BENCH_KERNEL_H
#define TOOLS_BENCH_KERNEL_H

#include <stdint.h>

/* Once, in the thread to be watched. -EOPNOTSUPP where this kernel or processor cannot. */
int bench_kernel_init(void);
/* A stretch that makes several calls counts once: the watch goes off with the first. */
void bench_kernel_watch(int on);
uint64_t bench_kernel_entries(void);

#endif
