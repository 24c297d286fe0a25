/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The drain threads: one for each NUMA node, each serving many shards. A thread walks its shards
 * (an RCU list), drains what is committed, hands writes to persist/io, frees ring memory, buries
 * the dead, and sleeps in epoll when there is nothing to do.
 */
#ifndef DAEMON_DRAIN_H
#define DAEMON_DRAIN_H

#include <stdint.h>

struct drain;
struct io;
struct ring;
struct shard;

struct drain_options {
	int node;          /* NUMA node whose CPUs the thread runs on, -1 = any */
	int notify_fd;     /* eventfd written when a shard has stopped or a segment was closed */
	int force_threads; /* disk work by threads even where io_uring works */
	/* Called on the thread before it starts: binds it to its node (placement.c). NULL ok. */
	void (*bind)(int node);
};

int drain_start(const struct drain_options *options, struct drain **ret_drain);
/* Stops the thread; every shard must have been removed. */
struct drain *drain_stop(struct drain *drain);
/*
 * Any thread: the drain begins to serve the shard that was made for it (shard_options.drain) and
 * started. 0 or negative errno; then it counts as stopped.
 */
__attribute__((warn_unused_result)) int drain_add(struct drain *drain, struct shard *shard);
/* Control thread: after shard_stopped(); waits for an RCU grace period. Then shard_free(). */
void drain_remove(struct drain *drain, struct shard *shard);
/* Any thread: makes the drain look at its shards now. Never waits. */
void drain_kick(struct drain *drain);
/* CLOCK_MONOTONIC of the thread's last pass: the watchdog looks at it. */
uint64_t drain_last_pass_ns(const struct drain *drain);
/* "io_uring" or "threads". */
const char *drain_io_name(const struct drain *drain);
int drain_node(const struct drain *drain);
/* Drain thread: gives a new ring the clock conversion. */
void drain_set_clock(struct drain *drain, struct ring *ring);
/* Drain thread: tells the control thread to look at what is kept. */
void drain_notify(struct drain *drain);
/* The thread's disk work, for its shards. */
struct io *drain_io(struct drain *drain);

#endif
