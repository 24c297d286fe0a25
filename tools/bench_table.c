/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workloads in the order in which they run and are printed. Names are part of the interface:
 * scripts select by them and find them in the JSON.
 */
#include <string.h>

#include "clientlib/leat.h"
#include "tools/bench.h"
#include "tools/bench_peer.h"
#include "tools/tool.h"

/* A size in three rows: a copy through the memory and a ring in the caches, and leat. */
#define SIZE_ROWS(size, len)                                                                       \
	{                                                                                          \
		.name = "copy-" size,                                                              \
		.title = "memory copy, " size "B blocks",                                          \
		.kind = BENCH_RATE,                                                                \
		.is_floor = true,                                                                  \
		.extra = true,                                                                     \
		.series = "size",                                                                  \
		.series_of = "copy",                                                               \
		.x = (len),                                                                        \
		.run = bench_memory_copy_size,                                                     \
	},                                                                                         \
		{                                                                                  \
			.name = "ring-" size,                                                      \
			.title = "minimal ring, " size "B records",                                \
			.kind = BENCH_RATE,                                                        \
			.is_floor = true,                                                          \
			.extra = true,                                                             \
			.series = "size",                                                          \
			.series_of = "ring",                                                       \
			.x = (len),                                                                \
			.run = bench_ring_size,                                                    \
		},                                                                                 \
	{                                                                                          \
		.name = "size-" size, .title = "leat: 1 to 1, " size "B records",                  \
		.kind = BENCH_RATE, .extra = true, .series = "size", .series_of = "leat",          \
		.x = (len), .floor = "ring-" size, .run = bench_rate_size,                         \
	}

#define SCALE_ROW(what, n, words, function)                                                        \
	{                                                                                          \
		.name = what "-" #n, .title = "leat: " #n " " words, .kind = BENCH_RATE,           \
		.extra = true, .series = "scale", .series_of = what, .x = (n),                     \
		.floor = "ring-rate", .run = (function),                                           \
	}
#define SHARDS_ROW(n) SCALE_ROW("shards", n, "shards", bench_rate_shards)
#define PUBLISHERS_ROW(n) SCALE_ROW("publishers", n, "publishers of a shard", bench_rate_publishers)
#define BOTH_ROW(n) SCALE_ROW("64-shards", n, "publishers of 64 shards", bench_rate_both)

/* One way at a given rate, in records a second. */
#define LOAD_ROWS(rate, n, more)                                                                   \
	{                                                                                          \
		.name = "ring-load-" rate,                                                         \
		.title = "minimal ring, one way at " rate "/s",                                    \
		.kind = BENCH_LATENCY,                                                             \
		.is_floor = true,                                                                  \
		.extra = (more),                                                                   \
		.series = "load",                                                                  \
		.series_of = "ring",                                                               \
		.x = (n),                                                                          \
		.run = bench_load_ring,                                                            \
	},                                                                                         \
	{                                                                                          \
		.name = "load-" rate, .title = "leat: one way at " rate "/s, polling",             \
		.kind = BENCH_LATENCY, .extra = (more), .series = "load", .series_of = "leat",     \
		.x = (n), .floor = "ring-load-" rate, .run = bench_load_leat,                      \
	}

/* One publisher that waits for each of its records, and 64 that do so together. */
#define ACK_ROW(policy, sync, level, ack, bound, goal, more)                                       \
	{                                                                                          \
		.name = "ack-" policy level, .title = "leat: publish 4 KiB, wait: " policy level,  \
		.kind = BENCH_LATENCY, .extra = (more), .floor = (bound), .goal_ratio = (goal),    \
		.args = { (sync), (ack), 1 }, .run = bench_ack,                                    \
	}
#define ACK_64_ROW(policy, sync, level, ack, goal, more)                                           \
	{                                                                                          \
		.name = "ack-64-" policy level,                                                    \
		.title = "leat: 64 wait for their 4 KiB: " policy level, .kind = BENCH_RATE,       \
		.extra = (more), .floor = "append-sync-rate", .goal_ratio = (goal),                \
		.args = { (sync), (ack), 64 }, .run = bench_ack,                                   \
	}

