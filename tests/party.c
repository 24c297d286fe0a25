/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/party.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "shm/base.h"

static const uint64_t long_ns = 30000000000u;

/* Which of the processes this is. */
struct part {
	struct party *party;
	unsigned idx;
};

static const size_t head_len = offsetof(struct party_content, rest);

size_t party_fill(struct party_content *content)
{
	uint64_t seed = content->publisher << 56 ^ content->number;

	for (unsigned i = 0; i < ARRAY_LEN(content->rest); i++)
		content->rest[i] = harness_random(&seed);
	return head_len + content->number * 7 % 1000;
}

bool party_is_whole(const void *value, size_t len)
{
	struct party_content content;

	if (len < head_len)
		return false;
	memcpy(&content, value, head_len);
	return len == party_fill(&content) && memcmp(value, &content, len) == 0;
}

static void pause_us(uint64_t us)
{
	struct timespec pause = { .tv_nsec = (long)us * 1000 };

	nanosleep(&pause, NULL);
}

static uint64_t least(const _Atomic uint64_t *values, unsigned n)
{
	uint64_t value = UINT64_MAX;

	for (unsigned i = 0; i < n; i++) {
		uint64_t now = load_acquire(&values[i]);

		value = now < value ? now : value;
	}
	return value;
}

static uint64_t sum(const _Atomic uint64_t *values, unsigned n)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < n; i++)
		total += load_acquire(&values[i]);
	return total;
}

/* ---- publishers ---- */

/* Keeps to the pace of the party; false when it is over. */
static bool goes_on(struct party *party, uint64_t number)
{
	if (party->pause_us)
		pause_us(party->pause_us);
	while (number > least(party->published, PARTY_PUBLISHERS) + PARTY_LEAD &&
	       !load_acquire(&party->stop))
		pause_us(200);
	return !load_acquire(&party->stop);
}

/* Publisher 0 never waits for the disk, 1 waits for `written`, 2 for `durable`, now and then. */
static int publish(void *arg)
{
	struct part *part = arg;
	struct party *party = part->party;
	struct leat_bus *bus = harness_connect(&party->bus);
	struct leat_publisher *publisher = harness_publisher(bus, "party");
	struct party_content content = { .publisher = part->idx };
	struct leat_record record = { .value = &content, .shard = LEAT_SHARD_ANY };
	struct leat_result result;
	int r;

	while (goes_on(party, content.number)) {
		record.key = &content.number;
		record.key_len = sizeof(content.number);
		record.value_len = party_fill(&content);
		r = leat_publish(publisher, &record, &result);
		must(r == 0, "publisher %u, record %llu: %s (%s)", part->idx,
		     (unsigned long long)content.number, leat_strerror(r),
		     leat_publisher_detail(publisher));
		content.number++;
		store_release(&party->published[part->idx], content.number);
		if (part->idx == 0 || content.number % 500 != 0)
			continue;
		r = leat_wait(publisher, result.shard, result.pos,
			      part->idx == 1 ? LEAT_ACK_WRITTEN : LEAT_ACK_DURABLE, long_ns);
		must(r == 0, "publisher %u waits: %s (%s)", part->idx, leat_strerror(r),
		     leat_publisher_detail(publisher));
	}
	r = leat_flush(publisher, LEAT_ACK_DURABLE, long_ns);
	must(r == 0, "publisher %u flushes: %s", part->idx, leat_publisher_detail(publisher));
	fetch_add_acq_rel(&party->n_done, 1);
	leat_publisher_close(publisher);
	leat_close(bus);
	return 0;
}

/* ---- subscribers ---- */

/* Numbers rise within publisher and shard, and in the end as many came as were published: with
 * both, none is missing and none came twice. */
struct progress {
	uint64_t next[PARTY_PUBLISHERS][PARTY_SHARDS];
	uint64_t n[PARTY_PUBLISHERS];
};

static void take(struct progress *progress, const struct leat_message *message)
{
	struct party_content content;

	must(message->kind == LEAT_RECORD, "a gap [%llu, %llu) in shard %u, reason %d",
	     (unsigned long long)message->pos, (unsigned long long)message->next_pos,
	     message->shard, (int)message->reason);
	/* Somebody who is no member of the party publishes empty records. */
	if (message->value_len == 0)
		return;
	must(message->value_len >= head_len && message->shard < PARTY_SHARDS, "a strange record");
	memcpy(&content, message->value, head_len);
	must(content.publisher < PARTY_PUBLISHERS, "a strange record");
	must(content.number >= progress->next[content.publisher][message->shard],
	     "publisher %llu, shard %u: record %llu comes twice or out of order",
	     (unsigned long long)content.publisher, message->shard,
	     (unsigned long long)content.number);
	must(party_is_whole(message->value, message->value_len),
	     "publisher %llu, record %llu: not what was published",
	     (unsigned long long)content.publisher, (unsigned long long)content.number);
	progress->next[content.publisher][message->shard] = content.number + 1;
	progress->n[content.publisher]++;
}

