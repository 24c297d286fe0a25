/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets of the control protocol (PROTOCOL.md): one JSON object each, fds beside it. Knows sockets
 * and JSON, nothing of what the messages mean.
 */
#ifndef DAEMON_PROTOCOL_H
#define DAEMON_PROTOCOL_H

#include <jansson.h>

#include "shm/base.h"

enum {
	PROTOCOL_VERSION = 1,
	PROTOCOL_REQUEST_MAX = 8 << 10, /* bytes of JSON; to parse them takes the loop's time */
	PROTOCOL_PACKET_MAX = 64 << 10, /* of a reply; a longer one goes into a memfd */
	PROTOCOL_FDS_MAX = 8,           /* beside one reply */
};

/* What protocol_receive() found; expected outcomes. */
enum {
	PROTOCOL_E_END = 1,   /* end of the connection, or a packet of 0 bytes */
	PROTOCOL_E_AGAIN = 2, /* nothing there */
};

/* What a reply carries. The fds are borrowed. */
struct protocol_fds {
	int fd[PROTOCOL_FDS_MAX];
	size_t n;
};

/*
 * Takes one packet into buf[PROTOCOL_REQUEST_MAX]. 0, PROTOCOL_E_*, -EMSGSIZE (longer than the
 * limit; the packet is gone), -EBADMSG (it carries fds, and stays where it is), or what the socket
 * gave: then, and after -EBADMSG, the connection is no good any more.
 */
int protocol_receive(int socket, void *buf, size_t *ret_len);

/* An object as it is sent. One that is longer than a packet lies in a sealed memfd. */
struct protocol_packet {
	char *text;
	size_t len;
	int body; /* -1 = the text is all of it */
};

/* Any thread. */
int protocol_encode(const json_t *object, struct protocol_packet *ret_packet);
/* A packet of zeros is one as well. */
void protocol_packet_deinit(struct protocol_packet *packet);

/*
 * Sends it. -EAGAIN when the peer does not read, -EPIPE and others when it is gone: then the
 * connection is no good any more.
 */
int protocol_send_packet(int socket, const struct protocol_packet *packet,
			 const struct protocol_fds *fds);
/* Both at once. */
int protocol_send(int socket, const json_t *object, const struct protocol_fds *fds);

/* True while an earlier packet lies unread at the peer. */
bool protocol_has_unread(int socket);

/*
 * Refuses all further packets and drops those that are there. The peer can then read what it was
 * sent last; without this it would be told "connection reset" first.
 */
void protocol_shut(int socket);

/* Closes a connection, and never waits for what fds may lie in it. */
void protocol_close(int socket);

/* Where the kernel can do it, fds are refused at the sender. True if so. */
bool protocol_refuse_fds(int socket);

/* An error reply; the caller owns it. NULL when there is no memory. */
json_t *protocol_error(int error, const char *sentence);

/* Parses a packet: 0 and an object that the caller owns, or -EBADMSG with a sentence. */
int protocol_parse(const void *buf, size_t len, json_t **ret_object, char *detail,
		   size_t detail_len);

static inline void protocol_decrefp(json_t **object)
{
	json_decref(*object);
	*object = NULL;
}

#endif
