/* SPDX-License-Identifier: Apache-2.0 */
/* A directory and a daemon of the bench's own: nobody else's bus is touched or disturbed. */
#ifndef TOOLS_BENCH_DAEMON_H
#define TOOLS_BENCH_DAEMON_H

#include "tools/bench_server.h"

/* Makes a directory below `parent` (NULL: $TMPDIR or /tmp) and stores it in env->dir. */
int bench_daemon_make_dir(struct bench_env *env, const char *parent);
void bench_daemon_remove_tree(const char *dir);
void bench_daemon_remove_dir(struct bench_env *env);

/*
 * Starts leatd (beside this program, in ../sbin, or from $PATH) in env->dir and waits until it
 * answers; env->bus gets its socket. The reason of a failure is in env->error.
 */
int bench_daemon_start(struct bench_env *env, struct bench_server **ret_daemon);
/*
 * The two halves of it; with `keep` what is started is the keeper. Its configuration is
 * leatd.conf in env->dir, if there is one.
 */
int bench_daemon_launch(struct bench_env *env, bool keep, struct bench_server **ret_daemon);
int bench_daemon_await(struct bench_env *env, struct bench_server *daemon);
/* Starts the same program only to say its version. */
int bench_daemon_version(struct bench_env *env, struct bench_server **ret_server);

#endif
