/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_page.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clientlib/leat.h"
#include "tools/bench_plot.h"
#include "tools/tool.h"

enum {
	PATH_LEN = 512,
	VALUE_LEN = 32,
};

static const char head[] =
	"<!DOCTYPE html>\n"
	"<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
	"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
	"<title>leat bench</title>\n<style>\n"
	":root { color-scheme: light dark; }\n"
	"body { font: 15px/1.5 system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif;\n"
	"  max-width: 900px; margin: 2em auto; padding: 0 1em; }\n"
	"h1 { font-size: 1.7em; margin-bottom: 0.2em; }\n"
	"h2 { font-size: 1.25em; margin-top: 2em; }\n"
	"svg { max-width: 100%; height: auto; display: block; margin: 1.2em 0; }\n"
	"dl { display: grid; grid-template-columns: max-content auto; gap: 0 1.2em; }\n"
	"dt { opacity: 0.7; } dd { margin: 0; }\n"
	"table { border-collapse: collapse; width: 100%; font-size: 13px; }\n"
	"th { text-align: right; font-weight: 600; border-bottom: 1px solid #8c959f; }\n"
	"td { text-align: right; white-space: nowrap; border-bottom: 1px solid #8c959f44; }\n"
	"th, td { padding: 2px 8px; }\n"
	"th:first-child, td:first-child { text-align: left; white-space: normal; }\n"
	"tr.leat td:first-child { font-weight: 600; }\n"
	".words td { text-align: left; white-space: normal; }\n"
	"</style>\n</head>\n<body>\n";

static void put_fact(FILE *file, const char *name, const char *value)
{
	fprintf(file, "<dt>%s</dt><dd>", name);
	bench_chart_text(file, value);
	fputs("</dd>\n", file);
}

static void put_machine(FILE *file, const struct bench_env *env,
			const struct bench_machine *machine)
{
	char words[256];

	fputs("<h1>leat bench</h1>\n<p>What this machine gives at best, leat, and its peers, in "
	      "the same interleaved runs.</p>\n<dl>\n",
	      file);
	snprintf(words, sizeof(words), "%s%s%s", leat_version(),
		 machine->commit[0] ? ", commit " : "", machine->commit);
	put_fact(file, "leat", words);
	snprintf(words, sizeof(words), "%s, %d CPU%s%s", machine->cpu, env->n_cpus,
		 env->n_cpus == 1 ? "" : "s", machine->virtual_machine ? ", virtual machine" : "");
	put_fact(file, "processor", words);
	put_fact(file, "kernel", machine->kernel);
	put_fact(file, "files on", machine->file_system);
	put_fact(file, "date", machine->date);
	snprintf(words, sizeof(words),
		 "%d interleaved run%s%s, records of %d bytes if not said otherwise", env->n_runs,
		 env->n_runs == 1 ? "" : "s", env->quick ? " (quick)" : "", BENCH_VALUE_LEN);
	put_fact(file, "options", words);
	if (env->cpus[1] >= 0)
		snprintf(words, sizeof(words),
			 "to CPUs %d and %d, except where a peer is faster without", env->cpus[0],
			 env->cpus[1]);
	else
		snprintf(words, sizeof(words), "no");
	put_fact(file, "pinned", words);
	snprintf(words, sizeof(words), "%.1f when it began%s", machine->load,
		 machine->load > 0.5 ? ": others distort the figures" : "");
	put_fact(file, "load", words);
	fputs("</dl>\n", file);
}

static void put_cell(FILE *file, const char *text)
{
	fputs("<td>", file);
	bench_chart_text(file, text);
	fputs("</td>", file);
}

static void put_value(FILE *file, enum bench_kind kind, double value)
{
	char words[VALUE_LEN] = "";

	put_cell(file, value > 0 ? bench_report_value(kind, value, words, sizeof(words)) : "");
}

static void put_row(FILE *file, const struct bench_series *all, size_t index)
{
	const struct bench_workload *workload = &bench_table[index];
	const struct bench_result *median;
	char words[VALUE_LEN] = "";
	struct bench_row row;

	bench_report_row(all, index, &row);
	median = &row.median;
	fprintf(file, "<tr class=\"%s\">",
		workload->is_floor  ? "floor"
		: workload->is_peer ? "peer"
				    : "leat");
	put_cell(file, workload->title);
	put_value(file, workload->kind, median->value);
	if (workload->kind == BENCH_LATENCY) {
		put_value(file, workload->kind, median->p99);
		put_value(file, workload->kind, median->p999);
		put_value(file, workload->kind, median->p9999);
		put_value(file, workload->kind, median->max);
	} else {
		fputs("<td></td><td></td><td></td><td></td>", file);
	}
	if (row.ratio > 0)
		snprintf(words, sizeof(words), "%.2f", row.ratio);
	put_cell(file, words);
	words[0] = '\0';
	if (row.leat > 0)
		bench_report_times(row.leat, words, sizeof(words));
	put_cell(file, words);
	fputs("</tr>\n", file);
}

