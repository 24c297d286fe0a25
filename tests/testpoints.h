/* SPDX-License-Identifier: Apache-2.0 */
/* Which test points there are: so that no crash test forgets one that is new. */
#ifndef TESTS_TESTPOINTS_H
#define TESTS_TESTPOINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct harness_bus;

enum {
	TESTPOINTS_MAX = 64,
	TESTPOINTS_NAME_LEN = 40,
};

struct testpoints {
	size_t n;
	char names[TESTPOINTS_MAX][TESTPOINTS_NAME_LEN];
};

/* All of the sources below the current directory. */
void testpoints_of_sources(struct testpoints *ret_points);
/* Those of them for which `are` says so; there is at least one. */
void testpoints_those(bool (*are)(const char *name), struct testpoints *ret_points);
/* Adds a name unless it is there; the caller sees to it that only one process does. */
void testpoints_add(struct testpoints *points, const char *name);
bool testpoints_has(const struct testpoints *points, const char *name);
/* Those that a publisher passes: reserve-..., commit-... */
bool testpoints_is_publishers(const char *name);
/* Those that a subscriber passes: read-..., sleep-... */
bool testpoints_is_subscribers(const char *name);
/* Those that a daemon passes: all others. */
bool testpoints_is_daemons(const char *name);
/* Of them those that it passes when it starts: restore-... */
bool testpoints_is_starts(const char *name);
/* And those that do not come up by themselves: succeed-..., bury-... */
bool testpoints_is_provoked(const char *name);

/* What makes a daemon pass those: a shard moves to a ring twice as long and back, and a publisher
 * dies with a claim. */
struct testpoints_provocation {
	const struct harness_bus *bus;
	const char *stream;
	uint64_t ring_len;
	uint32_t n_shards;
	uint32_t turn;
};

/* The daemon may die over it. */
void testpoints_provoke(struct testpoints_provocation *provocation);

#endif
