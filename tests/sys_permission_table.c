/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who can do what, as tables that can be held against DESIGN.md, sections 1 and 3, against
 * daemon/PROTOCOL.md and against leat(7): each line is tried by a process of that kind, and has to
 * come out as its letters say, allowed or refused. The daemon runs as a user of its own, as it does
 * when systemd has started it. Needs root, to become all of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "shm/atomic.h"
#include "tests/harness.h"
#include "tests/raw.h"

/*
 * The kinds, by their letters in the tables:
 *
 *   n  nobody: a user that the stream's mode gives nothing
 *   s  subscriber: in the group of a stream with mode 0640
 *   p  publisher: in the group of a stream with mode 0620
 *   S  the subscriber, as root in a user namespace of its own
 *   P  the publisher, likewise
 *   d  the daemon's own user
 */
static const char kinds[] = "nspSPd";

static const struct harness_user nobody = { .uid = 65534, .gid = 65534 };
static const struct harness_user member = { .uid = 64002, .gid = 64002, .group = 64100 };
static const struct harness_user daemon_user = { .uid = HARNESS_DAEMON_UID,
						 .gid = HARNESS_DAEMON_UID };

static struct harness_bus bus;
static pid_t daemon_pid;

/* ---- what is asked of the daemon ---- */

/* %s is the stream. */
static const struct {
	const char *allowed;
	const char *request;
} requests[] = {
	/* everybody who can connect */
	{ "nspSPd", "{\"op\":\"hello\",\"version\":1,\"client\":\"again\"}" },
	{ "nspSPd", "{\"op\":\"list\"}" },
	{ "nspSPd", "{\"op\":\"describe\",\"stream\":\"%s\"}" },
	{ "nspSPd", "{\"op\":\"stat\",\"stream\":\"%s\"}" },
	{ "nspSPd", "{\"op\":\"create\",\"stream\":\"own\",\"options\":{\"ring\":65536}}" },
	{ "nspSPd", "{\"op\":\"remove\",\"stream\":\"own\"}" },
	/* read */
	{ ".s.S.d", "{\"op\":\"attach\",\"stream\":\"%s\",\"shard\":0,\"role\":\"subscribe\"}" },
	{ ".s.S.d", "{\"op\":\"segments\",\"stream\":\"%s\",\"shard\":0,\"position\":0}" },
	{ ".s.S.d",
	  "{\"op\":\"checkpoint\",\"stream\":\"%s\",\"name\":\"c\",\"positions\":[[0,0]]}" },
	{ ".s.S.d", "{\"op\":\"checkpoint-get\",\"stream\":\"%s\",\"name\":\"c\"}" },
	{ ".s.S.d", "{\"op\":\"checkpoint-remove\",\"stream\":\"%s\",\"name\":\"c\"}" },
	/* write */
	{ "..p.Pd", "{\"op\":\"attach\",\"stream\":\"%s\",\"shard\":0,\"role\":\"publish\"}" },
	{ "..p.Pd", "{\"op\":\"sync\",\"stream\":\"%s\",\"shard\":0}" },
	/* read or write */
	{ ".spSPd", "{\"op\":\"attach\",\"stream\":\"%s\",\"shard\":0,\"role\":\"monitor\"}" },
	/* administer */
	{ ".....d", "{\"op\":\"set\",\"stream\":\"%s\",\"key\":\"full\",\"value\":\"block\"}" },
	{ ".....d", "{\"op\":\"set\",\"stream\":\"%s\",\"key\":\"ring\",\"value\":\"64K\"}" },
	{ ".....d", "{\"op\":\"create\",\"stream\":\"given\",\"options\":"
		    "{\"ring\":65536,\"owner\":\"0\"}}" },
	{ ".....d", "{\"op\":\"remove\",\"stream\":\"given\"}" },
	/* nobody: the slot is another process' */
	{ "......", "{\"op\":\"detach\",\"stream\":\"%s\",\"shard\":0,\"slot\":0}" },
	{ "......", "{\"op\":\"attach\",\"stream\":\"%s\",\"shard\":0,\"role\":\"root\"}" },
};

/* ---- what an attach gives: DESIGN section 3 ---- */

static const struct {
	const char *name;
	const char *subscribe; /* R, W (and R), or - for no fd at all */
	const char *publish;
	const char *monitor;
} regions[] = {
	{ "ring", "R", "W", "-" },
	{ "publish", "R", "W", "R" },
	{ "govern", "R", "R", "R" },
	{ "wait", "W", "W", "-" },
};

/* ---- what is done with an fd of memory or of a segment ---- */

