/* SPDX-License-Identifier: Apache-2.0 */
/* What is set, as the kernel tells it, and who may change it. */
#include <dirent.h>
#include <linux/io_uring.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tools/bench_advise.h"
#include "tools/bench_stream.h"

enum {
	LINE_LEN = 128,
};

#define CPU_DIR "/sys/devices/system/cpu"
#define NODE_DIR "/sys/devices/system/node"
#define SHMEM_THP "/sys/kernel/mm/transparent_hugepage/shmem_enabled"

#define SAY(field, ...) say(field, sizeof(field), __VA_ARGS__)

/* What is too long is cut. */
static void say(char *field, size_t len, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void say(char *field, size_t len, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(field, len, format, args);
	va_end(args);
}

void advise_look_line(const char *path, char *line, size_t len)
{
	FILE *file = fopen(path, "re");

	line[0] = '\0';
	if (file && fgets(line, (int)len, file))
		line[strcspn(line, "\n")] = '\0';
	if (file)
		fclose(file);
}

void advise_look_word(const char *line, char *word, size_t len)
{
	const char *start = strchr(line, '['), *end = start ? strchr(start, ']') : NULL;

	if (end)
		snprintf(word, len, "%.*s", (int)(end - start - 1), start + 1);
	else
		snprintf(word, len, "%s", line);
}

int advise_look_nth_cpu(const char *list, int n)
{
	char *end;
	long first, last;

	while (*list >= '0' && *list <= '9') {
		first = last = strtol(list, &end, 10);
		if (*end == '-')
			last = strtol(end + 1, &end, 10);
		if (last >= first && n <= last - first)
			return (int)first + n;
		n -= (int)(last - first) + 1;
		list = *end == ',' ? end + 1 : end;
	}
	return -1;
}

/* What root alone may change is yours to change when you are root. */
static enum advice_state for_root(void)
{
	return geteuid() == 0 ? ADVICE_MAY : ADVICE_ROOT;
}

void advise_look_pinning(const struct bench_env *env, struct advice *advice)
{
	char isolated[LINE_LEN];

	advise_look_line(CPU_DIR "/isolated", isolated, sizeof(isolated));
	SAY(advice->now, "%d CPUs to run on, %s%s kept free of others", env->n_cpus,
	    isolated[0] ? isolated : "none", isolated[0] ? "" : " of them");
	if (env->cpus[1] < 0) {
		advice->state = ADVICE_ABSENT;
		SAY(advice->why, "one CPU leaves nothing to choose");
		return;
	}
	advice->state = ADVICE_CHOICE;
	SAY(advice->how,
	    "taskset -c %d PROGRAM, or CPUAffinity=%d in its unit; a different core for each",
	    env->cpus[0], env->cpus[0]);
}

void advise_look_spinning(const struct bench_env *env, struct advice *advice)
{
	(void)env;
	advice->state = ADVICE_CHOICE;
	SAY(advice->now, "by default a subscriber polls for 20 us before it sleeps");
	SAY(advice->how,
	    "spin_ns of struct leat_subscriber_options: LEAT_FOREVER keeps a CPU busy and never "
	    "sleeps, 0 sleeps at once");
}

void advise_look_batching(const struct bench_env *env, struct advice *advice)
{
	(void)env;
	advice->state = ADVICE_CHOICE;
	SAY(advice->now, "leat_publish() publishes one record a call");
	SAY(advice->how,
	    "leat_publish_batch(), where records are to be seen all or none anyway, or "
	    "leat_publish_many()");
}

void advise_look_transparent(const struct bench_env *env, struct advice *advice)
{
	char line[LINE_LEN], word[LINE_LEN];

	(void)env;
	advise_look_line(SHMEM_THP, line, sizeof(line));
	advise_look_word(line, word, sizeof(word));
	if (!line[0]) {
		advice->state = ADVICE_ABSENT;
		SAY(advice->now, "this kernel has none");
		SAY(advice->why, "there are none");
		return;
	}
	SAY(advice->now, "\"%.32s\" for shared memory, which rings are", word);
	if (strcmp(word, "never") != 0 && strcmp(word, "deny") != 0) {
		advice->state = ADVICE_GOOD;
		return;
	}
	advice->state = for_root();
	SAY(advice->how, "echo advise >%s, before the stream is made", SHMEM_THP);
}

static int count_nodes(void)
{
	struct dirent *entry;
	DIR *dir = opendir(NODE_DIR);
	int n = 0;

	while (dir && (entry = readdir(dir)))
		n += strncmp(entry->d_name, "node", 4) == 0 && entry->d_name[4] >= '0' &&
		     entry->d_name[4] <= '9';
	if (dir)
		closedir(dir);
	return n ? n : 1;
}

void advise_look_numa(const struct bench_env *env, struct advice *advice)
{
	int n = count_nodes();

	(void)env;
	if (n == 1) {
		advice->state = ADVICE_ABSENT;
		SAY(advice->now, "one memory node");
		SAY(advice->why, "there is nothing to place");
		return;
	}
	advice->state = ADVICE_CHOICE;
	SAY(advice->now, "%d memory nodes; a ring lies where its first publisher runs", n);
	SAY(advice->how, "numactl --cpunodebind=0 PROGRAM for publishers and subscribers of a "
			 "stream alike");
}

void advise_look_smt(const struct bench_env *env, struct advice *advice)
{
	char active[LINE_LEN], siblings[LINE_LEN];

	advise_look_line(CPU_DIR "/smt/active", active, sizeof(active));
	advise_look_line(CPU_DIR "/cpu0/topology/thread_siblings_list", siblings, sizeof(siblings));
	if (strcmp(active, "1") != 0) {
		advice->state = ADVICE_ABSENT;
		SAY(advice->now, "one thread to a core, as far as this machine shows");
		SAY(advice->why, "there are no siblings to share a core");
		return;
	}
	advice->state = ADVICE_CHOICE;
	SAY(advice->now, "CPUs %.32s share a core", siblings);
	SAY(advice->how,
	    "taskset -c %d for one and -c %d for the other: who poll together should "
	    "not share a core",
	    env->cpus[0], env->cpus[1]);
}

void advise_look_memlock(const struct bench_env *env, struct advice *advice)
{
	struct rlimit limit = { 0 };
	char line[LINE_LEN];
	FILE *file = fopen("/proc/swaps", "re");
	int n = 0;

	(void)env;
	while (file && fgets(line, sizeof(line), file))
		n++;
	if (file)
		fclose(file);
	getrlimit(RLIMIT_MEMLOCK, &limit);
	SAY(advice->now, "%s; leat locks no memory, so that a limit of %llu KiB is none to it",
	    n > 1 ? "there is swap, and a ring may be put there" : "no swap",
	    (unsigned long long)limit.rlim_cur / 1024);
	if (n <= 1) {
		advice->state = ADVICE_GOOD;
		return;
	}
	advice->state = for_root();
	SAY(advice->how, "MemorySwapMax=0 in the units of leatd and its clients, or swapoff -a");
	SAY(advice->why, "it would change the machine for all");
}

/* Whether this process may, by doing it for a moment. */
static bool may_run_in_real_time(void)
{
	const struct sched_param first = { .sched_priority = 1 }, none = { 0 };

	if (sched_setscheduler(0, SCHED_FIFO, &first) < 0)
		return false;
	sched_setscheduler(0, SCHED_OTHER, &none);
	return true;
}

void advise_look_rtprio(const struct bench_env *env, struct advice *advice)
{
	struct rlimit limit = { 0 };

	(void)env;
	getrlimit(RLIMIT_RTPRIO, &limit);
	if (may_run_in_real_time()) {
		advice->state = ADVICE_MAY;
		SAY(advice->now, "you may run in real time; programs do not by default");
		SAY(advice->how,
		    "chrt -f 1 PROGRAM for a subscriber that sleeps, never for one that "
		    "polls");
		return;
	}
	advice->state = ADVICE_ROOT;
	SAY(advice->now, "you may not run in real time (rtprio limit %llu)",
	    (unsigned long long)limit.rlim_cur);
	SAY(advice->how, "LimitRTPRIO=1 in its unit, or \"USER - rtprio 1\" in "
			 "/etc/security/limits.conf, and chrt -f 1 PROGRAM");
	SAY(advice->why, "it takes that permission");
}

void advise_look_io_uring(const struct bench_env *env, struct advice *advice)
{
	struct io_uring_params params = { 0 };
	char disabled[LINE_LEN];
	int fd = (int)syscall(SYS_io_uring_setup, 1, &params);

	(void)env;
	advise_look_line("/proc/sys/kernel/io_uring_disabled", disabled, sizeof(disabled));
	if (fd >= 0) {
		close(fd);
		advice->state = ADVICE_GOOD;
		SAY(advice->now, "allowed; the daemon does its disk work through it");
		return;
	}
	advice->state = ADVICE_ROOT;
	SAY(advice->now, "refused here (kernel.io_uring_disabled is %s); the daemon uses threads",
	    disabled[0] ? disabled : "not known");
	SAY(advice->how, "sysctl -w kernel.io_uring_disabled=0; in a container, a seccomp profile "
			 "that allows it");
	SAY(advice->why, "it is refused");
}

void advise_look_membarrier(const struct bench_env *env, struct advice *advice)
{
	long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);

	(void)env;
	if (commands >= 0 && (commands & MEMBARRIER_CMD_GLOBAL_EXPEDITED)) {
		advice->state = ADVICE_GOOD;
		SAY(advice->now, "allowed; publishing needs no fence");
		return;
	}
	advice->state = ADVICE_ABSENT;
	SAY(advice->now, "refused or missing; each publish pays for a fence");
	SAY(advice->how, "a kernel with CONFIG_MEMBARRIER; in a container, a seccomp profile that "
			 "allows it");
}

