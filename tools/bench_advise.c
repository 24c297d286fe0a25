/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_advise.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench_clock.h"
#include "tools/bench_daemon.h"
#include "tools/bench_machine.h"
#include "tools/bench_report.h"
#include "tools/tool.h"

enum {
	TRIES = 3, /* with and without, in turns */
	TRIES_QUICK = 1,
	LONGER_MAX = 6,
	TRY_MS = 200,
	TRY_MS_QUICK = 20,
};

static const char help[] =
	"usage: leat bench advise [OPTION...]\n"
	"\n"
	"Says what this machine and your limits allow that makes leat faster: what is set now,\n"
	"how to change it, and what it brings, tried here for a moment with and without. It\n"
	"changes nothing that lasts.\n"
	"\n"
	"      --quick      shorter tries: a first look\n"
	"      --json       print one JSON object: machine, advice by name\n"
	"      --dir DIR    where files go (default: $TMPDIR or /tmp)\n"
	"  -b, --bus PATH   try with the daemon of this socket instead of a private one\n"
	"  -h, --help       print this\n"
	"\n"
	"Exit status: 0 done, 1 something failed, 2 wrong usage.\n";

const struct advice_row bench_advise_rows[] = {
	{
		.name = "spinning",
		.title = "polling instead of sleeping",
		.look = advise_look_spinning,
		.tried = "a round trip through two streams",
		.kind = BENCH_LATENCY,
		.try = advise_try_spinning,
		.needs_bus = true,
	},
	{
		.name = "batching",
		.title = "publishing 64 records at once",
		.look = advise_look_batching,
		.tried = "records a second, 1 to 1",
		.kind = BENCH_RATE,
		.try = advise_try_batching,
		.needs_bus = true,
	},
	{
		.name = "pinning",
		.title = "a CPU for each program",
		.look = advise_look_pinning,
		.tried = "a round trip through two streams, 99 %",
		.kind = BENCH_LATENCY,
		.try = advise_try_pinning,
		.needs_bus = true,
	},
	{
		.name = "smt",
		.title = "threads that share a core",
		.look = advise_look_smt,
		.tried = "a round trip through minimal rings, on two cores and on one",
		.kind = BENCH_LATENCY,
		.try = advise_try_smt,
	},
	{
		.name = "numa",
		.title = "memory nodes",
		.look = advise_look_numa,
		.tried = "a round trip through minimal rings, on one node and on two",
		.kind = BENCH_LATENCY,
		.try = advise_try_numa,
	},
	{
		.name = "transparent-huge-pages",
		.title = "transparent huge pages",
		.look = advise_look_transparent,
		.tried = "a record's way into a ring and out of it, in private memory",
		.kind = BENCH_LATENCY,
		.try = advise_try_transparent,
	},
	{
		.name = "memlock",
		.title = "rings that stay in memory",
		.look = advise_look_memlock,
	},
	{
		.name = "rtprio",
		.title = "real time",
		.look = advise_look_rtprio,
		.tried = "waking a sleeping subscriber, 99 %",
		.kind = BENCH_LATENCY,
		.try = advise_try_rtprio,
		.needs_bus = true,
	},
	{
		.name = "idle-states",
		.title = "idle CPUs that stay awake",
		.look = advise_look_idle,
		.tried = "waking a sleeping subscriber",
		.kind = BENCH_LATENCY,
		.try = advise_try_idle,
		.needs_bus = true,
	},
	{
		.name = "governor",
		.title = "the CPUs' speed",
		.look = advise_look_governor,
	},
	{
		.name = "io-uring",
		.title = "io_uring",
		.look = advise_look_io_uring,
		.tried = "publish and wait for durable, against threads",
		.kind = BENCH_LATENCY,
		.try = advise_try_io_uring,
		.needs_bus = true,
	},
	{
		.name = "membarrier",
		.title = "membarrier",
		.look = advise_look_membarrier,
		.tried = "a commit, against one with a fence",
		.kind = BENCH_LATENCY,
		.try = advise_try_membarrier,
	},
	{
		.name = "clock",
		.title = "the clock",
		.look = advise_look_clock,
		.tried = "reading the processor's, against clock_gettime",
		.kind = BENCH_LATENCY,
		.try = advise_try_clock,
	},
};

const size_t bench_advise_rows_len = ARRAY_LEN(bench_advise_rows);

static const char *const state_words[] = {
	[ADVICE_GOOD] = "as it should be",
	[ADVICE_CHOICE] = "yours to choose",
	[ADVICE_MAY] = "you may",
	[ADVICE_ROOT] = "takes root",
	[ADVICE_ABSENT] = "not on this machine",
};

