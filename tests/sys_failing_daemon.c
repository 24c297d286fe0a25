/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every call that the daemon makes of the C library fails, at every place, with every errno of its
 * man page, once and from then on, while it starts, serves, stops and starts again. Nobody
 * crashes, no call of a client stands still, what was acknowledged is there, who is refused is told
 * why, and service is back when the fault has ended. See tests/fail_plan.h.
 */
/* TEST_TIMEOUT=14400 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/fail_plan.h"
#include "tests/harness.h"
#include "tests/load.h"

enum {
	RECORDS = 1 << 14,
	STEPS = 30,
	RING = 64 << 10,
	SEGMENT = 160 << 10,
	BACK_S = 20, /* on a busy machine */
	CASES = 60,  /* of `make check` */
	JOBS = 8,    /* a case waits most of the time */
};

static const uint64_t ms = 1000000;
static const uint64_t patience_ns = 800 * 1000000;
static const uint64_t give_up_ns = 2000u * 1000000; /* how long a case lets it fail */

/* Shared with the process of a case. */
struct world {
	struct fail_progress progress;
	struct harness_bus bus;
	uint64_t seed;
	uint64_t hit_ns;
	bool was_slow;   /* something took longer than anybody waits: it may be done later */
	bool lost_rings; /* the daemon did not end well, and nobody kept its rings */
};

static struct world *world;
/* Of the streams that are kept on disk. */
enum {
	DISK,
	OLD,
	N_KEPT,
};
static const char *const kept_name[N_KEPT] = { "disk", "old" };
static struct account *account[N_KEPT];
static struct account_reader *readers[N_KEPT];
static struct fail_plan plan;
static const struct fail_case *now; /* NULL: nothing fails, calls are counted */
static const char *io;
static uint32_t n_shards = 2;

/* What one life of the daemon has open; handles are NULL when they could not be had. */
struct life {
	struct leat_bus *bus;
	struct load disk;
	struct load old;
	struct leat_publisher *memory;
	struct leat_subscriber *live;
};

/* ---- steps ---- */

static bool is_hit(void)
{
	return fail_n_hit(&plan) > 0;
}

static void begin(const char *what)
{
	snprintf(world->progress.step, sizeof(world->progress.step), "%s", what);
	fetch_add_acq_rel(&world->progress.n_steps, 1);
}

/* The fault has had its time. */
static bool is_over(void)
{
	if (!is_hit())
		return false;
	if (world->hit_ns == 0)
		world->hit_ns = harness_now_ns();
	return harness_now_ns() - world->hit_ns > give_up_ns;
}

/* What came of a step: it may fail when something was made to, and then says why. */
static int judge_result(int r, const char *sentence)
{
	/* Who is slow is not at fault: standing still is noticed elsewhere. */
	if (r >= 0)
		return r;
	if (r == -ETIMEDOUT) {
		world->was_slow = true;
		return r;
	}
	must(is_hit() || world->was_slow, "%s: %s (%s), and nothing failed", world->progress.step,
	     leat_strerror(r), sentence);
	if (r != -EAGAIN)
		must(strlen(sentence) > 10, "%s: %s, without a sentence", world->progress.step,
		     leat_strerror(r));
	return r;
}

/* The sentence is asked for after the call. */
#define judge(call, sentence)                                                                      \
	({                                                                                         \
		int result = (call);                                                               \
		judge_result(result, sentence);                                                    \
	})

/* ---- the daemon ---- */

static void log_path(char *path, size_t len)
{
	snprintf(path, len, "%s/log", world->bus.dir);
}

static long log_len(void)
{
	char path[128];
	FILE *file;
	long len = 0;

	log_path(path, sizeof(path));
	file = fopen(path, "re");
	if (file && fseek(file, 0, SEEK_END) == 0)
		len = ftell(file);
	if (file)
		fclose(file);
	return len;
}

/* Whether the log says since then what went wrong. */
static void want_sentence(long since)
{
	char path[128], line[2048], last[2048] = "";
	bool says = false;
	FILE *file;

	log_path(path, sizeof(path));
	file = fopen(path, "re");
	must(file && fseek(file, since, SEEK_SET) == 0, "no log");
	while (fgets(line, sizeof(line), file)) {
		snprintf(last, sizeof(last), "%s", line);
		says = says || now->error == FAIL_SHORT || strstr(line, strerror(now->error)) ||
		       strstr(line, "memory") ||
		       /* A thread that could not be had, whatever it lacked. */
		       strstr(line, strerror(EAGAIN)) ||
		       /* SQLite has words of its own for what it was refused. */
		       strstr(line, "atalogue");
	}
	fclose(file);
	must(strlen(last) > 20, "the daemon ends without a sentence");
	must(says, "the daemon ends and does not say why: %s", last);
}

