/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every call that the library makes of the C library fails in a program that uses it, at every
 * place, with every errno of its man page, once and from then on, while the program publishes,
 * subscribes and asks, and the daemon is killed in between: nobody crashes or stands still, what
 * was acknowledged is there, what is delivered is exact, in order and once, an error has its
 * sentence, and the same handles go on when the fault has ended. See tests/fail_plan.h.
 *
 * The victim is this program started anew. It plays its whole scene in any case: what fails is
 * tried again, and a fault that lasts ends after some tries.
 */
/* TEST_TIMEOUT=14400 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "tests/fail_plan.h"
#include "tests/harness.h"
#include "tests/load.h"

enum {
	SHARDS = 2,
	THREADS = 2,
	RECORDS = 1 << 13,
	RING = 64 << 10,
	STEPS = 20,
	STEPS_LONG = 120, /* more than the rings hold */
	TRIES = 3,        /* until a fault that lasts ends */
	TRIES_MORE = 3,
	CASES = 8, /* of each scene, in `make check` */
};

#define MS UINT64_C(1000000)
#define PATIENCE (800 * MS)
#define LOOK (200 * MS) /* for a message */

/* A file, for who is started anew. */
struct world {
	struct fail_progress progress;
	struct harness_bus bus;
};

static struct world *world;
static struct fail_plan plan;
/* Of the victim: for what is not to fail. */
static struct leat_bus *calm;
static char stream[32];
static struct account *account;
static _Atomic uint32_t n_failed;

/* ---- calls that may fail ---- */

static void begin(const char *what)
{
	snprintf(world->progress.step, sizeof(world->progress.step), "%s", what);
	fetch_add_acq_rel(&world->progress.n_steps, 1);
}

/* One call of the library. */
#define lib(call)                                                                                  \
	({                                                                                         \
		fail_open(&plan);                                                                  \
		__typeof__(call) lib_result = (call);                                              \
		fail_close(&plan);                                                                 \
		lib_result;                                                                        \
	})

/* What a call may say without a fault while a daemon takes the place of another. */
static bool is_of_the_daemon(int r)
{
	return r == -ETIMEDOUT || r == -EAGAIN || r == -ENOTCONN || r == -ECONNREFUSED;
}

/* A call has failed: rightly, and with a sentence. It is tried again afterwards. */
static void judge(int r, const char *sentence)
{
	uint32_t n = fetch_add_acq_rel(&n_failed, 1) + 1;

	must(r > -4096, "%s: %d is no errno", world->progress.step, r);
	must(is_of_the_daemon(r) || fail_n_hit(&plan) > 0, "%s: %s (%s), and nothing failed",
	     world->progress.step, leat_strerror(r), sentence);
	must(strlen(sentence) > 10, "%s: %s, without a sentence: '%s'", world->progress.step,
	     leat_strerror(r), sentence);
	must(is_of_the_daemon(r) || n <= TRIES + TRIES_MORE, "%s still gets: %s (%s)",
	     world->progress.step, leat_strerror(r), sentence);
	if (n == TRIES)
		fail_disarm(&plan);
	harness_pause_ns(2 * MS);
}

/* Until it works; the sentence is asked for after each call. */
#define insist(what, call, sentence)                                                               \
	({                                                                                         \
		int insist_result;                                                                 \
                                                                                                   \
		begin(what);                                                                       \
		while ((insist_result = lib(call)) < 0)                                            \
			judge(insist_result, sentence);                                            \
		insist_result;                                                                     \
	})

static struct leat_bus *open_bus(void)
{
	char detail[256] = "";
	struct leat_connect_options options = { .size = sizeof(options),
						.client = "victim",
						.timeout_ns = PATIENCE,
						.detail = detail,
						.detail_len = sizeof(detail) };
	struct leat_bus *bus;

	insist("connecting", leat_connect(world->bus.sock, &options, &bus), detail);
	return bus;
}

