/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an advice brings: the same short workload with and without it. Nothing is changed that
 * others would notice, or that lasts longer than the run.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/bench_advise.h"
#include "tools/bench_cell.h"
#include "tools/bench_clock.h"
#include "tools/bench_daemon.h"
#include "tools/bench_stream.h"
#include "tools/tool.h"

enum {
	LINE_LEN = 128,
	CALLS = 2000000,
	SPAN = BENCH_STREAM_SPAN,
};

typedef int run_fn(struct bench_env *env, struct bench_result *result);

static int run_row(struct bench_env *env, const char *name, run_fn *run,
		   struct bench_result *result)
{
	*result = (struct bench_result){ 0 };
	env->row = bench_table_find(name);
	return run(env, result);
}

/* On two processors of the caller's choice instead of the bench's. */
static int run_on(struct bench_env *env, int first, int second, const char *name, run_fn *run,
		  struct bench_result *result)
{
	struct bench_env elsewhere = *env;
	int rc;

	elsewhere.cpus[0] = first;
	elsewhere.cpus[1] = second;
	rc = run_row(&elsewhere, name, run, result);
	memcpy(env->error, elsewhere.error, sizeof(env->error));
	return rc;
}

int advise_try_pinning(struct bench_env *env, bool with, double *ret_value)
{
	struct bench_result result;
	int rc = run_on(env, with ? env->cpus[0] : -1, with ? env->cpus[1] : -1, "round-trip",
			bench_leat_round_trip, &result);

	*ret_value = result.p99;
	return rc;
}

int advise_try_spinning(struct bench_env *env, bool with, double *ret_value)
{
	struct bench_result result;
	int rc = run_row(env, "round-trip",
			 with ? bench_leat_round_trip : bench_leat_round_trip_sleep, &result);

	*ret_value = result.value;
	return rc;
}

int advise_try_batching(struct bench_env *env, bool with, double *ret_value)
{
	struct bench_result result;
	int rc = run_row(env, "rate", with ? bench_rate_batch : bench_rate_1, &result);

	*ret_value = result.value;
	return rc;
}

/* ---- pages ---- */

/* Writes records of the usual span all through the memory, and reads them; ns for each. */
static double walk(char *ring, size_t len, uint64_t run_ns)
{
	uint64_t start = bench_clock_ticks(), end = start + bench_clock_from_ns(run_ns), n = 0;
	uint64_t now = start;
	volatile char sink;
	size_t off;

	while (now < end) {
		for (off = 0; off + SPAN <= len; off += SPAN, n++)
			memset(ring + off, (int)n, SPAN);
		for (off = 0; off + SPAN <= len; off += SPAN)
			sink = ring[off];
		now = bench_clock_ticks();
	}
	(void)sink;
	return bench_clock_ns(now - start) / (double)n;
}

/* Where shared memory may not have them, private memory shows what they would bring. */
int advise_try_transparent(struct bench_env *env, bool with, double *ret_value)
{
	size_t len = BENCH_STREAM_RING_LEN;
	char *ring = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (ring == MAP_FAILED)
		return -ENOMEM;
	madvise(ring, len, with ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	memset(ring, 1, len);
	*ret_value = walk(ring, len, env->run_ns);
	munmap(ring, len);
	return 0;
}

/* ---- places ---- */

int advise_try_numa(struct bench_env *env, bool with, double *ret_value)
{
	char here[LINE_LEN], there[LINE_LEN];
	struct bench_result result;
	int rc;

	advise_look_line("/sys/devices/system/node/node0/cpulist", here, sizeof(here));
	advise_look_line("/sys/devices/system/node/node1/cpulist", there, sizeof(there));
	rc = run_on(env, advise_look_nth_cpu(here, 0),
		    with ? advise_look_nth_cpu(here, 1) : advise_look_nth_cpu(there, 0), "ring",
		    bench_memory_ring, &result);
	*ret_value = result.value;
	return rc;
}

int advise_try_smt(struct bench_env *env, bool with, double *ret_value)
{
	char path[LINE_LEN], siblings[LINE_LEN];
	int other = env->cpus[1], i, rc;
	struct bench_result result;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list",
		 env->cpus[0]);
	advise_look_line(path, siblings, sizeof(siblings));
	for (i = 0; !with && (other = advise_look_nth_cpu(siblings, i)) == env->cpus[0]; i++)
		;
	rc = run_on(env, env->cpus[0], other, "ring", bench_memory_ring, &result);
	*ret_value = result.value;
	return rc;
}

