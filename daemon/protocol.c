/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/protocol.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

enum {
	PROTOCOL_DROP_MAX = 1024
};

/*
 * Do fds come with the next packet? They are not taken out: to close what a stranger has opened can
 * take as long as he likes (a socket that lingers, a file of a file system of his own).
 */
static bool protocol_comes_with_fds(int socket)
{
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = sizeof(byte) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	return recvmsg(socket, &msg, MSG_PEEK | MSG_DONTWAIT) >= 0 && (msg.msg_flags & MSG_CTRUNC);
}

int protocol_receive(int socket, void *buf, size_t *ret_len)
{
	struct iovec iov = { .iov_base = buf, .iov_len = PROTOCOL_REQUEST_MAX };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (protocol_comes_with_fds(socket))
		return -EBADMSG;
	do {
		n = recvmsg(socket, &msg, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? PROTOCOL_E_AGAIN : -errno;
	/* They came in this very moment, and are gone. */
	if (msg.msg_flags & MSG_CTRUNC)
		return -EBADMSG;
	if (msg.msg_flags & MSG_TRUNC)
		return -EMSGSIZE;
	if (n == 0)
		return PROTOCOL_E_END;
	*ret_len = (size_t)n;
	return 0;
}

/* One packet; fds at most PROTOCOL_FDS_MAX. */
static int protocol_send_text(int socket, const char *text, size_t len,
			      const struct protocol_fds *fds)
{
	union {
		char bytes[CMSG_SPACE(PROTOCOL_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)text, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (fds && fds->n > 0) {
		struct cmsghdr *c;

		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(fds->n * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(fds->n * sizeof(int));
		memcpy(CMSG_DATA(c), fds->fd, fds->n * sizeof(int));
	}
	do {
		n = sendmsg(socket, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* The long reply in memory that nobody can change any more, as a read-only fd. */
static int protocol_make_body(const char *text, size_t len, int *ret_fd)
{
	int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
	cleanup_with(close_fdp) int fd =
		memfd_create("leat-reply", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	char path[64];
	size_t done = 0;
	int body;

	if (fd < 0)
		return -errno;
	while (done < len) {
		ssize_t n = write(fd, text + done, len - done);

		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	if (fchmod(fd, 0400) < 0 || fcntl(fd, F_ADD_SEALS, seals) < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	body = open(path, O_RDONLY | O_CLOEXEC);
	if (body < 0)
		return -errno;
	*ret_fd = body;
	return 0;
}

static int protocol_encode_long(const json_t *object, const char *text, size_t len,
				struct protocol_packet *ret_packet)
{
	json_t *id = json_object_get(object, "id");
	cleanup_with(close_fdp) int body = -1;
	cleanup_with(protocol_decrefp) json_t *envelope = NULL;
	char *head;
	int r = protocol_make_body(text, len, &body);

	if (r < 0)
		return r;
	envelope = json_pack("{s:b, s:O*, s:I, s:[s]}", "ok", 1, "id", id, "body", (json_int_t)len,
			     "fds", "body");
	head = envelope ? json_dumps(envelope, JSON_COMPACT) : NULL;
	if (!head)
		return -ENOMEM;
	*ret_packet = (struct protocol_packet){ .text = head,
						.len = strlen(head),
						.body = take_fd(body) };
	return 0;
}

int protocol_encode(const json_t *object, struct protocol_packet *ret_packet)
{
	cleanup_with(free_ptr) char *text = json_dumps(object, JSON_COMPACT);
	size_t len;

	if (!text)
		return -ENOMEM;
	len = strlen(text);
	if (len > PROTOCOL_PACKET_MAX)
		return protocol_encode_long(object, text, len, ret_packet);
	*ret_packet = (struct protocol_packet){ .text = take_ptr(text), .len = len, .body = -1 };
	return 0;
}

void protocol_packet_deinit(struct protocol_packet *packet)
{
	if (packet->text)
		close_fd(packet->body);
	free(packet->text);
	packet->text = NULL;
}

int protocol_send_packet(int socket, const struct protocol_packet *packet,
			 const struct protocol_fds *fds)
{
	const struct protocol_fds body = { .fd = { packet->body }, .n = 1 };

	return protocol_send_text(socket, packet->text, packet->len,
				  packet->body >= 0 ? &body : fds);
}

int protocol_send(int socket, const json_t *object, const struct protocol_fds *fds)
{
	cleanup_with(protocol_packet_deinit) struct protocol_packet packet = { 0 };
	int r = protocol_encode(object, &packet);

	return r < 0 ? r : protocol_send_packet(socket, &packet, fds);
}

bool protocol_has_unread(int socket)
{
	int n = 0;

	return ioctl(socket, SIOCOUTQ, &n) == 0 && n > 0;
}

void protocol_shut(int socket)
{
	static char drop[PROTOCOL_REQUEST_MAX];
	size_t len;

	shutdown(socket, SHUT_RD);
	/* Bounded: the peer cannot add to what is there any more. */
	for (int i = 0; i < PROTOCOL_DROP_MAX; i++) {
		int r = protocol_receive(socket, drop, &len);

		if (r != 0 && r != -EMSGSIZE)
			break;
	}
}

struct protocol_leave {
	sem_t copied;
	sem_t closed;
};

/* A thread with a table of fds of its own, which the kernel closes when the thread is no more. */
static void *protocol_leave_main(void *arg)
{
	struct protocol_leave *leave = arg;

	(void)unshare(CLONE_FILES);
	sem_post(&leave->copied);
	while (sem_wait(&leave->closed) < 0)
		;
	return NULL;
}

/*
 * Closes a socket in which fds may lie that nobody will take. They are closed together with it, and
 * whoever closes them waits for what they are: so somebody else closes the last copy of the socket,
 * in dying, when nothing lingers any more and nobody waits for him.
 */
static void protocol_leave(int socket)
{
	struct protocol_leave leave;
	pthread_t thread;

	sem_init(&leave.copied, 0, 0);
	sem_init(&leave.closed, 0, 0);
	if (pthread_create(&thread, NULL, protocol_leave_main, &leave) != 0) {
		close(socket);
	} else {
		while (sem_wait(&leave.copied) < 0)
			;
		close(socket);
		sem_post(&leave.closed);
		/* This ends before the thread's fds are closed. */
		pthread_join(thread, NULL);
	}
	sem_destroy(&leave.copied);
	sem_destroy(&leave.closed);
}

void protocol_close(int socket)
{
	protocol_shut(socket);
	if (protocol_comes_with_fds(socket))
		protocol_leave(socket);
	else
		close(socket);
}

bool protocol_refuse_fds(int socket)
{
	int off = 0;

	return setsockopt(socket, SOL_SOCKET, SO_PASSRIGHTS, &off, sizeof(off)) == 0;
}

json_t *protocol_error(int error, const char *sentence)
{
	char plain[1024];
	json_t *object = json_pack("{s:b, s:i, s:s}", "ok", 0, "errno", error < 0 ? -error : error,
				   "error", sentence);

	if (object)
		return object;
	/* The sentence quotes a client, and was cut in the middle of a character. */
	snprintf(plain, sizeof(plain), "%s", sentence);
	for (char *p = plain; *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	return json_pack("{s:b, s:i, s:s}", "ok", 0, "errno", error < 0 ? -error : error, "error",
			 plain);
}

int protocol_parse(const void *buf, size_t len, json_t **ret_object, char *detail,
		   size_t detail_len)
{
	json_error_t error;
	json_t *object = json_loadb(buf, len, JSON_REJECT_DUPLICATES, &error);

	if (!object) {
		snprintf(detail, detail_len, "the request is not JSON: %s at byte %d", error.text,
			 error.position);
		return -EBADMSG;
	}
	if (!json_is_object(object)) {
		snprintf(detail, detail_len, "the request is not a JSON object");
		json_decref(object);
		return -EBADMSG;
	}
	*ret_object = object;
	return 0;
}
