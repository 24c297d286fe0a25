/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A publisher of everything there is, one step after the other, that keeps account: all ways to
 * publish and all levels, keys and values from nothing to the largest, ends at and around the edge
 * of the ring.
 */
#ifndef TESTS_LOAD_H
#define TESTS_LOAD_H

#include "tests/account.h"

enum {
	LOAD_MANY = 8, /* records in one call, at most */
};

struct load {
	struct account *account;
	struct leat_publisher *publisher;
	unsigned writer;
	uint64_t seed;
	uint64_t ring_len;
	uint64_t timeout_ns; /* for everything that waits */
	/* Filled in by load_init(). */
	size_t max_len;
	uint64_t next_pos[ACCOUNT_SHARDS_MAX];
	uint64_t flushed[ACCOUNT_LEVELS]; /* up to which number */
	char *values;
};

/* What the caller has set stays. */
void load_init(struct load *load);
void load_deinit(struct load *load);
/*
 * Publishes something. 0, or the negative errno of a call that did not do what was asked; the
 * account has it right in any case. LOAD_MANY records at most: the account needs room for so many.
 */
int load_step(struct load *load);
/* Publishes one record of that length; to a shard, or LEAT_SHARD_ANY. */
int load_publish(struct load *load, size_t len, int32_t shard, struct leat_result *ret_result);
/* Waits until everything so far is at that level. */
int load_flush(struct load *load, enum leat_ack level);

#endif
