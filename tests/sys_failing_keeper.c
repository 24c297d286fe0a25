/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every call that the keeper (leatd --keep) makes of the C library fails, at every place, with
 * every errno of its man page, once and from then on, while it starts, keeps rings, starts the
 * daemon again and stops. It keeps what it was given and brings the daemon back, or says clearly
 * why not; nothing is lost that it did not say so of. The daemon's own calls do not fail here. See
 * tests/fail_plan.h.
 */
/* TEST_TIMEOUT=14400 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/fail_plan.h"
#include "tests/harness.h"
#include "tests/load.h"

enum {
	RECORDS = 1 << 12,
	STEPS = 10,
	SHARDS = 2,
	RING = 64 << 10,
	BACK_S = 20, /* on a busy machine */
	CASES = 20,  /* in `make check` */
};

#define MS UINT64_C(1000000)
#define PATIENCE (800 * MS)
#define GIVE_UP (1500 * MS) /* how long a case lets it fail */

/* Shared with the process of a case. */
struct world {
	struct fail_progress progress;
	struct harness_bus bus;
	uint64_t hit_ns;
	bool has_ended; /* the keeper, and has said why */
};

static struct world *world;
static struct fail_plan plan;
static const struct fail_case *now; /* NULL: nothing fails, calls are counted */
static struct account *account;
static struct account_reader *reader;

static void begin(const char *what)
{
	snprintf(world->progress.step, sizeof(world->progress.step), "%s", what);
	fetch_add_acq_rel(&world->progress.n_steps, 1);
}

static bool is_hit(void)
{
	return fail_n_hit(&plan) > 0;
}

/* The fault has had its time. */
static bool is_over(void)
{
	if (!is_hit())
		return false;
	if (world->hit_ns == 0)
		world->hit_ns = harness_now_ns();
	return harness_now_ns() - world->hit_ns > GIVE_UP;
}

/* ---- the log ---- */

static FILE *open_log(long since)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/log", world->bus.dir);
	file = fopen(path, "re");
	if (file && fseek(file, since, since < 0 ? SEEK_END : SEEK_SET) == 0)
		return file;
	if (file)
		fclose(file);
	return NULL;
}

/* Whether the log says one of these words. */
static bool log_says(const char *const *words)
{
	FILE *file = open_log(0);
	bool says = false;
	char line[2048];

	while (file && fgets(line, sizeof(line), file))
		for (size_t i = 0; words[i]; i++)
			says = says || strstr(line, words[i]);
	if (file)
		fclose(file);
	return says;
}

static bool may_lose(void)
{
	static const char *const not_kept[] = { "not kept", NULL };

	return world->has_ended || log_says(not_kept);
}

/* The keeper ends, and has said why. */
static void want_sentence(int status)
{
	const char *const words[] = {
		now && now->error > 0 ? strerror(now->error) : "cannot",
		"cannot",
		"memory",
		/* That is how a lock says that somebody has it. */
		now && (now->error == EAGAIN || now->error == EACCES) ? "already" : "cannot",
		NULL,
	};

	must(!WIFSIGNALED(status), "the keeper dies of signal %d", WTERMSIG(status));
	must(is_hit(), "the keeper ends with %d and nothing failed", WEXITSTATUS(status));
	must(WEXITSTATUS(status) != 0, "the keeper gives up, and ends with 0");
	must(log_says(words), "the keeper ends with %d and does not say why", WEXITSTATUS(status));
	world->has_ended = true;
}

/* ---- the keeper ---- */

