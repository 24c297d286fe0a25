/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kill -9 of publishers, subscribers and the daemon, at every test point and at random moments, by
 * the thousand: nothing that was acknowledged is lost, nothing half-made is seen, nobody else is
 * held up. LEAT_KILLS says how many of each; a few hundred otherwise.
 */
/* TEST_TIMEOUT=300 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shm/testpoint.h"
#include "tests/crowd.h"
#include "tests/testpoints.h"

enum {
	KILLS = 200,
	ROUND = 250, /* kills to a stream, which is then read again, checked and deleted */
	WRITERS = 5,
	SHARDS = 2,
	RING = 64 << 10,
	RECORDS = 1 << 18, /* of a writer in a round, at most */
	STEPS = 60,        /* of a publisher's life that nobody ends; passes each point so often */
	MORE = 10,         /* times the subscribers, until one has died at each point */
	ROW = 3,           /* daemons that die one after the other */
	SEGMENT = 1 << 20, /* where each death leaves one */
};

static const struct account_terms nothing_is_lost;

static struct crowd *crowd;
static uint64_t seed;

static uint64_t n_kills(uint64_t by_default)
{
	const char *given = getenv("LEAT_KILLS");

	return given ? strtoull(given, NULL, 0) : by_default;
}

static uint64_t pick(uint64_t n)
{
	return harness_random(&seed) % n;
}

static void open_round(void)
{
	crowd->seed = harness_random(&seed);
	crowd_open(crowd);
	crowd_wait(crowd, 20, "at the beginning");
}

static void setup_stage(void)
{
	seed = harness_seed();
	crowd = harness_shared(sizeof(*crowd));
	crowd->n_shards = SHARDS;
	crowd->ring_len = RING;
	crowd->pause_us = 300;
	strcpy(crowd->stream, "kills");
	crowd_init(crowd, WRITERS, RECORDS);
}

static void setup_crowd(unsigned flags)
{
	setup_stage();
	harness_bus_start(&crowd->bus, flags);
}

static uint64_t total_tried, total_told, total_killed;

static void close_round(void)
{
	uint64_t tried, told;

	crowd_close(crowd, &nothing_is_lost);
	account_count(crowd->account, &tried, &told);
	total_tried += tried;
	total_told += told;
}

static void report(const char *what, uint64_t n)
{
	struct crowd_delays *delays = &crowd->delays;

	printf("%llu %s killed; %llu records tried, %llu acknowledged, all there; %llu delays "
	       "measured, %llu over 10 ms, the longest %.3f ms\n",
	       (unsigned long long)n, what, (unsigned long long)total_tried,
	       (unsigned long long)total_told, (unsigned long long)load_acquire(&delays->n),
	       (unsigned long long)load_acquire(&delays->n_over),
	       (double)load_acquire(&delays->longest_ns) / 1e6);
	fflush(stdout);
}

/* ---- a process that dies at a point or at some time ---- */

static struct testpoints points;    /* those at which the victims of the case die */
static _Atomic uint64_t *n_died_at; /* of each of them; shared */
static size_t target;               /* one of them, or points.n: none */
static uint64_t left;               /* times that the target is still passed */

static void setup_points(bool (*are)(const char *name))
{
	testpoints_those(are, &points);
	n_died_at = harness_shared(points.n * sizeof(*n_died_at));
}

static void die_at_target(const char *name)
{
	if (target == points.n || strcmp(name, points.names[target]) != 0 || --left > 0)
		return;
	fetch_add_acq_rel(&n_died_at[target], 1);
	kill(getpid(), SIGKILL);
}

/* The one at which the fewest died. */
static size_t rarest_point(void)
{
	size_t rarest = 0;

	for (size_t i = 1; i < points.n; i++)
		if (load_acquire(&n_died_at[i]) < load_acquire(&n_died_at[rarest]))
			rarest = i;
	return rarest;
}

/* Somebody died at each, if there were enough for that. */
static void report_points(bool enough)
{
	for (size_t i = 0; i < points.n; i++) {
		uint64_t n_died = load_acquire(&n_died_at[i]);

		printf("%llu at %s%s", (unsigned long long)n_died, points.names[i],
		       i + 1 < points.n ? ", " : "\n");
		must(n_died > 0 || !enough, "nobody died at %s", points.names[i]);
	}
}

static bool has_begun(void *arg)
{
	return load_acquire((_Atomic int *)arg) != 0;
}

