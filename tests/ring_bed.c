/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/ring_bed.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

void ring_bed_fail(const char *file, int line, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s:%d: ", file, line);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	fflush(NULL);
	_exit(99);
}

void ring_bed_init(struct ring_bed *bed, uint64_t ring_len)
{
	struct region_options options = {
		.stream_uuid = "a test's stream",
		.shard = 7,
		.generation = 1,
		.ring_len = ring_len,
		.first_pos = LAYOUT_FIRST_POS,
		.flags = GOVERN_F_CHECKSUM,
		.node = -1,
	};
	int r = region_create(&options, &bed->fds, NULL);

	bed_must(r == 0, "region_create: %s", strerror(-r));
	bed->daemon = ring_bed_open(bed, REGION_DAEMON);
	bed->writer = ring_bed_open(bed, REGION_PUBLISHER);
	bed->reader = ring_bed_open(bed, REGION_SUBSCRIBER);
}

void ring_bed_deinit(struct ring_bed *bed)
{
	bed->daemon = ring_close(bed->daemon);
	bed->writer = ring_close(bed->writer);
	bed->reader = ring_close(bed->reader);
	region_fds_close(&bed->fds);
}

struct ring *ring_bed_open(const struct ring_bed *bed, enum region_access access)
{
	struct region_fds fds = REGION_FDS_NULL;
	struct ring *ring;
	int r = region_reopen(&bed->fds, access, &fds);

	bed_must(r == 0, "region_reopen: %s", strerror(-r));
	r = ring_open(&fds, access, &ring);
	bed_must(r == 0, "ring_open: %s", strerror(-r));
	region_fds_close(&fds);
	return ring;
}

void ring_bed_own(struct ring *daemon, uint16_t slot, enum layout_owner_state state, uint32_t pid)
{
	struct layout_owner *owner = &daemon->govern->owners[slot];

	if (state == OWNER_TAKEN) {
		owner->pid = pid;
		owner->uid = getuid();
	}
	if (state == OWNER_DEAD)
		owner->dead_tail = ring_tail(daemon);
	store_release(&owner->state, state);
}

/* ---- records ---- */

