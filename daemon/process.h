/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The processes that hold publisher slots. Each has a pidfd, so that the kernel says at once when
 * it is dead; then its slots are given up. A process outlives its connections here: a slot belongs
 * to the process. Control thread only.
 */
#ifndef DAEMON_PROCESS_H
#define DAEMON_PROCESS_H

#include <sys/types.h>
#include <urcu/list.h>

#include "daemon/names.h"
#include "daemon/server.h"

struct registry_stream;

/* A publisher slot of one shard. */
struct process_slot {
	struct cds_list_head node;       /* of its process */
	struct cds_list_head table_node; /* of all slots */
	struct process *process;
	struct registry_stream *stream;
	uint32_t shard;
	uint32_t slot;
	uint32_t publisher;
	char client[NAMES_CLIENT_LEN]; /* "" after a restart, until it attaches again */
};

struct process {
	struct server_source source; /* the pidfd */
	struct cds_list_head node;
	struct cds_list_head slots;
	struct server *server;
	pid_t pid;
	uint64_t start_time; /* field 22 of /proc/PID/stat; 0 = cannot be read */
	uint32_t n_users;    /* sessions */
	bool dead;
};

/*
 * Reads when a process was started and the processor it ran on last (NULL ok). -ESRCH, or -EACCES
 * where /proc hides it.
 */
int process_read_stat(pid_t pid, uint64_t *ret_start_time, int *ret_cpu);

/* True where the kernel gives a pidfd of the process at the other end (6.5 and later). */
bool process_has_peer_pidfd(void);

/*
 * The living process of this pid and start time, for one more user: process_put(). socket: a
 * connection of that process, -1 = there is none. -ESRCH when it is dead or another one has its
 * pid.
 */
int process_get(struct server *server, int socket, pid_t pid, uint64_t start_time,
		struct process **ret_process);
/* Forgets it when it has neither users nor slots. Returns NULL, NULL is accepted. */
struct process *process_put(struct process *process);
/* All of them, at the end. Slots stay taken. */
void process_free_all(struct server *server);

/* The process has the slot from now on. -ENOMEM. */
int process_hold(struct process *process, const struct process_slot *slot);
/* NULL when the process does not hold it. */
struct process_slot *process_find_slot(struct process *process,
				       const struct registry_stream *stream, uint32_t shard,
				       uint32_t slot);
/* Gives the slot up: what was left open becomes tombstones. */
void process_release(struct process_slot *slot);
/* The stream is going: its slots mean nothing any more. */
void process_forget_stream(struct server *server, const struct registry_stream *stream);

#endif
