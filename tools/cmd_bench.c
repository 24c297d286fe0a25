/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `leat bench`: what this machine allows at best, and leat beside it. Every run goes through all
 * workloads before the next one begins, so that a change of the machine's mood hits all alike.
 */
#include <errno.h>
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "tools/bench.h"
#include "tools/bench_advise.h"
#include "tools/bench_clock.h"
#include "tools/bench_daemon.h"
#include "tools/bench_machine.h"
#include "tools/bench_page.h"
#include "tools/bench_replay.h"
#include "tools/bench_report.h"
#include "tools/tool.h"

#define SECOND UINT64_C(1000000000)

enum {
	TURNS = 3 /* that a workload gets to measure anything at all */
};

static const char help[] =
	"usage: leat bench [OPTION...]\n"
	"       leat bench advise [OPTION...]\n"
	"\n"
	"Measures this machine's floors (bare shared memory, a minimal ring, futex, disk),\n"
	"leat, and its peers beside them, in one run, and prints medians and ratios: pipe,\n"
	"Unix datagram and seqpacket, and what is installed of ZeroMQ, nng, Redis Streams and\n"
	"NATS JetStream. It starts a daemon and servers of its own and leaves nothing behind.\n"
	"\n"
	"      --quick      under a minute instead of seven or eight; good for a first look\n"
	"      --runs N     interleaved runs that medians are taken of (default 5, quick 3)\n"
	"      --all        all workloads: sizes, scaling and others that take long as well\n"
	"      --only NAMES some workloads only, separated by commas (see --list; * and ? stand\n"
	"                   for others; \"peers\" for all of those); what they are compared with\n"
	"                   runs as well\n"
	"      --no-peers   the machine and leat only, in about two thirds of the time\n"
	"      --list       print the names of the workloads\n"
	"      --json       print one JSON object: machine, options, results by name\n"
	"      --report DIR write a page with charts, the charts and the JSON there as well\n"
	"      --dir DIR    where files go (default: $TMPDIR or /tmp); choose the disk that\n"
	"                   matters to you\n"
	"  -b, --bus PATH   measure the daemon of this socket instead of a private one\n"
	"  -h, --help       print this\n"
	"\n"
	"A shared or busy machine gives noisy figures: compare ratios, not values, and only\n"
	"within one run. Exit status: 0 measured, 1 something failed, 2 wrong usage.\n";

struct arguments {
	bool quick;
	bool all;
	bool no_peers;
	bool json;
	bool list;
	int n_runs;
	const char *only;
	const char *dir;
	const char *report;
	const char *bus;
};

static int parse_runs(const char *text, int *ret_runs)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*end || end == text || n < 1 || n > BENCH_RUNS_MAX)
		return tool_usage("--runs takes a number from 1 to %d, not \"%s\"", BENCH_RUNS_MAX,
				  text);
	*ret_runs = (int)n;
	return -1;
}

/* Returns -1 to go on, otherwise the exit status. */
static int parse(int argc, char **argv, struct arguments *arguments)
{
	enum {
		OPT_QUICK = TOOL_OPTION,
		OPT_ALL,
		OPT_NO_PEERS,
		OPT_RUNS,
		OPT_ONLY,
		OPT_LIST,
		OPT_JSON,
		OPT_DIR,
		OPT_REPORT
	};
	static const struct option options[] = {
		{ "quick", no_argument, NULL, OPT_QUICK },
		{ "runs", required_argument, NULL, OPT_RUNS },
		{ "all", no_argument, NULL, OPT_ALL },
		{ "no-peers", no_argument, NULL, OPT_NO_PEERS },
		{ "only", required_argument, NULL, OPT_ONLY },
		{ "list", no_argument, NULL, OPT_LIST },
		{ "json", no_argument, NULL, OPT_JSON },
		{ "dir", required_argument, NULL, OPT_DIR },
		{ "report", required_argument, NULL, OPT_REPORT },
		TOOL_LONG_OPTIONS,
	};
	int c, status;

	while ((c = getopt_long(argc, argv, ":" TOOL_SHORT_OPTIONS, options, NULL)) != -1) {
		status = -1;
		if (c == OPT_QUICK)
			arguments->quick = true;
		else if (c == OPT_ALL)
			arguments->all = true;
		else if (c == OPT_NO_PEERS)
			arguments->no_peers = true;
		else if (c == OPT_RUNS)
			status = parse_runs(optarg, &arguments->n_runs);
		else if (c == OPT_ONLY)
			arguments->only = optarg;
		else if (c == OPT_LIST)
			arguments->list = true;
		else if (c == OPT_JSON)
			arguments->json = true;
		else if (c == OPT_DIR)
			arguments->dir = optarg;
		else if (c == OPT_REPORT)
			arguments->report = optarg;
		else if (c == 'b')
			arguments->bus = optarg;
		else
			status = tool_common_option(c, argv, help);
		if (status >= 0)
			return status;
	}
	if (optind < argc)
		return tool_usage("it takes no argument \"%s\"", argv[optind]);
	return -1;
}

