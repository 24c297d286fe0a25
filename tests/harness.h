/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the C tests of the whole bus share: a private bus in a temporary directory, helper
 * processes that are reaped by their id, waiting for a condition, running a tool.
 *
 * main() ends with harness_main(suite). Each case runs in a process of its own (check's fork
 * mode); whatever it leaves behind, processes and files, is removed after the last one, also when
 * cases fail or are killed. Everything here ends the case with a sentence when it fails, so callers
 * need no checks.
 */
#ifndef TESTS_HARNESS_H
#define TESTS_HARNESS_H

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "clientlib/leat.h"

enum {
	HARNESS_KEEP = 1,       /* leatd --keep */
	HARNESS_TESTPOINTS = 2, /* the daemon that was built with test points: testpoint_dir.c,
				   with the directory `points` of the bus */
	HARNESS_PUBLIC = 4,     /* other users can reach the socket */
	HARNESS_DISK = 8,  /* the data lies on a small disk of its own, 64 MiB; where that cannot
				   be, the flag is taken away */
	HARNESS_USER = 16, /* the daemon is nobody special: HARNESS_DAEMON_UID. Needs root. */
};

enum {
	HARNESS_DAEMON_UID = 64000
};

/* A bus: a directory, and the daemon in it while there is one. */
struct harness_bus {
	char dir[88];
	char sock[108];
	pid_t pid; /* what was started: leatd, or the keeper; 0 = none */
	unsigned flags;
};

/* Ends the case, or the helper process, with a sentence. */
void harness_fail(const char *file, int line, const char *format, ...)
	__attribute__((noreturn, format(printf, 3, 4)));
/* For cases and helper processes alike; ck_assert is for the case alone. */
#define must(condition, ...)                                                                       \
	do {                                                                                       \
		if (!(condition))                                                                  \
			harness_fail(__FILE__, __LINE__, __VA_ARGS__);                             \
	} while (0)

/* Runs all cases, cleans up, shows the daemons' logs if one failed; the program's exit status. */
int harness_main(Suite *suite);
/* A case of that name, for $CK_RUN_CASE, of one test that takes so long at most. */
void harness_add(Suite *suite, const char *name, const TTest *test, double seconds);
/* Exit status of a program that cannot be tried here; says why. */
int harness_skip(const char *why);

/* ---- the bus ---- */

/* Makes the directory only; harness_bus_restart() starts the daemon. */
void harness_bus_make(struct harness_bus *bus, unsigned flags);
/* Removes the directory of a bus without daemon, where there are too many to leave to the end. */
void harness_bus_remove(struct harness_bus *bus);
/* Makes the directory and starts the daemon; ready when it returns. */
void harness_bus_start(struct harness_bus *bus, unsigned flags);
/* Starts the daemon again in the same directory; ready when it returns. */
void harness_bus_restart(struct harness_bus *bus);
/* SIGTERM; wants exit status 0. */
void harness_bus_stop(struct harness_bus *bus);
/* SIGKILL for what was started (with a keeper: the keeper only) and reaps it. */
void harness_bus_kill(struct harness_bus *bus);
/* The process that serves the socket now, as hello says. */
pid_t harness_daemon_pid(const struct harness_bus *bus);
/* Does another one serve it now? */
bool harness_has_other_daemon(const struct harness_bus *bus, pid_t pid);
/* The daemon that a keeper has started, served or not; 0 = none now. */
pid_t harness_kept_pid(const struct harness_bus *bus);
/* How many of its daemons the keeper has seen die of SIGKILL. */
uint64_t harness_n_killed(const struct harness_bus *bus);

/* leat_connect() that must succeed. */
struct leat_bus *harness_connect(const struct harness_bus *bus);
/* A stream with this many shards and this ring; further options through the pointer, or NULL. */
void harness_stream(struct leat_bus *bus, const char *name, uint32_t n_shards, uint64_t ring_len,
		    const struct leat_stream_options *options);
struct leat_publisher *harness_publisher(struct leat_bus *bus, const char *stream);
/* All shards from the earliest, for ever. */
struct leat_subscriber *harness_subscriber(struct leat_bus *bus, const char *stream);
/* A field of `leat stat` summed over the stream's shards. */
int64_t harness_figure(struct leat_bus *bus, const char *stream, const char *field);

/* ---- processes ---- */

/* A child that runs fn(arg) and exits with its result; a failed check in it exits 99. */
pid_t harness_fork(int (*fn)(void *arg), void *arg);
/* This process, which its program was started as anew, becomes such a child. */
void harness_be_child(int (*fn)(void *arg), void *arg) __attribute__((noreturn));
/* Under the id of a process that is no more; -EPERM and others where that is not allowed. */
pid_t harness_fork_as(pid_t wanted, int (*fn)(void *arg), void *arg);
/* Waits at most `seconds` for the child to end by itself; its wait status. Longer is a failure. */
int harness_reap(pid_t pid, double seconds);
/* Wants a child to have exited 0. */
void harness_reap_ok(pid_t pid, double seconds, const char *who);
/* SIGKILL and reap. */
void harness_kill(pid_t pid);
/* For harness_until(): does that process, of a pid_t, stand still (SIGSTOP)? */
bool harness_is_stopped(void *pid);

struct harness_output {
	char *out; /* terminated with NUL, which out_len does not count */
	char *err;
	size_t out_len;
	size_t err_len;
	int status; /* exit status, or 128 + signal */
};

/* Somebody else; needs root. */
struct harness_user {
	uid_t uid;
	gid_t gid;
	gid_t group; /* one supplementary group; 0 = none */
};

/* This helper process becomes that user, for good. */
void harness_become(const struct harness_user *user);

/* Runs a program (NULL-terminated words; "leat" and "leatd" are those of the build) to its end, as
 * another user unless that is NULL. */
void harness_run(const struct harness_bus *bus, const struct harness_user *user,
		 struct harness_output *ret_output, const char *const *words);
void harness_output_deinit(struct harness_output *output);

/* ---- time, chance, shared memory ---- */

uint64_t harness_now_ns(void);
/* So many seconds, or what $LEAT_RESUME says: a negative control is not to wait that long. */
double harness_patience(double seconds);
void harness_pause_ns(uint64_t ns);
/* Polls cond(arg) until it is true; false when that takes longer than `seconds`. */
bool harness_until(bool (*cond)(void *arg), void *arg, double seconds);
/* From $LEAT_SEED or the clock; printed, so that a failure can be tried again. */
uint64_t harness_seed(void);
uint64_t harness_random(uint64_t *state);
/* Zeroed memory that children share with the case. */
void *harness_shared(size_t len);

#endif
