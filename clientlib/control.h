/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection to the daemon (daemon/PROTOCOL.md): one request, one reply, fds beside it. It
 * comes back by itself: a request that finds the daemon away tries again until its deadline. Any
 * thread; one request at a time. What the daemon answers is checked before it is used.
 */
#ifndef CLIENTLIB_CONTROL_H
#define CLIENTLIB_CONTROL_H

#include <jansson.h>
#include <pthread.h>
#include <sys/un.h>

#include "clientlib/deadline.h"
#include "clientlib/detail.h"
#include "shm/atomic.h"
#include "shm/base.h"

enum {
	CONTROL_VERSION = 1,
	CONTROL_FDS_MAX = 8,
	CONTROL_PACKET_MAX = 8 << 10, /* of a request */
	CONTROL_BODY_MAX = 64 << 20,  /* of a reply */
};

struct control {
	pthread_mutex_t lock; /* of busy; whoever has made that true owns the rest */
	pthread_cond_t released;
	bool busy;
	int fd;                 /* -1 = no connection */
	bool owes_reply;        /* to request next_id, which was given up at its deadline */
	_Atomic uint32_t epoch; /* counts connections; see control_epoch() */
	uint64_t next_id;
	uint64_t timeout_ns; /* of one request by default */
	char *client;
	struct sockaddr_un address;
};

/* Names the fds beside a reply; those not taken with control_take_fd() are closed by deinit. */
struct control_reply {
	json_t *object;
	int fds[CONTROL_FDS_MAX];
	size_t n_fds;
};

#define CONTROL_REPLY_NULL ((struct control_reply){ .object = NULL })

/* Does not connect yet. -ENAMETOOLONG, -ENOMEM. client is copied. */
int control_init(struct control *control, const char *path, const char *client,
		 uint64_t timeout_ns);
void control_deinit(struct control *control);

/* Connects where there is no connection; one try. -ENOENT, -ECONNREFUSED, -EACCES, ... */
int control_connect(struct control *control, struct deadline *deadline, struct detail *detail);

/*
 * Sends a request (borrowed) and waits for its reply, connecting again as often as needed. 0 and
 * the caller's reply; the daemon's own -errno with its sentence; -ENOTCONN or -ETIMEDOUT at the
 * deadline; -EBADMSG for a reply that makes no sense; -EMFILE.
 */
int control_request(struct control *control, json_t *request, struct deadline *deadline,
		    struct control_reply *ret_reply, struct detail *detail);

/* The same without a connection being waited for: -ENOTCONN at once when the daemon is away. */
int control_request_once(struct control *control, json_t *request, struct deadline *deadline,
			 struct control_reply *ret_reply, struct detail *detail);

/*
 * Counts connections: a change says that the daemon has to be told again what this process holds.
 * Looks whether the connection is dead, and then tries once to make a new one. Never waits for
 * long; costs a system call.
 */
uint32_t control_epoch(struct control *control);

void control_reply_deinit(struct control_reply *reply);
/* The fd that the reply calls `name`; the caller's from then on. -1 when there is none. */
int control_take_fd(struct control_reply *reply, const char *name);

/* Fields of an object that came from the daemon; false leaves *ret alone. */
bool control_get_u64(const json_t *object, const char *key, uint64_t *ret);
bool control_get_u32(const json_t *object, const char *key, uint32_t *ret);
bool control_get_bool(const json_t *object, const char *key);
const char *control_get_string(const json_t *object, const char *key);

static inline void control_decref(json_t **object)
{
	json_decref(*object);
	*object = NULL;
}

#endif
