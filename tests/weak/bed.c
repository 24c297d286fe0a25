/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/weak/bed.h"

struct ring bed_ring[WEAK_SHARED_N];
struct ring_publisher bed_publisher[WEAK_SLOTS];
struct bed_log bed_told, bed_drained;

const struct weak_case *const weak_cases[] = {
	&ring_case_publish,
	&ring_case_short,
	&ring_case_holes,
	&ring_case_bury,
	&ring_case_laps,
	&ring_case_laps_short,
	&ring_case_laps_peek,
	&ring_case_batch,
	&bell_case_progress,
	&bell_case_room,
	&bell_case_failed,
	&bell_case_sleep,
	&bell_case_sleep_two,
	&bell_case_fence,
	&bell_case_kick,
	&bell_case_rearm,
	&bell_case_clock,
	&close_case_close,
	&close_case_read,
	&close_case_short,
	&close_case_peek,
	&close_case_ready,
	NULL,
};

void bed_init(const struct weak_case *one, unsigned int n_publishers)
{
	for (unsigned int i = 0; i < WEAK_SHARED_N; i++) {
		struct weak_shared *s = &weak_shared[i];
		struct ring *ring = &bed_ring[i];

		*ring = (struct ring){
			.data = s->data,
			.len = one->ring_len,
			.mask = one->ring_len - 1,
			.publish = &s->publish,
			.govern = &s->govern,
			.wait = &s->wait,
			.first_pos = BED_FIRST,
			.max_len = (uint32_t)one->ring_len,
			.generation = i + 1,
			.access = REGION_DAEMON,
		};
		store_relaxed(&s->govern.limit, BED_FIRST + one->ring_len);
		store_relaxed(&s->govern.reclaimed, BED_FIRST);
		store_relaxed(&s->govern.written, BED_FIRST);
		store_relaxed(&s->govern.durable, BED_FIRST);
		store_relaxed(&s->govern.close_pos, LAYOUT_POS_END);
		store_relaxed(&s->govern.state, i == 0 ? GOVERN_OPEN : 0);
		store_relaxed(&s->publish.tail, BED_FIRST);
		for (unsigned int slot = 0; slot < n_publishers; slot++)
			store_relaxed(&s->govern.owners[slot].state, OWNER_TAKEN);
	}
	for (uint16_t slot = 0; slot < n_publishers; slot++)
		if (ring_publisher_init(&bed_publisher[slot], &bed_ring[0], slot, BED_KICK_FD) != 0)
			weak_fail("no publisher");
}

void bed_begin(void)
{
	bed_told.n = bed_drained.n = 0;
}

void bed_note(struct bed_log *log, uint64_t pos)
{
	weak_must(log->n < BED_RECORDS_MAX, "more records than a case can have");
	log->pos[log->n++] = pos;
}

bool bed_noted(const struct bed_log *log, uint64_t pos)
{
	for (unsigned int i = 0; i < log->n; i++)
		if (log->pos[i] == pos)
			return true;
	return false;
}

void bed_end(void)
{
	for (unsigned int i = 0; i < bed_told.n; i++)
		weak_must(bed_noted(&bed_drained, bed_told.pos[i]),
			  "a record told published is lost");
	for (unsigned int i = 1; i < bed_drained.n; i++)
		weak_must(bed_drained.pos[i] > bed_drained.pos[i - 1],
			  "a record was drained twice");
}

/* ---- publishing ---- */

static uint64_t bed_content(uint64_t pos, unsigned int i)
{
	return UINT64_C(1) << 60 | pos << 8 | i;
}

int bed_reserve(struct ring_publisher *publisher, uint32_t len, uint64_t *ret_pos)
{
	struct ring *ring = publisher->ring;
	int r = ring_reserve(publisher, len, ret_pos);

	if (r != 0)
		return r;
	for (uint32_t off = 8; off < record_span(len); off += 8)
		weak_must(weak_peek((char *)ring_at(ring, *ret_pos) + off, 8) == 0,
			  "what was reserved is not free");
	return 0;
}

static void bed_fill(struct ring *ring, uint64_t pos, uint32_t len)
{
	char *at = ring_at(ring, pos);

	for (unsigned int i = 1; i < len / 8; i++) {
		uint64_t value = bed_content(pos, i);

		memcpy(at + 8 * (size_t)i, &value, 8);
	}
}

