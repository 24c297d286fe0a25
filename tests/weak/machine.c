/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/weak/machine_impl.h"

#include <stdlib.h>

struct weak_shared weak_shared[WEAK_SHARED_N] __attribute__((aligned(4096)));
static struct weak_shared weak_first[WEAK_SHARED_N];
struct weak_machine weak_m;
/* Which location a grain belongs to, in the execution of that number. */
static uint32_t weak_run, weak_grain_run[WEAK_GRAINS];
static uint16_t weak_grain_loc[WEAK_GRAINS];
/* Over all executions of a case: who has stepped on a location. */
static uint8_t weak_readers[WEAK_GRAINS], weak_writers[WEAK_GRAINS];
static struct weak_choice weak_trail[WEAK_CHOICES];
static unsigned int weak_n_trail, weak_next, weak_spent, weak_budget;

bool weak_is_weakened(struct weak_site *site)
{
	if (site)
		site->passed = true;
	return site && site->weakened;
}

static enum weak_order weak_effective(enum weak_order order, struct weak_site *site)
{
	return weak_is_weakened(site) ? WEAK_RELAXED : order;
}

/* ---- views ---- */

static uint16_t weak_seen(const struct weak_view *view, unsigned int loc)
{
	return loc < view->n ? view->at[loc] : 0;
}

static void weak_learn(struct weak_view *view, unsigned int loc, uint16_t msg)
{
	while (view->n <= loc)
		view->at[view->n++] = 0;
	if (weak_m.msgs[msg].pos > weak_m.msgs[view->at[loc]].pos)
		view->at[loc] = msg;
}

void weak_join(struct weak_view *view, const struct weak_view *from)
{
	for (unsigned int i = 0; i < from->n; i++)
		if (from->at[i])
			weak_learn(view, i, from->at[i]);
}

void weak_view_copy(struct weak_view *to, const struct weak_view *from)
{
	to->n = from->n;
	memcpy(to->at, from->at, from->n * sizeof(from->at[0]));
}

/* ---- choices ---- */

void weak_fail(const char *why)
{
	snprintf(weak_m.failure, sizeof(weak_m.failure), "%s", why);
	setcontext(&weak_m.context);
	abort();
}

/* 0 is what an ordinary machine would do; anything else is a surprise, unless it is free. */
unsigned int weak_choose(unsigned int n, bool is_free)
{
	struct weak_choice *choice = &weak_trail[weak_next];

	if (n <= 1 || (!is_free && weak_spent >= weak_budget))
		return 0;
	if (weak_next == WEAK_CHOICES)
		weak_fail("the machine has no room for so many choices");
	if (weak_next == weak_n_trail) {
		*choice = (struct weak_choice){ .n = (uint8_t)n };
		weak_n_trail++;
	} else if (choice->n != n) {
		weak_fail("the case is not the same when it is run again");
	}
	weak_next++;
	weak_spent += !is_free && choice->at != 0;
	return choice->at;
}

/* The next execution in the tree; false when all have been seen. */
bool weak_advance(void)
{
	while (weak_n_trail > 0) {
		struct weak_choice *last = &weak_trail[weak_n_trail - 1];

		if (last->at + 1 < last->n) {
			last->at++;
			return true;
		}
		weak_n_trail--;
	}
	return false;
}

/* ---- parties ---- */

unsigned int weak_self(void)
{
	return (unsigned int)(weak_m.me - weak_m.parties);
}

static bool weak_can_go(const struct weak_party *party)
{
	return party->state == WEAK_READY ||
	       (party->state == WEAK_PAUSED && party->stamp != weak_m.n_stores);
}

static void weak_switch(struct weak_party *to)
{
	struct weak_party *from = weak_m.me;

	if (to->state == WEAK_PAUSED) {
		to->fresh = to->stamp == weak_m.n_stores;
		to->tried = to->fresh;
		to->state = WEAK_READY;
	}
	if (to == from)
		return;
	weak_m.me = to;
	weak_say("goes on\n");
	swapcontext(&from->context, &to->context);
}

