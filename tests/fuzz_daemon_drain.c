/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's own drain over a ring that hostile publishers write, also between any two of its
 * loads (hostile.h). It must stay inside of memory and of the ring, never go back, come to the end
 * whatever is there once nobody holds anything any more, and what it decides for a successor ring
 * must be valid there to the last record.
 */
#include "daemon/log.h"
#include "daemon/shard_internal.h"
#include "tests/hostile.h"

enum {
	DRAIN_PASSES_MAX = 4000, /* a search goes a bounded way in each */
};

static struct ring_bed bed, next_bed;
static struct shard shard;
static uint64_t now_ns;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_len);

/* A memory-only shard without a thread: passes are made by hand. */
static void begin(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	memset(&shard, 0, sizeof(shard));
	pthread_mutex_init(&shard.lock, NULL);
	pthread_cond_init(&shard.changed, NULL);
	shard.stream = (char *)(uintptr_t) "fuzz";
	shard.shard = bed.daemon->shard;
	shard.kick_fd = -1;
	shard.policy.claim_timeout_ns = UINT64_MAX;
	shard.cur.ring = bed.daemon;
	shard.cur.fds = bed.fds;
	shard.old.fds = shard.next.fds = REGION_FDS_NULL;
	shard.life = SHARD_RUNNING;
	shard.pos = LAYOUT_FIRST_POS;
	now_ns = NS_PER_S;
}

static void try_pass(void)
{
	uint64_t before = shard.pos, tail = ring_tail(bed.daemon);
	struct shard_round round = { 0 };

	now_ns += NS_PER_MS;
	round.now_ns = now_ns;
	(void)shard_drain_pass(&shard, &round);
	bed_must(shard.pos >= before, "the drain went back");
	bed_must(shard.pos <= max_u64(before, tail) || hostile_is_at_work(),
		 "the drain went beyond the tail");
	bed_must(shard.pos % RECORD_ALIGN == 0, "the drain stands between two places");
	bed_must(shard.pos <= load_relaxed(&bed.daemon->govern->limit), "beyond the limit");
	bed_must(ring_reclaimed(bed.daemon) <= shard.pos, "reclaimed what is not drained");
	bed_must(load_relaxed(&bed.daemon->govern->limit) - ring_reclaimed(bed.daemon) ==
			 bed.daemon->len,
		 "limit and reclaimed are not one ring apart");
}

static void try_unit(const struct hostile_step *step)
{
	uint64_t tail = ring_tail(bed.daemon), pos = hostile_pos(step), len, max_ns;
	uint32_t n_records;

	if (pos < ring_reclaimed(bed.daemon) || pos >= tail)
		return;
	len = shard_drain_unit(bed.daemon, pos,
			       step->slot & 1 ? step->value : ring_word_load(bed.daemon, pos), tail,
			       &n_records, &max_ns);
	bed_must(len <= tail - pos, "a unit beyond the tail");
}

/* Nobody but the daemon has the new ring: all that it put there is valid, from end to end. */
static void check_next(uint64_t from, uint64_t tail)
{
	const struct ring *ring = next_bed.daemon;

	while (from < tail) {
		uint64_t word = ring_word_load(ring, from), max_ns;
		uint32_t n_records;
		uint64_t len = shard_drain_unit(ring, from, word, tail, &n_records, &max_ns);

		bed_must(len > 0, "the new ring holds what is not valid at %llu",
			 (unsigned long long)from);
		from += len;
	}
	bed_must(from == tail, "the new ring does not end at the tail");
}

static void try_succeed(void)
{
	uint64_t from = shard.pos, tail;

	if (!next_bed.daemon)
		ring_bed_init(&next_bed, LAYOUT_RING_MIN);
	memset(next_bed.daemon->data, 0, next_bed.daemon->len);
	shard.next.ring = next_bed.daemon;
	tail = max_u64(ring_close_tail(bed.daemon), from);
	/* Statistics of 256 slots, which nothing depends on. */
	hostile_hold(true);
	shard_succeed_rebase(&shard, from, tail);
	hostile_hold(false);
	shard_succeed_decide(&shard, from, tail);
	check_next(from, tail);
	shard.next.ring = NULL;
	bed_must(load_relaxed(&bed.daemon->publish->tail) % RECORD_ALIGN != 0 ||
			 hostile_is_at_work(),
		 "a closed tail is open");
	store_relaxed(&bed.daemon->publish->tail, tail);
}

static void do_step(const struct hostile_step *step)
{
	struct layout_owner *owner = &bed.daemon->govern->owners[step->slot];

	switch (step->what % 10) {
	case 0:
		try_pass();
		break;
	case 1:
		try_unit(step);
		break;
	case 2:
		hostile_publish(step);
		break;
	case 3:
		hostile_poke(step);
		break;
	case 4:
		hostile_arm(step);
		break;
	case 5:
		hostile_arm_loaded(step);
		break;
	case 6:
		store_relaxed(&owner->state, step->place % 3);
		break;
	case 7:
		try_succeed();
		break;
	case 8:
		shard.policy.rate_limit = step->value % 3 ? 0 : step->value;
		break;
	default:
		for (int i = 0; i < step->slot % 8; i++)
			try_pass();
		break;
	}
}

/* Everybody is dead and nothing changes: the rest is drained, marked or buried. */
static void come_to_the_end(void)
{
	int passes = 0;

	for (unsigned int slot = 0; slot < LAYOUT_PUBLISHER_SLOTS; slot++)
		store_relaxed(&bed.daemon->govern->owners[slot].state, OWNER_FREE);
	shard.policy.rate_limit = 0;
	do {
		try_pass();
		bed_must(++passes < DRAIN_PASSES_MAX, "the drain does not come to the end");
	} while (shard.pos < ring_tail(bed.daemon));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_len)
{
	if (data_len < 1)
		return 0;
	hostile_run(&bed, data, data_len, begin, do_step);
	come_to_the_end();
	pthread_mutex_destroy(&shard.lock);
	pthread_cond_destroy(&shard.changed);
	return 0;
}
