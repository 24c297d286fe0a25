/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The processes of one workload: forked, pinned, started together, watched. What they share lies
 * in one anonymous mapping; each leaves its figures there and ends.
 */
#ifndef TOOLS_BENCH_TEAM_H
#define TOOLS_BENCH_TEAM_H

#include <sys/types.h>

#include "tools/bench.h"
#include "tools/bench_cell.h"

enum {
	BENCH_TEAM_MAX = 72
};

/* Beyond the time it measures, a team that takes longer than this hangs. */
#define BENCH_TEAM_WAIT_NS (20 * UINT64_C(1000000000))

struct bench_team {
	struct bench_env *env;
	void *shared; /* starts as zeros, 128-byte aligned */
	size_t shared_len;
	int n;
	struct bench_team_head *head; /* the team's own part of the mapping */
};

struct bench_member {
	/* 0, or a negative errno after bench_team_fail(). `me` is the index of the member. */
	int (*run)(struct bench_team *team, int me, const void *context);
	const void *context; /* the child has its own copy */
	int cpu;             /* to run on, -1 = any */
};

/* Maps the memory; -ENOMEM. Embedded in the caller. */
int bench_team_init(struct bench_team *team, struct bench_env *env, size_t shared_len);
void bench_team_deinit(struct bench_team *team);

/*
 * Runs the members, one process each, until all have ended. When one fails, or after timeout_ns,
 * or when a signal asks to stop, the others are killed. The reason is in env->error.
 * -ETIMEDOUT, -EINTR, -ECHILD a member failed, -EAGAIN no process to be had.
 */
int bench_team_run(struct bench_team *team, const struct bench_member *members, int n,
		   uint64_t timeout_ns);

/* In a member: waits until every member has come here. */
void bench_team_ready(struct bench_team *team, int me);
/* In a member: says why it fails; returns `error`. The first one to do so is heard. */
int bench_team_fail(struct bench_team *team, int me, int error, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

#endif
