/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring of one shard.
 *
 * Positions are addresses of an endless log; a position's place in memory is its low bits. Three
 * numbers move, always upwards: `reclaimed` <= everything readable < tail <= `limit`. Publishers
 * move the tail by compare-and-swap; only the daemon moves the other two.
 *
 * A record's first 8 bytes are its commit word. Memory in [tail, limit) is zero, so the word of
 * something reserved but not yet marked reads 0. A header is looked at only below `limit`: above
 * it the previous lap is still there.
 *
 *   publisher                            who it meets
 *   claim = odd                          orphan.c: "somebody may own a hole"
 *   tail: CAS t -> t + span              other publishers; the drain
 *   word at t = reserved(owner, span)    orphan.c: "now I know whose it is"
 *   claim = even
 *   content
 *   word at t = committed                subscribers, the drain
 *   look at attention and n_sleepers     the drain and subscribers going to sleep; a closing ring
 *
 * Death before the tail's CAS leaves nothing, between CAS and word a hole of zeros (orphan.c),
 * after the word a reservation whose owner and length are known. Each becomes a tombstone.
 *
 * Subscribers copy first and ask afterwards, as under a sequence lock: a copy counts only if
 * `reclaimed` had not passed its start, and only up to `close_pos` once the ring is closed.
 *
 * Closing: the tail gets its closed bit, so no CAS succeeds any more. When every reservation
 * below is resolved, or the claim time-out has passed, the daemon says where the ring ends
 * (close_pos), raises `attention`, passes a barrier through every publisher (membarrier), and only
 * then decides what each unresolved record is; what is good goes into the successor at the same
 * positions. A publisher looks at `attention` after its commit store: either its store came
 * before the barrier, then the daemon saw it, or after, then the publisher sees the closing and
 * asks the successor what became of its record. The fast path pays a load for it.
 *
 * Edges. R is the releasing, A the acquiring side.
 *
 * | edge | release sites | acquire sites | what is ordered | what breaks without | shown by |
 * |---|---|---|---|---|---|
 * | publish | ring_commit_store, orphan_bury | ring_word_load | content before its commit word | readers copy bytes not yet written | model ring, weak publish short bury, test_shm_threads |
 * | claim | ring_try_reserve | orphan_step | odd before the tail's CAS, word before even | a live publisher's reservation is buried | model ring, weak holes kick |
 * | tail | ring_try_reserve, ring_close_tail | ring_try_reserve, ring_tail, orphan_step | claims before the tail they moved | as claim | model ring, weak holes |
 * | limit | ring_reclaim | ring_reserve_again, ring_limit | zeros before the limit that frees them | a previous lap's words are taken for records | model ring, weak laps, test_shm_threads |
 * | reclaim | ring_reclaim | ring_lapped, ring_reclaimed | reclaimed before the zeros; the copy before the check | a torn copy is delivered | model ring, weak laps laps-short |
 * | progress | ring_progress | ring_written, ring_durable | the disk's answer before the position | acknowledged before it is true | weak progress |
 * | sleep | wait_announce, wait_barrier | ring_commit_store, ring_commit_attend, ring_wake_one | announcement, then a look; commit, then a look | somebody sleeps beside a record | model sleep, weak sleep fence |
 * | kick | ring_drain_sleeps, ring_drain_rearm | ring_commit_store, ring_kick_drain | as sleep, for the drain | the drain sleeps beside a record | model sleep, weak kick rearm |
 * | close | ring_set_succeeded, ring_set_state | ring_commit_store, ring_state, ring_read | close_pos and state before attention, decisions after the barrier | a record told published is buried | model close, weak close failed |
 * | bell | ring_reclaim, ring_progress, ring_wake_subscribers | wait_announce, ring_bell | what changed before the bell | a waiter misses a change | model sleep, weak room progress failed |
 * | ready | region_init_pages | region_check_page | the page before its ready word | a half-made ring is used | weak ready, test_shm_region |
 * | clock | clock_publish | clock_try | the conversion inside its sequence | two conversions are mixed | weak clock, test_shm_clock |
 *
 * The argument for each non-obvious one stands at its sites.
 */
#include "shm/ring.h"

#include <limits.h>
#include <poll.h>

#include "shm/ring_publish.h"
#include "shm/testpoint.h"
#include "shm/wait.h"

/* ---- opening ---- */