/* The running party cannot go on. */
void weak_switch_away(void)
{
	struct weak_party *can[WEAK_PARTIES];
	unsigned int n = 0;

	for (unsigned int i = 0; i < weak_m.n_parties; i++)
		if (weak_can_go(&weak_m.parties[i]))
			can[n++] = &weak_m.parties[i];
	/* Everything becomes visible some time: who only looked too early looks again. */
	for (unsigned int i = 0; n == 0 && i < weak_m.n_parties; i++)
		if (weak_m.parties[i].state == WEAK_PAUSED && !weak_m.parties[i].tried)
			can[n++] = &weak_m.parties[i];
	if (n == 0)
		setcontext(&weak_m.context);
	weak_switch(can[weak_choose(n, true)]);
}

/* Before a step that others can notice. */
void weak_preempt(void)
{
	struct weak_party *can[WEAK_PARTIES + 1];
	unsigned int n = 1, chosen;
	bool mortal = weak_m.now->mortal >> weak_self() & 1;

	if (++weak_m.n_steps > WEAK_STEPS)
		weak_fail("an execution without an end");
	if (weak_spent >= weak_budget)
		return;
	for (unsigned int i = 0; i < weak_m.n_parties; i++)
		if (&weak_m.parties[i] != weak_m.me && weak_can_go(&weak_m.parties[i]))
			can[n++] = &weak_m.parties[i];
	chosen = weak_choose(n + mortal, false);
	if (chosen == 0)
		return;
	if (chosen == n) {
		weak_say("dies\n");
		weak_m.me->state = WEAK_DEAD;
		weak_m.n_stores++;
		weak_switch_away();
	}
	weak_switch(can[chosen]);
}

/* ---- locations ---- */

bool weak_is_shared(const void *at)
{
	return weak_m.me && (const char *)at >= (char *)weak_shared &&
	       (const char *)at < (char *)(weak_shared + WEAK_SHARED_N);
}

/* Slots that no publisher of the case has are nobody's: 256 of them would only take time. */
bool weak_is_quiet(const void *at)
{
	for (unsigned int i = 0; i < WEAK_SHARED_N; i++) {
		struct weak_shared *s = &weak_shared[i];

		if ((const char *)at >= (char *)&s->publish.slots[WEAK_SLOTS] &&
		    (const char *)at < (char *)(&s->publish + 1))
			return true;
		if ((const char *)at >= (char *)&s->govern.owners[WEAK_SLOTS] &&
		    (const char *)at < (char *)(&s->govern + 1))
			return true;
	}
	return false;
}

/* A ring is mapped twice and all of one grain; elsewhere fields are what they are. */
static char *weak_place(const void *at, unsigned int *size)
{
	char *p = (char *)(uintptr_t)at;

	for (unsigned int i = 0; i < WEAK_SHARED_N; i++) {
		char *data = weak_shared[i].data;
		uint64_t off = (uint64_t)(p - data);

		if (p < data || off >= sizeof(weak_shared[i].data))
			continue;
		*size = 8;
		return data + (off & (weak_m.now->ring_len - 1) & ~UINT64_C(7));
	}
	if (*size < 4)
		*size = 4;
	return (char *)((uintptr_t)p & ~(uintptr_t)(*size - 1));
}

struct weak_loc *weak_loc(const void *at, unsigned int size)
{
	char *place = weak_place(at, &size);
	size_t grain = (size_t)(place - (char *)weak_shared) / 4;
	struct weak_loc *loc;

	if (weak_grain_run[grain] == weak_run)
		return &weak_m.locs[weak_grain_loc[grain]];
	if (weak_m.n_locs == WEAK_LOCS)
		weak_fail("the machine has no room for so many locations");
	loc = &weak_m.locs[weak_m.n_locs];
	*loc = (struct weak_loc){ .at = place, .size = size, .n = 1 };
	/* Nothing is ever stored in the arena itself but what a party is about to load or has
	 * just stored; the first values are kept beside it. */
	memcpy(&loc->first, (char *)weak_first + (place - (char *)weak_shared), size);
	weak_grain_run[grain] = weak_run;
	weak_grain_loc[grain] = (uint16_t)weak_m.n_locs++;
	return loc;
}

static unsigned int weak_loc_index(const struct weak_loc *loc)
{
	return (unsigned int)(loc - weak_m.locs);
}

uint64_t weak_value(const struct weak_loc *loc, unsigned int pos)
{
	return pos ? weak_m.msgs[loc->order[pos]].value : loc->first;
}

