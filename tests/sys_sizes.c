/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes and any size up to the largest go through; one byte more does not. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/harness.h"

enum {
	RING = 8 << 20
};

struct sample {
	const char *key;
	size_t key_len;
	size_t value_len;
};

static const struct sample samples[] = {
	{ "", 0, 0 },
	{ "only a key", 10, 0 },
	{ "", 0, 1 },
	{ "a\0b", 3, 2 },
	{ "\0", 1, 31 },
	{ "k", 1, 32 },
	{ "k", 1, 33 },
	{ "k", 1, 63 },
	{ "k", 1, 64 },
	{ "k", 1, 4095 },
	{ "k", 1, 4096 },
	{ "k", 1, 65535 },
	{ "k", 1, 65536 },
	{ "k", 1, 1 << 20 },
	{ "\n\n", 2, (1 << 20) + 1 },
	{ "\xff\xfe\0\x80", 4, 100 },
};

enum {
	N_SAMPLES = sizeof(samples) / sizeof(samples[0])
};

/* Bytes of every value, many of them 0, that differ from record to record. */
static void fill(char *value, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i++)
		value[i] = seed % 3 == 0 ? 0 : (char)(harness_random(&seed) >> 17);
}

static struct leat_result publish(struct leat_publisher *publisher, unsigned i, char *value)
{
	struct leat_record record = {
		.key = samples[i].key,
		.key_len = samples[i].key_len,
		.value = value,
		.value_len = samples[i].value_len,
		.shard = 0,
	};
	struct leat_result result;
	int r;

	fill(value, record.value_len, i);
	r = leat_publish(publisher, &record, &result);
	must(r == 0, "record %u: %s (%s)", i, leat_strerror(r), leat_publisher_detail(publisher));
	return result;
}

static void expect(struct leat_subscriber *subscriber, unsigned i, const struct leat_result *at,
		   char *value)
{
	struct leat_message message;
	int r = leat_next(subscriber, 5000000000u, &message);

	must(r == 1, "record %u: %s", i, r ? leat_strerror(r) : "the end");
	must(message.kind == LEAT_RECORD, "a gap before record %u", i);
	fill(value, samples[i].value_len, i);
	must(message.pos == at->pos, "record %u at %llu, published at %llu", i,
	     (unsigned long long)message.pos, (unsigned long long)at->pos);
	must(message.key_len == samples[i].key_len && message.value_len == samples[i].value_len,
	     "record %u has the wrong lengths", i);
	must(memcmp(message.key, samples[i].key, message.key_len) == 0, "key of record %u", i);
	must(memcmp(message.value, value, message.value_len) == 0, "value of record %u", i);
}

static void read_all(struct leat_bus *bus, const struct leat_result *results, char *value)
{
	struct leat_subscriber *subscriber = harness_subscriber(bus, "sizes");

	for (unsigned i = 0; i < N_SAMPLES; i++)
		expect(subscriber, i, &results[i], value);
	leat_subscriber_close(subscriber);
}

START_TEST(any_bytes_and_sizes_pass_live_later_and_from_disk_after_a_restart)
{
	struct leat_result results[N_SAMPLES];
	struct leat_publisher *publisher;
	struct leat_subscriber *live;
	struct harness_bus bus;
	struct leat_bus *handle;
	char *value = malloc(2 << 20);

	harness_bus_start(&bus, 0);
	handle = harness_connect(&bus);
	harness_stream(handle, "sizes", 1, RING, NULL);
	live = harness_subscriber(handle, "sizes");
	publisher = harness_publisher(handle, "sizes");
	for (unsigned i = 0; i < N_SAMPLES; i++) {
		results[i] = publish(publisher, i, value);
		expect(live, i, &results[i], value);
	}
	ck_assert_int_eq(leat_flush(publisher, LEAT_ACK_DURABLE, 10000000000u), 0);
	read_all(handle, results, value);
	leat_subscriber_close(live);
	leat_publisher_close(publisher);
	leat_close(handle);

	harness_bus_stop(&bus);
	harness_bus_restart(&bus);
	handle = harness_connect(&bus);
	read_all(handle, results, value);
	leat_close(handle);
	harness_bus_stop(&bus);
	free(value);
}
END_TEST