enum {
	LEN = 4096
};

static bool done(int r)
{
	return r >= 0;
}

static bool map(int fd, int prot)
{
	void *p = mmap(NULL, LEN, prot, MAP_SHARED, fd, 0);

	return p != MAP_FAILED && munmap(p, LEN) == 0;
}

static bool try_map_read(int fd)
{
	return map(fd, PROT_READ);
}

static bool try_map_write(int fd)
{
	return map(fd, PROT_READ | PROT_WRITE);
}

static bool try_protect(int fd)
{
	void *p = mmap(NULL, LEN, PROT_READ, MAP_SHARED, fd, 0);

	return p != MAP_FAILED && mprotect(p, LEN, PROT_READ | PROT_WRITE) == 0;
}

static bool try_remove(int fd)
{
	void *p = mmap(NULL, LEN, PROT_READ, MAP_SHARED, fd, 0);

	return p != MAP_FAILED && madvise(p, LEN, MADV_REMOVE) == 0;
}

static bool try_read(int fd)
{
	char c;

	return done((int)pread(fd, &c, 1, LEN - 1));
}

static bool try_write(int fd)
{
	return done((int)pwrite(fd, "", 1, LEN - 1));
}

static bool try_punch(int fd)
{
	return done(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, LEN / 2, LEN / 2));
}

static bool try_grow(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 &&
	       (done(ftruncate(fd, st.st_size * 2)) || done(fallocate(fd, 0, st.st_size, LEN)));
}

static bool try_shrink(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && done(ftruncate(fd, st.st_size / 2));
}

static bool again(int fd, int flags)
{
	char path[64];
	int r;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = open(path, flags | O_CLOEXEC);
	return r >= 0 && close(r) == 0;
}

static bool try_open_write(int fd)
{
	return again(fd, O_RDWR) || again(fd, O_WRONLY);
}

static bool try_open_read(int fd)
{
	return again(fd, O_RDONLY);
}

static bool try_chmod(int fd)
{
	return done(fchmod(fd, 0600));
}

static bool try_chown(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 &&
	       done(fchown(fd, st.st_uid == getuid() ? 1 : getuid(), getgid()));
}

static bool try_attribute(int fd)
{
	return done(fsetxattr(fd, "user.mine", "1", 1, 0));
}

static bool try_lease(int fd)
{
	return done(fcntl(fd, F_SETLEASE, F_RDLCK));
}

static bool try_seal(int fd)
{
	static const int seals[] = { F_SEAL_WRITE, F_SEAL_FUTURE_WRITE, F_SEAL_SHRINK, F_SEAL_GROW,
				     F_SEAL_SEAL };
	bool any = false;

	for (size_t i = 0; i < sizeof(seals) / sizeof(seals[0]); i++)
		any |= done(fcntl(fd, F_ADD_SEALS, seals[i]));
	return any;
}

/*
 * Letters here: r has been given it to read, w to read and write; R and W the same as root in a
 * user namespace; d is the daemon's user, who has been given it to read. ? is not promised.
 */
static const char holders[] = "rwRWd";

static const struct {
	const char *memory;  /* an fd of the four regions */
	const char *segment; /* of a file that holds the log: r, R and d have one */
	const char *what;
	bool (*attempt)(int fd);
} operations[] = {
	{ "rwRWd", "r.R.d", "map for reading", try_map_read },
	{ "rwRWd", "r.R.d", "read", try_read },
	{ ".w.W.", ".....", "map for writing", try_map_write },
	{ ".w.W.", ".....", "write through a mapping made for reading", try_protect },
	{ ".w.W.", ".....", "punch out by madvise", try_remove },
	{ ".w.W.", ".....", "write", try_write },
	{ ".w.W.", ".....", "punch a hole", try_punch },
	{ ".....", ".....", "make longer", try_grow },
	{ ".....", ".....", "make shorter", try_shrink },
	{ ".....", ".....", "seal", try_seal },
	{ "....d", "....d", "open again for writing", try_open_write },
	{ "....d", "....d", "open again for reading", try_open_read },
	{ "....d", "....d", "change the mode", try_chmod },
	{ ".....", ".....", "give to somebody else", try_chown },
	{ "....?", "....?", "hang an attribute on it", try_attribute },
	{ "....?", "....?", "hold a lease on it", try_lease },
};

/* ---- what is done to the daemon itself ---- */

static bool open_in(const char *dir, const char *name, int flags)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, flags | O_CLOEXEC, 0600);
	return fd >= 0 && close(fd) == 0;
}

