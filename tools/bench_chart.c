/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_chart.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench_report.h"
#include "tools/tool.h"

/* In pixels. */
enum {
	WIDTH = 860,
	LINES_HEIGHT = 484,
	LEFT = 100,
	RIGHT = 200, /* for the labels of lines */
	TOP = 68,
	BOTTOM = 76,
	BAR_HEIGHT = 24,
	BARS_LEFT = 310,  /* for names */
	BARS_BOTTOM = 56, /* an axis without a title */
	BARS_RIGHT = 96,  /* for the figure behind the longest */
	LABEL_GAP = 15,
};

/*
 * Colours of a middle brightness, which stand out from white and from black. Floors are grey; what
 * is leat is blue and drawn thicker; neighbours among the peers are far apart in hue.
 */
static const char *const floor_colours[] = { "#7d8590", "#9a9186", "#6d8a8a", "#8d7f9a" };
static const char *const leat_colours[] = { "#1f7ae0", "#00a3bf", "#5a63e6", "#3f8fd0", "#0f9d8a" };
static const char *const peer_colours[] = {
	"#e0661a", "#2f9e44", "#c2378d", "#b58900", "#d9363e", "#8250df", "#94612f", "#4f8a10",
};
static const char *const floor_dashes[] = { "7 4", "2 3", "10 3 2 3", "4 2" };

/* Where things lie in one chart. */
struct frame {
	struct bench_axis x;
	struct bench_axis y;
	double left;
	double top;
	double width;
	double height;
};

struct look {
	const char *colour;
	const char *dashes;
	double width;
};

void bench_chart_text(FILE *file, const char *text)
{
	for (; *text; text++) {
		if (*text == '<')
			fputs("&lt;", file);
		else if (*text == '>')
			fputs("&gt;", file);
		else if (*text == '&')
			fputs("&amp;", file);
		else if (*text == '"')
			fputs("&quot;", file);
		else if ((unsigned char)*text >= ' ')
			fputc(*text, file);
	}
}

const char *bench_chart_words(enum bench_unit unit, double value, char *buf, size_t len)
{
	static const char *const times[] = { "ns", "us", "ms", "s" };
	static const char *const sizes[] = { "B", "KiB", "MiB", "GiB" };
	static const char *const rates[] = { "", " k", " M", " G" };
	const char *const *units = unit == BENCH_UNIT_TIME   ? times
				   : unit == BENCH_UNIT_SIZE ? sizes
							     : rates;
	const double step = unit == BENCH_UNIT_SIZE ? 1024 : 1000;
	const char *space = unit == BENCH_UNIT_TIME || unit == BENCH_UNIT_SIZE ? " " : "";
	size_t i = 0;

	if (unit == BENCH_UNIT_PERCENT) {
		snprintf(buf, len, "%g %%", value * 100);
		return buf;
	}
	while (unit != BENCH_UNIT_PLAIN && value >= step * (1 - 1e-9) && i < ARRAY_LEN(times) - 1) {
		value /= step;
		i++;
	}
	if (unit == BENCH_UNIT_PLAIN)
		snprintf(buf, len, "%.6g", value);
	else if (unit == BENCH_UNIT_BYTES)
		snprintf(buf, len, "%.4g%s%sB/s", value, i ? rates[i] : " ", "");
	else if (unit == BENCH_UNIT_RATE)
		snprintf(buf, len, "%.4g%s/s", value, i ? rates[i] : " ");
	else
		snprintf(buf, len, "%.4g%s%s", value, space, units[i]);
	return buf;
}

struct bench_line *bench_chart_add(struct bench_chart *chart, enum bench_party party,
				   const char *label)
{
	struct bench_line *line;

	if (chart->n_lines == BENCH_CHART_LINES_MAX)
		return NULL;
	line = &chart->lines[chart->n_lines++];
	*line = (struct bench_line){ .party = party };
	snprintf(line->label, sizeof(line->label), "%s", label);
	return line;
}

void bench_chart_point(struct bench_line *line, double x, double y)
{
	size_t i;

	if (line->n_points == BENCH_CHART_POINTS_MAX)
		return;
	for (i = line->n_points++; i > 0 && line->points[i - 1].x > x; i--)
		line->points[i] = line->points[i - 1];
	line->points[i] = (struct bench_point){ x, y };
}

/* The nth of its party has the nth colour; a light one that of the line before it. */
static struct look look_of(const struct bench_chart *chart, size_t index)
{
	enum bench_party party = chart->lines[index].party;
	struct look look = { .dashes = "", .width = 1.8 };
	size_t i, n = 0;