static int ring_check_govern(const struct layout_govern *govern, struct ring *ring)
{
	uint64_t len = govern->ring_len;

	ring->len = len;
	ring->mask = len - 1;
	ring->first_pos = govern->first_pos;
	ring->max_len = govern->max_len;
	ring->flags = govern->flags;
	ring->crc_seed = govern->crc_seed;
	ring->generation = govern->header.generation;
	ring->shard = govern->header.shard;
	memcpy(ring->stream_uuid, govern->header.stream_uuid, sizeof(ring->stream_uuid));
	if (len < LAYOUT_RING_MIN || !is_power_of_two(len) || len > LAYOUT_POS_END ||
	    ring->max_len < RECORD_HEADER_LEN || ring->max_len > region_max_len(len) ||
	    ring->first_pos % RECORD_ALIGN != 0 || ring->first_pos >= LAYOUT_POS_END ||
	    govern->n_slots != LAYOUT_PUBLISHER_SLOTS)
		return -EBADMSG;
	return 0;
}

static int ring_map_pages(const struct region_fds *fds, enum region_access access,
			  struct ring *ring)
{
	struct region region;
	int r = region_map(fds->fd[REGION_GOVERN], REGION_GOVERN, access, 0, &region);

	if (r < 0)
		return r;
	ring->govern = region.base;
	r = ring_check_govern(ring->govern, ring);
	if (r < 0)
		return r;
	r = region_map(fds->fd[REGION_PUBLISH], REGION_PUBLISH, access, 0, &region);
	if (r < 0)
		return r;
	ring->publish = region.base;
	if (access == REGION_MONITOR)
		return 0;
	r = region_map(fds->fd[REGION_WAIT], REGION_WAIT, access, 0, &region);
	if (r < 0)
		return r;
	ring->wait = region.base;
	r = region_map(fds->fd[REGION_RING], REGION_RING, access, ring->len, &region);
	if (r < 0)
		return r;
	ring->data = region.base;
	return 0;
}

int ring_open(const struct region_fds *fds, enum region_access access, struct ring **ret_ring)
{
	struct ring *ring = calloc(1, sizeof(*ring));
	int r;

	if (!ring)
		return -ENOMEM;
	ring->access = access;
	ring->pid = getpid();
	r = ring_map_pages(fds, access, ring);
	if (r < 0) {
		ring_close(ring);
		return r;
	}
	/* A daemon before this one may have died while it reclaimed. */
	if (access == REGION_DAEMON)
		ring_reclaim(ring, ring_reclaimed(ring));
	*ret_ring = ring;
	return 0;
}

static void ring_unmap_page(void *page, uint64_t len, enum region_kind kind)
{
	struct region region = { .base = page, .len = len };

	region_unmap(&region, kind);
}

struct ring *ring_close(struct ring *ring)
{
	if (!ring)
		return NULL;
	/* In a forked child nothing is mapped there any more, or something else is. */
	if (ring->pid == getpid()) {
		ring_unmap_page(ring->data, ring->len, REGION_RING);
		ring_unmap_page(ring->publish, sizeof(*ring->publish), REGION_PUBLISH);
		ring_unmap_page(ring->wait, sizeof(*ring->wait), REGION_WAIT);
		ring_unmap_page(ring->govern, sizeof(*ring->govern), REGION_GOVERN);
	}
	free(ring);
	return NULL;
}

/* ---- what the pages say ---- */

#if defined(__SANITIZE_THREAD__)
void __tsan_acquire(void *at);

/* Races with the next lap by design, as ring_copy() does; what it acquires is said by hand. */
__attribute__((no_sanitize("thread"), noinline)) static uint64_t ring_word_look(
	const struct ring *ring, uint64_t pos)
{
	uint64_t word = *(const volatile uint64_t *)ring_at(ring, pos);

	__tsan_acquire(ring_at(ring, pos));
	return word;
}
#else
/* A subscriber's look: what it finds may belong to a later lap, to be asked of ring_lapped(). */
static uint64_t ring_word_look(const struct ring *ring, uint64_t pos)
{
	return ring_word_load(ring, pos);
}
#endif

uint64_t ring_limit(const struct ring *ring)
{
	/* MO(limit.A) pairs with limit.R in ring_reclaim(): below the limit the previous lap has
	 * been zeroed. */
	return load_acquire(&ring->govern->limit);
}

