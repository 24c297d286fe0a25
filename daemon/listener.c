/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/listener.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "daemon/log.h"
#include "daemon/protocol.h"
#include "daemon/session.h"

enum {
	LISTENER_BACKLOG = 1024,
	/* Few at a time: who is connected is not to wait for many that would like to be. */
	LISTENER_ACCEPTS = 4
};

#define LISTENER_PAUSE_NS (100 * NS_PER_MS)
#define LISTENER_NAME "bus.sock"

static int listener_path(const struct server *server, struct sockaddr_un *address, char *detail,
			 size_t detail_len)
{
	int n = snprintf(address->sun_path, sizeof(address->sun_path), "%s/" LISTENER_NAME,
			 server->config->runtime);

	address->sun_family = AF_UNIX;
	if (n > 0 && (size_t)n < sizeof(address->sun_path))
		return 0;
	snprintf(detail, detail_len,
		 "%s/" LISTENER_NAME " is too long for the path of a socket: "
		 "at most %zu bytes",
		 server->config->runtime, sizeof(address->sun_path) - 1);
	return -ENAMETOOLONG;
}

/* The lock of the directory is ours: a socket that is there is a leftover. */
static int listener_make(struct server *server, int *ret_fd, char *detail, size_t detail_len)
{
	struct sockaddr_un address = { 0 };
	cleanup_with(close_fdp) int fd = -1;
	int r = listener_path(server, &address, detail, detail_len);

	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		snprintf(detail, detail_len, "a socket cannot be made: %s", strerror(errno));
		return -errno;
	}
	(void)unlink(address.sun_path);
	r = bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
	/* Anybody may connect; what a client may do is decided for each stream. Not by umask, which
	 * is that of all threads. */
	if (r == 0 && chmod(address.sun_path, 0666) < 0)
		r = -errno;
	if (r == 0 && listen(fd, LISTENER_BACKLOG) < 0)
		r = -errno;
	if (r < 0) {
		snprintf(detail, detail_len, "%s cannot be listened on: %s", address.sun_path,
			 strerror(-r));
		return r;
	}
	*ret_fd = take_fd(fd);
	return 0;
}

/* No fd is left for a client: one that is kept spare takes it in, to tell it so. */
static bool listener_refuse_one(struct server *server)
{
	json_t *object;
	int fd;

	server->spare_fd = close_fd(server->spare_fd);
	fd = accept4(server->listener.source.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0) {
		object = protocol_error(-EMFILE, "the daemon has no file descriptor left for "
						 "another connection");
		protocol_shut(fd);
		if (object)
			(void)protocol_send(fd, object, NULL);
		json_decref(object);
		protocol_close(fd);
	}
	server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return fd >= 0;
}

static void listener_pause(struct server *server, int error)
{
	log_limited(LOG_LEVEL_ERROR, "Connections cannot be accepted for a moment: %s",
		    strerror(error));
	server_unwatch(server, &server->listener.source);
	server->listen_again_ns = clock_now_ns(CLOCK_MONOTONIC) + LISTENER_PAUSE_NS;
}

void listener_check(struct server *server, uint64_t now_ns)
{
	if (server->listen_again_ns == 0 || now_ns < server->listen_again_ns)
		return;
	server->listen_again_ns = 0;
	if (server->listener.source.fd >= 0)
		(void)server_watch(server, &server->listener.source, EPOLLIN);
}

static void listener_ready(struct server_source *source, uint32_t events)
{
	struct server *server = ((struct server_own_source *)source)->server;

	(void)events;
	for (int i = 0; i < LISTENER_ACCEPTS; i++) {
		int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			(void)session_new(server, fd, NULL);
			continue;
		}
		if (errno == EAGAIN)
			return;
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if (errno == EMFILE && server->spare_fd >= 0 && listener_refuse_one(server))
			continue;
		listener_pause(server, errno);
		return;
	}
}

int listener_open(struct server *server, char *detail, size_t detail_len)
{
	int fd = notify_take_listener(server->notify, &server->listener_ours);
	bool made = fd < 0;
	int r;

	if (made) {
		r = listener_make(server, &fd, detail, detail_len);
		if (r < 0)
			return r;
		server->listener_ours = true;
		notify_store_listener(server->notify, fd);
	}
	(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	/* Accepted sockets inherit it: nothing can be slipped in before we look. */
	server->features.refuses_fds = protocol_refuse_fds(fd);
	if (!server->features.refuses_fds)
		log_info("This kernel has no SO_PASSRIGHTS: who sends fds is disconnected");
	server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	server->listener.server = server;
	server->listener.source = (struct server_source){ .fd = fd, .ready = listener_ready };
	r = server_watch(server, &server->listener.source, EPOLLIN);
	if (r < 0)
		snprintf(detail, detail_len, "the socket cannot be listened on: %s", strerror(-r));
	return r;
}

void listener_close(struct server *server, bool keep)
{
	struct sockaddr_un address = { 0 };
	char detail[256];

	if (server->listener.source.fd < 0)
		return;
	if (server->listen_again_ns == 0)
		server_unwatch(server, &server->listener.source);
	server->listen_again_ns = 0;
	if (!keep && server->listener_ours &&
	    listener_path(server, &address, detail, sizeof(detail)) == 0) {
		(void)unlink(address.sun_path);
		notify_forget_listener(server->notify);
	}
	server->listener.source.fd = close_fd(server->listener.source.fd);
}
