/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine with weak memory, in one process. The parties of a case are coroutines; each access to
 * the arena is a step. A location keeps every value stored there since the start, in an order that
 * all agree on (coherence); a load may give any value that is not older than what its party has
 * seen, and what a party has seen grows only by what release, acquire and fences pass on. These are
 * the rules of C11's relaxed, acquire, release and fences (as operational models of the "promising"
 * family state them), without loads that see stores which come later in their own program.
 *
 * weak_explore() runs a case again and again, until every execution with at most `depth` surprises
 * has been seen. A surprise is: another party goes on though this one could; a load gives something
 * else than the latest value; a store comes before one that it does not know of; the compiler
 * moves a store behind the loads that follow it; somebody dies.
 */
#ifndef TESTS_WEAK_MACHINE_H
#define TESTS_WEAK_MACHINE_H

#include "shm/layout.h"
#include "shm/ring.h"

enum {
	WEAK_RING_MAX = 512,
	WEAK_SLOTS = 4, /* publisher slots that a case may use */
	WEAK_PARTIES = 4,
};

/* All the memory that the parties share; what lies elsewhere is a party's own. */
struct weak_shared {
	struct layout_publish publish;
	struct layout_govern govern;
	struct layout_wait wait;
	char data[2 * WEAK_RING_MAX];
	uint64_t disk[16]; /* whatever else a case wants to be shared */
};

enum {
	WEAK_SHARED_N = 2
};
/* Of weak_case.unregistered: nobody can register. */
#define WEAK_NO_MEMBARRIER (1u << 31)

extern struct weak_shared weak_shared[WEAK_SHARED_N];

struct weak_case {
	const char *name;
	void (*init)(void);  /* once: the first contents of memory, seen by everybody */
	void (*begin)(void); /* before each execution: the case's own variables */
	void (*party[WEAK_PARTIES])(void);
	void (*end)(void);         /* after each: what has to be true then */
	unsigned int depth;        /* in a usual run */
	unsigned int mortal;       /* bits: parties that may die before any step */
	unsigned int unregistered; /* bits: parties that no membarrier reaches */
	unsigned int may_wait;     /* bits: parties that may be waiting when all is over */
	uint64_t ring_len;         /* of both rings */
	bool fails;                /* something is wrong, and has to be found */
	bool moves_stores;         /* the compiler's part is played too */
};

/* ---- for the cases ---- */

/* Ends the execution; the sentence is the result. */
void weak_fail(const char *why) __attribute__((noreturn));
#define weak_must(condition, why)                                                                  \
	do {                                                                                       \
		if (!(condition))                                                                  \
			weak_fail(why);                                                            \
	} while (0)
/* Nothing to do until somebody else has stored something. */
void weak_pause(void);
/* The value that everybody will see in the end; no step, and nothing that the party learns. */
uint64_t weak_peek(const void *at, unsigned int size);
/* True when that party has died; then all that it stored is seen. */
bool weak_is_dead(unsigned int party);
unsigned int weak_self(void);
/* The eventfd behind kick_fd: takes what was written to it. */
bool weak_event_take(void);
/* What comes from outside of the model, already in some order: who takes the lock sees what those
 * saw who had it before. */
void weak_lock_pass(void);

/* ---- for main ---- */

struct weak_result {
	char failure[128]; /* empty: none */
	uint64_t executions;
	uint64_t steps;
};
void weak_explore(const struct weak_case *one, unsigned int depth, struct weak_result *ret_result);
/* How the execution that failed went, when LEAT_WEAK_TRACE is set. */
struct weak_site *weak_sites(size_t *ret_n);

#endif
