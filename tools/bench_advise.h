/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `leat bench advise`: what of this machine is set how, what this user may change, how, and what
 * it brings, measured here with and without where that can be tried without changing anything
 * for others.
 */
#ifndef TOOLS_BENCH_ADVISE_H
#define TOOLS_BENCH_ADVISE_H

#include "tools/bench.h"

enum advice_state {
	ADVICE_GOOD,   /* as it should be */
	ADVICE_CHOICE, /* an option of the program or of leat */
	ADVICE_MAY,    /* this user may change it */
	ADVICE_ROOT,   /* takes root */
	ADVICE_ABSENT, /* not on this machine */
};

struct advice {
	enum advice_state state;
	char now[160];  /* what is set */
	char how[240];  /* the exact command or option; "" = nothing to do */
	double without; /* what was measured; 0 = it was not tried */
	double with;
	char why[160]; /* it was not tried */
};

struct advice_row {
	const char *name; /* stable: the keys of --json */
	const char *title;
	void (*look)(const struct bench_env *env, struct advice *advice);
	const char *tried; /* what is measured, or NULL */
	enum bench_kind kind;
	/* A negative errno with the reason in env->error. */
	int (*try)(struct bench_env *env, bool with, double *ret_value);
	bool needs_bus;
};

extern const struct advice_row bench_advise_rows[];
extern const size_t bench_advise_rows_len;

/* What is set; fills in all but the figures. */
void advise_look_pinning(const struct bench_env *env, struct advice *advice);
void advise_look_spinning(const struct bench_env *env, struct advice *advice);
void advise_look_batching(const struct bench_env *env, struct advice *advice);
void advise_look_transparent(const struct bench_env *env, struct advice *advice);
void advise_look_numa(const struct bench_env *env, struct advice *advice);
void advise_look_smt(const struct bench_env *env, struct advice *advice);
void advise_look_memlock(const struct bench_env *env, struct advice *advice);
void advise_look_rtprio(const struct bench_env *env, struct advice *advice);
void advise_look_io_uring(const struct bench_env *env, struct advice *advice);
void advise_look_membarrier(const struct bench_env *env, struct advice *advice);
void advise_look_clock(const struct bench_env *env, struct advice *advice);
void advise_look_governor(const struct bench_env *env, struct advice *advice);
void advise_look_idle(const struct bench_env *env, struct advice *advice);

int advise_try_pinning(struct bench_env *env, bool with, double *ret_value);
int advise_try_spinning(struct bench_env *env, bool with, double *ret_value);
int advise_try_batching(struct bench_env *env, bool with, double *ret_value);
int advise_try_transparent(struct bench_env *env, bool with, double *ret_value);
int advise_try_numa(struct bench_env *env, bool with, double *ret_value);
int advise_try_smt(struct bench_env *env, bool with, double *ret_value);
int advise_try_rtprio(struct bench_env *env, bool with, double *ret_value);
int advise_try_io_uring(struct bench_env *env, bool with, double *ret_value);
int advise_try_membarrier(struct bench_env *env, bool with, double *ret_value);
int advise_try_clock(struct bench_env *env, bool with, double *ret_value);
int advise_try_idle(struct bench_env *env, bool with, double *ret_value);

/* The first line of a file without its end; "" where it cannot be read. */
void advise_look_line(const char *path, char *line, size_t len);
/* The word in brackets of a choice such as "always [madvise] never"; the whole without any. */
void advise_look_word(const char *line, char *word, size_t len);
/* Number n (from 0) of a list such as "0-3,8"; -1 when it is shorter. */
int advise_look_nth_cpu(const char *list, int n);

/* `leat bench advise`: argv[0] is "advise"; the exit status. */
int bench_advise(int argc, char **argv);

#endif
