/* SPDX-License-Identifier: Apache-2.0 */
/* TEST_TIMEOUT=1800 */
/*
 * Somebody with permission to publish destroys all that this permission lets him reach, at full
 * speed: every word of the ring, the tail, every slot, the bells, the number of sleepers, the
 * memory itself (holes), the drain's eventfd; and comes back whenever he is left behind.
 *
 * Meanwhile on another stream nobody may notice anything: every record there once, in order, as it
 * was published. On the same shard honest publishers and subscribers may lose what was not drained,
 * but must not crash, must not wait for longer than they said, and see positions that only rise;
 * who reads only what is written gets what everybody gets who comes later. When he is gone the
 * shard works again; the damage has been counted. Meant for ASan.
 *
 * LEAT_HOSTILE_SECONDS says for how long, 5 by default.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shm/layout.h"
#include "shm/record.h"
#include "tests/harness.h"
#include "tests/party.h"
#include "tests/raw.h"

enum {
	RING = 128 << 10,
	BLOWS = 20000, /* between two looks for a newer ring */
	CHECKED_MAX = 1 << 20,
	HONEST = 9,  /* who publishes beside them, in what he publishes */
	FINAL = 200, /* records that have to come through afterwards */
};

#define CALL_NS UINT64_C(2000000000)
/* Beyond the time that a call was given: a loaded machine, ASan. */
#define SLACK_NS UINT64_C(100000000000)

struct scene {
	struct party party;
	_Atomic int stop;
	_Atomic uint64_t published; /* by the honest publisher beside the hostile one */
	_Atomic uint64_t refused;
	_Atomic uint64_t received; /* by the honest subscriber */
	_Atomic uint64_t gaps;
	/* What the one who reads only what is written got, in order. */
	struct {
		uint64_t pos;
		uint64_t sum;
	} checked[CHECKED_MAX];
	_Atomic uint64_t n_checked;
	_Atomic uint64_t n_struck; /* of these, struck before their publisher sealed them */
	_Atomic uint64_t final[2]; /* of the records after the end, of each subscriber */
	_Atomic uint64_t blows;
};

static struct scene *scene;

/* ---- the hostile one ---- */

struct prey {
	struct raw_reply reply;
	int socket;
	char *ring;
	struct layout_publish *publish;
	struct layout_wait *wait;
	uint64_t ring_len;
};

static void *map_fd(const struct prey *prey, const char *name, uint64_t len)
{
	void *p =
		mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, raw_fd(&prey->reply, name), 0);

	must(p != MAP_FAILED, "mmap of %s: %s", name, strerror(errno));
	return p;
}

static bool hunt(struct prey *prey)
{
	raw_request(prey->socket,
		    "{\"op\":\"attach\",\"stream\":\"victim\",\"shard\":0,\"role\":\"publish\"}",
		    &prey->reply);
	if (!raw_ok(&prey->reply)) {
		raw_end(&prey->reply);
		return false;
	}
	prey->ring_len = (uint64_t)json_integer_value(json_object_get(prey->reply.json, "ring"));
	prey->ring = map_fd(prey, "ring", prey->ring_len);
	prey->publish = map_fd(prey, "publish", LAYOUT_PUBLISH_LEN);
	prey->wait = map_fd(prey, "wait", LAYOUT_WAIT_LEN);
	return true;
}

/* The slot is given back, so that there is always one to be had. */
static void let_go(struct prey *prey)
{
	char text[128];
	struct raw_reply reply;

	snprintf(text, sizeof(text),
		 "{\"op\":\"detach\",\"stream\":\"victim\",\"shard\":0,\"slot\":%d}",
		 (int)json_integer_value(json_object_get(prey->reply.json, "slot")));
	raw_request(prey->socket, text, &reply);
	raw_end(&reply);
	munmap(prey->ring, prey->ring_len);
	munmap(prey->publish, LAYOUT_PUBLISH_LEN);
	munmap(prey->wait, LAYOUT_WAIT_LEN);
	raw_end(&prey->reply);
}