static unsigned int weak_oldest(const struct weak_loc *loc)
{
	return weak_m.msgs[weak_seen(&weak_m.me->cur, weak_loc_index(loc))].pos;
}

/* Whether the order of this step and others' matters: two parties, one of them stores. */
void weak_meet(const struct weak_loc *loc, bool stores)
{
	size_t grain = (size_t)(loc->at - (char *)weak_shared) / 4;
	uint8_t me = (uint8_t)(1u << weak_self());
	uint8_t all = weak_readers[grain] | weak_writers[grain];
	uint8_t *set = stores ? &weak_writers[grain] : &weak_readers[grain];

	if (!(*set & me)) {
		*set |= me;
		weak_m.met_more = true;
	}
	all |= me;
	if ((all & (all - 1)) && weak_writers[grain])
		weak_preempt();
}

/* ---- steps ---- */

static void weak_append(struct weak_loc *loc, unsigned int pos, uint64_t value,
			const struct weak_view *view, bool glued)
{
	struct weak_msg *msg;
	uint16_t id;

	if (weak_m.n_msgs == WEAK_MSGS || loc->n == WEAK_ORDERED)
		weak_fail("the machine has no room for so many stores");
	id = (uint16_t)weak_m.n_msgs++;
	msg = &weak_m.msgs[id];
	for (unsigned int i = loc->n++; i > pos; i--) {
		loc->order[i] = loc->order[i - 1];
		weak_m.msgs[loc->order[i]].pos++;
	}
	loc->order[pos] = id;
	msg->value = value;
	msg->pos = (uint16_t)pos;
	msg->glued = glued;
	weak_view_copy(&msg->view, view);
	weak_learn(&msg->view, weak_loc_index(loc), id);
	weak_learn(&weak_m.me->cur, weak_loc_index(loc), id);
	weak_learn(&weak_m.me->acq, weak_loc_index(loc), id);
	weak_m.n_stores++;
}

/* At the end of the order, or before stores that this party does not know of. */
static void weak_put(struct weak_loc *loc, uint64_t value, enum weak_order order)
{
	unsigned int can[WEAK_ORDERED + 1], n = 0;

	can[n++] = loc->n;
	for (unsigned int pos = loc->n - 1; pos > weak_oldest(loc); pos--)
		if (!weak_m.msgs[loc->order[pos]].glued)
			can[n++] = pos;
	weak_append(loc, can[weak_choose(n, false)], value,
		    order & WEAK_RELEASE ? &weak_m.me->cur : &weak_m.me->rel, false);
	weak_say("%p = %llx%s\n", (void *)loc->at, (unsigned long long)value,
		 order & WEAK_RELEASE ? ", release" : "");
}

void weak_flush_held(void)
{
	struct weak_loc *loc = weak_m.me->held;

	if (!loc)
		return;
	/* Others may go on before it comes at last. */
	weak_preempt();
	weak_m.me->held = NULL;
	weak_put(loc, weak_m.me->held_value, weak_m.me->held_order);
}

/* What the running party has done since its last call. */
void weak_flush(void)
{
	char *at = weak_m.me->plain;
	unsigned int size = weak_m.me->plain_size, off;
	struct weak_loc *loc;
	uint64_t value;

	if (!at)
		return;
	weak_m.me->plain = NULL;
	loc = weak_loc(at, size);
	off = (unsigned int)((uintptr_t)at & (loc->size - 1));
	/* A part of a grain: the rest of it is as its only writer has left it. */
	value = weak_value(loc, weak_oldest(loc));
	memcpy((char *)&value + off, at, size);
	weak_put(loc, value, WEAK_RELAXED);
}

/* Which of the values that are not older than what the party knows. Who has seen an old one goes on
 * seeing it as long as it may: that is one surprise, not one for each look. */
static unsigned int weak_pick(const struct weak_loc *loc)
{
	unsigned int latest = loc->n - 1, n = loc->n - weak_oldest(loc), chosen;
	bool *late = &weak_m.me->late[weak_loc_index(loc)];

	if (n == 1 || weak_m.me->fresh)
		chosen = latest;
	else if (*late)
		chosen = latest - (n - 1 - weak_choose(n, false));
	else
		chosen = latest - weak_choose(n, false);
	*late = chosen != latest;
	return chosen;
}

