/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of `leat bench` share: a workload, what one run of it gives, and the settings.
 * A workload is a row of bench_table.c; its function runs once for each interleaved run.
 */
#ifndef TOOLS_BENCH_H
#define TOOLS_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	BENCH_FACTS_MAX = 12,
	BENCH_CURVE_LEN = 9, /* quantiles that are kept of a latency */
	BENCH_RUNS_MAX = 99,
	BENCH_ARG_LONG = 1,   /* of a row's args: a load on disk that shows what it sustains */
	BENCH_VALUE_LEN = 64, /* of a small record, at the floors and through leat */
};

enum bench_kind {
	BENCH_LATENCY, /* nanoseconds, less is better */
	BENCH_RATE,    /* records per second, more is better */
	BENCH_BYTES,   /* bytes per second, more is better */
	BENCH_COUNT,   /* events in a million records, less is better */
	BENCH_TIME,    /* nanoseconds that something takes once, less is better */
	BENCH_EVENTS,  /* per second with nothing to do, less is better */
	BENCH_SHARE,   /* of a processor, in percent, less is better */
	BENCH_SIZE,    /* bytes of memory, less is better */
};

/* What a workload returns when it cannot be had here; env->error says what to do about it. */
enum {
	BENCH_SKIPPED = 1
};

/* Something more that a workload knows, such as how often a publisher woke the drain. */
struct bench_fact {
	const char *name; /* static */
	double value;
};

/* What one run gives: a latency fills in the quantiles, everything else only `value`. */
struct bench_result {
	double value; /* the median of a latency, otherwise the rate or count */
	double p99;
	double p999;
	double p9999;
	double max;
	double curve[BENCH_CURVE_LEN]; /* at bench_hist_quantiles[], these three among them */
	uint64_t n_samples;
	size_t n_facts;
	struct bench_fact facts[BENCH_FACTS_MAX];
};

struct bench_env {
	const struct bench_workload *row; /* that runs now: one function may serve several */
	bool quick;
	bool private_bus; /* started by the bench, in dir */
	bool real_time;   /* members run before all others */
	int n_runs;
	uint64_t run_ns;       /* how long a run of a workload in memory takes */
	uint64_t disk_ns;      /* and at most one on disk */
	uint64_t disk_len;     /* bytes that one run on disk writes at most */
	uint64_t disk_long_ns; /* the same of a run that shows what it sustains */
	uint64_t disk_long_len;
	double disk_rate; /* bytes per second that the disk takes, once it was measured */
	char dir[256];    /* the bench's own directory, removed at the end */
	char bus[256];    /* path of the daemon's socket */
	int n_cpus;       /* that this process may use */
	int cpus[2];      /* to pin to, on different cores; -1 when there is only one */
	char error[512];  /* why a workload failed, or was skipped */
	char about[160];  /* what a peer is and how it is driven, for the report */
};

struct bench_workload {
	const char *name; /* stable: --only and the keys of --json */
	const char *title;
	enum bench_kind kind;
	bool is_floor;
	bool needs_bus;     /* a floor that measures what leat has made, such as its files */
	bool extra;         /* takes long, or is of interest to few: with --all, or by name */
	bool is_peer;       /* needs no bus, and is skipped where the peer is not installed */
	const char *beside; /* of a peer: leat's row that does the same, or NULL */
	const char *peer;   /* the driver that measures it, leat-bench-<peer>; NULL = done here */
	const char *work;   /* and what that has to do */
	/* A chart shows all rows of a series, a line for each series_of, x rightwards; or NULL. */
	const char *series;    /* "size", "scale" */
	const char *series_of; /* "leat", "ring" */
	double x;              /* bytes, number of shards: what `run` takes it from as well */
	const char *floor;     /* the workload it is compared with, or NULL */
	double goal_ratio; /* to the floor: at most for a latency, at least for a rate; 0 = none */
	double goal_absolute;   /* the same for the value itself; 0 = none */
	double goal_p999_ratio; /* of a latency's 99.9 %, at most so many times the floor's */
	double goal_p9999;      /* of its 99.99 %, at most so many nanoseconds */
	int args[3];            /* what tells rows of one function apart, beside x */
	int (*run)(struct bench_env *env, struct bench_result *result);
};

extern const struct bench_workload bench_table[];
extern const size_t bench_table_len;
/* The row of that name, or NULL. */
const struct bench_workload *bench_table_find(const char *name);
/* Whether it measures leat itself or what leat has made, which takes a daemon. */
bool bench_table_needs_bus(const struct bench_workload *workload);

