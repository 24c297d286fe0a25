/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all subcommands share: exit statuses, messages, the options that every one has, the
 * connection, and the signals that ask to stop.
 *
 * A subcommand is one function, cmd_<name>(argc, argv) with its own name in argv[0], which parses
 * its options with getopt_long and returns the exit status. It opens its option string with ':'
 * and hands what it does not know to tool_common_option().
 */
#ifndef TOOLS_TOOL_H
#define TOOLS_TOOL_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clientlib/leat.h"

#ifndef cleanup_with
#define cleanup_with(fn) __attribute__((cleanup(fn)))
#endif
#ifndef ARRAY_LEN
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#endif

enum {
	TOOL_OK = 0,
	TOOL_FAILED = 1,
	TOOL_USAGE = 2,
};

/* The short and the long form of the options that every subcommand takes. */
#define TOOL_SHORT_OPTIONS "b:h"
#define TOOL_LONG_OPTIONS                                                                          \
	{ "bus", required_argument, NULL, 'b' }, { "help", no_argument, NULL, 'h' },               \
	{                                                                                          \
		NULL, 0, NULL, 0                                                                   \
	}

/* Values of long options that have no letter start here. */
enum {
	TOOL_OPTION = 256
};

/* What messages name and what --help is about, such as "pub". */
void tool_set_name(const char *name);
void tool_set_bus(const char *path);

/* One line on stderr: "leat: ...". */
void tool_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same for a wrong command line, with where to read more; returns TOOL_USAGE. */
int tool_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Prints a help text on stdout; returns the exit status. */
int tool_help(const char *text);
/* There was no memory for something that should have been printed: tool_flush_stdout() says so. */
void tool_lost_output(void);
/* Flushes stdout; TOOL_FAILED with a message when what was printed could not be written. */
int tool_flush_stdout(int status);

/*
 * Deals with --bus, --help and everything getopt_long did not like. Returns -1 when parsing goes
 * on, otherwise the exit status.
 */
int tool_common_option(int c, char **argv, const char *help);

/* Connects to the bus that --bus or the environment names. On failure it has said why. */
int tool_connect(struct leat_bus **ret_bus);
/* Says why a call on the bus failed: its own sentence, or what was tried and the error's name. */
int tool_bus_error(const struct leat_bus *bus, int error, const char *what);

/*
 * The first SIGINT, SIGTERM or SIGHUP asks to stop; the second one kills as it always does. A
 * signal that comes a moment before somebody waits is not missed: waiting is interrupted again and
 * again until tool_stopping() says so. So nobody has to look now and then.
 */
void tool_catch_signals(void);
bool tool_stopping(void);
/* Waiting is interrupted as well when nobody reads from fd, a pipe or socket, any more; until
 * tool_calm(). */
void tool_watch_reader(int fd);
void tool_calm(void);
/* Ends the process by the signal that asked to stop, so that the caller's shell knows. */
int tool_die_of_signal(void);

uint64_t tool_now_ns(void); /* since 1970 */
uint64_t tool_monotonic_ns(void);
void tool_free(void *p); /* for cleanup_with: frees what p points at */
void tool_close_bus(struct leat_bus **bus);
void tool_close_publisher(struct leat_publisher **publisher);
void tool_close_subscriber(struct leat_subscriber **subscriber);
void tool_free_info(struct leat_stream_info **info);

int cmd_bench(int argc, char **argv);
int cmd_dump(int argc, char **argv);
int cmd_pub(int argc, char **argv);
int cmd_replay(int argc, char **argv);
int cmd_stat(int argc, char **argv);
int cmd_stream(int argc, char **argv);
int cmd_sub(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_verify(int argc, char **argv);

#endif
