/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's log: one sentence an event, on standard error, with the journal's level prefix
 * when it goes there. Any thread. A log that nobody reads never holds up the daemon: what does
 * not fit is dropped and counted.
 */
#ifndef DAEMON_LOG_H
#define DAEMON_LOG_H

#include <stdarg.h>

#include "shm/atomic.h"
#include "shm/base.h"

/* The numbers are syslog's. */
enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_NOTICE = 5,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7,
};

/* At most LOG_RATE_BURST messages in LOG_RATE_NS from one place that a client can make talk. */
enum {
	LOG_RATE_BURST = 30
};
#define LOG_RATE_NS (10 * NS_PER_S)

struct log_rate {
	_Atomic uint64_t since_ns; /* of CLOCK_MONOTONIC */
	_Atomic uint32_t n_said;
	_Atomic uint32_t n_left_out;
};

/* Once, before other threads exist. name stands before each line that does not go to a journal. */
void log_init(const char *name);
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
/* "error", "warning", "notice", "info", "debug": 0, or -EINVAL. */
int log_parse_level(const char *word, enum log_level *ret_level);
const char *log_level_name(enum log_level level);

void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_vwrite(enum log_level level, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));
/* True when the message may be written; *ret_left_out says how many were not before it. */
bool log_rate_allows(struct log_rate *rate, uint32_t *ret_left_out);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...) log_write(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* For what a client can cause as often as it likes: each place in the code has its own budget. */
#define log_limited(level, ...)                                                                    \
	do {                                                                                       \
		static struct log_rate log_limited_rate;                                           \
		uint32_t log_limited_n;                                                            \
		if (log_rate_allows(&log_limited_rate, &log_limited_n)) {                          \
			if (log_limited_n)                                                         \
				log_write(level, "%u messages like the next one were left out",    \
					  log_limited_n);                                          \
			log_write(level, __VA_ARGS__);                                             \
		}                                                                                  \
	} while (0)

#endif
