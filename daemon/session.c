/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/session.h"

#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "daemon/dispatch.h"
#include "daemon/log.h"
#include "daemon/process.h"
#include "daemon/protocol.h"
#include "daemon/user.h"

/* Says why, so that the client can read it, and closes. */
static void session_goodbye(int socket, int error, const char *sentence)
{
	json_t *object = protocol_error(error, sentence);

	protocol_shut(socket);
	if (object)
		(void)protocol_send(socket, object, NULL);
	json_decref(object);
	protocol_close(socket);
}

static void session_free(struct session *session)
{
	cds_list_del(&session->node);
	session->server->n_sessions--;
	session->process = process_put(session->process);
	session->user = user_put(session->user);
	permission_subject_deinit(&session->subject);
	json_decref(session->id);
	free(session);
}

void session_end(struct session *session, int error, const char *sentence)
{
	int socket = session->source.fd;

	if (session->closed)
		return;
	session->closed = true;
	(void)server_control(session->user->source.fd, EPOLL_CTL_DEL, &session->source, 0);
	session->source.fd = -1;
	if (error != 0)
		session_goodbye(socket, error, sentence);
	else
		protocol_close(socket);
	if (!session->busy)
		session_free(session);
}

void session_end_all(struct server *server)
{
	struct session *session, *next;

	cds_list_for_each_entry_safe(session, next, &server->sessions, node)
		session_end(session, 0, NULL);
}

/* A connection that could not be heard any more is ended: its client makes another. */
static void session_listen(struct session *session, uint32_t events)
{
	if (server_control(session->user->source.fd, EPOLL_CTL_MOD, &session->source, events) < 0)
		shutdown(session->source.fd, SHUT_RDWR);
}

void session_begin_job(struct session *session)
{
	session->busy = true;
	/* A hang-up is reported all the same; the next request waits. */
	session_listen(session, 0);
}

void session_end_job(struct session *session)
{
	session->busy = false;
	if (session->closed)
		session_free(session);
	else
		session_listen(session, EPOLLIN);
}

static void session_ready(struct server_source *source, uint32_t events)
{
	static char packet[PROTOCOL_REQUEST_MAX];
	struct session *session = (struct session *)source;
	size_t len;
	int r;

	if (session->busy) {
		/* Only a hang-up gets here. */
		session_end(session, 0, NULL);
		return;
	}
	r = protocol_receive(source->fd, packet, &len);
	if (r == 0)
		dispatch_request(session, packet, len);
	else if (r == -EMSGSIZE)
		dispatch_refuse(session);
	else if (r == -EBADMSG)
		session_end(session, r, "a request carries no file descriptors");
	else if (r != PROTOCOL_E_AGAIN || (events & (EPOLLHUP | EPOLLERR)))
		session_end(session, 0, NULL);
}

static int session_check_limits(const struct server *server, const struct session *session,
				char *detail, size_t detail_len)
{
	const struct config *config = server->config;
	uid_t uid = session->subject.uid;

	if (server->n_sessions >= config->max_connections) {
		snprintf(detail, detail_len, "the daemon has %u connections, which is its limit",
			 server->n_sessions);
		return -EAGAIN;
	}
	if (user_n_sessions(server, uid) >= config->max_connections_per_user) {
		snprintf(detail, detail_len, "user %u has %u connections, which is the limit", uid,
			 config->max_connections_per_user);
		return -EAGAIN;
	}
	return 0;
}

static int session_open(struct session *session, char *detail, size_t detail_len)
{
	int r = permission_subject_init(&session->subject, session->source.fd, &session->pid);

	if (r < 0) {
		snprintf(detail, detail_len, "the kernel does not say who you are: %s",
			 strerror(-r));
		return r;
	}
	r = session_check_limits(session->server, session, detail, detail_len);
	if (r < 0) {
		log_limited(LOG_LEVEL_WARNING, "A connection of process %d was refused: %s",
			    session->pid, detail);
		return r;
	}
	/* Taken now, it is that of the process that has just connected, not of a later one that
	 * got the same pid. Where it cannot be read it stays 0. */
	if (session->pid > 0)
		(void)process_read_stat(session->pid, &session->start_time, NULL);
	protocol_refuse_fds(session->source.fd);
	r = user_get(session->server, session->subject.uid, &session->user);
	if (r == 0)
		r = server_control(session->user->source.fd, EPOLL_CTL_ADD, &session->source,
				   EPOLLIN);
	if (r < 0)
		snprintf(detail, detail_len, "the daemon cannot take another connection: %s",
			 strerror(-r));
	return r;
}

int session_new(struct server *server, int socket, struct session **ret_session)
{
	struct session *session = calloc(1, sizeof(*session));
	char detail[256];
	int r;

	if (!session) {
		session_goodbye(socket, -ENOMEM, "the daemon has no memory for another connection");
		return -ENOMEM;
	}
	session->server = server;
	session->source = (struct server_source){ .fd = socket, .ready = session_ready };
	r = session_open(session, detail, sizeof(detail));
	if (r < 0) {
		session_goodbye(socket, r, detail);
		session->user = user_put(session->user);
		permission_subject_deinit(&session->subject);
		free(session);
		return r;
	}
	cds_list_add_tail(&session->node, &server->sessions);
	server->n_sessions++;
	if (ret_session)
		*ret_session = session;
	return 0;
}

int session_process(struct session *session, struct process **ret_process, char *detail,
		    size_t detail_len)
{
	int r;

	if (session->process && session->process->dead)
		session->process = process_put(session->process);
	if (session->pid == 0) {
		snprintf(detail, detail_len,
			 "the daemon cannot see this process (it is of another pid namespace), and "
			 "so could not tell when it dies: it may subscribe, not publish");
		return -EPERM;
	}
	if (!session->process) {
		r = process_get(session->server, session->source.fd, session->pid,
				session->start_time, &session->process);
		if (r < 0) {
			snprintf(detail, detail_len, "process %d, which made the connection, %s",
				 session->pid,
				 r == -ESRCH ? "does not live any more: connect again"
					     : strerror(-r));
			return r;
		}
	}
	*ret_process = session->process;
	return 0;
}
