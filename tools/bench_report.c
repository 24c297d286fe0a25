/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_report.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/tool.h"

static const char *const kind_names[] = {
	[BENCH_LATENCY] = "latency", [BENCH_RATE] = "rate", [BENCH_BYTES] = "bytes",
	[BENCH_COUNT] = "count",     [BENCH_TIME] = "time", [BENCH_EVENTS] = "events",
	[BENCH_SHARE] = "share",     [BENCH_SIZE] = "size",
};

static const char *const unit_names[] = {
	[BENCH_LATENCY] = "ns",    [BENCH_RATE] = "records/s",
	[BENCH_BYTES] = "bytes/s", [BENCH_COUNT] = "per million records",
	[BENCH_TIME] = "ns",       [BENCH_EVENTS] = "per second",
	[BENCH_SHARE] = "percent", [BENCH_SIZE] = "bytes",
};

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median_of(double *values, int n)
{
	if (n == 0)
		return 0;
	qsort(values, (size_t)n, sizeof(*values), compare_doubles);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static double at_offset(const struct bench_series *series, int run, size_t off)
{
	double value;

	memcpy(&value, (const char *)&series->runs[run] + off, sizeof(value));
	return value;
}

/* The median of the double that lies `off` bytes into each result. */
static double median_at(const struct bench_series *series, size_t off)
{
	double values[BENCH_RUNS_MAX] = { 0 };
	int run, n = 0;

	for (run = 0; run < BENCH_RUNS_MAX; run++) {
		if (series->ok[run])
			values[n++] = at_offset(series, run, off);
	}
	return median_of(values, n);
}

/* The same of its ratio to the floor's in each run; 0 where there is none. */
static double median_ratio_at(const struct bench_series *series, const struct bench_series *floor,
			      size_t off)
{
	double values[BENCH_RUNS_MAX], bottom;
	int run, n = 0;

	for (run = 0; run < BENCH_RUNS_MAX; run++) {
		if (!series->ok[run] || !floor->ok[run])
			continue;
		bottom = at_offset(floor, run, off);
		if (bottom > 0)
			values[n++] = at_offset(series, run, off) / bottom;
	}
	return n > 0 ? median_of(values, n) : 0;
}

static void take_medians(const struct bench_series *series, struct bench_result *median)
{
	const struct bench_result *result;
	size_t i;
	int run;

	*median = (struct bench_result){ 0 };
	median->value = median_at(series, offsetof(struct bench_result, value));
	median->p99 = median_at(series, offsetof(struct bench_result, p99));
	median->p999 = median_at(series, offsetof(struct bench_result, p999));
	median->p9999 = median_at(series, offsetof(struct bench_result, p9999));
	for (i = 0; i < BENCH_CURVE_LEN; i++)
		median->curve[i] = median_at(series, offsetof(struct bench_result, curve[i]));
	for (run = 0; run < BENCH_RUNS_MAX; run++) {
		result = &series->runs[run];
		if (!series->ok[run])
			continue;
		if (result->max > median->max)
			median->max = result->max;
		median->n_samples += result->n_samples;
		median->n_facts = result->n_facts;
		for (i = 0; i < result->n_facts; i++)
			median->facts[i].name = result->facts[i].name;
	}
	for (i = 0; i < median->n_facts; i++)
		median->facts[i].value =
			median_at(series, offsetof(struct bench_result, facts[i].value));
}

static bool less_is_better(enum bench_kind kind)
{
	return kind != BENCH_RATE && kind != BENCH_BYTES;
}

static bool reaches(enum bench_kind kind, double value, double goal)
{
	return less_is_better(kind) ? value <= goal : value >= goal;
}

/* All goals that there is a figure for have to be met. */
static enum bench_verdict judge(const struct bench_workload *workload, const struct bench_row *row)
{
	enum bench_kind kind = workload->kind;
	bool met = true, any = false;

	if (workload->goal_ratio > 0 && row->ratio > 0) {
		met = reaches(kind, row->ratio, workload->goal_ratio);
		any = true;
	} else if (workload->goal_absolute > 0) {
		met = reaches(kind, row->median.value, workload->goal_absolute);
		any = true;
	}
	if (workload->goal_p999_ratio > 0 && row->ratio_p999 > 0) {
		met = met && row->ratio_p999 <= workload->goal_p999_ratio;
		any = true;
	}
	if (workload->goal_p9999 > 0) {
		met = met && row->median.p9999 <= workload->goal_p9999;
		any = true;
	}
	return !any ? BENCH_NO_GOAL : met ? BENCH_MET : BENCH_NOT_MET;
}

/* How many times as fast leat's row beside a peer is, in the same runs. */
static double times_of_leat(const struct bench_series *all, size_t index)
{
	const struct bench_workload *workload = &bench_table[index];
	const struct bench_series *leat;
	double ratio;

	if (!workload->is_peer || !workload->beside)
		return 0;
	leat = &all[bench_table_find(workload->beside) - bench_table];
	ratio = median_ratio_at(&all[index], leat, offsetof(struct bench_result, value));
	return less_is_better(workload->kind) || ratio == 0 ? ratio : 1 / ratio;
}

bool bench_report_row(const struct bench_series *all, size_t index, struct bench_row *ret_row)
{
	const struct bench_workload *workload = &bench_table[index];
	const struct bench_series *floor;

	*ret_row = (struct bench_row){ 0 };
	if (all[index].n_ok == 0)
		return false;
	take_medians(&all[index], &ret_row->median);
	if (workload->floor) {
		floor = &all[bench_table_find(workload->floor) - bench_table];
		ret_row->ratio =
			median_ratio_at(&all[index], floor, offsetof(struct bench_result, value));
		ret_row->ratio_p999 =
			median_ratio_at(&all[index], floor, offsetof(struct bench_result, p999));
	}
	ret_row->leat = times_of_leat(all, index);
	ret_row->verdict = judge(workload, ret_row);
	return true;
}

const char *bench_report_value(enum bench_kind kind, double value, char *buf, size_t len)
{
	static const char *const times[] = { "ns", "us", "ms", "s" };
	static const char *const rates[] = { "/s", "k/s", "M/s", "G/s" };
	static const char *const speeds[] = { "B/s", "kB/s", "MB/s", "GB/s" };
	static const char *const sizes[] = { "B", "kB", "MB", "GB" };
	static const char *const *const units[] = {
		[BENCH_LATENCY] = times, [BENCH_RATE] = rates,   [BENCH_BYTES] = speeds,
		[BENCH_TIME] = times,    [BENCH_EVENTS] = rates, [BENCH_SIZE] = sizes,
	};
	size_t i = 0;

	if (kind == BENCH_COUNT || kind == BENCH_SHARE) {
		snprintf(buf, len, kind == BENCH_SHARE ? "%.3g %%" : "%.3g", value);
		return buf;
	}
	while (value >= 999.5 && i < ARRAY_LEN(times) - 1) {
		value /= 1000;
		i++;
	}
	snprintf(buf, len, "%.*f %s",
		 value < 9.995   ? 2
		 : value < 99.95 ? 1
				 : 0,
		 value, units[kind][i]);
	return buf;
}

const char *bench_report_times(double times, char *buf, size_t len)
{
	snprintf(buf, len, "%.*f", times < 0.95 ? 2 : times < 9.95 ? 1 : 0, times);
	return buf;
}

static void print_head(const struct bench_env *env, const struct bench_machine *machine)
{
	printf("leat %s%s%s on %s, %d CPU%s%s, %s, %s\n", leat_version(),
	       machine->commit[0] ? " " : "", machine->commit, machine->cpu, env->n_cpus,
	       env->n_cpus == 1 ? "" : "s", machine->virtual_machine ? " (virtual)" : "",
	       machine->kernel, machine->date);
	printf("medians of %d interleaved run%s%s, records of %d bytes, files on %s, ", env->n_runs,
	       env->n_runs == 1 ? "" : "s", env->quick ? " (quick)" : "", BENCH_VALUE_LEN,
	       machine->file_system);
	if (env->cpus[1] >= 0)
		printf("pinned to CPUs %d and %d\n", env->cpus[0], env->cpus[1]);
	else
		printf("not pinned\n");
	if (machine->load > 0.5)
		printf("note: the load was %.1f when it began; others distort the figures\n",
		       machine->load);
	if (env->n_cpus < 2)
		printf("note: with one CPU two processes take turns, which hides the memory\n");
	if (strcmp(machine->file_system, "tmpfs") == 0)
		printf("note: tmpfs is memory; choose a directory on a disk with --dir\n");
}

static void print_goal(const struct bench_workload *workload, const struct bench_row *row)
{
	const char *sign = less_is_better(workload->kind) ? "at most" : "at least";
	const char *comma = "";
	char buf[32];

	if (row->verdict == BENCH_NO_GOAL)
		return;
	if (workload->goal_ratio > 0 || workload->goal_absolute > 0) {
		snprintf(buf, sizeof(buf), "%.2f", workload->goal_ratio);
		if (workload->goal_ratio == 0)
			bench_report_value(workload->kind, workload->goal_absolute, buf,
					   sizeof(buf));
		printf("%s %s", sign, buf);
		comma = ", ";
	}
	if (workload->goal_p999_ratio > 0)
		printf("%s99.9 %% at most %.2f", comma, workload->goal_p999_ratio);
	if (workload->goal_p9999 > 0)
		printf("%s99.99 %% at most %s", comma,
		       bench_report_value(BENCH_LATENCY, workload->goal_p9999, buf, sizeof(buf)));
	printf(": %s", row->verdict == BENCH_MET ? "met" : "not met");
}

static void print_row(const struct bench_workload *workload, const struct bench_series *series,
		      const struct bench_row *row)
{
	char value[32], p99[32], p999[32], p9999[32], max[32], times[32], ratio[32] = "";
	enum bench_kind kind = workload->kind;

	if (series->n_ok == 0) {
		printf("%-43s failed: %s\n", workload->title,
		       series->error[0] ? series->error : "it was not run");
		return;
	}
	printf("%-43s %9s", workload->title,
	       bench_report_value(kind, row->median.value, value, sizeof(value)));
	if (kind == BENCH_LATENCY)
		printf("%8s %8s %8s %8s ",
		       bench_report_value(kind, row->median.p99, p99, sizeof(p99)),
		       bench_report_value(kind, row->median.p999, p999, sizeof(p999)),
		       bench_report_value(kind, row->median.p9999, p9999, sizeof(p9999)),
		       bench_report_value(kind, row->median.max, max, sizeof(max)));
	if (row->ratio > 0)
		snprintf(ratio, sizeof(ratio), "%.2f", row->ratio);
	if (*ratio || row->leat > 0 || row->verdict != BENCH_NO_GOAL)
		printf(" %8s  ", ratio);
	if (row->leat > 0)
		printf("leat %sx", bench_report_times(row->leat, times, sizeof(times)));
	print_goal(workload, row);
	printf("\n");
}

static const char *section_of(enum bench_kind kind)
{
	static const char *const sections[] = {
		[BENCH_LATENCY] = "latency", [BENCH_RATE] = "records", [BENCH_BYTES] = "bytes",
		[BENCH_COUNT] = "records",   [BENCH_TIME] = "times",   [BENCH_EVENTS] = "at rest",
		[BENCH_SHARE] = "at rest",   [BENCH_SIZE] = "at rest",
	};

	return sections[kind];
}

/* A hypervisor that moves virtual processors about changes the distance between them. */
static void warn_of_moods(const struct bench_series *all)
{
	const struct bench_series *series = &all[bench_table_find("cache-line") - bench_table];
	double least = 0, most = 0, value;
	char from[32], to[32];
	int run;

	for (run = 0; run < BENCH_RUNS_MAX; run++) {
		value = series->runs[run].value;
		if (!series->ok[run])
			continue;
		if (least == 0 || value < least)
			least = value;
		if (value > most)
			most = value;
	}
	if (most > least * 1.5)
		printf("note: a cache line took %s in one run and %s in another:\n"
		       "the machine's mood changes, and only ratios mean something\n",
		       bench_report_value(BENCH_LATENCY, least, from, sizeof(from)),
		       bench_report_value(BENCH_LATENCY, most, to, sizeof(to)));
}

/* What many rows need is missing only once. */
static void print_skipped(const struct bench_series *all)
{
	size_t i, j;

	for (i = 0; i < bench_table_len; i++) {
		for (j = 0; j < i && strcmp(all[j].skipped, all[i].skipped) != 0; j++)
			;
		if (all[i].skipped[0] && j == i)
			printf("skipped: %s\n", all[i].skipped);
	}
}

void bench_report_table(const struct bench_env *env, const struct bench_machine *machine,
			const struct bench_series *all)
{
	const char *section = "";
	struct bench_row row;
	size_t i;

	print_head(env, machine);
	for (i = 0; i < bench_table_len; i++) {
		const struct bench_workload *workload = &bench_table[i];

		if (!all[i].selected || all[i].skipped[0])
			continue;
		if (strcmp(section, section_of(workload->kind)) != 0) {
			section = section_of(workload->kind);
			if (workload->kind == BENCH_LATENCY)
				printf("\n%-43s %9s %8s %8s %8s %8s %8s  goal\n", section, "median",
				       "99 %", "99.9 %", "99.99 %", "max", "ratio");
			else
				printf("\n%-43s %9s %8s  goal\n", section, "median", "ratio");
		}
		bench_report_row(all, i, &row);
		print_row(workload, &all[i], &row);
	}
	printf("\nratio: to the floor of its kind (a line without \"leat:\") in the same run\n");
	printf("leat 2.0x: leat's line of that kind is twice as fast, in the same run\n");
	print_skipped(all);
	warn_of_moods(all);
}

static double rounded(double value)
{
	char buf[32];

	/* Seven digits are more than any of it is worth, and read better. */
	snprintf(buf, sizeof(buf), "%.7g", value);
	return strtod(buf, NULL);
}

static json_t *json_goal(const struct bench_workload *workload, const struct bench_row *row)
{
	const char *key = less_is_better(workload->kind) ? "at_most" : "at_least";
	bool of_ratio = workload->goal_ratio > 0;
	json_t *goal;

	if (row->verdict == BENCH_NO_GOAL)
		return NULL;
	goal = json_pack("{s:b}", "met", row->verdict == BENCH_MET);
	if (of_ratio || workload->goal_absolute > 0) {
		json_object_set_new(goal, "of", json_string(of_ratio ? "ratio" : "value"));
		json_object_set_new(goal, key,
				    json_real(of_ratio ? workload->goal_ratio
						       : workload->goal_absolute));
	}
	if (workload->goal_p999_ratio > 0)
		json_object_set_new(goal, "p999_ratio_at_most",
				    json_real(workload->goal_p999_ratio));
	if (workload->goal_p9999 > 0)
		json_object_set_new(goal, "p9999_at_most", json_real(workload->goal_p9999));
	return goal;
}

static json_t *json_facts(const struct bench_result *median)
{
	json_t *facts = json_object();
	size_t i;

	for (i = 0; i < median->n_facts; i++)
		json_object_set_new(facts, median->facts[i].name,
				    json_real(rounded(median->facts[i].value)));
	return facts;
}

static json_t *json_series(const struct bench_series *all, size_t index)
{
	const struct bench_workload *workload = &bench_table[index];
	const struct bench_series *series = &all[index];
	json_t *object, *runs = json_array();
	struct bench_row row;
	int i;

	object = json_pack("{s:s, s:s, s:s, s:b}", "title", workload->title, "kind",
			   kind_names[workload->kind], "unit", unit_names[workload->kind],
			   "is_floor", workload->is_floor);
	if (workload->is_peer)
		json_object_set_new(object, "is_peer", json_true());
	if (workload->series) {
		json_object_set_new(object, "series", json_string(workload->series));
		json_object_set_new(object, "series_of", json_string(workload->series_of));
		json_object_set_new(object, "x", json_real(rounded(workload->x)));
	}
	for (i = 0; i < BENCH_RUNS_MAX; i++) {
		if (series->ok[i])
			json_array_append_new(runs, json_real(rounded(series->runs[i].value)));
	}
	json_object_set_new(object, "runs", runs);
	if (series->error[0])
		json_object_set_new(object, "error", json_string(series->error));
	if (series->skipped[0])
		json_object_set_new(object, "skipped", json_string(series->skipped));
	if (series->about[0])
		json_object_set_new(object, "about", json_string(series->about));
	if (!bench_report_row(all, index, &row))
		return object;
	json_object_set_new(object, "median", json_real(rounded(row.median.value)));
	if (workload->kind == BENCH_LATENCY) {
		json_object_set_new(object, "p99", json_real(rounded(row.median.p99)));
		json_object_set_new(object, "p999", json_real(rounded(row.median.p999)));
		json_object_set_new(object, "p9999", json_real(rounded(row.median.p9999)));
		json_object_set_new(object, "max", json_real(rounded(row.median.max)));
		json_object_set_new(object, "samples",
				    json_integer((json_int_t)row.median.n_samples));
	}
	if (row.ratio > 0) {
		json_object_set_new(object, "floor", json_string(workload->floor));
		json_object_set_new(object, "ratio", json_real(rounded(row.ratio)));
	}
	if (row.ratio_p999 > 0)
		json_object_set_new(object, "ratio_p999", json_real(rounded(row.ratio_p999)));
	if (row.leat > 0) {
		json_object_set_new(object, "beside", json_string(workload->beside));
		json_object_set_new(object, "leat_times", json_real(rounded(row.leat)));
	}
	if (row.verdict != BENCH_NO_GOAL)
		json_object_set_new(object, "goal", json_goal(workload, &row));
	if (row.median.n_facts > 0)
		json_object_set_new(object, "facts", json_facts(&row.median));
	return object;
}

static json_t *json_machine(const struct bench_env *env, const struct bench_machine *machine)
{
	json_t *cpus = json_array();
	int i;

	for (i = 0; i < 2 && env->cpus[i] >= 0; i++)
		json_array_append_new(cpus, json_integer(env->cpus[i]));
	return json_pack("{s:s, s:i, s:o, s:b, s:s, s:s, s:f}", "cpu", machine->cpu, "cpus",
			 env->n_cpus, "pinned", cpus, "virtual", machine->virtual_machine, "kernel",
			 machine->kernel, "file_system", machine->file_system, "load",
			 rounded(machine->load));
}

int bench_report_json(FILE *file, const struct bench_env *env, const struct bench_machine *machine,
		      const struct bench_series *all)
{
	json_t *results = json_object(), *root;
	size_t i;
	int rc;

	for (i = 0; i < bench_table_len; i++) {
		if (all[i].selected)
			json_object_set_new(results, bench_table[i].name, json_series(all, i));
	}
	root = json_pack("{s:s, s:s, s:s, s:o, s:{s:b, s:i, s:i, s:b}, s:o}", "version",
			 leat_version(), "commit", machine->commit, "date", machine->date,
			 "machine", json_machine(env, machine), "options", "quick", env->quick,
			 "runs", env->n_runs, "value_len", BENCH_VALUE_LEN, "private_bus",
			 env->private_bus, "results", results);
	if (!root)
		return -ENOMEM;
	rc = json_dumpf(root, file, JSON_COMPACT | JSON_REAL_PRECISION(7));
	fputc('\n', file);
	json_decref(root);
	return rc < 0 ? -EIO : 0;
}