/* A word that looks like one of ours, of a length that does not fit. */
static uint64_t lie(uint64_t x)
{
	static const uint32_t lens[] = { 0,    1,        31,           32,       33,
					 4096, RING / 4, RING / 4 + 1, RING * 2, UINT32_MAX };

	return record_word(x % 8, lens[(x >> 8) % ARRAY_LEN(lens)], (uint16_t)(x >> 16 & 0x1ff),
			   x >> 60 == 0);
}

static void strike_ring(struct prey *prey, uint64_t x)
{
	uint64_t tail = load_relaxed(&prey->publish->tail), at = x >> 20;
	_Atomic uint64_t *word;

	/* Mostly where the others are at work. */
	if (x & 1)
		at = (tail - 4096 + at % 8192) & ~UINT64_C(7);
	word = (_Atomic uint64_t *)(prey->ring + at % prey->ring_len / 8 * 8);
	store_relaxed(word, x & 2 ? lie(x >> 4) : x & 4 ? x : load_relaxed(word) ^ UINT64_MAX);
}

static void strike_page(struct prey *prey, uint64_t x)
{
	struct layout_publish *publish = prey->publish;
	struct layout_slot *slot = &publish->slots[x >> 32 & 0xff];

	switch (x % 8) {
	case 0:
		store_relaxed(&publish->tail, x >> 3);
		break;
	case 1:
		fetch_add_relaxed(&publish->tail, (x >> 8) % 65536);
		break;
	case 2:
		store_relaxed(&slot->claim, x);
		break;
	case 3:
		store_relaxed(&slot->records, x);
		store_relaxed(&slot->bytes, x);
		break;
	case 4:
		store_relaxed(&publish->doorbell, (uint32_t)(x >> 8));
		break;
	case 5:
		store_relaxed(&publish->drain_kicked, (uint32_t)(x >> 8));
		break;
	case 6:
		store_relaxed(&prey->wait->n_sleepers, (uint32_t)(x >> 8));
		break;
	default:
		/* Records of somebody else once more, at another place. */
		memmove(prey->ring + (x >> 8) % (prey->ring_len - 4096),
			prey->ring + (x >> 24) % (prey->ring_len - 4096), 4096);
		break;
	}
}

static void strike_memory(struct prey *prey, uint64_t x)
{
	uint64_t value = UINT64_MAX - 1;
	int kick = raw_fd(&prey->reply, "kick");

	switch (x % 6) {
	case 0:
		(void)madvise(prey->ring + (x >> 8) % prey->ring_len / 4096 * 4096, 4096,
			      MADV_REMOVE);
		break;
	case 1:
		(void)fallocate(raw_fd(&prey->reply, "ring"),
				FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				(off_t)prey->ring_len);
		break;
	case 2:
		(void)madvise(prey->publish, LAYOUT_PUBLISH_LEN / 4096 * 4096, MADV_REMOVE);
		break;
	case 3:
		(void)madvise(prey->wait, LAYOUT_WAIT_LEN, MADV_REMOVE);
		break;
	case 4:
		/* Everybody has this open file description: whoever kicks next would wait. */
		(void)fcntl(kick, F_SETFL, O_NONBLOCK);
		(void)!write(kick, &value, sizeof(value));
		(void)fcntl(kick, F_SETFL, 0);
		break;
	default:
		(void)fcntl(kick, F_SETFL, O_NONBLOCK);
		(void)!read(kick, &value, sizeof(value));
		break;
	}
}

static int destroy(void *arg)
{
	uint64_t seed = *(uint64_t *)arg;
	struct prey prey = { .socket = raw_hello(&scene->party.bus) };

	while (!load_relaxed(&scene->stop)) {
		if (!hunt(&prey))
			continue;
		for (int i = 0; i < BLOWS; i++) {
			uint64_t x = harness_random(&seed);

			strike_ring(&prey, x);
			if (i % 16 == 0)
				strike_page(&prey, harness_random(&seed));
			if (i % 1024 == 0)
				strike_memory(&prey, harness_random(&seed));
		}
		fetch_add_relaxed(&scene->blows, BLOWS);
		let_go(&prey);
	}
	return 0;
}

/* ---- honest ones on the same shard ---- */