/* After a kill -9, with so many segments on disk: by hand and under a keeper. */
#define RESTART_ROWS(segments, n, more)                                                            \
	{                                                                                          \
		.name = "restart-" segments,                                                       \
		.title = "leat: kill -9 to serving, " segments " segments",                        \
		.kind = BENCH_TIME,                                                                \
		.extra = (more),                                                                   \
		.series = "restart",                                                               \
		.series_of = "by hand",                                                            \
		.x = (n),                                                                          \
		.floor = "exec",                                                                   \
		.goal_absolute = 50e6,                                                             \
		.args = { (n), 0 },                                                                \
		.run = bench_restart,                                                              \
	},                                                                                         \
	{                                                                                          \
		.name = "restart-keep-" segments,                                                  \
		.title = "leat: the same, under --keep, " segments, .kind = BENCH_TIME,            \
		.extra = (more), .series = "restart", .series_of = "--keep", .x = (n),             \
		.floor = "exec", .goal_absolute = 50e6, .args = { (n), 1 }, .run = bench_restart,  \
	}

/* A peer that is measured here, and one that has a driver: the row of leat's to compare it with. */
#define KERNEL_ROW(row, words, measure, leat, function)                                            \
	{                                                                                          \
		.name = (row), .title = (words), .kind = (measure), .is_peer = true,               \
		.beside = (leat), .run = (function),                                               \
	}
#define PEER_ROW(row, words, measure, leat, driver, what)                                          \
	{                                                                                          \
		.name = (row), .title = (words), .kind = (measure), .is_peer = true,               \
		.beside = (leat), .peer = (driver), .work = (what), .run = bench_peer_run,         \
	}
/* The same where records are kept, of as many bytes as in leat's row. */
#define KEEP_ROW(row, words, measure, leat, driver, what, len)                                     \
	{                                                                                          \
		.name = (row), .title = (words), .kind = (measure), .is_peer = true,               \
		.beside = (leat), .peer = (driver), .work = (what), .x = (len),                    \
		.run = bench_peer_run,                                                             \
	}
/* Peers beside leat's row of that size. */
#define PEER_SIZE_ROWS(size, len)                                                                  \
	{                                                                                          \
		.name = "pipe-" size,                                                              \
		.title = "pipe: 1 to 1, " size "B records",                                        \
		.kind = BENCH_RATE,                                                                \
		.extra = true,                                                                     \
		.is_peer = true,                                                                   \
		.beside = "size-" size,                                                            \
		.series = "size",                                                                  \
		.series_of = "pipe",                                                               \
		.x = (len),                                                                        \
		.run = bench_socket_pipe_rate,                                                     \
	},                                                                                         \
		PEER_SIZE_ROW("zeromq", "ZeroMQ", size, len),                                      \
		PEER_SIZE_ROW("nng", "nng", size, len)
#define PEER_SIZE_ROW(driver, words, size, len)                                                    \
	{                                                                                          \
		.name = driver "-" size, .title = words ": 1 to 1, " size "B records",             \
		.kind = BENCH_RATE, .extra = true, .is_peer = true, .beside = "size-" size,        \
		.series = "size", .series_of = words, .x = (len), .peer = driver, .work = "rate",  \
		.run = bench_peer_run,                                                             \
	}

