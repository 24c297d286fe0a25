/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything at once, for as long as $SOAK says (90s, 10m, 1h): two streams with several publishers
 * of all levels and sizes and followers of all isolations; publishers, subscribers and the daemon
 * are killed and stopped, rings grow and shrink, segments are deleted, the disk fails, fills and
 * empties. After each of these all shards serve within a second again, which a probe sees that
 * publishes all the time. Every round ends with a look at the account of all that was acknowledged,
 * and at what the daemon, its keeper and this process hold: memory, fds and threads stay what they
 * were.
 */
/* TEST_TIMEOUT=400 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "persist/file.h"
#include "tests/crowd.h"
#include "tests/fault_file.h"
#include "tests/heartbeat.h"
#include "tests/stalled.h"

enum {
	SECONDS = 24,
	ROUND_SECONDS = 10, /* and whatever the end of a round takes */
	ROUND_SECONDS_SHORT = 8,
	TROUBLES_MIN = 10, /* in a round */
	TROUBLES_MAX = 200,
	CROWDS = 2,
	PUBLISHERS = 3, /* of each stream, and the steady one */
	RECORDS = 1 << 16,
	PROBE = 1 + PUBLISHERS, /* its number as a writer */
	CALM_ROUNDS = 4,        /* after so many the daemon is killed as well, in one round */
	CALM_ROUNDS_SHORT = 1,  /* without $SOAK */
	SERVICE_MS = 1000,      /* after a trouble, and what the machine stood still */
	SERVICE_SHORT_MS = 5000,
	/* What may grow between two rounds at rest, in all. */
	SLACK_KIB = 6 << 10,
	SLACK_FDS = 4,
	SLACK_THREADS = 8, /* workers begin when they are first needed, and the kernel has some */
};

static const char *const names[CROWDS] = { "kept", "short" };
static const struct account_terms terms[CROWDS] = {
	{ .gaps = { 0 } },
	{ .gaps = { 1u << LEAT_GAP_RETENTION, 1u << LEAT_GAP_RETENTION,
		    1u << LEAT_GAP_RETENTION } },
};

static struct crowd *crowds[CROWDS];
static struct harness_bus *bus;
static uint64_t seed;
static pid_t publishers[CROWDS][PUBLISHERS], probes[CROWDS];
static struct fault_file *fault;
static struct {
	uint64_t daemons, rounds, tried, told;
} done;

static uint64_t pick(uint64_t n)
{
	return harness_random(&seed) % n;
}

static void pause_ms(uint64_t ms)
{
	harness_pause_ns(ms * 1000000);
}

static uint64_t calm_rounds(void)
{
	return getenv("SOAK") ? CALM_ROUNDS : CALM_ROUNDS_SHORT;
}

static uint64_t round_ns(void)
{
	return (getenv("SOAK") ? ROUND_SECONDS : ROUND_SECONDS_SHORT) * 1000000000ull;
}

static uint64_t soak_seconds(void)
{
	const char *given = getenv("SOAK");
	char *unit;
	uint64_t n;

	if (!given || !*given)
		return SECONDS;
	n = strtoull(given, &unit, 10);
	must(n > 0 && strchr("smh", *unit) && (!*unit || !unit[1]), "SOAK=%s: say 90s, 10m, 1h",
	     given);
	return n * (*unit == 'm' ? 60 : *unit == 'h' ? 3600 : 1);
}

/* ---- what a process holds ---- */

struct holdings {
	pid_t pid;
	uint64_t kib;
	uint64_t fds;
	uint64_t threads;
};

static uint64_t count_entries(pid_t pid, const char *what)
{
	char path[64];
	uint64_t n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, what);
	dir = opendir(path);
	must(dir, "%s: %s", path, strerror(errno));
	for (struct dirent *entry; (entry = readdir(dir));)
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n;
}

static struct holdings holdings_of(pid_t pid)
{
	struct holdings holdings = { .pid = pid };
	unsigned long long kib;
	char path[64], line[256];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	must(file, "%s: %s", path, strerror(errno));
	/* Rings are shared memory and come and go. */
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "RssAnon: %llu", &kib) == 1)
			holdings.kib = kib;
	fclose(file);
	holdings.fds = count_entries(pid, "fd");
	holdings.threads = count_entries(pid, "task");
	return holdings;
}

