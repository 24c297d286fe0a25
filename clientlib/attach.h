/* SPDX-License-Identifier: Apache-2.0 */
/* Asks the daemon for a shard's ring and maps it. */
#ifndef CLIENTLIB_ATTACH_H
#define CLIENTLIB_ATTACH_H

#include "clientlib/control.h"
#include "shm/ring.h"

enum {
	ATTACH_SHARDS_MAX = 128
};

struct attach_request {
	const char *stream;
	uint32_t shard;
	uint32_t at_least;         /* generation of the ring; 0 = whichever is newest */
	enum region_access access; /* REGION_PUBLISHER or REGION_SUBSCRIBER */
	bool reattach;             /* as a publisher that has a slot already */
	bool once;                 /* do not wait for a daemon that is away: -ENOTCONN */
	uint32_t slot;
	uint32_t generation; /* in which it has it */
	/* The stream must be this one and not a later one of the same name; NULL = any. */
	const uint8_t *uuid;
};

/* What came back; the ring and the kick fd are the caller's. */
struct attach_reply {
	struct ring *ring; /* NULL: the one that the caller has is the newest (reattach) */
	int kick_fd;
	uint32_t slot;
	uint32_t publisher;
	uint32_t n_shards;
};

/*
 * -EAGAIN when the ring wanted is not there yet, -ENOENT, -EACCES, -EBADMSG, -EMFILE, -ENOMEM,
 * -ENOTCONN, -ETIMEDOUT.
 */
int attach(struct control *control, const struct attach_request *request, struct deadline *deadline,
	   struct attach_reply *ret_reply, struct detail *detail);

/* A publisher gives its slot back; where that fails it stays until the process ends. -ENOTCONN and
 * -ETIMEDOUT: the daemon is away. */
int attach_end(struct control *control, const char *stream, uint32_t shard, uint32_t slot);

#endif
