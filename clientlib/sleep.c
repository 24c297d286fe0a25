/* SPDX-License-Identifier: Apache-2.0 */
/* futex_waitv() as a function. */
#include "clientlib/sleep.h"

#include <linux/futex.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

int sleep_any(const struct sleep_word *words, unsigned int n, uint64_t timeout_ns)
{
	struct futex_waitv waiters[SLEEP_WORDS_MAX];
	uint64_t end = clock_now_ns(CLOCK_MONOTONIC) + min_u64(timeout_ns, UINT64_C(1) << 62);
	struct timespec until = { .tv_sec = (time_t)(end / NS_PER_S),
				  .tv_nsec = (long)(end % NS_PER_S) };
	unsigned int i;
	long r;

	if (n == 0 || n > SLEEP_WORDS_MAX)
		return -EINVAL;
	for (i = 0; i < n; i++)
		waiters[i] = (struct futex_waitv){
			.val = words[i].expected,
			.uaddr = (uintptr_t)words[i].word,
			.flags = FUTEX_32,
		};
	r = syscall(SYS_futex_waitv, waiters, n, 0, &until, CLOCK_MONOTONIC);
	return r < 0 ? -errno : (int)r;
}
