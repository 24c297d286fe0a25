/* SPDX-License-Identifier: Apache-2.0 */
/* The report: charts as SVG files, one page that holds them all with the figures, and the JSON. */
#ifndef TOOLS_BENCH_PAGE_H
#define TOOLS_BENCH_PAGE_H

#include "tools/bench_machine.h"
#include "tools/bench_report.h"

/*
 * Writes index.html, bench.json and the charts into `dir`, which is made if it is not there; what
 * it held of these before is replaced. A negative errno, with what was in the way in env->error.
 */
int bench_page_write(struct bench_env *env, const struct bench_machine *machine,
		     const struct bench_series *all, const char *dir);

#endif
