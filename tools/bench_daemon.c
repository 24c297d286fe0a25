/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_daemon.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/tool.h"

enum {
	PATH_LEN = 512
};

int bench_daemon_make_dir(struct bench_env *env, const char *parent)
{
	const char *tmp = getenv("TMPDIR");
	char path[sizeof(env->dir)];
	int n;

	if (!parent)
		parent = tmp && *tmp ? tmp : "/tmp";
	n = snprintf(path, sizeof(path), "%s/leat-bench.XXXXXX", parent);
	/* The socket's path, the directory's and a little more, has room for 107 bytes. */
	if (n > 80) {
		snprintf(env->error, sizeof(env->error),
			 "the path %s is too long for a socket; choose a shorter --dir", parent);
		return -ENAMETOOLONG;
	}
	if (!mkdtemp(path)) {
		snprintf(env->error, sizeof(env->error), "cannot make a directory in %s: %s",
			 parent, strerror(errno));
		return -errno;
	}
	memcpy(env->dir, path, sizeof(path));
	return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	remove(path);
	return 0;
}

void bench_daemon_remove_tree(const char *dir)
{
	nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void bench_daemon_remove_dir(struct bench_env *env)
{
	if (env->dir[0])
		bench_daemon_remove_tree(env->dir);
	env->dir[0] = '\0';
}

/* The daemon of the same build or installation, "leatd" for $PATH when there is none. */
static void find_daemon(char *path, size_t len)
{
	static const char *const places[] = { "leatd", "../sbin/leatd" };
	char self[PATH_LEN];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;
	size_t i;

	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	for (i = 0; slash && i < ARRAY_LEN(places); i++) {
		if (snprintf(path, len, "%.*s/%s", (int)(slash - self), self, places[i]) <
			    (int)len &&
		    access(path, X_OK) == 0)
			return;
	}
	snprintf(path, len, "leatd");
}

/* Whether it answers already. */
static bool answers(const struct bench_env *env)
{
	struct leat_bus *bus = NULL;

	if (leat_connect(env->bus, NULL, &bus) < 0)
		return false;
	leat_close(bus);
	return true;
}

int bench_daemon_launch(struct bench_env *env, bool keep, struct bench_server **ret_daemon)
{
	char program[PATH_LEN], runtime[PATH_LEN], data[PATH_LEN], log[PATH_LEN], config[PATH_LEN];
	char *argv[9] = { program, "--runtime", runtime, "--data", data };
	int n = 5;

	find_daemon(program, sizeof(program));
	snprintf(runtime, sizeof(runtime), "%s/run", env->dir);
	snprintf(data, sizeof(data), "%s/data", env->dir);
	snprintf(log, sizeof(log), "%s/leatd.log", env->dir);
	snprintf(config, sizeof(config), "%s/leatd.conf", env->dir);
	snprintf(env->bus, sizeof(env->bus), "%.200s/run/bus.sock", env->dir);
	if (keep)
		argv[n++] = "--keep";
	if (access(config, R_OK) == 0) {
		argv[n++] = "--config";
		argv[n++] = config;
	}
	return bench_server_start(env, argv, log, ret_daemon);
}

int bench_daemon_await(struct bench_env *env, struct bench_server *daemon)
{
	return bench_server_await(env, daemon, answers);
}

int bench_daemon_start(struct bench_env *env, struct bench_server **ret_daemon)
{
	struct bench_server *daemon = NULL;
	int rc = bench_daemon_launch(env, false, &daemon);

	if (rc == 0)
		rc = bench_daemon_await(env, daemon);
	if (rc < 0) {
		bench_server_stop(daemon);
		return rc;
	}
	*ret_daemon = daemon;
	return 0;
}

int bench_daemon_version(struct bench_env *env, struct bench_server **ret_server)
{
	char program[PATH_LEN], log[PATH_LEN];
	char *const argv[] = { program, "--version", NULL };

	find_daemon(program, sizeof(program));
	snprintf(log, sizeof(log), "%s/version.log", env->dir);
	return bench_server_start(env, argv, log, ret_server);
}