/* ---- what is done to the bus meanwhile ---- */

static void kill_daemon(void)
{
	begin("killing the daemon");
	must(kill(harness_daemon_pid(&world->bus), SIGKILL) == 0, "kill: %s", strerror(errno));
}

static void move_rings(void)
{
	begin("resizing the rings");
	must(leat_stream_alter(calm, stream, "ring", "128K") == 0, "%s", leat_detail(calm));
}

/* ---- publishers ---- */

static void init_load(struct load *load, unsigned writer, struct leat_publisher *publisher)
{
	*load = (struct load){
		.account = account,
		.publisher = publisher,
		.writer = writer,
		.seed = writer + 1,
		.ring_len = RING,
		.timeout_ns = PATIENCE,
	};
	load_init(load);
}

static struct leat_publisher *open_publisher(struct leat_bus *bus)
{
	struct leat_publisher_options options = { .size = sizeof(options),
						  .timeout_ns = PATIENCE,
						  .use_timeout = 1 };
	struct leat_publisher *publisher;

	insist("opening a publisher", leat_publisher_open(bus, stream, &options, &publisher),
	       leat_detail(bus));
	return publisher;
}

/* What was refused is in the account as well: another step follows. */
static void publish(struct load *load, enum leat_ack level)
{
	int r;

	for (int i = 0; i < STEPS; i++) {
		begin("publishing");
		r = lib(load_step(load));
		if (r < 0)
			judge(r, leat_publisher_detail(load->publisher));
	}
	insist("waiting until it is acknowledged", load_flush(load, level),
	       leat_publisher_detail(load->publisher));
}

static void end_load(struct load *load)
{
	begin("closing a publisher");
	load_deinit(load);
	load->publisher = lib(leat_publisher_close(load->publisher));
}

/* Somebody who comes when all is over. */
static void check_log(void)
{
	struct account_reader *reader = account_reader_new(account);
	struct account_terms terms = { .from_first = false };
	struct leat_subscriber_options options;
	struct leat_subscriber *subscriber;
	struct leat_message message;
	int r;

	leat_subscriber_options_init(&options);
	options.start = LEAT_EARLIEST;
	options.stop = LEAT_LATEST;
	begin("reading all");
	r = leat_subscriber_open(calm, stream, &options, &subscriber);
	must(r == 0, "opening to read all: %s", leat_detail(calm));
	while ((r = leat_next(subscriber, LEAT_FOREVER, &message)) == 1)
		must(account_reader_take(reader, &message), "%s", account_reader_complaint(reader));
	must(r == 0, "reading all: %s (%s)", leat_strerror(r), leat_subscriber_detail(subscriber));
	must(account_reader_check(reader, &terms), "%s", account_reader_complaint(reader));
	leat_subscriber_close(subscriber);
	account_reader_free(reader);
}

static void play_publisher(void)
{
	struct leat_bus *bus = open_bus();
	struct load load;

	init_load(&load, 0, open_publisher(bus));
	publish(&load, LEAT_ACK_WRITTEN);
	kill_daemon();
	publish(&load, LEAT_ACK_DURABLE);
	move_rings();
	publish(&load, LEAT_ACK_RING);
	fail_disarm(&plan);
	publish(&load, LEAT_ACK_DURABLE);
	end_load(&load);
	lib(leat_close(bus));
	check_log();
}

/* A bus is for several threads, a publisher for one. While one is in a call, what the others call
 * may fail as well, so that they do nothing else. */
static void *run_thread(void *arg)
{
	struct load *load = arg;

	publish(load, LEAT_ACK_DURABLE);
	publish(load, LEAT_ACK_WRITTEN);
	return NULL;
}