static void put_table(FILE *file, const struct bench_series *all)
{
	size_t i;

	fputs("<h2>All figures</h2>\n<p>Medians over the runs; the maximum is the largest. A ratio "
	      "is to the floor of the same kind, the last column how many times as fast leat is as "
	      "a peer, both in the same run.</p>\n<table>\n"
	      "<tr><th></th><th>median</th><th>99 %</th><th>99.9 %</th><th>99.99 %</th>"
	      "<th>max</th><th>to floor</th><th>leat</th></tr>\n",
	      file);
	for (i = 0; i < bench_table_len; i++) {
		if (all[i].selected && all[i].n_ok > 0)
			put_row(file, all, i);
	}
	fputs("</table>\n", file);
}

static void put_words(FILE *file, const char *name, const char *words)
{
	fputs("<tr>", file);
	put_cell(file, name);
	put_cell(file, words);
	fputs("</tr>\n", file);
}

/* How each peer was driven, and why something is not there. */
static void put_notes(FILE *file, const struct bench_series *all)
{
	size_t i;

	fputs("<h2>How the peers were driven</h2>\n<table class=\"words\">\n"
	      "<tr><td>pipe, Unix sockets</td><td>blocking calls, a larger buffer than the default"
	      "</td></tr>\n",
	      file);
	for (i = 0; i < bench_table_len; i++) {
		if (all[i].about[0])
			put_words(file, bench_table[i].title, all[i].about);
	}
	for (i = 0; i < bench_table_len; i++) {
		if (all[i].selected && all[i].skipped[0])
			put_words(file, bench_table[i].title, all[i].skipped);
		else if (all[i].selected && all[i].error[0])
			put_words(file, bench_table[i].title, all[i].error);
	}
	fputs("</table>\n", file);
}

static FILE *open_file(struct bench_env *env, const char *dir, const char *name)
{
	char path[PATH_LEN];
	FILE *file;

	snprintf(path, sizeof(path), "%.400s/%.60s", dir, name);
	file = fopen(path, "we");
	if (!file)
		snprintf(env->error, sizeof(env->error), "cannot write %.300s/%.60s: %s", dir, name,
			 strerror(errno));
	return file;
}

static int close_file(struct bench_env *env, FILE *file)
{
	int failed = ferror(file);

	if (fclose(file) == 0 && !failed)
		return 0;
	snprintf(env->error, sizeof(env->error), "cannot write the report: %s", strerror(errno));
	return -EIO;
}

/* A chart of an earlier report would pass for one of this. */
static void remove_old(const char *dir, const char *name)
{
	char path[PATH_LEN];

	snprintf(path, sizeof(path), "%.400s/%.60s", dir, name);
	unlink(path);
}

/* Every chart goes into a file of its own and, once more, into the page. */
static int write_charts(struct bench_env *env, const struct bench_machine *machine,
			const struct bench_series *all, const char *dir, FILE *page)
{
	struct bench_chart *chart = malloc(sizeof(*chart));
	char name[64], footnote[512];
	FILE *file;
	size_t i;
	int rc = chart ? 0 : -ENOMEM;

	snprintf(footnote, sizeof(footnote), "%s, %d CPU%s%s; %s; leat %s%s%s; %.10s%s",
		 machine->cpu, env->n_cpus, env->n_cpus == 1 ? "" : "s",
		 machine->virtual_machine ? ", virtual" : "", machine->kernel, leat_version(),
		 machine->commit[0] ? " " : "", machine->commit, machine->date,
		 env->quick ? "; quick" : "");
	for (i = 0; rc == 0 && bench_plot_name(i); i++) {
		snprintf(name, sizeof(name), "%s.svg", bench_plot_name(i));
		if (!bench_plot_fill(i, all, chart)) {
			remove_old(dir, name);
			continue;
		}
		chart->footnote = footnote;
		file = open_file(env, dir, name);
		if (!file) {
			rc = -EIO;
			break;
		}
		bench_plot_draw(file, i, chart);
		rc = close_file(env, file);
		bench_plot_draw(page, i, chart);
	}
	free(chart);
	return rc;
}

static int write_page(struct bench_env *env, const struct bench_machine *machine,
		      const struct bench_series *all, const char *dir)
{
	FILE *page = open_file(env, dir, "index.html");
	int rc, end;

	if (!page)
		return -EIO;
	fputs(head, page);
	put_machine(page, env, machine);
	rc = write_charts(env, machine, all, dir, page);
	put_table(page, all);
	put_notes(page, all);
	fputs("</body>\n</html>\n", page);
	end = close_file(env, page);
	return rc < 0 ? rc : end;
}

int bench_page_write(struct bench_env *env, const struct bench_machine *machine,
		     const struct bench_series *all, const char *dir)
{
	FILE *file;
	int rc, end;

	if (mkdir(dir, 0777) < 0 && errno != EEXIST) {
		rc = -errno;
		snprintf(env->error, sizeof(env->error), "cannot make %.400s: %s", dir,
			 strerror(-rc));
		return rc;
	}
	rc = write_page(env, machine, all, dir);
	if (rc < 0)
		return rc;
	file = open_file(env, dir, "bench.json");
	if (!file)
		return -EIO;
	rc = bench_report_json(file, env, machine, all);
	end = close_file(env, file);
	return rc < 0 ? rc : end;
}
