/* SPDX-License-Identifier: Apache-2.0 */
/* Peers that need a library or a server: their driver measures them, see tools/peer.h. */
#ifndef TOOLS_BENCH_PEER_H
#define TOOLS_BENCH_PEER_H

#include "tools/bench.h"

/*
 * Has the driver of env->row->peer do env->row->work. BENCH_SKIPPED when the driver, or the server
 * that it needs, is not installed.
 */
int bench_peer_run(struct bench_env *env, struct bench_result *result);
/* Takes one line of what a driver prints; BENCH_SKIPPED or -EIO when the line says so. */
int bench_peer_take_line(struct bench_env *env, char *line, struct bench_result *result);

#endif
