/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/weak/machine_impl.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdlib.h>

extern struct weak_site __start_weak_sites[], __stop_weak_sites[];

struct weak_site *weak_sites(size_t *ret_n)
{
	*ret_n = (size_t)(__stop_weak_sites - __start_weak_sites);
	return __start_weak_sites;
}

/* ---- plain memory ---- */

/*
 * A load of less or more than a location: as many as it takes, and then all that they gave into the
 * arena itself. Not one by one: whoever goes on between two of them uses the arena as well.
 */
static void weak_plain_read(char *at, size_t len)
{
	char given[WEAK_RING_MAX];
	size_t done = 0;

	if (len > sizeof(given))
		weak_fail("a plain load longer than a ring");
	while (done < len) {
		char *from = at + done;
		size_t n = 8 - ((uintptr_t)from & 7);
		struct weak_loc *loc;
		uint64_t value;
		size_t off;

		n = len - done < n ? len - done : n;
		loc = weak_loc(from, n > 4 ? 8 : 4);
		if (loc->size < n)
			n = loc->size;
		off = (uintptr_t)from & (loc->size - 1);
		weak_meet(loc, false);
		value = weak_get(loc, WEAK_RELAXED);
		memcpy(given + done, (char *)&value + off, n);
		done += n;
	}
	memcpy(at, given, len);
}

void weak_memcpy(void *to, const void *from, size_t len)
{
	char *dst = to;
	const char *src = from;

	if (weak_m.me)
		weak_flush();
	if (weak_is_shared(from)) {
		weak_flush_held();
		weak_plain_read((char *)(uintptr_t)from, len);
	}
	if (!weak_is_shared(to)) {
		memcpy(to, from, len);
		return;
	}
	weak_flush_held();
	while (len > 0) {
		size_t n = len < 8 - ((uintptr_t)dst & 7) ? len : 8 - ((uintptr_t)dst & 7);

		weak_meet(weak_loc(dst, n > 4 ? 8 : 4), true);
		memcpy(dst, src, n);
		weak_m.me->plain = dst;
		weak_m.me->plain_size = (unsigned int)n;
		weak_flush();
		dst += n;
		src += n;
		len -= n;
	}
}

void weak_memset(void *to, int byte, size_t len)
{
	char bytes[64];

	if (!weak_is_shared(to)) {
		memset(to, byte, len);
		return;
	}
	memset(bytes, byte, sizeof(bytes));
	for (size_t n; len > 0; len -= n, to = (char *)to + n) {
		n = len < sizeof(bytes) ? len : sizeof(bytes);
		weak_memcpy(to, bytes, n);
	}
}

static void weak_on_read(void *at, size_t size)
{
	if (!weak_is_shared(at) || weak_is_quiet(at))
		return;
	weak_flush();
	weak_plain_read(at, size);
}

static void weak_on_write(void *at, size_t size)
{
	if (!weak_is_shared(at) || weak_is_quiet(at))
		return;
	if (size > 8)
		weak_fail("a plain store of more than 8 bytes");
	weak_flush();
	weak_flush_held();
	weak_meet(weak_loc(at, (unsigned int)size), true);
	weak_m.me->plain = at;
	weak_m.me->plain_size = (unsigned int)size;
}

/* What -fsanitize=thread calls before plain loads and stores. */
#define WEAK_HOOK(n)                                                                               \
	void __tsan_read##n(void *at);                                                             \
	void __tsan_write##n(void *at);                                                            \
	void __tsan_unaligned_read##n(void *at);                                                   \
	void __tsan_unaligned_write##n(void *at);                                                  \
	void __tsan_read##n(void *at)                                                              \
	{                                                                                          \
		weak_on_read(at, n);                                                               \
	}                                                                                          \
	void __tsan_write##n(void *at)                                                             \
	{                                                                                          \
		weak_on_write(at, n);                                                              \
	}                                                                                          \
	void __tsan_unaligned_read##n(void *at)                                                    \
	{                                                                                          \
		weak_on_read(at, n);                                                               \
	}                                                                                          \
	void __tsan_unaligned_write##n(void *at)                                                   \
	{                                                                                          \
		weak_on_write(at, n);                                                              \
	}
