/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/server.h"

#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "daemon/directory.h"
#include "daemon/drain.h"
#include "daemon/listener.h"
#include "daemon/log.h"
#include "daemon/process.h"
#include "daemon/protocol.h"
#include "daemon/registry.h"
#include "daemon/restore.h"
#include "daemon/retention.h"
#include "daemon/session.h"
#include "daemon/shard.h"
#include "daemon/stream.h"

/* Publisher ids are given away from blocks, so that not each one is a write to the disk. */
enum {
	SERVER_PUBLISHERS = 1024,
	SERVER_GENERATIONS = 256, /* of a ring, in one life of the daemon and one second */
	SERVER_EVENTS = 1
};

/* A drain passes at least once a second; one that has not for so long hangs. */
#define SERVER_DRAIN_LATE_NS (10 * NS_PER_S)

/* ---- sources ---- */

int server_control(int epoll_fd, int op, struct server_source *source, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = source };

	return epoll_ctl(epoll_fd, op, source->fd, &event) < 0 ? -errno : 0;
}

int server_watch(struct server *server, struct server_source *source, uint32_t events)
{
	return server_control(server->epoll_fd, EPOLL_CTL_ADD, source, events);
}

void server_unwatch(struct server *server, struct server_source *source)
{
	(void)server_control(server->epoll_fd, EPOLL_CTL_DEL, source, 0);
}

int server_watch_death(struct server *server, struct server_source *source)
{
	return server_control(server->deaths_fd, EPOLL_CTL_ADD, source, EPOLLIN);
}

void server_unwatch_death(struct server *server, struct server_source *source)
{
	(void)server_control(server->deaths_fd, EPOLL_CTL_DEL, source, 0);
}

/* One event of an epoll; one at a time, because handling it may free another's source. */
bool server_handle_one(int epoll_fd, int timeout_ms)
{
	struct epoll_event event;
	struct server_source *source;

	if (epoll_wait(epoll_fd, &event, SERVER_EVENTS, timeout_ms) <= 0)
		return false;
	source = event.data.ptr;
	source->ready(source, event.events);
	return true;
}

static struct server *server_of(struct server_source *source)
{
	return ((struct server_own_source *)source)->server;
}

static void server_clear_eventfd(int fd)
{
	uint64_t ignored;

	(void)!read(fd, &ignored, sizeof(ignored));
}

static void server_deaths_ready(struct server_source *source, uint32_t events)
{
	(void)source;
	(void)events;
	/* Handled by server_step() before anything else. */
}

static void server_drained_ready(struct server_source *source, uint32_t events)
{
	struct server *server = server_of(source);

	(void)events;
	server_clear_eventfd(source->fd);
	stream_check_stopping(server);
	retention_take_news(server);
}

static void server_worked_ready(struct server_source *source, uint32_t events)
{
	struct server *server = server_of(source);

	(void)events;
	server_clear_eventfd(source->fd);
	for (int i = 0; i < SERVER_N_WORKERS; i++)
		worker_reap(server->workers[i]);
}

static void server_reload(struct server *server)
{
	char detail[512];

	notify_reloading(server->notify);
	if (config_reload(server->config, detail, sizeof(detail)) < 0) {
		log_error("The configuration stays as it is: %s", detail);
	} else {
		log_set_level(server->config->log_level);
		log_notice("The configuration was read again");
	}
	notify_ready(server->notify);
}

