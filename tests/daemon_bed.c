/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/daemon_bed.h"

#include <check.h>
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "daemon/log.h"
#include "daemon/protocol.h"
#include "daemon/restore.h"

enum {
	BED_LIMIT_MS = 10000,
	BED_QUIET_STEPS = 3
};

void daemon_bed_start(struct daemon_bed *bed)
{
	char detail[512];

	signal(SIGPIPE, SIG_IGN);
	if (bed->dir[0] == '\0') {
		strcpy(bed->dir, "/tmp/leat-bed.XXXXXX");
		ck_assert_ptr_nonnull(mkdtemp(bed->dir));
		config_init(&bed->config);
		bed->config.runtime = strdup(bed->dir);
		bed->config.data = strdup(bed->dir);
		bed->config.ring_len = 64 * KIB;
		log_set_level(LOG_LEVEL_WARNING);
		urcu_memb_register_thread();
	}
	ck_assert_int_eq(notify_new(&bed->notify), 0);
	ck_assert_msg(server_open(&bed->config, bed->notify, &bed->server, detail,
				  sizeof(detail)) == 0,
		      "%s", detail);
}

void daemon_bed_stop(struct daemon_bed *bed)
{
	bed->server = server_free(bed->server);
	bed->notify = notify_free(bed->notify);
}

void daemon_bed_end(struct daemon_bed *bed)
{
	char command[128];

	daemon_bed_stop(bed);
	config_deinit(&bed->config);
	snprintf(command, sizeof(command), "rm -rf %s", bed->dir);
	ck_assert_int_eq(system(command), 0);
	bed->dir[0] = '\0';
	urcu_memb_unregister_thread();
}

static struct daemon_bed fuzzed;

static void end_fuzzed(void)
{
	char command[128];

	daemon_bed_stop(&fuzzed);
	config_deinit(&fuzzed.config);
	snprintf(command, sizeof(command), "rm -rf %s", fuzzed.dir);
	if (system(command) != 0)
		_exit(1);
	urcu_memb_unregister_thread();
}

struct server *daemon_bed_fuzzed(uint32_t max_streams, uint32_t max_shards)
{
	char detail[512] = "";

	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_LEVEL_ERROR);
	urcu_memb_register_thread();
	config_init(&fuzzed.config);
	strcpy(fuzzed.dir, "/dev/shm/leat-fuzz.XXXXXX");
	if (!mkdtemp(fuzzed.dir))
		abort();
	fuzzed.config.runtime = strdup(fuzzed.dir);
	fuzzed.config.data = strdup(fuzzed.dir);
	fuzzed.config.ring_len = 64 * KIB;
	fuzzed.config.segment_len = 64 * KIB;
	fuzzed.config.max_streams = max_streams;
	fuzzed.config.max_shards = max_shards;
	if (notify_new(&fuzzed.notify) < 0 ||
	    server_open(&fuzzed.config, fuzzed.notify, &fuzzed.server, detail, sizeof(detail)) <
		    0) {
		fprintf(stderr, "%s\n", detail);
		abort();
	}
	atexit(end_fuzzed);
	return fuzzed.server;
}

int daemon_bed_count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

void daemon_bed_until(struct daemon_bed *bed, bool (*cond)(void *arg), void *arg)
{
	uint64_t end = clock_now_ns(CLOCK_MONOTONIC) + BED_LIMIT_MS * NS_PER_MS;

	while (!cond(arg)) {
		ck_assert_msg(clock_now_ns(CLOCK_MONOTONIC) < end, "the daemon does not get there");
		server_step(bed->server, 1);
	}
}

static bool bed_is_busy(const struct daemon_bed *bed)
{
	if (!restore_is_over(bed->server))
		return true;
	for (int i = 0; i < SERVER_N_WORKERS; i++)
		if (worker_pending(bed->server->workers[i]) > 0)
			return true;
	return false;
}

void daemon_bed_settle(struct daemon_bed *bed)
{
	for (int quiet = 0; quiet < BED_QUIET_STEPS; quiet++) {
		server_step(bed->server, 1);
		if (bed_is_busy(bed))
			quiet = -1;
	}
}

void daemon_bed_connect(struct daemon_bed *bed, struct daemon_bed_client *client)
{
	int pair[2];

	*client = (struct daemon_bed_client){ .bed = bed, .fd = -1 };
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	client->fd = pair[0];
	ck_assert_int_eq(session_new(bed->server, pair[1], &client->session), 0);
	ck_assert_int_eq(
		daemon_bed_ask(client, "{\"op\":\"hello\",\"version\":1,\"client\":\"bed\"}"), 0);
}

static void bed_forget_reply(struct daemon_bed_client *client)
{
	for (size_t i = 0; i < client->n_fds; i++)
		close_fd(client->fds[i]);
	client->n_fds = 0;
	json_decref(client->reply);
	client->reply = NULL;
}

void daemon_bed_disconnect(struct daemon_bed_client *client)
{
	bed_forget_reply(client);
	client->fd = close_fd(client->fd);
	daemon_bed_settle(client->bed);
}

static void bed_take_control(struct daemon_bed_client *client, struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		client->n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(client->fds, CMSG_DATA(c), client->n_fds * sizeof(int));
	}
}

bool daemon_bed_receive(struct daemon_bed_client *client)
{
	static char text[PROTOCOL_PACKET_MAX];
	char control[CMSG_SPACE(DAEMON_BED_FDS * sizeof(int))];
	struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(client->fd, &msg, MSG_CMSG_CLOEXEC);

	bed_forget_reply(client);
	if (n <= 0)
		return false;
	bed_take_control(client, &msg);
	client->reply = json_loadb(text, (size_t)n, 0, NULL);
	ck_assert_ptr_nonnull(client->reply);
	return true;
}

static bool bed_can_read(void *arg)
{
	const struct daemon_bed_client *client = arg;
	struct pollfd p = { .fd = client->fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

bool daemon_bed_send(struct daemon_bed_client *client, const void *bytes, size_t len)
{
	bed_forget_reply(client);
	if (send(client->fd, bytes, len, MSG_NOSIGNAL) < 0)
		return false;
	daemon_bed_until(client->bed, bed_can_read, client);
	return daemon_bed_receive(client);
}

int daemon_bed_ask(struct daemon_bed_client *client, const char *format, ...)
{
	static char text[PROTOCOL_PACKET_MAX];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	ck_assert_msg(daemon_bed_send(client, text, (size_t)n), "no reply to %s", text);
	if (json_is_true(json_object_get(client->reply, "ok")))
		return 0;
	ck_assert_msg(strlen(daemon_bed_sentence(client)) > 5, "no sentence for %s", text);
	return -(int)daemon_bed_number(client, "errno");
}

const char *daemon_bed_sentence(const struct daemon_bed_client *client)
{
	const char *text = json_string_value(json_object_get(client->reply, "error"));

	return text ? text : "";
}

int64_t daemon_bed_number(const struct daemon_bed_client *client, const char *key)
{
	return json_integer_value(json_object_get(client->reply, key));
}

int daemon_bed_take_fd(struct daemon_bed_client *client, const char *name)
{
	const json_t *names = json_object_get(client->reply, "fds");

	for (size_t i = 0; i < json_array_size(names) && i < client->n_fds; i++) {
		const char *at = json_string_value(json_array_get(names, i));

		if (at && strcmp(at, name) == 0)
			return take_fd(client->fds[i]);
	}
	return -1;
}
