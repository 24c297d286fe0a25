/* SPDX-License-Identifier: Apache-2.0 */
/* What machine.c, the memory, and world.c, all around it, know of each other. */
#ifndef TESTS_WEAK_MACHINE_IMPL_H
#define TESTS_WEAK_MACHINE_IMPL_H

#include <stdio.h>
#include <ucontext.h>

#include "tests/weak/machine.h"

/* Here the real ones are meant. */
#undef memcpy
#undef memset
#undef syscall
#undef poll
#undef write
#undef mmap
#undef munmap

enum {
	WEAK_LOCS = 256,
	WEAK_MSGS = 2048,
	WEAK_ORDERED = 192, /* stores to one location */
	WEAK_CHOICES = 4096,
	WEAK_STEPS = 20000, /* of one execution: more is a loop without an end */
	WEAK_STACK = 64 << 10,
	WEAK_GRAINS = WEAK_SHARED_N * sizeof(struct weak_shared) / 4,
};

/* What is known: of each location, the index of a message in weak_msgs; 0 is the first value. */
struct weak_view {
	uint16_t n;
	uint16_t at[WEAK_LOCS];
};

struct weak_msg {
	uint64_t value;
	uint16_t pos; /* in its location's order */
	bool glued;   /* it is an exchange that took the one before: nothing comes between */
	struct weak_view view;
};

struct weak_loc {
	char *at;
	unsigned int size;
	unsigned int n;
	uint64_t first;
	uint16_t order[WEAK_ORDERED]; /* [0] is the first value */
};

enum weak_state {
	WEAK_READY,
	WEAK_PAUSED,
	WEAK_ASLEEP,
	WEAK_DONE,
	WEAK_DEAD
};

struct weak_party {
	ucontext_t context;
	enum weak_state state;
	struct weak_view cur, acq, rel;
	uint64_t stamp;
	bool tried, fresh;
	/* Of this location it has seen something old, and goes on to until it waits. */
	bool late[WEAK_LOCS];
	char *plain; /* a plain store whose value is in memory and not in the order yet */
	unsigned int plain_size;
	struct weak_loc *held; /* a store that the compiler has moved behind later loads */
	uint64_t held_value;
	enum weak_order held_order;
	const void *futex;
	uint32_t futex_bits;
	uint64_t futex_seq;
	char *stack;
};

struct weak_choice {
	uint8_t n, at;
};

/* All that is about the execution under way. */
struct weak_machine {
	const struct weak_case *now;
	struct weak_party parties[WEAK_PARTIES];
	unsigned int n_parties;
	struct weak_party *me; /* NULL: nobody runs, memory is simply memory */
	struct weak_msg msgs[WEAK_MSGS];
	struct weak_loc locs[WEAK_LOCS];
	unsigned int n_msgs, n_locs;
	struct weak_view sc, lock;
	uint64_t n_stores, n_steps, futex_seq;
	bool event;
	bool trace;
	/* Over all executions: a location turned out to be somebody else's too. */
	bool met_more;
	char failure[128];
	ucontext_t context; /* of who runs the executions */
};
extern struct weak_machine weak_m;

#define weak_say(...)                                                                              \
	do {                                                                                       \
		if (weak_m.trace) {                                                                \
			printf("    %ld: ", (long)(weak_m.me - weak_m.parties));                   \
			printf(__VA_ARGS__);                                                       \
		}                                                                                  \
	} while (0)

/* machine.c */
bool weak_is_weakened(struct weak_site *site);
bool weak_is_shared(const void *at);
bool weak_is_quiet(const void *at);
unsigned int weak_choose(unsigned int n, bool is_free);
void weak_switch_away(void);
void weak_preempt(void);
struct weak_loc *weak_loc(const void *at, unsigned int size);
uint64_t weak_value(const struct weak_loc *loc, unsigned int pos);
void weak_meet(const struct weak_loc *loc, bool stores);
void weak_flush(void);
void weak_flush_held(void);
uint64_t weak_get(struct weak_loc *loc, enum weak_order order);
void weak_join(struct weak_view *view, const struct weak_view *from);
void weak_view_copy(struct weak_view *to, const struct weak_view *from);
void weak_fence_of(struct weak_party *party);
/* Everything as before the first step; a new tree of choices; the next one of its branches, false
 * when all have been seen. */
void weak_memory_reset(void);
void weak_tree_begin(const struct weak_case *one, unsigned int budget);
void weak_tree_restart(void);
bool weak_advance(void);
/* The first values of memory are those that it has now. */
void weak_memory_first(void);

#endif