/* As it was when it was looked at first, within what is allowed; what was freed is kept by a
 * sanitizer. */
static bool stays(const struct holdings *now, const struct holdings *first)
{
	const char *variant = getenv("LEAT_VARIANT");
	bool is_sanitized = variant && strstr(variant, "san");

	return (is_sanitized || now->kib <= first->kib + SLACK_KIB) &&
	       now->fds <= first->fds + SLACK_FDS && now->threads <= first->threads + SLACK_THREADS;
}

struct watched {
	const char *name;
	struct holdings first;
	struct holdings now;
};

/* Sessions end and threads rest a moment after what they were there for. */
static bool is_flat(void *arg)
{
	struct watched *watched = arg;

	watched->now = holdings_of(watched->now.pid);
	return stays(&watched->now, &watched->first);
}

static void look_at(struct watched *watched, const char *name, pid_t pid)
{
	watched->name = name;
	watched->now.pid = pid;
	/* A new process is measured against itself. */
	if (watched->first.pid != pid)
		watched->first = holdings_of(pid);
	must(harness_until(is_flat, watched, 20),
	     "%s holds more than at first: %llu KiB (%llu), %llu fds (%llu), %llu threads (%llu)",
	     name, (unsigned long long)watched->now.kib, (unsigned long long)watched->first.kib,
	     (unsigned long long)watched->now.fds, (unsigned long long)watched->first.fds,
	     (unsigned long long)watched->now.threads, (unsigned long long)watched->first.threads);
}

/* ---- publishers ---- */

static void start_publisher(int c, int i)
{
	struct crowd_part part = {
		.crowd = crowds[c],
		.writer = 1 + (unsigned)i,
		.n_steps = UINT64_MAX,
		.pause_us = 10000,
		.seed = harness_random(&seed),
	};

	publishers[c][i] = harness_fork(crowd_publish, &part);
}

static void start_probe(int c)
{
	struct crowd_part part = {
		.crowd = crowds[c], .writer = PROBE, .pause_us = 5000, .seed = harness_random(&seed)
	};

	probes[c] = harness_fork(crowd_probe, &part);
}

static void kill_publisher(void)
{
	int c = (int)pick(CROWDS), i = (int)pick(PUBLISHERS), status;

	/* One that gave up by itself is seen here too. */
	kill(publishers[c][i], SIGKILL);
	status = harness_reap(publishers[c][i], 60);
	must(WIFSIGNALED(status), "a publisher ended with %#x", (unsigned)status);
	start_publisher(c, i);
}

/* Publishers and followers alike, longer than a claim may be held. */
static void stop_somebody(void)
{
	struct crowd *crowd = crowds[pick(CROWDS)];
	pid_t pid = pick(2) ? crowd->reader_pids[pick(CROWD_READERS)]
			    : publishers[crowd == crowds[1]][pick(PUBLISHERS)];

	must(kill(pid, SIGSTOP) == 0, "SIGSTOP: %s", strerror(errno));
	pause_ms(100 + pick(400));
	must(kill(pid, SIGCONT) == 0, "SIGCONT: %s", strerror(errno));
}

/* ---- subscribers that come and go ---- */

static int read_for_a_while(void *arg)
{
	struct crowd *crowd = *(struct crowd **)arg;
	struct leat_bus *handle = harness_connect(&crowd->bus);
	struct leat_subscriber *subscriber = harness_subscriber(handle, crowd->stream);
	struct leat_message message;

	for (unsigned i = 0;; i++) {
		int r = leat_next(subscriber, 100000000, &message);

		must(r == 1 || r == -ETIMEDOUT, "a late subscriber: %s",
		     leat_subscriber_detail(subscriber));
		if (i % 50 == 0)
			pause_ms(5);
	}
}

static void read_late(void)
{
	struct crowd *crowd = crowds[pick(CROWDS)];
	pid_t pid = harness_fork(read_for_a_while, &crowd);
	int status;

	pause_ms(50 + pick(300));
	kill(pid, SIGKILL);
	status = harness_reap(pid, 20);
	must(WIFSIGNALED(status), "a late subscriber ended with %#x", (unsigned)status);
}

