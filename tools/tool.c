/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/tool.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum {
	INTERRUPT_US = 20 * 1000
};

static const char *tool_name = "";
static const char *bus_path;
static bool output_lost;
static volatile sig_atomic_t stop_signal;

void tool_set_name(const char *name)
{
	tool_name = name;
}

void tool_set_bus(const char *path)
{
	bus_path = path;
}

void tool_error(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	flockfile(stderr);
	fputs("leat: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	funlockfile(stderr);
}

int tool_usage(const char *format, ...)
{
	const char *space = *tool_name ? " " : "";
	va_list args;

	fprintf(stderr, "leat%s%s: ", space, tool_name);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "; see `leat%s%s --help`\n", space, tool_name);
	return TOOL_USAGE;
}

void tool_lost_output(void)
{
	output_lost = true;
}

int tool_flush_stdout(int status)
{
	int error;

	if (output_lost) {
		tool_error("not all could be printed: %s", strerror(ENOMEM));
		return TOOL_FAILED;
	}
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	error = errno;
	if (error == EPIPE)
		return status;
	tool_error("cannot write to standard output: %s", strerror(error));
	return TOOL_FAILED;
}

int tool_help(const char *text)
{
	fputs(text, stdout);
	return tool_flush_stdout(TOOL_OK);
}

int tool_common_option(int c, char **argv, const char *help)
{
	/* For a long option optopt is 0 or its value, and only argv has its name. */
	const char *word = optind > 0 ? argv[optind - 1] : "";

	switch (c) {
	case 'b':
		bus_path = optarg;
		return -1;
	case 'h':
		return tool_help(help);
	case ':':
		if (optopt > 0 && optopt < TOOL_OPTION && strncmp(word, "--", 2) != 0)
			return tool_usage("option -%c needs a value", optopt);
		return tool_usage("option %s needs a value", word);
	default:
		if (optopt > 0 && optopt < TOOL_OPTION && strncmp(word, "--", 2) != 0)
			return tool_usage("there is no option -%c", optopt);
		if (optopt > 0)
			return tool_usage("option %s takes no value", word);
		return tool_usage("there is no option %s, or it is not the only one meant", word);
	}
}

int tool_connect(struct leat_bus **ret_bus)
{
	char detail[512] = "", client[32];
	struct leat_connect_options options = {
		.size = sizeof(options),
		.client = client,
		.detail = detail,
		.detail_len = sizeof(detail),
	};
	int rc;

	snprintf(client, sizeof(client), "leat %s", tool_name);
	rc = leat_connect(bus_path, &options, ret_bus);
	if (rc >= 0)
		return 0;
	if (*detail)
		tool_error("%s", detail);
	else
		tool_error("cannot connect to %s: %s", bus_path ? bus_path : "the bus",
			   leat_strerror(rc));
	return rc;
}

int tool_bus_error(const struct leat_bus *bus, int error, const char *what)
{
	const char *detail = leat_detail(bus);

	if (detail && *detail)
		tool_error("%s", detail);
	else
		tool_error("%s: %s", what, leat_strerror(error));
	return TOOL_FAILED;
}

/* From now on, until tool_calm(). */
static void interrupt_waiting(void)
{
	const struct itimerval often = {
		.it_interval = { .tv_usec = INTERRUPT_US },
		.it_value = { .tv_usec = 1 },
	};

	setitimer(ITIMER_REAL, &often, NULL);
}

void tool_calm(void)
{
	const struct itimerval never = { .it_value = { .tv_sec = 0 } };

	setitimer(ITIMER_REAL, &never, NULL);
}

static void remember_signal(int number)
{
	stop_signal = number;
	interrupt_waiting();
}

static void ignore_signal(int number)
{
	(void)number;
}

void tool_catch_signals(void)
{
	/* Without SA_RESTART, so that waiting ends; reset, so that the second one kills. */
	struct sigaction action = { .sa_handler = remember_signal, .sa_flags = SA_RESETHAND };
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction old;
	size_t i;

	sigemptyset(&action.sa_mask);
	sigaction(SIGALRM, &(struct sigaction){ .sa_handler = ignore_signal }, NULL);
	for (i = 0; i < ARRAY_LEN(signals); i++) {
		/* nohup and background jobs of a plain shell have it ignored: leave that. */
		if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaction(signals[i], &action, NULL);
	}
}

bool tool_stopping(void)
{
	if (stop_signal == 0)
		return false;
	tool_calm();
	return true;
}

static void *watch_reader(void *arg)
{
	struct pollfd pollfd = { .fd = (int)(intptr_t)arg };

	if (poll(&pollfd, 1, -1) == 1)
		interrupt_waiting();
	return NULL;
}

void tool_watch_reader(int fd)
{
	struct stat st;
	sigset_t all, before;
	pthread_t thread;

	if (fstat(fd, &st) < 0 || (!S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode)))
		return;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&thread, NULL, watch_reader, (void *)(intptr_t)fd) == 0)
		pthread_detach(thread);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int tool_die_of_signal(void)
{
	int number = stop_signal;

	fflush(stdout);
	signal(number, SIG_DFL);
	raise(number);
	return 128 + number;
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t tool_now_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

uint64_t tool_monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

void tool_free(void *p)
{
	void **ptr = p;

	free(*ptr);
	*ptr = NULL;
}

void tool_close_bus(struct leat_bus **bus)
{
	*bus = leat_close(*bus);
}

void tool_close_publisher(struct leat_publisher **publisher)
{
	*publisher = leat_publisher_close(*publisher);
}

void tool_close_subscriber(struct leat_subscriber **subscriber)
{
	*subscriber = leat_subscriber_close(*subscriber);
}

void tool_free_info(struct leat_stream_info **info)
{
	*info = leat_stream_info_free(*info);
}