uint64_t ring_reclaimed(const struct ring *ring)
{
	/* MO(reclaim.A) pairs with reclaim.R in ring_reclaim(). */
	return load_acquire(&ring->govern->reclaimed);
}

/* To be asked after a copy that began at pos: was it overwritten meanwhile? */
static bool ring_lapped(const struct ring *ring, uint64_t pos)
{
	/* MO(reclaim.A) pairs with reclaim.R in ring_reclaim(): the copy's loads before the check.
	 * If a load saw a zero or a later lap, this load sees that reclaimed has passed. */
	fence_acquire();
	return load_relaxed(&ring->govern->reclaimed) > pos;
}

uint64_t ring_written(const struct ring *ring)
{
	/* MO(progress.A) pairs with progress.R in ring_progress(). */
	return load_acquire(&ring->govern->written);
}

uint64_t ring_durable(const struct ring *ring)
{
	/* MO(progress.A) pairs with progress.R in ring_progress(). */
	return load_acquire(&ring->govern->durable);
}

uint32_t ring_bell(const _Atomic uint32_t *bell)
{
	/* MO(bell.A) pairs with bell.R in ring_reclaim() and ring_progress(): the bell before what
	 * it tells of; if that changes afterwards, the sleep on the old bell returns at once. */
	return load_acquire(bell);
}

enum govern_state ring_state(const struct ring *ring, int *ret_error)
{
	/* MO(close.A) pairs with close.R in ring_set_succeeded(): the state before close_pos. */
	uint32_t state = load_acquire(&ring->govern->state);

	if (ret_error)
		*ret_error = load_relaxed(&ring->govern->error);
	return (enum govern_state)state;
}

uint64_t ring_close_pos(const struct ring *ring)
{
	return load_relaxed(&ring->govern->close_pos);
}

uint64_t ring_tail(const struct ring *ring)
{
	/* MO(tail.A) pairs with tail.R in ring_reserve(). */
	uint64_t tail = load_acquire(&ring->publish->tail) & ~(uint64_t)(RECORD_ALIGN - 1);
	uint64_t limit = ring_limit(ring);

	/* Publishers write it, so it may be anything: it cannot be outside of these. */
	if (tail > limit)
		return limit;
	return max_u64(tail, ring_reclaimed(ring));
}

/* ---- publishing ---- */

int ring_publisher_init(struct ring_publisher *publisher, struct ring *ring, uint16_t owner,
			int kick_fd)
{
	static const _Atomic uint32_t ring_always = 1;
	struct layout_slot *slot;
	uint64_t claim;
	bool fence = !membarrier_register();

	if (owner >= LAYOUT_PUBLISHER_SLOTS || ring->access == REGION_SUBSCRIBER ||
	    ring->access == REGION_MONITOR)
		return -EINVAL;
	slot = &ring->publish->slots[owner];
	/* Whoever had the slot before may have died between odd and even. */
	claim = (load_relaxed(&slot->claim) + 1) & ~UINT64_C(1);
	store_relaxed(&slot->claim, claim);
	*publisher = (struct ring_publisher){
		.ring = ring,
		.tail = &ring->publish->tail,
		.slot = slot,
		.attention = fence ? &ring_always : &ring->govern->attention,
		.n_sleepers = &ring->wait->n_sleepers,
		.data = ring->data,
		.mask = ring->mask,
		.reserved_word = record_word(RECORD_RESERVED, 0, owner, 0),
		.limit = ring_limit(ring),
		.claim = claim,
		.owner = owner,
		.fence = fence,
		.kick_fd = kick_fd,
	};
	return 0;
}

int ring_reserve_again(struct ring_publisher *publisher, uint32_t len, uint64_t *ret_pos)
{
	struct ring_place place;

	do {
		uint64_t tail = load_relaxed(publisher->tail);

		if (tail & (RECORD_ALIGN - 1))
			return tail & LAYOUT_TAIL_CLOSED ? RING_E_CLOSED : -EBADMSG;
		if (tail > LAYOUT_POS_END)
			return -EBADMSG;
		publisher->limit = ring_limit(publisher->ring);
		if (tail + record_span(len) > publisher->limit)
			return RING_E_FULL;
	} while (!ring_try_reserve(publisher, len, &place));
	*ret_pos = place.pos;
	return 0;
}

