/* SPDX-License-Identifier: Apache-2.0 */
/* The streams that are kept from row to row, because filling them takes longer than reading. */
#ifndef TOOLS_BENCH_REPLAY_H
#define TOOLS_BENCH_REPLAY_H

#include "tools/bench.h"

/* Removes them from env->bus; those that are not there are no failure. */
void bench_replay_forget(struct bench_env *env);

#endif
