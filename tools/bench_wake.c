/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waking those who sleep: how long it takes until they run, and what it costs the one who wakes
 * them; by a bare futex, by an eventfd, and by leat. A round begins when the kernel says that
 * every sleeper sleeps.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tools/bench_clock.h"
#include "tools/bench_hist.h"
#include "tools/bench_stream.h"
#include "tools/tool.h"

enum {
	SLEEPERS_MAX = 64,
	TASKS_MAX = 2 * SLEEPERS_MAX + 2, /* an fd of leat's has a thread behind it */
	PATIENCE = 64,
};

/* The kernel says that somebody sleeps a little before his processor rests. Who is woken on the way
 * there is woken for a fraction of the price, and the shorter way would be caught more often. */
#define SETTLE_NS UINT64_C(50000)

static const uint64_t last_round = UINT64_MAX;

enum wake_how {
	WAKE_FUTEX,
	WAKE_EVENTFD,
	WAKE_LEAT,
	WAKE_LEAT_FD,
};

struct wake_setup {
	enum wake_how how;
	int n_sleepers;
	int event_fd; /* made before the fork */
};

/* What wakes carries: when it was sent, and which round it is. */
struct wake_word {
	uint64_t sent;
	uint64_t round;
};

struct wake_sleeper {
	struct bench_cell seen; /* the round it woke up for last */
	struct bench_cell pid;
	struct bench_hist hist;
};

struct wake_shared {
	struct bench_cell futex;
	struct wake_word word; /* beside a futex or eventfd, which carry nothing */
	struct bench_hist call;
	struct bench_hist sum;
	struct leat_publisher_stats stats;
	struct wake_sleeper sleepers[SLEEPERS_MAX];
};

/* ---- whether they sleep ---- */

struct tasks {
	int n;
	int fds[TASKS_MAX]; /* of /proc/PID/task/TID/stat */
};

static void watch_tasks(struct tasks *tasks, pid_t pid)
{
	char path[80];
	struct dirent *entry;
	DIR *dir;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || tasks->n == TASKS_MAX)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%.16s/stat", (int)pid, entry->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0)
			tasks->fds[tasks->n++] = fd;
	}
	if (dir)
		closedir(dir);
}

/* The state is the letter after the name, which is in brackets and may hold any others. */
static bool sleeps(int fd)
{
	char text[128];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	char *end;

	if (n <= 0)
		return false;
	text[n] = '\0';
	end = strrchr(text, ')');
	return end && end[1] && end[2] == 'S';
}

static void await_sleepers(const struct tasks *tasks, struct wake_shared *shared, int n,
			   uint64_t round)
{
	uint32_t looks = 0;
	int i;

	for (i = 0; i < n; i++) {
		while (cell_load(&shared->sleepers[i].seen.value) != round) {
			if (++looks % PATIENCE == 0)
				sched_yield();
		}
	}
	for (i = 0; i < tasks->n; i++) {
		while (!sleeps(tasks->fds[i]))
			sched_yield();
	}
}

/* ---- waking ---- */

static int wake(struct bench_link *link, const struct wake_setup *setup, uint64_t round)
{
	struct wake_shared *shared = link->team->shared;
	struct wake_word word = { .sent = bench_clock_ticks(), .round = round };
	const struct leat_record record = { .value = &word, .value_len = sizeof(word) };
	const uint64_t one = 1;
	int rc = 0;

	if (setup->how >= WAKE_LEAT) {
		rc = leat_publish(link->publisher, &record, NULL);
		return rc < 0 ? bench_stream_fail(link, rc, "cannot publish") : 0;
	}
	shared->word = word;
	cell_store(&shared->futex.value, round);
	if (setup->how == WAKE_FUTEX)
		cell_futex(&shared->futex.value, FUTEX_WAKE, INT_MAX);
	else if (write(setup->event_fd, &one, sizeof(one)) < 0)
		rc = bench_team_fail(link->team, link->me, -errno, "cannot write to an eventfd");
	return rc;
}

static int wake_in_rounds(struct bench_link *link, const struct wake_setup *setup)
{
	struct wake_shared *shared = link->team->shared;
	struct tasks tasks = { 0 };
	uint64_t round, start, end, warm, settle = bench_clock_from_ns(SETTLE_NS);
	int i, rc = 0;

	for (i = 0; i < setup->n_sleepers; i++)
		watch_tasks(&tasks, (pid_t)cell_load(&shared->sleepers[i].pid.value));
	start = bench_clock_ticks();
	end = start + bench_clock_from_ns(link->team->env->run_ns);
	warm = start + bench_clock_from_ns(link->team->env->run_ns / 10);
	for (round = 1; rc == 0 && (start < end || round < 3); round++) {
		await_sleepers(&tasks, shared, setup->n_sleepers, round - 1);
		start = bench_clock_ticks();
		while (bench_clock_ticks() - start < settle)
			;
		start = bench_clock_ticks();
		rc = wake(link, setup, round);
		if (start > warm || round == 2)
			bench_hist_add(&shared->call, bench_clock_ticks() - start);
	}
	if (rc == 0) {
		await_sleepers(&tasks, shared, setup->n_sleepers, round - 1);
		rc = wake(link, setup, last_round);
	}
	for (i = 0; i < tasks.n; i++)
		close(tasks.fds[i]);
	return rc;
}

