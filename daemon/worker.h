/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that does, one after the other, what the control thread must not wait for: disk, memory
 * to be populated, the name service; or several that share one queue. Users take turns: the first
 * job of each that waits is run before the second of any. A job belongs to the thread until its
 * done() is called on the control thread.
 */
#ifndef DAEMON_WORKER_H
#define DAEMON_WORKER_H

#include <sys/types.h>

#include "shm/base.h"

enum {
	WORKER_THREADS_MAX = 8
};

struct worker;

struct worker_job {
	void (*run)(struct worker_job *job);  /* on the worker's thread, or one of them */
	void (*done)(struct worker_job *job); /* on the control thread; may submit again */
	uid_t user;                           /* whose it is; 0 = root's, and the daemon's own */
	uint64_t turn;                        /* of the worker */
	struct worker_job *next;
};

/* notify_fd: an eventfd that is written when a job is done; several workers may share it. */
int worker_new(int notify_fd, unsigned int n_threads, struct worker **ret_worker);
/* Runs what was submitted to its end, calls done() of all, and of what these submit. */
struct worker *worker_free(struct worker *worker);
void worker_submit(struct worker *worker, struct worker_job *job);
/* Control thread: of what waits to be run, this job comes next; nothing if it runs already. */
void worker_hurry(struct worker *worker, struct worker_job *job);
/* Control thread: calls done() of what has run; returns how many. */
unsigned int worker_reap(struct worker *worker);
/* Jobs whose done() has not been called. */
unsigned int worker_pending(const struct worker *worker);

#endif