/* ---- the daemon, its disk, its rings ---- */

static void kill_daemon(void)
{
	pid_t pid = harness_daemon_pid(bus);

	must(pid != bus->pid && kill(pid, SIGKILL) == 0, "kill: %s", strerror(errno));
	done.daemons++;
}

static void stop_daemon(void)
{
	pid_t pid = harness_daemon_pid(bus);

	must(kill(pid, SIGSTOP) == 0, "SIGSTOP: %s", strerror(errno));
	pause_ms(50 + pick(400));
	must(kill(pid, SIGCONT) == 0, "SIGCONT: %s", strerror(errno));
}

static void fill_disk(void)
{
	static char zeros[64 << 10];
	char path[128];
	int fd;

	if (!(bus->flags & HARNESS_DISK))
		return;
	snprintf(path, sizeof(path), "%s/data/filler", bus->dir);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	must(fd >= 0, "%s: %s", path, strerror(errno));
	while (write(fd, zeros, sizeof(zeros)) > 0)
		;
	must(errno == ENOSPC, "filling the disk: %s", strerror(errno));
	close(fd);
	pause_ms(100 + pick(900));
	must(unlink(path) == 0, "%s: %s", path, strerror(errno));
}

/* Calls that write fail, for one stream or for all, a few or all for a while. */
static void fail_disk(void)
{
	static const uint32_t kinds[] = {
		1u << FILE_WRITE,    1u << FILE_FDATASYNC,
		1u << FILE_FSYNC,    1u << FILE_ALLOCATE,
		1u << FILE_RENAME,   1u << FILE_UNLINK,
		1u << FILE_TRUNCATE, 1u << FILE_WRITE | 1u << FILE_FDATASYNC,
	};
	static const uint32_t errors[] = { EIO, ENOSPC, EDQUOT, EROFS };
	static const char *const paths[] = { "", "/kept/", "/short/" };
	bool for_a_while = pick(2);

	strcpy(fault->path, paths[pick(ARRAY_LEN(paths))]);
	store_relaxed(&fault->error, errors[pick(ARRAY_LEN(errors))]);
	store_relaxed(&fault->one_in, 1 + (uint32_t)pick(3));
	store_relaxed(&fault->left, for_a_while ? UINT32_MAX : 1 + (uint32_t)pick(6));
	store_release(&fault->kinds, kinds[pick(ARRAY_LEN(kinds))]);
	pause_ms(pick(for_a_while ? 500 : 60));
	store_release(&fault->kinds, 0);
}

/* What the daemon answers depends on what else happens to it. */
static void change_stream(void)
{
	static const char *const changes[][2] = {
		{ "ring", "64K" },    { "ring", "128K" }, { "ring", "256K" },
		{ "sync", "always" }, { "sync", "20ms" },
	};
	struct leat_bus *handle = harness_connect(bus);
	const char *const *change = changes[pick(ARRAY_LEN(changes))];
	int r = leat_stream_alter(handle, names[pick(CROWDS)], change[0], change[1]);

	must(r == 0 || r == -ENOTCONN || r == -ENOSPC || r == -EAGAIN || r == -ETIMEDOUT ||
		     r == -EINVAL,
	     "%s=%s: %s", change[0], change[1], leat_detail(handle));
	leat_close(handle);
}

static struct trouble {
	const char *name;
	void (*make)(void);
	bool with_daemon; /* only in rounds in which the daemon is killed */
	uint64_t n;
	uint64_t longest_ns; /* until all was served again */
	uint64_t frozen_ns;  /* of that the machine stood still */
} troubles[] = {
	{ "a publisher killed", kill_publisher, false, 0, 0, 0 },
	{ "somebody stopped", stop_somebody, false, 0, 0, 0 },
	{ "a late subscriber", read_late, false, 0, 0, 0 },
	{ "a full disk", fill_disk, false, 0, 0, 0 },
	{ "a failing disk", fail_disk, false, 0, 0, 0 },
	{ "a stream altered", change_stream, false, 0, 0, 0 },
	{ "the daemon stopped", stop_daemon, false, 0, 0, 0 },
	{ "the daemon killed", kill_daemon, true, 0, 0, 0 },
};