static int waker(struct bench_team *team, int me, const void *context)
{
	struct bench_link link = { .team = team, .me = me };
	const struct wake_setup *setup = context;
	struct wake_shared *shared = team->shared;
	int rc = 0;

	if (setup->how >= WAKE_LEAT) {
		rc = bench_stream_connect(&link, team, me);
		if (rc == 0)
			rc = bench_stream_publish_to(&link, "wake");
	}
	if (rc == 0) {
		bench_team_ready(team, me);
		rc = wake_in_rounds(&link, setup);
	}
	if (link.publisher) {
		shared->stats.size = sizeof(shared->stats);
		leat_publisher_statistics(link.publisher, &shared->stats);
	}
	bench_stream_close(&link);
	return rc;
}

/* ---- sleeping ---- */

struct sleeper {
	struct bench_link link;
	const struct wake_setup *setup;
	struct wake_sleeper *mine;
	int epoll_fd;
};

static int sleep_on_futex(struct sleeper *sleeper, uint64_t seen, struct wake_word *ret_word)
{
	struct wake_shared *shared = sleeper->link.team->shared;

	while (cell_load(&shared->futex.value) == seen)
		cell_futex(&shared->futex.value, FUTEX_WAIT, (uint32_t)seen);
	*ret_word = shared->word;
	return 0;
}

static int sleep_on_epoll(struct sleeper *sleeper)
{
	struct epoll_event event;
	int rc;

	do {
		rc = epoll_wait(sleeper->epoll_fd, &event, 1, -1);
	} while (rc < 0 && errno == EINTR);
	return rc < 0 ? -errno : 0;
}

static int sleep_on_eventfd(struct sleeper *sleeper, struct wake_word *ret_word)
{
	struct wake_shared *shared = sleeper->link.team->shared;
	uint64_t count;
	int rc = sleep_on_epoll(sleeper);

	if (rc == 0 && read(sleeper->setup->event_fd, &count, sizeof(count)) < 0)
		rc = -errno;
	*ret_word = shared->word;
	return rc;
}

/* Through the fd, a message may already be there, or not yet: as leat.h says, it is asked for. */
static int sleep_on_leat(struct sleeper *sleeper, struct wake_word *ret_word)
{
	bool by_fd = sleeper->setup->how == WAKE_LEAT_FD;
	struct leat_message message;
	int rc;

	for (;;) {
		rc = leat_next(sleeper->link.subscriber, by_fd ? 0 : LEAT_FOREVER, &message);
		if (rc == 1)
			break;
		if (rc == -ETIMEDOUT && by_fd)
			rc = sleep_on_epoll(sleeper);
		if (rc < 0 && rc != -EINTR)
			return rc;
	}
	if (message.kind != LEAT_RECORD || message.value_len != sizeof(*ret_word))
		return -EBADMSG;
	memcpy(ret_word, message.value, sizeof(*ret_word));
	return 0;
}

static int sleep_and_wake(struct sleeper *sleeper)
{
	struct wake_word word = { 0 };
	uint64_t now, seen = 0;
	int rc;

	for (;;) {
		if (sleeper->setup->how == WAKE_FUTEX)
			rc = sleep_on_futex(sleeper, seen, &word);
		else if (sleeper->setup->how == WAKE_EVENTFD)
			rc = sleep_on_eventfd(sleeper, &word);
		else
			rc = sleep_on_leat(sleeper, &word);
		now = bench_clock_ticks();
		if (rc < 0)
			return bench_stream_fail(&sleeper->link, rc, "cannot wait");
		if (word.round == last_round)
			return 0;
		if (word.round != seen + 1)
			return bench_team_fail(sleeper->link.team, sleeper->link.me, -EBADMSG,
					       "woken for a wrong round");
		seen = word.round;
		bench_hist_add(&sleeper->mine->hist, now > word.sent ? now - word.sent : 0);
		cell_store(&sleeper->mine->seen.value, seen);
	}
}

