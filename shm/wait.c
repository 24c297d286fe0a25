/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/wait.h"

#include <limits.h>
#include <linux/futex.h>

#include "shm/testpoint.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

enum {
	WAIT_FANOUT = 2
};

static struct timespec wait_timespec(uint64_t ns)
{
	return (struct timespec){ .tv_sec = (time_t)(ns / NS_PER_S),
				  .tv_nsec = (long)(ns % NS_PER_S) };
}

int wait_futex(const _Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns)
{
	struct timespec ts = wait_timespec(timeout_ns);
	const struct timespec *timeout = timeout_ns == UINT64_MAX ? NULL : &ts;

	/* Not FUTEX_PRIVATE: the word is shared by processes, through a read-only mapping too. */
	if (syscall(SYS_futex, word, FUTEX_WAIT, expected, timeout, NULL, 0) == 0)
		return 0;
	return -errno;
}

void wait_futex_wake(const _Atomic uint32_t *word, int n)
{
	(void)syscall(SYS_futex, word, FUTEX_WAKE, n, NULL, NULL, 0);
}

int wait_futex_bits(const _Atomic uint32_t *word, uint32_t expected, uint32_t bits,
		    uint64_t timeout_ns)
{
	uint64_t now = timeout_ns == UINT64_MAX ? 0 : clock_now_ns(CLOCK_MONOTONIC);
	/* Unlike FUTEX_WAIT it takes a point in time, not a length of it. */
	struct timespec ts = wait_timespec(now + min_u64(timeout_ns, UINT64_MAX - now));
	const struct timespec *timeout = timeout_ns == UINT64_MAX ? NULL : &ts;

	if (syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected, timeout, NULL, bits) == 0)
		return 0;
	return -errno;
}

void wait_futex_wake_bits(const _Atomic uint32_t *word, uint32_t bits)
{
	(void)syscall(SYS_futex, word, FUTEX_WAKE_BITSET, INT_MAX, NULL, NULL, bits);
}

void wait_announce(struct wait_ticket *ticket, struct ring *ring)
{
	ticket->ring = ring;
	ticket->reserved = 0;
	/* MO(bell.A) pairs with bell.R in ring_wake_one(): the bell before the announcement, so a
	 * ring after it changes the value that the sleep compares with. */
	ticket->bell = load_acquire(&ring->publish->doorbell);
	/* MO(sleep.R) pairs with sleep.A in ring_wake_one(): the announcement after the bell. */
	fetch_add_acq_rel(&ring->wait->n_sleepers, 1);
	TESTPOINT("sleep-announced");
}

bool wait_barrier(void)
{
	/* MO(sleep.R) pairs with sleep.A in ring_commit(): every publisher's processor passes a
	 * full barrier. One whose commit we do not see after it will see our announcement. */
	return membarrier_sync();
}

static int wait_many(const struct wait_ticket *tickets, unsigned int n, uint64_t timeout_ns)
{
	struct futex_waitv waiters[WAIT_RINGS_MAX];
	uint64_t now = clock_now_ns(CLOCK_MONOTONIC);
	struct timespec until;
	long r;

	for (unsigned int i = 0; i < n; i++)
		waiters[i] = (struct futex_waitv){
			.val = tickets[i].bell,
			.uaddr = (uintptr_t)&tickets[i].ring->publish->doorbell,
			.flags = FUTEX_32,
		};
	/* futex_waitv takes a point in time, not a length of it. */
	until = wait_timespec(now + min_u64(timeout_ns, UINT64_MAX - now));
	r = syscall(SYS_futex_waitv, waiters, n, 0, timeout_ns == UINT64_MAX ? NULL : &until,
		    CLOCK_MONOTONIC);
	return r < 0 ? -errno : 0;
}

/*
 * The waker paid for one of us; who is up wakes two, so all are up after log2(n) steps. When the
 * bell has rung once, it rang for one sleeper. That was this one if its announcement has been
 * taken; otherwise it was woken in place of another. Then, and when others have announced
 * themselves since, it wakes two in vain at worst.
 */
void wait_pass_on(const struct ring *ring, uint32_t bell)
{
	uint32_t rung = load_relaxed(&ring->publish->doorbell) - bell;

	if (rung == 0 || (rung == 1 && load_relaxed(&ring->wait->n_sleepers) == 0))
		return;
	wait_futex_wake(&ring->publish->doorbell, WAIT_FANOUT);
}

int wait_sleep(const struct wait_ticket *tickets, unsigned int n, uint64_t timeout_ns)
{
	int r;

	if (n == 0 || n > WAIT_RINGS_MAX)
		return -EINVAL;
	if (n == 1)
		r = wait_futex(&tickets[0].ring->publish->doorbell, tickets[0].bell, timeout_ns);
	else
		r = wait_many(tickets, n, timeout_ns);
	if (r == -EAGAIN)
		return 0;
	if (r < 0)
		return r;
	TESTPOINT("sleep-woken");
	/* Of several rings that rang at once the kernel names one and has counted us for each. */
	for (unsigned int i = 0; i < n; i++)
		wait_pass_on(tickets[i].ring, tickets[i].bell);
	return 0;
}
