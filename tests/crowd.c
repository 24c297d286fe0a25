/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/crowd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "shm/testpoint.h"

static const uint64_t long_ns = 600000000000u;
static const uint64_t probe_ns = 100000000u; /* for which one probe waits */

struct reading {
	struct crowd *crowd;
	int isolation;
};

void crowd_init(struct crowd *crowd, unsigned n_writers, uint64_t n)
{
	crowd->account = account_new(NULL, n_writers, n);
	for (int i = 0; i < CROWD_READERS; i++)
		crowd->readers[i] = account_reader_new(crowd->account);
	crowd->late = account_reader_new(crowd->account);
}

/* ---- readers ---- */

static void measure(struct crowd_delays *delays, const struct leat_message *message)
{
	struct timespec now;
	uint64_t now_ns, delay;

	clock_gettime(CLOCK_REALTIME, &now);
	now_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	delay = now_ns > message->timestamp_ns ? now_ns - message->timestamp_ns : 0;
	fetch_add_acq_rel(&delays->n, 1);
	if (delay > (delays->bound_ns ? delays->bound_ns : 10000000))
		fetch_add_acq_rel(&delays->n_over, 1);
	if (delay > load_acquire(&delays->longest_ns))
		store_release(&delays->longest_ns, delay);
}

static bool is_at_end(struct crowd *crowd, const struct account_reader *reader)
{
	for (uint32_t i = 0; i < crowd->n_shards; i++) {
		uint64_t end = load_acquire(&crowd->end[i]);

		if (end == 0 || account_reader_pos(reader, i) <= end)
			return false;
	}
	return true;
}

static int follow(void *arg)
{
	struct reading *reading = arg;
	struct crowd *crowd = reading->crowd;
	struct account_reader *reader = crowd->readers[reading->isolation];
	struct leat_bus *bus = harness_connect(&crowd->bus);
	struct leat_subscriber_options options;
	struct leat_subscriber *subscriber;
	struct leat_message message;
	int r;

	leat_subscriber_options_init(&options);
	options.start = LEAT_EARLIEST;
	options.isolation = (enum leat_isolation)reading->isolation;
	r = leat_subscriber_open(bus, crowd->stream, &options, &subscriber);
	must(r == 0, "subscribing: %s", leat_detail(bus));
	while (!is_at_end(crowd, reader)) {
		r = leat_next(subscriber, 100000000, &message);
		if (r == -ETIMEDOUT)
			continue;
		must(r == 1, "a subscriber: %s (%s)", leat_strerror(r),
		     leat_subscriber_detail(subscriber));
		must(account_reader_take(reader, &message), "isolation %d: %s", reading->isolation,
		     account_reader_complaint(reader));
		if (reading->isolation == LEAT_ISOLATION_RING &&
		    account_writer_of(&message) == CROWD_STEADY)
			measure(&crowd->delays, &message);
		store_release(&crowd->n_read[reading->isolation], account_reader_n(reader));
	}
	leat_subscriber_close(subscriber);
	leat_close(bus);
	return 0;
}

void crowd_read_late(struct crowd *crowd)
{
	struct leat_bus *bus = harness_connect(&crowd->bus);
	struct leat_subscriber_options options;
	struct leat_subscriber *subscriber;
	struct leat_message message;
	int r;

	account_reader_clear(crowd->late);
	leat_subscriber_options_init(&options);
	options.start = LEAT_EARLIEST;
	options.stop = LEAT_LATEST;
	r = leat_subscriber_open(bus, crowd->stream, &options, &subscriber);
	must(r == 0, "subscribing late: %s", leat_detail(bus));
	while ((r = leat_next(subscriber, long_ns, &message)) == 1)
		must(account_reader_take(crowd->late, &message), "late: %s",
		     account_reader_complaint(crowd->late));
	must(r == 0, "a late subscriber: %s (%s)", leat_strerror(r),
	     leat_subscriber_detail(subscriber));
	leat_subscriber_close(subscriber);
	leat_close(bus);
}

/* ---- publishers ---- */

