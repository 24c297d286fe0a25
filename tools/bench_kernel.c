/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_kernel.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <ucontext.h>

#if defined(__x86_64__)

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_ON 1
#define SYSCALL_DISPATCH_FILTER_ALLOW 0
#define SYSCALL_DISPATCH_FILTER_BLOCK 1
#endif

enum {
	SYSCALL_INSTRUCTION_LEN = 2
};

/* The kernel reads it at every system call of the thread. */
static volatile char selector;
static volatile uint64_t n_entries;

static void count_and_repeat(int number, siginfo_t *info, void *context)
{
	ucontext_t *interrupted = context;

	(void)number;
	selector = SYSCALL_DISPATCH_FILTER_ALLOW;
	n_entries++;
	interrupted->uc_mcontext.gregs[REG_RAX] = info->si_syscall;
	interrupted->uc_mcontext.gregs[REG_RIP] -= SYSCALL_INSTRUCTION_LEN;
}

int bench_kernel_init(void)
{
	struct sigaction action = { .sa_sigaction = count_and_repeat, .sa_flags = SA_SIGINFO };

	sigemptyset(&action.sa_mask);
	selector = SYSCALL_DISPATCH_FILTER_ALLOW;
	if (sigaction(SIGSYS, &action, NULL) < 0 ||
	    prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, 0, 0, &selector) < 0)
		return -EOPNOTSUPP;
	return 0;
}

void bench_kernel_watch(int on)
{
	selector = on ? SYSCALL_DISPATCH_FILTER_BLOCK : SYSCALL_DISPATCH_FILTER_ALLOW;
}

uint64_t bench_kernel_entries(void)
{
	return n_entries;
}

#else

int bench_kernel_init(void)
{
	return -EOPNOTSUPP;
}

void bench_kernel_watch(int on)
{
	(void)on;
}

uint64_t bench_kernel_entries(void)
{
	return 0;
}

#endif
