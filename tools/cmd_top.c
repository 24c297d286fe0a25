/* SPDX-License-Identifier: Apache-2.0 */
/* leat top: what leat stat shows, as it changes; on a terminal as a page that refreshes. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "tools/state.h"
#include "tools/table.h"
#include "tools/tool.h"
#include "tools/units.h"

static const char help[] =
	"usage: leat top [OPTION...] [STREAM]\n"
	"\n"
	"Shows rates and what is behind, for each shard, and refreshes. On a terminal q quits\n"
	"and any other key refreshes at once; otherwise the rows are printed again and again.\n"
	"\n"
	"  -d, --delay TIME        between two refreshes (default 1s)\n"
	"  -n, --iterations N      end after so many\n"
	"  -b, --bus PATH          the daemon's socket\n"
	"\n"
	"columns: UNWRITTEN and UNSYNCED are bytes published that are not in the page cache or\n"
	"not on stable storage yet; WAITS counts publishers that found the ring full.\n";

struct top {
	struct leat_bus *bus;
	const char *stream;
	uint64_t delay_ns;
	uint64_t max; /* refreshes, 0 = no end */
	bool tty;
	struct state before;
};

/* What the terminal was like, for signal handlers and the normal end alike. */
static struct termios saved_termios;
static volatile sig_atomic_t stop_asked; /* SIGTSTP */
static volatile sig_atomic_t resized;

/* The alternate screen, without cursor; no echo, keys at once. */
static void terminal_enter(void)
{
	struct termios raw = saved_termios;

	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VMIN] = 0;
	raw.c_cc[VTIME] = 0;
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	fputs("\033[?1049h\033[?25l", stdout);
	fflush(stdout);
}

static void terminal_leave(void)
{
	fputs("\033[?25h\033[?1049l", stdout);
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSANOW, &saved_termios);
}

static void on_tstp(int number)
{
	(void)number;
	stop_asked = 1;
}

static void on_resize(int number)
{
	(void)number;
	resized = 1;
}

/* Ctrl-Z: gives the terminal back, stops, and takes it again when it is continued. */
static void stop_here(void)
{
	stop_asked = 0;
	terminal_leave();
	raise(SIGSTOP);
	terminal_enter();
}

static void cell_size(struct table *table, uint64_t len)
{
	char text[UNITS_TEXT_LEN];

	table_cell(table, "%s", units_show_size(len, text));
}

static void add_row(struct table *table, const json_t *stream, const json_t *shard)
{
	bool memory = json_is_true(json_object_get(json_object_get(stream, "options"), "memory"));
	char text[UNITS_TEXT_LEN];

	table_cell(table, "%s", state_text(stream, "name"));
	table_cell(table, "%llu", (unsigned long long)state_u64(shard, "shard"));
	table_cell(table, "%s", units_show_count(state_real(shard, "records_per_s"), text));
	cell_size(table, (uint64_t)state_real(shard, "bytes_per_s"));
	cell_size(table, memory ? 0 : state_between(shard, "written", "latest"));
	cell_size(table, memory ? 0 : state_between(shard, "durable", "latest"));
	cell_size(table, state_u64(shard, "kept_bytes"));
	table_cell(table, "%llu", (unsigned long long)state_u64(shard, "publishers"));
	table_cell(table, "%llu", (unsigned long long)state_u64(shard, "full_waits"));
	table_cell(table, "%llu", (unsigned long long)state_u64(shard, "tombstones"));
	table_cell(table, "%llu", (unsigned long long)state_u64(shard, "damaged"));
	table_cell(table, "%llu", (unsigned long long)state_u64(shard, "gaps"));
	table_cell(table, "%s", state_text(shard, "state"));
}

static void print_page(const struct state *state, FILE *to)
{
	const json_t *bus = json_object_get(state->root, "bus");
	json_t *stream, *shard, *subscriber;
	char text[UNITS_TEXT_LEN];
	struct table table;
	size_t i, k;

	if (bus)
		fprintf(to, "leatd %s, pid %llu, up %s, %llu clients, %zu streams\n\n",
			state_text(bus, "version"), (unsigned long long)state_u64(bus, "pid"),
			units_show_time(state_u64(bus, "uptime_ns"), text),
			(unsigned long long)state_u64(bus, "clients"),
			json_array_size(state->streams));
	table_init(&table, "",
		   "STREAM +SHARD +RECORDS/S +BYTES/S +UNWRITTEN +UNSYNCED +KEPT +PUBS +WAITS "
		   "+TOMBS +DAMAGED +GAPS STATE");
	json_array_foreach(state->streams, i, stream) {
		json_array_foreach(json_object_get(stream, "shards"), k, shard)
			add_row(&table, stream, shard);
	}
	table_print(&table, to);
	table_deinit(&table);
	table_init(&table, "", "SUBSCRIBER STREAM +SHARD +LAG READS-FROM");
	json_array_foreach(state->streams, i, stream) {
		json_array_foreach(json_object_get(stream, "subscribers"), k, subscriber) {
			table_cell(&table, "%s", state_text(subscriber, "name"));
			table_cell(&table, "%s", state_text(stream, "name"));
			table_cell(&table, "%llu",
				   (unsigned long long)state_u64(subscriber, "shard"));
			cell_size(&table, state_u64(subscriber, "lag"));
			table_cell(&table, "%s", state_text(subscriber, "where"));
		}
	}
	if (table.n_cells > table.n_columns) {
		fputc('\n', to);
		table_print(&table, to);
	}
	table_deinit(&table);
}

