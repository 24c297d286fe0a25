/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_peer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/bench_daemon.h"
#include "tools/bench_server.h"
#include "tools/tool.h"

enum {
	PATH_LEN = 512,
	WORD_LEN = PATH_LEN + 8,
	LINE_LEN = 512,
	NOT_RUN = 127, /* what the dynamic linker says when a library is missing */
};

#define PATIENCE_NS (60 * UINT64_C(1000000000))

/* What a build needs for a driver, by its name. */
static const struct {
	const char *peer;
	const char *title;
	const char *package;
} packages[] = {
	{ "nats", "NATS JetStream", "libnats-dev nats-server" },
	{ "nng", "nng", "libnng-dev" },
	{ "redis", "Redis Streams", "libhiredis-dev redis-server" },
	{ "zeromq", "ZeroMQ", "libzmq3-dev" },
};

static int skip_driver(struct bench_env *env)
{
	const char *peer = env->row->peer, *title = peer, *package = "its library";
	size_t i;

	for (i = 0; i < ARRAY_LEN(packages); i++) {
		if (strcmp(packages[i].peer, peer) != 0)
			continue;
		title = packages[i].title;
		package = packages[i].package;
	}
	snprintf(env->error, sizeof(env->error),
		 "leat was built without a driver for %s (apt install %s, then build again)", title,
		 package);
	return BENCH_SKIPPED;
}

/* "dir/here/leat-bench-zeromq" of the same build, or ../libexec/leat of the same installation. */
static bool find_driver(const char *peer, char *path, size_t len)
{
	static const char *const places[] = { "", "../libexec/leat/" };
	char self[PATH_LEN];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;
	size_t i;

	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	for (i = 0; slash && i < ARRAY_LEN(places); i++) {
		if (snprintf(path, len, "%.*s/%sleat-bench-%s", (int)(slash - self), self,
			     places[i], peer) < (int)len &&
		    access(path, X_OK) == 0)
			return true;
	}
	return false;
}

static bool take_figure(struct bench_result *result, const char *key, double value)
{
	const struct {
		const char *key;
		double *to;
	} figures[] = {
		{ "value", &result->value }, { "p99", &result->p99 }, { "p999", &result->p999 },
		{ "p9999", &result->p9999 }, { "max", &result->max },
	};
	size_t i;

	for (i = 0; i < ARRAY_LEN(figures); i++) {
		if (strcmp(figures[i].key, key) == 0) {
			*figures[i].to = value;
			return true;
		}
	}
	return false;
}

/* A curve comes point by point, from the median up. */
static void take_point(struct bench_result *result, double value)
{
	size_t i;

	for (i = 0; i < BENCH_CURVE_LEN; i++) {
		if (result->curve[i] == 0) {
			result->curve[i] = value;
			return;
		}
	}
}

int bench_peer_take_line(struct bench_env *env, char *line, struct bench_result *result)
{
	char *rest = line + strcspn(line, " ");
	double value;

	line[strcspn(line, "\n")] = '\0';
	if (*rest)
		*rest++ = '\0';
	value = strtod(rest, NULL);
	if (strcmp(line, "about") == 0)
		snprintf(env->about, sizeof(env->about), "%s", rest);
	else if (strcmp(line, "samples") == 0)
		result->n_samples = (uint64_t)value;
	else if (strcmp(line, "curve") == 0)
		take_point(result, value);
	else if (strcmp(line, "bytes") == 0)
		bench_add_fact(result, "bytes", value);
	else if (strcmp(line, "skipped") == 0 || strcmp(line, "failed") == 0)
		snprintf(env->error, sizeof(env->error), "%s", rest);
	else
		take_figure(result, line, value);
	if (strcmp(line, "skipped") == 0)
		return BENCH_SKIPPED;
	return strcmp(line, "failed") == 0 ? -EIO : 0;
}

/* The log is what the driver printed, and what it or the dynamic linker complained about. */
static int take_log(struct bench_env *env, const char *log, int status, struct bench_result *result)
{
	char line[LINE_LEN], last[LINE_LEN] = "";
	FILE *file = fopen(log, "re");
	int rc = 0;

	while (file && rc == 0 && fgets(line, sizeof(line), file)) {
		memcpy(last, line, sizeof(last));
		rc = bench_peer_take_line(env, line, result);
	}
	if (file)
		fclose(file);
	if (rc != 0 || (status == 0 && result->value > 0))
		return rc;
	last[strcspn(last, "\n")] = '\0';
	snprintf(env->error, sizeof(env->error), "%s", *last ? last : "its driver said nothing");
	return status == NOT_RUN ? BENCH_SKIPPED : -EIO;
}

static int run_driver(struct bench_env *env, char *program, const char *dir,
		      struct bench_result *result)
{
	char words[6][WORD_LEN], log[WORD_LEN];
	char *argv[] = { program,  (char *)env->row->work,
			 words[0], words[1],
			 words[2], words[3],
			 words[4], words[5],
			 NULL };
	struct bench_server *driver = NULL;
	int rc, status = 0;

	snprintf(log, sizeof(log), "%s/log", dir);
	snprintf(words[0], WORD_LEN, "dir=%s", dir);
	snprintf(words[1], WORD_LEN, "len=%.0f", env->row->x > 0 ? env->row->x : BENCH_VALUE_LEN);
	snprintf(words[2], WORD_LEN, "run_ns=%llu", (unsigned long long)env->run_ns);
	snprintf(words[3], WORD_LEN, "disk_ns=%llu", (unsigned long long)env->disk_ns);
	snprintf(words[4], WORD_LEN, "disk_len=%llu", (unsigned long long)env->disk_len);
	snprintf(words[5], WORD_LEN, "cpus=%d,%d", env->cpus[0], env->cpus[1]);
	rc = bench_server_start(env, argv, log, &driver);
	if (rc == 0)
		rc = bench_server_wait(env, driver, env->run_ns + env->disk_ns + PATIENCE_NS,
				       &status);
	bench_server_stop(driver);
	return rc < 0 ? rc : take_log(env, log, status, result);
}

int bench_peer_run(struct bench_env *env, struct bench_result *result)
{
	char program[PATH_LEN], dir[sizeof(env->dir) + 8];
	int rc;

	if (!find_driver(env->row->peer, program, sizeof(program)))
		return skip_driver(env);
	snprintf(dir, sizeof(dir), "%s/peer", env->dir);
	if (mkdir(dir, 0700) < 0) {
		rc = -errno;
		snprintf(env->error, sizeof(env->error), "cannot make %s: %s", dir, strerror(-rc));
		return rc;
	}
	rc = run_driver(env, program, dir, result);
	bench_daemon_remove_tree(dir);
	return rc;
}
