/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose connections they are. Each user has an epoll of his own, which is one source of the loop:
 * the kernel gives what is ready in turns, so that one request of each user is handled before the
 * second of any, however many connections he has. Control thread.
 */
#ifndef DAEMON_USER_H
#define DAEMON_USER_H

#include "daemon/server.h"

struct user {
	struct server_source source; /* fd: the epoll of his connections */
	struct cds_list_head node;
	struct server *server;
	uid_t uid;
	unsigned int n_sessions; /* with those that have ended and whose request is under way */
};

/* The user, made if he is new; for as long as one has not been put back for each time got. */
int user_get(struct server *server, uid_t uid, struct user **ret_user);
struct user *user_put(struct user *user);
/* How many connections that user has. */
unsigned int user_n_sessions(const struct server *server, uid_t uid);

#endif