static void server_signals_ready(struct server_source *source, uint32_t events)
{
	struct server *server = server_of(source);
	struct signalfd_siginfo info;

	(void)events;
	if (read(source->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGHUP)
		server_reload(server);
	else
		server_stop(server);
}

/* ---- workers and ids ---- */

void server_submit(struct server *server, enum server_worker worker, struct worker_job *job)
{
	worker_submit(server->workers[worker], job);
}

struct server_reserve {
	struct worker_job job;
	struct server *server;
	uint64_t end;
	int result;
};

static void server_reserve_run(struct worker_job *job)
{
	struct server_reserve *reserve = (struct server_reserve *)job;

	reserve->result =
		catalogue_set_number(reserve->server->catalogue, CATALOGUE_PUBLISHER, reserve->end);
}

static void server_reserve_done(struct worker_job *job)
{
	struct server_reserve *reserve = (struct server_reserve *)job;

	if (reserve->result == 0)
		reserve->server->publisher_end = reserve->end;
	reserve->server->reserving = false;
	free(reserve);
}

/* The next block is reserved when half of this one is used. */
static void server_reserve_publishers(struct server *server)
{
	struct server_reserve *reserve;

	if (server->reserving ||
	    server->publisher_end - server->publisher_next > SERVER_PUBLISHERS / 2)
		return;
	reserve = calloc(1, sizeof(*reserve));
	if (!reserve)
		return;
	reserve->job =
		(struct worker_job){ .run = server_reserve_run, .done = server_reserve_done };
	reserve->server = server;
	reserve->end = server->publisher_end + SERVER_PUBLISHERS;
	server->reserving = true;
	server_submit(server, SERVER_WORKER_CATALOGUE, &reserve->job);
}

/*
 * A ring that takes over from another has one more than that, which is less than these gain. By the
 * clock that nobody sets: neither rings nor who holds one are older than the machine's start.
 */
uint32_t server_first_generation(const struct server *server)
{
	uint64_t now_s = clock_now_ns(CLOCK_BOOTTIME) / NS_PER_S;
	uint64_t n_daemons = server->publisher_first / SERVER_PUBLISHERS;

	return (uint32_t)(now_s + n_daemons * SERVER_GENERATIONS);
}

int server_take_publisher(struct server *server, uint32_t *ret_publisher)
{
	server_reserve_publishers(server);
	if (server->publisher_next >= server->publisher_end)
		return -EAGAIN;
	/* The count goes on in 64 bits; ids come round after four thousand millions, without 0. */
	if ((uint32_t)server->publisher_next == 0)
		server->publisher_next++;
	*ret_publisher = (uint32_t)server->publisher_next++;
	return 0;
}

struct drain *server_drain_of(struct server *server, int node)
{
	for (unsigned int i = 0; i < server->n_drains; i++)
		if (drain_node(server->drains[i]) == node)
			return server->drains[i];
	return server->drains[0];
}

/* ---- time ---- */

static bool server_drains_live(const struct server *server, uint64_t now)
{
	for (unsigned int i = 0; i < server->n_drains; i++) {
		uint64_t last = drain_last_pass_ns(server->drains[i]);

		if (now > last && now - last > SERVER_DRAIN_LATE_NS)
			return false;
	}
	return true;
}

static void server_do_watchdog(struct server *server, uint64_t now)
{
	if (server->watchdog_ns == 0 || now < server->watchdog_ns)
		return;
	server->watchdog_ns = now + notify_watchdog_ns(server->notify);
	if (server_drains_live(server, now))
		notify_watchdog(server->notify);
	else
		log_limited(LOG_LEVEL_ERROR, "A drain thread has not passed for more than %u s",
			    (unsigned int)(SERVER_DRAIN_LATE_NS / NS_PER_S));
}

static void server_do_time(struct server *server)
{
	uint64_t now = clock_now_ns(CLOCK_MONOTONIC);

	server_do_watchdog(server, now);
	listener_check(server, now);
	if (now >= server->tick_ns)
		retention_tick(server);
}

/* Until the next of the things that time brings. */
static int server_timeout_ms(const struct server *server)
{
	uint64_t now = clock_now_ns(CLOCK_MONOTONIC), at = UINT64_MAX;

	if (server->watchdog_ns)
		at = min_u64(at, server->watchdog_ns);
	if (server->listen_again_ns)
		at = min_u64(at, server->listen_again_ns);
	if (server->stop_by_ns)
		at = min_u64(at, server->stop_by_ns);
	at = min_u64(at, server->tick_ns);
	if (at == UINT64_MAX)
		return -1;
	return at <= now ? 0 : (int)min_u64((at - now) / NS_PER_MS + 1, 60000);
}

/* ---- the loop ---- */

int server_step(struct server *server, int timeout_ms)
{
	/* Who dies comes first: everybody else's records may wait behind the hole it left. */
	while (server_handle_one(server->deaths_fd, 0))
		;
	server_handle_one(server->epoll_fd, timeout_ms);
	restore_reap(server);
	server_do_time(server);
	return 0;
}

static void server_begin_end(struct server *server, bool keep)
{
	server->keep_rings = keep;
	store_relaxed(&server->stopping, true);
	server->stop_by_ns = clock_now_ns(CLOCK_MONOTONIC) + server->config->stop_timeout_ns;
	server->watchdog_ns = 0;
	listener_close(server, keep);
	session_end_all(server);
	stream_stop_all(server, keep);
}

void server_stop(struct server *server)
{
	bool keep;

	if (load_relaxed(&server->stopping))
		return;
	keep = notify_has_store(server->notify);
	log_notice("Stopping: draining what is committed%s",
		   keep ? "; the rings stay with the service manager" : "");
	notify_stopping(server->notify);
	server_begin_end(server, keep);
}

static bool server_workers_idle(const struct server *server)
{
	for (int i = 0; i < SERVER_N_WORKERS; i++)
		if (worker_pending(server->workers[i]) > 0)
			return false;
	return true;
}

static bool server_is_stopped(struct server *server)
{
	return load_relaxed(&server->stopping) && restore_is_over(server) &&
	       server_workers_idle(server) && stream_all_stopped(server);
}

int server_run(struct server *server)
{
	while (!server_is_stopped(server)) {
		if (server->stop_by_ns && clock_now_ns(CLOCK_MONOTONIC) >= server->stop_by_ns) {
			log_error("Not everything could be drained in time (stop-timeout); what is "
				  "in the rings only is lost with them");
			return -ETIMEDOUT;
		}
		server_step(server, server_timeout_ms(server));
	}
	return 0;
}

/* ---- opening ---- */

static void server_say(char *detail, size_t detail_len, const char *what, int r)
{
	snprintf(detail, detail_len, "%s: %s", what, strerror(-r));
}

static int server_open_own(struct server *server, struct server_own_source *own, int fd,
			   void (*ready)(struct server_source *source, uint32_t events))
{
	if (fd < 0)
		return -errno;
	own->source = (struct server_source){ .fd = fd, .ready = ready };
	own->server = server;
	return server_watch(server, &own->source, EPOLLIN);
}

static int server_open_loop(struct server *server)
{
	int r;

	server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	server->deaths_fd = epoll_create1(EPOLL_CLOEXEC);
	if (server->epoll_fd < 0 || server->deaths_fd < 0)
		return -errno;
	server->deaths.source.fd = server->deaths_fd;
	server->deaths.source.ready = server_deaths_ready;
	r = server_watch(server, &server->deaths.source, EPOLLIN);
	if (r == 0)
		r = server_open_own(server, &server->drained,
				    eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), server_drained_ready);
	if (r == 0)
		r = server_open_own(server, &server->worked, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
				    server_worked_ready);
	for (int i = 0; r == 0 && i < SERVER_N_WORKERS; i++)
		r = worker_new(server->worked.source.fd, 1, &server->workers[i]);
	return r;
}

