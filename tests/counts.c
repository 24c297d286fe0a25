/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linked into what is run for `make coverage`, with --wrap: a process that ends without exit()
 * leaves its counts first. The count of a call and of what follows it are separate, so a process
 * that kills itself at a test point has counted what it has gone through and no more.
 */
#include <signal.h>
#include <unistd.h>

void __gcov_dump(void);
int __real_kill(pid_t pid, int signal);
_Noreturn void __real__exit(int status);
int __wrap_kill(pid_t pid, int signal);
_Noreturn void __wrap__exit(int status);

int __wrap_kill(pid_t pid, int signal)
{
	if (pid == getpid() && signal == SIGKILL)
		__gcov_dump();
	return __real_kill(pid, signal);
}

void __wrap__exit(int status)
{
	__gcov_dump();
	__real__exit(status);
}