static void play_threads(void)
{
	pid_t daemon = harness_daemon_pid(&world->bus);
	struct leat_bus *bus = open_bus();
	pthread_t threads[THREADS];
	struct load loads[THREADS];

	for (unsigned i = 0; i < THREADS; i++)
		init_load(&loads[i], i, open_publisher(bus));
	for (unsigned i = 0; i < THREADS; i++)
		must(pthread_create(&threads[i], NULL, run_thread, &loads[i]) == 0, "a thread");
	kill(daemon, SIGKILL);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < THREADS; i++)
		end_load(&loads[i]);
	lib(leat_close(bus));
	check_log();
}

/* ---- subscribers ---- */

struct reading {
	struct leat_subscriber *subscriber;
	struct account_reader *reader;
	struct load feed; /* by whom all is published, and nothing of it fails */
	uint64_t last[SHARDS];
	/* What came from these positions on, to be the same when it comes again. */
	uint64_t from[SHARDS];
	uint64_t n[SHARDS];
	uint64_t from_ns;        /* when the first of them in shard 0 was published */
	struct leat_message gap; /* the last one, if its length is not 0 */
	int (*way)(struct reading *reading);
	int fd;
};

static void feed(struct reading *reading, int n)
{
	struct leat_result result;

	begin("feeding");
	for (int i = 0; i < n; i++)
		must(load_step(&reading->feed) == 0, "feeding: %s",
		     leat_publisher_detail(reading->feed.publisher));
	for (int32_t i = 0; i < SHARDS; i++) {
		must(load_publish(&reading->feed, 100, i, &result) == 0, "feeding a shard");
		reading->last[i] = result.pos;
	}
	must(load_flush(&reading->feed, LEAT_ACK_DURABLE) == 0, "flushing what is fed");
}

static void take(struct reading *reading, const struct leat_message *message)
{
	uint32_t shard = message->shard;

	must(account_reader_take(reading->reader, message), "%s",
	     account_reader_complaint(reading->reader));
	if (message->kind == LEAT_GAP) {
		must(message->reason == LEAT_GAP_DAMAGE && fail_is(&plan, FAIL_FN_pread, EIO),
		     "a gap from %llu to %llu for reason %d", (unsigned long long)message->pos,
		     (unsigned long long)message->next_pos, (int)message->reason);
		reading->gap = *message;
	} else if (message->pos >= reading->from[shard]) {
		if (shard == 0 && reading->n[0] == 0)
			reading->from_ns = message->timestamp_ns;
		reading->n[shard]++;
	}
	fetch_add_acq_rel(&world->progress.n_steps, 1);
}

static int by_next(struct reading *reading)
{
	struct leat_message message;
	int r = lib(leat_next(reading->subscriber, LOOK, &message));

	if (r == 1)
		take(reading, &message);
	return r;
}

/* Where it lies it may change, so it is judged as it was while it was valid. */
static int by_view(struct reading *reading)
{
	static char copy[2 * RING];
	struct leat_message message;
	int r = lib(leat_view(reading->subscriber, LOOK, &message));
	size_t len;

	if (r == 1 && message.kind == LEAT_GAP)
		take(reading, &message);
	if (r != 1 || message.kind == LEAT_GAP)
		return r;
	len = (size_t)message.key_len + message.value_len;
	must(len <= sizeof(copy), "a record of %zu bytes", len);
	memcpy(copy, message.key, message.key_len);
	memcpy(copy + message.key_len, message.value, message.value_len);
	if (lib(leat_view_valid(reading->subscriber, &message)) != 1)
		return 1;
	message.key = copy;
	message.value = copy + message.key_len;
	take(reading, &message);
	return 1;
}

static int handle(void *context, const struct leat_message *message)
{
	take(context, message);
	return message->kind == LEAT_GAP;
}

static int by_poll(struct reading *reading)
{
	return lib(leat_poll(reading->subscriber, handle, reading, 50, LOOK));
}

