/* SPDX-License-Identifier: Apache-2.0 */
/* What the cases for the weak machine have in common: rings made by hand, records that show where
 * they belong, a publisher's and a drain's steps as the product makes them. */
#ifndef TESTS_WEAK_BED_H
#define TESTS_WEAK_BED_H

#include "shm/orphan.h"
#include "shm/ring_publish.h"
#include "shm/ring_read.h"
#include "shm/wait.h"
#include "tests/weak/machine.h"

enum {
	BED_RECORDS_MAX = 16,
	BED_KICK_FD = 100,
};
#define BED_FIRST LAYOUT_FIRST_POS

extern struct ring bed_ring[WEAK_SHARED_N];
extern struct ring_publisher bed_publisher[WEAK_SLOTS]; /* to be copied by whose it is */

/* Both rings of the case's length, the first one open, `n` publishers; part of a case's init. */
void bed_init(const struct weak_case *one, unsigned int n_publishers);
void bed_begin(void);

/* A record of len bytes: reserve and mark it in the ghosts, fill, commit. What ring_reserve() or
 * ring_commit() says. */
int bed_reserve(struct ring_publisher *publisher, uint32_t len, uint64_t *ret_pos);
int bed_commit(struct ring_publisher *publisher, uint64_t pos, uint32_t len);
/* Until there is room. False when the ring was closed. */
bool bed_publish(struct ring_publisher *publisher, uint32_t len, uint64_t *ret_pos);
/* A batch of one record of 32 bytes, until there is room. */
void bed_publish_batch(struct ring_publisher *publisher);
/* Fails unless these are the bytes of a record published at pos. */
void bed_check(uint64_t pos, uint64_t word, const char *bytes);

/* Positions, in the order in which something was noted. */
struct bed_log {
	unsigned int n;
	uint64_t pos[BED_RECORDS_MAX];
};
extern struct bed_log bed_told;    /* publishers that were told so */
extern struct bed_log bed_drained; /* committed records that the drain has walked over */
void bed_note(struct bed_log *log, uint64_t pos);
bool bed_noted(const struct bed_log *log, uint64_t pos);
/* Everything told is among the drained, once. */
void bed_end(void);

struct bed_drain {
	struct ring *ring;
	struct orphan_scan scan;
	uint64_t pos;
	bool dead[WEAK_SLOTS];
};
/* One look at what is at the drain's position, as daemon/shard_drain.c does; true: it got on. */
bool bed_drain_step(struct bed_drain *drain);

/* Reads on from *pos by ring_read(), checks what comes; what ring_read() says. */
int bed_read(const struct ring *ring, uint64_t *pos, uint64_t *limit, struct bed_log *got);

extern const struct weak_case ring_case_publish;
extern const struct weak_case ring_case_short;
extern const struct weak_case ring_case_holes;
extern const struct weak_case ring_case_bury;
extern const struct weak_case ring_case_laps;
extern const struct weak_case ring_case_laps_short;
extern const struct weak_case ring_case_laps_peek;
extern const struct weak_case ring_case_batch;
extern const struct weak_case bell_case_progress;
extern const struct weak_case bell_case_room;
extern const struct weak_case bell_case_failed;
extern const struct weak_case bell_case_sleep;
extern const struct weak_case bell_case_sleep_two;
extern const struct weak_case bell_case_fence;
extern const struct weak_case bell_case_kick;
extern const struct weak_case bell_case_rearm;
extern const struct weak_case bell_case_clock;
extern const struct weak_case close_case_close;
extern const struct weak_case close_case_read;
extern const struct weak_case close_case_short;
extern const struct weak_case close_case_peek;
extern const struct weak_case close_case_ready;
extern const struct weak_case *const weak_cases[];
extern const struct weak_case weak_litmus[];

#endif