static void within(uint64_t start, uint64_t ns, const char *what)
{
	uint64_t took = harness_now_ns() - start;

	must(took < ns + SLACK_NS, "%s took %llu ms", what, (unsigned long long)(took / 1000000));
}

static int publish_beside(void *arg)
{
	struct leat_bus *bus = harness_connect(&scene->party.bus);
	struct leat_publisher *publisher = harness_publisher(bus, "victim");
	struct leat_result result;
	struct party_content content = { .publisher = HONEST };

	(void)arg;
	while (!load_relaxed(&scene->stop)) {
		struct leat_record record = { .value = &content,
					      .value_len = party_fill(&content),
					      .shard = LEAT_SHARD_ANY };
		uint64_t start = harness_now_ns();
		int r = leat_publish_timed(publisher, &record, CALL_NS, &result);

		within(start, CALL_NS, "a publish");
		must(r == 0 || r == -ETIMEDOUT || r == -EIO || r == -ESTALE || r == -EAGAIN,
		     "leat_publish: %d (%s)", r, leat_publisher_detail(publisher));
		fetch_add_relaxed(r == 0 ? &scene->published : &scene->refused, 1);
		if (r == 0 && ++content.number % 50 == 0) {
			start = harness_now_ns();
			r = leat_wait(publisher, result.shard, result.pos, LEAT_ACK_DURABLE,
				      CALL_NS);
			within(start, CALL_NS, "a wait");
			must(r == 0 || r == -ETIMEDOUT, "leat_wait: %d (%s)", r,
			     leat_publisher_detail(publisher));
		}
	}
	leat_publisher_close(publisher);
	leat_close(bus);
	return 0;
}

static uint64_t sum_of(const struct leat_message *message)
{
	uint64_t sum = message->value_len;

	for (size_t i = 0; i < message->value_len; i++)
		sum = (sum ^ ((const uint8_t *)message->value)[i]) * UINT64_C(0x100000001b3);
	for (size_t i = 0; i < message->key_len; i++)
		sum = (sum ^ ((const uint8_t *)message->key)[i]) * UINT64_C(0x100000001b3);
	return sum;
}

static bool is_final(const struct leat_message *message)
{
	return message->value_len == 5 && memcmp(message->value, "final", 5) == 0;
}

/*
 * Of what comes out of the ring as soon as it is there: that it is there to its last byte. What
 * comes once it is written has its checksum, which nobody here makes for what he writes over it;
 * only what is struck before its publisher takes the checksum is sealed with the blow.
 */
static void take_beside(const struct leat_message *message, bool is_checked)
{
	uint64_t sum = sum_of(message), n = load_relaxed(&scene->n_checked);
	static volatile uint64_t sums;

	sums += sum;
	(void)sums;
	fetch_add_relaxed(&scene->final[is_checked], is_final(message));
	if (!is_checked)
		return;
	must(n < CHECKED_MAX, "more than %d records", CHECKED_MAX);
	scene->checked[n].pos = message->pos;
	scene->checked[n].sum = sum;
	store_relaxed(&scene->n_checked, n + 1);
	if (!is_final(message) && !party_is_whole(message->value, message->value_len))
		fetch_add_relaxed(&scene->n_struck, 1);
}

static struct leat_subscriber *open_beside(struct leat_bus *bus, bool is_checked)
{
	struct leat_subscriber_options options;
	struct leat_subscriber *subscriber;
	int r;

	leat_subscriber_options_init(&options);
	options.start = LEAT_EARLIEST;
	options.isolation = is_checked ? LEAT_ISOLATION_WRITTEN : LEAT_ISOLATION_RING;
	r = leat_subscriber_open(bus, "victim", &options, &subscriber);
	must(r == 0, "leat_subscriber_open: %s", leat_detail(bus));
	return subscriber;
}