static const char *kind_of(const struct bench_workload *workload)
{
	return workload->is_floor ? "floor" : workload->is_peer ? "peer" : "leat";
}

static int print_list(void)
{
	size_t i;

	for (i = 0; i < bench_table_len; i++)
		printf("%-22s %-5s %-5s  %s\n", bench_table[i].name, kind_of(&bench_table[i]),
		       bench_table[i].extra ? "extra" : "", bench_table[i].title);
	return tool_flush_stdout(TOOL_OK);
}

static void select_one(struct bench_series *all, const struct bench_workload *workload)
{
	const char *next;

	for (; workload; workload = next ? bench_table_find(next) : NULL) {
		all[workload - bench_table].selected = true;
		next = workload->is_peer ? workload->beside : workload->floor;
	}
}

static bool fits(const char *pattern, const struct bench_workload *workload)
{
	if (strcmp(pattern, "peers") == 0)
		return workload->is_peer && !workload->extra;
	return fnmatch(pattern, workload->name, 0) == 0;
}

/* Selects what the pattern fits; the number. */
static int select_matching(struct bench_series *all, const char *pattern)
{
	size_t i;
	int n = 0;

	for (i = 0; i < bench_table_len; i++) {
		if (!fits(pattern, &bench_table[i]))
			continue;
		select_one(all, &bench_table[i]);
		n++;
	}
	return n;
}

/* Returns -1, or the exit status when a name is not known. */
static int select_workloads(struct bench_series *all, const struct arguments *arguments)
{
	const char *only = arguments->only;
	char name[32];
	size_t i, len;

	for (i = 0; !only && i < bench_table_len; i++)
		all[i].selected = (arguments->all || !bench_table[i].extra) &&
				  !(arguments->no_peers && bench_table[i].is_peer);
	while (only && *only) {
		len = strcspn(only, ",");
		snprintf(name, sizeof(name), "%.*s", (int)len, only);
		if (len >= sizeof(name) || select_matching(all, name) == 0)
			return tool_usage("there is no workload \"%.*s\" (--list prints them)",
					  (int)len, only);
		only += len + (only[len] == ',');
	}
	return -1;
}

static void settle(struct bench_env *env, const struct arguments *arguments)
{
	*env = (struct bench_env){
		.quick = arguments->quick,
		.private_bus = arguments->bus == NULL,
		.n_runs = arguments->n_runs  ? arguments->n_runs
			  : arguments->quick ? 3
					     : 5,
		.run_ns = arguments->quick ? 7 * SECOND / 100 : SECOND / 2,
		.disk_ns = arguments->quick ? SECOND / 4 : 3 * SECOND,
		.disk_len = arguments->quick ? 64u << 20 : 1u << 30,
		.disk_long_ns = arguments->quick ? SECOND / 2 : 60 * SECOND,
		.disk_long_len = arguments->quick ? 128u << 20 : UINT64_C(20) << 30,
	};
}

/* A quarter of what is free at most: the bench must not fill anybody's disk. */
static void limit_to_free_space(struct bench_env *env)
{
	struct statvfs fs;
	uint64_t quarter;

	if (statvfs(env->dir, &fs) < 0)
		return;
	quarter = (uint64_t)fs.f_bavail * fs.f_frsize / 4;
	if (env->disk_len > quarter)
		env->disk_len = quarter;
	if (env->disk_long_len > quarter)
		env->disk_long_len = quarter;
}

static void show_progress(const struct bench_env *env, int run, const char *name)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[Krun %d of %d: %s", run + 1, env->n_runs, name);
}

static void end_progress(void)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
}

/* A time or a rate that is no number, or nothing: on a busy machine its processes never met. */
static bool is_a_figure(enum bench_kind kind, double value)
{
	if (kind == BENCH_LATENCY || kind == BENCH_RATE || kind == BENCH_BYTES)
		return value > 0 && isfinite(value);
	return value >= 0 && isfinite(value);
}

static int run_until_it_counts(struct bench_env *env, const struct bench_workload *workload,
			       struct bench_result *result)
{
	int turn, rc = 0;

	for (turn = 0; turn < TURNS; turn++) {
		*result = (struct bench_result){ 0 };
		env->row = workload;
		env->error[0] = '\0';
		env->about[0] = '\0';
		rc = workload->run(env, result);
		if (rc != 0 || is_a_figure(workload->kind, result->value))
			return rc;
	}
	snprintf(env->error, sizeof(env->error), "it measured nothing, %d times", TURNS);
	return -EIO;
}