static bool in_proc(const char *name, int flags)
{
	char dir[32];

	snprintf(dir, sizeof(dir), "/proc/%d", (int)daemon_pid);
	return open_in(dir, name, flags);
}

static bool try_signal(void)
{
	return kill(daemon_pid, 0) == 0;
}

static bool try_trace(void)
{
	if (ptrace(PTRACE_SEIZE, daemon_pid, NULL, NULL) < 0)
		return false;
	/* It goes on when we end. */
	return true;
}

static bool try_memory(void)
{
	return in_proc("mem", O_RDWR);
}

static bool try_its_fds(void)
{
	return in_proc("fd", O_RDONLY | O_DIRECTORY);
}

static bool try_take_fd(void)
{
	int pidfd = (int)syscall(SYS_pidfd_open, daemon_pid, 0);

	return pidfd >= 0 && syscall(SYS_pidfd_getfd, pidfd, 1, 0) >= 0;
}

static bool try_peek(void)
{
	char buf[8];
	struct iovec local = { .iov_base = buf, .iov_len = 8 };
	struct iovec remote = { .iov_base = (void *)(uintptr_t)LEN, .iov_len = 8 };

	/* Whoever may look is told that nothing lies there. */
	return process_vm_readv(daemon_pid, &local, 1, &remote, 1, 0) >= 0 || errno == EFAULT;
}

static bool try_limits(void)
{
	struct rlimit limit;

	return prlimit(daemon_pid, RLIMIT_NOFILE, NULL, &limit) == 0 &&
	       prlimit(daemon_pid, RLIMIT_NOFILE, &limit, NULL) == 0;
}

static bool try_nice(void)
{
	return setpriority(PRIO_PROCESS, (id_t)daemon_pid, 0) == 0;
}

static bool try_affinity(void)
{
	cpu_set_t set;

	return sched_getaffinity(daemon_pid, sizeof(set), &set) == 0 &&
	       sched_setaffinity(daemon_pid, sizeof(set), &set) == 0;
}

static bool try_data(void)
{
	return open_in(bus.dir, "data/catalogue.db", O_RDONLY) ||
	       open_in(bus.dir, "data", O_RDONLY | O_DIRECTORY);
}

static bool try_run(void)
{
	return open_in(bus.dir, "run/mine", O_WRONLY | O_CREAT);
}

static bool try_socket(void)
{
	char to[128];

	snprintf(to, sizeof(to), "%s/run/away", bus.dir);
	return rename(bus.sock, to) == 0 && rename(to, bus.sock) == 0;
}

static const struct {
	const char *allowed; /* letters as of requests; ? for d: not promised */
	const char *what;
	bool (*attempt)(void);
} attempts[] = {
	{ ".....d", "send it a signal", try_signal },
	{ ".....?", "trace it", try_trace },
	{ ".....?", "open its memory", try_memory },
	{ ".....?", "read its memory", try_peek },
	{ ".....?", "list its fds", try_its_fds },
	{ ".....?", "take one of its fds", try_take_fd },
	{ ".....?", "set its limits", try_limits },
	{ ".....d", "set its priority", try_nice },
	{ ".....d", "set its processors", try_affinity },
	{ ".....d", "open its data", try_data },
	{ ".....d", "put a file beside its socket", try_run },
	{ ".....d", "move its socket away", try_socket },
};

/* ---- becoming one of them ---- */

static void write_proc(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	must(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s: %s", path,
	     strerror(errno));
	close(fd);
}

/* Root there, with every capability that a namespace can give. */
static void enter_namespace(const struct harness_user *user)
{
	char text[64];

	must(unshare(CLONE_NEWUSER) == 0, "unshare: %s", strerror(errno));
	must(prctl(PR_SET_DUMPABLE, 1) == 0, "PR_SET_DUMPABLE: %s", strerror(errno));
	write_proc("/proc/self/setgroups", "deny");
	snprintf(text, sizeof(text), "0 %u 1", (unsigned)user->uid);
	write_proc("/proc/self/uid_map", text);
	snprintf(text, sizeof(text), "0 %u 1", (unsigned)user->gid);
	write_proc("/proc/self/gid_map", text);
	must(getuid() == 0, "not root in the namespace");
}

static void become(char kind)
{
	const struct harness_user *user = kind == 'n'   ? &nobody
					  : kind == 'd' ? &daemon_user
							: &member;

	harness_become(user);
	if (kind == 'S' || kind == 'P')
		enter_namespace(user);
}

static const char *stream_of(char kind)
{
	return kind == 'p' || kind == 'P' ? "dropbox" : "guarded";
}

