/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which calls of a victim fail, and the run of each: first it runs with nothing failing and its
 * calls are counted; then, of each place that calls, each errno is a case, once and from then on.
 * LEAT_FULL=1 has them all, otherwise chance picks LEAT_FAILS of them by LEAT_SEED.
 * LEAT_FAIL_FN=name,name: calls of these functions only; LEAT_FAIL_SLICE=k/n: the k-th of n parts,
 * 0 the first; LEAT_FAIL_CASE=id: that one case. LEAT_FAIL_JOBS: so many at a time, where the
 * test can; LEAT_FAIL_BAD: so many cases may fail before the rest is given up.
 */
#ifndef TESTS_FAIL_PLAN_H
#define TESTS_FAIL_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/fail_calls.h"

struct fail_case {
	uint64_t key;
	uint64_t frames[FAIL_FRAMES];
	enum fail_fn fn;
	enum fail_mode mode;
	int error; /* or FAIL_SHORT */
	uint32_t skip;
};

struct fail_tally {
	_Atomic uint32_t next; /* case that nobody has taken yet */
	_Atomic uint32_t n_run;
	_Atomic uint32_t n_hit;
	_Atomic uint32_t n_bad;
};

struct fail_plan {
	const char *program; /* whose frames they are */
	struct fail_page *page;
	char path[96]; /* of the page */
	struct fail_case *cases;
	size_t n;
	size_t n_sites;
	struct fail_tally *tally; /* of the run */
};

/* Where a case is, for whoever finds out that it stands still. */
struct fail_progress {
	char step[80];
	char where[96]; /* its files are, if they are kept when it fails */
	_Atomic uint32_t n_steps;
	_Atomic uint32_t pid; /* of a daemon that is to go with the case; 0: none */
};

/* The page in a file of its own; programs that fail_plan_preload() was called for map it. */
void fail_plan_init(struct fail_plan *plan, const char *program);
/* False: there is no fail_calls.so in this build, the sanitizers cannot have it. */
bool fail_plan_possible(void);
/* In a process that is to become a victim. */
void fail_plan_preload(const struct fail_plan *plan);

/* In a victim that has calls of its own: the page that it was given, for fail_arm() and the like;
 * only between these two calls anything of it is counted or fails. Any thread. */
void fail_plan_join(struct fail_plan *plan);
void fail_open(struct fail_plan *plan);
void fail_close(struct fail_plan *plan);

void fail_count(struct fail_plan *plan);
/* What was counted becomes cases; `wanted` chooses functions, NULL: all. */
void fail_plan_make(struct fail_plan *plan, bool (*wanted)(enum fail_fn fn), size_t n_by_default);
void fail_arm(struct fail_plan *plan, const struct fail_case *one);
void fail_disarm(struct fail_plan *plan);
uint32_t fail_n_hit(const struct fail_plan *plan);
/* Whether that is what fails. */
bool fail_is(const struct fail_plan *plan, enum fail_fn fn, int error);

const char *fail_fn_name(enum fail_fn fn);
/* Runs fn(case) for each in a child of its own; ends the test case if any of them failed. */
void fail_plan_run(struct fail_plan *plan, struct fail_progress *progress, int (*fn)(void *one));
/* The same, several at a time: each job is a process with a page of its own, where begin() makes
 * whatever else its cases cannot share. */
void fail_plan_run_jobs(struct fail_plan *plan, unsigned n_by_default,
			struct fail_progress *(*begin)(void), int (*fn)(void *one));

#endif