/* What comes is anybody's, but it comes in order. */
static int subscribe_beside(void *arg)
{
	bool is_checked = *(const bool *)arg;
	struct leat_bus *bus = harness_connect(&scene->party.bus);
	struct leat_subscriber *subscriber = open_beside(bus, is_checked);
	struct leat_message message;
	uint64_t next = 0;
	int r;

	while (load_relaxed(&scene->final[is_checked]) < FINAL) {
		uint64_t start = harness_now_ns();

		r = leat_next(subscriber, CALL_NS, &message);
		within(start, CALL_NS, "leat_next");
		if (r == -ETIMEDOUT)
			continue;
		must(r == 1, "leat_next: %d (%s)", r, leat_subscriber_detail(subscriber));
		must(message.pos >= next && message.next_pos > message.pos,
		     "positions go back: %llu to %llu after %llu", (unsigned long long)message.pos,
		     (unsigned long long)message.next_pos, (unsigned long long)next);
		next = message.next_pos;
		fetch_add_relaxed(message.kind == LEAT_GAP ? &scene->gaps : &scene->received, 1);
		if (message.kind == LEAT_RECORD)
			take_beside(&message, is_checked);
	}
	leat_subscriber_close(subscriber);
	leat_close(bus);
	return 0;
}

/* ---- afterwards ---- */

static void publish_final(void)
{
	struct leat_bus *bus = harness_connect(&scene->party.bus);
	struct leat_publisher *publisher = harness_publisher(bus, "victim");
	struct leat_record record = { .value = "final", .value_len = 5, .shard = LEAT_SHARD_ANY };
	uint64_t until = harness_now_ns() + SLACK_NS;
	int n = 0, r = 0;

	while (n < FINAL && harness_now_ns() < until) {
		r = leat_publish_timed(publisher, &record, CALL_NS, NULL);
		must(r == 0 || r == -ETIMEDOUT || r == -EIO, "publishing afterwards: %d (%s)", r,
		     leat_publisher_detail(publisher));
		n += r == 0;
	}
	must(n == FINAL, "the shard takes no records afterwards: %d (%s)", r,
	     leat_publisher_detail(publisher));
	r = leat_flush(publisher, LEAT_ACK_DURABLE, SLACK_NS);
	must(r == 0, "nothing becomes durable afterwards: %s", leat_publisher_detail(publisher));
	leat_publisher_close(publisher);
	leat_close(bus);
}

/* Who comes later gets the same at every position, as far as the disk has it. */
static void check_late(void)
{
	struct leat_bus *bus = harness_connect(&scene->party.bus);
	struct leat_subscriber *subscriber = open_beside(bus, true);
	uint64_t n = load_relaxed(&scene->n_checked), i = 0, n_same = 0, n_final = 0;
	struct leat_message message;

	while (n_final < FINAL) {
		int r = leat_next(subscriber, SLACK_NS, &message);

		must(r == 1, "late: %d (%s)", r, leat_subscriber_detail(subscriber));
		if (message.kind == LEAT_GAP)
			continue;
		n_final += is_final(&message);
		while (i < n && scene->checked[i].pos < message.pos)
			i++;
		if (i == n || scene->checked[i].pos != message.pos)
			continue;
		must(scene->checked[i].sum == sum_of(&message),
		     "position %llu was one record and is another now",
		     (unsigned long long)message.pos);
		n_same++;
	}
	printf("%llu records read once they were written, %llu of them the same later, %llu "
	       "struck before they were sealed\n",
	       (unsigned long long)n, (unsigned long long)n_same,
	       (unsigned long long)load_relaxed(&scene->n_struck));
	ck_assert_uint_gt(n_same, FINAL);
	ck_assert_uint_gt(n_same, n / 2);
	ck_assert_uint_lt(load_relaxed(&scene->n_struck), n / 10);
	leat_subscriber_close(subscriber);
	leat_close(bus);
}

static void verify(const char *stream, bool whole)
{
	struct harness_output output;

	harness_run(&scene->party.bus, NULL, &output,
		    (const char *[]){ "leat", "verify", stream, NULL });
	must(output.status == 0 || (!whole && output.status == 1), "leat verify %s: %d\n%s%s",
	     stream, output.status, output.out, output.err);
	harness_output_deinit(&output);
}

static void hold_out(double seconds, pid_t daemon_pid)
{
	uint64_t until = harness_now_ns() + (uint64_t)(seconds * 1e9);

	do {
		party_wait(&scene->party, 200, "beside a hostile publisher");
		must(harness_daemon_pid(&scene->party.bus) == daemon_pid, "the daemon died");
	} while (harness_now_ns() < until);
}