static bool ring_wake_one(struct ring *ring)
{
	/* MO(sleep.A) pairs with sleep.R in wait_announce(): one publisher takes all the
	 * announcements, and sees each sleeper's bell as it was before. */
	uint32_t n = xchg_acq_rel(&ring->wait->n_sleepers, 0);

	if (n == 0)
		return false;
	/* MO(bell.R) pairs with bell.A in wait_announce(): the record before the bell. It rings
	 * twice for more than one: who is woken tells whether others count on it. */
	fetch_add_acq_rel(&ring->publish->doorbell, n > 1 ? 2 : 1);
	/* One is enough: who is woken wakes two others, see wait_pass_on(). */
	wait_futex_wake(&ring->publish->doorbell, 1);
	return true;
}

void ring_wake_subscribers(struct ring *ring)
{
	store_relaxed(&ring->wait->n_sleepers, 0);
	/* MO(bell.R) pairs with bell.A in wait_announce(). */
	fetch_add_acq_rel(&ring->publish->doorbell, 1);
	wait_futex_wake(&ring->publish->doorbell, INT_MAX);
}

void ring_kick_drain(struct ring_publisher *publisher, bool always)
{
	static const uint64_t one = 1;
	struct ring *ring = publisher->ring;

	struct pollfd room = { .fd = publisher->kick_fd, .events = POLLOUT };

	if (publisher->kick_fd < 0)
		return;
	/* MO(kick.A) pairs with kick.R in ring_drain_sleeps() and ring_drain_rearm(): of all who
	 * find the drain asleep, or wait for it, one pays for the system call. */
	if (xchg_acq_rel(&ring->publish->drain_kicked, 1) != 0 && !always)
		return;
	/* Other publishers have this open file description as well: they can fill the counter and
	 * take O_NONBLOCK away. Full, it wakes the drain without us. */
	if (poll(&room, 1, 0) != 1 || (room.revents & POLLOUT) == 0)
		return;
	publisher->n_kicks++;
	(void)!write(publisher->kick_fd, &one, sizeof(one));
}

int ring_commit_attend(struct ring_publisher *publisher)
{
	struct ring *ring = publisher->ring;
	uint32_t attention;

	/* MO(sleep.A) MO(kick.A) MO(close.A) as in ring_commit_store(), where the other sides
	 * cannot make this processor pass a barrier. */
	if (publisher->fence)
		fence_full();
	attention = load_relaxed(&ring->govern->attention);
	if (load_relaxed(&ring->wait->n_sleepers))
		publisher->n_wakes += ring_wake_one(ring);
	if (attention & GOVERN_DRAIN_ASLEEP)
		ring_kick_drain(publisher, false);
	return attention & GOVERN_CLOSED ? RING_E_CLOSED : 0;
}

/* ---- reading ---- */

uint64_t ring_word_at(const struct ring *ring, uint64_t pos)
{
	uint64_t word;

	if (pos % RECORD_ALIGN != 0 || pos >= ring_limit(ring) || pos < ring_reclaimed(ring))
		return 0;
	word = ring_word_look(ring, pos);
	return ring_lapped(ring, pos) ? 0 : word;
}

#if defined(__SANITIZE_THREAD__)
/* The copy races by design and is checked afterwards; the race detector cannot know that. */
__attribute__((no_sanitize("thread"), noinline)) static void ring_copy(void *to, const void *from,
								       uint64_t len)
{
	const volatile uint64_t *src = from;
	volatile uint64_t *dst = to;

	for (uint64_t i = 0; i < len / 8; i++)
		dst[i] = src[i];
}
#else
static inline void ring_copy(void *to, const void *from, uint64_t len)
{
	shared_load(from, len);
	memcpy(to, from, len);
}
#endif

/*
 * Whether a subscriber may walk on by the word found at pos. Records are its user's to judge; by
 * everything else one steps without looking, so its length has to be what its checksum says, and
 * to end below the tail.
 */
static bool ring_word_counts(const struct ring *ring, uint64_t pos, uint64_t word)
{
	enum record_kind kind = record_word_kind(word);
	struct record_header header;

	if (!record_word_is_done(word, ring->max_len, ring->len))
		return false;
	if (likely(kind == RECORD_COMMITTED || kind == RECORD_BATCH))
		return true;
	if (pos + record_step(word) > ring_tail(ring))
		return false;
	ring_copy(&header, ring_at(ring, pos), sizeof(header));
	return !(ring->flags & GOVERN_F_CHECKSUM) ||
	       header.crc == record_crc(ring->crc_seed, pos, word, &header);
}

