/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that the bench starts for itself and ends again: its own daemon, a peer's server. It
 * is ended by its id, and by the kernel when the bench dies first.
 */
#ifndef TOOLS_BENCH_SERVER_H
#define TOOLS_BENCH_SERVER_H

#include "tools/bench.h"

struct bench_server;

/*
 * Starts argv[0], from $PATH when there is no slash in it; what it says goes to the file `log`.
 * The reason of a failure is in env->error, here and below. -EAGAIN no process to be had, -ENOMEM.
 */
int bench_server_start(struct bench_env *env, char *const argv[], const char *log,
		       struct bench_server **ret_server);
/* Asks again and again until it is ready. -ECHILD it ended or is never ready, -EINTR. */
int bench_server_await(struct bench_env *env, struct bench_server *server,
		       bool (*is_ready)(const struct bench_env *env));
/* Waits until it ends by itself; its exit status, or 128 and the signal. -ETIMEDOUT, -EINTR. */
int bench_server_wait(struct bench_env *env, struct bench_server *server, uint64_t timeout_ns,
		      int *ret_status);
/* Asks it to end, and makes it end if it does not. Takes NULL; returns NULL. */
struct bench_server *bench_server_stop(struct bench_server *server);

#endif