/* Ends a process after a while that begins with its birth, or with its work. */
static void kill_some_time(pid_t pid, _Atomic int *begun, uint64_t within_ns)
{
	if (pick(4) > 0)
		must(harness_until(has_begun, begun, 20), "the victim does not begin");
	harness_pause_ns(pick(within_ns));
	kill(pid, SIGKILL);
}

/* Whether it was killed and did not end by itself. */
static bool reap_victim(pid_t pid)
{
	int status = harness_reap(pid, 60);

	must(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0,
	     "a victim ended with %#x", (unsigned)status);
	return WIFSIGNALED(status);
}

/* ---- publishers ---- */

/* Returns whether it was killed. */
static bool kill_publisher(uint64_t i, _Atomic int *begun)
{
	bool at_point = i % 2 == 0;
	struct crowd_part part = {
		.crowd = crowd,
		.writer = 1 + (unsigned)pick(WRITERS - 1),
		.n_steps = at_point ? STEPS : UINT64_MAX,
		.seed = harness_random(&seed),
		.begun = begun,
		.hook = at_point ? die_at_target : NULL,
	};
	pid_t pid;

	target = i / 2 % points.n;
	left = 1 + pick(STEPS / 2);
	store_release(begun, 0);
	pid = harness_fork(crowd_publish, &part);
	if (!at_point)
		kill_some_time(pid, begun, 3000000);
	return reap_victim(pid);
}

START_TEST(publishers_killed_anywhere_cost_nothing_that_was_acknowledged)
{
	_Atomic int *begun = harness_shared(sizeof(*begun));
	uint64_t n = n_kills(KILLS), n_killed = 0, i = 0;

	setup_crowd(0);
	setup_points(testpoints_is_publishers);
	while (n_killed < n) {
		open_round();
		for (int j = 0; j < ROUND && n_killed < n; j++, i++)
			n_killed += kill_publisher(i, begun);
		crowd_wait(crowd, 20, "after the kills");
		close_round();
		must(i < 2 * n + 100, "most victims outlive their end");
	}
	report("publishers", n_killed);
	report_points(n >= KILLS);
	/* Most records are held up by nobody at all: even a busy machine gives them quickly. */
	must(load_acquire(&crowd->delays.n_over) < load_acquire(&crowd->delays.n) / 4,
	     "dead publishers hold up others");
	harness_bus_stop(&crowd->bus);
}
END_TEST

/* ---- subscribers ---- */

/* A subscriber with a name, whose successor goes on where its checkpoint was. */
struct heir {
	struct account_reader *reader;
	_Atomic uint64_t sure[SHARDS]; /* checkpoints that were confirmed */
	_Atomic int begun;
};

struct life {
	struct heir *heir;
	enum leat_isolation isolation;
	int32_t shard; /* one alone is read in a way of its own */
	bool to_the_end;
};

static void take_first(struct heir *heir, const struct leat_message *message)
{
	uint64_t sure = load_acquire(&heir->sure[message->shard]);

	must(message->pos >= sure, "shard %u: resumes at %llu before the checkpoint at %llu",
	     message->shard, (unsigned long long)message->pos, (unsigned long long)sure);
	if (message->pos < account_reader_pos(heir->reader, message->shard))
		account_reader_rewind(heir->reader, message->shard, message->pos);
}

static bool follows(const struct life *life, uint32_t shard)
{
	return life->shard < 0 || life->shard == (int32_t)shard;
}

static void store_checkpoint(struct life *life, struct leat_subscriber *subscriber)
{
	uint64_t pos[SHARDS] = { 0 };

	for (uint32_t i = 0; i < SHARDS; i++)
		must(!follows(life, i) || leat_subscriber_position(subscriber, i, &pos[i]) == 0,
		     "no position");
	must(leat_checkpoint(subscriber) == 0, "a checkpoint: %s",
	     leat_subscriber_detail(subscriber));
	for (uint32_t i = 0; i < SHARDS; i++)
		if (follows(life, i))
			store_release(&life->heir->sure[i], pos[i]);
}

static bool heir_is_at_end(const struct heir *heir)
{
	for (uint32_t i = 0; i < SHARDS; i++) {
		uint64_t end = load_acquire(&crowd->end[i]);

		if (end == 0 || account_reader_pos(heir->reader, i) <= end)
			return false;
	}
	return true;
}