static void check_damage(void)
{
	struct leat_bus *bus = harness_connect(&scene->party.bus);
	int64_t damaged = harness_figure(bus, "victim", "damaged");
	int64_t buried = harness_figure(bus, "victim", "tombstones");

	printf("%llu blows; beside them %llu records published, %llu refused, %llu received, "
	       "%llu gaps; %lld ranges damaged, %lld tombstones, %lld successors\n",
	       (unsigned long long)load_relaxed(&scene->blows),
	       (unsigned long long)load_relaxed(&scene->published),
	       (unsigned long long)load_relaxed(&scene->refused),
	       (unsigned long long)load_relaxed(&scene->received),
	       (unsigned long long)load_relaxed(&scene->gaps), (long long)damaged,
	       (long long)buried, (long long)harness_figure(bus, "victim", "successors"));
	ck_assert_int_gt(load_relaxed(&scene->blows), 0);
	ck_assert_int_gt(damaged, 0);
	ck_assert_int_gt(load_relaxed(&scene->gaps), 0);
	ck_assert_int_eq(harness_figure(bus, "party", "damaged"), 0);
	leat_close(bus);
}

START_TEST(a_publisher_that_destroys_all_it_can_reach_harms_its_own_shard_alone)
{
	const char *given = getenv("LEAT_HOSTILE_SECONDS");
	uint64_t seeds[2] = { harness_seed() };
	struct leat_stream_options options;
	pid_t hostile[2], publisher, subscribers[2], daemon_pid;
	struct leat_bus *bus;

	scene = harness_shared(sizeof(*scene));
	harness_bus_start(&scene->party.bus, 0);
	daemon_pid = harness_daemon_pid(&scene->party.bus);
	bus = harness_connect(&scene->party.bus);
	leat_stream_options_init(&options);
	options.claim_timeout_ns = 100000000;
	harness_stream(bus, "victim", 1, RING, &options);
	leat_close(bus);
	party_start(&scene->party, 1 << 20);
	publisher = harness_fork(publish_beside, NULL);
	for (int i = 0; i < 2; i++)
		subscribers[i] = harness_fork(subscribe_beside, &(bool){ i == 1 });
	for (int i = 0; i < 2; i++) {
		seeds[1] = seeds[0] + (uint64_t)i;
		hostile[i] = harness_fork(destroy, &seeds[1]);
	}
	hold_out(given ? strtod(given, NULL) : 5, daemon_pid);
	store_relaxed(&scene->stop, 1);
	/* One in the middle of a blow. */
	harness_kill(hostile[0]);
	harness_reap_ok(hostile[1], 240, "the hostile publisher");
	harness_reap_ok(publisher, 240, "the publisher beside");
	publish_final();
	for (int i = 0; i < 2; i++)
		harness_reap_ok(subscribers[i], 240, "a subscriber beside");
	check_damage();
	check_late();
	party_end(&scene->party);
	verify("party", true);
	verify("victim", false);
	must(harness_daemon_pid(&scene->party.bus) == daemon_pid, "the daemon died");
	harness_bus_stop(&scene->party.bus);
}
END_TEST

/* ---- a subscriber who steals sleepers ---- */

enum {
	STOLEN_RECORDS = 150,
	STOLEN_PAUSE_US = 20000,
};

/* Half of the records come sooner than this, though their sleeper was led away. */
#define STOLEN_NS UINT64_C(500000000)