/* ---- sleeping ---- */

int advise_try_rtprio(struct bench_env *env, bool with, double *ret_value)
{
	struct bench_result result;
	int rc;

	env->real_time = with;
	rc = run_row(env, "wake-1", bench_wake_leat, &result);
	env->real_time = false;
	*ret_value = result.p99;
	return rc;
}

/* The kernel forgets the wish when the file is closed. */
int advise_try_idle(struct bench_env *env, bool with, double *ret_value)
{
	int fd = with ? open("/dev/cpu_dma_latency", O_WRONLY | O_CLOEXEC) : -1, rc;
	const int32_t at_once = 0;
	struct bench_result result;

	if (with && (fd < 0 || write(fd, &at_once, sizeof(at_once)) != sizeof(at_once))) {
		rc = -errno;
		if (fd >= 0)
			close(fd);
		snprintf(env->error, sizeof(env->error), "/dev/cpu_dma_latency: %s", strerror(-rc));
		return rc;
	}
	rc = run_row(env, "wake-1", bench_wake_leat, &result);
	if (fd >= 0)
		close(fd);
	*ret_value = result.value;
	return rc;
}

/* ---- system calls ---- */

/* A daemon of its own that is told to use threads, on the same disk. */
static int run_with_threads(struct bench_env *env, struct bench_result *result)
{
	struct bench_server *daemon = NULL;
	struct bench_env own = *env;
	char path[sizeof(own.dir) + 16];
	FILE *file;
	int rc;

	snprintf(own.dir, sizeof(own.dir), "%.200s/t", env->dir);
	mkdir(own.dir, 0700);
	snprintf(path, sizeof(path), "%s/leatd.conf", own.dir);
	file = fopen(path, "we");
	if (!file)
		return -errno;
	fputs("io = threads\n", file);
	fclose(file);
	rc = bench_daemon_start(&own, &daemon);
	if (rc == 0)
		rc = run_row(&own, "ack-durable", bench_ack, result);
	bench_server_stop(daemon);
	bench_daemon_remove_tree(own.dir);
	memcpy(env->error, own.error, sizeof(env->error));
	return rc;
}

int advise_try_io_uring(struct bench_env *env, bool with, double *ret_value)
{
	struct bench_result result = { 0 };
	int rc;

	if (with)
		rc = run_row(env, "ack-durable", bench_ack, &result);
	else
		rc = run_with_threads(env, &result);
	*ret_value = result.value;
	return rc;
}

/* A commit as it is, and one with the full fence that it would need otherwise. */
int advise_try_membarrier(struct bench_env *env, bool with, double *ret_value)
{
	static struct bench_cell word, fence;
	uint64_t start = bench_clock_ticks();
	int i;

	(void)env;
	for (i = 0; i < CALLS; i++) {
		cell_store(&word.value, (uint64_t)i);
		if (!with)
			cell_add(&fence.value);
	}
	*ret_value = bench_clock_ns(bench_clock_ticks() - start) / CALLS;
	return 0;
}

int advise_try_clock(struct bench_env *env, bool with, double *ret_value)
{
	uint64_t start = bench_clock_ticks();
	struct timespec now;
	int i;

	(void)env;
	for (i = 0; i < CALLS; i++) {
		if (with)
			(void)bench_clock_ticks();
		else
			clock_gettime(CLOCK_REALTIME, &now);
	}
	*ret_value = bench_clock_ns(bench_clock_ticks() - start) / CALLS;
	return 0;
}