static uint64_t n_taken(const struct progress *progress)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < PARTY_PUBLISHERS; i++)
		n += progress->n[i];
	return n;
}

static int subscribe(void *arg)
{
	struct part *part = arg;
	struct party *party = part->party;
	struct leat_bus *bus = harness_connect(&party->bus);
	struct leat_subscriber *subscriber = harness_subscriber(bus, "party");
	struct progress progress = { 0 };
	struct leat_message message;
	int r;

	while (load_acquire(&party->n_done) < PARTY_PUBLISHERS ||
	       n_taken(&progress) < sum(party->published, PARTY_PUBLISHERS)) {
		r = leat_next(subscriber, 100000000, &message);
		if (r == -ETIMEDOUT)
			continue;
		must(r == 1, "subscriber %u: %s (%s)", part->idx, leat_strerror(r),
		     leat_subscriber_detail(subscriber));
		take(&progress, &message);
		store_release(&party->received[part->idx], n_taken(&progress));
	}
	while ((r = leat_next(subscriber, 0, &message)) == 1)
		take(&progress, &message);
	must(r == -ETIMEDOUT, "subscriber %u at the end: %s", part->idx, leat_strerror(r));
	for (unsigned i = 0; i < PARTY_PUBLISHERS; i++)
		must(progress.n[i] == load_acquire(&party->published[i]),
		     "publisher %u published %llu records, subscriber %u got %llu", i,
		     (unsigned long long)load_acquire(&party->published[i]), part->idx,
		     (unsigned long long)progress.n[i]);
	leat_subscriber_close(subscriber);
	leat_close(bus);
	return 0;
}

/* ---- the party ---- */

static pid_t start_one(struct party *party, unsigned idx, int (*fn)(void *))
{
	struct part part = { party, idx };

	return harness_fork(fn, &part);
}

void party_start(struct party *party, uint64_t ring_len)
{
	struct leat_bus *bus = harness_connect(&party->bus);
	struct leat_stream_options options;

	leat_stream_options_init(&options);
	options.claim_timeout_ns = party->claim_timeout_ns;
	/* More than a party fills, unless what it is held beside stands still for minutes. */
	options.retain_len = UINT64_C(16) << 30;
	harness_stream(bus, "party", PARTY_SHARDS, ring_len, &options);
	leat_close(bus);
	for (unsigned i = 0; i < PARTY_SUBSCRIBERS; i++)
		party->subscribers[i] = start_one(party, i, subscribe);
	for (unsigned i = 0; i < PARTY_PUBLISHERS; i++)
		party->publishers[i] = start_one(party, i, publish);
}

struct goal {
	struct party *party;
	uint64_t published;
	uint64_t received;
};

static bool all_went_on(void *arg)
{
	struct goal *goal = arg;

	return least(goal->party->published, PARTY_PUBLISHERS) >= goal->published &&
	       least(goal->party->received, PARTY_SUBSCRIBERS) >= goal->received;
}

void party_wait(struct party *party, uint64_t n, const char *when)
{
	struct goal goal = {
		.party = party,
		.published = least(party->published, PARTY_PUBLISHERS) + n,
		.received = least(party->received, PARTY_SUBSCRIBERS) + n,
	};

	must(harness_until(all_went_on, &goal, 30),
	     "somebody stands still %s: %llu %llu %llu records published, %llu %llu received", when,
	     (unsigned long long)load_acquire(&party->published[0]),
	     (unsigned long long)load_acquire(&party->published[1]),
	     (unsigned long long)load_acquire(&party->published[2]),
	     (unsigned long long)load_acquire(&party->received[0]),
	     (unsigned long long)load_acquire(&party->received[1]));
}

void party_end(struct party *party)
{
	store_release(&party->stop, 1);
	for (unsigned i = 0; i < PARTY_PUBLISHERS; i++)
		harness_reap_ok(party->publishers[i], 60, "a publisher");
	for (unsigned i = 0; i < PARTY_SUBSCRIBERS; i++)
		harness_reap_ok(party->subscribers[i], 60, "a subscriber");
	harness_reap_ok(start_one(party, 0, subscribe), 60, "a late subscriber");
}