static void open_load(struct crowd *crowd, unsigned writer, uint64_t seed, struct load *load,
		      struct leat_bus **ret_bus)
{
	*ret_bus = harness_connect(&crowd->bus);
	*load = (struct load){
		.account = crowd->account,
		.publisher = harness_publisher(*ret_bus, crowd->stream),
		.writer = writer,
		.seed = seed,
		.ring_len = crowd->ring_len,
		.timeout_ns = long_ns,
	};
	load_init(load);
}

static void close_load(struct load *load, struct leat_bus *bus)
{
	load_deinit(load);
	leat_publisher_close(load->publisher);
	leat_close(bus);
}

/* Who was stopped or frozen for too long is not told whether it counts. */
static bool may_be_told(const struct crowd *crowd, int r)
{
	return r == 0 || r == -ESTALE ||
	       (crowd->faults && (r == -ENOSPC || r == -EIO || r == -EDQUOT || r == -EROFS ||
				  r == -ETIMEDOUT || r == -EAGAIN));
}

int crowd_publish(void *arg)
{
	struct crowd_part *part = arg;
	struct crowd *crowd = part->crowd;
	struct leat_bus *bus;
	struct load load;

	open_load(crowd, part->writer, part->seed, &load, &bus);
	testpoint_hook = part->hook;
	if (part->begun)
		store_release(part->begun, 1);
	for (uint64_t i = 0; i < part->n_steps && !load_acquire(&crowd->stop); i++) {
		int r;

		must(account_room(crowd->account, part->writer) > LOAD_MANY, "the account is full");
		r = load_step(&load);
		must(may_be_told(crowd, r), "publisher %u: %s (%s)", part->writer, leat_strerror(r),
		     leat_publisher_detail(load.publisher));
		if (part->pause_us)
			harness_pause_ns(part->pause_us * 1000);
	}
	testpoint_hook = NULL;
	close_load(&load, bus);
	return 0;
}

static int probe_shard(struct crowd *crowd, struct load *load, uint32_t shard)
{
	uint64_t begin = harness_now_ns(), number = account_n(crowd->account, load->writer);
	struct leat_result result;
	int r = load_publish(load, 20, (int32_t)shard, &result);

	if (r == 0)
		r = leat_wait(load->publisher, shard, result.pos, LEAT_ACK_DURABLE,
			      load->timeout_ns);
	if (r < 0)
		return r;
	account_told(crowd->account, load->writer, number, &result, LEAT_ACK_DURABLE);
	store_release(&crowd->probed_ns[shard], begin);
	return 0;
}

int crowd_probe(void *arg)
{
	struct crowd_part *part = arg;
	struct crowd *crowd = part->crowd;
	struct leat_bus *bus;
	struct load load;

	open_load(crowd, part->writer, part->seed, &load, &bus);
	load.timeout_ns = probe_ns;
	while (!load_acquire(&crowd->stop)) {
		for (uint32_t i = 0; i < crowd->n_shards; i++) {
			int r = probe_shard(crowd, &load, i);

			must(may_be_told(crowd, r), "the probe: %s (%s)", leat_strerror(r),
			     leat_publisher_detail(load.publisher));
		}
		harness_pause_ns(part->pause_us * 1000);
	}
	close_load(&load, bus);
	return 0;
}

static int publish_steadily(void *arg)
{
	struct crowd *crowd = *(struct crowd **)arg;
	struct leat_result result;
	struct leat_bus *bus;
	struct load load;
	int r;

	open_load(crowd, CROWD_STEADY, crowd->seed, &load, &bus);
	while (!load_acquire(&crowd->over)) {
		r = load_publish(&load, 20, LEAT_SHARD_ANY, &result);
		must(may_be_told(crowd, r), "the steady publisher: %s (%s)", leat_strerror(r),
		     leat_publisher_detail(load.publisher));
		harness_pause_ns(crowd->pause_us * 1000);
	}
	for (uint32_t i = 0; i < crowd->n_shards; i++) {
		/* The faults are over; what they left must be as well, before long. */
		for (int tries = 0; tries < 500; tries++) {
			r = load_publish(&load, 20, (int32_t)i, &result);
			if (r == 0 || !crowd->faults)
				break;
			harness_pause_ns(20000000);
		}
		must(r == 0, "the last record: %s", leat_publisher_detail(load.publisher));
		store_release(&crowd->end[i], result.pos);
	}
	for (int tries = 0; tries < 500; tries++) {
		r = load_flush(&load, LEAT_ACK_DURABLE);
		if (r == 0 || !crowd->faults)
			break;
		harness_pause_ns(20000000);
	}
	must(r == 0, "the last flush: %s", leat_publisher_detail(load.publisher));
	close_load(&load, bus);
	return 0;
}

