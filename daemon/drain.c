/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/drain.h"

#include <limits.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <urcu/urcu-memb.h>

#include "daemon/log.h"
#include "daemon/shard_internal.h"

enum {
	DRAIN_NAP_MS = 1,       /* between passes while records come */
	DRAIN_LINGER_MS = 30,   /* napping goes on so long after the last one */
	DRAIN_STUCK_NAP_MS = 5, /* while only somebody alive can go on */
	DRAIN_IDLE_MS = 1000,   /* clock, checkpoints and the watchdog */
	DRAIN_EVENTS = 64,
};

struct drain {
	pthread_t thread;
	pthread_mutex_t lock;        /* the list's writers, clock */
	struct cds_list_head shards; /* RCU */
	struct drain_options options;
	struct io *io;
	struct clock_source clock; /* lock */
	_Atomic uint64_t last_pass_ns;
	_Atomic uint32_t quit;
	int epoll_fd;
	int command_fd;
};

/*
 * liburcu is not built for the race detector, which would take what a grace period orders for a
 * race. So it is told: what a pass or drain_add() did comes before what the other side does next.
 */
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#define drain_says_left(drain) __tsan_release(drain)
#define drain_says_sees(drain) __tsan_acquire(drain)
#else
#define drain_says_left(drain) ((void)(drain))
#define drain_says_sees(drain) ((void)(drain))
#endif

/* The next shard of the list, NULL at its end. liburcu reads a list with volatile loads, which the
 * race detector takes for plain ones: it is not shown this one. */
__attribute__((no_sanitize("thread"))) static struct shard *drain_next(
	const struct drain *drain, const struct cds_list_head *at)
{
	struct cds_list_head *next = rcu_dereference(at->next);

	return next == &drain->shards ? NULL : cds_list_entry(next, struct shard, drain_node);
}

/* Under the read lock. */
#define drain_for_each(shard, drain)                                                               \
	for ((shard) = drain_next((drain), &(drain)->shards); (shard);                             \
	     (shard) = drain_next((drain), &(shard)->drain_node))

/* ---- the clock ---- */

void drain_set_clock(struct drain *drain, struct ring *ring)
{
	pthread_mutex_lock(&drain->lock);
	clock_publish(ring->govern, &drain->clock);
	pthread_mutex_unlock(&drain->lock);
}

static void drain_update_clock(struct drain *drain)
{
	struct shard *shard;

	pthread_mutex_lock(&drain->lock);
	clock_source_update(&drain->clock);
	pthread_mutex_unlock(&drain->lock);
	urcu_memb_read_lock();
	drain_for_each(shard, drain)
	{
		drain_says_sees(drain);
		if (shard->life == SHARD_RUNNING)
			drain_set_clock(drain, shard->cur.ring);
	}
	drain_says_left(drain);
	urcu_memb_read_unlock();
}

/* ---- passes ---- */

void drain_notify(struct drain *drain)
{
	static const uint64_t one = 1;

	(void)!write(drain->options.notify_fd, &one, sizeof(one));
}

/* Every shard once; true when something moved. *ret_restless: something may become due soon. */
static bool drain_pass(struct drain *drain, bool *ret_restless)
{
	uint64_t now_ns = clock_now_ns(CLOCK_MONOTONIC);
	bool moved = io_reap(drain->io) > 0, restless = false;
	struct shard *shard;

	urcu_memb_read_lock();
	drain_for_each(shard, drain)
	{
		enum shard_life before;

		drain_says_sees(drain);
		before = shard->life;
		moved |= shard_drain_pass(shard, now_ns, &restless);
		if (before != SHARD_STOPPED && shard->life == SHARD_STOPPED)
			drain_notify(drain);
	}
	drain_says_left(drain);
	urcu_memb_read_unlock();
	store_relaxed(&drain->last_pass_ns, now_ns);
	*ret_restless = restless;
	return moved;
}

/*
 * Reads what woke us; the work itself is found by the next pass. Publishers share the open file
 * description of their shard's eventfd: they can take away O_NONBLOCK and read it first. So the
 * call itself says that it must not wait.
 */
static void drain_wait(struct drain *drain, int timeout_ms)
{
	struct epoll_event events[DRAIN_EVENTS];
	uint64_t ignored;
	struct iovec iov = { .iov_base = &ignored, .iov_len = sizeof(ignored) };
	int n = epoll_wait(drain->epoll_fd, events, DRAIN_EVENTS, timeout_ms);

	for (int i = 0; i < n; i++) {
		if (events[i].data.fd != io_fd(drain->io))
			(void)!preadv2(events[i].data.fd, &iov, 1, -1, RWF_NOWAIT);
	}
}

static void drain_announce_sleep(struct drain *drain, bool asleep)
{
	struct shard *shard;

	urcu_memb_read_lock();
	drain_for_each(shard, drain)
	{
		drain_says_sees(drain);
		pthread_mutex_lock(&shard->lock);
		if (shard->life == SHARD_RUNNING) {
			if (asleep)
				ring_drain_sleeps(shard->cur.ring);
			else
				ring_drain_wakes(shard->cur.ring);
		}
		pthread_mutex_unlock(&shard->lock);
	}
	drain_says_left(drain);
	urcu_memb_read_unlock();
}

