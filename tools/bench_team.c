/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_team.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/tool.h"

enum {
	ERROR_LEN = 384
};

struct bench_team_head {
	struct bench_cell ready[BENCH_TEAM_MAX];
	char errors[BENCH_TEAM_MAX][ERROR_LEN];
};

int bench_team_init(struct bench_team *team, struct bench_env *env, size_t shared_len)
{
	size_t len = sizeof(struct bench_team_head) + shared_len;
	char *map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED) {
		snprintf(env->error, sizeof(env->error), "no memory for %zu bytes", len);
		return -ENOMEM;
	}
	*team = (struct bench_team){
		.env = env,
		.head = (struct bench_team_head *)map,
		.shared = map + sizeof(struct bench_team_head),
		.shared_len = shared_len,
	};
	/* A page that is touched for the first time while the clock runs would be measured. */
	memset(team->shared, 0, shared_len);
	return 0;
}

void bench_team_deinit(struct bench_team *team)
{
	if (team->head)
		munmap(team->head, sizeof(struct bench_team_head) + team->shared_len);
	team->head = NULL;
}

void bench_team_ready(struct bench_team *team, int me)
{
	int i;

	cell_store(&team->head->ready[me].value, 1);
	for (i = 0; i < team->n; i++)
		cell_await(&team->head->ready[i].value, 1);
}

int bench_team_fail(struct bench_team *team, int me, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(team->head->errors[me], ERROR_LEN, format, args);
	va_end(args);
	return error;
}

static void pin_to(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void be_member(struct bench_team *team, const struct bench_member *member, int me,
		      pid_t parent)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	const struct sched_param first = { .sched_priority = 1 };
	size_t i;

	for (i = 0; i < ARRAY_LEN(signals); i++)
		signal(signals[i], SIG_DFL);
	/* Nobody is left to collect the figures of an orphan that polls for ever. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	pin_to(member->cpu);
	if (team->env->real_time)
		sched_setscheduler(0, SCHED_FIFO, &first);
	_exit(member->run(team, me, member->context) < 0 ? 1 : 0);
}

/* Waits for the end of one more member; 0 or negative errno. */
static int wait_for_one(struct pollfd *fds, int n, uint64_t deadline_ns)
{
	uint64_t now = tool_monotonic_ns();
	int rc;

	if (tool_stopping())
		return -EINTR;
	if (now >= deadline_ns)
		return -ETIMEDOUT;
	rc = poll(fds, (nfds_t)n, (int)((deadline_ns - now) / 1000000) + 1);
	return rc < 0 && errno != EINTR ? -errno : 0;
}

static int collect(struct bench_team *team, pid_t *pids, struct pollfd *fds, int n,
		   uint64_t deadline_ns)
{
	int left = n, i, rc, status;

	while (left > 0) {
		rc = wait_for_one(fds, n, deadline_ns);
		if (rc < 0)
			return rc;
		for (i = 0; i < n; i++) {
			if (fds[i].fd < 0 || fds[i].revents == 0)
				continue;
			waitpid(pids[i], &status, 0);
			pids[i] = 0; /* the number may be another's from now on */
			close(fds[i].fd);
			fds[i].fd = -1;
			left--;
			if (status == 0)
				continue;
			if (WIFSIGNALED(status) && !team->head->errors[i][0])
				bench_team_fail(team, i, 0, "a process of it died of signal %d",
						WTERMSIG(status));
			return -ECHILD;
		}
	}
	return 0;
}

static void say_why(struct bench_team *team, int rc)
{
	char *error = team->env->error;
	int i;

	error[0] = '\0';
	for (i = 0; i < team->n && !error[0]; i++)
		snprintf(error, sizeof(team->env->error), "%s", team->head->errors[i]);
	if (!error[0])
		snprintf(error, sizeof(team->env->error), "%s",
			 rc == -ETIMEDOUT ? "it does not come to an end" : strerror(-rc));
}

int bench_team_run(struct bench_team *team, const struct bench_member *members, int n,
		   uint64_t timeout_ns)
{
	uint64_t deadline_ns = tool_monotonic_ns() + timeout_ns;
	pid_t pids[BENCH_TEAM_MAX], parent = getpid();
	struct pollfd fds[BENCH_TEAM_MAX];
	int i, started, rc = 0;

	memset(team->head, 0, sizeof(*team->head));
	team->n = n;
	for (started = 0; started < n && rc == 0; started++) {
		pids[started] = fork();
		if (pids[started] == 0)
			be_member(team, &members[started], started, parent);
		if (pids[started] < 0) {
			rc = -errno;
			break;
		}
		fds[started].events = POLLIN;
		fds[started].revents = 0;
		fds[started].fd = (int)syscall(SYS_pidfd_open, pids[started], 0);
		if (fds[started].fd < 0)
			rc = -errno;
	}
	if (rc == 0)
		rc = collect(team, pids, fds, n, deadline_ns);
	if (rc == 0)
		return 0;
	for (i = 0; i < started; i++) {
		if (pids[i] > 0) {
			kill(pids[i], SIGKILL);
			waitpid(pids[i], NULL, 0);
		}
		if (fds[i].fd >= 0)
			close(fds[i].fd);
	}
	say_why(team, rc);
	return rc;
}