/* How far a run goes, and why it goes no further (0 = the buffer or `upto`). */
struct ring_run {
	uint64_t copy_end; /* position up to which bytes are wanted */
	uint64_t need;     /* span of a record that alone exceeds the buffer */
	int stop;
};

/* Steps from word to word; bounded by the buffer, since every step takes at least 32 bytes. */
static struct ring_run ring_walk(const struct ring *ring, uint64_t pos, uint64_t upto,
				 uint64_t *limit, uint64_t cap)
{
	struct ring_run run = { .copy_end = pos };
	uint64_t at = pos;

	while (at < upto) {
		uint64_t word, step;
		enum record_kind kind;

		if (at >= *limit) {
			*limit = ring_limit(ring);
			if (at >= *limit) {
				run.stop = RING_E_EMPTY;
				break;
			}
		}
		word = ring_word_look(ring, at);
		kind = record_word_kind(word);
		if (word == 0 || kind == RECORD_RESERVED) {
			run.stop = RING_E_EMPTY;
			break;
		}
		if (!ring_word_counts(ring, at, word)) {
			run.stop = RING_E_GARBAGE;
			break;
		}
		step = kind == RECORD_COMMITTED ? record_step(word) : RECORD_HEADER_LEN;
		if (at + step > upto)
			break;
		if (at + step - pos > cap) {
			run.need = at == pos ? step : 0;
			break;
		}
		at += step;
		run.copy_end = at;
		if (kind != RECORD_COMMITTED && kind != RECORD_BATCH)
			break;
	}
	return run;
}

int ring_read(const struct ring *ring, uint64_t pos, uint64_t upto, uint64_t *limit, void *buf,
	      uint64_t cap, uint64_t *ret_len)
{
	/* Twice at most: the second time up to where a ring that closed meanwhile ends. */
	for (int i = 0; i < 2; i++) {
		struct ring_run run;
		uint64_t close_pos;

		if (pos < ring_reclaimed(ring))
			return RING_E_LAPPED;
		run = ring_walk(ring, pos, upto, limit, min_u64(cap, ring->len));
		ring_copy(buf, ring_at(ring, pos), run.copy_end - pos);
		TESTPOINT("read-run-copied");
		if (ring_lapped(ring, pos))
			return RING_E_LAPPED;
		/* MO(close.A) pairs with close.R in ring_set_succeeded(): a word stored after the
		 * closing was decided is seen only together with the closing. */
		if (load_acquire(&ring->govern->state) == GOVERN_SUCCEEDED) {
			close_pos = ring_close_pos(ring);
			if (pos >= close_pos)
				return RING_E_CLOSED;
			if (run.copy_end > close_pos) {
				upto = min_u64(upto, close_pos);
				continue;
			}
		}
		if (run.copy_end > pos) {
			*ret_len = run.copy_end - pos;
			return 0;
		}
		if (run.need) {
			*ret_len = run.need;
			return RING_E_SMALL;
		}
		return run.stop ? run.stop : RING_E_EMPTY;
	}
	return RING_E_EMPTY;
}

int ring_peek(const struct ring *ring, uint64_t pos, uint64_t *limit, uint64_t *ret_word,
	      const void **ret_bytes)
{
	uint64_t word;

	if (pos < ring_reclaimed(ring))
		return RING_E_LAPPED;
	if (pos >= *limit) {
		*limit = ring_limit(ring);
		if (pos >= *limit)
			return RING_E_EMPTY;
	}
	word = ring_word_look(ring, pos);
	if (!ring_still_valid(ring, pos))
		return pos < ring_reclaimed(ring) ? RING_E_LAPPED : RING_E_CLOSED;
	if (word == 0 || record_word_kind(word) == RECORD_RESERVED)
		return RING_E_EMPTY;
	if (!ring_word_counts(ring, pos, word))
		return RING_E_GARBAGE;
	*ret_word = word;
	*ret_bytes = ring_at(ring, pos);
	return 0;
}

/* To be asked after a word was loaded at pos: does it lie behind the end of a closed ring? */
static bool ring_ended(const struct ring *ring, uint64_t pos)
{
	/* MO(close.A) as in ring_read(). */
	return load_acquire(&ring->govern->state) == GOVERN_SUCCEEDED &&
	       pos >= ring_close_pos(ring);
}

