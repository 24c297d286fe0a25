/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/log.h"

#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>

/* A pipe that says POLLOUT takes this much without blocking (PIPE_BUF). */
enum {
	LOG_LINE_LEN = 2048
};

static const char *log_name = "leatd";
static bool log_to_journal;
static _Atomic int log_threshold = LOG_LEVEL_INFO;
static _Atomic uint32_t log_n_dropped;

static const struct {
	const char *word;
	enum log_level level;
} log_words[] = {
	{ "error", LOG_LEVEL_ERROR },   { "warning", LOG_LEVEL_WARNING },
	{ "notice", LOG_LEVEL_NOTICE }, { "info", LOG_LEVEL_INFO },
	{ "debug", LOG_LEVEL_DEBUG },
};

/* systemd says in JOURNAL_STREAM which device and inode the journal's stream is. */
static bool log_stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	if (!stream || sscanf(stream, "%llu:%llu", &dev, &ino) != 2)
		return false;
	return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

void log_init(const char *name)
{
	log_name = name;
	log_to_journal = log_stderr_is_journal();
}

void log_set_level(enum log_level level)
{
	store_relaxed(&log_threshold, (int)level);
}

enum log_level log_get_level(void)
{
	return (enum log_level)load_relaxed(&log_threshold);
}

int log_parse_level(const char *word, enum log_level *ret_level)
{
	for (size_t i = 0; i < ARRAY_LEN(log_words); i++) {
		if (strcmp(word, log_words[i].word) == 0) {
			*ret_level = log_words[i].level;
			return 0;
		}
	}
	return -EINVAL;
}

const char *log_level_name(enum log_level level)
{
	for (size_t i = 0; i < ARRAY_LEN(log_words); i++)
		if (log_words[i].level == level)
			return log_words[i].word;
	return "unknown";
}

/* One write a line, so that lines of several threads do not mix; never one that blocks. */
static void log_put(const char *line, size_t len)
{
	struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };

	if (poll(&p, 1, 0) <= 0 || !(p.revents & POLLOUT) ||
	    write(STDERR_FILENO, line, len) != (ssize_t)len)
		fetch_add_relaxed(&log_n_dropped, 1);
}

/* What a client wrote can be in a message: it must not end a line or move a terminal's cursor. */
static void log_clean(char *line, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
}

void log_vwrite(enum log_level level, const char *format, va_list args)
{
	char line[LOG_LINE_LEN];
	int prefix, n;
	size_t len;

	if ((int)level > load_relaxed(&log_threshold))
		return;
	if (log_to_journal)
		prefix = snprintf(line, sizeof(line), "<%d>", (int)level);
	else
		prefix = snprintf(line, sizeof(line), "%s: ", log_name);
	n = vsnprintf(line + prefix, sizeof(line) - (size_t)prefix - 1, format, args);
	if (n < 0)
		return;
	len = (size_t)min_u64((uint64_t)(prefix + n), sizeof(line) - 2);
	log_clean(line, len);
	line[len++] = '\n';
	log_put(line, len);
}

void log_write(enum log_level level, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_vwrite(level, format, args);
	va_end(args);
}

bool log_rate_allows(struct log_rate *rate, uint32_t *ret_left_out)
{
	uint64_t now = clock_now_ns(CLOCK_MONOTONIC);
	uint64_t since = load_relaxed(&rate->since_ns);

	*ret_left_out = 0;
	/* Two threads at this edge at once write a few messages more than the budget. */
	if (since == 0 || now - since > LOG_RATE_NS) {
		store_relaxed(&rate->since_ns, now);
		store_relaxed(&rate->n_said, 0);
		*ret_left_out = load_relaxed(&rate->n_left_out);
		store_relaxed(&rate->n_left_out, 0);
	}
	if (fetch_add_relaxed(&rate->n_said, 1) < LOG_RATE_BURST)
		return true;
	fetch_add_relaxed(&rate->n_left_out, 1);
	return false;
}
