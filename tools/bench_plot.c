/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_plot.h"

#include <string.h>

#include "tools/bench_hist.h"
#include "tools/tool.h"

enum {
	ROWS_MAX = 8
};

enum shape {
	CURVES, /* latency over the share of samples that is below it */
	BARS,   /* one figure of each row */
	LINES,  /* the rows of a series over its x */
};

/*
 * A chart shows the rows named here and every peer that stands beside one of them; one of lines
 * shows the rows of a series.
 */
struct plan {
	const char *name; /* of its file */
	enum shape shape;
	const char *title;
	const char *subtitle;
	const char *x_title;
	const char *y_title;
	const char *series;
	enum bench_scale x_scale;
	enum bench_unit x_unit;
	enum bench_unit y_unit;
	bool times_x; /* shows bytes, where the series counts records of x bytes */
	bool linear;
	struct {
		const char *row;
		const char *label;
	} rows[ROWS_MAX];
};

static const struct plan plans[] = {
	{
		.name = "round-trip",
		.shape = CURVES,
		.title = "Round trip of 64 bytes between two processes",
		.subtitle = "lower is better; the further right, the rarer",
		.y_unit = BENCH_UNIT_TIME,
		.rows = { { "ring", "minimal ring" },
			  { "futex", "futex" },
			  { "round-trip", "leat, polling" },
			  { "round-trip-sleep", "leat, sleeping" },
			  { "round-trip-free", "leat, not pinned" } },
	},
	{
		.name = "rate",
		.shape = BARS,
		.title = "Records of 64 bytes a second, from one process to another",
		.subtitle = "further right is better; each mark on the axis is a factor",
		.y_unit = BENCH_UNIT_RATE,
		.rows = { { "ring-rate", "minimal ring" },
			  { "rate", "leat: one record a call" },
			  { "rate-many", "leat: 64 records a call" },
			  { "rate-batch", "leat: atomic batches of 64" },
			  { "rate-claim", "leat: written in place" } },
	},
	{
		.name = "size",
		.shape = LINES,
		.title = "Records a second by their size, one to one",
		.subtitle = "higher is better",
		.x_title = "size of a record",
		.y_title = "records per second",
		.series = "size",
		.x_scale = BENCH_LOG2,
		.x_unit = BENCH_UNIT_SIZE,
		.y_unit = BENCH_UNIT_RATE,
	},
	{
		.name = "size-bytes",
		.shape = LINES,
		.title = "Bytes a second by the size of a record, one to one",
		.subtitle = "higher is better",
		.x_title = "size of a record",
		.y_title = "bytes per second",
		.series = "size",
		.x_scale = BENCH_LOG2,
		.x_unit = BENCH_UNIT_SIZE,
		.y_unit = BENCH_UNIT_BYTES,
		.times_x = true,
	},
	{
		.name = "load",
		.shape = LINES,
		.title = "One-way latency under a given load",
		.subtitle = "lower is better; dots: 99.9 %",
		.x_title = "records per second",
		.y_title = "latency",
		.series = "load",
		.x_scale = BENCH_LOG,
		.x_unit = BENCH_UNIT_RATE,
		.y_unit = BENCH_UNIT_TIME,
	},
	{
		.name = "scale",
		.shape = LINES,
		.title = "Records a second by the number of shards and publishers",
		.subtitle = "higher is better",
		.x_title = "number",
		.y_title = "records per second",
		.series = "scale",
		.x_scale = BENCH_LOG2,
		.x_unit = BENCH_UNIT_PLAIN,
		.y_unit = BENCH_UNIT_RATE,
	},
	{
		.name = "restart",
		.shape = LINES,
		.title = "From a kill -9 of the daemon until it serves again",
		.subtitle = "lower is better",
		.x_title = "segments on disk",
		.y_title = "time",
		.series = "restart",
		.x_scale = BENCH_LOG,
		.x_unit = BENCH_UNIT_PLAIN,
		.y_unit = BENCH_UNIT_TIME,
	},
	{
		.name = "disk",
		.shape = BARS,
		.title = "Records of 1 KiB to disk, bytes a second",
		.subtitle = "longer is better; until the last of them is on stable storage",
		.y_unit = BENCH_UNIT_BYTES,
		.linear = true,
		.rows = { { "raw-write", "sequential write, fdatasync" },
			  { "disk", "leat: synced always" },
			  { "disk-10ms", "leat: synced every 10 ms" },
			  { "disk-unsynced", "leat: synced at the end" } },
	},
	{
		.name = "durable",
		.shape = CURVES,
		.title = "From a publish of 4 KiB to the word that it is on stable storage",
		.subtitle = "lower is better; the further right, the rarer",
		.y_unit = BENCH_UNIT_TIME,
		.rows = { { "append-sync", "append and fdatasync" },
			  { "ack-durable", "leat, durable" } },
	},
	{
		.name = "written",
		.shape = CURVES,
		.title = "From a publish of 4 KiB to the word that the server has taken it",
		.subtitle = "lower is better; on disk only later, and lost with the machine",
		.y_unit = BENCH_UNIT_TIME,
		.rows = { { "ack-written", "leat, written" } },
	},
};

