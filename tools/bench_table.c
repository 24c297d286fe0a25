/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workloads in the order in which they run and are printed. Names are part of the interface:
 * scripts select by them and find them in the JSON.
 */
#include <string.h>

#include "tools/bench.h"
#include "tools/tool.h"

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
		.goal_ratio = 1.5,
		.run = bench_leat_round_trip,
	},
	{
		.name = "round-trip-view",
		.title = "leat: the same, reading in place",
		.kind = BENCH_LATENCY,
		.floor = "ring",
		.run = bench_leat_round_trip_view,
	},
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
		.name = "append-sync",
		.title = "append 4 KiB and fdatasync",
		.kind = BENCH_LATENCY,
		.is_floor = true,
		.run = bench_disk_append_sync,
	},
	{
		.name = "ack-durable",
		.title = "leat: publish 4 KiB, wait for durable",
		.kind = BENCH_LATENCY,
		.floor = "append-sync",
		.run = bench_store_ack,
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
		.goal_absolute = 15e6,
		.run = bench_leat_rate,
	},
	{
		.name = "rate-many",
		.title = "leat: 1 to 1, 64 records a call",
		.kind = BENCH_RATE,
		.floor = "ring-rate",
		.run = bench_leat_rate_many,
	},
	{
		.name = "rate-4",
		.title = "leat: 1 to 4 subscribers",
		.kind = BENCH_RATE,
		.floor = "ring-rate",
		.run = bench_leat_rate_4,
	},
	{
		.name = "publish",
		.title = "leat: publishing, nobody listens",
		.kind = BENCH_RATE,
		.floor = "ring-rate",
		.run = bench_publish_alone,
	},
	{
		.name = "kernel-entries",
		.title = "leat: publishes that entered the kernel",
		.kind = BENCH_COUNT,
		.goal_absolute = 100,
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
		.goal_ratio = 0.5,
		.run = bench_store_disk,
	},
	{
		.name = "disk-unsynced",
		.title = "leat: the same, synced once at the end",
		.kind = BENCH_BYTES,
		.floor = "raw-write",
		.goal_ratio = 0.5,
		.run = bench_store_disk_unsynced,
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
	return !workload->is_floor && !workload->is_peer;
}
