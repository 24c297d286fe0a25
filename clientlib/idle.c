/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for messages: polls for a while, because a sleep and a wake-up cost more than most
 * waits; then announces the sleep, looks once more, and sleeps on the shards' bells.
 */
#include "clientlib/idle.h"

#include "clientlib/helper.h"
#include "clientlib/source.h"
#include "shm/clock.h"
#include "shm/wait.h"

enum {
	IDLE_GLANCES = 64, /* at one word, between two looks at everything */
	IDLE_SPINS = 16,   /* looks at everything between two at the clock */
};

/*
 * A sleep lasts at least so long, and no longer than nothing has come already. Whoever may map a
 * bell can move its sleepers elsewhere (FUTEX_REQUEUE wants no more than to read), where nobody
 * wakes them: then they look again after so long. A daemon that died with its rings is noticed soon
 * by who was busy, too, and a bus at rest is left at rest.
 */
#define IDLE_SLICE_NS (20 * NS_PER_MS)
#define IDLE_SLICE_MAX_NS (16 * NS_PER_S)
#define IDLE_CHECK_NS NS_PER_S
#define IDLE_BLIND_NS NS_PER_MS /* where the kernel has no membarrier */

/* What one sleep is about. */
struct idle_sleep {
	struct wait_ticket tickets[WAIT_RINGS_MAX];
	struct sleep_word words[SLEEP_WORDS_MAX];
	unsigned int n;
	uint64_t slice_ns;
};

/* False while a look at one word says that nothing has come; most streams have one shard. */
static bool stirs(const struct leat_subscriber *sub)
{
	const struct subscribe_shard *shard = &sub->shards[0];

	if (sub->n_shards > 1 || shard->on_disk || shard->seek || shard->pos >= shard->limit)
		return true;
	return ring_stirs(shard->ring, shard->pos);
}

/* As subscribe_scan(), polled for spin_ns; -EAGAIN when that time is over. */
static int spin(struct leat_subscriber *sub, uint64_t spin_ns, struct leat_message *ret_message)
{
	uint64_t start = clock_now_ns(CLOCK_MONOTONIC);
	int i, k, r;

	do {
		for (i = 0; i < IDLE_SPINS; i++) {
			bool later = false;

			for (k = 0; k < IDLE_GLANCES && !stirs(sub); k++)
				cpu_relax();
			if (sub->quick && !sub->zero_copy && subscribe_quickly(sub, ret_message))
				return 1;
			r = subscribe_scan(sub, ret_message, &later);
			if (r != -EAGAIN)
				return r;
			if (later)
				return -EAGAIN;
		}
	} while (clock_now_ns(CLOCK_MONOTONIC) - start < spin_ns);
	return -EAGAIN;
}

/* Once in a while: has the daemon come back as another? */
static int check(struct leat_subscriber *sub)
{
	uint64_t now = clock_now_ns(CLOCK_MONOTONIC);
	uint32_t i;
	int r = 0;

	if (now < sub->check_ns)
		return 0;
	sub->check_ns = now + IDLE_CHECK_NS;
	(void)control_epoch(&sub->bus->control);
	for (i = 0; i < sub->n_shards && r == 0; i++) {
		if (!sub->shards[i].ended)
			r = source_ring_check(sub, &sub->shards[i]);
	}
	return r;
}

/* How long a sleep can be: a time to stop at is kept. */
static uint64_t slice_of(struct leat_subscriber *sub)
{
	uint64_t now = clock_now_ns(CLOCK_MONOTONIC), slice_ns;

	if (sub->rest_ns == 0 || sub->rest_records != sub->stats.records) {
		sub->rest_ns = now;
		sub->rest_records = sub->stats.records;
	}
	slice_ns = min_u64(max_u64(now - sub->rest_ns, IDLE_SLICE_NS), IDLE_SLICE_MAX_NS);
	if (sub->stop_ns == UINT64_MAX)
		return slice_ns;
	now = clock_ns(sub->shards[0].ring->govern);
	if (now >= sub->stop_ns)
		return SOURCE_LATER_NS;
	return min_u64(slice_ns, sub->stop_ns - now + NS_PER_MS);
}