static int server_open_drains(struct server *server)
{
	int nodes[PLACEMENT_NODES_MAX];
	unsigned int n = placement_init(nodes);

	for (unsigned int i = 0; i < n; i++) {
		struct drain_options options = {
			.node = nodes[i],
			.notify_fd = server->drained.source.fd,
			.force_threads = server->config->io_threads,
			.bind = placement_bind,
		};
		int r = drain_start(&options, &server->drains[i]);

		if (r < 0)
			return r;
		server->n_drains++;
	}
	log_info("Disk work goes through %s", drain_io_name(server->drains[0]));
	return 0;
}

/* A file system that is not mounted yet must not cost the rings that live: with a new catalogue
 * they would be nobody's. */
static int server_want_catalogue(const struct server *server, char *detail, size_t detail_len)
{
	char path[PATH_MAX];

	if (!notify_has_rings(server->notify))
		return 0;
	snprintf(path, sizeof(path), "%s/" CATALOGUE_NAME, server->config->data);
	if (access(path, F_OK) == 0)
		return 0;
	snprintf(detail, detail_len,
		 "%s: %s, though rings of its streams are kept: is it mounted? To begin anew, end "
		 "who keeps them first",
		 path, strerror(errno));
	return -ENOENT;
}

static int server_open_catalogue(struct server *server, char *detail, size_t detail_len)
{
	char streams[PATH_MAX];
	int r;

	r = server_want_catalogue(server, detail, detail_len);
	snprintf(streams, sizeof(streams), "%s/streams", server->config->data);
	if (r == 0)
		r = directory_make(streams, 0700, detail, detail_len);
	if (r == 0)
		r = catalogue_open(server->config->data, &server->catalogue, detail, detail_len);
	if (r < 0)
		return r;
	r = retention_open_clock(server);
	if (r == 0)
		r = catalogue_get_number(server->catalogue, CATALOGUE_PUBLISHER,
					 &server->publisher_end);
	server->publisher_next = server->publisher_first = server->publisher_end;
	server->publisher_end += SERVER_PUBLISHERS;
	if (r == 0)
		r = catalogue_set_number(server->catalogue, CATALOGUE_PUBLISHER,
					 server->publisher_end);
	if (r < 0)
		server_say(detail, detail_len, "The catalogue cannot be used", r);
	return r;
}