static bool publishes(char kind)
{
	return kind == 'p' || kind == 'P';
}

/* What came out is what the letters say. */
static void judge(char kind, const char *letters, const char *what, bool allowed)
{
	bool wanted = strchr(letters, kind) != NULL;

	must(allowed == wanted, "'%c' %s: %s", kind, allowed ? "can" : "cannot", what);
}

/* ---- one process of a kind ---- */

static int make_requests(void *arg)
{
	const char *kind = arg;
	int fd;

	become(*kind);
	fd = raw_hello(&bus);
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		struct raw_reply reply;
		char text[256];

		/* Only what is written above is a format. */
		snprintf(text, sizeof(text), requests[i].request, stream_of(*kind));
		raw_request(fd, text, &reply);
		judge(*kind, requests[i].allowed, text, raw_ok(&reply));
		must(raw_ok(&reply) || reply.n_fds == 0, "a refusal came with fds: %s", text);
		must(raw_ok(&reply) || raw_errno(&reply) > 0, "a refusal without errno: %s", text);
		raw_end(&reply);
		/* Whatever may be asked: an fd beside it is none of the daemon's business. */
		raw_request_fd(fd, text, fd, &reply);
		must(!raw_ok(&reply) && reply.n_fds == 0, "taken with an fd beside it: %s", text);
		raw_end(&reply);
	}
	close(fd);
	return 0;
}

static void try_operations(int fd, char holder, const char *name, bool segment)
{
	char what[128];

	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
		const char *letters = segment ? operations[i].segment : operations[i].memory;
		bool allowed = operations[i].attempt(fd);

		snprintf(what, sizeof(what), "%s: %s", name, operations[i].what);
		if (holder != 'd' || !strchr(letters, '?'))
			judge(holder, letters, what, allowed);
	}
}

/* The letter of `holders` for a kind that was given the region to read, or to read and write. */
static char holder_of(char kind, char access)
{
	if (kind == 'S' || kind == 'P')
		return access;
	if (kind == 'd')
		return access == 'W' ? 'w' : 'd';
	return access == 'W' ? 'w' : 'r';
}

static void check_region(const struct raw_reply *reply, char kind, const char *name, char access)
{
	int fd = raw_fd(reply, name);

	must((fd >= 0) == (access != '-'), "'%c' %s a region: %s", kind,
	     fd >= 0 ? "is given" : "is not given", name);
	if (fd < 0)
		return;
	must((fcntl(fd, F_GETFL) & O_ACCMODE) == (access == 'W' ? O_RDWR : O_RDONLY),
	     "'%c' has %s with the wrong access", kind, name);
	/* With its own user's right to reopen it, the daemon's user is told apart by a read. */
	if (kind != 'd' || access == 'R')
		try_operations(fd, holder_of(kind, access), name, false);
}

static int try_role(const char *kind, const char *role)
{
	struct raw_reply reply;
	char text[160];
	int fd;

	become(*kind);
	fd = raw_hello(&bus);
	snprintf(text, sizeof(text),
		 "{\"op\":\"attach\",\"stream\":\"%s\",\"shard\":0,\"role\":\"%s\"}",
		 stream_of(*kind), role);
	raw_request(fd, text, &reply);
	must(raw_ok(&reply), "'%c' is refused: %s", *kind, text);
	for (size_t i = 0; i < sizeof(regions) / sizeof(regions[0]); i++) {
		const char *access = role[0] == 's'   ? regions[i].subscribe
				     : role[0] == 'p' ? regions[i].publish
						      : regions[i].monitor;

		check_region(&reply, *kind, regions[i].name, *access);
	}
	must((raw_fd(&reply, "kick") >= 0) == (role[0] == 'p'), "kick is for publishers");
	raw_end(&reply);
	close(fd);
	return 0;
}

static int use_regions(void *arg)
{
	const char *kind = arg;

	return try_role(kind, publishes(*kind) ? "publish" : "subscribe");
}

static int use_as_monitor(void *arg)
{
	return try_role(arg, "monitor");
}

static int use_segments(void *arg)
{
	const char *kind = arg;
	struct raw_reply reply;
	int fd;

	become(*kind);
	fd = raw_hello(&bus);
	raw_request(fd, "{\"op\":\"segments\",\"stream\":\"guarded\",\"shard\":0,\"position\":0}",
		    &reply);
	must(raw_ok(&reply) && reply.n_fds > 0, "no segments for '%c'", *kind);
	for (size_t i = 0; i < reply.n_fds; i++)
		try_operations(reply.fds[i], holder_of(*kind, 'R'), "segment", true);
	raw_end(&reply);
	close(fd);
	return 0;
}

