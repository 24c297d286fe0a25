/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper with a daemon that does on its n-th start what a script of one letter a start says.
 * The daemon is this program once more: the keeper executes what it is itself.
 */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "daemon/directory.h"
#include "daemon/keeper.h"

static char dir[64];

/* ---- the daemon ---- */

static void note(const char *where, const char *text)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/starts", where);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	(void)!write(fd, text, strlen(text));
	close(fd);
}

/* The files began and ended hold a time each start and each end. */
static void note_time(const char *where, const char *name)
{
	char path[128];
	uint64_t now = clock_now_ns(CLOCK_MONOTONIC);
	int fd;

	snprintf(path, sizeof(path), "%s/%s", where, name);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	(void)!write(fd, &now, sizeof(now));
	close(fd);
}

static uint64_t time_of(const char *name, unsigned int n)
{
	char path[128];
	uint64_t time = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY);
	ck_assert_int_eq(pread(fd, &time, sizeof(time), n * (off_t)sizeof(time)), sizeof(time));
	close(fd);
	return time;
}

static void sleep_ns(uint64_t ns)
{
	nanosleep(&(struct timespec){ .tv_sec = (time_t)(ns / NS_PER_S),
				      .tv_nsec = (long)(ns % NS_PER_S) },
		  NULL);
}

/* How often it was started before, and which fds it has: "name=size ". */
static int count_starts(const char *where)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/starts", where);
	return stat(path, &st) == 0 ? (int)st.st_size : 0;
}

static void store(const char *name, off_t size)
{
	int fd = memfd_create("kept", MFD_CLOEXEC);
	char message[128];

	if (ftruncate(fd, size) < 0)
		_exit(90);
	snprintf(message, sizeof(message), "FDSTORE=1\nFDNAME=%s", name);
	if (sd_pid_notify_with_fds(0, 0, message, &fd, 1) <= 0)
		_exit(91);
	close(fd);
}

static bool has_kept(const char *name, off_t size)
{
	char **names = NULL;
	int n = sd_listen_fds_with_names(0, &names);
	bool found = false;

	for (int i = 0; i < n; i++) {
		struct stat st;

		found |= strcmp(names[i], name) == 0 && fstat(3 + i, &st) == 0 &&
			 st.st_size == size;
		free(names[i]);
	}
	free(names);
	return found;
}

static void wait_for_end(void)
{
	for (;;)
		pause();
}

static volatile sig_atomic_t got_term;

static void on_term(int signal_number)
{
	/* A socket that the keeper has closed: nothing will be kept. */
	got_term = signal_number;
	_exit(sd_notify(0, "FDPOLL=0") > 0 ? 92 : 0);
}

/* What one start of the daemon does. */
static int daemon_main(const char *where, const char *script)
{
	char step = script[min_u64((uint64_t)count_starts(where), strlen(script) - 1)];

	/* Who finds it noted may end it. */
	signal(SIGTERM, on_term);
	note(where, "x");
	switch (step) {
	case 's': /* is ready, stores two fds, dies at once: the keeper must have them */
		sd_notify(0, "READY=1");
		store("one", 111);
		store("two", 222);
		kill(getpid(), SIGKILL);
		break;
	case 'c': /* finds them, gives one up, dies */
		if (!has_kept("one", 111) || !has_kept("two", 222))
			return 93;
		sd_notify(0, "READY=1");
		sd_notify(0, "FDSTOREREMOVE=1\nFDNAME=one");
		if (sd_notify_barrier(0, 5000000) < 0)
			return 94;
		kill(getpid(), SIGKILL);
		break;
	case 'd': /* finds the other alone, ends cleanly */
		return !has_kept("one", 111) && has_kept("two", 222) ? 0 : 95;
	case 'r': /* ready, dies */
		sd_notify(0, "READY=1");
		kill(getpid(), SIGKILL);
		break;
	case 'l': /* ready, serves for a while, dies */
		note_time(where, "began");
		sd_notify(0, "READY=1");
		sleep_ns(1200 * NS_PER_MS);
		note_time(where, "ended");
		kill(getpid(), SIGKILL);
		break;
	case 'k': /* dies without ever being ready */
		kill(getpid(), SIGKILL);
		break;
	case 'e': /* cannot start and says so */
		return 17;
	case 'w': /* ready, waits to be told to end */
		sd_notify(0, "READY=1");
		wait_for_end();
		break;
	default: /* ends cleanly */
		sd_notify(0, "READY=1\nSTOPPING=1");
		return 0;
	}
	return 96;
}

