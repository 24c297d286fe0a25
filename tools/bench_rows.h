/* SPDX-License-Identifier: Apache-2.0 */
/* The families of bench_table.c: rows that differ in a size, a rate, a number or a peer only. */
#ifndef TOOLS_BENCH_ROWS_H
#define TOOLS_BENCH_ROWS_H

#include "tools/bench.h"
#include "tools/bench_peer.h"

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

#endif
