/* SPDX-License-Identifier: Apache-2.0 */
/* Connections: what clients do wrong with them, and how many there can be. */
#include <check.h>
#include <dirent.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/daemon_bed.h"

static struct daemon_bed bed;
static struct daemon_bed_client client;

static void setup(void)
{
	daemon_bed_start(&bed);
	daemon_bed_connect(&bed, &client);
}

static void teardown(void)
{
	daemon_bed_disconnect(&client);
	daemon_bed_end(&bed);
}

#define ask(...) daemon_bed_ask(&client, __VA_ARGS__)

/* Of sockets, memory and events; files are the storage's own matter. */
static int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	char target[64];
	int n = 0;

	while ((entry = readdir(dir)) != NULL) {
		ssize_t len = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target));

		n += len > 0 && (target[0] != '/' || memcmp(target, "/memfd:", 7) == 0);
	}
	closedir(dir);
	return n;
}

START_TEST(who_sends_without_reading_is_disconnected)
{
	static const char request[] = "{\"op\":\"attach\",\"stream\":\"events\",\"shard\":0,"
				      "\"role\":\"subscribe\"}";
	int fds;

	ck_assert_int_eq(ask("{\"op\":\"create\",\"stream\":\"events\"}"), 0);
	fds = count_fds();
	for (int i = 0; i < 50; i++) {
		(void)!send(client.fd, request, strlen(request), MSG_NOSIGNAL);
		server_step(bed.server, 1);
	}
	daemon_bed_settle(&bed);
	ck_assert_uint_eq(bed.server->n_sessions, 0);
	/* The client's first reply lies there with its fds; the daemon holds none of them. */
	daemon_bed_disconnect(&client);
	ck_assert_int_eq(count_fds(), fds - 2);
	daemon_bed_connect(&bed, &client);
}
END_TEST

/* Its client makes another one, instead of waiting for a reply that never comes. */
START_TEST(a_connection_that_cannot_be_listened_to_is_ended)
{
	struct epoll_event none = { 0 };
	char byte;

	ck_assert_int_eq(epoll_ctl(bed.server->epoll_fd, EPOLL_CTL_DEL, client.session->source.fd,
				   &none),
			 0);
	session_begin_job(client.session);
	session_end_job(client.session);
	ck_assert_int_eq(recv(client.fd, &byte, 1, MSG_DONTWAIT), 0);
}
END_TEST

START_TEST(who_hangs_up_while_something_is_made_leaves_nothing_open)
{
	static const char request[] = "{\"op\":\"create\",\"stream\":\"events\"}";
	struct daemon_bed_client other;

	daemon_bed_connect(&bed, &other);
	ck_assert_int_gt(send(other.fd, request, strlen(request), 0), 0);
	server_step(bed.server, 100);
	daemon_bed_disconnect(&other);
	daemon_bed_settle(&bed);
	ck_assert_uint_eq(bed.server->n_sessions, 1);
	ck_assert_int_eq(ask("{\"op\":\"describe\",\"stream\":\"events\"}"), 0);
}
END_TEST

START_TEST(a_daemon_that_stops_while_somebody_who_left_has_work_under_way_comes_to_its_end)
{
	static const char request[] = "{\"op\":\"create\",\"stream\":\"events\"}";
	struct daemon_bed_client other;

	daemon_bed_connect(&bed, &other);
	ck_assert_int_gt(send(other.fd, request, strlen(request), 0), 0);
	while (!other.session->busy)
		server_step(bed.server, 1);
	/* The hang-up is seen long before the stream is made. */
	json_decref(other.reply);
	close(other.fd);
	server_step(bed.server, 100);
	daemon_bed_stop(&bed);
	daemon_bed_start(&bed);
	daemon_bed_disconnect(&client);
	daemon_bed_connect(&bed, &client);
	/* Made or not, as nobody was told; never in part. */
	if (ask("{\"op\":\"create\",\"stream\":\"events\"}") < 0)
		ck_assert_int_eq(ask("{\"op\":\"remove\",\"stream\":\"events\"}"), 0);
}
END_TEST