static int by_fd(struct reading *reading)
{
	struct leat_message message;
	int r;

	if (reading->fd < 0)
		reading->fd = insist("an fd", leat_subscriber_fd(reading->subscriber),
				     leat_subscriber_detail(reading->subscriber));
	r = lib(leat_next(reading->subscriber, 0, &message));
	if (r == 1)
		take(reading, &message);
	if (r != -ETIMEDOUT)
		return r;
	/* The helper's calls are made meanwhile. */
	lib(poll(&(struct pollfd){ .fd = reading->fd, .events = POLLIN }, 1, 60000));
	return r;
}

static bool is_at_end(const struct reading *reading)
{
	for (uint32_t i = 0; i < SHARDS; i++)
		if (account_reader_pos(reading->reader, i) <= reading->last[i])
			return false;
	return true;
}

static void seek(struct reading *reading, uint32_t shard, enum leat_where where, uint64_t value)
{
	insist("seeking", leat_seek(reading->subscriber, (int32_t)shard, where, value),
	       leat_subscriber_detail(reading->subscriber));
}

static void go_back(struct reading *reading, uint32_t shard, uint64_t pos)
{
	must(account_reader_rewind(reading->reader, shard, pos), "%s",
	     account_reader_complaint(reading->reader));
}

/* What could not be read is a gap, and can be had when it can be read. */
static void try_gap(struct reading *reading)
{
	struct leat_message gap = reading->gap;

	if (gap.next_pos == 0)
		return;
	reading->gap = (struct leat_message){ 0 };
	fail_disarm(&plan);
	seek(reading, gap.shard, LEAT_POSITION, gap.pos);
	go_back(reading, gap.shard, gap.pos);
}

static void read_to_end(struct reading *reading, const char *what)
{
	int r;

	begin(what);
	while (!is_at_end(reading)) {
		r = reading->way(reading);
		must(r != 0, "%s: an end where there is none", what);
		if (r < 0)
			judge(r, leat_subscriber_detail(reading->subscriber));
		try_gap(reading);
	}
}

/* All came again that came before. */
static void read_again(struct reading *reading, const char *what, const uint64_t n[SHARDS])
{
	read_to_end(reading, what);
	for (int i = 0; i < SHARDS; i++)
		must(reading->n[i] == n[i], "%s: of shard %d come %llu, before it was %llu", what,
		     i, (unsigned long long)reading->n[i], (unsigned long long)n[i]);
}

static void open_subscriber(struct reading *reading, struct leat_bus *bus,
			    enum leat_isolation isolation)
{
	struct leat_subscriber_options options;

	leat_subscriber_options_init(&options);
	options.start = LEAT_EARLIEST;
	options.isolation = isolation;
	options.name = "victim";
	insist("opening a subscriber",
	       leat_subscriber_open(bus, stream, &options, &reading->subscriber), leat_detail(bus));
	reading->fd = -1;
}

static void store_checkpoint(struct reading *reading)
{
	insist("a checkpoint", leat_checkpoint(reading->subscriber),
	       leat_subscriber_detail(reading->subscriber));
	for (uint32_t i = 0; i < SHARDS; i++) {
		must(leat_subscriber_position(reading->subscriber, i, &reading->from[i]) == 0,
		     "no position of shard %u", i);
		reading->n[i] = 0;
	}
}

/* Behind on the disk, live, over a daemon that is killed, into other rings, left behind again. */
static void read_all(struct reading *reading)
{
	read_to_end(reading, "reading what is on the disk");
	feed(reading, STEPS);
	read_to_end(reading, "reading what comes");
	kill_daemon();
	feed(reading, STEPS);
	read_to_end(reading, "reading beside another daemon");
	store_checkpoint(reading);
	move_rings();
	feed(reading, STEPS);
	read_to_end(reading, "reading from other rings");
	feed(reading, STEPS_LONG);
	read_to_end(reading, "reading after a pause");
}

