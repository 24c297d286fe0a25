/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes on one ring: publishers that are killed with -9 at random moments and replaced, a drain
 * that buries and reclaims, a subscriber that keeps up and one that is lapped again and again.
 *
 * Subscribers and drain check every byte of every record, and that each publisher's records come
 * once, in order, without a hole (but for laps, which are told). What a publisher was told to be
 * in the ring is drained. Nobody sleeps beside a record.
 */
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "shm/wait.h"
#include "tests/ring_bed.h"

enum {
	RUN_MS = 8000,
	KILL_US = 4000, /* a publisher is killed so long after the last one, at most */
	N_PUBLISHERS = 3,
	N_READERS = 2,
	N_SLOTS = 16,
	WHO_MAX = 50000, /* lives of publishers */
	VALUE_MAX = 3000,
	RING_LEN = 256 << 10,
	GUARD_MS = 20,
	MISSED_MS = 3000, /* who slept so long with something to do was not woken */
};

struct reader_result {
	_Atomic uint64_t records;
	_Atomic uint64_t laps;
	_Atomic uint64_t tombstones;
	_Atomic uint64_t sleeps;
	_Atomic uint64_t shorts; /* records read by ring_read_short() */
};

/* Shared by all. */
struct stage {
	_Atomic bool stop;
	_Atomic uint64_t end; /* of the log, when it has one */
	struct reader_result readers[N_READERS];
	_Atomic uint64_t drain_records;
	_Atomic uint64_t drain_tombstones;
	_Atomic uint64_t drain_sleeps;
	_Atomic uint64_t acked[WHO_MAX]; /* records that its publisher knows to be in the ring */
	_Atomic uint64_t drained[WHO_MAX];
};

static struct ring_bed bed;
static struct stage *stage;
static int kick_fd;
static pid_t parent, drain_pid, reader_pids[N_READERS];

/* ---- publishers ---- */

static void wait_for_room(struct ring_publisher *publisher)
{
	const _Atomic uint32_t *bell = &publisher->ring->govern->limit_bell;
	uint32_t value = ring_bell(bell);
	struct ring *ring = publisher->ring;

	if (ring_tail(ring) + VALUE_MAX + 64 <= load_acquire(&ring->govern->limit))
		return;
	ring_kick_drain(publisher, true);
	(void)wait_bell(bell, value, 100 * NS_PER_MS);
}

static int publish(uint16_t slot, uint64_t who, uint64_t random)
{
	struct ring *ring = ring_bed_open(&bed, REGION_PUBLISHER);
	struct ring_publisher publisher;
	uint64_t number = 0;

	bed_must(ring_publisher_init(&publisher, ring, slot, kick_fd) == 0, "slot %d", slot);
	while (!load_relaxed(&stage->stop)) {
		uint32_t value_len = RING_BED_VALUE_MIN;
		int r;

		value_len += (uint32_t)(ring_bed_random(&random) % (VALUE_MAX - value_len));
		r = ring_bed_publish(&publisher, who, number, value_len, NULL);
		if (r == RING_E_FULL) {
			wait_for_room(&publisher);
			continue;
		}
		bed_must(r == 0, "ring_bed_publish: %d", r);
		store_release(&stage->acked[who], ++number);
	}
	return 0;
}

/* ---- subscribers ---- */

struct progress {
	uint64_t next; /* number that comes next */
	uint64_t lap;  /* laps of the reader when it was last seen */
};

struct reader {
	struct ring *ring;
	struct reader_result *result;
	struct progress *seen; /* [WHO_MAX] */
	uint64_t pos;
	uint64_t lap;
	uint64_t limit;
	char *buf;
	uint64_t cap;
};

static void take_record(struct reader *reader, const struct record_view *view)
{
	struct progress *progress;
	uint64_t who, number;

	bed_must(ring_bed_check(view, &who, &number) && who < WHO_MAX,
		 "what was read at %" PRIu64 " is not what was written", view->pos);
	progress = &reader->seen[who];
	bed_must(number >= progress->next, "record %" PRIu64 " of %" PRIu64 " comes twice", number,
		 who);
	bed_must(number == progress->next || progress->lap != reader->lap,
		 "record %" PRIu64 " of %" PRIu64 " is missing", progress->next, who);
	*progress = (struct progress){ .next = number + 1, .lap = reader->lap };
	fetch_add_relaxed(&reader->result->records, 1);
}