/* ---- the keeper ---- */

static void setup(void)
{
	strcpy(dir, "/tmp/leat-keeper.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void teardown(void)
{
	directory_remove("/tmp", dir + 5);
}

static pid_t start(const char *script)
{
	pid_t pid = fork();

	if (pid == 0) {
		char *argv[] = { "daemon", dir, (char *)script, NULL };

		_exit(keeper_run(dir, argv));
	}
	return pid;
}

static int end_of(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status), "the keeper ended with %#x", status);
	return WEXITSTATUS(status);
}

static bool until_starts(int n)
{
	for (int i = 0; i < 3000 && count_starts(dir) < n; i++)
		usleep(10000);
	return count_starts(dir) >= n;
}

START_TEST(fds_are_kept_and_given_back)
{
	ck_assert_int_eq(end_of(start("scd")), 0);
	ck_assert_int_eq(count_starts(dir), 3);
}
END_TEST

/* It has something to say at each death. */
START_TEST(nobody_who_reads_the_log_is_no_reason_to_lose_what_is_kept)
{
	int ends[2], said = dup(STDERR_FILENO);
	pid_t pid;

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	close(ends[0]);
	signal(SIGPIPE, SIG_DFL);
	dup2(ends[1], STDERR_FILENO);
	pid = start("scd");
	dup2(said, STDERR_FILENO);
	ck_assert_int_eq(end_of(pid), 0);
	ck_assert_int_eq(count_starts(dir), 3);
	close(ends[1]);
	close(said);
}
END_TEST

START_TEST(a_log_that_may_not_grow_is_no_reason_either)
{
	pid_t pid = start("w");

	ck_assert(until_starts(1));
	/* As the kernel does who writes beyond the limit. */
	kill(pid, SIGXFSZ);
	kill(pid, SIGTERM);
	ck_assert_int_eq(end_of(pid), 0);
}
END_TEST

START_TEST(a_daemon_that_ends_cleanly_ends_the_keeper)
{
	ck_assert_int_eq(end_of(start("z")), 0);
	ck_assert_int_eq(count_starts(dir), 1);
	ck_assert_int_eq(access(dir, F_OK), 0);
}
END_TEST

START_TEST(a_daemon_that_cannot_start_is_not_tried_again)
{
	ck_assert_int_eq(end_of(start("e")), 17);
	ck_assert_int_eq(count_starts(dir), 1);
}
END_TEST

START_TEST(a_daemon_that_was_ready_once_is_started_also_after_an_error)
{
	ck_assert_int_eq(end_of(start("rez")), 0);
	ck_assert_int_eq(count_starts(dir), 3);
}
END_TEST

START_TEST(a_daemon_that_never_gets_ready_is_given_up)
{
	ck_assert_int_eq(end_of(start("k")), 1);
	ck_assert_int_eq(count_starts(dir), 5);
}
END_TEST

/* How long the keeper takes for a daemon that follows `script`. */
static uint64_t duration_of(const char *script)
{
	char path[128];
	uint64_t begin = clock_now_ns(CLOCK_MONOTONIC);

	unlink(strcat(strcpy(path, dir), "/starts"));
	ck_assert_int_eq(end_of(start(script)), 0);
	return clock_now_ns(CLOCK_MONOTONIC) - begin;
}

/* The least of a few with one start alone: what a start takes on this machine. */
static uint64_t duration_of_a_start(void)
{
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < 5; i++)
		least = min_u64(least, duration_of("z"));
	return least;
}