int bed_commit(struct ring_publisher *publisher, uint64_t pos, uint32_t len)
{
	char *at = ring_at(publisher->ring, pos);

	bed_fill(publisher->ring, pos, len);
	weak_must(record_word_kind(weak_peek(at, 8)) == RECORD_RESERVED,
		  "the reservation of a living publisher was buried");
	return ring_commit(publisher, pos, ring_committed_word(publisher, len), 1);
}

bool bed_publish(struct ring_publisher *publisher, uint32_t len, uint64_t *ret_pos)
{
	int r;

	while ((r = bed_reserve(publisher, len, ret_pos)) == RING_E_FULL)
		weak_pause();
	if (r != 0)
		return false;
	if (bed_commit(publisher, *ret_pos, len) == 0)
		bed_note(&bed_told, *ret_pos);
	return true;
}

void bed_publish_batch(struct ring_publisher *publisher)
{
	struct ring *ring = publisher->ring;
	uint64_t pos, word = ring_committed_word(publisher, 32);

	while (bed_reserve(publisher, 64, &pos) != 0)
		weak_pause();
	bed_fill(ring, pos + 32, 32);
	memcpy(ring_at(ring, pos + 32), &word, 8);
	bed_fill(ring, pos, 32);
	if (ring_commit(publisher, pos, record_word(RECORD_BATCH, 64, publisher->owner, 0), 1) == 0)
		bed_note(&bed_told, pos + 32);
}

void bed_check(uint64_t pos, uint64_t word, const char *bytes)
{
	uint32_t len = record_word_len(word);

	weak_must(record_word_kind(word) == RECORD_COMMITTED, "not a record");
	for (unsigned int i = 1; i < len / 8; i++) {
		uint64_t value;

		memcpy(&value, bytes + 8 * (size_t)i, 8);
		weak_must(value == bed_content(pos, i), "a record without its content");
	}
}

/* ---- reading ---- */

int bed_read(const struct ring *ring, uint64_t *pos, uint64_t *limit, struct bed_log *got)
{
	char buf[WEAK_RING_MAX];
	uint64_t len = 0;
	int r = ring_read(ring, *pos, UINT64_MAX, limit, buf, sizeof(buf), &len);

	if (r != 0)
		return r;
	for (uint64_t off = 0; off < len;) {
		uint64_t word;

		memcpy(&word, buf + off, 8);
		if (record_word_kind(word) == RECORD_COMMITTED) {
			bed_check(*pos, word, buf + off);
			bed_note(got, *pos);
		} else {
			weak_must(record_word_kind(word) == RECORD_TOMBSTONE ||
					  record_word_kind(word) == RECORD_BATCH,
				  "garbage was read");
		}
		off += record_step(word);
		*pos += record_step(word);
	}
	return 0;
}

/* ---- draining ---- */

static bool bed_hole(struct bed_drain *drain)
{
	uint64_t len;
	int r = orphan_step(drain->ring, &drain->scan, drain->pos, 0, &len);

	if (r != 0)
		return r != ORPHAN_E_WAIT;
	orphan_bury(drain->ring, drain->pos, (uint32_t)len, RECORD_TOMBSTONE,
		    &(struct orphan_dead){ 0 }, 1, false);
	return true;
}

bool bed_drain_step(struct bed_drain *drain)
{
	struct ring *ring = drain->ring;
	uint64_t tail = ring_tail(ring), word;
	uint32_t len;
	char copy[WEAK_RING_MAX];

	if (drain->pos >= tail)
		return false;
	word = ring_word_load(ring, drain->pos);
	len = record_word_len(word);
	weak_must(word == 0 || (len % 32 == 0 && len <= tail - drain->pos),
		  "the drain met garbage");
	switch (record_word_kind(word)) {
	case RECORD_FREE:
		return bed_hole(drain);
	case RECORD_RESERVED:
		if (!drain->dead[record_word_owner(word)])
			return false;
		/* It may have committed just before it died. */
		if (ring_word_load(ring, drain->pos) == word)
			orphan_bury(ring, drain->pos, len, RECORD_TOMBSTONE,
				    &(struct orphan_dead){ .pid = 1 }, 1, false);
		return true;
	case RECORD_COMMITTED:
		memcpy(copy, ring_at(ring, drain->pos), len);
		bed_check(drain->pos, word, copy);
		bed_note(&bed_drained, drain->pos);
		break;
	default:
		weak_must(record_word_kind(word) == RECORD_TOMBSTONE ||
				  record_word_kind(word) == RECORD_BATCH,
			  "the drain met garbage");
	}
	drain->pos += record_step(word);
	return true;
}
