/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets from a client into a whole daemon. The input is a sequence of packets, each two bytes of
 * length (little-endian; the top bit: with an fd) and so many bytes; replies are read as they come.
 * The bus of the first input is used by all, so that later ones find what earlier ones left.
 */
#include <jansson.h>
#include <poll.h>
#include <stdint.h>
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
	FUZZ_PACKETS_MAX = 64,
	FUZZ_STEPS_MAX = 20000
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_len);

static struct server *server;

static void fuzz_fail(const char *why)
{
	fprintf(stderr, "%s\n", why);
	abort();
}

/* Every reply must be an object with ok, and a sentence when it is not. */
static void fuzz_check(const char *text, size_t len)
{
	json_t *reply = json_loadb(text, len, 0, NULL);
	const json_t *ok = json_object_get(reply, "ok");

	if (!reply)
		fuzz_fail("a reply that is not JSON");
	if (!json_is_boolean(ok))
		fuzz_fail("a reply without ok");
	if (json_is_false(ok) && (!json_string_value(json_object_get(reply, "error")) ||
				  json_integer_value(json_object_get(reply, "errno")) <= 0))
		fuzz_fail("an error without errno or sentence");
	json_decref(reply);
}

/* Takes one reply; false when the connection has ended. */
static bool fuzz_read(int fd)
{
	static char text[PROTOCOL_PACKET_MAX];
	char control[CMSG_SPACE(PROTOCOL_FDS_MAX * sizeof(int))];
	struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n <= 0)
		return false;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		int *fds = (int *)(void *)CMSG_DATA(c);

		for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++)
			close(fds[i]);
	}
	fuzz_check(text, (size_t)n);
	return true;
}

static bool fuzz_wait_reply(int fd)
{
	for (int i = 0; i < FUZZ_STEPS_MAX; i++) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		if (poll(&p, 1, 0) == 1)
			return fuzz_read(fd);
		server_step(server, 1);
	}
	fuzz_fail("a request that is never answered");
	return false;
}

static bool fuzz_send(int fd, const uint8_t *bytes, size_t len, bool with_fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = (void *)bytes, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (with_fd) {
		struct cmsghdr *c;

		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	return sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

static void fuzz_packets(int fd, const uint8_t *data, size_t data_len)
{
	for (int i = 0; i < FUZZ_PACKETS_MAX && data_len >= 2; i++) {
		size_t len = data[0] | (size_t)(data[1] & 0x7f) << 8;
		bool with_fd = data[1] & 0x80;

		data += 2;
		data_len -= 2;
		if (len > data_len)
			len = data_len;
		if (fuzz_send(fd, data, len, with_fd) && !fuzz_wait_reply(fd))
			return;
		data += len;
		data_len -= len;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_len)
{
	static const char hello[] = "{\"op\":\"hello\",\"version\":1}";
	int pair[2];

	/* What an input asks for may be large; no more is made than this. */
	if (!server)
		server = daemon_bed_fuzzed(8, 32);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	if (session_new(server, pair[1], NULL) < 0)
		abort();
	/* Inputs that begin with a 0 say hello themselves, or do not. */
	if (data_len > 0 && data[0] != 0) {
		if (!fuzz_send(pair[0], (const uint8_t *)hello, strlen(hello), false) ||
		    !fuzz_wait_reply(pair[0]))
			abort();
		fuzz_packets(pair[0], data, data_len);
	} else if (data_len > 0) {
		fuzz_packets(pair[0], data + 1, data_len - 1);
	}
	close(pair[0]);
	while (server->n_sessions > 0)
		server_step(server, 10);
	return 0;
}