/* ---- the crowd ---- */

void crowd_open(struct crowd *crowd)
{
	struct leat_bus *bus = harness_connect(&crowd->bus);
	struct leat_stream_options options;

	account_clear(crowd->account);
	store_release(&crowd->stop, 0);
	store_release(&crowd->over, 0);
	leat_stream_options_init(&options);
	options.claim_timeout_ns = crowd->claim_timeout_ns;
	options.segment_len = crowd->segment_len;
	options.retain_len = crowd->retain_len;
	harness_stream(bus, crowd->stream, crowd->n_shards, crowd->ring_len, &options);
	leat_close(bus);
	for (uint32_t i = 0; i < crowd->n_shards; i++) {
		store_release(&crowd->end[i], 0);
		store_release(&crowd->probed_ns[i], 0);
	}
	for (int i = 0; i < CROWD_READERS; i++) {
		struct reading reading = { crowd, i };

		store_release(&crowd->n_read[i], 0);
		crowd->reader_pids[i] = harness_fork(follow, &reading);
	}
	crowd->steady_pid = harness_fork(publish_steadily, &crowd);
}

struct goal {
	struct crowd *crowd;
	uint64_t n[CROWD_READERS];
};

static bool all_got(void *arg)
{
	struct goal *goal = arg;

	for (int i = 0; i < CROWD_READERS; i++)
		if (load_acquire(&goal->crowd->n_read[i]) < goal->n[i])
			return false;
	return true;
}

void crowd_wait(struct crowd *crowd, uint64_t n, const char *when)
{
	struct goal goal = { .crowd = crowd };

	for (int i = 0; i < CROWD_READERS; i++)
		goal.n[i] = load_acquire(&crowd->n_read[i]) + n;
	must(harness_until(all_got, &goal, harness_patience(60)), "somebody stands still %s", when);
}

struct service {
	struct crowd *crowd;
	uint64_t since_ns;
};

static bool is_served(void *arg)
{
	struct service *service = arg;

	for (uint32_t i = 0; i < service->crowd->n_shards; i++)
		if (load_acquire(&service->crowd->probed_ns[i]) < service->since_ns)
			return false;
	return true;
}

bool crowd_is_served(struct crowd *crowd, double seconds)
{
	struct service service = { crowd, harness_now_ns() };

	return harness_until(is_served, &service, seconds);
}

void crowd_end(struct crowd *crowd)
{
	store_release(&crowd->over, 1);
	harness_reap_ok(crowd->steady_pid, 90, "the steady publisher");
}

void crowd_close(struct crowd *crowd, const struct account_terms *terms)
{
	static const char *const who[] = { "ring", "written", "durable" };
	struct account_terms late = *terms;
	struct leat_bus *bus;

	/* Who comes late begins with what is still kept. */
	late.from_first = crowd->retain_len != 0;
	if (!load_acquire(&crowd->over))
		crowd_end(crowd);
	for (int i = 0; i < CROWD_READERS; i++) {
		harness_reap_ok(crowd->reader_pids[i], 90, who[i]);
		must(account_reader_check(crowd->readers[i], terms), "isolation %s: %s", who[i],
		     account_reader_complaint(crowd->readers[i]));
		account_reader_clear(crowd->readers[i]);
	}
	crowd_read_late(crowd);
	must(account_reader_check(crowd->late, &late), "late: %s",
	     account_reader_complaint(crowd->late));
	bus = harness_connect(&crowd->bus);
	must(leat_stream_delete(bus, crowd->stream) == 0, "deleting: %s", leat_detail(bus));
	leat_close(bus);
}