uint64_t weak_get(struct weak_loc *loc, enum weak_order order)
{
	unsigned int pos = weak_pick(loc), index = weak_loc_index(loc);
	const struct weak_view *view;

	if (pos) {
		view = &weak_m.msgs[loc->order[pos]].view;
		weak_learn(&weak_m.me->cur, index, loc->order[pos]);
		weak_join(&weak_m.me->acq, view);
		if (order & WEAK_ACQUIRE)
			weak_join(&weak_m.me->cur, view);
	}
	weak_say("%p is %llx%s%s\n", (void *)loc->at, (unsigned long long)weak_value(loc, pos),
		 order & WEAK_ACQUIRE ? ", acquire" : "",
		 pos == loc->n - 1 ? "" : ", not the latest");
	return weak_value(loc, pos);
}

static uint64_t weak_direct(const void *at, unsigned int size)
{
	uint64_t value = 0;

	memcpy(&value, at, size);
	return value;
}

uint64_t weak_load(const void *at, unsigned int size, enum weak_order order, struct weak_site *site)
{
	struct weak_loc *loc;

	if (!weak_is_shared(at) || weak_is_quiet(at))
		return weak_direct(at, size);
	weak_flush();
	loc = weak_loc(at, size);
	if (weak_m.me->held == loc)
		weak_flush_held();
	weak_meet(loc, false);
	return weak_get(loc, weak_effective(order, site));
}

void weak_store(void *at, unsigned int size, uint64_t value, enum weak_order order,
		struct weak_site *site)
{
	struct weak_loc *loc;

	if (!weak_is_shared(at) || weak_is_quiet(at)) {
		memcpy(at, &value, size);
		return;
	}
	weak_flush();
	weak_flush_held();
	loc = weak_loc(at, size);
	weak_meet(loc, true);
	order = weak_effective(order, site);
	if (weak_m.now->moves_stores && weak_choose(2, false)) {
		weak_m.me->held = loc;
		weak_m.me->held_value = value;
		weak_m.me->held_order = order;
		return;
	}
	weak_put(loc, value, order);
}

/* Takes a value and puts another directly behind it in the order. */
static void weak_replace(struct weak_loc *loc, unsigned int pos, uint64_t value,
			 enum weak_order order)
{
	static struct weak_view view;

	weak_view_copy(&view, order & WEAK_RELEASE ? &weak_m.me->cur : &weak_m.me->rel);
	if (pos)
		weak_join(&view, &weak_m.msgs[loc->order[pos]].view);
	weak_append(loc, pos + 1, value, &view, true);
	weak_say("%p -> %llx\n", (void *)loc->at, (unsigned long long)value);
}

static void weak_take(struct weak_loc *loc, unsigned int pos, enum weak_order order)
{
	const struct weak_view *view = &weak_m.msgs[loc->order[pos]].view;

	if (!pos)
		return;
	weak_learn(&weak_m.me->cur, weak_loc_index(loc), loc->order[pos]);
	weak_join(&weak_m.me->acq, view);
	if (order & WEAK_ACQUIRE)
		weak_join(&weak_m.me->cur, view);
}

/* Values that an exchange may find: those that no other exchange has taken. */
static unsigned int weak_free(const struct weak_loc *loc, unsigned int can[])
{
	unsigned int n = 0;

	for (unsigned int pos = loc->n; pos-- > weak_oldest(loc);)
		if (pos == loc->n - 1 || !weak_m.msgs[loc->order[pos + 1]].glued)
			can[n++] = pos;
	return n;
}

static struct weak_loc *weak_begin_rmw(void *at, unsigned int size)
{
	struct weak_loc *loc;

	weak_flush();
	weak_flush_held();
	loc = weak_loc(at, size);
	weak_meet(loc, true);
	return loc;
}

uint64_t weak_rmw(void *at, unsigned int size, enum weak_rmw kind, uint64_t value,
		  struct weak_site *site)
{
	enum weak_order order = site ? weak_effective(WEAK_ACQ_REL, site) : WEAK_RELAXED;
	unsigned int can[WEAK_ORDERED], pos;
	struct weak_loc *loc;
	uint64_t old;