static void play_subscriber(enum leat_isolation isolation, int (*way)(struct reading *))
{
	struct reading reading = { .way = way, .from = { UINT64_MAX, UINT64_MAX } };
	struct account_terms terms = { .from_first = false };
	struct leat_bus *bus = open_bus();
	uint64_t n[SHARDS];

	reading.reader = account_reader_new(account);
	init_load(&reading.feed, 0, harness_publisher(calm, stream));
	reading.feed.timeout_ns = LEAT_FOREVER;
	feed(&reading, STEPS_LONG);
	open_subscriber(&reading, bus, isolation);
	read_all(&reading);
	memcpy(n, reading.n, sizeof(n));
	seek(&reading, 0, LEAT_POSITION, reading.from[0]);
	go_back(&reading, 0, reading.from[0]);
	reading.n[0] = 0;
	read_again(&reading, "reading again from a position", n);
	/* The clock need not go forward everywhere: more may come, from before. */
	seek(&reading, 0, LEAT_TIME, reading.from_ns);
	go_back(&reading, 0, 0);
	reading.n[0] = 0;
	read_again(&reading, "reading again from a time", n);
	reading.subscriber = lib(leat_subscriber_close(reading.subscriber));
	open_subscriber(&reading, bus, isolation);
	for (uint32_t i = 0; i < SHARDS; i++) {
		go_back(&reading, i, reading.from[i]);
		reading.n[i] = 0;
	}
	read_again(&reading, "reading again from the checkpoint", n);
	must(account_reader_check(reading.reader, &terms), "%s",
	     account_reader_complaint(reading.reader));
	reading.subscriber = lib(leat_subscriber_close(reading.subscriber));
	lib(leat_close(bus));
	load_deinit(&reading.feed);
	leat_publisher_close(reading.feed.publisher);
	account_reader_free(reading.reader);
}

static void play_by_next(void)
{
	play_subscriber(LEAT_ISOLATION_RING, by_next);
}

static void play_by_view(void)
{
	play_subscriber(LEAT_ISOLATION_RING, by_view);
}

static void play_by_poll(void)
{
	play_subscriber(LEAT_ISOLATION_WRITTEN, by_poll);
}

static void play_by_fd(void)
{
	play_subscriber(LEAT_ISOLATION_DURABLE, by_fd);
}

/* ---- questions ---- */

static void play_questions(void)
{
	struct leat_bus *bus = open_bus();
	struct leat_stream_options options;
	struct leat_stream_info *info, **list;
	char name[48], *text;
	int n;

	snprintf(name, sizeof(name), "%s.more", stream);
	leat_stream_options_init(&options);
	options.ring_len = RING;
	/* A reply that was lost leaves the stream there, or gone. */
	insist("creating", ({
		       int r = leat_stream_create(bus, name, &options);
		       r == -EEXIST ? 0 : r;
	       }),
	       leat_detail(bus));
	kill_daemon();
	insist("altering", leat_stream_alter(bus, name, "retain-size", "1M"), leat_detail(bus));
	insist("describing", leat_stream_describe(bus, name, &info), leat_detail(bus));
	must(info->options.retain_len == 1 << 20 && info->n_shards == 1, "described wrongly");
	leat_stream_info_free(info);
	n = insist("listing", leat_stream_list(bus, &list), leat_detail(bus));
	must(n >= 2, "%d streams", n);
	leat_stream_list_free(list, n);
	insist("statistics", leat_stat_json(bus, NULL, &text), leat_detail(bus));
	must(strstr(text, name), "not in the statistics: %s", text);
	free(text);
	insist("deleting", ({
		       int r = leat_stream_delete(bus, name);
		       r == -ENOENT ? 0 : r;
	       }),
	       leat_detail(bus));
	must(leat_stream_describe(calm, name, &info) == -ENOENT, "it is still there");
	lib(leat_close(bus));
}

