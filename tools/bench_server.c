/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/tool.h"

enum {
	START_MS = 10 * 1000,
	STOP_MS = 10 * 1000,
	STEP_MS = 5,
	LOOK_MS = 1000,
	PATH_LEN = 512,
};

struct bench_server {
	pid_t pid;
	char name[32];
	char log[PATH_LEN];
};

static void become_server(char *const argv[], const char *log, pid_t parent)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE };
	size_t i;
	int fd;

	/* Ctrl-C is for the bench, which ends its server when it has no use for it any more. */
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1);
	for (i = 0; i < ARRAY_LEN(signals); i++)
		signal(signals[i], SIG_DFL);
	/* What systemd or a keeper told this process is not meant for this server. */
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
	execvp(argv[0], argv);
	dprintf(STDERR_FILENO, "cannot run %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

int bench_server_start(struct bench_env *env, char *const argv[], const char *log,
		       struct bench_server **ret_server)
{
	struct bench_server *server = calloc(1, sizeof(*server));
	const char *slash = strrchr(argv[0], '/');
	pid_t parent = getpid();
	int rc;

	if (!server)
		return -ENOMEM;
	snprintf(server->name, sizeof(server->name), "%s", slash ? slash + 1 : argv[0]);
	snprintf(server->log, sizeof(server->log), "%s", log);
	server->pid = fork();
	if (server->pid == 0)
		become_server(argv, log, parent);
	if (server->pid < 0) {
		rc = -errno;
		snprintf(env->error, sizeof(env->error), "cannot start %s: %s", server->name,
			 strerror(errno));
		free(server);
		return rc;
	}
	*ret_server = server;
	return 0;
}

/* The last line that a server wrote says best why it did not start. */
static int say_last_line(struct bench_env *env, const struct bench_server *server, const char *what)
{
	char line[256], last[256] = "it wrote nothing";
	FILE *file = fopen(server->log, "re");

	while (file && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0])
			memcpy(last, line, sizeof(last));
	}
	if (file)
		fclose(file);
	snprintf(env->error, sizeof(env->error), "%s %s: %s", server->name, what, last);
	return -ECHILD;
}

int bench_server_await(struct bench_env *env, struct bench_server *server,
		       bool (*is_ready)(const struct bench_env *env))
{
	uint64_t deadline = tool_monotonic_ns() + START_MS * UINT64_C(1000000);

	while (!is_ready(env)) {
		if (waitpid(server->pid, NULL, WNOHANG) == server->pid) {
			server->pid = 0;
			return say_last_line(env, server, "ended at once");
		}
		if (tool_stopping())
			return -EINTR;
		if (tool_monotonic_ns() > deadline)
			return say_last_line(env, server, "does not answer");
		poll(NULL, 0, STEP_MS);
	}
	return 0;
}

/* Sleeps until the process ends: one that looks again and again would disturb what is measured. */
static int sleep_until_it_ends(struct bench_env *env, const struct bench_server *server,
			       uint64_t deadline_ns)
{
	struct pollfd pidfd = { .events = POLLIN };
	int rc = 0;

	pidfd.fd = (int)syscall(SYS_pidfd_open, server->pid, 0);
	if (pidfd.fd < 0)
		return -errno;
	while (rc == 0) {
		if (poll(&pidfd, 1, LOOK_MS) > 0)
			break;
		if (tool_stopping())
			rc = -EINTR;
		else if (tool_monotonic_ns() > deadline_ns)
			rc = -ETIMEDOUT;
	}
	close(pidfd.fd);
	if (rc == -ETIMEDOUT)
		snprintf(env->error, sizeof(env->error), "%s does not come to an end",
			 server->name);
	return rc;
}

int bench_server_wait(struct bench_env *env, struct bench_server *server, uint64_t timeout_ns,
		      int *ret_status)
{
	int rc = sleep_until_it_ends(env, server, tool_monotonic_ns() + timeout_ns), status;

	if (rc < 0)
		return rc;
	waitpid(server->pid, &status, 0);
	server->pid = 0; /* the number may be another's from now on */
	*ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	return 0;
}

struct bench_server *bench_server_stop(struct bench_server *server)
{
	uint64_t deadline = tool_monotonic_ns() + STOP_MS * UINT64_C(1000000);

	if (!server)
		return NULL;
	if (server->pid > 0) {
		kill(server->pid, SIGTERM);
		while (waitpid(server->pid, NULL, WNOHANG) == 0) {
			if (tool_monotonic_ns() > deadline) {
				kill(server->pid, SIGKILL);
				waitpid(server->pid, NULL, 0);
				break;
			}
			poll(NULL, 0, STEP_MS);
		}
	}
	free(server);
	return NULL;
}
