/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/raw.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int raw_connect(const struct harness_bus *bus)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", bus->sock);
	must(fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0, "connect: %s",
	     strerror(errno));
	return fd;
}

/* False where the kernel keeps fds from the daemon (SO_PASSRIGHTS). */
static bool send_request(int fd, const char *request, int with)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)request, .iov_len = strlen(request) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (with >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &with, sizeof(int));
	}
	if (sendmsg(fd, &msg, MSG_NOSIGNAL) > 0)
		return true;
	must(with >= 0 && errno == EPERM, "send: %s", strerror(errno));
	return false;
}

void raw_request_fd(int fd, const char *request, int with, struct raw_reply *ret_reply)
{
	static char buf[1 << 16];
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(RAW_FDS * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = buf, .iov_len = sizeof(buf) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *cmsg;
	ssize_t n;

	*ret_reply = (struct raw_reply){ 0 };
	if (!send_request(fd, request, with)) {
		ret_reply->json = json_pack("{s:b, s:i}", "ok", 0, "errno", EPERM);
		must(ret_reply->json, "no memory");
		return;
	}
	n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	must(n > 0, "no reply to %s", request);
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg && cmsg->cmsg_type == SCM_RIGHTS) {
		ret_reply->n_fds = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(ret_reply->fds, CMSG_DATA(cmsg), ret_reply->n_fds * sizeof(int));
	}
	ret_reply->json = json_loadb(buf, (size_t)n, 0, NULL);
	must(ret_reply->json, "a reply that is not JSON to %s", request);
}

void raw_request(int fd, const char *request, struct raw_reply *ret_reply)
{
	raw_request_fd(fd, request, -1, ret_reply);
}

bool raw_ok(const struct raw_reply *reply)
{
	return json_is_true(json_object_get(reply->json, "ok"));
}

int raw_errno(const struct raw_reply *reply)
{
	return (int)json_integer_value(json_object_get(reply->json, "errno"));
}

int raw_hello(const struct harness_bus *bus)
{
	struct raw_reply reply;
	int fd = raw_connect(bus);

	raw_request(fd, "{\"op\":\"hello\",\"version\":1,\"client\":\"intruder\"}", &reply);
	must(raw_ok(&reply), "hello was refused");
	raw_end(&reply);
	return fd;
}

int raw_fd(const struct raw_reply *reply, const char *name)
{
	json_t *names = json_object_get(reply->json, "fds");

	must(json_array_size(names) == reply->n_fds, "%zu fds came, %zu are named", reply->n_fds,
	     json_array_size(names));
	for (size_t i = 0; i < reply->n_fds; i++)
		if (strcmp(json_string_value(json_array_get(names, i)), name) == 0)
			return reply->fds[i];
	return -1;
}

void raw_end(struct raw_reply *reply)
{
	for (size_t i = 0; i < reply->n_fds; i++)
		close(reply->fds[i]);
	json_decref(reply->json);
	*reply = (struct raw_reply){ 0 };
}

int raw_make_streams(void *bus)
{
	struct leat_stream_options options;
	struct leat_publisher *publisher;
	struct leat_bus *handle;
	int r;

	handle = harness_connect(bus);
	leat_stream_options_init(&options);
	options.owner = "64001";
	options.group = "64100";
	options.mode = 0640;
	harness_stream(handle, "guarded", 1, 64 << 10, &options);
	options.mode = 0620;
	harness_stream(handle, "dropbox", 1, 64 << 10, &options);
	publisher = harness_publisher(handle, "guarded");
	r = leat_publish(publisher,
			 &(struct leat_record){ .value = "secret", .value_len = 6, .shard = 0 },
			 NULL);
	must(r == 0, "publishing as root: %s", leat_publisher_detail(publisher));
	must(leat_flush(publisher, LEAT_ACK_DURABLE, 10000000000u) == 0, "flush");
	leat_publisher_close(publisher);
	leat_close(handle);
	return 0;
}