static int subscribe(void *arg)
{
	struct life *life = arg;
	struct heir *heir = life->heir;
	struct leat_bus *bus = harness_connect(&crowd->bus);
	struct leat_subscriber_options options;
	struct leat_subscriber *subscriber;
	bool seen[SHARDS] = { false };
	struct leat_message message;

	leat_subscriber_options_init(&options);
	options.start = LEAT_EARLIEST;
	options.name = "heir";
	options.isolation = life->isolation;
	options.shard = life->shard;
	must(leat_subscriber_open(bus, crowd->stream, &options, &subscriber) == 0,
	     "subscribing: %s", leat_detail(bus));
	store_release(&heir->begun, 1);
	if (!life->to_the_end)
		testpoint_hook = die_at_target;
	for (uint64_t n = 1; !life->to_the_end || !heir_is_at_end(heir); n++) {
		int r = leat_next(subscriber, 100000000, &message);

		if (r == -ETIMEDOUT)
			continue;
		must(r == 1, "the heir: %s", leat_subscriber_detail(subscriber));
		if (!seen[message.shard])
			take_first(heir, &message);
		seen[message.shard] = true;
		must(account_reader_take(heir->reader, &message), "the heir: %s",
		     account_reader_complaint(heir->reader));
		if (n % 20 == 0)
			store_checkpoint(life, subscriber);
	}
	leat_subscriber_close(subscriber);
	leat_close(bus);
	return 0;
}

static void kill_subscriber(struct heir *heir, uint64_t i)
{
	struct life life = { .heir = heir,
			     .isolation = (enum leat_isolation)pick(3),
			     .shard = (int32_t)pick(SHARDS + 1) - 1 };
	pid_t pid;

	/* At a point if it comes there in time; not each way of reading comes to each. */
	target = i % 2 ? points.n : rarest_point();
	left = 1 + pick(5);
	store_release(&heir->begun, 0);
	pid = harness_fork(subscribe, &life);
	kill_some_time(pid, &heir->begun, i % 2 ? 3000000 : 40000000);
	must(reap_victim(pid), "a subscriber ended");
}

/* So many die, or more if that is what it takes until somebody has died at each point. */
static void subscribe_round(struct heir *heir, uint64_t n, bool to_each_point)
{
	struct crowd_part parts[2];
	pid_t pids[2], last;

	open_round();
	for (unsigned i = 0; i < 2; i++) {
		parts[i] = (struct crowd_part){ .crowd = crowd,
						.writer = 1 + i,
						.n_steps = n * 20,
						.seed = harness_random(&seed) };
		pids[i] = harness_fork(crowd_publish, &parts[i]);
	}
	for (uint64_t i = 0; i < n || (to_each_point && i < MORE * n); i++) {
		if (i >= n && load_acquire(&n_died_at[rarest_point()]) > 0)
			break;
		kill_subscriber(heir, i);
		total_killed++;
	}
	store_release(&crowd->stop, 1);
	for (unsigned i = 0; i < 2; i++)
		harness_reap_ok(pids[i], 60, "a publisher");
	crowd_end(crowd);
	last = harness_fork(subscribe, &(struct life){ .heir = heir,
						       .shard = LEAT_SHARD_ANY,
						       .to_the_end = true });
	harness_reap_ok(last, 60, "the last heir");
	must(account_reader_check(heir->reader, &nothing_is_lost), "the heirs: %s",
	     account_reader_complaint(heir->reader));
	account_reader_clear(heir->reader);
	for (uint32_t i = 0; i < SHARDS; i++)
		store_release(&heir->sure[i], 0);
	close_round();
}

START_TEST(subscribers_killed_anywhere_miss_nothing_and_are_missed_by_nobody)
{
	struct heir *heir = harness_shared(sizeof(*heir));
	uint64_t n = n_kills(KILLS);

	setup_crowd(0);
	heir->reader = account_reader_new(crowd->account);
	setup_points(testpoints_is_subscribers);
	for (uint64_t done = 0; done < n; done += ROUND)
		subscribe_round(heir, n - done < ROUND ? n - done : ROUND, n >= KILLS);
	report("subscribers", total_killed);
	report_points(n >= KILLS);
	harness_bus_stop(&crowd->bus);
}
END_TEST

/* ---- the daemon ---- */

static bool answers(void *arg)
{
	struct leat_bus *bus;

	(void)arg;
	if (leat_connect(crowd->bus.sock, NULL, &bus) < 0)
		return false;
	leat_close(bus);
	return true;
}