/* Notes the bells as they are before the last look. */
static void announce(struct leat_subscriber *sub, struct idle_sleep *sleep)
{
	uint32_t i;

	sleep->n = 0;
	sleep->slice_ns = slice_of(sub);
	for (i = 0; i < sub->n_shards; i++) {
		struct subscribe_shard *shard = &sub->shards[i];
		struct sleep_word *word = &sleep->words[sleep->n];

		if (shard->ended || shard->paused)
			continue;
		if (idle_waits_for_acks(sub)) {
			const struct layout_govern *govern = subscribe_newest(shard)->govern;

			word->word = sub->options.isolation == LEAT_ISOLATION_DURABLE
					     ? &govern->durable_bell
					     : &govern->written_bell;
			word->ring = NULL;
			word->expected = ring_bell(word->word);
		} else {
			wait_announce(&sleep->tickets[sleep->n], shard->ring);
			word->word = &shard->ring->publish->doorbell;
			word->ring = shard->ring;
			word->expected = sleep->tickets[sleep->n].bell;
		}
		word->reserved = 0;
		sleep->n++;
	}
	if (!idle_waits_for_acks(sub) && sleep->n > 0 && !wait_barrier())
		sleep->slice_ns = IDLE_BLIND_NS;
}

static int sleep_now(struct leat_subscriber *sub, const struct idle_sleep *sleep, uint64_t left_ns)
{
	uint64_t ns = min_u64(sleep->slice_ns, left_ns);
	int r;

	sub->stats.sleeps++;
	if (idle_waits_for_acks(sub))
		r = sleep_any(sleep->words, sleep->n, ns);
	else
		r = wait_sleep(sleep->tickets, sleep->n, ns);
	return r == -EINTR ? r : 0;
}

static int give_up(struct leat_subscriber *sub, int r)
{
	sub->failure = r == -EINTR ? "a signal came while waiting for messages"
				   : "no message came in time";
	return r;
}

int idle_wait(struct leat_subscriber *sub, uint64_t timeout_ns, struct leat_message *ret_message)
{
	struct deadline deadline = DEADLINE(timeout_ns);
	struct idle_sleep sleep;
	uint64_t left, spin_left = sub->options.spin_ns, n_moves;
	bool later;
	int r;

	for (;;) {
		later = false;
		left = deadline_left(&deadline);
		if (left > 0 && spin_left > 0) {
			r = spin(sub, min_u64(min_u64(spin_left, left), IDLE_CHECK_NS),
				 ret_message);
			if (r != -EAGAIN)
				return r;
			if (spin_left != UINT64_MAX)
				spin_left -= min_u64(spin_left, IDLE_CHECK_NS);
			left = deadline_left(&deadline);
		}
		if (left == 0 && !sub->helper)
			return give_up(sub, -ETIMEDOUT);
		r = check(sub);
		if (r < 0)
			return r;
		if (left > 0 && spin_left > 0)
			continue;
		if (left == 0)
			helper_clear(sub->helper);
		n_moves = sub->n_moves;
		announce(sub, &sleep);
		/* All that is to be read is paused: nothing can come of waiting. */
		if (sleep.n == 0 && left > 0)
			return give_up(sub, -ETIMEDOUT);
		r = subscribe_scan(sub, ret_message, &later);
		if (r != -EAGAIN) {
			if (left == 0)
				helper_signal(sub->helper);
			return r;
		}
		/* A ring whose bell was noted is gone: note those of now. */
		if (sub->n_moves != n_moves)
			continue;
		if (later)
			sleep.slice_ns = min_u64(sleep.slice_ns, SOURCE_LATER_NS);
		if (left == 0) {
			helper_arm(sub->helper, sleep.words, sleep.n, sleep.slice_ns);
			return give_up(sub, -ETIMEDOUT);
		}
		r = sleep_now(sub, &sleep, left);
		if (r < 0)
			return give_up(sub, r);
		r = subscribe_scan(sub, ret_message, &later);
		if (r != -EAGAIN)
			return r;
	}
}