	if (!weak_is_shared(at))
		weak_fail("an exchange outside of the arena");
	loc = weak_begin_rmw(at, size);
	pos = can[weak_choose(weak_free(loc, can), false)];
	old = weak_value(loc, pos);
	weak_take(loc, pos, order);
	if (kind == WEAK_ADD)
		value += old;
	if (kind == WEAK_OR)
		value |= old;
	if (kind == WEAK_AND)
		value &= old;
	if (size == 4)
		value = (uint32_t)value;
	weak_replace(loc, pos, value, order);
	return old;
}

bool weak_cas(void *at, unsigned int size, uint64_t *expected, uint64_t value,
	      struct weak_site *site)
{
	enum weak_order order = weak_effective(WEAK_ACQ_REL, site);
	unsigned int can[2 * WEAK_ORDERED], n = 0, pos;
	struct weak_loc *loc = weak_begin_rmw(at, size);

	/* It succeeds where it is free to, and fails on any value that differs. */
	for (pos = loc->n; pos-- > weak_oldest(loc);) {
		bool is_free = pos == loc->n - 1 || !weak_m.msgs[loc->order[pos + 1]].glued;

		if (weak_value(loc, pos) == *expected ? is_free : true)
			can[n++] = pos;
	}
	pos = can[weak_choose(n, false)];
	weak_take(loc, pos, order);
	if (weak_value(loc, pos) != *expected) {
		*expected = weak_value(loc, pos);
		weak_say("%p is %llx, no swap\n", (void *)loc->at, (unsigned long long)*expected);
		return false;
	}
	weak_replace(loc, pos, value, order);
	return true;
}

void weak_fence(enum weak_order order, struct weak_site *site)
{
	if (!weak_m.me)
		return;
	weak_flush();
	if (weak_is_weakened(site))
		return;
	weak_flush_held();
	if (order & WEAK_ACQUIRE)
		weak_join(&weak_m.me->cur, &weak_m.me->acq);
	if (order & WEAK_RELEASE)
		weak_view_copy(&weak_m.me->rel, &weak_m.me->cur);
}

void weak_fence_of(struct weak_party *party)
{
	weak_join(&party->cur, &party->acq);
	weak_join(&party->cur, &weak_m.sc);
	weak_view_copy(&weak_m.sc, &party->cur);
	weak_view_copy(&party->rel, &party->cur);
	weak_join(&party->acq, &party->cur);
}

void weak_fence_full(struct weak_site *site)
{
	if (!weak_m.me)
		return;
	weak_flush();
	if (weak_is_weakened(site))
		return;
	weak_flush_held();
	weak_preempt();
	weak_fence_of(weak_m.me);
	weak_say("fence\n");
}

void weak_fence_compiler(struct weak_site *site)
{
	weak_flush();
	if (!weak_is_weakened(site))
		weak_flush_held();
}

bool weak_membarrier_register(void)
{
	return !(weak_m.now->unregistered & WEAK_NO_MEMBARRIER);
}

/* One processor after the other passes a fence, wherever it is; the caller before and after. */
bool weak_membarrier(struct weak_site *site)
{
	weak_flush();
	if (weak_is_weakened(site))
		return true;
	weak_fence_full(NULL);
	for (unsigned int i = 0; i < weak_m.n_parties; i++) {
		struct weak_party *party = &weak_m.parties[i];

		if (party == weak_m.me || weak_m.now->unregistered >> i & 1)
			continue;
		weak_preempt();
		weak_fence_of(party);
		weak_say("barrier on %u\n", i);
	}
	weak_fence_full(NULL);
	return true;
}

/* ---- executions ---- */

void weak_memory_reset(void)
{
	weak_run++;
	weak_next = weak_spent = 0;
	weak_m.n_locs = 0;
	weak_m.n_msgs = 1; /* 0 stands for the first value of all locations */
	weak_m.sc.n = weak_m.lock.n = 0;
	weak_m.n_stores = weak_m.n_steps = weak_m.futex_seq = 0;
}

void weak_memory_first(void)
{
	memcpy(weak_first, weak_shared, sizeof(weak_shared));
}

void weak_tree_begin(const struct weak_case *one, unsigned int budget)
{
	weak_m.now = one;
	weak_m.me = NULL;
	weak_budget = budget;
	memset(weak_shared, 0, sizeof(weak_shared));
	memset(weak_readers, 0, sizeof(weak_readers));
	memset(weak_writers, 0, sizeof(weak_writers));
}

void weak_tree_restart(void)
{
	weak_m.met_more = false;
	weak_n_trail = 0;
}