/* To lead a bell's sleepers to a word that nobody rings, to be able to read the bell is enough. */
static int steal(void *arg)
{
	static uint32_t nowhere;
	struct raw_reply reply;
	int fd = raw_hello(&scene->party.bus);
	struct layout_publish *page;

	(void)arg;
	raw_request(fd,
		    "{\"op\":\"attach\",\"stream\":\"victim\",\"shard\":0,"
		    "\"role\":\"subscribe\"}",
		    &reply);
	must(raw_ok(&reply), "attach");
	page = mmap(NULL, LAYOUT_PUBLISH_LEN, PROT_READ, MAP_SHARED, raw_fd(&reply, "publish"), 0);
	must(page != MAP_FAILED, "mmap: %s", strerror(errno));
	while (!load_relaxed(&scene->stop)) {
		long n =
			syscall(SYS_futex, &page->doorbell, FUTEX_REQUEUE, 0, INT_MAX, &nowhere, 0);

		must(n >= 0, "FUTEX_REQUEUE: %s", strerror(errno));
		fetch_add_relaxed(&scene->blows, (uint64_t)n);
	}
	return 0;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Each record says when it was published. */
static int measure_delay(void *arg)
{
	static uint64_t delays[STOLEN_RECORDS];
	struct leat_bus *bus = harness_connect(&scene->party.bus);
	struct leat_subscriber *subscriber = harness_subscriber(bus, "victim");
	struct leat_message message;

	(void)arg;
	for (int i = 0; i < STOLEN_RECORDS; i++) {
		uint64_t then;
		int r = leat_next(subscriber, LEAT_FOREVER, &message);

		must(r == 1 && message.value_len == sizeof(then), "leat_next: %d", r);
		memcpy(&then, message.value, sizeof(then));
		delays[i] = harness_now_ns() - then;
	}
	qsort(delays, STOLEN_RECORDS, sizeof(delays[0]), by_size);
	printf("delay of a stolen sleeper: median %llu us, longest %llu us\n",
	       (unsigned long long)delays[STOLEN_RECORDS / 2] / 1000,
	       (unsigned long long)delays[STOLEN_RECORDS - 1] / 1000);
	must(delays[STOLEN_RECORDS / 2] < STOLEN_NS, "half of the records came after %llu us",
	     (unsigned long long)delays[STOLEN_RECORDS / 2] / 1000);
	leat_subscriber_close(subscriber);
	leat_close(bus);
	return 0;
}

START_TEST(a_subscriber_that_leads_sleepers_away_delays_them_by_a_moment)
{
	struct leat_publisher *publisher;
	pid_t thief, subscriber;
	struct leat_bus *bus;

	scene = harness_shared(sizeof(*scene));
	harness_bus_start(&scene->party.bus, 0);
	bus = harness_connect(&scene->party.bus);
	harness_stream(bus, "victim", 1, RING, NULL);
	publisher = harness_publisher(bus, "victim");
	subscriber = harness_fork(measure_delay, NULL);
	thief = harness_fork(steal, NULL);
	for (int i = 0; i < STOLEN_RECORDS; i++) {
		uint64_t now;

		/* So that he sleeps again before the next one comes. */
		usleep(STOLEN_PAUSE_US);
		now = harness_now_ns();
		must(leat_publish(publisher,
				  &(struct leat_record){ .value = &now,
							 .value_len = sizeof(now),
							 .shard = LEAT_SHARD_ANY },
				  NULL) == 0,
		     "publish: %s", leat_publisher_detail(publisher));
	}
	harness_reap_ok(subscriber, 240, "the subscriber");
	store_relaxed(&scene->stop, 1);
	harness_reap_ok(thief, 60, "the thief");
	printf("%llu sleepers were led away\n", (unsigned long long)load_relaxed(&scene->blows));
	ck_assert_int_gt(load_relaxed(&scene->blows), STOLEN_RECORDS / 10);
	leat_publisher_close(publisher);
	leat_close(bus);
	harness_bus_stop(&scene->party.bus);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("stress_hostile");
	TCase *tcase = tcase_create("hostile");
	const char *given = getenv("LEAT_HOSTILE_SECONDS");

	tcase_set_timeout(tcase, 600 + (given ? strtod(given, NULL) : 5));
	tcase_add_test(tcase, a_publisher_that_destroys_all_it_can_reach_harms_its_own_shard_alone);
	suite_add_tcase(suite, tcase);
	tcase = tcase_create("stolen");
	tcase_set_timeout(tcase, 600);
	tcase_add_test(tcase, a_subscriber_that_leads_sleepers_away_delays_them_by_a_moment);
	suite_add_tcase(suite, tcase);
	return harness_main(suite);
}
