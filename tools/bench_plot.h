/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which charts there are and what of the measurements each shows. A peer is in every chart that
 * has leat's row beside it; a row with a series in that series' chart.
 */
#ifndef TOOLS_BENCH_PLOT_H
#define TOOLS_BENCH_PLOT_H

#include "tools/bench_chart.h"
#include "tools/bench_report.h"

/* The name of a chart, which is its file's; NULL behind the last. */
const char *bench_plot_name(size_t index);
/* Fills in the chart of that number; false when nothing of it was measured. */
bool bench_plot_fill(size_t index, const struct bench_series *all, struct bench_chart *ret_chart);
void bench_plot_draw(FILE *file, size_t index, const struct bench_chart *chart);

#endif