static void show_stall(int c)
{
	pid_t pids[] = { bus->pid, probes[c], crowds[c]->steady_pid };

	stalled_show(bus, pids, ARRAY_LEN(pids));
}

/* From now on, when the trouble is over, until what is published becomes durable everywhere. */
static void wait_for_service(struct trouble *trouble)
{
	uint64_t service_ns = (getenv("SOAK") ? SERVICE_MS : SERVICE_SHORT_MS) * 1000000ull;
	uint64_t begin = harness_now_ns(), frozen = heartbeat_lost_ns(), took;

	for (int c = 0; c < CROWDS; c++) {
		bool served = crowd_is_served(crowds[c], 60);

		if (!served)
			show_stall(c);
		must(served, "%s is not served after %s", names[c], trouble->name);
	}
	took = harness_now_ns() - begin;
	trouble->n++;
	if (took <= trouble->longest_ns)
		return;
	heartbeat_settle();
	frozen = heartbeat_lost_ns() - frozen;
	if (took > frozen + service_ns)
		show_stall(0);
	must(took <= frozen + service_ns,
	     "it takes %llu ms until all is served again after %s, %llu of them on a machine that "
	     "stands still",
	     (unsigned long long)took / 1000000, trouble->name,
	     (unsigned long long)frozen / 1000000);
	trouble->longest_ns = took;
	trouble->frozen_ns = frozen;
}

/* $SOAK_ONLY: only troubles whose names hold it. */
static bool is_meant(const struct trouble *trouble)
{
	const char *only = getenv("SOAK_ONLY");

	return !only || strstr(trouble->name, only);
}

static void do_something(bool also_daemon)
{
	struct trouble *trouble;

	do
		trouble = &troubles[pick(ARRAY_LEN(troubles))];
	while ((trouble->with_daemon && !also_daemon) || !is_meant(trouble));
	trouble->make();
	wait_for_service(trouble);
	pause_ms(pick(100));
}

/* ---- rounds ---- */