/* A connection's end for the daemon, made by a process that has ended since. */
static int connection_of_the_dead(struct daemon_bed_client *ret_client)
{
	char room[CMSG_SPACE(2 * sizeof(int))] = { 0 }, byte = 0;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = { .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = room,
				  .msg_controllen = sizeof(room) };
	struct cmsghdr *c;
	int way[2], pair[2];
	pid_t pid;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, way), 0);
	pid = fork();
	if (pid == 0) {
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
			_exit(1);
		c = CMSG_FIRSTHDR(&message);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(pair));
		memcpy(CMSG_DATA(c), pair, sizeof(pair));
		_exit(sendmsg(way[1], &message, 0) == 1 ? 0 : 1);
	}
	ck_assert_int_eq(recvmsg(way[0], &message, MSG_CMSG_CLOEXEC), 1);
	memcpy(pair, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(pair));
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	close(way[0]);
	close(way[1]);
	*ret_client = (struct daemon_bed_client){ .bed = &bed, .fd = pair[0] };
	return pair[1];
}

START_TEST(a_connection_that_outlives_its_process_may_subscribe_and_not_publish)
{
	struct daemon_bed_client heir;
	int socket = connection_of_the_dead(&heir);

	ck_assert_int_eq(ask("{\"op\":\"create\",\"stream\":\"events\"}"), 0);
	ck_assert_int_eq(session_new(bed.server, socket, &heir.session), 0);
	ck_assert_int_eq(daemon_bed_ask(&heir, "{\"op\":\"hello\",\"version\":1}"), 0);
	ck_assert_int_eq(daemon_bed_ask(&heir, "{\"op\":\"attach\",\"stream\":\"events\","
					       "\"shard\":0,\"role\":\"publish\"}"),
			 -ESRCH);
	ck_assert_ptr_nonnull(strstr(daemon_bed_sentence(&heir), "connect again"));
	ck_assert_int_eq(daemon_bed_ask(&heir, "{\"op\":\"attach\",\"stream\":\"events\","
					       "\"shard\":0,\"role\":\"subscribe\"}"),
			 0);
	daemon_bed_disconnect(&heir);
}
END_TEST

START_TEST(what_is_no_connection_is_refused)
{
	int fds = count_fds(), pipe_fds[2];

	ck_assert_int_eq(pipe(pipe_fds), 0);
	close(pipe_fds[0]);
	ck_assert_int_eq(session_new(bed.server, pipe_fds[1], NULL), -ENOTSOCK);
	ck_assert_int_eq(count_fds(), fds);
	ck_assert_uint_eq(bed.server->n_sessions, 1);
}
END_TEST

START_TEST(connections_are_limited_per_user_and_in_all)
{
	int pair[2];

	bed.config.max_connections_per_user = 1;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_int_eq(session_new(bed.server, pair[1], NULL), -EAGAIN);
	close(pair[0]);
	bed.config.max_connections_per_user = 100;
	bed.config.max_connections = 1;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_int_eq(session_new(bed.server, pair[1], NULL), -EAGAIN);
	close(pair[0]);
	ck_assert_uint_eq(bed.server->n_sessions, 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("session");
	TCase *tc = tcase_create("session");
	SRunner *runner = srunner_create(suite);
	int n_failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, who_sends_without_reading_is_disconnected);
	tcase_add_test(tc, a_connection_that_cannot_be_listened_to_is_ended);
	tcase_add_test(tc, who_hangs_up_while_something_is_made_leaves_nothing_open);
	tcase_add_test(
		tc,
		a_daemon_that_stops_while_somebody_who_left_has_work_under_way_comes_to_its_end);
	tcase_add_test(tc, a_connection_that_outlives_its_process_may_subscribe_and_not_publish);
	tcase_add_test(tc, what_is_no_connection_is_refused);
	tcase_add_test(tc, connections_are_limited_per_user_and_in_all);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