/* What to wait for: nothing for a futex, otherwise an fd in an epoll of one's own. */
static int prepare(struct sleeper *sleeper)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct bench_link *link = &sleeper->link;
	int rc = 0, fd = sleeper->setup->event_fd;

	if (sleeper->setup->how >= WAKE_LEAT) {
		rc = bench_stream_connect(link, link->team, link->me);
		if (rc == 0)
			rc = bench_stream_subscribe_to(link, "wake", 0);
	}
	if (rc < 0 || sleeper->setup->how == WAKE_FUTEX || sleeper->setup->how == WAKE_LEAT)
		return rc;
	if (sleeper->setup->how == WAKE_LEAT_FD)
		fd = leat_subscriber_fd(link->subscriber);
	if (fd < 0)
		return bench_stream_fail(link, fd, "no fd");
	sleeper->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (sleeper->epoll_fd < 0 || epoll_ctl(sleeper->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return bench_team_fail(link->team, link->me, -errno, "no epoll");
	return 0;
}

static int be_sleeper(struct bench_team *team, int me, const void *context)
{
	struct sleeper sleeper = { .link = { .team = team, .me = me }, .setup = context };
	struct wake_shared *shared = team->shared;
	int rc;

	sleeper.epoll_fd = -1;
	sleeper.mine = &shared->sleepers[me - 1];
	rc = prepare(&sleeper);
	if (rc == 0) {
		cell_store(&sleeper.mine->pid.value, (uint64_t)getpid());
		bench_team_ready(team, me);
		rc = sleep_and_wake(&sleeper);
	}
	bench_stream_close(&sleeper.link);
	if (sleeper.epoll_fd >= 0)
		close(sleeper.epoll_fd);
	return rc;
}

/* ---- both ---- */

static void take_result(struct wake_shared *shared, const struct wake_setup *setup, bool of_call,
			struct bench_result *result)
{
	double n = (double)shared->call.n;
	int i;

	for (i = 0; i < setup->n_sleepers; i++)
		bench_hist_merge(&shared->sum, &shared->sleepers[i].hist);
	bench_hist_result(of_call ? &shared->call : &shared->sum, result);
	bench_add_fact(result, "rounds", n);
	if (setup->how < WAKE_LEAT || shared->stats.records == 0)
		return;
	n = (double)shared->stats.records;
	bench_add_fact(result, "wakes_per_publish", (double)shared->stats.wakes / n);
	bench_add_fact(result, "drain_kicks_per_publish", (double)shared->stats.drain_kicks / n);
}

static int run_wake(struct bench_env *env, enum wake_how how, bool of_call,
		    struct bench_result *result)
{
	struct wake_setup setup = { .how = how, .n_sleepers = (int)env->row->x, .event_fd = -1 };
	struct bench_member members[1 + SLEEPERS_MAX];
	struct leat_stream_options options;
	struct bench_team team;
	int i, rc;

	rc = bench_team_init(&team, env, sizeof(struct wake_shared));
	if (rc < 0)
		return rc;
	for (i = 0; i <= setup.n_sleepers; i++)
		members[i] = (struct bench_member){
			.run = i == 0 ? waker : be_sleeper,
			.context = &setup,
			.cpu = setup.n_sleepers == 1 ? env->cpus[i] : -1,
		};
	if (how == WAKE_EVENTFD)
		setup.event_fd = eventfd(0, EFD_CLOEXEC);
	bench_stream_memory(&options);
	if (how >= WAKE_LEAT)
		rc = bench_stream_create(env, "wake", &options);
	if (rc == 0)
		rc = bench_team_run(&team, members, 1 + setup.n_sleepers,
				    env->run_ns + BENCH_TEAM_WAIT_NS);
	if (rc == 0)
		take_result(team.shared, &setup, of_call, result);
	if (how >= WAKE_LEAT)
		bench_stream_delete(env, "wake");
	if (setup.event_fd >= 0)
		close(setup.event_fd);
	bench_team_deinit(&team);
	return rc;
}

int bench_wake_futex(struct bench_env *env, struct bench_result *result)
{
	return run_wake(env, WAKE_FUTEX, false, result);
}

int bench_wake_futex_call(struct bench_env *env, struct bench_result *result)
{
	return run_wake(env, WAKE_FUTEX, true, result);
}

int bench_wake_eventfd(struct bench_env *env, struct bench_result *result)
{
	return run_wake(env, WAKE_EVENTFD, false, result);
}

int bench_wake_leat(struct bench_env *env, struct bench_result *result)
{
	return run_wake(env, WAKE_LEAT, false, result);
}

int bench_wake_leat_call(struct bench_env *env, struct bench_result *result)
{
	return run_wake(env, WAKE_LEAT, true, result);
}

int bench_wake_fd(struct bench_env *env, struct bench_result *result)
{
	return run_wake(env, WAKE_LEAT_FD, false, result);
}