static bool has_other_child(void *arg)
{
	pid_t pid = harness_kept_pid(&crowd->bus);

	return pid > 0 && pid != *(pid_t *)arg;
}

static void kill_daemon_now(void)
{
	pid_t none = 0, pid;

	must(harness_until(has_other_child, &none, 30), "the keeper has no child");
	pid = harness_kept_pid(&crowd->bus);
	if (pid > 0)
		kill(pid, SIGKILL);
	must(harness_until(has_other_child, &pid, 30), "no daemon comes back");
}

static bool is_gone(void *arg)
{
	return access(arg, F_OK) < 0;
}

/* At that point if it comes there soon, in any case soon. */
static void kill_daemon_at(size_t point)
{
	static struct testpoints_provocation provocation = { .stream = "kills",
							     .ring_len = RING,
							     .n_shards = SHARDS };
	const char *name = points.names[point];
	char armed[160];
	int fd;

	snprintf(armed, sizeof(armed), "%s/points/%s", crowd->bus.dir, name);
	fd = open(armed, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	must(fd >= 0, "%s: %s", armed, strerror(errno));
	close(fd);
	provocation.bus = &crowd->bus;
	if (testpoints_is_starts(name))
		kill_daemon_now();
	else if (testpoints_is_provoked(name))
		testpoints_provoke(&provocation);
	if (harness_until(is_gone, armed, 0.2) || unlink(armed) < 0)
		fetch_add_acq_rel(&n_died_at[point], 1);
	else
		kill_daemon_now();
}

/* One that serves, and then perhaps those that come after it, before they do. */
static void kill_daemons(uint64_t i)
{
	must(harness_until(answers, NULL, 30), "no daemon answers");
	if (i % 2 == 0) {
		kill_daemon_at(i / 2 % points.n);
	} else {
		harness_pause_ns(pick(20000000));
		kill_daemon_now();
	}
	for (uint64_t more = pick(ROW); more > 0; more--) {
		harness_pause_ns(pick(15000000));
		kill_daemon_now();
	}
}

static void open_busy_round(pid_t pids[WRITERS - 1])
{
	struct crowd_part parts[WRITERS - 1];

	open_round();
	for (unsigned i = 0; i < WRITERS - 1; i++) {
		parts[i] = (struct crowd_part){ .crowd = crowd,
						.writer = 1 + i,
						.n_steps = RECORDS / LOAD_MANY - 1,
						.seed = harness_random(&seed) };
		pids[i] = harness_fork(crowd_publish, &parts[i]);
	}
}

static void close_busy_round(const pid_t pids[WRITERS - 1])
{
	store_release(&crowd->stop, 1);
	for (unsigned i = 0; i < WRITERS - 1; i++)
		harness_reap_ok(pids[i], 90, "a publisher");
	close_round();
}

static void daemon_round(uint64_t n)
{
	uint64_t before = harness_n_killed(&crowd->bus);
	pid_t pids[WRITERS - 1];

	open_busy_round(pids);
	for (uint64_t i = 0; harness_n_killed(&crowd->bus) - before < n; i++) {
		kill_daemons(i);
		if (i % 20 == 0)
			crowd_wait(crowd, 20, "between daemons");
	}
	close_busy_round(pids);
}

START_TEST(daemons_killed_anywhere_and_while_they_recover_lose_nothing)
{
	uint64_t n = n_kills(KILLS), killed;

	setenv("LEAT_KEEPER_EAGER", "1", 1);
	setup_crowd(HARNESS_KEEP | HARNESS_TESTPOINTS);
	setup_points(testpoints_is_daemons);
	while ((killed = harness_n_killed(&crowd->bus)) < n)
		daemon_round(n - killed < ROUND ? n - killed : ROUND);
	report("daemons", killed);
	/* crash_points sees to it that each is come to. */
	report_points(n >= 10 * KILLS);
	harness_bus_stop(&crowd->bus);
}
END_TEST

/* ---- a daemon that somebody else starts and brings back ---- */

static bool is_other_daemon(void *arg)
{
	return harness_has_other_daemon(&crowd->bus, *(pid_t *)arg);
}

START_TEST(daemons_of_another_keeper_lose_nothing)
{
	uint64_t n = n_kills(KILLS);
	pid_t pids[WRITERS - 1];

	setup_stage();
	snprintf(crowd->bus.sock, sizeof(crowd->bus.sock), "%s", getenv("LEAT_KILLS_BUS"));
	open_busy_round(pids);
	for (uint64_t i = 0; i < n; i++) {
		pid_t pid = harness_daemon_pid(&crowd->bus);

		harness_pause_ns(pick(20000000));
		must(kill(pid, SIGKILL) == 0, "kill %d: %s", (int)pid, strerror(errno));
		must(harness_until(is_other_daemon, &pid, 30), "no daemon comes back");
		if (i % 4 == 0)
			crowd_wait(crowd, 20, "between daemons");
	}
	close_busy_round(pids);
	report("daemons", n);
}
END_TEST

/* ---- everybody at once ---- */

/* Everybody of the bus dies, and with them the rings; what is in the page cache is not lost. */
static void die_all(_Atomic int begun[WRITERS])
{
	struct crowd_part parts[WRITERS];
	pid_t pids[WRITERS];

	for (unsigned i = 0; i < WRITERS; i++) {
		parts[i] = (struct crowd_part){ .crowd = crowd,
						.writer = i,
						.n_steps = UINT64_MAX,
						.seed = harness_random(&seed) };
		store_release(&begun[i], 0);
		parts[i].begun = &begun[i];
		pids[i] = harness_fork(crowd_publish, &parts[i]);
	}
	for (unsigned i = 0; i < WRITERS; i++)
		must(harness_until(has_begun, &begun[i], 20), "a publisher does not begin");
	harness_pause_ns(pick(60000000));
	/* In any order; who is left may still be told something. */
	if (pick(2))
		harness_bus_kill(&crowd->bus);
	for (unsigned i = 0; i < WRITERS; i++)
		harness_kill(pids[i]);
	if (crowd->bus.pid)
		harness_bus_kill(&crowd->bus);
	harness_bus_restart(&crowd->bus);
}

START_TEST(when_everybody_is_killed_what_was_written_is_there)
{
	/* The rings are gone: what was only there is reported as positions that are not used, or
	 * as damage, where of several writes under way a later one had come to the disk alone. */
	static const struct account_terms terms = {
		.gaps = { [LEAT_ACK_RING] = 1u << LEAT_GAP_JUMP | 1u << LEAT_GAP_DAMAGE }
	};
	struct leat_stream_options options;
	_Atomic int *begun = harness_shared(WRITERS * sizeof(*begun));
	uint64_t n = n_kills(KILLS) / 10;
	struct leat_bus *bus;

	setup_crowd(HARNESS_TESTPOINTS);
	for (uint64_t i = 0; i < n; i++) {
		if (i % ROUND == 0) {
			bus = harness_connect(&crowd->bus);
			account_clear(crowd->account);
			if (i > 0)
				must(leat_stream_delete(bus, "kills") == 0, "deleting");
			leat_stream_options_init(&options);
			options.segment_len = SEGMENT;
			harness_stream(bus, "kills", SHARDS, RING, &options);
			leat_close(bus);
		}
		die_all(begun);
		if (i % 5 != 4 && i != n - 1)
			continue;
		crowd_read_late(crowd);
		must(account_reader_check(crowd->late, &terms), "after all died: %s",
		     account_reader_complaint(crowd->late));
	}
	printf("%llu times everybody\n", (unsigned long long)n);
	harness_bus_stop(&crowd->bus);
}
END_TEST

/* CK_RUN_CASE chooses one. LEAT_KILLS_BUS is the socket of a bus whose daemon is brought back by
 * whoever started it: then only that is done. */
int main(void)
{
	Suite *suite = suite_create("crash_kills");
	double seconds = getenv("LEAT_KILLS") ? 36000 : 240;

	if (getenv("LEAT_KILLS_BUS")) {
		harness_add(suite, "elsewhere", daemons_of_another_keeper_lose_nothing, seconds);
		return harness_main(suite);
	}
	harness_add(suite, "publishers",
		    publishers_killed_anywhere_cost_nothing_that_was_acknowledged, seconds);
	harness_add(suite, "subscribers",
		    subscribers_killed_anywhere_miss_nothing_and_are_missed_by_nobody, seconds);
	harness_add(suite, "daemons", daemons_killed_anywhere_and_while_they_recover_lose_nothing,
		    seconds);
	harness_add(suite, "everybody", when_everybody_is_killed_what_was_written_is_there,
		    seconds);
	return harness_main(suite);
}
