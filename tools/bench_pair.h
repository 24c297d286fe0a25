/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two processes that exchange records through anything that can carry them, or one that puts
 * records where they are kept: the measurements that leat's peers have in common. A peer says
 * how a record is sent and received; everything else is the same for all, and as it is for leat:
 * receivers check that every record comes once and in order.
 */
#ifndef TOOLS_BENCH_PAIR_H
#define TOOLS_BENCH_PAIR_H

#include "tools/bench_team.h"

struct bench_pair;

/* One of the two processes. */
struct bench_side {
	const struct bench_pair *pair;
	struct bench_team *team;
	int me;     /* 0 sends first, 1 receives first */
	size_t len; /* of a record, at least 8 */
	void *own;  /* what open() made; NULL before */
};

/* Each call returns 0, or a negative errno after bench_team_fail(). */
struct bench_pair {
	int (*open)(struct bench_side *side);
	/* Sends a record or queues it; waits while there is no room. */
	int (*send)(struct bench_side *side, const void *record);
	/* Makes what is queued go; where records are kept, waits for the word that they are. */
	int (*flush)(struct bench_side *side); /* NULL = there is nothing to do */
	/* Waits for the next record. It stays where it is until the next call. */
	int (*receive)(struct bench_side *side, const void **ret_record, size_t *ret_len);
	void (*close)(struct bench_side *side);
	const void *context; /* the peer's own */
	bool both_ways;      /* set here: records go back as well */
	bool free;           /* has threads or a server: being pinned would slow it down */
};

/* A record of `len` bytes there and back, one at a time. */
int bench_pair_round_trip(struct bench_env *env, const struct bench_pair *pair, size_t len,
			  struct bench_result *result);
/* As many as go from side 0 to side 1, in records per second. */
int bench_pair_rate(struct bench_env *env, const struct bench_pair *pair, size_t len,
		    struct bench_result *result);
/* Side 0 alone: from a send to the end of its flush. */
int bench_pair_ack(struct bench_env *env, const struct bench_pair *pair, size_t len,
		   struct bench_result *result);
/*
 * Side 0 alone: bytes per second of a long row of records and one flush, until every file below
 * `dir` that records are kept in is on stable storage.
 */
int bench_pair_keep(struct bench_env *env, const struct bench_pair *pair, size_t len,
		    const char *dir, struct bench_result *result);

#endif