static void take_run(struct reader *reader, uint64_t len)
{
	uint64_t start = reader->pos, word;
	struct record_view view;

	while (reader->pos - start < len) {
		const char *bytes = reader->buf + (reader->pos - start);

		memcpy(&word, bytes, 8);
		bed_must(record_parse(word, bytes, reader->pos, &view) == 0, "a torn record");
		reader->pos += record_step(word);
		if (view.kind == RECORD_TOMBSTONE)
			fetch_add_relaxed(&reader->result->tombstones, 1);
		else
			take_record(reader, &view);
	}
}

static bool is_there(const struct reader *reader)
{
	return record_word_is_done(ring_word_at(reader->ring, reader->pos), reader->ring->max_len,
				   reader->ring->len);
}

static void wait_for_records(struct reader *reader)
{
	struct wait_ticket ticket;
	int r;

	wait_announce(&ticket, reader->ring);
	bed_must(wait_barrier(), "no membarrier");
	if (is_there(reader) || load_acquire(&stage->end))
		return;
	fetch_add_relaxed(&reader->result->sleeps, 1);
	r = wait_sleep(&ticket, 1, MISSED_MS * NS_PER_MS);
	bed_must(r != -ETIMEDOUT || !is_there(reader), "a subscriber slept beside a record");
}

/* Lets the ring go round now and then. */
static void dawdle(const struct reader *reader, uint64_t *random)
{
	uint64_t until = reader->pos + ring_bed_random(random) % (3 * RING_LEN);

	if (ring_bed_random(random) % 64 != 0)
		return;
	while (ring_tail(reader->ring) < until && !load_acquire(&stage->end))
		sched_yield();
}

static int subscribe(unsigned int idx, uint64_t random)
{
	struct reader reader = {
		.ring = ring_bed_open(&bed, REGION_SUBSCRIBER),
		.result = &stage->readers[idx],
		.seen = calloc(WHO_MAX, sizeof(struct progress)),
		.pos = LAYOUT_FIRST_POS,
		.cap = idx ? VALUE_MAX + 64 : 64 << 10,
	};
	uint64_t end, len, word;
	unsigned int turn = 0;

	reader.buf = malloc(reader.cap);
	while ((end = load_acquire(&stage->end)) == 0 || reader.pos < end) {
		int r;

		/* Both ways of reading, in turns. */
		if (turn++ % 2 == 0 && reader.pos < reader.limit &&
		    ring_read_short(reader.ring, reader.pos, reader.buf, &word)) {
			take_run(&reader, record_step(word));
			fetch_add_relaxed(&reader.result->shorts, 1);
			continue;
		}
		r = ring_read(reader.ring, reader.pos, UINT64_MAX, &reader.limit, reader.buf,
			      reader.cap, &len);

		switch (r) {
		case 0:
			take_run(&reader, len);
			break;
		case RING_E_LAPPED:
			reader.pos = ring_reclaimed(reader.ring);
			reader.lap++;
			fetch_add_relaxed(&reader.result->laps, 1);
			break;
		case RING_E_EMPTY:
			wait_for_records(&reader);
			break;
		default:
			bed_must(false, "ring_read: %d", r);
		}
		if (idx)
			dawdle(&reader, &random);
	}
	free(reader.buf);
	free(reader.seen);
	ring_close(reader.ring);
	return 0;
}

/* ---- the drain ---- */

static void on_record(void *arg, const struct record_view *view)
{
	uint64_t who, number;

	(void)arg;
	bed_must(ring_bed_check(view, &who, &number) && who < WHO_MAX, "drained a torn record");
	bed_must(number == load_relaxed(&stage->drained[who]),
		 "record %" PRIu64 " of %" PRIu64 " is drained out of order", number, who);
	store_relaxed(&stage->drained[who], number + 1);
}

