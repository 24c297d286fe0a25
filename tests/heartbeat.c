/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/heartbeat.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#include "shm/atomic.h"
#include "tests/harness.h"

enum {
	HEARTS_MAX = 64,
	BEAT_NS = 10000000,
	LATE_NS = 5000000,
	SYNC_BEATS = 10,
};

struct heart {
	_Atomic uint64_t lost_ns;
	_Atomic uint64_t n_beats;
};

/* In memory that all share. */
struct hearts {
	char path[128];
	unsigned n;
	int cpus[HEARTS_MAX];
	struct heart hearts[HEARTS_MAX];
};

static struct hearts *hearts;
static unsigned next_heart; /* the one that is being started */

/* A full disk or one that fails is not one that stands still. */
static void touch_disk(int fd)
{
	if (fd >= 0 && pwrite(fd, "beat", 4, 0) == 4)
		(void)fdatasync(fd);
}

static int beat(void *arg)
{
	struct heart *heart = &hearts->hearts[next_heart];
	uint64_t last = harness_now_ns();
	pid_t parent = *(pid_t *)arg;
	cpu_set_t cpus;
	int fd = -1;

	CPU_ZERO(&cpus);
	CPU_SET(hearts->cpus[next_heart], &cpus);
	(void)sched_setaffinity(0, sizeof(cpus), &cpus);
	if (next_heart == 0)
		fd = open(hearts->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	for (uint64_t n = 1; getppid() == parent; n++) {
		uint64_t now;

		harness_pause_ns(BEAT_NS);
		if (n % SYNC_BEATS == 0)
			touch_disk(fd);
		now = harness_now_ns();
		if (now - last > BEAT_NS + LATE_NS)
			fetch_add_acq_rel(&heart->lost_ns, now - last - BEAT_NS);
		last = now;
		store_release(&heart->n_beats, n);
	}
	return 0;
}

void heartbeat_start(const char *dir)
{
	pid_t pid = getpid();
	cpu_set_t cpus;

	hearts = harness_shared(sizeof(*hearts));
	snprintf(hearts->path, sizeof(hearts->path), "%s/heartbeat", dir);
	must(sched_getaffinity(0, sizeof(cpus), &cpus) == 0, "no processors");
	for (int cpu = 0; cpu < CPU_SETSIZE && hearts->n < HEARTS_MAX; cpu++)
		if (CPU_ISSET(cpu, &cpus))
			hearts->cpus[hearts->n++] = cpu;
	for (next_heart = 0; next_heart < hearts->n; next_heart++)
		harness_fork(beat, &pid);
}

struct turn {
	struct heart *heart;
	uint64_t n_beats;
};

static bool has_beaten(void *arg)
{
	struct turn *turn = arg;

	/* The beat after that which was under way. */
	return load_acquire(&turn->heart->n_beats) >= turn->n_beats + 2;
}

uint64_t heartbeat_lost_ns(void)
{
	uint64_t lost = 0;

	for (unsigned i = 0; i < hearts->n; i++)
		lost += load_acquire(&hearts->hearts[i].lost_ns);
	return lost;
}

void heartbeat_settle(void)
{
	struct turn turns[HEARTS_MAX];

	for (unsigned i = 0; i < hearts->n; i++)
		turns[i] = (struct turn){ &hearts->hearts[i],
					  load_acquire(&hearts->hearts[i].n_beats) };
	for (unsigned i = 0; i < hearts->n; i++)
		must(harness_until(has_beaten, &turns[i], 120), "the machine stands still");
}