/* The largest record of a ring passes whole; with one byte more nothing happens at all. */
static void try_largest(uint64_t ring_len)
{
	struct leat_record record = { .key = "key", .key_len = 3, .shard = 0 };
	struct leat_publisher *publisher;
	struct leat_subscriber *live;
	struct leat_message message;
	struct leat_result result;
	struct harness_bus bus;
	struct leat_bus *handle;
	char limit[32], *value;
	uint64_t latest;
	size_t max_len;

	harness_bus_start(&bus, 0);
	handle = harness_connect(&bus);
	harness_stream(handle, "largest", 1, ring_len, NULL);
	live = harness_subscriber(handle, "largest");
	publisher = harness_publisher(handle, "largest");
	max_len = leat_publisher_max_len(publisher);
	ck_assert_uint_gt(max_len, ring_len / 4 - 64);
	ck_assert_uint_le(max_len, ring_len / 4);
	value = malloc(max_len + 1);
	fill(value, max_len + 1, 7);

	record.value = value;
	record.value_len = max_len - 3 + 1;
	latest = (uint64_t)harness_figure(handle, "largest", "latest");
	ck_assert_int_eq(leat_publish(publisher, &record, &result), -EMSGSIZE);
	snprintf(limit, sizeof(limit), "%zu", max_len);
	must(strstr(leat_publisher_detail(publisher), limit), "the limit %s is not in: %s", limit,
	     leat_publisher_detail(publisher));
	ck_assert_uint_eq((uint64_t)harness_figure(handle, "largest", "latest"), latest);

	for (int i = 0; i < 10; i++) {
		record.value_len = max_len - 3;
		value[0] = (char)i;
		ck_assert_int_eq(leat_publish(publisher, &record, &result), 0);
		ck_assert_int_eq(leat_next(live, 5000000000u, &message), 1);
		ck_assert_int_eq(message.kind, LEAT_RECORD);
		ck_assert_uint_eq(message.value_len, record.value_len);
		ck_assert(memcmp(message.value, value, record.value_len) == 0);
	}
	ck_assert_int_eq(leat_flush(publisher, LEAT_ACK_DURABLE, 10000000000u), 0);
	leat_subscriber_close(live);
	leat_publisher_close(publisher);
	leat_close(handle);
	harness_bus_stop(&bus);
	free(value);
}

START_TEST(the_largest_record_of_a_small_ring_passes_and_one_byte_more_stores_nothing)
{
	try_largest(64 << 10);
}
END_TEST

START_TEST(the_largest_record_of_a_middling_ring_passes_and_one_byte_more_stores_nothing)
{
	try_largest(4 << 20);
}
END_TEST

START_TEST(no_record_is_larger_than_the_bus_allows_however_large_the_ring)
{
	struct leat_record record = { .shard = 0 };
	struct leat_publisher *publisher;
	struct leat_result result;
	struct harness_bus bus;
	struct leat_bus *handle;
	size_t max_len;
	char *value;

	harness_bus_start(&bus, 0);
	handle = harness_connect(&bus);
	harness_stream(handle, "huge", 1, 128 << 20, NULL);
	publisher = harness_publisher(handle, "huge");
	max_len = leat_publisher_max_len(publisher);
	ck_assert_uint_le(max_len, LEAT_MESSAGE_MAX);
	ck_assert_uint_gt(max_len, LEAT_MESSAGE_MAX - 64);
	value = calloc(1, max_len + 1);
	record.value = value;
	record.value_len = max_len + 1;
	ck_assert_int_eq(leat_publish(publisher, &record, &result), -EMSGSIZE);
	record.value_len = max_len;
	ck_assert_int_eq(leat_publish(publisher, &record, &result), 0);
	ck_assert_int_eq(leat_flush(publisher, LEAT_ACK_DURABLE, 10000000000u), 0);
	leat_publisher_close(publisher);
	leat_close(handle);
	harness_bus_stop(&bus);
	free(value);
}
END_TEST

START_TEST(one_bad_record_among_many_does_not_hide_the_others)
{
	static char big[70 << 10];
	struct leat_record records[3] = {
		{ .value = "one", .value_len = 3, .shard = 0 },
		{ .value = big, .value_len = sizeof(big), .shard = 0 },
		{ .value = "three", .value_len = 5, .shard = 0 },
	};
	struct leat_result results[3];
	struct leat_publisher *publisher;
	struct leat_subscriber *subscriber;
	struct leat_message message;
	struct harness_bus bus;
	struct leat_bus *handle;

	harness_bus_start(&bus, 0);
	handle = harness_connect(&bus);
	harness_stream(handle, "many", 1, 64 << 10, NULL);
	subscriber = harness_subscriber(handle, "many");
	publisher = harness_publisher(handle, "many");
	ck_assert_int_eq(leat_publish_many(publisher, records, 3, results), 2);
	ck_assert_int_eq(results[0].error, 0);
	ck_assert_int_eq(results[1].error, -EMSGSIZE);
	ck_assert_int_eq(results[2].error, 0);
	ck_assert_int_eq(leat_next(subscriber, 5000000000u, &message), 1);
	ck_assert_int_eq(message.value_len, 3);
	ck_assert_int_eq(leat_next(subscriber, 5000000000u, &message), 1);
	ck_assert_int_eq(message.value_len, 5);
	ck_assert_int_eq(leat_publish_batch(publisher, records, 3, results), -EMSGSIZE);
	ck_assert_int_eq(leat_next(subscriber, 0, &message), -ETIMEDOUT);
	leat_subscriber_close(subscriber);
	leat_publisher_close(publisher);
	leat_close(handle);
	harness_bus_stop(&bus);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sys_sizes");
	TCase *tcase = tcase_create("sizes");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, any_bytes_and_sizes_pass_live_later_and_from_disk_after_a_restart);
	tcase_add_test(tcase,
		       the_largest_record_of_a_small_ring_passes_and_one_byte_more_stores_nothing);
	tcase_add_test(
		tcase,
		the_largest_record_of_a_middling_ring_passes_and_one_byte_more_stores_nothing);
	tcase_add_test(tcase, no_record_is_larger_than_the_bus_allows_however_large_the_ring);
	tcase_add_test(tcase, one_bad_record_among_many_does_not_hide_the_others);
	suite_add_tcase(suite, tcase);
	return harness_main(suite);
}