const struct bench_workload bench_table[] = {
	{
		.name = "cache-line",
		.title = "bare cache line, there and back",
		.kind = BENCH_LATENCY,
		.is_floor = true,
		.run = bench_memory_cache_line,
	},
	{
		.name = "ring",
		.title = "two minimal rings, there and back",
		.kind = BENCH_LATENCY,
		.is_floor = true,
		.floor = "cache-line",
		.run = bench_memory_ring,
	},
	{
		.name = "round-trip",
		.title = "leat: two streams, there and back, polling",
		.kind = BENCH_LATENCY,
		.floor = "ring",
		.goal_ratio = 1.1,
		.goal_p999_ratio = 2,
		.run = bench_leat_round_trip,
	},
	{
		.name = "round-trip-view",
		.title = "leat: the same, reading in place",
		.kind = BENCH_LATENCY,
		.floor = "ring",
		.run = bench_leat_round_trip_view,
	},
	LOAD_ROWS("10k", 10e3, false),
	LOAD_ROWS("100k", 100e3, false),
	LOAD_ROWS("1M", 1e6, false),
	LOAD_ROWS("4M", 4e6, true),
	LOAD_ROWS("10M", 10e6, true),
	{
		.name = "futex",
		.title = "futex, there and back",
		.kind = BENCH_LATENCY,
		.is_floor = true,
		.run = bench_memory_futex,
	},
	{
		.name = "round-trip-sleep",
		.title = "leat: two streams, there and back, sleeping",
		.kind = BENCH_LATENCY,
		.floor = "futex",
		.run = bench_leat_round_trip_sleep,
	},
	{
		.name = "round-trip-free",
		.title = "leat: the same, not pinned, as peers are",
		.kind = BENCH_LATENCY,
		.floor = "futex",
		.run = bench_leat_round_trip_free,
	},
	KERNEL_ROW("pipe-round-trip", "pipe: there and back", BENCH_LATENCY, "round-trip-free",
		   bench_socket_pipe_round_trip),
	KERNEL_ROW("datagram-round-trip", "Unix datagram: there and back", BENCH_LATENCY,
		   "round-trip-free", bench_socket_datagram_round_trip),
	KERNEL_ROW("seqpacket-round-trip", "Unix seqpacket: there and back", BENCH_LATENCY,
		   "round-trip-free", bench_socket_seqpacket_round_trip),
	PEER_ROW("zeromq-round-trip", "ZeroMQ: there and back", BENCH_LATENCY, "round-trip-free",
		 "zeromq", "round-trip"),
	PEER_ROW("nng-round-trip", "nng: there and back", BENCH_LATENCY, "round-trip-free", "nng",
		 "round-trip"),
	PEER_ROW("redis-round-trip", "Redis Streams: there and back", BENCH_LATENCY,
		 "round-trip-free", "redis", "round-trip"),
	PEER_ROW("nats-round-trip", "NATS JetStream: there and back", BENCH_LATENCY,
		 "round-trip-free", "nats", "round-trip"),
	{
		.name = "futex-wake-1",
		.title = "futex: 1 sleeper, until it runs",
		.kind = BENCH_LATENCY,
		.is_floor = true,
		.x = 1,
		.run = bench_wake_futex,
	},
	{
		.name = "wake-1",
		.title = "leat: 1 sleeper, until it runs",
		.kind = BENCH_LATENCY,
		.x = 1,
		.floor = "futex-wake-1",
		.goal_ratio = 1.1,
		.run = bench_wake_leat,
	},
	{
		.name = "wake-fd-1",
		.title = "leat: the same, sleeping in epoll",
		.kind = BENCH_LATENCY,
		.x = 1,
		.floor = "futex-wake-1",
		.goal_ratio = 1.5,
		.run = bench_wake_fd,
	},
	{
		.name = "eventfd-wake-1",
		.title = "eventfd and epoll: 1 sleeper",
		.kind = BENCH_LATENCY,
		.is_floor = true,
		.x = 1,
		.run = bench_wake_eventfd,
	},
	{
		.name = "futex-wake-64",
		.title = "futex: 64 sleepers, until each runs",
		.kind = BENCH_LATENCY,
		.is_floor = true,
		.x = 64,
		.run = bench_wake_futex,
	},
	{
		.name = "wake-64",
		.title = "leat: 64 sleepers, until each runs",
		.kind = BENCH_LATENCY,
		.x = 64,
		.floor = "futex-wake-64",
		.run = bench_wake_leat,
	},
	{
		.name = "wake-fd-64",
		.title = "leat: the same, sleeping in epoll",
		.kind = BENCH_LATENCY,
		.extra = true,
		.x = 64,
		.floor = "futex-wake-64",
		.run = bench_wake_fd,
	},
	{
		.name = "futex-call-1",
		.title = "futex: the call that wakes 1",
		.kind = BENCH_LATENCY,
		.is_floor = true,
		.x = 1,
		.run = bench_wake_futex_call,
	},
	{
		.name = "wake-call-1",
		.title = "leat: the publish that wakes 1",
		.kind = BENCH_LATENCY,
		.x = 1,
		.floor = "futex-call-1",
		.run = bench_wake_leat_call,
	},
	{
		.name = "futex-call-64",
		.title = "futex: the call that wakes 64",
		.kind = BENCH_LATENCY,
		.is_floor = true,
		.x = 64,
		.run = bench_wake_futex_call,
	},
	{
		.name = "wake-call-64",
		.title = "leat: the publish that wakes 64",
		.kind = BENCH_LATENCY,
		.x = 64,
		.floor = "futex-call-64",
		.run = bench_wake_leat_call,
	},
	{
		.name = "append-sync",
		.title = "append 4 KiB and fdatasync",
		.kind = BENCH_LATENCY,
		.is_floor = true,
		.run = bench_disk_append_sync,
	},
	ACK_ROW("", LEAT_SYNC_ALWAYS, "ring", LEAT_ACK_RING, NULL, 0, true),
	ACK_ROW("", LEAT_SYNC_ALWAYS, "written", LEAT_ACK_WRITTEN, NULL, 0, false),
	ACK_ROW("", LEAT_SYNC_ALWAYS, "durable", LEAT_ACK_DURABLE, "append-sync", 1.3, false),
	ACK_ROW("10ms-", LEAT_SYNC_INTERVAL, "ring", LEAT_ACK_RING, NULL, 0, true),
	ACK_ROW("10ms-", LEAT_SYNC_INTERVAL, "written", LEAT_ACK_WRITTEN, NULL, 0, true),
	ACK_ROW("10ms-", LEAT_SYNC_INTERVAL, "durable", LEAT_ACK_DURABLE, "append-sync", 0, true),
	ACK_ROW("none-", LEAT_SYNC_NONE, "ring", LEAT_ACK_RING, NULL, 0, true),
	ACK_ROW("none-", LEAT_SYNC_NONE, "written", LEAT_ACK_WRITTEN, NULL, 0, true),
	ACK_ROW("none-", LEAT_SYNC_NONE, "durable", LEAT_ACK_DURABLE, "append-sync", 0, true),
	KEEP_ROW("redis-ack-written", "Redis Streams: XADD 4 KiB, not synced", BENCH_LATENCY,
		 "ack-written", "redis", "ack", 4096),
	KEEP_ROW("nats-ack-written", "NATS JetStream: publish 4 KiB, not synced", BENCH_LATENCY,
		 "ack-written", "nats", "ack", 4096),
	KEEP_ROW("redis-ack-durable", "Redis Streams: XADD 4 KiB, synced", BENCH_LATENCY,
		 "ack-durable", "redis", "ack-sync", 4096),
	KEEP_ROW("nats-ack-durable", "NATS JetStream: publish 4 KiB, synced", BENCH_LATENCY,
		 "ack-durable", "nats", "ack-sync", 4096),
	{
		.name = "raw-load",
		.title = "write of 1 KiB at 80 % of the disk's rate",
		.kind = BENCH_LATENCY,
		.is_floor = true,
		.run = bench_disk_load,
	},
	{
		.name = "disk-load",
		.title = "leat: publish at 80 % of the disk's rate",
		.kind = BENCH_LATENCY,
		.floor = "raw-load",
		.goal_p9999 = 1e6,
		.run = bench_store_load,
	},
	{
		.name = "ring-rate",
		.title = "minimal ring, 1 to 1",
		.kind = BENCH_RATE,
		.is_floor = true,
		.run = bench_memory_ring_rate,
	},
	{
		.name = "rate",
		.title = "leat: 1 to 1, one record a call",
		.kind = BENCH_RATE,
		.floor = "ring-rate",
		.goal_absolute = 40e6,
		.run = bench_rate_1,
	},
	{
		.name = "rate-many",
		.title = "leat: 1 to 1, 64 records a call",
		.kind = BENCH_RATE,
		.floor = "ring-rate",
		.goal_absolute = 80e6,
		.run = bench_rate_many,
	},
	{
		.name = "rate-batch",
		.title = "leat: 1 to 1, atomic batches of 64",
		.kind = BENCH_RATE,
		.floor = "ring-rate",
		.goal_absolute = 80e6,
		.run = bench_rate_batch,
	},
	{
		.name = "rate-claim",
		.title = "leat: 1 to 1, written in place",
		.kind = BENCH_RATE,
		.floor = "ring-rate",
		.run = bench_rate_claim,
	},
	{
		.name = "rate-4",
		.title = "leat: 1 to 4 subscribers",
		.kind = BENCH_RATE,
		.floor = "ring-rate",
		.extra = true,
		.run = bench_rate_4,
	},
	{
		.name = "ring-rate-8",
		.title = "minimal ring, 1 to 8",
		.kind = BENCH_RATE,
		.is_floor = true,
		.run = bench_ring_rate_8,
	},
	{
		.name = "rate-8",
		.title = "leat: 1 to 8 subscribers",
		.kind = BENCH_RATE,
		.floor = "ring-rate-8",
		.run = bench_rate_8,
	},
	{
		.name = "ring-rate-2to1",
		.title = "minimal ring, 2 to 1",
		.kind = BENCH_RATE,
		.is_floor = true,
		.run = bench_ring_rate_2to1,
	},
	{
		.name = "rate-2to1",
		.title = "leat: 2 publishers to 1",
		.kind = BENCH_RATE,
		.floor = "ring-rate-2to1",
		.run = bench_rate_2to1,
	},
	KERNEL_ROW("pipe-rate", "pipe: 1 to 1, one record a call", BENCH_RATE, "rate",
		   bench_socket_pipe_rate),
	KERNEL_ROW("pipe-rate-many", "pipe: 1 to 1, 64 records a call", BENCH_RATE, "rate-many",
		   bench_socket_pipe_rate_many),
	KERNEL_ROW("datagram-rate", "Unix datagram: 1 to 1, one record a call", BENCH_RATE, "rate",
		   bench_socket_datagram_rate),
	KERNEL_ROW("datagram-rate-many", "Unix datagram: 1 to 1, 64 records a call", BENCH_RATE,
		   "rate-many", bench_socket_datagram_rate_many),
	KERNEL_ROW("seqpacket-rate", "Unix seqpacket: 1 to 1, one record a call", BENCH_RATE,
		   "rate", bench_socket_seqpacket_rate),
	KERNEL_ROW("seqpacket-rate-many", "Unix seqpacket: 1 to 1, 64 records a call", BENCH_RATE,
		   "rate-many", bench_socket_seqpacket_rate_many),
	PEER_ROW("zeromq-rate", "ZeroMQ: 1 to 1", BENCH_RATE, "rate", "zeromq", "rate"),
	PEER_ROW("nng-rate", "nng: 1 to 1", BENCH_RATE, "rate", "nng", "rate"),
	PEER_ROW("redis-rate", "Redis Streams: 1 to 1", BENCH_RATE, "rate", "redis", "rate"),
	PEER_ROW("nats-rate", "NATS JetStream: 1 to 1", BENCH_RATE, "rate", "nats", "rate"),
	{
		.name = "publish",
		.title = "leat: publishing, nobody listens",
		.kind = BENCH_RATE,
		.floor = "ring-rate",
		.run = bench_publish_alone,
	},
	SIZE_ROWS("16", 16),
	SIZE_ROWS("64", 64),
	SIZE_ROWS("256", 256),
	SIZE_ROWS("1Ki", 1024),
	SIZE_ROWS("4Ki", 4096),
	SIZE_ROWS("16Ki", 16384),
	SIZE_ROWS("64Ki", 65536),
	SIZE_ROWS("256Ki", 262144),
	SIZE_ROWS("1Mi", 1048576),
	PEER_SIZE_ROWS("64", 64),
	PEER_SIZE_ROWS("1Ki", 1024),
	PEER_SIZE_ROWS("16Ki", 16384),
	PEER_SIZE_ROWS("256Ki", 262144),
	PEER_SIZE_ROWS("1Mi", 1048576),
	SHARDS_ROW(1),
	SHARDS_ROW(2),
	SHARDS_ROW(4),
	SHARDS_ROW(8),
	SHARDS_ROW(16),
	SHARDS_ROW(32),
	SHARDS_ROW(64),
	PUBLISHERS_ROW(1),
	PUBLISHERS_ROW(2),
	PUBLISHERS_ROW(4),
	PUBLISHERS_ROW(8),
	PUBLISHERS_ROW(16),
	PUBLISHERS_ROW(32),
	BOTH_ROW(1),
	BOTH_ROW(8),
	BOTH_ROW(32),
	{
		.name = "append-sync-rate",
		.title = "append 4 KiB and fdatasync, a second",
		.kind = BENCH_RATE,
		.is_floor = true,
		.run = bench_disk_append_sync,
	},
	ACK_64_ROW("", LEAT_SYNC_ALWAYS, "ring", LEAT_ACK_RING, 0, true),
	ACK_64_ROW("", LEAT_SYNC_ALWAYS, "written", LEAT_ACK_WRITTEN, 0, true),
	ACK_64_ROW("", LEAT_SYNC_ALWAYS, "durable", LEAT_ACK_DURABLE, 30, false),
	ACK_64_ROW("10ms-", LEAT_SYNC_INTERVAL, "ring", LEAT_ACK_RING, 0, true),
	ACK_64_ROW("10ms-", LEAT_SYNC_INTERVAL, "written", LEAT_ACK_WRITTEN, 0, true),
	ACK_64_ROW("10ms-", LEAT_SYNC_INTERVAL, "durable", LEAT_ACK_DURABLE, 0, true),
	ACK_64_ROW("none-", LEAT_SYNC_NONE, "ring", LEAT_ACK_RING, 0, true),
	ACK_64_ROW("none-", LEAT_SYNC_NONE, "written", LEAT_ACK_WRITTEN, 0, true),
	ACK_64_ROW("none-", LEAT_SYNC_NONE, "durable", LEAT_ACK_DURABLE, 0, true),
	{
		.name = "raw-read-warm",
		.title = "raw read of segments, warm: 64 B records",
		.kind = BENCH_RATE,
		.is_floor = true,
		.needs_bus = true,
		.run = bench_replay_raw_warm,
	},
	{
		.name = "replay-warm",
		.title = "leat: replay, from the page cache",
		.kind = BENCH_RATE,
		.floor = "raw-read-warm",
		.goal_absolute = 8e6,
		.run = bench_replay_warm,
	},
	{
		.name = "catch-up",
		.title = "leat: a late subscriber, beside 1 M/s",
		.kind = BENCH_RATE,
		.floor = "raw-read-warm",
		.goal_absolute = 8e6,
		.run = bench_catchup,
	},
	{
		.name = "catch-up-cost",
		.title = "leat: publishes it holds up, of a million",
		.kind = BENCH_COUNT,
		.goal_absolute = 50000,
		.run = bench_catchup_cost,
	},
	{
		.name = "kernel-entries",
		.title = "leat: publishes that entered the kernel",
		.kind = BENCH_COUNT,
		.goal_absolute = 100,
		.run = bench_publish_kernel_entries,
	},
	{
		.name = "kernel-entries-1",
		.title = "leat: the same, 1 sleeps between thousands",
		.kind = BENCH_COUNT,
		.x = 1,
		.run = bench_publish_kernel_entries,
	},
	{
		.name = "kernel-entries-64",
		.title = "leat: the same, 64 sleep",
		.kind = BENCH_COUNT,
		.x = 64,
		.run = bench_publish_kernel_entries,
	},
	{
		.name = "copy",
		.title = "memory copy, 1 MiB blocks",
		.kind = BENCH_BYTES,
		.is_floor = true,
		.run = bench_memory_copy,
	},
	{
		.name = "raw-write",
		.title = "sequential write, 1 MiB blocks, fdatasync",
		.kind = BENCH_BYTES,
		.is_floor = true,
		.run = bench_disk_write,
	},
	{
		.name = "disk",
		.title = "leat: 1 KiB records to disk, synced always",
		.kind = BENCH_BYTES,
		.floor = "raw-write",
		.goal_ratio = 0.95,
		.args = { LEAT_SYNC_ALWAYS },
		.run = bench_store_disk,
	},
	{
		.name = "disk-10ms",
		.title = "leat: the same, synced every 10 ms",
		.kind = BENCH_BYTES,
		.floor = "raw-write",
		.goal_ratio = 0.95,
		.args = { LEAT_SYNC_INTERVAL },
		.run = bench_store_disk,
	},
	{
		.name = "disk-unsynced",
		.title = "leat: the same, synced once at the end",
		.kind = BENCH_BYTES,
		.floor = "raw-write",
		.goal_ratio = 0.95,
		.args = { LEAT_SYNC_NONE },
		.run = bench_store_disk,
	},
	KEEP_ROW("redis-disk", "Redis Streams: 1 KiB, synced always", BENCH_BYTES, "disk", "redis",
		 "keep-sync", 1024),
	KEEP_ROW("nats-disk", "NATS JetStream: 1 KiB, synced always", BENCH_BYTES, "disk", "nats",
		 "keep-sync", 1024),
	KEEP_ROW("redis-disk-unsynced", "Redis Streams: 1 KiB, synced at the end", BENCH_BYTES,
		 "disk-unsynced", "redis", "keep", 1024),
	KEEP_ROW("nats-disk-unsynced", "NATS JetStream: 1 KiB, synced at the end", BENCH_BYTES,
		 "disk-unsynced", "nats", "keep", 1024),
	{
		.name = "raw-read",
		.title = "raw read of segments, cold",
		.kind = BENCH_BYTES,
		.is_floor = true,
		.needs_bus = true,
		.run = bench_replay_raw_cold,
	},
	{
		.name = "replay-cold",
		.title = "leat: replay of 1 KiB records, cold",
		.kind = BENCH_BYTES,
		.floor = "raw-read",
		.goal_ratio = 0.9,
		.run = bench_replay_cold,
	},
	{
		.name = "raw-write-long",
		.title = "sequential write, 20 GB or a minute",
		.kind = BENCH_BYTES,
		.is_floor = true,
		.extra = true,
		.run = bench_disk_write_long,
	},
	{
		.name = "disk-long",
		.title = "leat: 1 KiB records, 20 GB or a minute",
		.kind = BENCH_BYTES,
		.extra = true,
		.floor = "raw-write-long",
		.goal_ratio = 0.95,
		.args = { LEAT_SYNC_ALWAYS },
		.run = bench_store_disk_long,
	},
	{
		.name = "disk-cpu",
		.title = "leat: the daemon's CPU time for a GB to disk",
		.kind = BENCH_TIME,
		.goal_absolute = 500e6,
		.args = { LEAT_SYNC_ALWAYS },
		.run = bench_store_disk,
	},
	{
		.name = "exec",
		.title = "starting a program that ends at once",
		.kind = BENCH_TIME,
		.is_floor = true,
		.needs_bus = true,
		.run = bench_restart_exec,
	},
	RESTART_ROWS("10", 10, false),
	RESTART_ROWS("1k", 1000, true),
	RESTART_ROWS("10k", 10000, true),
	{
		.name = "idle-wakes",
		.title = "leat: times that anything of it wakes up",
		.kind = BENCH_EVENTS,
		.goal_absolute = 2,
		.run = bench_idle_wakes,
	},
	{
		.name = "idle-cpu",
		.title = "leat: CPU of all of it with nothing to do",
		.kind = BENCH_SHARE,
		.goal_absolute = 0.05,
		.run = bench_idle_cpu,
	},
	{
		.name = "idle-memory",
		.title = "leat: the daemon's memory beside rings",
		.kind = BENCH_SIZE,
		.goal_absolute = 12e6,
		.run = bench_idle_memory,
	},
};

const size_t bench_table_len = ARRAY_LEN(bench_table);

const struct bench_workload *bench_table_find(const char *name)
{
	size_t i;

	for (i = 0; i < bench_table_len; i++) {
		if (strcmp(bench_table[i].name, name) == 0)
			return &bench_table[i];
	}
	return NULL;
}

bool bench_table_needs_bus(const struct bench_workload *workload)
{
	return workload->needs_bus || (!workload->is_floor && !workload->is_peer);
}
