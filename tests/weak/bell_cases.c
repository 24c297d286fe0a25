/* SPDX-License-Identifier: Apache-2.0 */
/* Cases about sleeping and waking, and about what the govern page says. */
#include <errno.h>

#include "shm/clock.h"
#include "tests/weak/bed.h"

/* ---- the disk's answer and who waits for it ---- */

static void progress_init(void)
{
	bed_init(&bell_case_progress, 1);
}

static void progress_daemon(void)
{
	uint64_t bytes = 1;

	memcpy(&weak_shared[0].disk[0], &bytes, 8);
	ring_progress(&bed_ring[0], BED_FIRST + 32, 0);
	memcpy(&weak_shared[0].disk[1], &bytes, 8);
	ring_progress(&bed_ring[0], 0, BED_FIRST + 32);
}

static void progress_wait(bool durable)
{
	const struct layout_govern *govern = bed_ring[0].govern;
	const _Atomic uint32_t *at = durable ? &govern->durable_bell : &govern->written_bell;
	uint64_t bytes;

	for (;;) {
		uint32_t bell = ring_bell(at);

		if ((durable ? ring_durable(&bed_ring[0]) : ring_written(&bed_ring[0])) > BED_FIRST)
			break;
		wait_futex_bits(at, bell, durable ? ring_ack_bit(BED_FIRST, 32) : UINT32_MAX,
				UINT64_MAX);
	}
	memcpy(&bytes, &weak_shared[0].disk[durable], 8);
	weak_must(bytes == 1, "acknowledged before it is true");
}

static void progress_written(void)
{
	progress_wait(false);
}

static void progress_durable(void)
{
	progress_wait(true);
}

const struct weak_case bell_case_progress = {
	.name = "progress",
	.init = progress_init,
	.begin = bed_begin,
	.party = { progress_daemon, progress_written, progress_durable },
	.depth = 3,
	.ring_len = 128,
};

/* ---- a publisher that waits for room ---- */

static void room_init(void)
{
	bed_init(&bell_case_room, 1);
	store_relaxed(&bed_ring[0].publish->tail, BED_FIRST + 64);
}

static void room_publisher(void)
{
	struct ring_publisher publisher = bed_publisher[0];
	const _Atomic uint32_t *at = &bed_ring[0].govern->limit_bell;
	uint64_t pos;

	for (;;) {
		uint32_t bell = ring_bell(at);

		if (bed_reserve(&publisher, 32, &pos) == 0)
			break;
		wait_bell(at, bell, UINT64_MAX);
	}
	bed_commit(&publisher, pos, 32);
}

static void room_daemon(void)
{
	ring_reclaim(&bed_ring[0], BED_FIRST + 32);
}

const struct weak_case bell_case_room = {
	.name = "room",
	.init = room_init,
	.begin = bed_begin,
	.party = { room_publisher, room_daemon },
	.depth = 3,
	.ring_len = 64,
};

/* A waiter in general looks whether the ring is still open, too. */

static void failed_init(void)
{
	bed_init(&bell_case_failed, 1);
	store_relaxed(&bed_ring[0].publish->tail, BED_FIRST + 64);
}

static void failed_wait(const _Atomic uint32_t *at)
{
	int error;

	for (;;) {
		uint32_t bell = ring_bell(at);

		if (ring_state(&bed_ring[0], &error) != GOVERN_OPEN)
			break;
		wait_bell(at, bell, UINT64_MAX);
	}
	weak_must(error == -EIO, "failed without its reason");
}

static void failed_for_room(void)
{
	failed_wait(&bed_ring[0].govern->limit_bell);
}

static void failed_for_durable(void)
{
	failed_wait(&bed_ring[0].govern->durable_bell);
}

static void failed_for_written(void)
{
	failed_wait(&bed_ring[0].govern->written_bell);
}

static void failed_daemon(void)
{
	ring_set_state(&bed_ring[0], GOVERN_FAILED, -EIO);
}

const struct weak_case bell_case_failed = {
	.name = "failed",
	.init = failed_init,
	.begin = bed_begin,
	.party = { failed_daemon, failed_for_room, failed_for_durable, failed_for_written },
	.depth = 3,
	.ring_len = 64,
};

/* ---- subscribers that sleep ---- */

static void sleep_init(void)
{
	bed_init(&bell_case_sleep, 2);
}

static void sleep_publisher(void)
{
	struct ring_publisher publisher = bed_publisher[weak_self()];
	uint64_t pos;

	bed_publish(&publisher, 32, &pos);
}

static void sleep_read(unsigned int n)
{
	uint64_t pos = BED_FIRST, limit = 0;
	struct wait_ticket ticket;
	struct bed_log got = { 0 };

	while (got.n < n) {
		if (bed_read(&bed_ring[0], &pos, &limit, &got) == 0)
			continue;
		wait_announce(&ticket, &bed_ring[0]);
		wait_barrier();
		if (bed_read(&bed_ring[0], &pos, &limit, &got) != 0)
			wait_sleep(&ticket, 1, UINT64_MAX);
	}
}