/* Nothing has come for a while: every publisher is told to kick, then once more a look. */
static void drain_sleep(struct drain *drain)
{
	bool restless, barrier;

	drain_announce_sleep(drain, true);
	/* MO(kick.R) pairs with kick.A in ring_commit(): the announcements before the last look,
	 * with a barrier on every publisher's processor between. */
	barrier = membarrier_sync();
	if (!drain_pass(drain, &restless) && !restless)
		drain_wait(drain, barrier ? DRAIN_IDLE_MS : DRAIN_NAP_MS);
	drain_announce_sleep(drain, false);
}

static void *drain_main(void *arg)
{
	struct drain *drain = arg;
	uint64_t moved_ns = 0, clock_ns = 0;

	urcu_memb_register_thread();
	if (drain->options.bind)
		drain->options.bind(drain->options.node);
	while (load_relaxed(&drain->quit) == 0) {
		uint64_t now_ns = clock_now_ns(CLOCK_MONOTONIC);
		bool restless;

		if (now_ns - clock_ns >= DRAIN_IDLE_MS * NS_PER_MS) {
			drain_update_clock(drain);
			clock_ns = now_ns;
		}
		if (drain_pass(drain, &restless)) {
			moved_ns = now_ns;
			continue;
		}
		if (now_ns - moved_ns < DRAIN_LINGER_MS * NS_PER_MS)
			drain_wait(drain, DRAIN_NAP_MS);
		else if (restless)
			drain_wait(drain, DRAIN_STUCK_NAP_MS);
		else
			drain_sleep(drain);
	}
	urcu_memb_unregister_thread();
	return NULL;
}

/* ---- from the control thread ---- */

static int drain_watch(struct drain *drain, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(drain->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int drain_open(struct drain *drain)
{
	int r = io_new(0, drain->options.force_threads ? IO_F_THREADS : 0, &drain->io);

	if (r < 0)
		return r;
	drain->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	drain->command_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (drain->epoll_fd < 0 || drain->command_fd < 0)
		return -errno;
	r = drain_watch(drain, drain->command_fd);
	if (r == 0)
		r = drain_watch(drain, io_fd(drain->io));
	if (r == 0)
		r = -pthread_create(&drain->thread, NULL, drain_main, drain);
	return r;
}

static struct drain *drain_free(struct drain *drain)
{
	io_free(drain->io);
	close_fd(drain->epoll_fd);
	close_fd(drain->command_fd);
	pthread_mutex_destroy(&drain->lock);
	free(drain);
	return NULL;
}

int drain_start(const struct drain_options *options, struct drain **ret_drain)
{
	struct drain *drain = calloc(1, sizeof(*drain));
	int r;

	if (!drain)
		return -ENOMEM;
	drain->options = *options;
	drain->epoll_fd = drain->command_fd = -1;
	pthread_mutex_init(&drain->lock, NULL);
	CDS_INIT_LIST_HEAD(&drain->shards);
	clock_source_init(&drain->clock);
	store_relaxed(&drain->last_pass_ns, clock_now_ns(CLOCK_MONOTONIC));
	r = drain_open(drain);
	if (r < 0) {
		drain_free(drain);
		return r;
	}
	*ret_drain = drain;
	return 0;
}

void drain_kick(struct drain *drain)
{
	static const uint64_t one = 1;

	(void)!write(drain->command_fd, &one, sizeof(one));
}

struct drain *drain_stop(struct drain *drain)
{
	if (!drain)
		return NULL;
	store_relaxed(&drain->quit, 1);
	drain_kick(drain);
	pthread_join(drain->thread, NULL);
	return drain_free(drain);
}

int drain_add(struct drain *drain, struct shard *shard)
{
	int r = drain_watch(drain, shard->kick_fd);

	pthread_mutex_lock(&shard->lock);
	shard->life = r < 0 ? SHARD_BROKEN : SHARD_RUNNING;
	pthread_mutex_unlock(&shard->lock);
	if (r < 0)
		return r;
	drain_says_left(drain);
	pthread_mutex_lock(&drain->lock);
	cds_list_add_tail_rcu(&shard->drain_node, &drain->shards);
	pthread_mutex_unlock(&drain->lock);
	drain_kick(drain);
	return 0;
}

void drain_remove(struct drain *drain, struct shard *shard)
{
	(void)epoll_ctl(drain->epoll_fd, EPOLL_CTL_DEL, shard->kick_fd, NULL);
	pthread_mutex_lock(&drain->lock);
	cds_list_del_rcu(&shard->drain_node);
	pthread_mutex_unlock(&drain->lock);
	/* The thread may be in the middle of a pass over it; after this it has forgotten it. */
	urcu_memb_synchronize_rcu();
	drain_says_sees(drain);
}

uint64_t drain_last_pass_ns(const struct drain *drain)
{
	return load_relaxed(&drain->last_pass_ns);
}

const char *drain_io_name(const struct drain *drain)
{
	return io_backend(drain->io);
}

int drain_node(const struct drain *drain)
{
	return drain->options.node;
}

struct io *drain_io(struct drain *drain)
{
	return drain->io;
}
