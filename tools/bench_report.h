/* SPDX-License-Identifier: Apache-2.0 */
/* Medians over the runs, ratios to the floors, and both ways to print them. */
#ifndef TOOLS_BENCH_REPORT_H
#define TOOLS_BENCH_REPORT_H

#include <stdio.h>

#include "tools/bench.h"
#include "tools/bench_machine.h"

/* The runs of one workload, by number. */
struct bench_series {
	bool selected;
	int n_ok;
	bool ok[BENCH_RUNS_MAX];
	struct bench_result runs[BENCH_RUNS_MAX];
	char error[512];   /* of the last run that failed */
	char skipped[512]; /* why it cannot be had here; then it has no runs */
	char about[160];   /* what a peer is and how it was driven */
};

enum bench_verdict {
	BENCH_NO_GOAL,
	BENCH_MET,
	BENCH_NOT_MET
};

/* A row of the report: everything is a median over the runs, except that max is the largest. */
struct bench_row {
	struct bench_result median;
	double ratio;      /* of the medians: this one's to the floor's; 0 = none */
	double ratio_p999; /* the same of the 99.9 percentiles */
	double leat;       /* how many times as fast leat is as this peer; 0 = not known */
	enum bench_verdict verdict;
};

/* `all` is the array of series in the order of bench_table. False when no run succeeded. */
bool bench_report_row(const struct bench_series *all, size_t index, struct bench_row *ret_row);
void bench_report_table(const struct bench_env *env, const struct bench_machine *machine,
			const struct bench_series *all);
/* One object on a line; -ENOMEM, -EIO. */
int bench_report_json(FILE *file, const struct bench_env *env, const struct bench_machine *machine,
		      const struct bench_series *all);
/* "141 ns", "16.2 M/s", "1.43 GB/s": a value of that kind in a few characters. */
const char *bench_report_value(enum bench_kind kind, double value, char *buf, size_t len);
/* "0.31", "2.4", "57": how many times as fast. */
const char *bench_report_times(double times, char *buf, size_t len);

#endif
