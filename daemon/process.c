/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/process.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/socket.h>

#include "daemon/log.h"
#include "daemon/registry.h"
#include "daemon/shard.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

enum {
	PROCESS_FIELD_START = 22,
	PROCESS_FIELD_CPU = 39
};

/* The `number`-th field of a stat line, counted as proc(5) does; 0 when there is none. */
static uint64_t process_stat_field(const char *line, int number)
{
	/* The second field is the program's name in brackets, and may hold anything. */
	const char *p = strrchr(line, ')');
	int field = 2;

	while (p && field < number) {
		p = strchr(p, ' ');
		if (p)
			p++;
		field++;
	}
	return p ? strtoull(p, NULL, 10) : 0;
}

int process_read_stat(pid_t pid, uint64_t *ret_start_time, int *ret_cpu)
{
	char path[32], line[1024];
	ssize_t n;
	int fd, r;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	do
		n = read(fd, line, sizeof(line) - 1);
	while (n < 0 && errno == EINTR);
	r = n < 0 ? -errno : n == 0 ? -ESRCH : 0;
	close(fd);
	if (r < 0)
		return r;
	line[n] = '\0';
	if (ret_start_time)
		*ret_start_time = process_stat_field(line, PROCESS_FIELD_START);
	if (ret_cpu)
		*ret_cpu = (int)process_stat_field(line, PROCESS_FIELD_CPU);
	return 0;
}

/* Whether it has ended: 0, 1, or why that cannot be seen, which says nothing about it. */
static int process_pidfd_has_ended(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	int r;

	do
		r = poll(&p, 1, 0);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

/* A pidfd of exactly the process that connected, or an error where the kernel is too old. */
static int process_peer_pidfd(int socket)
{
	int pidfd = -1;
	socklen_t len = sizeof(pidfd);

	if (socket < 0)
		return -ENOPROTOOPT;
	return getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len) < 0 ? -errno : pidfd;
}

bool process_has_peer_pidfd(void)
{
	int pair[2], pidfd;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return false;
	pidfd = process_peer_pidfd(pair[0]);
	close_fd(pidfd);
	close(pair[0]);
	close(pair[1]);
	return pidfd >= 0;
}

static int process_open(int socket, pid_t pid, uint64_t start_time, int *ret_pidfd)
{
	cleanup_with(close_fdp) int pidfd = process_peer_pidfd(socket);
	uint64_t now_started;
	int r, ended;

	if (pidfd == -ENOPROTOOPT) {
		pidfd = pidfd_open(pid, 0);
		if (pidfd < 0)
			return -errno;
	} else if (pidfd < 0) {
		return pidfd == -EINVAL ? -ESRCH : pidfd;
	}
	/* A pid may have been given to somebody else between; the start time tells. Read while the
	 * pidfd says that its process lives, it belongs to that very process. */
	r = process_read_stat(pid, &now_started, NULL);
	ended = process_pidfd_has_ended(pidfd);
	if (ended)
		return ended < 0 ? ended : -ESRCH;
	/* Where /proc hides it the pidfd is all there is; that it cannot be read now is another
	 * matter. */
	if (r < 0 && r != -ESRCH && r != -EACCES && r != -EPERM)
		return r;
	if (r == 0 && start_time != 0 && now_started != start_time)
		return -ESRCH;
	*ret_pidfd = take_fd(pidfd);
	return 0;
}

/* ---- slots ---- */

static void process_drop_slot(struct process_slot *slot)
{
	cds_list_del(&slot->node);
	cds_list_del(&slot->table_node);
	free(slot);
}

void process_release(struct process_slot *slot)
{
	struct process *process = slot->process;

	shard_slot_gone(slot->stream->shards[slot->shard].shard, slot->slot);
	process_drop_slot(slot);
	process->n_users++;
	process_put(process);
}

