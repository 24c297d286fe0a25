/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole daemon inside of a test program: real shards and catalogue in a temporary directory,
 * clients on socket pairs, the loop turned by hand. Everything ends the case when it fails.
 */
#ifndef TESTS_DAEMON_BED_H
#define TESTS_DAEMON_BED_H

#include <jansson.h>

#include "daemon/config.h"
#include "daemon/notify.h"
#include "daemon/server.h"
#include "daemon/session.h"

enum {
	DAEMON_BED_FDS = 16
};

struct daemon_bed {
	char dir[64];
	struct config config;
	struct notify *notify;
	struct server *server;
};

/* A client's end of a connection, and what came with the last reply. */
struct daemon_bed_client {
	struct daemon_bed *bed;
	struct session *session; /* the daemon's end; may be gone */
	int fd;
	json_t *reply;
	int fds[DAEMON_BED_FDS];
	size_t n_fds;
};

/* Makes the directory at the first call, uses it again after daemon_bed_stop(). */
void daemon_bed_start(struct daemon_bed *bed);
void daemon_bed_stop(struct daemon_bed *bed);
/* Stops and removes the directory. */
void daemon_bed_end(struct daemon_bed *bed);
/* For fuzz targets: a daemon on /dev/shm for the rest of the process, which ends by exit(). */
struct server *daemon_bed_fuzzed(uint32_t max_streams, uint32_t max_shards);
/* How many fds this process has. */
int daemon_bed_count_fds(void);
/* Turns the loop until cond(arg) is true; ends the case after ten seconds. */
void daemon_bed_until(struct daemon_bed *bed, bool (*cond)(void *arg), void *arg);
/* Turns it for as long as something is to be done. */
void daemon_bed_settle(struct daemon_bed *bed);

/* Connects and says hello. */
void daemon_bed_connect(struct daemon_bed *bed, struct daemon_bed_client *client);
void daemon_bed_disconnect(struct daemon_bed_client *client);
/* Sends bytes and waits for the reply, or the end: then false, and client->reply is NULL. */
bool daemon_bed_send(struct daemon_bed_client *client, const void *bytes, size_t len);
/* The reply to a request that was sent otherwise; false at the end of the connection. */
bool daemon_bed_receive(struct daemon_bed_client *client);
/* One request as JSON text; returns 0 or the negative errno of the reply. */
int daemon_bed_ask(struct daemon_bed_client *client, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* The sentence of the last reply, "" without one. */
const char *daemon_bed_sentence(const struct daemon_bed_client *client);
/* A field of the last reply. */
int64_t daemon_bed_number(const struct daemon_bed_client *client, const char *key);
/* The fd of that name in the last reply, which is the caller's from then on; -1 = none. */
int daemon_bed_take_fd(struct daemon_bed_client *client, const char *name);

#endif