static int attack_daemon(void *arg)
{
	const char *kind = arg;

	become(*kind);
	for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
		bool allowed = attempts[i].attempt();

		if (*kind != 'd' || !strchr(attempts[i].allowed, '?'))
			judge(*kind, attempts[i].allowed, attempts[i].what, allowed);
	}
	return 0;
}

/* ---- cases ---- */

/* Somebody else has slot 0 of both streams. */
static int hold_slots(void *arg)
{
	struct leat_bus *handle = harness_connect(&bus);
	_Atomic int *ready = arg;

	harness_publisher(handle, "guarded");
	harness_publisher(handle, "dropbox");
	store_relaxed(ready, 1);
	/* Until it is killed. */
	return pause();
}

static bool is_ready(void *arg)
{
	return load_relaxed((_Atomic int *)arg) == 1;
}

static bool is_namespace(char kind)
{
	return kind == 'S' || kind == 'P';
}

/* Some machines have no user namespaces for ordinary users; then those two are not tried. */
static bool has_namespaces(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		harness_become(&member);
		_exit(unshare(CLONE_NEWUSER) != 0);
	}
	must(pid > 0 && waitpid(pid, &status, 0) == pid, "fork");
	if (status != 0)
		printf("no user namespaces for ordinary users here: S and P are not tried\n");
	return status == 0;
}

static void with_each(const char *which, int (*fn)(void *arg))
{
	bool namespaces = has_namespaces();
	_Atomic int *ready = harness_shared(sizeof(*ready));
	pid_t holder;

	harness_bus_start(&bus, HARNESS_PUBLIC | HARNESS_USER);
	daemon_pid = harness_daemon_pid(&bus);
	harness_reap_ok(harness_fork(raw_make_streams, &bus), 20, "making streams");
	holder = harness_fork(hold_slots, ready);
	must(harness_until(is_ready, ready, 20), "nobody holds the slots");
	for (size_t i = 0; which[i]; i++) {
		char name[2] = { which[i] };

		if (is_namespace(*name) && !namespaces)
			continue;
		harness_reap_ok(harness_fork(fn, name), 30, name);
	}
	harness_kill(holder);
	must(harness_daemon_pid(&bus) == daemon_pid, "the daemon is another one");
	harness_bus_stop(&bus);
}

START_TEST(requests_are_granted_as_the_table_says)
{
	with_each(kinds, make_requests);
}
END_TEST

START_TEST(regions_come_with_the_access_of_the_table_and_no_way_around_it)
{
	with_each("spSPd", use_regions);
}
END_TEST

START_TEST(a_monitor_has_no_records_and_nothing_to_write)
{
	with_each("spSPd", use_as_monitor);
}
END_TEST

START_TEST(segments_can_be_read_and_nothing_else)
{
	with_each("sSd", use_segments);
}
END_TEST

START_TEST(the_daemon_and_its_files_are_out_of_reach)
{
	with_each(kinds, attack_daemon);
}
END_TEST

/* A letter that is none of the kinds would let a line through unseen. */
START_TEST(the_tables_use_no_letter_that_nobody_has)
{
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		for (const char *p = requests[i].allowed; *p; p++)
			ck_assert(*p == '.' || strchr(kinds, *p));
	for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++)
		for (const char *p = attempts[i].allowed; *p; p++)
			ck_assert(*p == '.' || *p == '?' || strchr(kinds, *p));
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
		for (const char *p = operations[i].memory; *p; p++)
			ck_assert(*p == '.' || *p == '?' || strchr(holders, *p));
		for (const char *p = operations[i].segment; *p; p++)
			ck_assert(*p == '.' || *p == '?' || strchr(holders, *p));
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sys_permission_table");
	TCase *tcase = tcase_create("permission");

	if (geteuid() != 0)
		return harness_skip("needs root: it becomes several users");
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, the_tables_use_no_letter_that_nobody_has);
	tcase_add_test(tcase, requests_are_granted_as_the_table_says);
	tcase_add_test(tcase, regions_come_with_the_access_of_the_table_and_no_way_around_it);
	tcase_add_test(tcase, a_monitor_has_no_records_and_nothing_to_write);
	tcase_add_test(tcase, segments_can_be_read_and_nothing_else);
	tcase_add_test(tcase, the_daemon_and_its_files_are_out_of_reach);
	suite_add_tcase(suite, tcase);
	return harness_main(suite);
}