uint64_t ring_bed_random(uint64_t *state)
{
	uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

uint64_t ring_bed_seed(void)
{
	const char *given = getenv("LEAT_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : clock_now_ns(CLOCK_MONOTONIC) | 1;

	printf("LEAT_SEED=%" PRIu64 "\n", seed);
	fflush(stdout);
	return seed;
}

/* Every 8 bytes differ from those of any other record and any other place in it. */
static uint64_t ring_bed_word(uint64_t who, uint64_t number, uint32_t off)
{
	uint64_t state = who << 40 ^ number << 8 ^ off;

	return ring_bed_random(&state);
}

static void ring_bed_fill(char *value, uint32_t len, uint64_t who, uint64_t number)
{
	memcpy(value, &who, 8);
	memcpy(value + 8, &number, 8);
	for (uint32_t off = 16; off < len; off += 8) {
		uint64_t word = ring_bed_word(who, number, off);

		memcpy(value + off, &word, min_u64(8, len - off));
	}
}

bool ring_bed_check(const struct record_view *view, uint64_t *ret_who, uint64_t *ret_number)
{
	const char *value = view->value;
	uint64_t who, number;

	if (view->kind != RECORD_COMMITTED || view->value_len < RING_BED_VALUE_MIN)
		return false;
	memcpy(&who, value, 8);
	memcpy(&number, value + 8, 8);
	if (view->publisher != (uint32_t)who || view->sequence != (uint32_t)number ||
	    view->key_len != 0 || view->headers_len != 0)
		return false;
	for (uint32_t off = 16; off < view->value_len; off += 8) {
		uint64_t word = ring_bed_word(who, number, off);

		if (memcmp(value + off, &word, min_u64(8, view->value_len - off)) != 0)
			return false;
	}
	*ret_who = who;
	*ret_number = number;
	return true;
}

int ring_bed_commit(struct ring_publisher *publisher, uint64_t pos, uint64_t who, uint64_t number,
		    uint32_t value_len)
{
	struct ring *ring = publisher->ring;
	struct record_header *record = ring_at(ring, pos);
	uint32_t len = RECORD_HEADER_LEN + value_len;
	uint64_t word = record_word(RECORD_COMMITTED, len, publisher->owner, 0);

	record->timestamp_ns = number;
	record->key_len = 0;
	record->headers_len = 0;
	record->publisher = (uint32_t)who;
	record->sequence = (uint32_t)number;
	ring_bed_fill((char *)record + RECORD_HEADER_LEN, value_len, who, number);
	record->crc = record_crc(ring->crc_seed, pos, word, record);
	return ring_commit(publisher, pos, word, 1);
}

int ring_bed_publish(struct ring_publisher *publisher, uint64_t who, uint64_t number,
		     uint32_t value_len, uint64_t *ret_pos)
{
	uint64_t pos;
	int r = ring_reserve(publisher, RECORD_HEADER_LEN + value_len, &pos);

	if (r != 0)
		return r;
	if (ret_pos)
		*ret_pos = pos;
	return ring_bed_commit(publisher, pos, who, number, value_len);
}

/* ---- a drain in small ---- */

static bool ring_bed_valid(const struct ring *ring, uint64_t pos, uint64_t word)
{
	const char *bytes = ring_at(ring, pos);
	struct record_view view;
	uint32_t crc;

	memcpy(&crc, bytes + offsetof(struct record_header, crc), sizeof(crc));
	return crc == record_crc(ring->crc_seed, pos, word, bytes) &&
	       record_parse(word, bytes, pos, &view) == 0;
}

uint64_t ring_bed_unit(const struct ring *ring, uint64_t pos, uint64_t word, uint64_t tail)
{
	uint64_t end = pos + record_span(record_word_len(word));

	if (!record_word_is_done(word, ring->max_len, ring->len) || end > tail ||
	    !ring_bed_valid(ring, pos, word))
		return 0;
	if (record_word_kind(word) != RECORD_BATCH)
		return end - pos;
	for (uint64_t at = pos + RECORD_HEADER_LEN; at < end;) {
		uint64_t inner = ring_word_load(ring, at);

		if (record_word_kind(inner) != RECORD_COMMITTED ||
		    !record_word_is_done(inner, ring->max_len, ring->len) ||
		    record_step(inner) > end - at || !ring_bed_valid(ring, at, inner))
			return 0;
		at += record_step(inner);
	}
	return end - pos;
}

void ring_bed_drain_init(struct ring_bed_drain *drain, struct ring *ring, uint64_t pos)
{
	*drain = (struct ring_bed_drain){ .ring = ring, .pos = pos, .mark = pos };
}

static void ring_bed_bury(struct ring_bed_drain *drain, uint64_t len, struct orphan_dead dead)
{
	orphan_bury(drain->ring, drain->pos, (uint32_t)len, RECORD_TOMBSTONE, &dead,
		    clock_now_ns(CLOCK_REALTIME), true);
	drain->tombstones++;
	drain->tombstone_bytes += len;
}

/* Nothing finished at pos, says the word loaded there: true when that has changed. */
static bool ring_bed_resolve(struct ring_bed_drain *drain, uint64_t word, uint64_t tail)
{
	struct ring *ring = drain->ring;
	uint64_t len;
	struct layout_owner *owner;
	int r;

	if (word == 0) {
		r = orphan_step(ring, &drain->scan, drain->pos, 0, &len);
		drain->waits = r == ORPHAN_E_WAIT;
		if (r == 0)
			ring_bed_bury(drain, len, (struct orphan_dead){ 0 });
		return r != ORPHAN_E_WAIT;
	}
	len = record_span(record_word_len(word));
	if (record_word_kind(word) != RECORD_RESERVED ||
	    record_word_len(word) < RECORD_HEADER_LEN || len > tail - drain->pos ||
	    record_word_owner(word) >= LAYOUT_PUBLISHER_SLOTS) {
		drain->damaged++;
		return false;
	}
	owner = &ring->govern->owners[record_word_owner(word)];
	drain->waits = load_relaxed(&owner->state) == OWNER_TAKEN;
	if (drain->waits)
		return false;
	/* It may have committed just before it died. */
	if (ring_word_load(ring, drain->pos) == word)
		ring_bed_bury(drain, record_word_len(word),
			      (struct orphan_dead){ owner->pid, owner->uid,
						    record_word_owner(word) });
	return true;
}

static void ring_bed_counted(struct ring_bed_drain *drain, uint64_t word)
{
	struct record_view view;

	if (record_word_kind(word) != RECORD_COMMITTED)
		return;
	drain->records++;
	if (!drain->on_record)
		return;
	record_parse(word, ring_at(drain->ring, drain->pos), drain->pos, &view);
	drain->on_record(drain->arg, &view);
}

/* Half of the ring stays readable behind pos. */
static void ring_bed_reclaim(struct ring_bed_drain *drain)
{
	struct ring *ring = drain->ring;
	uint64_t end = drain->pos;

	ring_progress(ring, end, end);
	if (end - ring_reclaimed(ring) < ring->len / 2)
		return;
	ring_reclaim(ring, drain->mark);
	drain->mark = end;
}

bool ring_bed_drain_pass(struct ring_bed_drain *drain)
{
	struct ring *ring = drain->ring;
	uint64_t start = drain->pos, tail;
	bool changed = false;

	drain->waits = false;
	/* A hole that was buried may end at a later tail than the one before. */
	while (drain->pos < (tail = ring_tail(ring))) {
		uint64_t word = ring_word_load(ring, drain->pos);
		uint64_t span = ring_bed_unit(ring, drain->pos, word, tail);

		if (span == 0) {
			if (!ring_bed_resolve(drain, word, tail))
				break;
			changed = true;
			continue;
		}
		ring_bed_counted(drain, word);
		drain->pos += span;
	}
	ring_bed_reclaim(drain);
	for (unsigned int slot = 0; slot < LAYOUT_PUBLISHER_SLOTS; slot++) {
		struct layout_owner *owner = &ring->govern->owners[slot];

		if (load_acquire(&owner->state) == OWNER_DEAD && drain->pos >= owner->dead_tail)
			store_release(&owner->state, OWNER_FREE);
	}
	return changed || drain->pos != start;
}

bool ring_bed_is_clean(const struct ring *daemon)
{
	uint64_t limit = load_relaxed(&daemon->govern->limit);

	for (uint64_t at = ring_tail(daemon); at < limit; at += 8)
		if (*(const uint64_t *)ring_at(daemon, at) != 0)
			return false;
	return true;
}