static void drain_sleep(struct ring_bed_drain *drain, bool guard)
{
	struct pollfd kick = { .fd = kick_fd, .events = POLLIN };
	uint64_t n;

	ring_drain_sleeps(drain->ring);
	bed_must(membarrier_sync(), "no membarrier");
	if (!ring_bed_drain_pass(drain)) {
		int r = poll(&kick, 1, guard ? GUARD_MS : MISSED_MS);

		fetch_add_relaxed(&stage->drain_sleeps, 1);
		bed_must(r != 0 || guard || !ring_bed_drain_pass(drain),
			 "the drain slept beside a record");
	}
	ring_drain_wakes(drain->ring);
	(void)!read(kick_fd, &n, sizeof(n));
}

static int drain_until_end(void)
{
	struct ring_bed_drain drain;
	uint64_t end, guard_pos = 0, guard_ns = 0;

	ring_bed_drain_init(&drain, ring_bed_open(&bed, REGION_DAEMON), LAYOUT_FIRST_POS);
	drain.on_record = on_record;
	while ((end = load_acquire(&stage->end)) == 0 || drain.pos < end) {
		uint64_t now = clock_now_ns(CLOCK_MONOTONIC);

		if (guard_pos != drain.pos && now - guard_ns > GUARD_MS * NS_PER_MS) {
			guard_pos = drain.pos;
			guard_ns = now;
			ring_wake_subscribers(drain.ring);
		}
		if (!ring_bed_drain_pass(&drain) && load_acquire(&stage->end) == 0)
			drain_sleep(&drain, guard_pos != drain.pos);
	}
	bed_must(drain.damaged == 0, "the drain found damage");
	store_relaxed(&stage->drain_records, drain.records);
	store_relaxed(&stage->drain_tombstones, drain.tombstones);
	return 0;
}

/* ---- the parent ---- */

static pid_t child(void)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	bed_must(pid >= 0, "fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(98);
	}
	return pid;
}

static void kick(void)
{
	uint64_t one = 1;

	bed_must(write(kick_fd, &one, sizeof(one)) == sizeof(one), "write");
}

static void wants_alive(pid_t pid, const char *who)
{
	int status;

	bed_must(waitpid(pid, &status, WNOHANG) == 0, "%s ended too early", who);
}

/* Without them publishers would wait for ever. */
static void wants_all_alive(void)
{
	wants_alive(drain_pid, "the drain");
	for (unsigned int i = 0; i < N_READERS; i++)
		wants_alive(reader_pids[i], "a reader");
}

struct life {
	pid_t pid;
	uint16_t slot;
	uint64_t who;
};

static void begin_life(struct life *life, uint64_t who, uint64_t seed)
{
	uint16_t slot = 0;

	/* The drain frees the slots of the dead when it has passed what they left. */
	while (load_acquire(&bed.daemon->govern->owners[slot].state) != OWNER_FREE) {
		slot = (uint16_t)((slot + 1) % N_SLOTS);
		if (slot != 0)
			continue;
		wants_all_alive();
		sched_yield();
	}
	ring_bed_own(bed.daemon, slot, OWNER_TAKEN, 1);
	*life = (struct life){ .slot = slot, .who = who };
	life->pid = child();
	if (life->pid == 0)
		_exit(publish(slot, who, seed ^ who));
}

/* The status is that of somebody killed by us, or of somebody who ended by himself. */
static void end_life(const struct life *life)
{
	int status;

	bed_must(waitpid(life->pid, &status, 0) == life->pid, "waitpid");
	bed_must(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0,
		 "publisher %" PRIu64 " ended with %#x", life->who, (unsigned int)status);
	ring_bed_own(bed.daemon, life->slot, OWNER_DEAD, 0);
	kick();
}

static void wants_ok(pid_t pid, const char *who)
{
	int status;

	bed_must(waitpid(pid, &status, 0) == pid, "waitpid");
	bed_must(status == 0, "%s ended with %#x", who, (unsigned int)status);
}

