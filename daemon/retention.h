/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a stream keeps: closed segments are deleted, oldest first, when they are older than the
 * stream's time or when the stream holds more bytes than it may.
 *
 * Age is counted by a clock of the bus' own, which runs only while a daemon does: its value in the
 * catalogue plus the time since this daemon started (CLOCK_BOOTTIME). A wall clock that jumps
 * deletes nothing. A segment's age begins when it is first seen closed, and that is kept in the
 * catalogue; a crash makes segments younger, never older.
 */
#ifndef DAEMON_RETENTION_H
#define DAEMON_RETENTION_H

#include "daemon/server.h"

struct registry_stream;
struct retention;

/* Starts the clock; after the catalogue was opened, before the loop. */
int retention_open_clock(struct server *server);
/* Stores the clock; the catalogue must be the caller's. */
int retention_save_clock(struct server *server);
/* Now, by the bus' clock. */
uint64_t retention_clock_ns(const struct server *server);

/* Looks after every stream that has retention; what is too much is deleted by a worker. */
void retention_kick(struct server *server);
/* After those alone of which a drain thread has said that there is something to be looked at. */
void retention_take_news(struct server *server);
/* After those for which it is time; says in server->tick_ns when it will be for the next. */
void retention_tick(struct server *server);
/* True while any stream has retention. */
bool retention_is_wanted(const struct server *server);
struct retention *retention_free(struct retention *retention);

#endif