bool ring_still_valid(const struct ring *ring, uint64_t pos)
{
	return !ring_lapped(ring, pos) && !ring_ended(ring, pos);
}

int ring_seek(const struct ring *ring, uint64_t pos, uint64_t *ret_pos)
{
	uint64_t at = ring_reclaimed(ring);
	uint64_t limit = ring_limit(ring);

	if (pos < at)
		return RING_E_LAPPED;
	while (at < pos) {
		uint64_t word = at < limit ? ring_word_look(ring, at) : 0;

		if (ring_lapped(ring, at)) {
			/* The oldest boundary moved on: begin again from there, or give up. */
			at = ring_reclaimed(ring);
			limit = ring_limit(ring);
			if (pos < at)
				return RING_E_LAPPED;
			continue;
		}
		/* Behind the end the successor's boundaries count, and they may be others. */
		if (!ring_word_counts(ring, at, word) || ring_ended(ring, at)) {
			*ret_pos = at;
			return RING_E_EMPTY;
		}
		at += record_step(word);
	}
	*ret_pos = at;
	return 0;
}

/* ---- the daemon ---- */

#if defined(__SANITIZE_THREAD__)
__attribute__((no_sanitize("thread"), noinline)) static void ring_zero(void *at, uint64_t len)
{
	volatile uint64_t *p = at;

	for (uint64_t i = 0; i < len / 8; i++)
		p[i] = 0;
}
#else
static inline void ring_zero(void *at, uint64_t len)
{
	memset(at, 0, len);
}
#endif

void ring_reclaim(struct ring *ring, uint64_t upto)
{
	struct layout_govern *govern = ring->govern;
	/* The two are one ring apart, unless a daemon died in here: then the memory between where
	 * the limit stands and `reclaimed` may not be zeroed yet. */
	uint64_t from = load_relaxed(&govern->limit) - ring->len;

	if (upto < load_relaxed(&govern->reclaimed) || upto <= from || upto - from > ring->len)
		return;
	/* MO(reclaim.R) pairs with reclaim.A in ring_lapped(): reclaimed before the zeros. A full
	 * fence, because a long memset may use stores that an ordinary release does not order. */
	store_relaxed(&govern->reclaimed, upto);
	fence_full();
	TESTPOINT("reclaim-announced");
	ring_zero(ring_at(ring, from), upto - from);
	TESTPOINT("reclaim-zeroed");
	/* MO(limit.R) pairs with limit.A in ring_limit(): the zeros before the limit. The fence is
	 * for the memset, the release for the race detector, which does not see fences. */
	fence_full();
	store_release(&govern->limit, upto + ring->len);
	/* MO(bell.R) the limit before the bell that waiting publishers sleep on. */
	fetch_add_acq_rel(&govern->limit_bell, 1);
	wait_futex_wake(&govern->limit_bell, INT_MAX);
}

enum {
	RING_ACK_FINE_SHIFT = 10, /* bits 0 to 15, for records shorter than RING_ACK_FINE_MAX */
	RING_ACK_FINE_N = 16,
	RING_ACK_FINE_MAX = 512,
	RING_ACK_COARSE_SHIFT = 15, /* bits 16 to 31 */
	RING_ACK_COARSE_N = 16,
};

uint32_t ring_ack_bit(uint64_t pos, uint64_t span)
{
	if (span < RING_ACK_FINE_MAX)
		return UINT32_C(1) << (pos >> RING_ACK_FINE_SHIFT) % RING_ACK_FINE_N;
	return UINT32_C(1) << ((pos >> RING_ACK_COARSE_SHIFT) % RING_ACK_COARSE_N +
			       RING_ACK_FINE_N);
}

uint32_t ring_ack_bits(uint64_t from, uint64_t to)
{
	uint64_t at = from >> RING_ACK_FINE_SHIFT, last = (to - 1) >> RING_ACK_FINE_SHIFT;
	uint32_t bits = 0;

	if (from >= to)
		return 0;
	for (unsigned int i = 0; i < RING_ACK_FINE_N && at <= last; i++, at++)
		bits |= ring_ack_bit(at << RING_ACK_FINE_SHIFT, 0);
	at = from >> RING_ACK_COARSE_SHIFT;
	last = (to - 1) >> RING_ACK_COARSE_SHIFT;
	for (unsigned int i = 0; i < RING_ACK_COARSE_N && at <= last; i++, at++)
		bits |= ring_ack_bit(at << RING_ACK_COARSE_SHIFT, RING_ACK_FINE_MAX);
	return bits;
}

