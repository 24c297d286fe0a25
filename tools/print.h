/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints what a subscriber gets, as `leat sub` and `leat replay` do: their common options, the
 * format language, JSON, gaps.
 */
#ifndef TOOLS_PRINT_H
#define TOOLS_PRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clientlib/leat.h"
#include "tools/out.h"

struct print_token {
	char kind;  /* the letter after %, or 0 for bytes as they are */
	size_t off; /* of those bytes in the text */
	size_t len;
};

/* A format taken apart. */
struct print_format {
	struct print_token *tokens;
	size_t n_tokens;
	char *text;
};

struct print {
	struct out out;
	const char *stream;
	struct print_format format;
	char *delim; /* after each record */
	size_t delim_len;
	uint64_t n_printed;
	uint64_t max; /* records to print, UINT64_MAX = all */
	int32_t shard;
	bool has_format;
	bool has_delim;
	bool json;
	bool unbuffered;
	bool quiet;
};

/* The options that sub and replay share, for their getopt_long. */
#define PRINT_SHORT_OPTIONS "f:JD:0K:c:s:uq"
/* clang-format off */
#define PRINT_LONG_OPTIONS \
	{ "format", required_argument, NULL, 'f' }, \
	{ "json", no_argument, NULL, 'J' }, \
	{ "delimiter", required_argument, NULL, 'D' }, \
	{ "null", no_argument, NULL, '0' }, \
	{ "key-separator", required_argument, NULL, 'K' }, \
	{ "count", required_argument, NULL, 'c' }, \
	{ "shard", required_argument, NULL, 's' }, \
	{ "unbuffered", no_argument, NULL, 'u' }, \
	{ "quiet", no_argument, NULL, 'q' }
/* clang-format on */
#define PRINT_OPTIONS_HELP                                                                         \
	"  -s, --shard N           this shard only\n"                                              \
	"  -c, --count N           stop after N records\n"                                         \
	"  -f, --format FORMAT     %s value, %S its size, %k key, %K its size, %t stream,\n"       \
	"                          %p shard, %o position, %T time in ms, %N in ns,\n"              \
	"                          %h headers, %% percent, \\n \\t \\xNN\n"                        \
	"  -J, --json              one JSON object per record\n"                                   \
	"  -D, --delimiter STR     after each record, with escapes (default \\n; none with -f)\n"  \
	"  -0, --null              the same as -D '\\0'\n"                                         \
	"  -K, --key-separator STR print the key and STR before the value\n"                       \
	"  -u, --unbuffered        write each record at once\n"                                    \
	"  -q, --quiet             no lines about gaps on standard error\n"

int print_init(struct print *print);
void print_deinit(struct print *print);
/*
 * Deals with one of the options above. Returns 0 when it was one, -ENOENT when not, and -EINVAL
 * after a message when its value is wrong.
 */
int print_option(struct print *print, int c, const char *arg);
/* After the last option: fills in what was not given. 0 or an exit status, with a message. */
int print_ready(struct print *print, const char *stream);

/* Prints a record or a gap. Returns 0, or nonzero when nothing more can be written. */
int print_message(struct print *print, const struct leat_message *message);
static inline bool print_is_full(const struct print *print)
{
	return print->n_printed >= print->max;
}

/* Writes out what is left and says what went wrong; returns the exit status. */
int print_finish(struct print *print, int status);

/* Takes a format apart; -EINVAL with *ret_bad at the escape that is not known, -ENOMEM. */
int print_format_parse(const char *text, struct print_format *ret_format, const char **ret_bad);
void print_format_free(struct print_format *format);
void print_format_write(const struct print_format *format, struct out *out, const char *stream,
			const struct leat_message *message);
void print_json(struct out *out, const char *stream, const struct leat_message *message);
const char *print_gap_reason(enum leat_gap reason);

#endif