	for (i = 0; i < index; i++)
		n += chart->lines[i].party == party && !chart->lines[i].light;
	n -= chart->lines[index].light;
	if (party == BENCH_FLOOR) {
		look.colour = floor_colours[n % ARRAY_LEN(floor_colours)];
		look.dashes = floor_dashes[n % ARRAY_LEN(floor_dashes)];
	} else if (party == BENCH_LEAT) {
		look.colour = leat_colours[n % ARRAY_LEN(leat_colours)];
		look.width = 3;
	} else {
		look.colour = peer_colours[n % ARRAY_LEN(peer_colours)];
	}
	if (chart->lines[index].light) {
		look.dashes = "1 4";
		look.width = 1.8;
	}
	return look;
}

static void open_svg(FILE *file, const struct bench_chart *chart, int height)
{
	fprintf(file,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"leat-chart\" role=\"img\" "
		"viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\">\n<title>",
		WIDTH, height, WIDTH, height);
	bench_chart_text(file, chart->title);
	fputs("</title>\n<style>\n"
	      ".leat-chart { font: 13px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', "
	      "sans-serif; }\n"
	      ".leat-chart .paper { fill: #ffffff; stroke: #d0d7de; }\n"
	      ".leat-chart text { fill: #1f2328; }\n"
	      ".leat-chart .title { font-size: 17px; font-weight: 600; }\n"
	      ".leat-chart .quiet { fill: #59636e; }\n"
	      ".leat-chart .small { font-size: 11px; }\n"
	      ".leat-chart .grid { stroke: #d8dee4; stroke-width: 1; }\n"
	      ".leat-chart .fine { stroke: #eef1f4; stroke-width: 1; }\n"
	      ".leat-chart .axis { stroke: #8c959f; stroke-width: 1; }\n"
	      ".leat-chart .line { fill: none; stroke-linejoin: round; }\n"
	      "@media (prefers-color-scheme: dark) {\n"
	      ".leat-chart .paper { fill: #0d1117; stroke: #30363d; }\n"
	      ".leat-chart text { fill: #e6edf3; }\n"
	      ".leat-chart .quiet { fill: #9198a1; }\n"
	      ".leat-chart .grid { stroke: #2a313a; }\n"
	      ".leat-chart .fine { stroke: #1a2028; }\n"
	      ".leat-chart .axis { stroke: #6e7681; }\n"
	      "}\n</style>\n",
	      file);
	fprintf(file,
		"<rect class=\"paper\" x=\"0.5\" y=\"0.5\" width=\"%d\" height=\"%d\" rx=\"8\"/>\n",
		WIDTH - 1, height - 1);
	fputs("<text class=\"title\" x=\"20\" y=\"28\">", file);
	bench_chart_text(file, chart->title);
	fputs("</text>\n<text class=\"quiet\" x=\"20\" y=\"47\">", file);
	bench_chart_text(file, chart->subtitle ? chart->subtitle : "");
	fprintf(file, "</text>\n<text class=\"quiet small\" x=\"20\" y=\"%d\">", height - 13);
	bench_chart_text(file, chart->footnote ? chart->footnote : "");
	fputs("</text>\n", file);
}

