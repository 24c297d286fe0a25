/* SPDX-License-Identifier: Apache-2.0 */
/* Publishers against a real daemon: acknowledgements, claims, rings that move, forks, threads. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/atomic.h"
#include "tests/harness.h"

enum {
	RING = 64 << 10
};

/* Far longer than anything takes here, and short enough to fail before the case is killed. */
#define LONG_NS UINT64_C(20000000000)

static struct harness_bus bus;
static struct leat_bus *handle;

static void setup(void)
{
	harness_bus_start(&bus, 0);
	handle = harness_connect(&bus);
}

static void teardown(void)
{
	leat_close(handle);
	harness_bus_stop(&bus);
}

static uint64_t publish(struct leat_publisher *publisher, uint64_t number)
{
	struct leat_record record = { .value = &number, .value_len = sizeof(number) };
	struct leat_result result;
	int r = leat_publish(publisher, &record, &result);

	must(r == 0, "record %llu: %s", (unsigned long long)number,
	     leat_publisher_detail(publisher));
	return result.pos;
}

static uint64_t next_number(struct leat_subscriber *sub)
{
	struct leat_message message;
	uint64_t number;
	int r = leat_next(sub, LONG_NS, &message);

	must(r == 1, "no message: %s (%s)", leat_strerror(r), leat_subscriber_detail(sub));
	must(message.kind == LEAT_RECORD, "a gap [%llu, %llu), reason %d",
	     (unsigned long long)message.pos, (unsigned long long)message.next_pos,
	     (int)message.reason);
	must(message.value_len == sizeof(number), "a value of %u bytes", message.value_len);
	memcpy(&number, message.value, sizeof(number));
	return number;
}

START_TEST(acknowledgements_come_under_every_policy)
{
	static const enum leat_sync policies[] = { LEAT_SYNC_ALWAYS, LEAT_SYNC_NONE,
						   LEAT_SYNC_INTERVAL };
	struct leat_stream_options options;
	struct leat_publisher *publisher;
	struct leat_stream_info *info;
	uint64_t pos, begun = harness_now_ns();
	int i;

	leat_stream_options_init(&options);
	options.sync = policies[_i];
	/* Longer than the case may take: only asking brings the sync. */
	options.sync_ns = UINT64_C(3600000000000);
	harness_stream(handle, "acks", 1, RING, &options);
	publisher = harness_publisher(handle, "acks");
	for (i = 0; i < 50; i++) {
		pos = publish(publisher, 1);
		ck_assert_int_eq(leat_wait(publisher, 0, pos, LEAT_ACK_RING, 0), 0);
		ck_assert_int_eq(leat_wait(publisher, 0, pos, LEAT_ACK_WRITTEN, LONG_NS), 0);
		ck_assert_int_eq(leat_wait(publisher, 0, pos, LEAT_ACK_DURABLE, LONG_NS), 0);
		ck_assert_int_eq(leat_stream_describe(handle, "acks", &info), 0);
		ck_assert_uint_gt(info->shards[0].durable, pos);
		leat_stream_info_free(info);
	}
	publish(publisher, 2);
	ck_assert_int_eq(leat_flush(publisher, LEAT_ACK_DURABLE, LONG_NS), 0);
	ck_assert_uint_lt(harness_now_ns() - begun, LONG_NS);
	ck_assert_int_eq(leat_wait(publisher, 0, pos + (1 << 20), LEAT_ACK_DURABLE, 1000000),
			 -ETIMEDOUT);
	leat_publisher_close(publisher);
}
END_TEST