/* Each returns 0, or a negative errno with the reason in env->error. */
int bench_memory_cache_line(struct bench_env *env, struct bench_result *result);
int bench_memory_ring(struct bench_env *env, struct bench_result *result);
int bench_memory_ring_rate(struct bench_env *env, struct bench_result *result);
int bench_memory_futex(struct bench_env *env, struct bench_result *result);
int bench_memory_copy(struct bench_env *env, struct bench_result *result);
int bench_memory_copy_size(struct bench_env *env, struct bench_result *result);
int bench_disk_write(struct bench_env *env, struct bench_result *result);
int bench_disk_write_long(struct bench_env *env, struct bench_result *result);
int bench_disk_load(struct bench_env *env, struct bench_result *result);
int bench_disk_append_sync(struct bench_env *env, struct bench_result *result);
int bench_leat_round_trip(struct bench_env *env, struct bench_result *result);
int bench_leat_round_trip_view(struct bench_env *env, struct bench_result *result);
int bench_leat_round_trip_sleep(struct bench_env *env, struct bench_result *result);
int bench_load_ring(struct bench_env *env, struct bench_result *result);
int bench_load_leat(struct bench_env *env, struct bench_result *result);
int bench_wake_futex(struct bench_env *env, struct bench_result *result);
int bench_wake_futex_call(struct bench_env *env, struct bench_result *result);
int bench_wake_eventfd(struct bench_env *env, struct bench_result *result);
int bench_wake_leat(struct bench_env *env, struct bench_result *result);
int bench_wake_leat_call(struct bench_env *env, struct bench_result *result);
int bench_wake_fd(struct bench_env *env, struct bench_result *result);
int bench_leat_round_trip_free(struct bench_env *env, struct bench_result *result);
int bench_rate_1(struct bench_env *env, struct bench_result *result);
int bench_rate_many(struct bench_env *env, struct bench_result *result);
int bench_rate_batch(struct bench_env *env, struct bench_result *result);
int bench_rate_claim(struct bench_env *env, struct bench_result *result);
int bench_rate_4(struct bench_env *env, struct bench_result *result);
int bench_rate_8(struct bench_env *env, struct bench_result *result);
int bench_rate_2to1(struct bench_env *env, struct bench_result *result);
int bench_rate_size(struct bench_env *env, struct bench_result *result);
int bench_rate_shards(struct bench_env *env, struct bench_result *result);
int bench_rate_publishers(struct bench_env *env, struct bench_result *result);
int bench_rate_both(struct bench_env *env, struct bench_result *result);
int bench_ring_size(struct bench_env *env, struct bench_result *result);
int bench_ring_rate_8(struct bench_env *env, struct bench_result *result);
int bench_ring_rate_2to1(struct bench_env *env, struct bench_result *result);
int bench_publish_alone(struct bench_env *env, struct bench_result *result);
int bench_publish_kernel_entries(struct bench_env *env, struct bench_result *result);
int bench_store_disk(struct bench_env *env, struct bench_result *result);
int bench_socket_pipe_round_trip(struct bench_env *env, struct bench_result *result);
int bench_socket_pipe_rate(struct bench_env *env, struct bench_result *result);
int bench_socket_pipe_rate_many(struct bench_env *env, struct bench_result *result);
int bench_socket_datagram_round_trip(struct bench_env *env, struct bench_result *result);
int bench_socket_datagram_rate(struct bench_env *env, struct bench_result *result);
int bench_socket_datagram_rate_many(struct bench_env *env, struct bench_result *result);
int bench_socket_seqpacket_round_trip(struct bench_env *env, struct bench_result *result);
int bench_socket_seqpacket_rate(struct bench_env *env, struct bench_result *result);
int bench_socket_seqpacket_rate_many(struct bench_env *env, struct bench_result *result);
int bench_store_disk_long(struct bench_env *env, struct bench_result *result);
int bench_store_load(struct bench_env *env, struct bench_result *result);
int bench_replay_raw_cold(struct bench_env *env, struct bench_result *result);
int bench_replay_raw_warm(struct bench_env *env, struct bench_result *result);
int bench_replay_cold(struct bench_env *env, struct bench_result *result);
int bench_replay_warm(struct bench_env *env, struct bench_result *result);
int bench_catchup(struct bench_env *env, struct bench_result *result);
int bench_catchup_cost(struct bench_env *env, struct bench_result *result);
int bench_restart(struct bench_env *env, struct bench_result *result);
int bench_restart_exec(struct bench_env *env, struct bench_result *result);
int bench_idle_wakes(struct bench_env *env, struct bench_result *result);
int bench_idle_cpu(struct bench_env *env, struct bench_result *result);
int bench_idle_memory(struct bench_env *env, struct bench_result *result);
int bench_ack(struct bench_env *env, struct bench_result *result);

/* Fills in env->disk_rate where it was not measured yet. */
int bench_disk_rate(struct bench_env *env);
/* How long a load of 80 % of it lasts until it has written as much as it may. */
uint64_t bench_disk_load_ns(const struct bench_env *env, bool is_long);

static inline void bench_add_fact(struct bench_result *result, const char *name, double value)
{
	if (result->n_facts < BENCH_FACTS_MAX)
		result->facts[result->n_facts++] = (struct bench_fact){ name, value };
}

#endif
