/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <jansson.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char top[64];    /* everything this program makes lies below it */
static char build[512]; /* where leat and leatd are */
static bool is_helper;  /* this process was made by harness_fork() */

void harness_fail(const char *file, int line, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (is_helper) {
		fprintf(stderr, "%s:%d: in a helper process: %s\n", file, line, text);
		fflush(NULL);
		_exit(99);
	}
	ck_abort_msg("%s:%d: %s", file, line, text);
	abort();
}

/* ---- time, chance, shared memory ---- */

uint64_t harness_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

double harness_patience(double seconds)
{
	const char *given = getenv("LEAT_RESUME");

	return given ? strtod(given, NULL) : seconds;
}

void harness_pause_ns(uint64_t ns)
{
	struct timespec pause = { .tv_sec = (time_t)(ns / 1000000000u),
				  .tv_nsec = (long)(ns % 1000000000u) };

	nanosleep(&pause, NULL);
}

bool harness_until(bool (*cond)(void *arg), void *arg, double seconds)
{
	uint64_t left = (uint64_t)(seconds * 1e9), last = harness_now_ns();
	struct timespec pause = { .tv_nsec = 2000000 };

	while (!cond(arg)) {
		uint64_t now = harness_now_ns(), took = now - last;

		/* While this process did not run either, it was the machine that stood still. */
		took = took < 1000000000 ? took : 1000000000;
		if (took > left)
			return false;
		left -= took;
		last = now;
		nanosleep(&pause, NULL);
	}
	return true;
}