void ring_progress(struct ring *ring, uint64_t written, uint64_t durable)
{
	struct layout_govern *govern = ring->govern;
	uint32_t bits = durable ? ring_ack_bits(load_relaxed(&govern->durable), durable) : 0;

	/* MO(progress.R) pairs with progress.A in ring_written(): what the disk has answered
	 * before the position that says so. */
	if (written)
		store_release(&govern->written, written);
	if (durable)
		store_release(&govern->durable, durable);
	/* MO(bell.R) the positions before the bells that waiters for them sleep on. */
	if (durable) {
		fetch_add_acq_rel(&govern->durable_bell, 1);
		wait_futex_wake_bits(&govern->durable_bell, bits);
	}
	if (written) {
		fetch_add_acq_rel(&govern->written_bell, 1);
		wait_futex_wake(&govern->written_bell, INT_MAX);
	}
}

void ring_drain_sleeps(struct ring *ring)
{
	store_relaxed(&ring->publish->drain_kicked, 0);
	/* MO(kick.R) pairs with kick.A in ring_kick_drain() and ring_commit(): the zero before the
	 * announcement; the caller's membarrier_sync() before its last look at the ring. */
	fetch_or_acq_rel(&ring->govern->attention, GOVERN_DRAIN_ASLEEP);
}

bool ring_drain_rearm(struct ring *ring)
{
	if (likely(load_relaxed(&ring->publish->drain_kicked) == 0))
		return false;
	/* MO(kick.R) pairs with kick.A in ring_kick_drain(): whose exchange came before this one
	 * committed before it, so the next look finds that; whose comes after, kicks. */
	return xchg_acq_rel(&ring->publish->drain_kicked, 0) != 0;
}

void ring_drain_wakes(struct ring *ring)
{
	/* MO(kick.R) taking the announcement back orders nothing; late kicks are harmless. */
	fetch_and_acq_rel(&ring->govern->attention, ~(uint32_t)GOVERN_DRAIN_ASLEEP);
}

uint64_t ring_close_tail(struct ring *ring)
{
	/* MO(tail.R) MO(tail.A): no CAS succeeds after this, and all before it are seen. */
	uint64_t tail = fetch_or_acq_rel(&ring->publish->tail, LAYOUT_TAIL_CLOSED);
	uint64_t limit = load_relaxed(&ring->govern->limit);

	/* As in ring_tail(): it may be anything. */
	return max_u64(min_u64(tail & ~(uint64_t)(RECORD_ALIGN - 1), limit), ring_reclaimed(ring));
}

void ring_wake_all(struct ring *ring)
{
	/* MO(bell.R) the state before the bells. */
	fetch_add_acq_rel(&ring->govern->limit_bell, 1);
	fetch_add_acq_rel(&ring->govern->durable_bell, 1);
	fetch_add_acq_rel(&ring->govern->written_bell, 1);
	wait_futex_wake(&ring->govern->limit_bell, INT_MAX);
	wait_futex_wake(&ring->govern->durable_bell, INT_MAX);
	wait_futex_wake(&ring->govern->written_bell, INT_MAX);
	ring_wake_subscribers(ring);
}

void ring_set_succeeded(struct ring *ring, uint64_t close_pos)
{
	struct layout_govern *govern = ring->govern;

	store_relaxed(&govern->close_pos, close_pos);
	/* MO(close.R) pairs with close.A in ring_state(): close_pos before the state. */
	store_release(&govern->state, GOVERN_SUCCEEDED);
	/* MO(close.R) pairs with close.A in ring_commit(): attention, then a barrier on every
	 * publisher's processor, then (in the caller) the decisions. */
	fetch_or_acq_rel(&govern->attention, GOVERN_CLOSED);
	(void)membarrier_sync();
}

void ring_set_state(struct ring *ring, enum govern_state state, int error)
{
	struct layout_govern *govern = ring->govern;

	store_relaxed(&govern->error, error);
	/* MO(close.R) pairs with close.A in ring_state(). */
	store_release(&govern->state, state);
	ring_wake_all(ring);
}
