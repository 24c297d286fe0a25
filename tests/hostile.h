/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring whose memory changes between two loads of whoever reads it, as an input says: what was
 * checked need not be what is there when it is used. For the fuzz targets, and for the test that
 * counts how often a word is looked at.
 *
 * Only what publishers and subscribers may write is changed: ring, publish page, wait page.
 */
#ifndef TESTS_HOSTILE_H
#define TESTS_HOSTILE_H

#include "tests/ring_bed.h"

enum {
	HOSTILE_STEP_LEN = 12,
	HOSTILE_STEPS_MAX = 64,
	HOSTILE_CHANGES_MAX = 16,
};

/* 12 bytes of an input: 1 what, 1 slot, 2 place (in units of 32 bytes), 8 value. */
struct hostile_step {
	uint8_t what;
	uint8_t slot;
	uint16_t place;
	uint64_t value;
};

/* A fresh ring, as region_create() made it, and no changes to come. The bed is made at first. */
void hostile_begin(struct ring_bed *bed);
/* Nothing changes any more, whoever reads. */
void hostile_calm(void);
/* What is read meanwhile is neither counted nor changed: it is not what a target is about. */
void hostile_hold(bool hold);
/* Are there changes that come, or came, between two loads? */
bool hostile_is_at_work(void);

/* The position that a step's place names: from one ring before the first on. */
static inline uint64_t hostile_pos(const struct hostile_step *step)
{
	return LAYOUT_FIRST_POS - LAYOUT_RING_MIN + (uint64_t)step->place * RECORD_ALIGN;
}

/* Changes a word now: one of the ring, or of what publishers write in the pages. */
void hostile_poke(const struct hostile_step *step);
/* The same, but before the load that comes `slot` loads from now. */
void hostile_arm(const struct hostile_step *step);
/* Changes the very word that is loaded then, after it was loaded. */
void hostile_arm_loaded(const struct hostile_step *step);
/* An honest publisher's record of up to 1000 bytes from that slot. */
void hostile_publish(const struct hostile_step *step);

/* The input: number of steps, the steps, then ring memory from index 0 on. */
void hostile_run(struct ring_bed *bed, const uint8_t *data, size_t data_len, void (*begin)(void),
		 void (*do_step)(const struct hostile_step *step));

/* ---- counting ---- */

/* From now on counts how often each 8 bytes that others may write are looked at. */
void hostile_count_begin(struct ring_bed *bed);
/* The highest count, and the place that had it in words; 0 when nothing was looked at. */
unsigned int hostile_count_end(char *where, size_t where_len);

#endif