int process_hold(struct process *process, const struct process_slot *slot)
{
	struct process_slot *copy = malloc(sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	*copy = *slot;
	copy->process = process;
	cds_list_add_tail(&copy->node, &process->slots);
	cds_list_add_tail(&copy->table_node, &process->server->slots);
	return 0;
}

struct process_slot *process_find_slot(struct process *process,
				       const struct registry_stream *stream, uint32_t shard,
				       uint32_t slot)
{
	struct process_slot *s;

	cds_list_for_each_entry(s, &process->slots, node)
		if (s->stream == stream && s->shard == shard && s->slot == slot)
			return s;
	return NULL;
}

void process_forget_stream(struct server *server, const struct registry_stream *stream)
{
	struct process *process, *next_process;
	struct process_slot *slot, *next;

	cds_list_for_each_entry_safe(slot, next, &server->slots, table_node)
		if (slot->stream == stream)
			process_drop_slot(slot);
	cds_list_for_each_entry_safe(process, next_process, &server->processes, node) {
		process->n_users++;
		process_put(process);
	}
}

/* ---- processes ---- */

static void process_ended(struct server_source *source, uint32_t events)
{
	struct process *process = (struct process *)source;
	struct process_slot *slot, *next;
	unsigned int n = 0;

	(void)events;
	process->dead = true;
	server_unwatch_death(process->server, &process->source);
	process->source.fd = close_fd(process->source.fd);
	process->n_users++;
	cds_list_for_each_entry_safe(slot, next, &process->slots, node) {
		shard_slot_gone(slot->stream->shards[slot->shard].shard, slot->slot);
		process_drop_slot(slot);
		n++;
	}
	if (n > 0)
		log_limited(LOG_LEVEL_INFO,
			    "Process %d ended; its publisher slots (%u) are given up", process->pid,
			    n);
	process_put(process);
}

static struct process *process_find(struct server *server, pid_t pid, uint64_t start_time)
{
	struct process *process;

	cds_list_for_each_entry(process, &server->processes, node)
		if (process->pid == pid && process->start_time == start_time && !process->dead)
			return process;
	return NULL;
}

int process_get(struct server *server, int socket, pid_t pid, uint64_t start_time,
		struct process **ret_process)
{
	struct process *process = process_find(server, pid, start_time);
	cleanup_with(close_fdp) int pidfd = -1;
	int r;

	/* If that cannot be seen now, whoever watches it will. */
	if (process && process_pidfd_has_ended(process->source.fd) <= 0) {
		process->n_users++;
		*ret_process = process;
		return 0;
	}
	r = process_open(socket, pid, start_time, &pidfd);
	if (r < 0)
		return r;
	process = calloc(1, sizeof(*process));
	if (!process)
		return -ENOMEM;
	process->source = (struct server_source){ .fd = pidfd, .ready = process_ended };
	r = server_watch_death(server, &process->source);
	if (r < 0) {
		free(process);
		return r;
	}
	take_fd(pidfd);
	process->server = server;
	process->pid = pid;
	process->start_time = start_time;
	process->n_users = 1;
	CDS_INIT_LIST_HEAD(&process->slots);
	cds_list_add(&process->node, &server->processes);
	*ret_process = process;
	return 0;
}

static void process_free(struct process *process)
{
	if (process->source.fd >= 0)
		server_unwatch_death(process->server, &process->source);
	close_fd(process->source.fd);
	cds_list_del(&process->node);
	free(process);
}

struct process *process_put(struct process *process)
{
	if (!process)
		return NULL;
	process->n_users--;
	if (process->n_users == 0 && cds_list_empty(&process->slots))
		process_free(process);
	return NULL;
}

void process_free_all(struct server *server)
{
	struct process *process, *next_process;
	struct process_slot *slot, *next;

	cds_list_for_each_entry_safe(slot, next, &server->slots, table_node)
		process_drop_slot(slot);
	cds_list_for_each_entry_safe(process, next_process, &server->processes, node)
		process_free(process);
}
