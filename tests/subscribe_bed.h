/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A subscriber and a publisher over real rings in this process, and nobody else: no daemon. The
 * test says with the daemon's ring what the daemon would. One of each in a program.
 */
#ifndef TESTS_SUBSCRIBE_BED_H
#define TESTS_SUBSCRIBE_BED_H

#include <check.h>

#include "clientlib/encode.h"
#include "clientlib/publish.h"
#include "clientlib/source.h"
#include "clientlib/start.h"
#include "shm/clock.h"
#include "shm/orphan.h"

enum {
	RING_LEN = 64 << 10
};

static uint32_t alive = 1;
static struct leat_bus bus;
static struct ring *daemon_ring;
static struct leat_subscriber *sub;
static struct leat_publisher publisher;
static struct publish_shard pub_shard;

static inline void make_rings(uint32_t flags)
{
	struct region_options options = { .ring_len = RING_LEN,
					  .first_pos = LAYOUT_FIRST_POS,
					  .generation = 1,
					  .flags = flags,
					  .node = -1 };
	struct region_fds fds;
	struct ring *ring;

	ck_assert_int_eq(region_create(&options, &fds, NULL), 0);
	ck_assert_int_eq(ring_open(&fds, REGION_DAEMON, &daemon_ring), 0);
	ck_assert_int_eq(ring_open(&fds, REGION_SUBSCRIBER, &ring), 0);
	sub->shards[0].ring = ring;
	ck_assert_int_eq(ring_open(&fds, REGION_PUBLISHER, &ring), 0);
	pub_shard.ring = ring;
	ck_assert_int_eq(ring_publisher_init(&pub_shard.rp, ring, 3, -1), 0);
	encode_quick_init(&pub_shard.quick, ring);
	pub_shard.checked_ns = clock_ns(ring->govern);
	region_fds_close(&fds);
}

static inline void setup(void)
{
	ck_assert_int_eq(control_init(&bus.control, "/nowhere/bus.sock", "test", NS_PER_S), 0);
	bus.alive = &alive;
	pthread_mutex_init(&bus.failures_lock, NULL);
	sub = calloc(1, sizeof(*sub));
	sub->shards = calloc(1, sizeof(*sub->shards));
	sub->n_shards = 1;
	sub->bus = &bus;
	sub->alive = &alive;
	sub->stream = strdup("test");
	sub->stop_ns = UINT64_MAX;
	sub->check_ns = UINT64_MAX;
	leat_subscriber_options_init(&sub->options);
	sub->failure = sub->detail.text;
	sub->buffer_len = 4096;
	sub->buffer = malloc(sub->buffer_len);
	publisher = (struct leat_publisher){ .bus = &bus,
					     .alive = &alive,
					     .only = &pub_shard,
					     .shards = &pub_shard,
					     .n_shards = 1,
					     .stream = sub->stream,
					     .failure = publisher.detail.text };
	pub_shard = (struct publish_shard){ .who = record_who(11, 0), .kick_fd = -1 };
	keys_map_init(&publisher.keys, KEYS_XXH3, 1);
	make_rings(GOVERN_F_CHECKSUM | GOVERN_F_MEMORY);
	ck_assert_int_eq(start_at(sub, &sub->shards[0], LEAT_EARLIEST, 0, NULL), 0);
	ck_assert_int_eq(start_stop_at(sub, &sub->shards[0], LEAT_NEVER, 0), 0);
}

static inline void teardown(void)
{
	ring_close(pub_shard.ring);
	ring_close(pub_shard.claimed_ring);
	ring_close(daemon_ring);
	leat_subscriber_close(sub);
	control_deinit(&bus.control);
}

static inline uint64_t publish(const char *value)
{
	struct leat_record record = { .value = value, .value_len = strlen(value) };
	struct leat_result result;

	ck_assert_int_eq(leat_publish(&publisher, &record, &result), 0);
	return result.pos;
}

static inline void expect(const char *value)
{
	struct leat_message message;

	ck_assert_int_eq(leat_next(sub, 0, &message), 1);
	ck_assert_int_eq(message.kind, LEAT_RECORD);
	ck_assert_uint_eq(message.value_len, strlen(value));
	ck_assert_mem_eq(message.value, value, message.value_len);
}

/* Waits for the gap. */
static inline void expect_gap_within(uint64_t ns, uint64_t from, uint64_t to, enum leat_gap reason)
{
	struct leat_message message;

	ck_assert_int_eq(leat_next(sub, ns, &message), 1);
	ck_assert_int_eq(message.kind, LEAT_GAP);
	ck_assert_uint_eq(message.pos, from);
	ck_assert_uint_eq(message.next_pos, to);
	ck_assert_int_eq(message.reason, reason);
}

static inline void expect_gap(uint64_t from, uint64_t to, enum leat_gap reason)
{
	expect_gap_within(0, from, to, reason);
}

static inline void expect_nothing(void)
{
	struct leat_message message;

	ck_assert_int_eq(leat_next(sub, 0, &message), -ETIMEDOUT);
}

#endif