static uint64_t kill_and_replace(uint64_t seed)
{
	uint64_t end = clock_now_ns(CLOCK_MONOTONIC) + RUN_MS * NS_PER_MS, random = seed;
	struct life lives[N_PUBLISHERS];
	uint64_t who = 0;

	for (unsigned int i = 0; i < N_PUBLISHERS; i++)
		begin_life(&lives[i], who++, seed);
	while (clock_now_ns(CLOCK_MONOTONIC) < end && who < WHO_MAX) {
		struct life *life = &lives[ring_bed_random(&random) % N_PUBLISHERS];
		uint64_t us = ring_bed_random(&random) % KILL_US;
		struct timespec moment = { .tv_nsec = (long)(us * NS_PER_US) };

		nanosleep(&moment, NULL);
		wants_all_alive();
		kill(life->pid, SIGKILL);
		end_life(life);
		begin_life(life, who++, seed);
	}
	store_relaxed(&stage->stop, true);
	for (unsigned int i = 0; i < N_PUBLISHERS; i++)
		end_life(&lives[i]);
	return who;
}

static void compare(uint64_t n_lives)
{
	uint64_t unsaid = 0;

	for (uint64_t who = 0; who < n_lives; who++) {
		uint64_t acked = load_relaxed(&stage->acked[who]);
		uint64_t drained = load_relaxed(&stage->drained[who]);

		/* Death can come between the commit and saying so. */
		bed_must(drained == acked || drained == acked + 1,
			 "%" PRIu64 " committed %" PRIu64 " records, %" PRIu64 " were drained", who,
			 acked, drained);
		unsaid += drained - acked;
	}
	printf("%" PRIu64 " lives, %" PRIu64 " records drained (%" PRIu64
	       " committed in the moment of death), %" PRIu64 " tombstones, %" PRIu64
	       " sleeps of the drain\n",
	       n_lives, load_relaxed(&stage->drain_records), unsaid,
	       load_relaxed(&stage->drain_tombstones), load_relaxed(&stage->drain_sleeps));
	for (unsigned int i = 0; i < N_READERS; i++)
		printf("reader %u: %" PRIu64 " records, %" PRIu64 " laps, %" PRIu64
		       " tombstones, %" PRIu64 " sleeps\n",
		       i, load_relaxed(&stage->readers[i].records),
		       load_relaxed(&stage->readers[i].laps),
		       load_relaxed(&stage->readers[i].tombstones),
		       load_relaxed(&stage->readers[i].sleeps));
	bed_must(n_lives > 2 * N_PUBLISHERS, "hardly anybody died");
	bed_must(load_relaxed(&stage->drain_tombstones) > 0, "nobody died in the middle");
	bed_must(load_relaxed(&stage->readers[1].laps) > 0, "nobody was lapped");
#ifndef __SANITIZE_THREAD__
	bed_must(load_relaxed(&stage->readers[0].shorts) > 0, "no record was read by itself");
#endif
	bed_must(load_relaxed(&stage->readers[0].records) > 0, "nothing was read");
}

int main(void)
{
	uint64_t seed = ring_bed_seed(), n_lives;

	parent = getpid();
	stage = mmap(NULL, sizeof(*stage), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	bed_must(stage != MAP_FAILED && kick_fd >= 0, "memory and an eventfd");
	ring_bed_init(&bed, RING_LEN);
	drain_pid = child();
	if (drain_pid == 0)
		_exit(drain_until_end());
	for (unsigned int i = 0; i < N_READERS; i++) {
		reader_pids[i] = child();
		if (reader_pids[i] == 0)
			_exit(subscribe(i, seed + i));
	}
	n_lives = kill_and_replace(seed);
	store_release(&stage->end, ring_tail(bed.daemon));
	kick();
	ring_wake_subscribers(bed.daemon);
	wants_ok(drain_pid, "the drain");
	ring_wake_subscribers(bed.daemon);
	for (unsigned int i = 0; i < N_READERS; i++)
		wants_ok(reader_pids[i], "a reader");
	compare(n_lives);
	bed_must(ring_bed_is_clean(bed.daemon), "free memory is not zero");
	ring_bed_deinit(&bed);
	munmap(stage, sizeof(*stage));
	close(kick_fd);
	return 0;
}