/* As much of the page as the window holds, each line cut to its width. */
static void draw(const char *page)
{
	struct winsize size = { 0 };
	int rows, columns, len;

	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	rows = size.ws_row ? size.ws_row : 24;
	columns = size.ws_col ? size.ws_col : 80;
	fputs("\033[H", stdout);
	while (*page && rows > 0) {
		len = (int)strcspn(page, "\n");
		printf("%.*s\033[K", len < columns ? len : columns, page);
		page += len + (page[len] == '\n');
		if (--rows > 0 && *page)
			fputs("\r\n", stdout);
	}
	fputs("\033[J", stdout);
}

/* On a terminal a daemon that is away is worth waiting for: it may be on its way back. */
static bool show_absence(const struct top *top, int error)
{
	char page[300];

	if (!top->tty || error == -ENOENT || error == -EACCES || error == -EPROTO)
		return false;
	snprintf(page, sizeof(page), "leatd does not answer (%s), trying again\n",
		 leat_strerror(error));
	draw(page);
	return true;
}

static int show(struct top *top)
{
	struct state now = { 0 };
	char *page = NULL;
	size_t len = 0;
	FILE *to;
	int rc;

	rc = state_try(top->bus, top->stream, &now);
	if (rc < 0)
		return show_absence(top, rc) && fflush(stdout) == 0 ? 0 : rc;
	state_add_rates(&top->before, &now);
	to = open_memstream(&page, &len);
	if (to) {
		print_page(&now, to);
		fclose(to);
		if (top->tty)
			draw(page);
		else
			fputs(page, stdout);
	}
	free(page);
	state_free(&top->before);
	top->before = now;
	return fflush(stdout) != 0 || !to ? -EIO : 0;
}

/* Waits for the next refresh. Returns true when it is time to quit. */
static bool wait_or_quit(const struct top *top)
{
	uint64_t due = tool_monotonic_ns() + top->delay_ns, now;
	struct pollfd pollfd = { .fd = top->tty ? STDIN_FILENO : -1, .events = POLLIN };
	char key = 0;
	int rc;

	while (!tool_stopping() && (now = tool_monotonic_ns()) < due) {
		rc = poll(&pollfd, 1, (int)((due - now) / 1000000u) + 1);
		if (stop_asked)
			stop_here();
		if (resized) {
			resized = 0;
			return tool_stopping();
		}
		if (rc > 0) {
			/* Nothing to read is a terminal that went away. */
			if (read(STDIN_FILENO, &key, 1) <= 0)
				return true;
			return key == 'q' || key == 'Q' || tool_stopping();
		}
	}
	return tool_stopping();
}

static int run(struct top *top)
{
	struct sigaction tstp = { .sa_handler = on_tstp }, winch = { .sa_handler = on_resize };
	uint64_t n = 0;
	int rc;

	if (tool_connect(&top->bus) < 0 || state_take(top->bus, top->stream, &top->before) < 0)
		return TOOL_FAILED;
	top->tty = isatty(STDOUT_FILENO) && tcgetattr(STDIN_FILENO, &saved_termios) == 0;
	tool_catch_signals();
	if (top->tty) {
		sigaction(SIGTSTP, &tstp, NULL);
		sigaction(SIGWINCH, &winch, NULL);
		terminal_enter();
	}
	/* The first page comes soon: a rate needs two samples, not a whole second. */
	poll(NULL, 0, top->delay_ns < 200000000u ? (int)(top->delay_ns / 1000000u) : 200);
	do {
		rc = show(top);
		n++;
	} while (rc == 0 && (top->max == 0 || n < top->max) && !wait_or_quit(top));
	if (top->tty)
		terminal_leave();
	if (ferror(stdout))
		return tool_flush_stdout(TOOL_OK);
	return rc < 0 ? tool_bus_error(top->bus, rc, "the state of the bus") : TOOL_OK;
}

static int parse_and_run(struct top *top, int argc, char **argv)
{
	static const struct option options[] = {
		{ "delay", required_argument, NULL, 'd' },
		{ "iterations", required_argument, NULL, 'n' },
		TOOL_LONG_OPTIONS,
	};
	int c, status;

	while ((c = getopt_long(argc, argv, ":d:n:" TOOL_SHORT_OPTIONS, options, NULL)) != -1) {
		switch (c) {
		case 'd':
			/* Plain seconds as top(1) has them. */
			if (units_parse_number(optarg, &top->delay_ns) == 0 &&
			    top->delay_ns < 86400)
				top->delay_ns *= 1000000000u;
			else if (units_parse_time(optarg, &top->delay_ns) < 0)
				return tool_usage("delay \"%s\" is not a time such as 500ms or 2s",
						  optarg);
			if (top->delay_ns < 10000000u || top->delay_ns > 86400000000000u)
				return tool_usage("a delay is between 10ms and 1d");
			break;
		case 'n':
			if (units_parse_number(optarg, &top->max) < 0 || top->max == 0)
				return tool_usage("\"%s\" is not a number from 1 on", optarg);
			break;
		default:
			status = tool_common_option(c, argv, help);
			if (status >= 0)
				return status;
		}
	}
	if (optind + 1 < argc)
		return tool_usage("one stream, or none for all");
	top->stream = argv[optind];
	return run(top);
}

int cmd_top(int argc, char **argv)
{
	struct top top = { .delay_ns = 1000000000u };
	int status = parse_and_run(&top, argc, argv);

	state_free(&top.before);
	leat_close(top.bus);
	return status;
}
