/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two threads take turns at the loop. Handing a small write or an fdatasync to another thread and
 * being told of its end takes longer than many a disk takes for it; so whoever has the loop leaves
 * it for that time and does it itself. The other one sleeps in the same epoll, and has the loop for
 * whatever comes meanwhile. epoll wakes who fell asleep last, and only one for each event
 * (EPOLLET), so the second one is woken only if it is needed; and if it finds that somebody has the
 * loop, it asks for another pass and goes back to sleep.
 */
#include "daemon/drain.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
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
	DRAIN_BURST_LEN = 256 << 10, /* drained in one pass: there is enough to do here */
	DRAIN_SLICE_US = 100,        /* of a processor */
};

struct drain {
	pthread_t threads[DRAIN_THREADS];
	unsigned int n_threads;
	pthread_mutex_t door;
	/* door */
	bool busy;    /* somebody has the loop */
	bool again;   /* somebody else has been woken since, and wants one more pass */
	bool running; /* somebody has left it to do an operation on the disk */

	/* who has the loop */
	bool asleep;       /* publishers were told to kick */
	uint64_t timer_ns; /* the timer fires then; 0 = not set */
	uint64_t moved_ns; /* when something moved last */
	uint64_t clock_ns; /* when the clock was looked at last */

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

/* Every shard once; true when something moved. */
static bool drain_pass(struct drain *drain, struct shard_round *ret_round)
{
	struct shard_round round = { .now_ns = clock_now_ns(CLOCK_MONOTONIC) };
	bool moved = io_reap(drain->io) > 0;
	struct shard *shard;

	urcu_memb_read_lock();
	drain_for_each(shard, drain)
	{
		enum shard_life before;

		drain_says_sees(drain);
		before = shard->life;
		moved |= shard_drain_pass(shard, &round);
		if (before != SHARD_STOPPED && shard->life == SHARD_STOPPED)
			drain_notify(drain);
	}
	drain_says_left(drain);
	urcu_memb_read_unlock();
	store_relaxed(&drain->last_pass_ns, round.now_ns);
	*ret_round = round;
	return moved;
}

/* ---- taking turns ---- */

/* Takes the loop; where somebody else has it, that one will look once more. */
static bool drain_enter(struct drain *drain)
{
	bool entered;

	pthread_mutex_lock(&drain->door);
	entered = !drain->busy;
	if (entered)
		drain->busy = true;
	else
		drain->again = true;
	pthread_mutex_unlock(&drain->door);
	return entered;
}

/* Was somebody else woken since the last time? Then one more pass is due. */
static bool drain_wanted(struct drain *drain)
{
	bool wanted;

	pthread_mutex_lock(&drain->door);
	wanted = drain->again;
	drain->again = false;
	pthread_mutex_unlock(&drain->door);
	return wanted;
}

/* Lets go of the loop in order to rest. False: not yet, look once more. */
static bool drain_leave(struct drain *drain)
{
	bool left;

	pthread_mutex_lock(&drain->door);
	left = !drain->again;
	drain->again = false;
	drain->busy = !left;
	pthread_mutex_unlock(&drain->door);
	return left;
}

/* Lets go of the loop in order to do an operation on the disk, if nobody else does one. */
static struct io_op *drain_leave_to_work(struct drain *drain)
{
	struct io_op *op = NULL;
	bool again = false;

