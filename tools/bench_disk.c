/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floors on disk: what the file system below the bench's directory gives to a program that
 * does nothing else than write.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/bench_clock.h"
#include "tools/bench_hist.h"
#include "tools/bench_schedule.h"
#include "tools/tool.h"

enum {
	WRITE_BLOCK = 1 << 20,
	APPEND_LEN = 4096,
	ALIGN = 4096,
	LOAD_LEN = 1024,
};

#define LOAD_SHARE 0.8 /* of what the disk takes */

static int fail(struct bench_env *env, const char *what)
{
	int error = errno;

	snprintf(env->error, sizeof(env->error), "%s in %s: %s", what, env->dir, strerror(error));
	return -error;
}

/* An empty file that has no name any more, so that nothing of it stays behind. */
static int open_file(struct bench_env *env)
{
	char path[sizeof(env->dir) + 16];
	int fd;

	snprintf(path, sizeof(path), "%s/floor", env->dir);
	fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail(env, "cannot create a file");
	unlink(path);
	return fd;
}

/* Bytes that compress badly: some disks would shorten zeros. */
static void fill(char *block, size_t len)
{
	uint64_t x = 0x9e3779b97f4a7c15u;
	size_t i;

	for (i = 0; i + sizeof(x) <= len; i += sizeof(x)) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(block + i, &x, sizeof(x));
	}
}

static int write_all(int fd, const char *block, size_t len)
{
	ssize_t n;

	while (len > 0) {
		n = write(fd, block, len);
		if (n < 0)
			return -1;
		block += n;
		len -= (size_t)n;
	}
	return 0;
}

/* 1 MiB blocks one after the other and one fdatasync, which counts. */
static int write_blocks(struct bench_env *env, uint64_t len, uint64_t run_ns,
			struct bench_result *result)
{
	uint64_t start, end, bytes = 0;
	int fd = open_file(env), rc = 0;
	char *block;

	if (fd < 0)
		return fd;
	block = aligned_alloc(ALIGN, WRITE_BLOCK);
	if (!block) {
		close(fd);
		return -ENOMEM;
	}
	fill(block, WRITE_BLOCK);
	start = bench_clock_ticks();
	end = start + bench_clock_from_ns(run_ns);
	while (rc == 0 && bytes < len && bench_clock_ticks() < end) {
		rc = write_all(fd, block, WRITE_BLOCK);
		bytes += WRITE_BLOCK;
	}
	if (rc == 0)
		rc = fdatasync(fd);
	if (rc < 0)
		rc = fail(env, "cannot write");
	result->value = (double)bytes * 1e9 / bench_clock_ns(bench_clock_ticks() - start);
	bench_add_fact(result, "bytes", (double)bytes);
	free(block);
	close(fd);
	return rc;
}

int bench_disk_write(struct bench_env *env, struct bench_result *result)
{
	int rc = write_blocks(env, env->disk_len, env->disk_ns, result);

	if (rc == 0)
		env->disk_rate = result->value;
	return rc;
}

int bench_disk_write_long(struct bench_env *env, struct bench_result *result)
{
	return write_blocks(env, env->disk_long_len, env->disk_long_ns, result);
}

int bench_disk_rate(struct bench_env *env)
{
	struct bench_result result = { 0 };

	return env->disk_rate > 0 ? 0 : bench_disk_write(env, &result);
}

uint64_t bench_disk_load_ns(const struct bench_env *env, bool is_long)
{
	uint64_t len = is_long ? env->disk_long_len : env->disk_len;
	uint64_t most = is_long ? env->disk_long_ns : env->disk_ns;
	uint64_t ns = (uint64_t)((double)len * 1e9 / (env->disk_rate * LOAD_SHARE));

	return ns < most ? ns : most;
}

/* What a plain write of each record would do to its writer at the same load. */
int bench_disk_load(struct bench_env *env, struct bench_result *result)
{
	struct bench_hist *hist = calloc(1, sizeof(*hist));
	struct bench_schedule schedule;
	int fd = open_file(env), rc;
	char block[LOAD_LEN];
	uint64_t due, i;

	rc = !hist ? -ENOMEM : fd < 0 ? fd : bench_disk_rate(env);
	if (rc < 0)
		goto out;
	fill(block, sizeof(block));
	schedule = bench_schedule_make(bench_clock_ticks(), env->disk_rate * LOAD_SHARE / LOAD_LEN,
				       bench_disk_load_ns(env, env->row->args[BENCH_ARG_LONG]));
	for (i = 0; i < schedule.n; i++) {
		due = bench_schedule_due(&schedule, i);
		while (bench_clock_ticks() < due)
			;
		if (write_all(fd, block, sizeof(block)) < 0) {
			rc = fail(env, "cannot write");
			goto out;
		}
		if (i >= schedule.n / 10)
			bench_hist_add(hist, bench_schedule_late(due, bench_clock_ticks()));
	}
	bench_hist_result(hist, result);
out:
	if (fd >= 0)
		close(fd);
	free(hist);
	return rc;
}

/* One write of 4 KiB and one fdatasync, again and again, at the end of a growing file. */
int bench_disk_append_sync(struct bench_env *env, struct bench_result *result)
{
	struct bench_hist *hist = calloc(1, sizeof(*hist));
	char *block = aligned_alloc(ALIGN, APPEND_LEN);
	uint64_t start = 0, end, last = 0, now;
	int fd = open_file(env), rc = 0;

	if (!hist || !block || fd < 0) {
		rc = fd < 0 ? fd : -ENOMEM;
		goto out;
	}
	fill(block, APPEND_LEN);
	start = last = bench_clock_ticks();
	end = last + bench_clock_from_ns(env->run_ns);
	do {
		if (write_all(fd, block, APPEND_LEN) < 0 || fdatasync(fd) < 0) {
			rc = fail(env, "cannot append");
			goto out;
		}
		now = bench_clock_ticks();
		bench_hist_add(hist, now - last);
		last = now;
	} while (now < end);
	bench_hist_result(hist, result);
	if (env->row->kind == BENCH_RATE)
		result->value = (double)hist->n * 1e9 / bench_clock_ns(last - start);
out:
	if (fd >= 0)
		close(fd);
	free(block);
	free(hist);
	return rc;
}