static void sleep_subscriber(void)
{
	sleep_read(1);
}

static void sleep_subscriber_of_two(void)
{
	sleep_read(2);
}

const struct weak_case bell_case_sleep = {
	.name = "sleep",
	.init = sleep_init,
	.begin = bed_begin,
	.party = { sleep_publisher, sleep_subscriber, sleep_subscriber },
	.depth = 3,
	.unregistered = 6,
	.ring_len = 128,
	.moves_stores = true,
};

const struct weak_case bell_case_sleep_two = {
	.name = "sleep-two",
	.init = sleep_init,
	.begin = bed_begin,
	.party = { sleep_publisher, sleep_publisher, sleep_subscriber_of_two },
	.depth = 2,
	.unregistered = 4,
	.ring_len = 128,
	.moves_stores = true,
};

/* The publisher's process has no membarrier, so its commits have fences. */

static void fence_init(void)
{
	bed_init(&bell_case_fence, 2);
}

const struct weak_case bell_case_fence = {
	.name = "fence",
	.init = fence_init,
	.begin = bed_begin,
	.party = { sleep_publisher, sleep_subscriber },
	.depth = 3,
	.unregistered = WEAK_NO_MEMBARRIER | 3,
	.ring_len = 128,
	.moves_stores = true,
};

/* ---- the drain, asleep or waited for ---- */

static void kick_init(void)
{
	bed_init(&bell_case_kick, 2);
}

/* daemon/drain.c: announce, barrier, look once more, sleep on the eventfd. */
static void kick_drain_sleeps(struct bed_drain *drain)
{
	ring_drain_sleeps(&bed_ring[0]);
	/* MO(kick.R) stands for the barrier in daemon/drain.c. */
	(void)membarrier_sync();
	if (!bed_drain_step(drain))
		while (!weak_event_take())
			weak_pause();
	ring_drain_wakes(&bed_ring[0]);
}

static void kick_drain(void)
{
	static struct bed_drain drain;

	drain = (struct bed_drain){ .ring = &bed_ring[0], .pos = BED_FIRST };
	while (bed_drained.n < 2)
		if (!bed_drain_step(&drain))
			kick_drain_sleeps(&drain);
}

const struct weak_case bell_case_kick = {
	.name = "kick",
	.init = kick_init,
	.begin = bed_begin,
	.party = { sleep_publisher, sleep_publisher, kick_drain },
	.end = bed_end,
	.depth = 2,
	.ring_len = 128,
	.moves_stores = true,
};

static void rearm_publisher(void)
{
	struct ring_publisher publisher = bed_publisher[weak_self()];
	uint64_t pos;

	bed_publish(&publisher, 32, &pos);
	ring_kick_drain(&publisher, false);
}

/* daemon/shard_drain.c: looks, lets kicks through, and looks again where one was held back. */
static void rearm_drain(void)
{
	static struct bed_drain drain;

	drain = (struct bed_drain){ .ring = &bed_ring[0], .pos = BED_FIRST };
	while (bed_drained.n < 2) {
		if (bed_drain_step(&drain) || ring_drain_rearm(&bed_ring[0]))
			continue;
		while (!weak_event_take())
			weak_pause();
	}
}

const struct weak_case bell_case_rearm = {
	.name = "rearm",
	.init = kick_init,
	.begin = bed_begin,
	.party = { rearm_publisher, rearm_publisher, rearm_drain },
	.end = bed_end,
	.depth = 2,
	.ring_len = 128,
	.moves_stores = true,
};

/* ---- the clock ---- */

/* Each conversion gives a time that no mixture of two gives. */
static void clock_publish_one(uint64_t i)
{
	struct clock_source source = { .mode = CLOCK_MODE_TSC,
				       .tsc_base = clock_tsc() - i,
				       .ns_base = i << 32,
				       .mult = i << 32 };

	clock_publish(bed_ring[0].govern, &source);
}

static void clock_init(void)
{
	bed_init(&bell_case_clock, 1);
	clock_publish_one(1);
}

static void clock_daemon(void)
{
	clock_publish_one(2);
	clock_publish_one(3);
}

static void clock_reader(void)
{
	const struct layout_govern *govern = bed_ring[0].govern;
	uint64_t ns;

	for (int i = 0; i < 2; i++)
		if (clock_try(govern, &ns))
			weak_must((ns >> 32) * (ns >> 32) == (uint32_t)ns,
				  "two conversions are mixed");
}

const struct weak_case bell_case_clock = {
	.name = "clock",
	.init = clock_init,
	.begin = bed_begin,
	.party = { clock_daemon, clock_reader },
	.depth = 3,
	.ring_len = 64,
};