START_TEST(a_claim_in_a_ring_that_moved_is_published_or_not_and_says_which)
{
	struct leat_record record = { .value_len = sizeof(uint64_t) };
	struct leat_publisher *publisher, *other;
	struct leat_subscriber *sub;
	struct leat_claim claim;
	uint64_t number = 1, value;
	int r;

	harness_stream(handle, "moves", 1, RING, NULL);
	ck_assert_int_eq(leat_stream_alter(handle, "moves", "claim-timeout", "200ms"), 0);
	publisher = harness_publisher(handle, "moves");
	other = harness_publisher(handle, "moves");
	sub = harness_subscriber(handle, "moves");
	publish(publisher, 0);
	ck_assert_int_eq(leat_reserve(publisher, &record, &claim), 0);
	/* The same publisher goes on beside its claim, and so does another; nobody waits. */
	while (number < 20000) {
		publish(number % 2 ? publisher : other, number);
		number++;
	}
	/* The memory is still there to be written to. */
	memset(claim.value, 0xff, claim.value_len);
	r = leat_commit(publisher, &claim, NULL);
	ck_assert_int_eq(r, -ESTALE);
	ck_assert_ptr_nonnull(strstr(leat_publisher_detail(publisher), "'moves'"));
	publish(publisher, number++);
	for (value = 0; value < number; value++)
		ck_assert_uint_eq(next_number(sub), value);
	/* In time, it counts. */
	ck_assert_int_eq(leat_reserve(publisher, &record, &claim), 0);
	memcpy(claim.value, &number, sizeof(number));
	ck_assert_int_eq(leat_commit(publisher, &claim, NULL), 0);
	ck_assert_uint_eq(next_number(sub), number);
	ck_assert_int_gt(harness_figure(handle, "moves", "successors"), 0);
	leat_subscriber_close(sub);
	leat_publisher_close(other);
	leat_publisher_close(publisher);
}
END_TEST

START_TEST(a_publisher_that_closes_with_an_open_claim_holds_nobody_up)
{
	struct leat_record record = { .value_len = 8 };
	struct leat_publisher *publisher, *other;
	struct leat_subscriber *sub;
	struct leat_claim claim;
	uint64_t begun;

	harness_stream(handle, "claims", 1, RING, NULL);
	publisher = harness_publisher(handle, "claims");
	other = harness_publisher(handle, "claims");
	sub = harness_subscriber(handle, "claims");
	ck_assert_int_eq(leat_reserve(publisher, &record, &claim), 0);
	publish(other, 7);
	begun = harness_now_ns();
	leat_publisher_close(publisher);
	ck_assert_uint_eq(next_number(sub), 7);
	ck_assert_uint_lt(harness_now_ns() - begun, 1000000000);
	leat_subscriber_close(sub);
	leat_publisher_close(other);
}
END_TEST

struct mover {
	_Atomic int stop;
	int n_moves;
};

static void *move_ring(void *arg)
{
	static const char *const lens[] = { "128K", "64K", "256K", "64K" };
	struct leat_bus *own = harness_connect(&bus);
	struct mover *mover = arg;

	for (; !load_relaxed(&mover->stop); mover->n_moves++) {
		int r = leat_stream_alter(own, "moves", "ring", lens[mover->n_moves % 4]);

		must(r == 0 || r == -EAGAIN || r == -EBUSY || r == -EINVAL, "moving: %s",
		     leat_detail(own));
		usleep(20000);
	}
	leat_close(own);
	return NULL;
}

START_TEST(batches_stay_whole_while_the_ring_moves)
{
	enum {
		N = 5000,
		SIZE = 7
	};
	struct leat_publisher_stats stats = { .size = sizeof(stats) };
	struct leat_record records[SIZE];
	struct leat_publisher *publisher;
	struct leat_subscriber *sub;
	struct mover mover = { 0 };
	uint64_t numbers[SIZE], i, next = 0;
	pthread_t thread;
	int r;

	harness_stream(handle, "moves", 1, RING, NULL);
	publisher = harness_publisher(handle, "moves");
	sub = harness_subscriber(handle, "moves");
	pthread_create(&thread, NULL, move_ring, &mover);
	for (i = 0; i < (uint64_t)N * SIZE; i++) {
		numbers[i % SIZE] = i;
		records[i % SIZE] =
			(struct leat_record){ .value = &numbers[i % SIZE], .value_len = 8 };
		if (i % SIZE != SIZE - 1)
			continue;
		r = leat_publish_batch(publisher, records, SIZE, NULL);
		must(r == 0, "batch: %s", leat_publisher_detail(publisher));
		if (i % (SIZE * 10) == SIZE - 1)
			usleep(500);
		while (next + 100 < i)
			ck_assert_uint_eq(next_number(sub), next++);
	}
	while (next < (uint64_t)N * SIZE)
		ck_assert_uint_eq(next_number(sub), next++);
	store_relaxed(&mover.stop, 1);
	pthread_join(thread, NULL);
	ck_assert_int_eq(leat_publisher_statistics(publisher, &stats), 0);
	ck_assert_uint_gt(stats.successors, 2);
	ck_assert_uint_eq(stats.records, (uint64_t)N * SIZE);
	leat_subscriber_close(sub);
	/* Everything is on disk as well, in the same order. */
	ck_assert_int_eq(leat_flush(publisher, LEAT_ACK_DURABLE, LONG_NS), 0);
	sub = harness_subscriber(handle, "moves");
	for (next = 0; next < (uint64_t)N * SIZE; next++)
		ck_assert_uint_eq(next_number(sub), next);
	leat_subscriber_close(sub);
	leat_publisher_close(publisher);
}
END_TEST

