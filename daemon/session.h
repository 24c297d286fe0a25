/* SPDX-License-Identifier: Apache-2.0 */
/* One connection of a client. Control thread. */
#ifndef DAEMON_SESSION_H
#define DAEMON_SESSION_H

#include <jansson.h>
#include <urcu/list.h>

#include "daemon/names.h"
#include "daemon/permission.h"
#include "daemon/server.h"

struct process;
struct user;

struct session {
	struct server_source source;
	struct cds_list_head node;
	struct server *server;
	struct user *user;
	struct permission_subject subject;
	pid_t pid; /* 0: of a pid namespace that we cannot see */
	uint64_t start_time;
	struct process *process; /* once it has published */
	char client[NAMES_CLIENT_LEN];
	json_t *id;  /* of the request under way */
	bool hello;  /* has said it */
	bool busy;   /* a job works on its request */
	bool closed; /* freed when the job is over */
};

/*
 * Takes a connected socket: checks the limits, begins to listen to it. The socket is closed on
 * failure, after an error reply.
 */
int session_new(struct server *server, int socket, struct session **ret_session);
/* Ends the connection. error != 0: tells the client why first. The session may be gone after it. */
void session_end(struct session *session, int error, const char *sentence);
void session_end_all(struct server *server);

/* Between these two the session is not listened to, and is not freed. */
void session_begin_job(struct session *session);
void session_end_job(struct session *session);

/* The process at the other end, for publishing. -EPERM with a sentence when none can be seen. */
int session_process(struct session *session, struct process **ret_process, char *detail,
		    size_t detail_len);

#endif