	pthread_mutex_lock(&drain->door);
	if (!drain->running)
		op = io_take(drain->io);
	if (op) {
		again = drain->again;
		drain->again = drain->busy = false;
		drain->running = true;
	}
	pthread_mutex_unlock(&drain->door);
	if (again)
		drain_kick(drain);
	return op;
}

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
static void drain_rest(struct drain *drain)
{
	struct epoll_event events[DRAIN_EVENTS];
	uint64_t ignored;
	struct iovec iov = { .iov_base = &ignored, .iov_len = sizeof(ignored) };
	int n = epoll_wait(drain->epoll_fd, events, DRAIN_EVENTS, -1);

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
static bool drain_sleep(struct drain *drain, struct shard_round *ret_round, uint64_t *ret_ns)
{
	bool barrier;

	drain_announce_sleep(drain, true);
	drain->asleep = true;
	/* MO(kick.R) pairs with kick.A in ring_commit(): the announcements before the last look,
	 * with a barrier on every publisher's processor between. */
	barrier = membarrier_sync();
	*ret_ns = (barrier ? DRAIN_IDLE_MS : DRAIN_NAP_MS) * NS_PER_MS;
	return !drain_pass(drain, ret_round) && !ret_round->restless && ret_round->due_ns == 0;
}

/* One pass; true when there is nothing more to do here until *ret_ns has passed. */
static bool drain_turn(struct drain *drain, struct shard_round *ret_round, uint64_t *ret_ns)
{
	uint64_t now_ns = clock_now_ns(CLOCK_MONOTONIC);

	if (drain->asleep) {
		drain_announce_sleep(drain, false);
		drain->asleep = false;
	}
	if (now_ns - drain->clock_ns >= DRAIN_IDLE_MS * NS_PER_MS) {
		drain_update_clock(drain);
		drain->clock_ns = now_ns;
	}
	*ret_ns = DRAIN_NAP_MS * NS_PER_MS;
	if (drain_pass(drain, ret_round)) {
		drain->moved_ns = now_ns;
		return false;
	}
	if (ret_round->due_ns > 0) {
		drain->moved_ns = now_ns;
		now_ns = clock_now_ns(CLOCK_MONOTONIC);
		*ret_ns = ret_round->due_ns - min_u64(ret_round->due_ns, now_ns);
		return true;
	}
	if (now_ns - drain->moved_ns < DRAIN_LINGER_MS * NS_PER_MS)
		return true;
	*ret_ns = DRAIN_STUCK_NAP_MS * NS_PER_MS;
	return ret_round->restless || drain_sleep(drain, ret_round, ret_ns);
}

/* With the loop, until it is left: to rest, or to do the operation that is returned. */
static struct io_op *drain_lead(struct drain *drain)
{
	while (load_relaxed(&drain->quit) == 0) {
		struct shard_round round;
		uint64_t now_ns, ns;
		bool rests = drain_turn(drain, &round, &ns);
		bool holds = io_holds(drain->io);
		struct io_op *op;

		if ((!rests && !holds) || drain_wanted(drain))
			continue;
		now_ns = clock_now_ns(CLOCK_MONOTONIC);
		drain_set_timer(drain, now_ns, now_ns + (holds ? DRAIN_NAP_MS * NS_PER_MS : ns));
		/* While there is enough to do here the disk's work is for others. */
		op = round.walked < DRAIN_BURST_LEN ? drain_leave_to_work(drain) : NULL;
		if (op)
			return op;
		io_release(drain->io);
		if (rests && drain_leave(drain))
			return NULL;
	}
	while (!drain_leave(drain))
		;
	return NULL;
}

/*
 * A pass is short, and publishers may wait for it. Who asks for short slices of a processor gets
 * one at once even where others spin on it (Linux 6.12: EEVDF's custom slices, which take nothing
 * from anybody's share). Older kernels, and sandboxes that refuse it, leave all as it is.
 */
static void drain_take_short_slices(void)
{
	/* sched_setattr(2), version 0; the kernel's header and <sched.h> exclude each other. */
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
	} attr = { .size = sizeof(attr) };

	if (syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0) < 0 || attr.policy != SCHED_OTHER)
		return;
	attr.runtime = DRAIN_SLICE_US * NS_PER_US;
	(void)syscall(SYS_sched_setattr, 0, &attr, 0);
}

static void *drain_main(void *arg)
{
	struct drain *drain = arg;

	urcu_memb_register_thread();
	drain_take_short_slices();
	if (drain->options.bind)
		drain->options.bind(drain->options.node);
	while (load_relaxed(&drain->quit) == 0) {
		struct io_op *op = drain_enter(drain) ? drain_lead(drain) : NULL;

		if (!op) {
			drain_rest(drain);
			continue;
		}
		io_run(drain->io, op);
		pthread_mutex_lock(&drain->door);
		drain->running = false;
		pthread_mutex_unlock(&drain->door);
	}
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
	pthread_mutex_destroy(&drain->door);
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
	pthread_mutex_init(&drain->door, NULL);
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