START_TEST(a_larger_ring_takes_larger_records_at_once)
{
	static char value[128 << 10];
	struct leat_record record = { .value = value, .value_len = sizeof(value) };
	struct leat_publisher *publisher;
	size_t before;

	harness_stream(handle, "grows", 1, RING, NULL);
	publisher = harness_publisher(handle, "grows");
	before = leat_publisher_max_len(publisher);
	ck_assert_uint_eq(before, RING / 4 - 32);
	ck_assert_int_eq(leat_publish(publisher, &record, NULL), -EMSGSIZE);
	ck_assert_int_eq(leat_stream_alter(handle, "grows", "ring", "1M"), 0);
	publish(publisher, 1);
	while (leat_publisher_max_len(publisher) == before) {
		publish(publisher, 2);
		usleep(1000);
	}
	ck_assert_int_eq(leat_publish(publisher, &record, NULL), 0);
	leat_publisher_close(publisher);
}
END_TEST

START_TEST(a_forked_child_can_use_nothing_of_its_parents)
{
	struct leat_record record = { .value = "x", .value_len = 1 };
	struct leat_publisher *publisher;
	struct leat_subscriber *sub;
	struct leat_stream_info *info;
	struct leat_message message;
	struct leat_bus *own;
	pid_t pid;
	int r;

	harness_stream(handle, "forks", 1, RING, NULL);
	publisher = harness_publisher(handle, "forks");
	sub = harness_subscriber(handle, "forks");
	ck_assert_int_ge(leat_subscriber_fd(sub), 0);
	pid = fork();
	if (pid == 0) {
		r = leat_publish(publisher, &record, NULL) != -EPERM ||
		    leat_next(sub, 0, &message) != -EPERM ||
		    leat_stream_describe(handle, "forks", &info) != -EPERM ||
		    leat_stream_delete(handle, "forks") != -EPERM ||
		    leat_publisher_open(handle, "forks", NULL, &publisher) != -EPERM ||
		    leat_subscriber_open(handle, "forks", NULL, &sub) != -EPERM;
		/* Letting go of the copies does nothing to the parent. */
		leat_subscriber_close(sub);
		leat_publisher_close(publisher);
		leat_close(handle);
		/* Its own handles are as good as any. */
		r |= leat_connect(bus.sock, NULL, &own) != 0 ||
		     leat_publisher_open(own, "forks", NULL, &publisher) != 0 ||
		     leat_publish(publisher, &record, NULL) != 0;
		leat_publisher_close(publisher);
		leat_close(own);
		_exit(r);
	}
	harness_reap_ok(pid, 20, "the child");
	ck_assert_int_eq(leat_next(sub, LONG_NS, &message), 1);
	ck_assert_int_eq(leat_publish(publisher, &record, NULL), 0);
	ck_assert_int_eq(leat_next(sub, LONG_NS, &message), 1);
	leat_subscriber_close(sub);
	leat_publisher_close(publisher);
}
END_TEST

enum {
	N_THREADS = 6,
	N_EACH = 3000,
};

static void *publish_some(void *arg)
{
	struct leat_publisher *publisher = harness_publisher(handle, "threads");
	uint64_t id = (uint64_t)(uintptr_t)arg, i;

	for (i = 0; i < N_EACH; i++) {
		publish(publisher, id * N_EACH + i);
		/* Failures of others do not show here. */
		if (i % 1000 == 0) {
			must(leat_stream_delete(handle, "nothing") == -ENOENT, "a strange stream");
			must(strstr(leat_detail(handle), "'nothing'") != NULL, "no detail");
		}
	}
	leat_publisher_close(publisher);
	return NULL;
}

