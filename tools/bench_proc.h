/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel says of processes, and the daemon of itself. */
#ifndef TOOLS_BENCH_PROC_H
#define TOOLS_BENCH_PROC_H

#include <sys/types.h>

#include "tools/bench.h"

/* Of all threads that a process has; what it cannot look at counts as nothing. */
struct bench_proc {
	double cpu_ns;
	double switches; /* times that a thread went to sleep or was made to wait */
	double memory;   /* bytes, without the rings, which are shared memory */
	int n_threads;
};

void bench_proc_read(pid_t pid, struct bench_proc *ret_proc);
/* Bytes that wait in the page cache to be written. */
double bench_proc_dirty(void);

/* The process that serves env->bus, and where its data is; a negative errno with the reason. */
int bench_proc_daemon(struct bench_env *env, pid_t *ret_pid);
int bench_proc_data_dir(struct bench_env *env, char *path, size_t len);

#endif