static const char *const state_keys[] = {
	[ADVICE_GOOD] = "good", [ADVICE_CHOICE] = "choice", [ADVICE_MAY] = "may",
	[ADVICE_ROOT] = "root", [ADVICE_ABSENT] = "absent",
};

struct arguments {
	bool quick;
	bool json;
	const char *dir;
	const char *bus;
};

/* ---- trying ---- */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, int n)
{
	qsort(values, (size_t)n, sizeof(*values), compare);
	return values[n / 2];
}

/* Who got no processor meanwhile has measured nothing: again, and for longer. */
static int try_once(struct bench_env *env, const struct advice_row *row, bool with,
		    double *ret_value)
{
	uint64_t run_ns = env->run_ns;
	int i, rc = 0;

	*ret_value = 0;
	for (i = 0; i < LONGER_MAX && rc == 0 && *ret_value <= 0 && !tool_stopping(); i++) {
		rc = row->try(env, with, ret_value);
		env->run_ns *= 2;
	}
	env->run_ns = run_ns;
	if (rc == 0 && *ret_value <= 0) {
		snprintf(env->error, sizeof(env->error), "the machine is too busy");
		rc = -EBUSY;
	}
	return rc;
}

/* In turns, so that a mood of the machine hits both. */
static int try_both(struct bench_env *env, const struct advice_row *row, struct advice *advice)
{
	double without[TRIES] = { 0 }, with[TRIES] = { 0 };
	int i, rc, n = env->quick ? TRIES_QUICK : TRIES;

	for (i = 0; i < n; i++) {
		if (tool_stopping())
			return -EINTR;
		rc = try_once(env, row, false, &without[i]);
		if (rc == 0)
			rc = try_once(env, row, true, &with[i]);
		if (rc < 0)
			return rc;
	}
	advice->without = median(without, n);
	advice->with = median(with, n);
	return 0;
}

/* Looks at everything and tries what can be tried; TOOL_OK or TOOL_FAILED. */
static int advise(struct bench_env *env, struct advice *all)
{
	int rc, status = TOOL_OK;
	size_t i;

	for (i = 0; i < bench_advise_rows_len; i++) {
		bench_advise_rows[i].look(env, &all[i]);
		if (!bench_advise_rows[i].try || all[i].why[0])
			continue;
		env->error[0] = '\0';
		rc = bench_advise_rows[i].needs_bus && !env->bus[0]
			     ? -ENOTCONN
			     : try_both(env, &bench_advise_rows[i], &all[i]);
		if (rc == 0)
			continue;
		snprintf(all[i].why, sizeof(all[i].why), "%.150s",
			 env->error[0] ? env->error : strerror(-rc));
		status = TOOL_FAILED;
	}
	return status;
}

/* ---- printing ---- */

/* How many times as good it is with; 0 when it was not tried. */
static double gain_of(const struct advice_row *row, const struct advice *advice)
{
	if (advice->with <= 0 || advice->without <= 0)
		return 0;
	return row->kind == BENCH_RATE ? advice->with / advice->without
				       : advice->without / advice->with;
}

static void print_gain(const struct advice_row *row, const struct advice *advice)
{
	double gain = gain_of(row, advice);
	char with[32], without[32];

	if (gain == 0) {
		if (advice->why[0] && advice->state != ADVICE_ABSENT)
			printf("  brings    not tried: %s\n", advice->why);
		return;
	}
	printf("  brings    %s", gain > 0.9 && gain < 1.1 ? "next to nothing here" : "");
	if (gain <= 0.9 || gain >= 1.1)
		printf("%.*f times as good", gain < 9.95 ? 2 : 0, gain);
	printf(": %s instead of %s, %s\n",
	       bench_report_value(row->kind, advice->with, with, sizeof(with)),
	       bench_report_value(row->kind, advice->without, without, sizeof(without)),
	       row->tried);
}

static void print_text(const struct bench_env *env, const struct bench_machine *machine,
		       const struct advice *all)
{
	size_t i;

	printf("leat %s on %s, %d CPU%s%s, %s, files on %s\n", leat_version(), machine->cpu,
	       env->n_cpus, env->n_cpus == 1 ? "" : "s",
	       machine->virtual_machine ? " (virtual)" : "", machine->kernel, machine->file_system);
	if (machine->load > 0.5)
		printf("note: the load was %.1f when it began; others distort the figures\n",
		       machine->load);
	for (i = 0; i < bench_advise_rows_len; i++) {
		printf("\n%s: %s\n", bench_advise_rows[i].title, state_words[all[i].state]);
		printf("  now       %s\n", all[i].now);
		if (all[i].how[0])
			printf("  how       %s\n", all[i].how);
		print_gain(&bench_advise_rows[i], &all[i]);
	}
}