void advise_look_clock(const struct bench_env *env, struct advice *advice)
{
	char source[LINE_LEN], others[LINE_LEN];

	(void)env;
	advise_look_line("/sys/devices/system/clocksource/clocksource0/current_clocksource", source,
			 sizeof(source));
	advise_look_line("/sys/devices/system/clocksource/clocksource0/available_clocksource",
			 others, sizeof(others));
	SAY(advice->now, "the kernel's is \"%.48s\"", source[0] ? source : "not known");
	if (strcmp(source, "tsc") == 0 || strcmp(source, "arch_sys_counter") == 0 ||
	    strcmp(source, "kvm-clock") == 0) {
		advice->state = ADVICE_GOOD;
		return;
	}
	advice->state = for_root();
	SAY(advice->how, "boot with tsc=reliable where the processor's is (available: %.64s)",
	    others[0] ? others : "not known");
}

void advise_look_governor(const struct bench_env *env, struct advice *advice)
{
	char governor[LINE_LEN];

	(void)env;
	advise_look_line(CPU_DIR "/cpu0/cpufreq/scaling_governor", governor, sizeof(governor));
	if (!governor[0]) {
		advice->state = ADVICE_ABSENT;
		SAY(advice->now, "not this machine's to set%s", ", as in most virtual ones");
		SAY(advice->why, "there is none");
		return;
	}
	SAY(advice->now, "\"%.32s\"", governor);
	if (strcmp(governor, "performance") == 0) {
		advice->state = ADVICE_GOOD;
		return;
	}
	advice->state = for_root();
	SAY(advice->how, "cpupower frequency-set -g performance");
	SAY(advice->why, "it would change the machine for all");
}

void advise_look_idle(const struct bench_env *env, struct advice *advice)
{
	char driver[LINE_LEN], poll_ns[LINE_LEN];

	(void)env;
	advise_look_line(CPU_DIR "/cpuidle/current_driver", driver, sizeof(driver));
	advise_look_line("/sys/module/haltpoll/parameters/guest_halt_poll_ns", poll_ns,
			 sizeof(poll_ns));
	SAY(advice->now, "idle CPUs sleep by \"%.32s\"%s%.16s%s", driver[0] ? driver : "none",
	    poll_ns[0] ? ", after polling for " : "", poll_ns, poll_ns[0] ? " ns at most" : "");
	if (access("/dev/cpu_dma_latency", W_OK) == 0) {
		advice->state = ADVICE_MAY;
		SAY(advice->how, "tuned-adm profile latency-performance, or a program that holds "
				 "/dev/cpu_dma_latency open with a 0 in it");
		return;
	}
	advice->state = ADVICE_ROOT;
	SAY(advice->how, "as root: tuned-adm profile latency-performance, or idle=poll at boot");
	SAY(advice->why, "it takes write permission for /dev/cpu_dma_latency");
}