static void exec_keeper(void)
{
	char path[640], runtime[112], data[112], log[112];
	const char *build = getenv("LEAT_BUILD");
	int fd;

	snprintf(path, sizeof(path), "%s/leatd", build ? build : "build/release");
	snprintf(runtime, sizeof(runtime), "%s/run", world->bus.dir);
	snprintf(data, sizeof(data), "%s/data", world->bus.dir);
	snprintf(log, sizeof(log), "%s/log", world->bus.dir);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(open("/dev/null", O_RDONLY), 0);
	dup2(fd, 1);
	dup2(fd, 2);
	fail_plan_preload(&plan);
	execl(path, "leatd", "--runtime", runtime, "--data", data, "--keep", NULL);
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

/* The daemon that answers; 0: none. */
static pid_t who_answers(void)
{
	struct leat_connect_options options = { .size = sizeof(options),
						.client = "looks",
						.timeout_ns = PATIENCE };
	char *text = NULL, *at;
	struct leat_bus *bus;
	pid_t pid = 0;

	if (leat_connect(world->bus.sock, &options, &bus) < 0)
		return 0;
	if (leat_stat_json(bus, NULL, &text) == 0 && (at = strstr(text, "\"pid\":")))
		pid = (pid_t)atoi(at + strlen("\"pid\":"));
	free(text);
	leat_close(bus);
	return pid;
}

static void start_keeper(void)
{
	pid_t pid = fork();

	must(pid >= 0, "fork");
	if (pid == 0)
		exec_keeper();
	world->bus.pid = pid;
	store_release(&world->progress.pid, (uint32_t)pid);
}

/*
 * Until another daemon than `before` answers. Where the fault is in the way of that it ends at
 * last; a keeper that has ended is started anew, until the daemon that it left is gone, too.
 */
static pid_t wait_for_daemon(const char *what, pid_t before)
{
	uint64_t from = harness_now_ns(), took;
	pid_t pid;
	int status;

	begin(what);
	while ((pid = who_answers()) == 0 || pid == before) {
		took = harness_now_ns() - from;
		must(took < 2 * BACK_S * 1000 * MS, "no daemon comes");
		if (is_over())
			fail_disarm(&plan);
		if (has_ended(&status)) {
			want_sentence(status);
			fail_disarm(&plan);
			start_keeper();
		}
		fetch_add_acq_rel(&world->progress.n_steps, 1);
		harness_pause_ns(MS);
	}
	return pid;
}

static void stop(void)
{
	int status;

	begin("stopping");
	if (has_ended(&status)) {
		want_sentence(status);
		return;
	}
	must(kill(world->bus.pid, SIGTERM) == 0, "kill");
	while (!has_ended(&status)) {
		if (is_over())
			fail_disarm(&plan);
		harness_pause_ns(MS);
	}
	if (status != 0)
		want_sentence(status);
	must(who_answers() == 0, "the keeper has ended and somebody answers");
}

/* ---- what is kept ---- */

static void publish(struct load *load)
{
	for (int i = 0; i < STEPS; i++) {
		int r;

		begin("publishing");
		r = load_step(load);
		must(r == 0 || r == -ETIMEDOUT || may_lose(), "publishing: %s (%s)",
		     leat_strerror(r), leat_publisher_detail(load->publisher));
	}
}

/* With something in the rings that is nowhere else. */
static pid_t kill_daemon(struct load *load, pid_t pid)
{
	struct leat_result result;

	begin("killing the daemon");
	must(kill(pid, SIGSTOP) == 0, "kill: %s", strerror(errno));
	for (int32_t i = 0; i < STEPS; i++)
		load_publish(load, 100, i % SHARDS, &result);
	must(kill(pid, SIGKILL) == 0, "kill: %s", strerror(errno));
	return wait_for_daemon("waiting for the daemon to come back", pid);
}

/* What a busy machine makes of a request. */
static bool is_patient(int r)
{
	return r == -ETIMEDOUT || r == -ENOENT || r == -ENOTCONN;
}

/* The daemon waits for the keeper to have its fds. */
static void make_stream(const char *name, uint32_t n_shards)
{
	struct leat_connect_options limit = { .size = sizeof(limit), .timeout_ns = PATIENCE };
	struct leat_stream_options options;
	struct leat_stream_info *info;
	struct leat_bus *bus;
	int r = 0;

	leat_stream_options_init(&options);
	options.n_shards = n_shards;
	options.ring_len = RING;
	begin("making a stream");
	do {
		must(r == 0 || is_patient(r) || is_hit(), "making %s: %s", name, leat_strerror(r));
		if (is_over())
			fail_disarm(&plan);
		r = leat_connect(world->bus.sock, &limit, &bus);
		if (r < 0)
			continue;
		r = leat_stream_create(bus, name, &options);
		/* It is being made, when its maker has given up waiting. */
		if (r == 0 || r == -EEXIST)
			r = leat_stream_describe(bus, name, &info);
		if (r == 0)
			leat_stream_info_free(info);
		leat_close(bus);
	} while (r < 0);
}

static void live(pid_t pid)
{
	struct leat_bus *bus = harness_connect(&world->bus);
	struct load load = {
		.account = account, .seed = 1, .ring_len = RING, .timeout_ns = PATIENCE
	};

	make_stream("log", SHARDS);
	load.publisher = harness_publisher(bus, "log");
	load_init(&load);
	publish(&load);
	load.timeout_ns = LEAT_FOREVER;
	/* The log begins there: what may be lost lies behind it, in a gap. */
	must(load_flush(&load, LEAT_ACK_DURABLE) == 0, "flushing: %s",
	     leat_publisher_detail(load.publisher));
	load.timeout_ns = PATIENCE;
	pid = kill_daemon(&load, pid);
	publish(&load);
	make_stream("gone", 1);
	must(leat_stream_delete(bus, "gone") == 0, "%s", leat_detail(bus));
	if (world->bus.pid > 0)
		kill(world->bus.pid, SIGHUP);
	kill_daemon(&load, pid);
	publish(&load);
	load_deinit(&load);
	leat_publisher_close(load.publisher);
	leat_close(bus);
}

static void check_log(void)
{
	struct leat_bus *bus = harness_connect(&world->bus);
	struct account_terms terms = { .from_first = false };
	struct leat_subscriber_options options;
	struct leat_subscriber *subscriber;
	struct leat_message message;
	int r;

	begin("reading all");
	if (may_lose())
		terms.gaps[LEAT_ACK_RING] = 1u << LEAT_GAP_JUMP;
	leat_subscriber_options_init(&options);
	options.start = LEAT_EARLIEST;
	options.stop = LEAT_LATEST;
	r = leat_subscriber_open(bus, "log", &options, &subscriber);
	must(r == 0, "opening to read all: %s", leat_detail(bus));
	while ((r = leat_next(subscriber, LEAT_FOREVER, &message)) == 1)
		must(account_reader_take(reader, &message), "%s", account_reader_complaint(reader));
	must(r == 0, "reading all: %s (%s)", leat_strerror(r), leat_subscriber_detail(subscriber));
	must(account_reader_check(reader, &terms), "%s", account_reader_complaint(reader));
	leat_subscriber_close(subscriber);
	leat_close(bus);
}

static int run(void *arg)
{
	now = arg;
	account_clear(account);
	account_reader_clear(reader);
	world->hit_ns = 0;
	world->has_ended = false;
	if (now)
		fail_arm(&plan, now);
	harness_bus_make(&world->bus, 0);
	start_keeper();
	live(wait_for_daemon("starting", 0));
	stop();
	fail_disarm(&plan);
	start_keeper();
	wait_for_daemon("starting again", 0);
	check_log();
	stop();
	harness_bus_remove(&world->bus);
	return 0;
}

START_TEST(a_keeper_whose_calls_fail_keeps_the_rings_or_says_why_not)
{
	world = harness_shared(sizeof(*world));
	account = account_new(NULL, 1, RECORDS);
	reader = account_reader_new(account);
	fail_plan_init(&plan, "leatd");
	/* Twice: what comes at one time only is a place too. */
	fail_count(&plan);
	run(NULL);
	run(NULL);
	fail_plan_make(&plan, NULL, CASES);
	fail_plan_run(&plan, &world->progress, run);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sys_failing_keeper");

	if (!fail_plan_possible())
		return harness_skip("the sanitizers of this build want to be loaded first");
	/* A disk would only make it slower. */
	if (!getenv("TMPDIR") && access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	harness_add(suite, "calls", a_keeper_whose_calls_fail_keeps_the_rings_or_says_why_not,
		    14000);
	return harness_main(suite);
}
