/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/peer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/bench_clock.h"
#include "tools/tool.h"

static int usage(const struct peer *peer)
{
	size_t i;

	fprintf(stderr,
		"usage: leat-bench-... WORK [KEY=VALUE...]\n\n"
		"Measures %s for `leat bench`. Keys: dir len run_ns disk_ns disk_len cpus\n\n",
		peer->name);
	for (i = 0; i < peer->n_works; i++)
		fprintf(stderr, "  %-12s %s\n", peer->works[i].name, peer->works[i].about);
	return TOOL_USAGE;
}

/* Takes a KEY=VALUE; false when there is no such key. */
static bool take(struct bench_env *env, size_t *len, const char *word)
{
	const char *value = strchr(word, '=');
	size_t n = value ? (size_t)(value - word) : 0;

	if (!value++)
		return false;
	if (strncmp(word, "dir", n) == 0)
		return snprintf(env->dir, sizeof(env->dir), "%s", value) < (int)sizeof(env->dir);
	if (strncmp(word, "cpus", n) == 0)
		return sscanf(value, "%d,%d", &env->cpus[0], &env->cpus[1]) == 2;
	if (strncmp(word, "len", n) == 0)
		*len = strtoul(value, NULL, 10);
	else if (strncmp(word, "run_ns", n) == 0)
		env->run_ns = strtoull(value, NULL, 10);
	else if (strncmp(word, "disk_ns", n) == 0)
		env->disk_ns = strtoull(value, NULL, 10);
	else if (strncmp(word, "disk_len", n) == 0)
		env->disk_len = strtoull(value, NULL, 10);
	else
		return false;
	return true;
}

static void print_result(const struct bench_result *result)
{
	size_t i;

	printf("value %.17g\n", result->value);
	if (result->n_samples > 0) {
		printf("p99 %.17g\np999 %.17g\np9999 %.17g\nmax %.17g\nsamples %llu\n", result->p99,
		       result->p999, result->p9999, result->max,
		       (unsigned long long)result->n_samples);
		for (i = 0; i < BENCH_CURVE_LEN; i++)
			printf("curve %.17g\n", result->curve[i]);
	}
	for (i = 0; i < result->n_facts; i++)
		printf("%s %.17g\n", result->facts[i].name, result->facts[i].value);
}

static int run(const struct peer *peer, const struct peer_work *work, struct bench_env *env,
	       size_t len)
{
	struct bench_result result = { 0 };
	char version[32] = "";
	int rc;

	tool_catch_signals();
	bench_clock_init();
	rc = work->run(env, len, &result);
	if (rc == BENCH_SKIPPED) {
		printf("skipped %s\n", env->error);
		return TOOL_OK;
	}
	if (rc < 0) {
		printf("failed %s\n", env->error[0] ? env->error : strerror(-rc));
		return TOOL_FAILED;
	}
	peer->version(version, sizeof(version));
	printf("about %s %s: %s\n", peer->name, version, work->about);
	print_result(&result);
	return TOOL_OK;
}

int peer_main(int argc, char **argv, const struct peer *peer)
{
	struct bench_env env = {
		.run_ns = 1000 * UINT64_C(1000000),
		.disk_ns = 3000 * UINT64_C(1000000),
		.disk_len = 1u << 30,
		.cpus = { -1, -1 },
		.dir = ".",
	};
	size_t len = BENCH_VALUE_LEN, i;
	int arg;

	for (arg = 2; arg < argc; arg++) {
		if (!take(&env, &len, argv[arg]))
			return usage(peer);
	}
	for (i = 0; argc > 1 && i < peer->n_works; i++) {
		if (strcmp(peer->works[i].name, argv[1]) == 0 && len >= 8)
			return tool_flush_stdout(run(peer, &peer->works[i], &env, len));
	}
	return usage(peer);
}

static bool is_program(const char *path)
{
	return access(path, X_OK) == 0;
}

int peer_find_server(struct bench_env *env, const char *name, const char *package, char *path,
		     size_t len)
{
	const char *at = getenv("PATH");
	int n;

	while (at && *at) {
		n = (int)strcspn(at, ":");
		snprintf(path, len, "%.*s/%s", n, at, name);
		if (is_program(path))
			return 0;
		if (n >= 4 && strncmp(at + n - 4, "/bin", 4) == 0) {
			snprintf(path, len, "%.*s/sbin/%s", n - 4, at, name);
			if (is_program(path))
				return 0;
		}
		at += n + (at[n] == ':');
	}
	snprintf(env->error, sizeof(env->error), "%s is not installed (apt install %s)", name,
		 package);
	return BENCH_SKIPPED;
}