static int server_open_all(struct server *server, char *detail, size_t detail_len)
{
	uint8_t instance[16];
	ssize_t n = getrandom(instance, sizeof(instance), 0);
	int r;

	if (n != sizeof(instance)) {
		r = n < 0 ? -errno : -EIO;
		server_say(detail, detail_len, "The kernel gives no random numbers", r);
		return r;
	}
	names_print_uuid_hex(instance, server->instance);
	r = server_open_loop(server);
	if (r < 0) {
		server_say(detail, detail_len, "The control loop cannot be made", r);
		return r;
	}
	r = server_open_catalogue(server, detail, detail_len);
	if (r < 0)
		return r;
	r = server_open_drains(server);
	if (r < 0) {
		server_say(detail, detail_len, "The drain threads cannot be started", r);
		return r;
	}
	r = restore_begin(server);
	if (r < 0)
		server_say(detail, detail_len, "The streams cannot be read from the catalogue", r);
	return r;
}

int server_open(struct config *config, struct notify *notify, struct server **ret_server,
		char *detail, size_t detail_len)
{
	struct server *server = calloc(1, sizeof(*server));
	int r;

	detail[0] = '\0';
	if (!server)
		return -ENOMEM;
	server->config = config;
	server->notify = notify;
	server->epoll_fd = server->deaths_fd = server->spare_fd = -1;
	server->listener.source.fd = server->signals.source.fd = -1;
	server->drained.source.fd = server->worked.source.fd = -1;
	server->started_ns = clock_now_ns(CLOCK_BOOTTIME);
	server->features.membarrier = membarrier_register();
	if (!server->features.membarrier)
		log_notice("This kernel has no membarrier: who waits for records looks for them "
			   "every millisecond");
	server->features.peer_pidfd = process_has_peer_pidfd();
	if (!server->features.peer_pidfd)
		log_info("This kernel has no SO_PEERPIDFD: processes are known by pid and start "
			 "time");
	registry_init(&server->registry);
	CDS_INIT_LIST_HEAD(&server->users);
	CDS_INIT_LIST_HEAD(&server->sessions);
	CDS_INIT_LIST_HEAD(&server->processes);
	CDS_INIT_LIST_HEAD(&server->slots);
	CDS_INIT_LIST_HEAD(&server->stopping_streams);
	r = server_open_all(server, detail, detail_len);
	if (r < 0) {
		server_free(server);
		return r;
	}
	*ret_server = server;
	return 0;
}

static int server_open_signals(struct server *server)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	return server_open_own(server, &server->signals,
			       signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK),
			       server_signals_ready);
}

int server_new(struct config *config, struct notify *notify, struct server **ret_server,
	       char *detail, size_t detail_len)
{
	struct server *server;
	int r = server_open(config, notify, &server, detail, detail_len);

	if (r < 0)
		return r;
	r = server_open_signals(server);
	if (r < 0)
		server_say(detail, detail_len, "Signals cannot be received", r);
	else
		r = listener_open(server, detail, detail_len);
	if (r < 0) {
		server_free(server);
		return r;
	}
	if (restore_is_over(server))
		restore_let_go(server);
	if (notify_watchdog_ns(notify))
		server->watchdog_ns = clock_now_ns(CLOCK_MONOTONIC);
	*ret_server = server;
	return 0;
}

/* ---- the end ---- */

/*
 * Shards that are served cannot be freed: when something failed half-way they are stopped first.
 * The manager hears of no stop: it would let go of the rings, and the next daemon is to have them.
 */
static int server_quiesce(struct server *server)
{
	if (server->worked.source.fd < 0 || !server->workers[SERVER_N_WORKERS - 1])
		return 0;
	if (!load_relaxed(&server->stopping))
		server_begin_end(server, notify_may_keep(server->notify));
	return server_run(server);
}

static void server_close_own(struct server_own_source *own)
{
	own->source.fd = close_fd(own->source.fd);
}

struct server *server_free(struct server *server)
{
	if (!server || server_quiesce(server) < 0)
		return NULL;
	session_end_all(server);
	for (int i = 0; i < SERVER_N_WORKERS; i++)
		server->workers[i] = worker_free(server->workers[i]);
	process_free_all(server);
	stream_free_all(server);
	for (unsigned int i = 0; i < server->n_drains; i++)
		drain_stop(server->drains[i]);
	if (server->catalogue)
		(void)retention_save_clock(server);
	catalogue_close(server->catalogue);
	server_close_own(&server->listener);
	server_close_own(&server->signals);
	server_close_own(&server->drained);
	server_close_own(&server->worked);
	close_fd(server->spare_fd);
	close_fd(server->epoll_fd);
	close_fd(server->deaths_fd);
	free(server);
	return NULL;
}