/* Of a few, because a busy machine takes its time; one that waited would never be so short: it
 * takes a tenth of a second and two starts. */
START_TEST(the_first_restart_is_immediate_and_the_next_ones_wait)
{
	uint64_t most = max_u64(100 * NS_PER_MS, 50 * NS_PER_MS + 2 * duration_of_a_start());
	uint64_t one = UINT64_MAX;

	for (int i = 0; i < 20 && one >= most; i++)
		one = duration_of("rz");
	ck_assert_int_eq(count_starts(dir), 2);
	ck_assert_uint_lt(one, most);
	ck_assert_uint_gt(duration_of("rrrz"), 300 * NS_PER_MS);
}
END_TEST

START_TEST(who_served_for_a_while_is_started_again_at_once_each_time)
{
	uint64_t most = max_u64(100 * NS_PER_MS, 50 * NS_PER_MS + duration_of_a_start());
	uint64_t least = UINT64_MAX;

	/* Any that had to wait would have waited for a tenth of a second at least. */
	for (int tries = 0; tries < 5 && least >= most; tries++) {
		(void)duration_of("llllz");
		for (unsigned int i = 1; i < 3; i++)
			least = min_u64(least, time_of("began", i + 1) - time_of("ended", i));
	}
	ck_assert_uint_lt(least, most);
}
END_TEST

START_TEST(a_signal_is_passed_on_and_nothing_is_kept_any_more)
{
	pid_t pid = start("w");

	ck_assert(until_starts(1));
	kill(pid, SIGTERM);
	/* 92 would say that the notify socket still answered. */
	ck_assert_int_eq(end_of(pid), 0);
	ck_assert_int_eq(count_starts(dir), 1);
}
END_TEST

START_TEST(a_keeper_that_is_killed_takes_the_daemon_along)
{
	pid_t pid, daemon_pid = 0;
	char text[64], path[64];
	FILE *f;
	int status;

	pid = start("w");
	ck_assert(until_starts(1));
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	ck_assert_ptr_nonnull(fgets(text, sizeof(text), f));
	daemon_pid = atoi(text);
	fclose(f);
	ck_assert_int_gt(daemon_pid, 0);
	/* It becomes our child when its parent dies, so that its end can be seen. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	alarm(10);
	ck_assert_int_eq(waitpid(daemon_pid, &status, 0), daemon_pid);
	ck_assert(WIFEXITED(status));
}
END_TEST

START_TEST(a_second_keeper_is_refused)
{
	pid_t pid = start("w");

	ck_assert(until_starts(1));
	ck_assert_int_eq(end_of(start("z")), 1);
	ck_assert_int_eq(count_starts(dir), 1);
	kill(pid, SIGTERM);
	ck_assert_int_eq(end_of(pid), 0);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite;
	TCase *tc;
	SRunner *runner;
	int n_failed;

	if (argc == 3)
		return daemon_main(argv[1], argv[2]);
	suite = suite_create("keeper");
	tc = tcase_create("keeper");
	runner = srunner_create(suite);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, fds_are_kept_and_given_back);
	tcase_add_test(tc, nobody_who_reads_the_log_is_no_reason_to_lose_what_is_kept);
	tcase_add_test(tc, a_log_that_may_not_grow_is_no_reason_either);
	tcase_add_test(tc, a_daemon_that_ends_cleanly_ends_the_keeper);
	tcase_add_test(tc, a_daemon_that_cannot_start_is_not_tried_again);
	tcase_add_test(tc, a_daemon_that_was_ready_once_is_started_also_after_an_error);
	tcase_add_test(tc, a_daemon_that_never_gets_ready_is_given_up);
	tcase_add_test(tc, the_first_restart_is_immediate_and_the_next_ones_wait);
	tcase_add_test(tc, who_served_for_a_while_is_started_again_at_once_each_time);
	tcase_add_test(tc, a_signal_is_passed_on_and_nothing_is_kept_any_more);
	tcase_add_test(tc, a_keeper_that_is_killed_takes_the_daemon_along);
	tcase_add_test(tc, a_second_keeper_is_refused);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