uint64_t harness_seed(void)
{
	const char *given = getenv("LEAT_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : harness_now_ns() | 1;

	printf("LEAT_SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout);
	return seed;
}

/* splitmix64 */
uint64_t harness_random(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15u;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

void *harness_shared(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	must(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}

/* ---- processes ---- */

void harness_be_child(int (*fn)(void *arg), void *arg)
{
	int status;

	is_helper = true;
	status = fn(arg);
	fflush(NULL);
	_exit(status);
}

/* What a new process says of itself is 0, of another it is that one's id. */
static pid_t start_helper(pid_t pid, int (*fn)(void *arg), void *arg)
{
	if (pid == 0)
		harness_be_child(fn, arg);
	return pid;
}

pid_t harness_fork(int (*fn)(void *arg), void *arg)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	must(pid >= 0, "fork: %s", strerror(errno));
	return start_helper(pid, fn, arg);
}

pid_t harness_fork_as(pid_t wanted, int (*fn)(void *arg), void *arg)
{
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = (uintptr_t)&wanted,
		.set_tid_size = 1,
	};
	long pid;

	fflush(NULL);
	/* Somebody else may have it for a moment. */
	for (int i = 0; i < 1000; i++) {
		pid = syscall(SYS_clone3, &args, sizeof(args));
		if (pid >= 0)
			return start_helper((pid_t)pid, fn, arg);
		if (errno != EEXIST)
			break;
		usleep(1000);
	}
	return -errno;
}

struct reaping {
	pid_t pid;
	int status;
};

static bool has_ended(void *arg)
{
	struct reaping *reaping = arg;
	pid_t pid = waitpid(reaping->pid, &reaping->status, WNOHANG);

	must(pid >= 0, "waitpid %d: %s", (int)reaping->pid, strerror(errno));
	return pid == reaping->pid;
}

int harness_reap(pid_t pid, double seconds)
{
	struct reaping reaping = { .pid = pid };

	must(harness_until(has_ended, &reaping, seconds), "process %d did not end within %.1f s",
	     (int)pid, seconds);
	return reaping.status;
}

void harness_reap_ok(pid_t pid, double seconds, const char *who)
{
	int status = harness_reap(pid, seconds);

	must(!WIFSIGNALED(status), "%s died of signal %d", who, WTERMSIG(status));
	must(WEXITSTATUS(status) == 0, "%s ended with status %d", who, WEXITSTATUS(status));
}

void harness_kill(pid_t pid)
{
	must(pid > 0, "no process to kill");
	must(kill(pid, SIGKILL) == 0, "kill %d: %s", (int)pid, strerror(errno));
	harness_reap(pid, 10);
}

bool harness_is_stopped(void *pid)
{
	char path[32], line[512] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", *(pid_t *)pid);
	file = fopen(path, "re");
	must(file && fgets(line, sizeof(line), file), "%s is gone", path);
	fclose(file);
	return strstr(line, ") T ") != NULL;
}

static char *read_all(int fd, size_t *ret_len)
{
	size_t len = 0, cap = 4096;
	char *buf = malloc(cap);
	ssize_t n;

	must(buf && lseek(fd, 0, SEEK_SET) == 0, "rewinding a tool's output");
	while ((n = read(fd, buf + len, cap - len - 1)) > 0) {
		len += (size_t)n;
		if (cap - len < 2) {
			cap *= 2;
			buf = realloc(buf, cap);
			must(buf, "no memory for a tool's output");
		}
	}
	must(n == 0, "reading a tool's output: %s", strerror(errno));
	buf[len] = '\0';
	*ret_len = len;
	close(fd);
	return buf;
}

void harness_become(const struct harness_user *user)
{
	must(setgroups(user->group ? 1 : 0, &user->group) == 0, "setgroups: %s", strerror(errno));
	must(setresgid(user->gid, user->gid, user->gid) == 0, "setresgid: %s", strerror(errno));
	must(setresuid(user->uid, user->uid, user->uid) == 0, "setresuid: %s", strerror(errno));
	/* Otherwise /proc/self would still be root's. */
	must(prctl(PR_SET_DUMPABLE, 1) == 0, "PR_SET_DUMPABLE: %s", strerror(errno));
}

static void exec_words(const struct harness_bus *bus, const struct harness_user *user,
		       const char *const *words)
{
	char path[640];
	char *argv[64];
	int fd = -1;
	size_t n = 0;

	is_helper = true;
	for (; words[n] && n < 63; n++)
		argv[n] = (char *)(uintptr_t)words[n];
	argv[n] = NULL;
	if (bus)
		setenv("LEAT_BUS", bus->sock, 1);
	if (strcmp(words[0], "leat") == 0 || strcmp(words[0], "leatd") == 0) {
		snprintf(path, sizeof(path), "%s/%s", build, words[0]);
		/* Opened now: the other user may not reach the folder. */
		fd = open(path, O_PATH | O_CLOEXEC);
	}
	if (user)
		harness_become(user);
	if (fd >= 0)
		fexecve(fd, argv, environ);
	else
		execvp(words[0], argv);
	fprintf(stderr, "cannot run %s: %s\n", words[0], strerror(errno));
	_exit(127);
}

void harness_run(const struct harness_bus *bus, const struct harness_user *user,
		 struct harness_output *ret_output, const char *const *words)
{
	int out = memfd_create("out", MFD_CLOEXEC), err = memfd_create("err", MFD_CLOEXEC);
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), status;
	pid_t pid;

	must(out >= 0 && err >= 0 && null >= 0, "memfd_create: %s", strerror(errno));
	fflush(NULL);
	pid = fork();
	must(pid >= 0, "fork: %s", strerror(errno));
	if (pid == 0) {
		dup2(null, 0);
		dup2(out, 1);
		dup2(err, 2);
		exec_words(bus, user, words);
	}
	status = harness_reap(pid, 60);
	close(null);
	*ret_output = (struct harness_output){
		.status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status),
	};
	ret_output->out = read_all(out, &ret_output->out_len);
	ret_output->err = read_all(err, &ret_output->err_len);
}

void harness_output_deinit(struct harness_output *output)
{
	free(output->out);
	free(output->err);
	*output = (struct harness_output){ 0 };
}

/* ---- the bus ---- */

