/* SPDX-License-Identifier: Apache-2.0 */
/* Bringing the streams back when the daemon starts. */
#ifndef DAEMON_RESTORE_H
#define DAEMON_RESTORE_H

#include "daemon/server.h"

/*
 * Brings back what the catalogue lists, with the rings that survived, and watches the processes
 * that hold publisher slots; finishes what a daemon that died left half-made. Before the loop. A
 * shard that cannot be restored is kept as such; only a catalogue that cannot be read is an error.
 */
int restore_streams(struct server *server);

#endif
