/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control protocol as a state machine: up to four clients of one daemon whose steps the input
 * chooses, among requests of all kinds that make sense, the same cut off at any byte or changed at
 * one, fds beside them, requests out of order and before the reply to the last one was read, and
 * disconnecting at any moment. Each step is two bytes: what, and with which client and argument.
 *
 * The daemon lives, answers what is in order, and when all have gone nothing of theirs is left.
 */
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/protocol.h"
#include "daemon/server.h"
#include "daemon/session.h"
#include "tests/daemon_bed.h"

enum {
	CLIENTS = 4,
	STEPS_MAX = 96,
	TURNS_MAX = 20000,
	FDS_MAX = 256,
};

struct client {
	int fd;    /* -1 = not connected */
	bool owed; /* a reply */
};

static const char *const requests[] = {
	"{\"op\":\"hello\",\"version\":1,\"client\":\"fuzz\"}",
	"{\"op\":\"hello\",\"version\":2}",
	"{\"op\":\"create\",\"stream\":\"s\",\"options\":{\"ring\":65536,\"segment\":65536}}",
	"{\"op\":\"create\",\"stream\":\"m\",\"options\":{\"ring\":65536,\"memory\":true}}",
	"{\"op\":\"create\",\"stream\":\"../s\"}",
	"{\"op\":\"remove\",\"stream\":\"s\"}",
	"{\"op\":\"remove\",\"stream\":\"m\"}",
	"{\"op\":\"list\"}",
	"{\"op\":\"describe\",\"stream\":\"s\"}",
	"{\"op\":\"stat\"}",
	"{\"op\":\"stat\",\"stream\":\"s\"}",
	"{\"op\":\"attach\",\"stream\":\"s\",\"shard\":0,\"role\":\"publish\"}",
	"{\"op\":\"attach\",\"stream\":\"s\",\"shard\":0,\"role\":\"subscribe\"}",
	"{\"op\":\"attach\",\"stream\":\"m\",\"shard\":0,\"role\":\"monitor\"}",
	"{\"op\":\"attach\",\"stream\":\"s\",\"shard\":0,\"role\":\"publish\",\"generation\":2}",
	"{\"op\":\"attach\",\"stream\":\"s\",\"shard\":0,\"role\":\"publish\","
	"\"reattach\":{\"slot\":0,\"generation\":1}}",
	"{\"op\":\"attach\",\"stream\":\"s\",\"shard\":0,\"role\":\"publish\",\"generation\":2,"
	"\"reattach\":{\"slot\":255,\"generation\":1}}",
	"{\"op\":\"attach\",\"stream\":\"s\",\"shard\":4294967295,\"role\":\"publish\"}",
	"{\"op\":\"detach\",\"stream\":\"s\",\"shard\":0,\"slot\":0}",
	"{\"op\":\"detach\",\"stream\":\"s\",\"shard\":0,\"slot\":255}",
	"{\"op\":\"segments\",\"stream\":\"s\",\"shard\":0,\"position\":0}",
	"{\"op\":\"segments\",\"stream\":\"s\",\"shard\":0,\"position\":4611686018427387904}",
	"{\"op\":\"sync\",\"stream\":\"s\",\"shard\":0}",
	"{\"op\":\"set\",\"stream\":\"s\",\"key\":\"ring\",\"value\":\"64K\"}",
	"{\"op\":\"set\",\"stream\":\"s\",\"key\":\"retain-size\",\"value\":\"64K\"}",
	"{\"op\":\"set\",\"stream\":\"s\",\"key\":\"mode\",\"value\":\"0\"}",
	"{\"op\":\"checkpoint\",\"stream\":\"s\",\"name\":\"c\",\"positions\":[[0,1]]}",
	"{\"op\":\"checkpoint-get\",\"stream\":\"s\",\"name\":\"c\"}",
	"{\"op\":\"checkpoint-remove\",\"stream\":\"s\",\"name\":\"c\"}",
	"{\"op\":\"nothing\"}",
	"[]",
	"",
};

static struct server *server;
static struct client clients[CLIENTS];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_len);

static void fail(const char *why)
{
	fprintf(stderr, "%s\n", why);
	abort();
}

static void fuzz_begin(void)
{
	server = daemon_bed_fuzzed(4, 8);
	for (int i = 0; i < CLIENTS; i++)
		clients[i].fd = -1;
}

static void leave(struct client *client)
{
	client->fd = close_fd(client->fd);
	client->owed = false;
}

