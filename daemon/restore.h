/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bringing the streams back when the daemon starts, while it serves already: each shard's ring
 * first, then its segments, several shards at once. A request that needs what is not back yet
 * waits, and what it needs comes next.
 */
#ifndef DAEMON_RESTORE_H
#define DAEMON_RESTORE_H

#include <jansson.h>

#include "daemon/server.h"

struct dispatch_reply;
struct session;

/* What a request needs of the streams. */
enum restore_need {
	RESTORE_NOTHING,
	RESTORE_RING,    /* that of the shard it names, if it survived: a new one cannot say what
			    the segments hold before they are back */
	RESTORE_SHARD,   /* its segments as well */
	RESTORE_STREAM,  /* all shards of the stream it names */
	RESTORE_STREAMS, /* those of all streams, if it names none */
};

/*
 * Reads from the catalogue which streams there are, and begins to bring them back, with the rings
 * that survived; finishes what a daemon that died left half-made. Before the loop, when nobody
 * asks yet. A shard that cannot be restored is kept as such; only a catalogue that cannot be read
 * is an error.
 */
int restore_begin(struct server *server);
/* Takes in what the threads have done; at the end lets go what nobody has taken. */
void restore_reap(struct server *server);
/* 0, or DISPATCH_E_LATER when the request has to wait; it is dispatched again when it need not any
 * more. Who asks for the one shard that has failed so far is told so at once: -EIO. */
int restore_delays(struct session *session, const json_t *request, enum restore_need need,
		   struct dispatch_reply *reply);
/* The fds that survived have found their place, if all is back; who is left belongs to nobody. */
void restore_let_go(struct server *server);

static inline bool restore_is_over(const struct server *server)
{
	return server->restore == NULL;
}

#endif