/* Mapped by each daemon as well, for as long as this process holds its fd. */
static void make_fault(void)
{
	int fd = memfd_create("fault", MFD_CLOEXEC);
	char path[64];

	must(fd >= 0 && ftruncate(fd, sizeof(*fault)) == 0, "memfd: %s", strerror(errno));
	fault = mmap(NULL, sizeof(*fault), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(fault != MAP_FAILED, "mmap: %s", strerror(errno));
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
	setenv("LEAT_FAULT_FILE", path, 1);
}

static void make_crowds(void)
{
	char data[112];

	bus = harness_shared(sizeof(*bus));
	setenv("LEAT_KEEPER_EAGER", "1", 1);
	harness_bus_start(bus, HARNESS_KEEP | HARNESS_TESTPOINTS | HARNESS_DISK);
	if (!(bus->flags & HARNESS_DISK))
		printf("no disk of its own can be had here: it never fills\n");
	snprintf(data, sizeof(data), "%s/data", bus->dir);
	heartbeat_start(data);
	for (int c = 0; c < CROWDS; c++) {
		struct crowd *crowd = harness_shared(sizeof(*crowd));

		crowd->bus = *bus;
		crowd->n_shards = 2;
		crowd->ring_len = 64 << 10;
		crowd->pause_us = 3000;
		crowd->claim_timeout_ns = 200000000;
		/* Retention deletes some every second. */
		crowd->segment_len = c == 1 ? 256 << 10 : 1 << 20;
		crowd->retain_len = c == 1 ? 1 << 20 : 0;
		crowd->faults = true;
		strcpy(crowd->stream, names[c]);
		crowd_init(crowd, 1 + PUBLISHERS + 1, RECORDS);
		crowds[c] = crowd;
	}
}

static bool disk_has_room(void *arg)
{
	struct statvfs fs;

	must(statvfs(arg, &fs) == 0, "statvfs: %s", strerror(errno));
	return fs.f_bavail > fs.f_blocks * 3 / 4;
}

static void close_stream(int c)
{
	struct harness_output output;
	uint64_t tried, told;

	store_release(&crowds[c]->stop, 1);
	for (int i = 0; i < PUBLISHERS; i++)
		harness_reap_ok(publishers[c][i], 90, "a publisher");
	harness_reap_ok(probes[c], 90, "a probe");
	crowd_end(crowds[c]);
	harness_run(bus, NULL, &output, (const char *[]){ "leat", "verify", names[c], NULL });
	must(output.status == 0, "verify %s: %s%s", names[c], output.out, output.err);
	harness_output_deinit(&output);
	crowd_close(crowds[c], &terms[c]);
	account_count(crowds[c]->account, &tried, &told);
	done.tried += tried;
	done.told += told;
}

/* By time; by count as well, so that each round does something on a slow machine; and the first not
 * before a call on files has failed, which is up to chance. */
static bool is_round_over(int n, uint64_t begin)
{
	if (n < TROUBLES_MIN || harness_now_ns() - begin < round_ns())
		return false;
	return load_relaxed(&fault->n_hit) > 0 || n >= TROUBLES_MAX;
}

static void play_round(void)
{
	bool also_daemon = done.rounds % (calm_rounds() + 1) == calm_rounds();
	uint64_t begin = harness_now_ns();
	char data[112];

	for (int c = 0; c < CROWDS; c++) {
		crowds[c]->seed = harness_random(&seed);
		crowd_open(crowds[c]);
		for (int i = 0; i < PUBLISHERS; i++)
			start_publisher(c, i);
		start_probe(c);
	}
	for (int n = 0; !is_round_over(n, begin); n++)
		do_something(also_daemon);
	for (int c = 0; c < CROWDS; c++)
		close_stream(c);
	snprintf(data, sizeof(data), "%s/data", bus->dir);
	must(!(bus->flags & HARNESS_DISK) || harness_until(disk_has_room, data, 20),
	     "deleted streams still take their room");
	done.rounds++;
}

static void report(const struct watched watched[], int n)
{
	printf("%llu rounds; %llu records tried, %llu acknowledged, all there\n",
	       (unsigned long long)done.rounds, (unsigned long long)done.tried,
	       (unsigned long long)done.told);
	for (size_t i = 0; i < ARRAY_LEN(troubles); i++)
		printf("  %s %llu times: served again after %llu ms at most (the machine stood "
		       "still for %llu)\n",
		       troubles[i].name, (unsigned long long)troubles[i].n,
		       (unsigned long long)troubles[i].longest_ns / 1000000,
		       (unsigned long long)troubles[i].frozen_ns / 1000000);
	for (int i = 0; i < n; i++)
		printf("  %s: %llu KiB (%llu at first), %llu fds (%llu), %llu threads (%llu)\n",
		       watched[i].name, (unsigned long long)watched[i].now.kib,
		       (unsigned long long)watched[i].first.kib,
		       (unsigned long long)watched[i].now.fds,
		       (unsigned long long)watched[i].first.fds,
		       (unsigned long long)watched[i].now.threads,
		       (unsigned long long)watched[i].first.threads);
	fflush(stdout);
}

START_TEST(whatever_happens_nothing_is_lost_and_nothing_grows)
{
	uint64_t end = harness_now_ns() + soak_seconds() * 1000000000ull;
	struct watched watched[3] = { 0 };

	seed = harness_seed();
	make_fault();
	make_crowds();
	/* At least until the daemon was killed and a round came after that. */
	while (harness_now_ns() < end || done.rounds < calm_rounds() + 2) {
		uint64_t killed = done.daemons;
		pid_t pid = harness_daemon_pid(bus);

		play_round();
		must(done.daemons != killed || harness_daemon_pid(bus) == pid,
		     "the daemon ended by itself");
		look_at(&watched[0], "the daemon", harness_daemon_pid(bus));
		look_at(&watched[1], "the keeper", bus->pid);
		look_at(&watched[2], "this process", getpid());
		report(watched, 3);
	}
	must(load_relaxed(&fault->n_hit) > 0, "no call on files was made to fail");
	printf("%u calls on files failed\n", load_relaxed(&fault->n_hit));
	harness_bus_stop(bus);
	/* libcheck counts a case's microseconds in an int, and calls one that took an hour failed
	 * because it took less than none. Who exits is not asked. */
	exit(EXIT_SUCCESS);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("stress_soak");

	harness_add(suite, "soak", whatever_happens_nothing_is_lost_and_nothing_grows,
		    getenv("SOAK") ? 1e7 : 390);
	return harness_main(suite);
}
