/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/tool.h"

enum {
	START_MS = 10 * 1000,
	STOP_MS = 10 * 1000,
	STEP_MS = 5,
	PATH_LEN = 512,
};

struct bench_daemon {
	pid_t pid;
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

void bench_daemon_remove_dir(struct bench_env *env)
{
	if (env->dir[0])
		nftw(env->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
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

static void become_daemon(const struct bench_env *env, const char *program, pid_t parent)
{
	char runtime[PATH_LEN], data[PATH_LEN], log[PATH_LEN];
	int fd;

	snprintf(runtime, sizeof(runtime), "%s/run", env->dir);
	snprintf(data, sizeof(data), "%s/data", env->dir);
	snprintf(log, sizeof(log), "%s/leatd.log", env->dir);
	/* Ctrl-C is for the bench, which ends its daemon when it has no use for it any more. */
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1);
	signal(SIGPIPE, SIG_DFL);
	/* What systemd or a keeper told this process is not meant for this daemon. */
	unsetenv("NOTIFY_SOCKET");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDNAMES");
	unsetenv("WATCHDOG_USEC");
	fd = open(log, O_CREAT | O_WRONLY | O_APPEND, 0600);
	if (fd >= 0) {
		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
	}
	execlp(program, program, "--runtime", runtime, "--data", data, (char *)NULL);
	dprintf(STDERR_FILENO, "cannot run %s: %s\n", program, strerror(errno));
	_exit(127);
}

/* The last line that the daemon wrote says best why it did not start. */
static int say_last_line(struct bench_env *env, const char *what)
{
	char path[PATH_LEN], line[256], last[256] = "it wrote nothing";
	FILE *file;

	snprintf(path, sizeof(path), "%s/leatd.log", env->dir);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0])
			memcpy(last, line, sizeof(last));
	}
	if (file)
		fclose(file);
	snprintf(env->error, sizeof(env->error), "leatd %s: %s", what, last);
	return -ECHILD;
}

/* 1 when it answers, 0 when it does not yet. */
static int answers(const struct bench_env *env)
{
	struct leat_bus *bus = NULL;

	if (leat_connect(env->bus, NULL, &bus) < 0)
		return 0;
	leat_close(bus);
	return 1;
}

static int wait_until_it_answers(struct bench_env *env, struct bench_daemon *daemon)
{
	uint64_t deadline = tool_monotonic_ns() + START_MS * UINT64_C(1000000);

	while (!answers(env)) {
		if (waitpid(daemon->pid, NULL, WNOHANG) == daemon->pid) {
			daemon->pid = 0;
			return say_last_line(env, "ended at once");
		}
		if (tool_stopping())
			return -EINTR;
		if (tool_monotonic_ns() > deadline)
			return say_last_line(env, "does not answer");
		poll(NULL, 0, STEP_MS);
	}
	return 0;
}

int bench_daemon_start(struct bench_env *env, struct bench_daemon **ret_daemon)
{
	struct bench_daemon *daemon = calloc(1, sizeof(*daemon));
	char program[PATH_LEN];
	pid_t parent = getpid();
	int rc;

	if (!daemon)
		return -ENOMEM;
	find_daemon(program, sizeof(program));
	snprintf(env->bus, sizeof(env->bus), "%.200s/run/bus.sock", env->dir);
	daemon->pid = fork();
	if (daemon->pid == 0)
		become_daemon(env, program, parent);
	rc = daemon->pid < 0 ? -errno : wait_until_it_answers(env, daemon);
	if (rc < 0) {
		bench_daemon_stop(daemon);
		return rc;
	}
	*ret_daemon = daemon;
	return 0;
}

struct bench_daemon *bench_daemon_stop(struct bench_daemon *daemon)
{
	uint64_t deadline = tool_monotonic_ns() + STOP_MS * UINT64_C(1000000);

	if (!daemon)
		return NULL;
	if (daemon->pid > 0) {
		kill(daemon->pid, SIGTERM);
		while (waitpid(daemon->pid, NULL, WNOHANG) == 0) {
			if (tool_monotonic_ns() > deadline) {
				kill(daemon->pid, SIGKILL);
				waitpid(daemon->pid, NULL, 0);
				break;
			}
			poll(NULL, 0, STEP_MS);
		}
	}
	free(daemon);
	return NULL;
}