static json_t *json_advice(const struct advice_row *row, const struct advice *advice)
{
	json_t *object = json_pack("{s:s, s:s, s:s}", "title", row->title, "state",
				   state_keys[advice->state], "now", advice->now);
	double gain = gain_of(row, advice);

	if (advice->how[0])
		json_object_set_new(object, "how", json_string(advice->how));
	if (gain > 0) {
		json_object_set_new(object, "tried", json_string(row->tried));
		json_object_set_new(object, "unit",
				    json_string(row->kind == BENCH_RATE ? "records/s" : "ns"));
		json_object_set_new(object, "with", json_real(advice->with));
		json_object_set_new(object, "without", json_real(advice->without));
		json_object_set_new(object, "gain", json_real(gain));
	} else if (advice->why[0]) {
		json_object_set_new(object, "not_tried", json_string(advice->why));
	}
	return object;
}

static int print_json(const struct bench_env *env, const struct bench_machine *machine,
		      const struct advice *all)
{
	json_t *advice = json_object(), *root;
	size_t i;
	int rc;

	for (i = 0; i < bench_advise_rows_len; i++)
		json_object_set_new(advice, bench_advise_rows[i].name,
				    json_advice(&bench_advise_rows[i], &all[i]));
	root = json_pack("{s:s, s:s, s:{s:s, s:i, s:b, s:s, s:s, s:f}, s:o}", "version",
			 leat_version(), "date", machine->date, "machine", "cpu", machine->cpu,
			 "cpus", env->n_cpus, "virtual", machine->virtual_machine, "kernel",
			 machine->kernel, "file_system", machine->file_system, "load",
			 machine->load, "advice", advice);
	if (!root)
		return TOOL_FAILED;
	rc = json_dumpf(root, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
	printf("\n");
	json_decref(root);
	return rc < 0 ? TOOL_FAILED : TOOL_OK;
}

/* ---- the command ---- */

static int parse(int argc, char **argv, struct arguments *arguments)
{
	enum {
		OPT_QUICK = TOOL_OPTION,
		OPT_JSON,
		OPT_DIR
	};
	static const struct option options[] = {
		{ "quick", no_argument, NULL, OPT_QUICK },
		{ "json", no_argument, NULL, OPT_JSON },
		{ "dir", required_argument, NULL, OPT_DIR },
		TOOL_LONG_OPTIONS,
	};
	int c, status;

	optind = 1;
	while ((c = getopt_long(argc, argv, ":" TOOL_SHORT_OPTIONS, options, NULL)) != -1) {
		status = -1;
		if (c == OPT_QUICK)
			arguments->quick = true;
		else if (c == OPT_JSON)
			arguments->json = true;
		else if (c == OPT_DIR)
			arguments->dir = optarg;
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

/* What was started and made is gone when it returns. */
static int look_and_try(struct bench_env *env, const struct arguments *arguments,
			struct bench_machine *machine, struct advice *all)
{
	struct bench_server *daemon = NULL;
	int rc, status;

	if (bench_daemon_make_dir(env, arguments->dir) < 0) {
		tool_error("%s", env->error);
		return TOOL_FAILED;
	}
	bench_machine_describe(env->dir, machine);
	if (arguments->bus) {
		snprintf(env->bus, sizeof(env->bus), "%s", arguments->bus);
	} else {
		rc = bench_daemon_start(env, &daemon);
		if (rc < 0 && rc != -EINTR)
			tool_error("%s", env->error);
		if (rc < 0)
			env->bus[0] = '\0';
	}
	status = advise(env, all);
	bench_server_stop(daemon);
	bench_daemon_remove_dir(env);
	return status;
}

int bench_advise(int argc, char **argv)
{
	cleanup_with(tool_free) struct advice *all = NULL;
	struct arguments arguments = { 0 };
	struct bench_machine machine = { 0 };
	struct bench_env env = { 0 };
	int status = parse(argc, argv, &arguments);

	if (status >= 0)
		return status;
	all = calloc(bench_advise_rows_len, sizeof(*all));
	if (!all)
		return TOOL_FAILED;
	env.quick = arguments.quick;
	env.private_bus = arguments.bus == NULL;
	env.run_ns = (uint64_t)(arguments.quick ? TRY_MS_QUICK : TRY_MS) * 1000000;
	tool_catch_signals();
	bench_clock_init();
	bench_machine_choose_cpus(&env);
	status = look_and_try(&env, &arguments, &machine, all);
	if (tool_stopping())
		return tool_die_of_signal();
	if (!machine.cpu[0])
		return status;
	if (!arguments.json)
		print_text(&env, &machine, all);
	else if (print_json(&env, &machine, all) != TOOL_OK)
		status = TOOL_FAILED;
	return tool_flush_stdout(status);
}