START_TEST(threads_share_a_connection)
{
	uint64_t next[N_THREADS] = { 0 }, i, number;
	pthread_t threads[N_THREADS];
	struct leat_subscriber *sub;

	harness_stream(handle, "threads", 1, RING, NULL);
	sub = harness_subscriber(handle, "threads");
	for (i = 0; i < N_THREADS; i++)
		pthread_create(&threads[i], NULL, publish_some, (void *)(uintptr_t)i);
	for (i = 0; i < (uint64_t)N_THREADS * N_EACH; i++) {
		number = next_number(sub);
		ck_assert_uint_eq(next[number / N_EACH], number % N_EACH);
		next[number / N_EACH]++;
	}
	for (i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	leat_subscriber_close(sub);
}
END_TEST

START_TEST(slots_are_given_back)
{
	struct leat_publisher *publishers[40];
	int i, round;

	/* More publishers in all than there are slots. */
	harness_stream(handle, "slots", 2, RING, NULL);
	for (round = 0; round < 10; round++) {
		for (i = 0; i < 40; i++) {
			publishers[i] = harness_publisher(handle, "slots");
			publish(publishers[i], 1);
		}
		for (i = 0; i < 40; i++)
			leat_publisher_close(publishers[i]);
	}
}
END_TEST

START_TEST(what_a_stream_says_of_itself_is_what_it_was_made_with)
{
	struct leat_stream_options options;
	struct leat_stream_info *info, **list;
	struct leat_publisher *publisher;
	struct leat_record record = { .value = "x", .value_len = 1 };
	int n;

	leat_stream_options_init(&options);
	options.n_shards = 3;
	options.ring_len = 128 << 10;
	options.mode = 0640;
	options.retain_ns = UINT64_C(7200000000000);
	options.sync = LEAT_SYNC_INTERVAL;
	options.sync_ns = 5000000;
	options.claim_timeout_ns = 3000000000;
	options.full = LEAT_FULL_FAIL;
	options.on_disk_full = LEAT_DISK_FULL_DROP_OLDEST;
	options.hash = LEAT_HASH_MD5;
	options.no_checksum = 1;
	ck_assert_int_eq(leat_stream_create(handle, "b", &options), 0);
	ck_assert_int_eq(leat_stream_create(handle, "b", &options), -EEXIST);
	ck_assert_int_eq(leat_stream_create(handle, "a", NULL), 0);
	ck_assert_int_eq(leat_stream_create(handle, "../x", NULL), -EINVAL);
	ck_assert_int_eq(leat_stream_describe(handle, "b", &info), 0);
	ck_assert_str_eq(info->name, "b");
	ck_assert_uint_eq(strlen(info->uuid), 36);
	ck_assert(info->may_subscribe && info->may_publish && info->may_administer);
	ck_assert_uint_eq(info->n_shards, 3);
	ck_assert_uint_eq(info->options.n_shards, 3);
	ck_assert_uint_eq(info->options.ring_len, 128 << 10);
	ck_assert_uint_eq(info->options.mode, 0640);
	ck_assert_uint_eq(info->options.retain_ns, UINT64_C(7200000000000));
	ck_assert_int_eq(info->options.sync, LEAT_SYNC_INTERVAL);
	ck_assert_uint_eq(info->options.sync_ns, 5000000);
	ck_assert_uint_eq(info->options.claim_timeout_ns, 3000000000);
	ck_assert_int_eq(info->options.full, LEAT_FULL_FAIL);
	ck_assert_int_eq(info->options.on_disk_full, LEAT_DISK_FULL_DROP_OLDEST);
	ck_assert_int_eq(info->options.hash, LEAT_HASH_MD5);
	ck_assert_int_eq(info->options.memory, 0);
	ck_assert_int_ne(info->options.no_checksum, 0);
	ck_assert_str_ne(info->options.owner, "");
	leat_stream_info_free(info);
	n = leat_stream_list(handle, &list);
	ck_assert_int_eq(n, 2);
	ck_assert_str_eq(list[0]->name, "a");
	ck_assert_str_eq(list[1]->name, "b");
	leat_stream_list_free(list, n);
	ck_assert_int_eq(leat_stream_alter(handle, "b", "retain-size", "1G"), 0);
	ck_assert_int_eq(leat_stream_alter(handle, "b", "no-such-thing", "1G"), -EINVAL);
	/* Full means an error at once where the stream says so. */
	publisher = harness_publisher(handle, "b");
	ck_assert_uint_eq(leat_publisher_n_shards(publisher), 3);
	ck_assert_int_eq(leat_publish(publisher, &record, NULL), 0);
	ck_assert_int_eq(leat_stream_delete(handle, "b"), 0);
	while ((n = leat_publish(publisher, &record, NULL)) == 0)
		usleep(1000);
	ck_assert_int_eq(n, -ENOENT);
	leat_publisher_close(publisher);
}
END_TEST

START_TEST(many_records_in_one_call_each_have_a_result)
{
	static char big[RING];
	struct leat_record records[5];
	struct leat_result results[5];
	struct leat_publisher *publisher;
	struct leat_subscriber *sub;
	uint64_t numbers[5], i;

	harness_stream(handle, "many", 1, RING, NULL);
	publisher = harness_publisher(handle, "many");
	sub = harness_subscriber(handle, "many");
	for (i = 0; i < 5; i++) {
		numbers[i] = i;
		records[i] = (struct leat_record){ .value = &numbers[i], .value_len = 8 };
	}
	records[1].value = big;
	records[1].value_len = sizeof(big);
	records[3].shard = 9;
	ck_assert_int_eq(leat_publish_many(publisher, records, 5, results), 3);
	ck_assert_int_eq(results[1].error, -EMSGSIZE);
	ck_assert_int_eq(results[3].error, -EINVAL);
	ck_assert_int_eq(results[0].error | results[2].error | results[4].error, 0);
	ck_assert_uint_lt(results[0].pos, results[2].pos);
	ck_assert_uint_eq(next_number(sub), 0);
	ck_assert_uint_eq(next_number(sub), 2);
	ck_assert_uint_eq(next_number(sub), 4);
	leat_subscriber_close(sub);
	leat_publisher_close(publisher);
}
END_TEST

enum {
	N_MANY = 3000,
	MANY_KEYS = 7
};

/* Each record's key and the number that it has among those of its key. */
struct numbered {
	uint32_t key, number;
	char rest[56];
};

static void make_numbered(struct numbered *values, struct leat_record *records, size_t n)
{
	uint32_t numbers[MANY_KEYS] = { 0 };

	for (size_t i = 0; i < n; i++) {
		uint32_t key = (uint32_t)(i * 5 % MANY_KEYS);

		values[i] = (struct numbered){ .key = key, .number = numbers[key]++ };
		records[i] = (struct leat_record){
			.key = &values[i].key,
			.key_len = sizeof(values[i].key),
			.value = &values[i],
			.value_len = sizeof(values[i]),
			.shard = LEAT_SHARD_ANY,
			.event_time_ns = i % 11 == 0,
		};
	}
}

/* More than the rings take at once, over several shards, with records between that are refused. */
START_TEST(many_records_keep_their_order_whatever_stands_between)
{
	static char big[RING];
	struct numbered *values = calloc(N_MANY, sizeof(*values));
	struct leat_record *records = calloc(N_MANY, sizeof(*records));
	struct leat_result *results = calloc(N_MANY, sizeof(*results));
	uint32_t numbers[MANY_KEYS] = { 0 };
	struct leat_publisher *publisher;
	struct leat_subscriber *sub;
	struct leat_message message;
	int n_good = 0;

	harness_stream(handle, "order", 3, RING, NULL);
	publisher = harness_publisher(handle, "order");
	sub = harness_subscriber(handle, "order");
	make_numbered(values, records, N_MANY);
	for (int i = 100; i < N_MANY; i += 1000) {
		records[i].value = big;
		records[i].value_len = sizeof(big);
		records[i + 1].shard = 77;
	}
	for (int i = 0; i < N_MANY; i++)
		n_good += records[i].value != big && records[i].shard != 77;
	ck_assert_int_eq(leat_publish_many(publisher, records, N_MANY, results), n_good);
	for (int i = 0; i < n_good; i++) {
		const struct numbered *value;

		ck_assert_int_eq(leat_next(sub, LONG_NS, &message), 1);
		ck_assert_int_eq(message.kind, LEAT_RECORD);
		value = message.value;
		ck_assert_uint_eq(message.value_len, sizeof(*value));
		ck_assert_uint_eq(message.key_len, sizeof(value->key));
		ck_assert_mem_eq(message.key, &value->key, message.key_len);
		/* Those that were refused are missing, and nothing else. */
		ck_assert_uint_ge(value->number, numbers[value->key]);
		ck_assert_uint_le(value->number, numbers[value->key] + 2);
		numbers[value->key] = value->number + 1;
	}
	for (int i = 0; i < N_MANY; i++) {
		int error = records[i].value == big  ? -EMSGSIZE
			    : records[i].shard == 77 ? -EINVAL
						     : 0;

		ck_assert_int_eq(results[i].error, error);
		if (error == 0)
			ck_assert_uint_eq(results[i].shard,
					  leat_publisher_shard_of(publisher, records[i].key,
								  records[i].key_len));
	}
	leat_subscriber_close(sub);
	leat_publisher_close(publisher);
	free(values);
	free(records);
	free(results);
}
END_TEST

static void *wait_for_one(void *arg)
{
	(void)next_number(arg);
	return NULL;
}

START_TEST(statistics_count_the_system_calls_that_were_paid_for)
{
	struct leat_publisher_stats stats = { .size = sizeof(stats) };
	struct leat_subscriber_stats read = { .size = sizeof(read) };
	struct leat_subscriber_options options;
	struct leat_publisher *publisher;
	struct leat_subscriber *sub;
	pthread_t thread;
	uint64_t i = 0;

	harness_stream(handle, "counts", 1, RING, NULL);
	publisher = harness_publisher(handle, "counts");
	leat_subscriber_options_init(&options);
	options.spin_ns = 0;
	ck_assert_int_eq(leat_subscriber_open(handle, "counts", &options, &sub), 0);
	/* Until one record comes while the subscriber sleeps. */
	while (stats.wakes == 0) {
		pthread_create(&thread, NULL, wait_for_one, sub);
		usleep(20000);
		publish(publisher, i++);
		pthread_join(thread, NULL);
		ck_assert_int_eq(leat_publisher_statistics(publisher, &stats), 0);
		ck_assert_uint_lt(i, 200);
	}
	/* A flush kicks in any case. */
	i = stats.drain_kicks;
	publish(publisher, 0);
	ck_assert_int_eq(leat_flush(publisher, LEAT_ACK_WRITTEN, LONG_NS), 0);
	ck_assert_int_eq(leat_publisher_statistics(publisher, &stats), 0);
	ck_assert_uint_gt(stats.drain_kicks, i);
	i = stats.records;
	ck_assert_uint_eq(next_number(sub), 0);
	ck_assert_uint_eq(stats.bytes, i * 40);
	ck_assert_uint_eq(stats.full_waits, 0);
	ck_assert_int_eq(leat_subscriber_statistics(sub, &read), 0);
	ck_assert_uint_eq(read.records, i);
	ck_assert_uint_gt(read.sleeps, 0);
	ck_assert_uint_eq(read.gaps + read.tombstones + read.lapped, 0);
	leat_subscriber_close(sub);
	leat_publisher_close(publisher);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sys_client_publish");
	TCase *tcase = tcase_create("client_publish");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, acknowledgements_come_under_every_policy, 0, 3);
	tcase_add_test(tcase, a_claim_in_a_ring_that_moved_is_published_or_not_and_says_which);
	tcase_add_test(tcase, a_publisher_that_closes_with_an_open_claim_holds_nobody_up);
	tcase_add_test(tcase, batches_stay_whole_while_the_ring_moves);
	tcase_add_test(tcase, a_larger_ring_takes_larger_records_at_once);
	tcase_add_test(tcase, a_forked_child_can_use_nothing_of_its_parents);
	tcase_add_test(tcase, threads_share_a_connection);
	tcase_add_test(tcase, slots_are_given_back);
	tcase_add_test(tcase, what_a_stream_says_of_itself_is_what_it_was_made_with);
	tcase_add_test(tcase, many_records_in_one_call_each_have_a_result);
	tcase_add_test(tcase, many_records_keep_their_order_whatever_stands_between);
	tcase_add_test(tcase, statistics_count_the_system_calls_that_were_paid_for);
	suite_add_tcase(suite, tcase);
	return harness_main(suite);
}