WEAK_HOOK(1)
WEAK_HOOK(2)
WEAK_HOOK(4)
WEAK_HOOK(8)
WEAK_HOOK(16)

void __tsan_init(void);
void __tsan_read_range(void *at, size_t size);
void __tsan_write_range(void *at, size_t size);

void __tsan_init(void)
{
}

void __tsan_read_range(void *at, size_t size)
{
	weak_on_read(at, size);
}

void __tsan_write_range(void *at, size_t size)
{
	weak_on_write(at, size);
}

/* ---- the kernel ---- */

void weak_lock_pass(void)
{
	weak_flush();
	weak_flush_held();
	weak_preempt();
	weak_fence_of(weak_m.me);
	weak_join(&weak_m.me->cur, &weak_m.lock);
	weak_view_copy(&weak_m.lock, &weak_m.me->cur);
}

static long weak_futex_wait(const uint32_t *at, uint32_t expected, uint32_t bits)
{
	uint32_t value;

	weak_lock_pass();
	value = (uint32_t)weak_get(weak_loc(at, 4), WEAK_RELAXED);
	if (value != expected) {
		errno = EAGAIN;
		return -1;
	}
	weak_say("sleeps\n");
	weak_m.me->futex = at;
	weak_m.me->futex_bits = bits;
	weak_m.me->futex_seq = weak_m.futex_seq++;
	weak_m.me->state = WEAK_ASLEEP;
	weak_switch_away();
	weak_join(&weak_m.me->cur, &weak_m.lock);
	return 0;
}

static long weak_futex_wake(const uint32_t *at, int n, uint32_t bits)
{
	long woken = 0;

	weak_lock_pass();
	for (; woken < n; woken++) {
		struct weak_party *first = NULL;

		for (unsigned int i = 0; i < weak_m.n_parties; i++) {
			struct weak_party *party = &weak_m.parties[i];

			if (party->state == WEAK_ASLEEP && party->futex == at &&
			    (party->futex_bits & bits) &&
			    (!first || party->futex_seq < first->futex_seq))
				first = party;
		}
		if (!first)
			break;
		first->state = WEAK_READY;
		weak_say("wakes %ld\n", (long)(first - weak_m.parties));
	}
	return woken;
}

long weak_syscall(long number, ...)
{
	const uint32_t *at;
	va_list args;
	int op;
	unsigned int value, bits;

	va_start(args, number);
	at = va_arg(args, const uint32_t *);
	op = va_arg(args, int);
	value = va_arg(args, unsigned int);
	(void)va_arg(args, void *);
	(void)va_arg(args, void *);
	bits = va_arg(args, unsigned int);
	va_end(args);
	if (number != SYS_futex)
		weak_fail("a system call that the machine does not know");
	switch (op) {
	case FUTEX_WAIT:
		return weak_futex_wait(at, value, UINT32_MAX);
	case FUTEX_WAIT_BITSET:
		return weak_futex_wait(at, value, bits);
	case FUTEX_WAKE:
		return weak_futex_wake(at, (int)value, UINT32_MAX);
	default:
		return weak_futex_wake(at, (int)value, bits);
	}
}

/* The eventfd's counter is never full here. */
int weak_poll(struct pollfd *fds, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		fds[i].revents = fds[i].events;
	return (int)n;
}

long weak_write(int fd, const void *buf, size_t len)
{
	(void)fd;
	(void)buf;
	weak_lock_pass();
	weak_m.event = true;
	weak_m.n_stores++;
	return (long)len;
}

bool weak_event_take(void)
{
	bool event;

	weak_lock_pass();
	event = weak_m.event;
	weak_m.event = false;
	return event;
}

/* The fd says which page of which ring is meant: 4 * ring + its kind. */
void *weak_mmap(void *at, size_t len, int prot, int flags, int fd, long off)
{
	struct weak_shared *s = &weak_shared[fd / 4];

	(void)at, (void)len, (void)prot, (void)flags, (void)off;
	switch (fd % 4) {
	case REGION_PUBLISH:
		return &s->publish;
	case REGION_GOVERN:
		return &s->govern;
	default:
		return &s->wait;
	}
}