static const struct bench_series *series_of(const struct bench_series *all, size_t index)
{
	return all[index].selected && all[index].n_ok > 0 ? &all[index] : NULL;
}

static enum bench_party party_of(const struct bench_workload *workload)
{
	return workload->is_floor ? BENCH_FLOOR : workload->is_peer ? BENCH_PEER : BENCH_LEAT;
}

static void add_figure(struct bench_chart *chart, const struct plan *plan,
		       const struct bench_series *all, size_t index, const char *label)
{
	const struct bench_workload *workload = &bench_table[index];
	struct bench_line *line;
	struct bench_row row;
	double n_samples; /* of one run */
	size_t i;

	if (!series_of(all, index) || !bench_report_row(all, index, &row))
		return;
	n_samples = (double)row.median.n_samples / all[index].n_ok;
	line = bench_chart_add(chart, party_of(workload), label);
	if (!line)
		return;
	if (plan->shape == BARS)
		bench_chart_point(line, 0, row.median.value);
	for (i = 0; plan->shape == CURVES && i < BENCH_CURVE_LEN; i++) {
		/* One in a thousand of a hundred is nobody. */
		if (n_samples * (1 - bench_hist_quantiles[i]) >= 1)
			bench_chart_point(line, bench_hist_quantiles[i], row.median.curve[i]);
	}
	if (line->n_points == 0)
		chart->n_lines--;
}

/* "ZeroMQ" of "ZeroMQ: there and back". */
static const char *peer_label(const char *title, char *buf, size_t len)
{
	snprintf(buf, len, "%.*s", (int)strcspn(title, ":"), title);
	return buf;
}

static void add_rows(struct bench_chart *chart, const struct plan *plan,
		     const struct bench_series *all)
{
	const struct bench_workload *workload;
	char buf[64];
	size_t i, j;

	for (i = 0; i < ROWS_MAX && plan->rows[i].row; i++) {
		workload = bench_table_find(plan->rows[i].row);
		if (workload)
			add_figure(chart, plan, all, (size_t)(workload - bench_table),
				   plan->rows[i].label);
	}
	for (i = 0; i < bench_table_len; i++) {
		workload = &bench_table[i];
		for (j = 0; j < ROWS_MAX && plan->rows[j].row && workload->beside; j++) {
			if (strcmp(workload->beside, plan->rows[j].row) != 0)
				continue;
			add_figure(chart, plan, all, i,
				   plan->shape == BARS
					   ? workload->title
					   : peer_label(workload->title, buf, sizeof(buf)));
		}
	}
}

/* The line of that label, made if it is not there; a light one comes behind its own. */
static struct bench_line *find_line(struct bench_chart *chart, enum bench_party party,
				    const char *label, bool light)
{
	struct bench_line *line;
	size_t i;

	for (i = 0; i < chart->n_lines; i++) {
		line = &chart->lines[i];
		if (line->light == light && line->party == party && strcmp(line->label, label) == 0)
			return line;
	}
	line = bench_chart_add(chart, party, label);
	if (line)
		line->light = light;
	return line;
}

static void add_series(struct bench_chart *chart, const struct plan *plan,
		       const struct bench_series *all)
{
	const struct bench_workload *workload;
	struct bench_line *line, *tail;
	struct bench_row row;
	size_t i;

	for (i = 0; i < bench_table_len; i++) {
		workload = &bench_table[i];
		if (!workload->series || strcmp(workload->series, plan->series) != 0 ||
		    !series_of(all, i) || !bench_report_row(all, i, &row))
			continue;
		line = find_line(chart, party_of(workload), workload->series_of, false);
		if (line)
			bench_chart_point(line, workload->x,
					  row.median.value * (plan->times_x ? workload->x : 1));
		tail = workload->kind == BENCH_LATENCY && line
			       ? find_line(chart, party_of(workload), workload->series_of, true)
			       : NULL;
		if (tail)
			bench_chart_point(tail, workload->x, row.median.p999);
	}
}

const char *bench_plot_name(size_t index)
{
	return index < ARRAY_LEN(plans) ? plans[index].name : NULL;
}

bool bench_plot_fill(size_t index, const struct bench_series *all, struct bench_chart *ret_chart)
{
	const struct plan *plan = &plans[index];

	*ret_chart = (struct bench_chart){
		.title = plan->title,
		.subtitle = plan->subtitle,
		.x_title = plan->x_title,
		.y_title = plan->y_title,
		.x_scale = plan->shape == CURVES ? BENCH_NINES : plan->x_scale,
		.y_scale = plan->linear ? BENCH_LINEAR : BENCH_LOG,
		.x_unit = plan->shape == CURVES ? BENCH_UNIT_PERCENT : plan->x_unit,
		.y_unit = plan->y_unit,
	};
	if (plan->shape == CURVES) {
		ret_chart->x_title = "share of all that takes at most as long";
		ret_chart->y_title = "time";
	}
	if (plan->shape == LINES)
		add_series(ret_chart, plan, all);
	else
		add_rows(ret_chart, plan, all);
	return ret_chart->n_lines > 0;
}

void bench_plot_draw(FILE *file, size_t index, const struct bench_chart *chart)
{
	if (plans[index].shape == BARS)
		bench_chart_bars(file, chart);
	else
		bench_chart_lines(file, chart);
}
