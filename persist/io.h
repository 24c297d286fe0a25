/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asynchronous disk work of one thread, the owner: it submits operations, has one fd in its epoll
 * loop, and reaps completions as callbacks on its own thread. Below it is io_uring where the
 * kernel lets us, a small pool of threads where not; CALL operations run on threads always.
 * Operations complete in any order.
 *
 * "The owner" is whoever holds the lock that guards this, if several threads take turns.
 */
#ifndef PERSIST_IO_H
#define PERSIST_IO_H

#include "shm/base.h"

struct io;

enum io_kind {
	IO_WRITE,     /* buf, len, off; all of it: short writes are continued */
	IO_FDATASYNC, /* of fd */
	IO_WRITEBACK, /* starts writing off, len back; a hint, always succeeds */
	IO_CALL,      /* call(op) on a worker thread; its return value is the result */
};

enum {
	IO_F_THREADS = 1, /* do not try io_uring */
	/* An operation that is short, and alone, waits until the owner has decided who does it:
	 * io_take() or io_release(). To hand it over and to be told of its end can take longer
	 * than the operation itself. */
	IO_F_HOLD = 2,
};

/* Lives in the caller's memory, untouched by the caller from io_submit() until done(). */
struct io_op {
	enum io_kind kind;
	int fd;
	const void *buf;
	uint64_t len;
	uint64_t off;
	int (*call)(struct io_op *op);
	/* On the owner's thread, inside io_reap() or io_free(); may submit again. result: 0 (CALL:
	 * what it returned) or negative errno. */
	void (*done)(struct io_op *op, int result);
	/* The rest belongs to io. */
	struct io_op *next;
	uint64_t moved;
	int result;
	uint32_t reserved;
};

/* `depth` operations at most are with the kernel at a time, more wait; 0 means 64. */
int io_new(unsigned int depth, unsigned int flags, struct io **ret_io);

/* Waits for all operations, calls their done(). NULL is accepted. Returns NULL. */
struct io *io_free(struct io *io);

/* Readable when io_reap() has something to do; with IO_F_HOLD, for EPOLLET, it stays so. */
int io_fd(const struct io *io);

/* "io_uring" or "threads", for the log. */
const char *io_backend(const struct io *io);

/* Never fails and never blocks: what cannot be started now is started later. */
void io_submit(struct io *io, struct io_op *op);

/* With IO_F_HOLD: an operation that waits to be done by the caller's thread, or NULL. It has to be
 * given to io_run(). */
struct io_op *io_take(struct io *io);
/* Whether there is one. */
bool io_holds(const struct io *io);
/* Any thread, also beside the owner: does it here and now. io_reap() tells; the fd does not. */
void io_run(struct io *io, struct io_op *op);
/* With IO_F_HOLD: what waits is done by others, as without it. */
void io_release(struct io *io);

/* Calls done() of what is complete; returns how many. */
unsigned int io_reap(struct io *io);

/*
 * Waits until something may be complete or `timeout_ms` is over, then reaps; now and then it
 * returns 0 early. With -1 it waits until something is done.
 */
unsigned int io_wait(struct io *io, int timeout_ms);

/* Operations submitted and not done yet. */
unsigned int io_pending(const struct io *io);

#endif
