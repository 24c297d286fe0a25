/* SPDX-License-Identifier: Apache-2.0 */
/* The listening socket: given by the service manager, or made in the runtime directory. */
#ifndef DAEMON_LISTENER_H
#define DAEMON_LISTENER_H

#include "daemon/server.h"

/* Takes or makes the socket and begins to accept. A sentence on failure. */
int listener_open(struct server *server, char *detail, size_t detail_len);
/* Begins to accept again after fds had run out. */
void listener_check(struct server *server, uint64_t now_ns);
/* keep: clients may go on connecting, to a daemon that comes after this one. */
void listener_close(struct server *server, bool keep);

#endif