static bool bus_answers(void *arg)
{
	struct harness_bus *bus = arg;
	struct leat_connect_options options = { .size = sizeof(options), .client = "harness" };
	struct leat_bus *handle;
	int status;

	must(waitpid(bus->pid, &status, WNOHANG) == 0,
	     "leatd ended at once, status %#x, see %s/log", (unsigned)status, bus->dir);
	if (leat_connect(bus->sock, &options, &handle) < 0)
		return false;
	leat_close(handle);
	return true;
}

static const struct harness_user daemon_user = { .uid = HARNESS_DAEMON_UID,
						 .gid = HARNESS_DAEMON_UID };

/* Opened first: the other user may not reach the folder. */
static void exec_as_daemon_user(const char *path, const char *const *words)
{
	int fd = open(path, O_PATH | O_CLOEXEC);

	/* Root's configuration is not this user's. */
	setenv("HOME", "/", 1);
	unsetenv("XDG_CONFIG_HOME");
	harness_become(&daemon_user);
	fexecve(fd, (char **)(uintptr_t)words, environ);
}

static void start_daemon(struct harness_bus *bus)
{
	char path[640], runtime[112], data[112], log[112], points[112];
	const char *words[] = { "leatd", "--runtime", runtime, "--data", data, NULL, NULL };
	pid_t pid;

	snprintf(path, sizeof(path), "%s/%sleatd", build,
		 bus->flags & HARNESS_TESTPOINTS ? "tests/" : "");
	snprintf(runtime, sizeof(runtime), "%s/run", bus->dir);
	snprintf(data, sizeof(data), "%s/data", bus->dir);
	snprintf(log, sizeof(log), "%s/log", bus->dir);
	snprintf(points, sizeof(points), "%s/points", bus->dir);
	if (bus->flags & HARNESS_KEEP)
		words[5] = "--keep";
	fflush(NULL);
	/* The bus may lie in memory that the child shares. */
	pid = fork();
	must(pid >= 0, "fork: %s", strerror(errno));
	if (pid == 0) {
		int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
		int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

		dup2(null, 0);
		dup2(fd, 1);
		dup2(fd, 2);
		setenv("LEAT_TESTPOINT_DIR", points, 1);
		if (bus->flags & HARNESS_USER)
			exec_as_daemon_user(path, words);
		execv(path, (char **)(uintptr_t)words);
		fprintf(stderr, "cannot run %s: %s\n", path, strerror(errno));
		_exit(127);
	}
	bus->pid = pid;
	must(harness_until(bus_answers, bus, 20), "leatd is not ready after 20 s, see %s", log);
}

/* Seen by this process and its children only, and gone with them. */
static bool mount_disk(const char *path)
{
	return unshare(CLONE_NEWNS) == 0 &&
	       mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("none", path, "tmpfs", 0, "size=64m") == 0;
}

void harness_bus_make(struct harness_bus *bus, unsigned flags)
{
	char path[112];

	*bus = (struct harness_bus){ .flags = flags };
	snprintf(bus->dir, sizeof(bus->dir), "%s/bus.XXXXXX", top);
	must(mkdtemp(bus->dir), "mkdtemp %s: %s", bus->dir, strerror(errno));
	snprintf(path, sizeof(path), "%s/data", bus->dir);
	must(mkdir(path, 0700) == 0, "mkdir %s: %s", path, strerror(errno));
	if (flags & HARNESS_DISK && !mount_disk(path))
		bus->flags &= ~(unsigned)HARNESS_DISK;
	snprintf(path, sizeof(path), "%s/run", bus->dir);
	must(mkdir(path, 0755) == 0, "mkdir %s: %s", path, strerror(errno));
	snprintf(path, sizeof(path), "%s/points", bus->dir);
	must(mkdir(path, 0700) == 0, "mkdir %s: %s", path, strerror(errno));
	if (flags & HARNESS_PUBLIC)
		must(chmod(bus->dir, 0755) == 0, "chmod: %s", strerror(errno));
	for (size_t i = 0; (flags & HARNESS_USER) && i < 4; i++) {
		snprintf(path, sizeof(path), "%s/%s", bus->dir,
			 (const char *[]){ "data", "run", "points", "." }[i]);
		must(chown(path, daemon_user.uid, daemon_user.gid) == 0, "chown %s: %s", path,
		     strerror(errno));
	}
	snprintf(bus->sock, sizeof(bus->sock), "%s/run/bus.sock", bus->dir);
}

