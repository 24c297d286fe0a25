/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of shm/ share: a ring with its four regions and nothing else, records whose
 * content can be checked, and a drain in small that resolves, checks, buries and reclaims as the
 * daemon does, without a disk.
 *
 * Usable in cases, helper processes and threads alike: what fails ends the process with a
 * sentence.
 */
#ifndef TESTS_RING_BED_H
#define TESTS_RING_BED_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/orphan.h"
#include "shm/ring_publish.h"
#include "shm/ring_read.h"

/* Ends the process with a sentence; check counts that as a failed case. */
void ring_bed_fail(const char *file, int line, const char *format, ...)
	__attribute__((noreturn, format(printf, 3, 4)));
#define bed_must(condition, ...)                                                                   \
	do {                                                                                       \
		if (!(condition))                                                                  \
			ring_bed_fail(__FILE__, __LINE__, __VA_ARGS__);                            \
	} while (0)

struct ring_bed {
	struct region_fds fds; /* read-write, the daemon's */
	struct ring *daemon;
	struct ring *writer;
	struct ring *reader;
};

/* Checksums on, positions from LAYOUT_FIRST_POS. Mapped in this process alone. */
void ring_bed_init(struct ring_bed *bed, uint64_t ring_len);
void ring_bed_deinit(struct ring_bed *bed);
/* Another mapping of the same ring, with the permission that `access` has. */
struct ring *ring_bed_open(const struct ring_bed *bed, enum region_access access);
/* Says who has a slot, as the daemon does when it hands it out or learns of a death. */
void ring_bed_own(struct ring *daemon, uint16_t slot, enum layout_owner_state state, uint32_t pid);

/* ---- records that can be checked ---- */

enum {
	RING_BED_VALUE_MIN = 16, /* who and number */
};

/* Publishes a record with this content; what ring_reserve() or ring_commit() says. */
int ring_bed_publish(struct ring_publisher *publisher, uint64_t who, uint64_t number,
		     uint32_t value_len, uint64_t *ret_pos);
/* The second half of it: content and commit of what was reserved. */
int ring_bed_commit(struct ring_publisher *publisher, uint64_t pos, uint64_t who, uint64_t number,
		    uint32_t value_len);
/* True when every byte of a parsed record is as ring_bed_publish() made it. */
bool ring_bed_check(const struct record_view *view, uint64_t *ret_who, uint64_t *ret_number);

/* splitmix64 */
uint64_t ring_bed_random(uint64_t *state);
/* From $LEAT_SEED or the clock; printed. */
uint64_t ring_bed_seed(void);

/* ---- a drain in small ---- */

struct ring_bed_drain {
	struct ring *ring; /* REGION_DAEMON */
	struct orphan_scan scan;
	uint64_t pos;
	uint64_t mark; /* a boundary up to which may be reclaimed */
	uint64_t records;
	uint64_t tombstones;
	uint64_t tombstone_bytes;
	uint64_t damaged;
	bool waits; /* the last pass ended at a hole that somebody alive may own */
	/* Called for each record; may be NULL. */
	void (*on_record)(void *arg, const struct record_view *view);
	void *arg;
};

/* Goes on at pos. */
void ring_bed_drain_init(struct ring_bed_drain *drain, struct ring *ring, uint64_t pos);
/* Walks to the first thing that cannot be resolved; true when it got anywhere. */
bool ring_bed_drain_pass(struct ring_bed_drain *drain);
/* The span of the valid unit (record, batch, tombstone) of `word` at pos, 0 if there is none. */
uint64_t ring_bed_unit(const struct ring *ring, uint64_t pos, uint64_t word, uint64_t tail);
/* Free memory, from the tail to the limit, is zero; nobody may publish meanwhile. */
bool ring_bed_is_clean(const struct ring *daemon);

#endif
