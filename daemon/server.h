/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon as a whole, and its control thread: one loop over the listening socket, connections,
 * deaths of processes, and what drain threads and workers have done.
 */
#ifndef DAEMON_SERVER_H
#define DAEMON_SERVER_H

#include <sys/types.h>
#include <urcu/list.h>

#include "daemon/catalogue.h"
#include "daemon/config.h"
#include "daemon/notify.h"
#include "daemon/placement.h"
#include "daemon/registry.h"
#include "daemon/worker.h"

struct drain;
struct restore;
struct server;

/*
 * Something that the loop waits for; embedded first in its owner. ready() may free the owner, but
 * no other one: the loop handles one event at a time.
 */
struct server_source {
	int fd;
	void (*ready)(struct server_source *source, uint32_t events);
};

/* Each kind of work has its own thread, so that the slow do not hold up the short. */
enum server_worker {
	SERVER_WORKER_CATALOGUE, /* the catalogue belongs to it */
	SERVER_WORKER_BUILD,     /* rings and segments made and deleted */
	SERVER_WORKER_LOOK,      /* lists and statistics */
	SERVER_WORKER_RETENTION,
	SERVER_N_WORKERS,
};

/* A source that belongs to the server itself. */
struct server_own_source {
	struct server_source source;
	struct server *server;
};

/* What the kernel lets us do, found at the start. */
struct server_features {
	bool peer_pidfd;
	bool refuses_fds; /* fds in requests are refused at the sender */
	bool membarrier;
};

struct server {
	struct config *config;
	struct notify *notify;
	struct catalogue *catalogue; /* main before the loop, then its worker */
	struct registry registry;
	struct worker *workers[SERVER_N_WORKERS];
	struct drain *drains[PLACEMENT_NODES_MAX];
	unsigned int n_drains;
	struct server_features features;
	char instance[33];       /* of this run */
	uint64_t started_ns;     /* CLOCK_BOOTTIME */
	uint64_t clock_base_ns;  /* retention's clock when we started */
	uint64_t clock_saved_ns; /* control thread: its last value in the catalogue */

	/* control thread */
	int epoll_fd;
	int deaths_fd; /* an epoll of its own: deaths are handled first */
	struct server_own_source listener;
	struct server_own_source deaths;
	struct server_own_source signals;
	struct server_own_source drained; /* eventfd: drain threads */
	struct server_own_source worked;  /* eventfd: workers */
	int spare_fd;       /* given up for a moment to refuse a client when fds have run out */
	bool listener_ours; /* we made the socket's name, and remove it */
	uint64_t listen_again_ns;   /* 0 = listening */
	struct cds_list_head users; /* that have connections */
	struct cds_list_head sessions;
	unsigned int n_sessions;
	struct cds_list_head processes;
	struct cds_list_head slots;
	struct restore *restore;               /* until all streams are back */
	struct cds_list_head stopping_streams; /* stream.c: removals that wait for their shards */
	uint64_t publisher_next; /* ids from here to publisher_end can be given away */
	uint64_t publisher_end;
	uint64_t publisher_first; /* of this daemon; each one begins with a higher one */
	bool reserving;           /* more of them */
	uint64_t tick_ns;         /* when retention is to be looked after; 0 = at once */
	uint64_t watchdog_ns;     /* when to say that we live, 0 = nobody asks */
	uint64_t stop_by_ns;      /* when to give up stopping */
	bool keep_rings;          /* stopping: the service manager holds them */
	_Atomic bool stopping;    /* workers look at it */
};

/* Opens everything, begins to bring the streams back, listens. A sentence on failure. */
int server_new(struct config *config, struct notify *notify, struct server **ret_server,
	       char *detail, size_t detail_len);
/* For tests: everything but the listening socket and signals. */
int server_open(struct config *config, struct notify *notify, struct server **ret_server,
		char *detail, size_t detail_len);
/* Until told to stop: 0, or negative errno when not everything could be drained. */
int server_run(struct server *server);
/* One round of the loop, waiting at most timeout_ms. */
int server_step(struct server *server, int timeout_ms);
/* Begins to stop: what is committed is drained first. */
void server_stop(struct server *server);
struct server *server_free(struct server *server);

/* epoll_ctl(), of the loop's own epoll or of one that is a source of it. */
int server_control(int epoll_fd, int op, struct server_source *source, uint32_t events);
/* One event of such an epoll; false when there was none in that time. */
bool server_handle_one(int epoll_fd, int timeout_ms);
int server_watch(struct server *server, struct server_source *source, uint32_t events);
void server_unwatch(struct server *server, struct server_source *source);
int server_watch_death(struct server *server, struct server_source *source);
void server_unwatch_death(struct server *server, struct server_source *source);

void server_submit(struct server *server, enum server_worker worker, struct worker_job *job);
/* -EAGAIN for a moment when ids have run out and the catalogue is behind. */
/* A generation above those of all rings of daemons before this one. */
uint32_t server_first_generation(const struct server *server);
int server_take_publisher(struct server *server, uint32_t *ret_publisher);
/* The drain thread for shards on a memory node. */
struct drain *server_drain_of(struct server *server, int node);

#endif