void harness_bus_start(struct harness_bus *bus, unsigned flags)
{
	harness_bus_make(bus, flags);
	start_daemon(bus);
}

void harness_bus_restart(struct harness_bus *bus)
{
	must(bus->pid == 0, "the bus still has a daemon");
	start_daemon(bus);
}

void harness_bus_stop(struct harness_bus *bus)
{
	pid_t pid = bus->pid;

	bus->pid = 0;
	must(pid > 0, "the bus has no daemon");
	must(kill(pid, SIGTERM) == 0, "kill: %s", strerror(errno));
	harness_reap_ok(pid, 20, "leatd");
}

void harness_bus_kill(struct harness_bus *bus)
{
	pid_t pid = bus->pid;

	bus->pid = 0;
	harness_kill(pid);
}

struct leat_bus *harness_connect(const struct harness_bus *bus)
{
	char detail[256] = "";
	struct leat_connect_options options = { .size = sizeof(options),
						.client = "harness",
						.timeout_ns = 300000000000u,
						.detail = detail,
						.detail_len = sizeof(detail) };
	struct leat_bus *handle;
	int r = leat_connect(bus->sock, &options, &handle);

	must(r == 0, "leat_connect: %s (%s)", leat_strerror(r), detail);
	return handle;
}

/* 0 when it does not answer. */
static pid_t pid_behind(struct leat_bus *handle)
{
	json_t *root;
	char *text;
	pid_t pid;

	if (leat_stat_json(handle, NULL, &text) < 0)
		return 0;
	root = json_loads(text, 0, NULL);
	free(text);
	pid = (pid_t)json_integer_value(json_object_get(json_object_get(root, "bus"), "pid"));
	json_decref(root);
	must(pid > 0, "no bus.pid in the statistics");
	return pid;
}

pid_t harness_daemon_pid(const struct harness_bus *bus)
{
	struct leat_bus *handle = harness_connect(bus);
	pid_t pid = pid_behind(handle);

	must(pid > 0, "leat_stat_json: %s", leat_detail(handle));
	leat_close(handle);
	return pid;
}

bool harness_has_other_daemon(const struct harness_bus *bus, pid_t pid)
{
	struct leat_bus *handle;
	pid_t now;

	if (leat_connect(bus->sock, NULL, &handle) < 0)
		return false;
	now = pid_behind(handle);
	leat_close(handle);
	return now > 0 && now != pid;
}

pid_t harness_kept_pid(const struct harness_bus *bus)
{
	char path[64], line[64] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)bus->pid, (int)bus->pid);
	file = fopen(path, "re");
	if (file && !fgets(line, sizeof(line), file))
		line[0] = '\0';
	if (file)
		fclose(file);
	return (pid_t)strtol(line, NULL, 10);
}