static void join(struct client *client)
{
	int pair[2];

	leave(client);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 ||
	    session_new(server, pair[1], NULL) < 0)
		abort();
	client->fd = pair[0];
}

/* Takes what has come; at most FDS_MAX fds are open however long it goes on. */
static bool take_reply(struct client *client)
{
	static char text[PROTOCOL_PACKET_MAX];
	char control[CMSG_SPACE(PROTOCOL_FDS_MAX * sizeof(int))];
	struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(client->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	json_t *reply;

	if (n <= 0) {
		leave(client);
		return false;
	}
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (fd > FDS_MAX)
				fail("fds are left open");
			close(fd);
		}
	}
	reply = json_loadb(text, (size_t)n, 0, NULL);
	if (!json_is_boolean(json_object_get(reply, "ok")))
		fail("a reply without ok");
	json_decref(reply);
	client->owed = false;
	return true;
}

static void wait_reply(struct client *client)
{
	for (int i = 0; i < TURNS_MAX; i++) {
		struct pollfd p = { .fd = client->fd, .events = POLLIN };

		if (poll(&p, 1, 0) == 1) {
			take_reply(client);
			return;
		}
		server_step(server, 1);
	}
	fail("a request that is never answered");
}

static void send_bytes(struct client *client, const char *bytes, size_t len, int n_fds)
{
	char control[CMSG_SPACE(8 * sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n_fds > 0) {
		struct cmsghdr *c;

		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE((size_t)n_fds * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN((size_t)n_fds * sizeof(int));
		for (int i = 0; i < n_fds; i++)
			memcpy(CMSG_DATA(c) + (size_t)i * sizeof(int), &client->fd, sizeof(int));
	}
	if (sendmsg(client->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0 && len > 0)
		client->owed = true;
}

/* What a step does to the request before it is sent. */
static void request(struct client *client, uint8_t which, uint8_t how, uint8_t place)
{
	char text[256];
	size_t len;

	snprintf(text, sizeof(text), "%s", requests[which % ARRAY_LEN(requests)]);
	len = strlen(text);
	switch (how % 4) {
	case 1:
		len = len ? place % len : 0;
		break;
	case 2:
		if (len)
			text[place % len] ^= (char)(1 + place / 3);
		break;
	default:
		break;
	}
	send_bytes(client, text, len, how % 4 == 3 ? 1 + place % 8 : 0);
}

static void step(uint8_t what, uint8_t arg, uint8_t place)
{
	struct client *client = &clients[arg % CLIENTS];

	if (client->fd < 0)
		join(client);
	switch (what / ARRAY_LEN(requests) % 8) {
	case 0:
	case 1:
	case 2:
		/* As it should be. */
		request(client, what, what / ARRAY_LEN(requests) == 0 ? 0 : arg / CLIENTS, place);
		if (client->owed)
			wait_reply(client);
		break;
	case 3:
		/* Without waiting for the reply. */
		request(client, what, arg / CLIENTS, place);
		break;
	case 4:
		request(client, what, 0, place);
		leave(client);
		break;
	case 5:
		request(client, what, 0, place);
		shutdown(client->fd, place & 1 ? SHUT_RD : SHUT_WR);
		break;
	case 6:
		server_step(server, 0);
		break;
	default:
		leave(client);
		break;
	}
}

static void all_leave(void)
{
	for (int i = 0; i < CLIENTS; i++)
		leave(&clients[i]);
	for (int i = 0; i < TURNS_MAX && server->n_sessions > 0; i++)
		server_step(server, 1);
	if (server->n_sessions > 0)
		fail("a session that does not end");
	if (!cds_list_empty(&server->slots))
		for (int i = 0; i < TURNS_MAX && !cds_list_empty(&server->sessions); i++)
			server_step(server, 1);
}

/* Whoever comes next is served. */
static void check_alive(void)
{
	join(&clients[0]);
	request(&clients[0], 0, 0, 0);
	wait_reply(&clients[0]);
	if (clients[0].fd < 0)
		fail("a hello that is not answered");
	request(&clients[0], 7, 0, 0);
	wait_reply(&clients[0]);
	if (clients[0].fd < 0)
		fail("a list that is not answered");
	leave(&clients[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_len)
{
	if (!server)
		fuzz_begin();
	for (size_t i = 0; i + 3 <= data_len && i < 3 * STEPS_MAX; i += 3)
		step(data[i], data[i + 1], data[i + 2]);
	all_leave();
	check_alive();
	all_leave();
	return 0;
}