static void run_once(struct bench_env *env, size_t index, int run, struct bench_series *series)
{
	struct bench_result result;
	int rc = run_until_it_counts(env, &bench_table[index], &result);

	if (env->about[0])
		memcpy(series->about, env->about, sizeof(series->about));
	if (rc == BENCH_SKIPPED) {
		memcpy(series->skipped, env->error, sizeof(series->skipped));
		return;
	}
	if (rc >= 0) {
		series->runs[run] = result;
		series->ok[run] = true;
		series->n_ok++;
		return;
	}
	if (!env->error[0])
		snprintf(env->error, sizeof(env->error), "%s", strerror(-rc));
	memcpy(series->error, env->error, sizeof(series->error));
}

static int run_all(struct bench_env *env, struct bench_series *all)
{
	int run, status = TOOL_OK;
	size_t i;

	for (run = 0; run < env->n_runs; run++) {
		for (i = 0; i < bench_table_len; i++) {
			if (!all[i].selected || all[i].skipped[0] ||
			    (!env->bus[0] && bench_table_needs_bus(&bench_table[i])))
				continue;
			if (tool_stopping())
				return TOOL_FAILED;
			show_progress(env, run, bench_table[i].name);
			run_once(env, i, run, &all[i]);
			if (all[i].error[0])
				status = TOOL_FAILED;
		}
	}
	return status;
}

static bool needs_bus(const struct bench_series *all)
{
	size_t i;

	for (i = 0; i < bench_table_len; i++) {
		if (all[i].selected && bench_table_needs_bus(&bench_table[i]))
			return true;
	}
	return false;
}

/* Without a daemon the floors are still worth having; leat's lines say what is missing. */
static int provide_bus(struct bench_env *env, const struct arguments *arguments,
		       struct bench_series *all, struct bench_server **ret_daemon)
{
	size_t i;

	if (!needs_bus(all))
		return TOOL_OK;
	if (arguments->bus) {
		snprintf(env->bus, sizeof(env->bus), "%s", arguments->bus);
		return TOOL_OK;
	}
	if (bench_daemon_start(env, ret_daemon) == 0)
		return TOOL_OK;
	env->bus[0] = '\0';
	for (i = 0; i < bench_table_len; i++) {
		if (bench_table_needs_bus(&bench_table[i]))
			memcpy(all[i].error, env->error, sizeof(all[i].error));
	}
	return TOOL_FAILED;
}

/* Measures everything; what was started and made is gone when it returns. */
static int measure(struct bench_env *env, const struct arguments *arguments,
		   struct bench_machine *machine, struct bench_series *all)
{
	struct bench_server *daemon = NULL;
	int status, run_status;

	if (bench_daemon_make_dir(env, arguments->dir) < 0) {
		tool_error("%s", env->error);
		return TOOL_FAILED;
	}
	limit_to_free_space(env);
	bench_machine_describe(env->dir, machine);
	status = provide_bus(env, arguments, all, &daemon);
	run_status = run_all(env, all);
	end_progress();
	if (env->bus[0] && !env->private_bus)
		bench_replay_forget(env);
	bench_server_stop(daemon);
	bench_daemon_remove_dir(env);
	return status == TOOL_OK ? run_status : status;
}

static int write_report(struct bench_env *env, const struct bench_machine *machine,
			const struct bench_series *all, const char *dir)
{
	int rc = bench_page_write(env, machine, all, dir);

	if (rc < 0)
		tool_error("%s", env->error);
	else
		fprintf(stderr, "the report is in %s/index.html\n", dir);
	return rc;
}

int cmd_bench(int argc, char **argv)
{
	cleanup_with(tool_free) struct bench_series *all = NULL;
	struct arguments arguments = { 0 };
	struct bench_machine machine = { 0 };
	struct bench_env env;
	int status;

	if (argc > 1 && strcmp(argv[1], "advise") == 0)
		return bench_advise(argc - 1, argv + 1);
	status = parse(argc, argv, &arguments);
	if (status >= 0)
		return status;
	if (arguments.list)
		return print_list();
	all = calloc(bench_table_len, sizeof(*all));
	if (!all)
		return TOOL_FAILED;
	status = select_workloads(all, &arguments);
	if (status >= 0)
		return status;
	settle(&env, &arguments);
	tool_catch_signals();
	bench_clock_init();
	bench_machine_choose_cpus(&env);
	status = measure(&env, &arguments, &machine, all);
	if (tool_stopping())
		return tool_die_of_signal();
	if (!machine.cpu[0])
		return status;
	if (!arguments.json)
		bench_report_table(&env, &machine, all);
	else if (bench_report_json(stdout, &env, &machine, all) < 0)
		status = TOOL_FAILED;
	if (arguments.report && write_report(&env, &machine, all, arguments.report) < 0)
		status = TOOL_FAILED;
	return tool_flush_stdout(status);
}
