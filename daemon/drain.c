/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two threads take turns at the loop, under the lock of that name. Handing a small write or an
 * fdatasync to another thread and being told of its end takes longer than many a disk takes for
 * it; so whoever has the loop leaves it for that time and does it itself. The other one sleeps in
 * the same epoll, and has the loop for whatever comes meanwhile. epoll wakes who fell asleep last,
 * and only one for each event (EPOLLET), so the second one is woken only if it is needed.
 */
#include "daemon/drain.h"

#include <limits.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
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
	DRAIN_THREADS = 2,
	DRAIN_MOVED_MAX = 3, /* passes one after the other */
};

struct drain {
	pthread_t threads[DRAIN_THREADS];
	unsigned int n_threads;
	pthread_mutex_t loop;
	/* loop */
	unsigned int n_waiting; /* threads in epoll_wait() */
	unsigned int n_moved;   /* passes without an end that found something */
	bool asleep;            /* publishers were told to kick */
	uint64_t timer_ns;      /* the timer fires then; 0 = not set */
	uint64_t moved_ns;      /* when something moved last */
	uint64_t clock_ns;      /* when the clock was looked at last */

	pthread_mutex_t lock;        /* the list's writers, clock */
	struct cds_list_head shards; /* RCU */
	struct drain_options options;
	struct io *io;
	struct clock_source clock; /* lock */
	_Atomic uint64_t last_pass_ns;
	_Atomic uint32_t quit;
	int epoll_fd;
	int command_fd;
	int timer_fd;
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

/* ---- waiting ---- */

/* The timer fires at `at_ns` at the latest: earlier does no harm, and costs no system call. */
static void drain_set_timer(struct drain *drain, uint64_t now_ns, uint64_t at_ns)
{
	struct itimerspec spec = { .it_value = { .tv_sec = (time_t)(at_ns / NS_PER_S),
						 .tv_nsec = (long)(at_ns % NS_PER_S) } };

	if (drain->timer_ns > now_ns && drain->timer_ns <= at_ns)
		return;
	if (timerfd_settime(drain->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL) == 0)
		drain->timer_ns = at_ns;
}

/*
 * Reads what woke us; the work itself is found by the next pass. Publishers share the open file
 * description of their shard's eventfd: they can take away O_NONBLOCK and read it first. So the
 * call itself says that it must not wait.
 */
static void drain_wait(struct drain *drain, int timeout_ms)
{
	uint64_t ignored, now_ns = clock_now_ns(CLOCK_MONOTONIC);
	struct iovec iov = { .iov_base = &ignored, .iov_len = sizeof(ignored) };
	struct epoll_event events[DRAIN_EVENTS];
	int n;

	drain_set_timer(drain, now_ns, now_ns + (uint64_t)timeout_ms * NS_PER_MS);
	drain->n_waiting++;
	pthread_mutex_unlock(&drain->loop);
	n = epoll_wait(drain->epoll_fd, events, DRAIN_EVENTS, -1);
	for (int i = 0; i < n; i++) {
		if (events[i].data.fd != io_fd(drain->io))
			(void)!preadv2(events[i].data.fd, &iov, 1, -1, RWF_NOWAIT);
	}
	pthread_mutex_lock(&drain->loop);
	drain->n_waiting--;
}

/* Does what the shards want of the disk on this thread, if another one can have the loop. */
static bool drain_work_here(struct drain *drain)
{
	struct io_op *op = drain->n_waiting > 0 ? io_take(drain->io) : NULL;
	uint64_t now_ns;

	if (!op) {
		io_release(drain->io);
		return false;
	}
	now_ns = clock_now_ns(CLOCK_MONOTONIC);
	drain_set_timer(drain, now_ns, now_ns + DRAIN_NAP_MS * NS_PER_MS);
	pthread_mutex_unlock(&drain->loop);
	io_run(drain->io, op);
	pthread_mutex_lock(&drain->loop);
	return true;
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
	drain->asleep = true;
	/* MO(kick.R) pairs with kick.A in ring_commit(): the announcements before the last look,
	 * with a barrier on every publisher's processor between. */
	barrier = membarrier_sync();
	if (!drain_pass(drain, &restless) && !restless && !drain_work_here(drain))
		drain_wait(drain, barrier ? DRAIN_IDLE_MS : DRAIN_NAP_MS);
}

static void drain_turn(struct drain *drain)
{
	uint64_t now_ns = clock_now_ns(CLOCK_MONOTONIC);
	bool restless;

	if (drain->asleep) {
		drain_announce_sleep(drain, false);
		drain->asleep = false;
	}
	if (now_ns - drain->clock_ns >= DRAIN_IDLE_MS * NS_PER_MS) {
		drain_update_clock(drain);
		drain->clock_ns = now_ns;
	}
	if (drain_pass(drain, &restless)) {
		drain->moved_ns = now_ns;
		/* While there is enough to do here the disk's work is for others. */
		if (++drain->n_moved >= DRAIN_MOVED_MAX)
			io_release(drain->io);
		return;
	}
	drain->n_moved = 0;
	if (drain_work_here(drain))
		return;
	if (now_ns - drain->moved_ns < DRAIN_LINGER_MS * NS_PER_MS)
		drain_wait(drain, DRAIN_NAP_MS);
	else if (restless)
		drain_wait(drain, DRAIN_STUCK_NAP_MS);
	else
		drain_sleep(drain);
}

static void *drain_main(void *arg)
{
	struct drain *drain = arg;

	urcu_memb_register_thread();
	if (drain->options.bind)
		drain->options.bind(drain->options.node);
	pthread_mutex_lock(&drain->loop);
	while (load_relaxed(&drain->quit) == 0)
		drain_turn(drain);
	pthread_mutex_unlock(&drain->loop);
	/* One kick wakes one thread. */
	drain_kick(drain);
	urcu_memb_unregister_thread();
	return NULL;
}

/* ---- from the control thread ---- */

static int drain_watch(struct drain *drain, int fd)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.fd = fd };

	return epoll_ctl(drain->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int drain_open(struct drain *drain)
{
	unsigned int flags = drain->options.force_threads ? IO_F_THREADS | IO_F_HOLD : IO_F_HOLD;
	int r = io_new(0, flags, &drain->io);

	if (r < 0)
		return r;
	drain->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	drain->command_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	drain->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (drain->epoll_fd < 0 || drain->command_fd < 0 || drain->timer_fd < 0)
		return -errno;
	r = drain_watch(drain, drain->command_fd);
	if (r == 0)
		r = drain_watch(drain, drain->timer_fd);
	if (r == 0)
		r = drain_watch(drain, io_fd(drain->io));
	while (r == 0 && drain->n_threads < DRAIN_THREADS) {
		r = -pthread_create(&drain->threads[drain->n_threads], NULL, drain_main, drain);
		if (r == 0)
			drain->n_threads++;
	}
	return r;
}

static struct drain *drain_free(struct drain *drain)
{
	store_relaxed(&drain->quit, 1);
	if (drain->n_threads > 0)
		drain_kick(drain);
	while (drain->n_threads > 0)
		pthread_join(drain->threads[--drain->n_threads], NULL);
	io_free(drain->io);
	close_fd(drain->epoll_fd);
	close_fd(drain->command_fd);
	close_fd(drain->timer_fd);
	pthread_mutex_destroy(&drain->loop);
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
	drain->epoll_fd = drain->command_fd = drain->timer_fd = -1;
	pthread_mutex_init(&drain->loop, NULL);
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
	return drain ? drain_free(drain) : NULL;
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
