/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tools/tool.h"
#include "tools/units.h"

enum {
	PROGRESS_BAR_MAX = 40,
	PROGRESS_EVERY_MS = 100,
};

void progress_init(struct progress *progress, const char *verb, uint64_t total, bool quiet)
{
	uint64_t now = tool_monotonic_ns();

	/* What is done before the first bar is due needs none. */
	*progress = (struct progress){
		.verb = verb,
		.total = total,
		.start_ns = now,
		.shown_ns = now,
		.on = total > 0 && !quiet && isatty(STDERR_FILENO),
	};
}

static int bar_width(void)
{
	struct winsize size = { 0 };
	int width;

	ioctl(STDERR_FILENO, TIOCGWINSZ, &size);
	width = (size.ws_col ? size.ws_col : 80) - 46;
	return width > PROGRESS_BAR_MAX ? PROGRESS_BAR_MAX : width < 4 ? 4 : width;
}

void progress_update(struct progress *progress, uint64_t done)
{
	static const char full[] = "########################################";
	char done_text[UNITS_TEXT_LEN], total_text[UNITS_TEXT_LEN], rate_text[UNITS_TEXT_LEN];
	uint64_t now, elapsed;
	double part, rate;
	int width, n;

	if (!progress->on)
		return;
	now = tool_monotonic_ns();
	if (now - progress->shown_ns < PROGRESS_EVERY_MS * UINT64_C(1000000))
		return;
	progress->shown_ns = now;
	progress->visible = true;
	elapsed = now - progress->start_ns + 1;
	part = done < progress->total ? (double)done / (double)progress->total : 1;
	rate = (double)done * 1e9 / (double)elapsed;
	width = bar_width();
	n = (int)(part * width);
	fprintf(stderr, "\r%s %3d%% [%.*s%*s] %s of %s, %s/s\033[K", progress->verb,
		(int)(part * 100), n, full, width - n, "", units_show_size(done, done_text),
		units_show_size(progress->total, total_text),
		units_show_size((uint64_t)rate, rate_text));
	fflush(stderr);
}

void progress_clear(struct progress *progress)
{
	if (!progress->visible)
		return;
	fputs("\r\033[K", stderr);
	fflush(stderr);
	progress->visible = false;
}

void progress_finish(struct progress *progress, uint64_t records, uint64_t bytes)
{
	char bytes_text[UNITS_TEXT_LEN], rate_text[UNITS_TEXT_LEN], time_text[UNITS_TEXT_LEN];
	uint64_t elapsed = tool_monotonic_ns() - progress->start_ns + 1;

	if (!progress->on)
		return;
	progress_clear(progress);
	fprintf(stderr, "%s: %llu records, %s in %s, %s records/s\n", progress->verb,
		(unsigned long long)records, units_show_size(bytes, bytes_text),
		units_show_time(elapsed, time_text),
		units_show_count((double)records * 1e9 / (double)elapsed, rate_text));
}
