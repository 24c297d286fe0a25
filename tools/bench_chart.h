/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chart as a self-contained SVG picture: lines over an axis, or one figure for each of several
 * names. It brings its own background and follows the reader's choice of light or dark.
 */
#ifndef TOOLS_BENCH_CHART_H
#define TOOLS_BENCH_CHART_H

#include <stdio.h>

#include "tools/bench.h"
#include "tools/bench_axis.h"

enum {
	BENCH_CHART_LINES_MAX = 24,
	BENCH_CHART_POINTS_MAX = 24,
};

/* Colours and dashes follow from who it is. */
enum bench_party {
	BENCH_FLOOR,
	BENCH_LEAT,
	BENCH_PEER
};

struct bench_point {
	double x;
	double y;
};

struct bench_line {
	char label[64];
	enum bench_party party;
	bool light;      /* goes with the line before it, in the same colour, and has no label */
	size_t n_points; /* sorted by x */
	struct bench_point points[BENCH_CHART_POINTS_MAX];
};

/* What numbers along an axis mean. */
enum bench_unit {
	BENCH_UNIT_PLAIN,
	BENCH_UNIT_TIME,    /* nanoseconds */
	BENCH_UNIT_RATE,    /* per second */
	BENCH_UNIT_BYTES,   /* bytes per second */
	BENCH_UNIT_SIZE,    /* bytes */
	BENCH_UNIT_PERCENT, /* a share of one */
};

struct bench_chart {
	const char *title;
	const char *subtitle;
	const char *footnote; /* what it was measured on; or NULL, as the others */
	const char *x_title;
	const char *y_title;
	enum bench_scale x_scale;
	enum bench_scale y_scale;
	enum bench_unit x_unit;
	enum bench_unit y_unit;
	size_t n_lines;
	struct bench_line lines[BENCH_CHART_LINES_MAX];
};

/* Adds a line without points; NULL when there is no room. */
struct bench_line *bench_chart_add(struct bench_chart *chart, enum bench_party party,
				   const char *label);
void bench_chart_point(struct bench_line *line, double x, double y);
/* Lines, each with its label at its right end. */
void bench_chart_lines(FILE *file, const struct bench_chart *chart);
/* The first point's y of each line beside its label, the longest first; x is of no interest. */
void bench_chart_bars(FILE *file, const struct bench_chart *chart);
/* A tick's words: "64", "1 KiB", "10 us", "99.9 %". */
const char *bench_chart_words(enum bench_unit unit, double value, char *buf, size_t len);
/* Text as XML wants it. */
void bench_chart_text(FILE *file, const char *text);

#endif
