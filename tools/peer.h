/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver: a program of its own that measures one of leat's peers for `leat bench`, so that leat
 * itself is linked with none of them. A driver is one file, tools/peer_<name>.c, whose
 * main() calls peer_main(); the library that it needs is named in tools/build.mk, its rows are in
 * bench_table.c.
 *
 *   leat-bench-<name> WORK [KEY=VALUE...]     dir= len= run_ns= disk_ns= disk_len= cpus=
 *
 * It prints what it found, a line for each figure; bench_peer.c reads that.
 */
#ifndef TOOLS_PEER_H
#define TOOLS_PEER_H

#include "tools/bench_pair.h"
#include "tools/bench_server.h"

struct peer_work {
	const char *name;  /* round-trip, rate, keep, ... */
	const char *about; /* how the peer is driven, for those who want to judge it */
	/* 0, BENCH_SKIPPED or a negative errno; the latter two with the reason in env->error. */
	int (*run)(struct bench_env *env, size_t len, struct bench_result *result);
};

struct peer {
	const char *name;
	/* The version that is measured; it is asked for after the work. */
	void (*version)(char *buf, size_t len);
	const struct peer_work *works;
	size_t n_works;
};

/* Does what the command line says; returns the exit status. */
int peer_main(int argc, char **argv, const struct peer *peer);

/*
 * Where the program is: in $PATH, or in the sbin beside a bin in $PATH, because users' paths
 * often have no sbin. BENCH_SKIPPED, with what to install, when it is nowhere.
 */
int peer_find_server(struct bench_env *env, const char *name, const char *package, char *path,
		     size_t len);

#endif