static void exec_daemon(void)
{
	char path[640], runtime[112], data[112], config[112], log[128];
	const char *build = getenv("LEAT_BUILD");
	int fd;

	snprintf(path, sizeof(path), "%s/leatd", build ? build : "build/release");
	snprintf(runtime, sizeof(runtime), "%s/run", world->bus.dir);
	snprintf(data, sizeof(data), "%s/data", world->bus.dir);
	snprintf(config, sizeof(config), "%s/config", world->bus.dir);
	log_path(log, sizeof(log));
	fd = open(config, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	dprintf(fd, "io = %s\nstop-timeout = 3s\n", io);
	close(fd);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(open("/dev/null", O_RDONLY), 0);
	dup2(fd, 1);
	dup2(fd, 2);
	fail_plan_preload(&plan);
	execl(path, "leatd", "--runtime", runtime, "--data", data, "--config", config, NULL);
	_exit(127);
}

static bool has_ended(int *ret_status)
{
	if (world->bus.pid == 0 || waitpid(world->bus.pid, ret_status, WNOHANG) == 0)
		return false;
	world->bus.pid = 0;
	store_release(&world->progress.pid, 0);
	return true;
}

static bool answers(void)
{
	struct leat_connect_options options = { .size = sizeof(options),
						.client = "looks",
						.timeout_ns = patience_ns };
	struct leat_bus *bus;

	if (leat_connect(world->bus.sock, &options, &bus) < 0)
		return false;
	leat_close(bus);
	return true;
}

/* 0: it serves. Else it has said why and ended, or has been ended because it cannot be reached. */
static int start_once(void)
{
	const struct timespec pause = { .tv_nsec = 500000 };
	long since = log_len();
	int status;
	pid_t pid;

	begin("starting the daemon");
	pid = fork();
	must(pid >= 0, "fork");
	if (pid == 0)
		exec_daemon();
	world->bus.pid = pid;
	store_release(&world->progress.pid, (uint32_t)pid);
	while (!answers()) {
		if (has_ended(&status)) {
			must(!WIFSIGNALED(status), "the daemon dies of signal %d at its start",
			     WTERMSIG(status));
			must(is_hit(), "the daemon ends at its start and nothing failed");
			must(WEXITSTATUS(status) != 0, "it did not start, and ends with 0");
			want_sentence(since);
			return -1;
		}
		if (is_over())
			return -2;
		nanosleep(&pause, NULL);
	}
	return 0;
}

/* The fault may cost this start, but not the next one. */
static void start(void)
{
	int r = start_once();

	if (r == 0)
		return;
	fail_disarm(&plan);
	begin("starting the daemon again");
	if (r == -2) {
		/* It lives and nobody gets in: now that nothing fails any more, they do. */
		for (int i = 0; i < BACK_S * 1000 && !answers(); i++)
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		must(answers(), "it cannot be reached although nothing fails any more");
		return;
	}
	must(start_once() == 0, "it does not start although nothing fails any more");
}

static void want_alive(void)
{
	int status;

	if (!has_ended(&status))
		return;
	must(!WIFSIGNALED(status), "the daemon dies of signal %d", WTERMSIG(status));
	must(false, "the daemon ends with %d while it serves", WEXITSTATUS(status));
}

static void stop(void)
{
	uint32_t n_before = fail_n_hit(&plan);
	long since = log_len();
	int status;

	want_alive();
	begin("stopping the daemon");
	must(kill(world->bus.pid, SIGTERM) == 0, "kill");
	status = harness_reap(world->bus.pid, BACK_S);
	world->bus.pid = 0;
	store_release(&world->progress.pid, 0);
	must(!WIFSIGNALED(status), "the daemon dies of signal %d when it stops", WTERMSIG(status));
	if (status == 0)
		return;
	must(fail_n_hit(&plan) > n_before, "the daemon stops with %d and nothing failed",
	     WEXITSTATUS(status));
	want_sentence(since);
	world->lost_rings = true;
}

/* ---- what a client does ---- */

static int open_stream(struct leat_bus *bus, const char *name,
		       const struct leat_stream_options *options)
{
	int r;

	begin("creating a stream");
	r = leat_stream_create(bus, name, options);
	return r == -EEXIST ? 0 : judge(r, leat_detail(bus));
}

static int create_all(struct leat_bus *bus)
{
	struct leat_stream_options options;
	int r, failed = 0;

	leat_stream_options_init(&options);
	options.ring_len = RING;
	options.segment_len = SEGMENT;
	options.n_shards = n_shards;
	r = open_stream(bus, "disk", &options);
	failed = r < 0 ? r : failed;
	options.n_shards = 1;
	options.retain_len = 512 << 10;
	r = open_stream(bus, "old", &options);
	failed = r < 0 ? r : failed;
	leat_stream_options_init(&options);
	options.ring_len = RING;
	options.memory = 1;
	r = open_stream(bus, "memory", &options);
	return r < 0 ? r : failed;
}

static struct leat_publisher *publisher(struct leat_bus *bus, const char *stream)
{
	struct leat_publisher *handle = NULL;

	begin("opening a publisher");
	judge(leat_publisher_open(bus, stream, NULL, &handle), leat_detail(bus));
	return handle;
}

static void open_load(struct life *life, struct load *load, int kept)
{
	*load = (struct load){
		.account = account[kept],
		.seed = world->seed,
		.ring_len = RING,
		.timeout_ns = patience_ns,
		.publisher = publisher(life->bus, kept_name[kept]),
	};
	if (load->publisher)
		load_init(load);
}

static void close_load(struct load *load)
{
	if (!load->publisher)
		return;
	load_deinit(load);
	load->publisher = leat_publisher_close(load->publisher);
}

static void publish(struct load *load, int n)
{
	for (int i = 0; load->publisher && i < n && !is_over(); i++) {
		begin("publishing");
		judge(load_step(load), leat_publisher_detail(load->publisher));
	}
	if (!load->publisher || is_over())
		return;
	begin("flushing");
	judge(load_flush(load, LEAT_ACK_DURABLE), leat_publisher_detail(load->publisher));
}

static void follow(struct life *life)
{
	struct leat_message message;
	int r = 1;

	while (life->live && r == 1 && !is_over()) {
		begin("reading");
		r = leat_next(life->live, 0, &message);
		judge(r == -ETIMEDOUT ? 0 : r, leat_subscriber_detail(life->live));
	}
}

static void open_life(struct life *life)
{
	struct leat_connect_options options = { .size = sizeof(options),
						.client = "test",
						.timeout_ns = patience_ns };
	struct leat_subscriber_options from;
	char detail[256] = "";

	*life = (struct life){ 0 };
	options.detail = detail;
	options.detail_len = sizeof(detail);
	begin("connecting");
	if (judge(leat_connect(world->bus.sock, &options, &life->bus), detail) < 0) {
		life->bus = NULL;
		return;
	}
	create_all(life->bus);
	open_load(life, &life->disk, DISK);
	open_load(life, &life->old, OLD);
	life->memory = publisher(life->bus, "memory");
	leat_subscriber_options_init(&from);
	from.start = LEAT_EARLIEST;
	from.name = "follows";
	begin("opening a subscriber");
	if (judge(leat_subscriber_open(life->bus, "disk", &from, &life->live),
		  leat_detail(life->bus)) < 0)
		life->live = NULL;
}

static void close_life(struct life *life)
{
	close_load(&life->disk);
	close_load(&life->old);
	life->memory = leat_publisher_close(life->memory);
	life->live = leat_subscriber_close(life->live);
	life->bus = leat_close(life->bus);
}

static void look(struct leat_bus *bus)
{
	struct leat_stream_info *info = NULL, **list = NULL;
	char *text = NULL;
	int n;

	begin("describing a stream");
	if (judge(leat_stream_describe(bus, "disk", &info), leat_detail(bus)) == 0)
		leat_stream_info_free(info);
	begin("listing streams");
	n = judge(leat_stream_list(bus, &list), leat_detail(bus));
	if (n >= 0)
		leat_stream_list_free(list, n);
	begin("statistics");
	if (judge(leat_stat_json(bus, NULL, &text), leat_detail(bus)) == 0)
		free(text);
}

/* A publisher that dies with a record half made. */
static int die_with_claim(void *arg)
{
	struct leat_record record = { .value_len = 100 };
	struct leat_connect_options options = { .size = sizeof(options),
						.timeout_ns = patience_ns };
	struct leat_publisher *handle;
	struct leat_claim claim;
	struct leat_bus *bus;

	(void)arg;
	if (leat_connect(world->bus.sock, &options, &bus) == 0 &&
	    leat_publisher_open(bus, "memory", NULL, &handle) == 0)
		leat_reserve(handle, &record, &claim);
	_exit(0);
}

static void change(struct life *life)
{
	struct leat_record record = { .value = "memory", .value_len = 6 };
	struct leat_stream_options options;
	struct leat_bus *bus = life->bus;

	begin("resizing a ring");
	judge(leat_stream_alter(bus, "disk", "ring", "128K"), leat_detail(bus));
	begin("changing retention");
	judge(leat_stream_alter(bus, "old", "retain-size", "384K"), leat_detail(bus));
	for (int i = 0; life->memory && i < 5 && !is_over(); i++) {
		begin("publishing to memory");
		judge(leat_publish_timed(life->memory, &record, patience_ns, NULL),
		      leat_publisher_detail(life->memory));
	}
	begin("a publisher that dies");
	harness_reap_ok(harness_fork(die_with_claim, NULL), 30, "the publisher that dies");
	begin("deleting a stream");
	leat_stream_options_init(&options);
	options.ring_len = RING;
	options.segment_len = SEGMENT;
	if (judge(leat_stream_create(bus, "gone", &options), leat_detail(bus)) == 0)
		judge(leat_stream_delete(bus, "gone"), leat_detail(bus));
	kill(world->bus.pid, SIGHUP);
}

static void live(struct life *life)
{
	open_life(life);
	if (!life->bus || is_over())
		return;
	publish(&life->disk, STEPS * (int)n_shards / 2);
	follow(life);
	if (is_over())
		return;
	look(life->bus);
	change(life);
	publish(&life->disk, STEPS / 2);
	publish(&life->old, STEPS);
	follow(life);
	if (life->live && !is_over()) {
		begin("a checkpoint");
		judge(leat_checkpoint(life->live), leat_subscriber_detail(life->live));
	}
}

/* ---- what has to be when nothing fails any more ---- */

/* Tries until it works: a shard whose disk failed comes back by itself. */
static void publish_again(struct load *load, const char *who)
{
	uint64_t from = harness_now_ns();
	struct leat_result result;
	int r = -1;

	load->timeout_ns = 2000 * ms;
	for (int32_t shard = 0; shard < (int32_t)leat_publisher_n_shards(load->publisher); shard++)
		do {
			begin("publishing again");
			r = load_publish(load, 100, shard, &result);
			if (r == 0)
				r = load_flush(load, LEAT_ACK_DURABLE);
			if (r < 0)
				nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
			must(r == 0 || harness_now_ns() - from < BACK_S * 1000 * ms,
			     "%s still gets: %s (%s)", who, leat_strerror(r),
			     leat_publisher_detail(load->publisher));
		} while (r < 0);
}

static void follow_again(struct leat_subscriber *subscriber)
{
	struct leat_message message;
	int r;

	do {
		begin("reading again");
		r = leat_next(subscriber, 0, &message);
		must(r == 1 || r == -ETIMEDOUT, "the old subscriber: %s (%s)", leat_strerror(r),
		     leat_subscriber_detail(subscriber));
	} while (r == 1);
}

static void check_log(struct leat_bus *bus, int kept)
{
	struct account_reader *reader = readers[kept];
	struct account_terms terms = { .from_first = kept == OLD };
	struct leat_subscriber_options options;
	struct leat_subscriber *subscriber;
	struct leat_message message;
	int r;

	if (world->lost_rings)
		terms.gaps[LEAT_ACK_RING] = 1u << LEAT_GAP_JUMP;
	leat_subscriber_options_init(&options);
	options.start = LEAT_EARLIEST;
	options.stop = LEAT_LATEST;
	begin("reading all");
	r = leat_subscriber_open(bus, kept_name[kept], &options, &subscriber);
	must(r == 0, "opening to read all: %s", leat_detail(bus));
	account_reader_clear(reader);
	while ((r = leat_next(subscriber, BACK_S * 1000 * ms, &message)) == 1)
		must(account_reader_take(reader, &message), "%s", account_reader_complaint(reader));
	must(r == 0, "reading all: %s (%s)", leat_strerror(r), leat_subscriber_detail(subscriber));
	must(account_reader_check(reader, &terms), "%s", account_reader_complaint(reader));
	leat_subscriber_close(subscriber);
}

/* What was being made when its maker gave up waiting exists until it is taken apart. */
static void create_again(struct leat_bus *bus)
{
	uint64_t from = harness_now_ns();
	struct leat_stream_info *info;
	int r;

	do {
		begin("creating what is missing");
		r = create_all(bus);
		for (int i = 0; r == 0 && i < N_KEPT; i++) {
			r = leat_stream_describe(bus, kept_name[i], &info);
			if (r == 0)
				leat_stream_info_free(info);
		}
		must(r == 0 || harness_now_ns() - from < BACK_S * 1000 * ms,
		     "a stream cannot be had: %s", leat_detail(bus));
	} while (r < 0);
}

/* `before` has been open since something failed. */
static void check_service(struct life *before)
{
	struct life after;

	if (is_hit())
		fail_disarm(&plan);
	store_release(&plan.page->open, 0);
	want_alive();
	world->hit_ns = 0;
	if (before->disk.publisher)
		publish_again(&before->disk, "the old publisher");
	if (before->live)
		follow_again(before->live);
	after = (struct life){ .bus = harness_connect(&world->bus) };
	create_again(after.bus);
	open_load(&after, &after.disk, DISK);
	open_load(&after, &after.old, OLD);
	must(after.disk.publisher && after.old.publisher, "a publisher cannot be had: %s",
	     leat_detail(after.bus));
	publish_again(&after.disk, "a new publisher");
	publish_again(&after.old, "a new publisher");
	look(after.bus);
	check_log(after.bus, DISK);
	check_log(after.bus, OLD);
	close_life(&after);
	want_alive();
	store_release(&plan.page->open, 1);
}

/* Who asks for the figures waits until all streams are back. */
static void see_all_back(void)
{
	struct life life;

	open_life(&life);
	if (life.bus)
		look(life.bus);
	close_life(&life);
}

static int run(void *arg)
{
	struct life life;

	now = arg;
	store_release(&plan.page->open, 1);
	account_clear(account[DISK]);
	account_clear(account[OLD]);
	world->was_slow = false;
	world->lost_rings = false;
	world->hit_ns = 0;
	if (now)
		fail_arm(&plan, now);
	harness_bus_make(&world->bus, 0);
	snprintf(world->progress.where, sizeof(world->progress.where), "%s", world->bus.dir);
	start();
	live(&life);
	check_service(&life);
	close_life(&life);
	stop();
	start();
	see_all_back();
	check_service(&(struct life){ 0 });
	fail_disarm(&plan);
	stop();
	harness_bus_remove(&world->bus);
	return 0;
}

static int run_case(void *arg)
{
	return run(arg);
}

static struct fail_progress *make_world(void)
{
	world = harness_shared(sizeof(*world));
	world->seed = 1;
	for (int i = 0; i < N_KEPT; i++) {
		account[i] = account_new(NULL, 1, RECORDS);
		readers[i] = account_reader_new(account[i]);
	}
	return &world->progress;
}

static void all_fail(const char *how, bool (*wanted)(enum fail_fn), size_t n_by_default)
{
	io = how;
	make_world();
	fail_plan_init(&plan, "leatd");
	/* Twice: what comes at one time only is a place too. */
	fail_count(&plan);
	run(NULL);
	run(NULL);
	fail_plan_make(&plan, wanted, n_by_default);
	fail_plan_run_jobs(&plan, JOBS, make_world, run_case);
}

START_TEST(whatever_call_of_the_daemon_fails_nothing_is_lost_and_service_comes_back)
{
	all_fail("threads", NULL, CASES);
}
END_TEST

static bool is_uring(enum fail_fn fn)
{
	return strncmp(fail_fn_name(fn), "io_uring", 8) == 0;
}

START_TEST(io_uring_may_fail_as_well)
{
	/* One operation alone is done by the drain's own thread, without io_uring. */
	n_shards = 8;
	all_fail("auto", is_uring, CASES / 10);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sys_failing_daemon");
	TCase *calls = tcase_create("calls"), *ring = tcase_create("io_uring");

	if (!fail_plan_possible())
		return harness_skip("the sanitizers of this build want to be loaded first");
	/* A disk would only make it slower: what fails here fails before it gets there. */
	if (!getenv("TMPDIR") && access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	tcase_set_timeout(calls, 14000);
	tcase_set_timeout(ring, 3000);
	tcase_add_test(calls,
		       whatever_call_of_the_daemon_fails_nothing_is_lost_and_service_comes_back);
	tcase_add_test(ring, io_uring_may_fail_as_well);
	suite_add_tcase(suite, calls);
	suite_add_tcase(suite, ring);
	return harness_main(suite);
}