/* ---- for the cases ---- */

void weak_pause(void)
{
	weak_flush();
	weak_flush_held();
	if (weak_m.me->stamp != weak_m.n_stores)
		weak_m.me->tried = false;
	weak_m.me->stamp = weak_m.n_stores;
	memset(weak_m.me->late, 0, sizeof(weak_m.me->late));
	weak_m.me->state = WEAK_PAUSED;
	weak_switch_away();
}

uint64_t weak_peek(const void *at, unsigned int size)
{
	struct weak_loc *loc;

	if (weak_m.me)
		weak_flush();
	loc = weak_loc(at, size);
	return weak_value(loc, loc->n - 1);
}

bool weak_is_dead(unsigned int party)
{
	if (weak_m.parties[party].state != WEAK_DEAD)
		return false;
	weak_join(&weak_m.me->cur, &weak_m.parties[party].cur);
	return true;
}

/* ---- executions ---- */

static void weak_party_main(void)
{
	weak_m.now->party[weak_self()]();
	weak_flush();
	weak_flush_held();
	weak_m.me->state = WEAK_DONE;
	weak_switch_away();
}

static void weak_reset(void)
{
	weak_memory_reset();
	weak_m.event = false;
	weak_m.failure[0] = '\0';
	weak_m.n_parties = 0;
	while (weak_m.n_parties < WEAK_PARTIES && weak_m.now->party[weak_m.n_parties]) {
		struct weak_party *party = &weak_m.parties[weak_m.n_parties++];
		char *stack = party->stack ? party->stack : malloc(WEAK_STACK);

		party->stack = stack;
		party->state = WEAK_READY;
		party->cur.n = party->acq.n = party->rel.n = 0;
		party->stamp = 0;
		party->tried = party->fresh = false;
		memset(party->late, 0, sizeof(party->late));
		party->plain = NULL;
		party->held = NULL;
		getcontext(&party->context);
		party->context.uc_stack.ss_sp = stack;
		party->context.uc_stack.ss_size = WEAK_STACK;
		makecontext(&party->context, weak_party_main, 0);
	}
}

static void weak_execute(void)
{
	volatile bool started = false;

	weak_reset();
	weak_m.now->begin();
	weak_m.me = &weak_m.parties[0];
	getcontext(&weak_m.context);
	if (!started) {
		started = true;
		weak_m.me = &weak_m.parties[weak_choose(weak_m.n_parties, true)];
		setcontext(&weak_m.me->context);
	}
	for (unsigned int i = 0; !weak_m.failure[0] && i < weak_m.n_parties; i++)
		if (weak_m.parties[i].state != WEAK_DONE && weak_m.parties[i].state != WEAK_DEAD &&
		    !(weak_m.now->may_wait >> i & 1))
			snprintf(weak_m.failure, sizeof(weak_m.failure), "somebody waits for ever");
	/* The end looks at what everybody would see now; it may fail too. */
	weak_m.me = NULL;
	if (!weak_m.failure[0] && weak_m.now->end)
		weak_m.now->end();
}

void weak_explore(const struct weak_case *one, unsigned int depth, struct weak_result *ret_result)
{
	*ret_result = (struct weak_result){ 0 };
	weak_tree_begin(one, depth);
	one->init();
	weak_memory_first();
	/* Again whenever a location turns out to be shared after steps on it were taken for
	 * private ones. */
	do {
		weak_tree_restart();
		do {
			weak_execute();
			ret_result->executions++;
			ret_result->steps += weak_m.n_steps;
		} while (!weak_m.failure[0] && !weak_m.met_more && weak_advance());
	} while (!weak_m.failure[0] && weak_m.met_more);
	memcpy(ret_result->failure, weak_m.failure, sizeof(weak_m.failure));
	if (weak_m.failure[0] && getenv("LEAT_WEAK_TRACE")) {
		weak_m.trace = true;
		weak_execute();
		weak_m.trace = false;
		printf("    %s\n", weak_m.failure);
	}
}