static void put_text(FILE *file, double x, double y, const char *more, const char *text)
{
	fprintf(file, "<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, more);
	bench_chart_text(file, text);
	fputs("</text>\n", file);
}

static void put_rule(FILE *file, const char *class, double x1, double y1, double x2, double y2)
{
	fprintf(file, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n",
		class, x1, y1, x2, y2);
}

static double x_of(const struct frame *frame, double value)
{
	return frame->left + frame->width * bench_axis_place(&frame->x, value);
}

static double y_of(const struct frame *frame, double value)
{
	return frame->top + frame->height * (1 - bench_axis_place(&frame->y, value));
}

static void draw_x_axis(FILE *file, const struct frame *frame, enum bench_unit unit,
			const char *title)
{
	double bottom = frame->top + frame->height, x;
	const struct bench_tick *tick;
	char words[32];
	size_t i;

	for (i = 0; i < frame->x.n_ticks; i++) {
		tick = &frame->x.ticks[i];
		x = x_of(frame, tick->value);
		put_rule(file, tick->labelled ? "grid" : "fine", x, frame->top, x, bottom);
		if (tick->labelled)
			put_text(file, x, bottom + 18, "text-anchor=\"middle\" class=\"quiet\"",
				 bench_chart_words(unit, tick->value, words, sizeof(words)));
	}
	put_rule(file, "axis", frame->left, bottom, frame->left + frame->width, bottom);
	if (title)
		put_text(file, frame->left + frame->width / 2, bottom + 40,
			 "text-anchor=\"middle\"", title);
}

static void draw_y_axis(FILE *file, const struct frame *frame, enum bench_unit unit,
			const char *title)
{
	const struct bench_tick *tick;
	char words[32], more[96];
	size_t i;
	double y;

	for (i = 0; i < frame->y.n_ticks; i++) {
		tick = &frame->y.ticks[i];
		y = y_of(frame, tick->value);
		put_rule(file, tick->labelled ? "grid" : "fine", frame->left, y,
			 frame->left + frame->width, y);
		if (tick->labelled)
			put_text(file, frame->left - 8, y + 4,
				 "text-anchor=\"end\" class=\"quiet\"",
				 bench_chart_words(unit, tick->value, words, sizeof(words)));
	}
	if (!title)
		return;
	y = frame->top + frame->height / 2;
	snprintf(more, sizeof(more), "text-anchor=\"middle\" transform=\"rotate(-90 18 %.1f)\"", y);
	put_text(file, 18, y, more, title);
}

static void draw_line(FILE *file, const struct frame *frame, const struct bench_line *line,
		      const struct look *look)
{
	size_t i;

	fprintf(file,
		"<polyline class=\"line\" stroke=\"%s\" stroke-width=\"%.1f\" "
		"stroke-dasharray=\"%s\" points=\"",
		look->colour, look->width, *look->dashes ? look->dashes : "none");
	for (i = 0; i < line->n_points; i++)
		fprintf(file, "%s%.1f,%.1f", i ? " " : "", x_of(frame, line->points[i].x),
			y_of(frame, line->points[i].y));
	fputs("\"/>\n", file);
	for (i = 0; i < line->n_points && !line->light; i++)
		fprintf(file, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.6\" fill=\"%s\"/>\n",
			x_of(frame, line->points[i].x), y_of(frame, line->points[i].y),
			look->colour);
}

struct label {
	size_t line;
	double at; /* where the line ends */
};

static int by_height(const void *a, const void *b)
{
	const struct label *x = a, *y = b;

	return (x->at > y->at) - (x->at < y->at);
}

/* Each label beside the end of its line, moved apart where ends are close, with a hair to it. */
static void draw_labels(FILE *file, const struct frame *frame, const struct bench_chart *chart)
{
	double places[BENCH_CHART_LINES_MAX], right = frame->left + frame->width, end;
	struct label labels[BENCH_CHART_LINES_MAX];
	const struct bench_line *line;
	size_t i, n = 0;
	char more[64];

	for (i = 0; i < chart->n_lines; i++) {
		line = &chart->lines[i];
		if (line->light || line->n_points == 0)
			continue;
		labels[n].line = i;
		labels[n++].at = y_of(frame, line->points[line->n_points - 1].y);
	}
	if (n == 0)
		return;
	qsort(labels, n, sizeof(*labels), by_height);
	for (i = 0; i < n; i++)
		places[i] = labels[i].at;
	bench_axis_spread(places, n, LABEL_GAP, frame->top, frame->top + frame->height);
	for (i = 0; i < n; i++) {
		struct look look = look_of(chart, labels[i].line);

		line = &chart->lines[labels[i].line];
		end = x_of(frame, line->points[line->n_points - 1].x);
		fprintf(file,
			"<polyline class=\"line\" stroke=\"%s\" stroke-width=\"0.8\" "
			"points=\"%.1f,%.1f %.1f,%.1f %.1f,%.1f\"/>\n",
			look.colour, end + 4, labels[i].at, right + 4, labels[i].at, right + 14,
			places[i]);
		snprintf(more, sizeof(more), "style=\"fill: %s%s\"", look.colour,
			 line->party == BENCH_LEAT ? "; font-weight: 600" : "");
		put_text(file, right + 18, places[i] + 4.5, more, line->label);
	}
}

static bool bounds(const struct bench_chart *chart, bool of_x, double *ret_least, double *ret_most)
{
	double value, least = INFINITY, most = -INFINITY;
	size_t i, j;

	for (i = 0; i < chart->n_lines; i++) {
		for (j = 0; j < chart->lines[i].n_points; j++) {
			value = of_x ? chart->lines[i].points[j].x : chart->lines[i].points[j].y;
			least = fmin(least, value);
			most = fmax(most, value);
		}
	}
	*ret_least = least;
	*ret_most = most;
	return least <= most;
}

void bench_chart_lines(FILE *file, const struct bench_chart *chart)
{
	struct frame frame = {
		.left = LEFT,
		.top = TOP,
		.width = WIDTH - LEFT - RIGHT,
		.height = LINES_HEIGHT - TOP - BOTTOM,
	};
	double least, most;
	struct look look;
	size_t i;

	open_svg(file, chart, LINES_HEIGHT);
	if (bounds(chart, true, &least, &most)) {
		bench_axis_fit(&frame.x, chart->x_scale, least, most);
		bounds(chart, false, &least, &most);
		bench_axis_fit(&frame.y, chart->y_scale, least, most);
		draw_x_axis(file, &frame, chart->x_unit, chart->x_title);
		draw_y_axis(file, &frame, chart->y_unit, chart->y_title);
		/* leat's last, so that nothing lies on them. */
		for (i = 0; i < 2 * chart->n_lines; i++) {
			const struct bench_line *line = &chart->lines[i % chart->n_lines];

			look = look_of(chart, i % chart->n_lines);
			if ((line->party == BENCH_LEAT) == (i >= chart->n_lines))
				draw_line(file, &frame, line, &look);
		}
		draw_labels(file, &frame, chart);
	}
	fputs("</svg>\n", file);
}

static int by_figure(const void *a, const void *b)
{
	const struct bench_line *x = a, *y = b;

	return (y->points[0].y > x->points[0].y) - (y->points[0].y < x->points[0].y);
}

static void draw_bar(FILE *file, const struct frame *frame, const struct bench_line *line,
		     enum bench_unit unit, double y)
{
	static const enum bench_kind kinds[] = {
		[BENCH_UNIT_TIME] = BENCH_LATENCY,
		[BENCH_UNIT_RATE] = BENCH_RATE,
		[BENCH_UNIT_BYTES] = BENCH_BYTES,
	};
	const char *colour = line->party == BENCH_FLOOR  ? floor_colours[0]
			     : line->party == BENCH_LEAT ? leat_colours[0]
							 : peer_colours[0];
	const char *bold = line->party == BENCH_LEAT ? "font-weight=\"600\"" : "";
	double x = x_of(frame, line->points[0].y);
	char words[32], more[64];

	snprintf(more, sizeof(more), "text-anchor=\"end\" %s", bold);
	put_text(file, frame->left - 10, y + 4.5, more, line->label);
	/* A length from a foot that is not zero says nothing; a place does. */
	if (frame->x.scale == BENCH_LINEAR)
		fprintf(file,
			"<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" rx=\"2\" "
			"fill=\"%s\"/>\n",
			frame->left, y - BAR_HEIGHT / 2.0 + 5, fmax(x - frame->left, 2),
			BAR_HEIGHT - 10, colour);
	else
		fprintf(file,
			"<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" "
			"stroke-dasharray=\"1 4\"/>\n"
			"<circle cx=\"%.1f\" cy=\"%.1f\" r=\"5.5\" fill=\"%s\"/>\n",
			frame->left, y, x, y, colour, x, y, colour);
	put_text(file, x + 10, y + 4.5, bold,
		 bench_report_value(kinds[unit], line->points[0].y, words, sizeof(words)));
}

void bench_chart_bars(FILE *file, const struct bench_chart *chart)
{
	struct bench_line *lines = malloc(sizeof(chart->lines));
	int height = TOP + BARS_BOTTOM + BAR_HEIGHT * (int)chart->n_lines;
	struct frame frame = {
		.left = BARS_LEFT,
		.top = TOP,
		.width = WIDTH - BARS_LEFT - BARS_RIGHT,
		.height = height - TOP - BARS_BOTTOM,
	};
	double least, most;
	size_t i;

	open_svg(file, chart, height);
	if (lines && bounds(chart, false, &least, &most)) {
		memcpy(lines, chart->lines, sizeof(chart->lines));
		qsort(lines, chart->n_lines, sizeof(*lines), by_figure);
		bench_axis_fit(&frame.x, chart->y_scale, least, most);
		draw_x_axis(file, &frame, chart->y_unit, NULL);
		for (i = 0; i < chart->n_lines; i++)
			draw_bar(file, &frame, &lines[i], chart->y_unit,
				 frame.top + BAR_HEIGHT * ((double)i + 0.5));
	}
	fputs("</svg>\n", file);
	free(lines);
}