static const struct scene {
	const char *name;
	void (*play)(void);
} scenes[] = {
	{ "a publisher", play_publisher },
	{ "publishers in threads", play_threads },
	{ "a subscriber", play_by_next },
	{ "a subscriber with views", play_by_view },
	{ "a subscriber that polls what is written", play_by_poll },
	{ "a subscriber with an fd for what is durable", play_by_fd },
	{ "somebody who asks", play_questions },
};

/* ---- the victim ---- */

static int n_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	must(dir, "/proc/self/fd");
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static int be_victim(void *arg)
{
	const struct scene *scene = arg;
	struct leat_stream_options options;
	int n = n_fds();

	fail_plan_join(&plan);
	account = account_new(NULL, THREADS, RECORDS);
	begin("preparation");
	calm = harness_connect(&world->bus);
	snprintf(stream, sizeof(stream), "log.%d", (int)getpid());
	leat_stream_options_init(&options);
	options.segment_len = 160 << 10;
	harness_stream(calm, stream, SHARDS, RING, &options);
	scene->play();
	begin("putting away");
	must(leat_stream_delete(calm, stream) == 0, "%s", leat_detail(calm));
	leat_close(calm);
	must(n_fds() == n, "%d fds more than before", n_fds() - n);
	return 0;
}

static void *map_world(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	void *p;

	must(fd >= 0 && ftruncate(fd, sizeof(*world)) == 0, "%s", path);
	p = mmap(NULL, sizeof(*world), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(p != MAP_FAILED, "mapping %s", path);
	close(fd);
	return p;
}

/* ---- the run ---- */

static const struct scene *scene_now;

static int become_victim(void *arg)
{
	char number[16], path[128];

	/* The last one may have died in a call. */
	store_release(&plan.page->open, 0);
	if (arg)
		fail_arm(&plan, arg);
	snprintf(number, sizeof(number), "%d", (int)(scene_now - scenes));
	snprintf(path, sizeof(path), "%s/world", world->bus.dir);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fail_plan_preload(&plan);
	execl("/proc/self/exe", "sys_failing_clients", number, path, NULL);
	return 127;
}

START_TEST(a_client_whose_calls_fail_goes_on_when_they_work_again)
{
	struct harness_bus bus;
	char path[128];

	scene_now = &scenes[_i];
	setenv("LEAT_KEEPER_EAGER", "1", 1);
	harness_bus_start(&bus, HARNESS_KEEP | HARNESS_TESTPOINTS);
	snprintf(path, sizeof(path), "%s/world", bus.dir);
	world = map_world(path);
	world->bus = bus;
	fail_plan_init(&plan, "tests/sys_failing_clients");
	fail_count(&plan);
	/* Twice: what comes at one time only is a place too. */
	for (int i = 0; i < 2; i++)
		harness_reap_ok(harness_fork(become_victim, NULL), 60, scene_now->name);
	printf("%s: ", scene_now->name);
	fail_plan_make(&plan, NULL, CASES);
	fail_plan_run(&plan, &world->progress, become_victim);
	harness_bus_stop(&bus);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("sys_failing_clients");
	TCase *calls = tcase_create("calls");
	const char *only = getenv("LEAT_SCENE");
	int n = (int)(sizeof(scenes) / sizeof(scenes[0]));
	int first = only ? atoi(only) : 0, end = only ? first + 1 : n;

	if (argc == 3 && atoi(argv[1]) < n) {
		world = map_world(argv[2]);
		harness_be_child(be_victim, (void *)(uintptr_t)&scenes[atoi(argv[1])]);
	}
	if (!fail_plan_possible())
		return harness_skip("the sanitizers of this build want to be loaded first");
	/* A disk would only make it slower. */
	if (!getenv("TMPDIR") && access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	tcase_set_timeout(calls, 14000);
	tcase_add_loop_test(calls, a_client_whose_calls_fail_goes_on_when_they_work_again, first,
			    end);
	suite_add_tcase(suite, calls);
	return harness_main(suite);
}
