/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hostile publishers can do to everybody who reads their ring. The input is a script of
 * changes and calls, then the ring's memory, as hostile.h says; changes come between the calls and
 * in the middle of them.
 *
 * Nothing may crash, read past its private copy (made to measure), or break what the calls promise.
 */
#include "tests/hostile.h"

static struct ring_bed bed;
static struct ring_bed_drain drain;
static uint64_t limit;
static volatile uint64_t sink;

/* Touches every byte that a pointer into a record promises. */
static void touch(const void *at, uint64_t len)
{
	const uint8_t *p = at;

	for (uint64_t i = 0; i < len; i++)
		sink += p[i];
}

static void take_apart(uint64_t word, const void *bytes, uint64_t pos)
{
	struct record_view view;
	struct record_field field;
	uint32_t off = 0;

	sink += record_crc(bed.reader->crc_seed, pos, word, bytes);
	if (record_parse(word, bytes, pos, &view) < 0 || view.kind != RECORD_COMMITTED)
		return;
	touch(view.key, view.key_len);
	touch(view.headers, view.headers_len);
	touch(view.value, view.value_len);
	while (record_headers_next(view.headers, view.headers_len, &off, &field) == 1) {
		touch(field.name, field.name_len);
		touch(field.value, field.value_len);
	}
}

/* A run as a subscriber takes it apart: from the copy alone, where every word may have become
 * another since the ring was walked. */
static void walk_copy(const char *copy, uint64_t len, uint64_t pos)
{
	uint64_t at = 0;

	while (at < len) {
		uint64_t word;

		memcpy(&word, copy + at, 8);
		bed_must(record_word_is_done(word, bed.reader->max_len, bed.reader->len) ||
				 hostile_is_at_work(),
			 "an unfinished word in a run");
		if (!record_word_is_done(word, bed.reader->max_len, bed.reader->len) ||
		    (record_word_kind(word) == RECORD_COMMITTED && record_step(word) > len - at))
			break;
		take_apart(word, copy + at, pos + at);
		at += record_step(word);
	}
}

static void try_read(const struct hostile_step *step)
{
	uint64_t cap = step->value % (LAYOUT_RING_MIN + 4096), len = 0;
	uint64_t upto = step->slot & 1 ? UINT64_MAX : hostile_pos(step) + step->slot * 64u;
	char *copy = malloc(cap ? cap : 1);
	int r;

	if (step->slot & 2)
		limit = 0;
	r = ring_read(bed.reader, hostile_pos(step), upto, &limit, copy, cap, &len);
	bed_must(r >= 0 && r <= RING_E_GARBAGE, "ring_read: %d", r);
	if (r == 0) {
		bed_must(len >= RECORD_HEADER_LEN && len <= cap, "a run of the wrong length");
		walk_copy(copy, len, hostile_pos(step));
	}
	bed_must(r != RING_E_SMALL || (len > cap && len <= record_span(bed.reader->max_len)),
		 "a need that no record has");
	free(copy);
}

static void try_look(const struct hostile_step *step)
{
	uint64_t pos = hostile_pos(step), at = 0, word;
	char copy[RING_SHORT_LEN];
	const void *bytes;
	int r = ring_peek(bed.reader, pos, &limit, &word, &bytes);

	if (r == 0)
		take_apart(word, bytes, pos);
	if (ring_read_short(bed.reader, pos, copy, &word)) {
		bed_must(record_word_len(word) >= RECORD_HEADER_LEN &&
				 record_word_len(word) <= RING_SHORT_LEN,
			 "a record that is not short");
		take_apart(word, copy, pos);
	}
	sink += ring_word_at(bed.reader, pos + (step->slot & 31));
	r = ring_seek(bed.reader, pos + (step->slot & 31), &at);
	bed_must(r == 0 || r == RING_E_LAPPED || r == RING_E_EMPTY, "ring_seek: %d", r);
	bed_must(r != 0 || at >= pos, "a boundary before the position");
	bed_must(r == RING_E_LAPPED || at % RECORD_ALIGN == 0, "no boundary");
}

static void try_tail(const struct hostile_step *step)
{
	uint64_t tail;

	store_relaxed(&bed.daemon->publish->tail, step->value);
	tail = ring_tail(bed.reader);
	bed_must(tail >= ring_reclaimed(bed.reader), "a tail below what is reclaimed");
	bed_must(tail <= load_relaxed(&bed.daemon->govern->limit), "a tail above the limit");
	bed_must(tail % RECORD_ALIGN == 0, "a tail between two places");
}

static void try_unit(const struct hostile_step *step)
{
	uint64_t tail = ring_tail(bed.daemon), pos = hostile_pos(step);
	uint64_t word, len;

	if (pos < ring_reclaimed(bed.daemon) || pos >= tail)
		return;
	word = ring_word_load(bed.daemon, pos);
	len = ring_bed_unit(bed.daemon, pos, step->slot & 1 ? step->value : word, tail);
	bed_must(len <= tail - pos, "a unit beyond the tail");
	len = orphan_hole_len(bed.daemon, pos, step->slot & 2 ? step->value : tail);
	bed_must(len <= bed.daemon->len, "a hole longer than the ring");
}

static void try_publish(const struct hostile_step *step)
{
	struct ring_publisher publisher;
	uint64_t tail = load_relaxed(&bed.daemon->publish->tail);
	int r;

	bed_must(ring_publisher_init(&publisher, bed.writer, step->slot, -1) == 0, "no slot");
	r = ring_bed_publish(&publisher, 1, step->value, 16 + step->value % 1000, NULL);
	bed_must(r == 0 || r == RING_E_FULL || r == RING_E_CLOSED || r == -EBADMSG, "publish: %d",
		 r);
	if (hostile_is_at_work())
		return;
	bed_must(r != 0 || load_relaxed(&bed.daemon->publish->tail) > tail, "nothing reserved");
	bed_must((load_relaxed(&publisher.slot->claim) & 1) == 0, "the claim stays odd");
}

static void do_step(const struct hostile_step *step)
{
	uint64_t off = ((uint64_t)step->place * 8 + step->slot * 8u) % LAYOUT_RING_MIN;

	switch (step->what % 12) {
	case 0:
		try_read(step);
		break;
	case 1:
		try_look(step);
		break;
	case 2:
		try_tail(step);
		break;
	case 3:
		memcpy(bed.writer->data + off, &step->value, 8);
		break;
	case 4:
		/* The daemon's own position bounds what it gives back. */
		ring_reclaim(bed.daemon, min_u64(hostile_pos(step), drain.pos));
		break;
	case 5:
		for (int i = 0; i < 3; i++)
			ring_bed_drain_pass(&drain);
		break;
	case 6:
		store_relaxed(&bed.writer->publish->slots[step->slot].claim, step->value);
		store_relaxed(&bed.daemon->govern->owners[step->slot].state, step->place % 3);
		break;
	case 7:
		if (ring_state(bed.daemon, NULL) == GOVERN_OPEN)
			ring_set_succeeded(bed.daemon, hostile_pos(step));
		break;
	case 8:
		try_unit(step);
		break;
	case 9:
		try_publish(step);
		break;
	case 10:
		hostile_arm(step);
		break;
	default:
		hostile_arm_loaded(step);
		break;
	}
}

static void begin(void)
{
	ring_bed_drain_init(&drain, bed.daemon, LAYOUT_FIRST_POS);
	limit = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_len)
{
	hostile_run(&bed, data, data_len, begin, do_step);
	return 0;
}