uint64_t harness_n_killed(const struct harness_bus *bus)
{
	char path[128], line[512];
	uint64_t n = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/log", bus->dir);
	file = fopen(path, "re");
	must(file, "%s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), file))
		n += strstr(line, "was ended by signal 9") != NULL;
	fclose(file);
	return n;
}

void harness_stream(struct leat_bus *bus, const char *name, uint32_t n_shards, uint64_t ring_len,
		    const struct leat_stream_options *options)
{
	struct leat_stream_options all;
	int r;

	leat_stream_options_init(&all);
	if (options)
		all = *options;
	all.n_shards = n_shards;
	all.ring_len = ring_len;
	r = leat_stream_create(bus, name, &all);
	must(r == 0, "creating %s: %s", name, leat_detail(bus));
}

struct leat_publisher *harness_publisher(struct leat_bus *bus, const char *stream)
{
	struct leat_publisher *publisher;
	int r = leat_publisher_open(bus, stream, NULL, &publisher);

	must(r == 0, "opening %s to publish: %s", stream, leat_detail(bus));
	return publisher;
}

struct leat_subscriber *harness_subscriber(struct leat_bus *bus, const char *stream)
{
	struct leat_subscriber_options options;
	struct leat_subscriber *subscriber;
	int r;

	leat_subscriber_options_init(&options);
	options.start = LEAT_EARLIEST;
	r = leat_subscriber_open(bus, stream, &options, &subscriber);
	must(r == 0, "opening %s to subscribe: %s", stream, leat_detail(bus));
	return subscriber;
}

int64_t harness_figure(struct leat_bus *bus, const char *stream, const char *field)
{
	json_t *root, *shards, *shard, *value;
	int64_t sum = 0;
	char *text;
	size_t i;
	int r = leat_stat_json(bus, stream, &text);

	must(r == 0, "leat_stat_json: %s", leat_detail(bus));
	root = json_loads(text, 0, NULL);
	shards = json_object_get(json_array_get(json_object_get(root, "streams"), 0), "shards");
	must(json_array_size(shards) > 0, "no shards in the statistics: %s", text);
	json_array_foreach(shards, i, shard) {
		value = json_object_get(shard, field);
		must(json_is_integer(value), "no %s in the statistics: %s", field, text);
		sum += json_integer_value(value);
	}
	json_decref(root);
	free(text);
	return sum;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void harness_bus_remove(struct harness_bus *bus)
{
	must(bus->pid == 0, "the bus still has a daemon");
	nftw(bus->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- main ---- */

/* A daemon that is only killed leaves no counts. */
static void end_orphan(pid_t pid)
{
	const char *variant = getenv("LEAT_VARIANT");
	struct reaping reaping = { .pid = pid };

	if (variant && strcmp(variant, "cov") == 0) {
		kill(pid, SIGTERM);
		if (harness_until(has_ended, &reaping, 5))
			return;
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* What a killed case leaves behind becomes a child of this process (PR_SET_CHILD_SUBREAPER). */
static void end_orphans(void)
{
	char path[64], list[4096], *p, *end;
	ssize_t len;
	int fd;

	for (int round = 0; round < 100; round++) {
		snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
		fd = open(path, O_RDONLY | O_CLOEXEC);
		len = fd < 0 ? 0 : read(fd, list, sizeof(list) - 1);
		if (fd >= 0)
			close(fd);
		if (len <= 0)
			return;
		list[len] = '\0';
		for (p = list; *p; p = end) {
			pid_t pid = (pid_t)strtol(p, &end, 10);

			if (end == p)
				break;
			end_orphan(pid);
		}
	}
}

static int show_log(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	char line[512];
	FILE *file;

	(void)st;
	if (type != FTW_F || strcmp(path + ftw->base, "log") != 0)
		return 0;
	file = fopen(path, "re");
	printf("---- %s\n", path);
	while (file && fgets(line, sizeof(line), file))
		fputs(line, stdout);
	if (file)
		fclose(file);
	return 0;
}

void harness_add(Suite *suite, const char *name, const TTest *test, double seconds)
{
	TCase *tcase = tcase_create(name);

	tcase_set_timeout(tcase, seconds);
	tcase_add_test(tcase, test);
	suite_add_tcase(suite, tcase);
}

int harness_skip(const char *why)
{
	printf("%s\n", why);
	return 77;
}

int harness_main(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	const char *given = getenv("LEAT_BUILD"), *tmp = getenv("TMPDIR");
	int n_failed;

	unsetenv("LEAT_BUS");
	unsetenv("NOTIFY_SOCKET");
	if (!realpath(given ? given : "build/release", build)) {
		printf("LEAT_BUILD does not say where leatd is\n");
		return 2;
	}
	snprintf(top, sizeof(top), "%s/leat-test.XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
	if (!mkdtemp(top) || chmod(top, 0755) < 0) {
		perror(top);
		return 2;
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	end_orphans();
	if (n_failed)
		nftw(top, show_log, 16, FTW_PHYS);
	nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return n_failed ? 1 : 0;
}
