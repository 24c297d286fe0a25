/* SPDX-License-Identifier: Apache-2.0 */
/* Connections: what clients do wrong with them, and how many there can be. */
#include <check.h>
#include <dirent.h>
#include <poll.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/user.h"
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
	/* The client's first reply lies there with its fds; the daemon holds none of them, and
	 * nothing for a user without connections. */
	daemon_bed_disconnect(&client);
	ck_assert_int_eq(count_fds(), fds - 3);
	daemon_bed_connect(&bed, &client);
}
END_TEST

/* Its client makes another one, instead of waiting for a reply that never comes. */
START_TEST(a_connection_that_cannot_be_listened_to_is_ended)
{
	struct epoll_event none = { 0 };
	char byte;

	ck_assert_int_eq(epoll_ctl(client.session->user->source.fd, EPOLL_CTL_DEL,
				   client.session->source.fd, &none),
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

/* Nobody but root can be somebody else: the connection is given to him. */
static void give_to(struct daemon_bed_client *c, uid_t uid)
{
	struct session *session = c->session;
	struct server_source *source = &session->source;

	ck_assert_int_eq(server_control(session->user->source.fd, EPOLL_CTL_DEL, source, 0), 0);
	user_put(session->user);
	ck_assert_int_eq(user_get(bed.server, uid, &session->user), 0);
	ck_assert_int_eq(server_control(session->user->source.fd, EPOLL_CTL_ADD, source, EPOLLIN),
			 0);
	session->subject.uid = uid;
}

enum {
	N_HOSTILE = 100, /* connections of each */
	N_HOSTILE_USERS = 2,
	N_CLIENTS = N_HOSTILE * N_HOSTILE_USERS + 1,
};

/* Two users with a hundred connections each, and last one with his only one. */
static struct daemon_bed_client *clients[N_CLIENTS];

static void connect_all(void)
{
	static struct daemon_bed_client hostile[N_CLIENTS - 1];

	bed.config.max_connections = bed.config.max_connections_per_user = 2 * N_CLIENTS;
	for (int i = 0; i < N_CLIENTS - 1; i++) {
		daemon_bed_connect(&bed, &hostile[i]);
		give_to(&hostile[i], 4711 + (uid_t)(i % N_HOSTILE_USERS));
		clients[i] = &hostile[i];
	}
	give_to(&client, 4801);
	clients[N_CLIENTS - 1] = &client;
}

static bool all_are_answered(void *arg)
{
	struct pollfd p[N_CLIENTS];

	(void)arg;
	for (int i = 0; i < N_CLIENTS; i++)
		p[i] = (struct pollfd){ .fd = clients[i]->fd, .events = POLLIN };
	return poll(p, N_CLIENTS, 0) == N_CLIENTS;
}

/*
 * How many of the hundreds are answered before the one. An epoll gives what is ready in the order
 * in which it became so; it is this order that counts, no time.
 */
static int order_epoll(void)
{
	struct epoll_event event = { .events = EPOLLIN };
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);

	for (int i = 0; i < N_CLIENTS; i++) {
		event.data.ptr = clients[i];
		ck_assert_int_eq(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, clients[i]->fd, &event), 0);
	}
	return epoll_fd;
}

static int answered_before(int epoll_fd)
{
	struct epoll_event events[N_CLIENTS];
	int n = 0;

	daemon_bed_until(&bed, all_are_answered, NULL);
	ck_assert_int_eq(epoll_wait(epoll_fd, events, N_CLIENTS, 0), N_CLIENTS);
	while (events[n].data.ptr != &client)
		n++;
	close(epoll_fd);
	for (int i = 0; i < N_CLIENTS; i++)
		daemon_bed_receive(clients[i]);
	return n;
}

START_TEST(who_asks_once_is_answered_before_the_second_request_of_anybody)
{
	static const char request[] = "{\"op\":\"hello\",\"version\":1}";
	int epoll_fd;

	connect_all();
	epoll_fd = order_epoll();
	for (int i = 0; i < N_CLIENTS; i++)
		ck_assert_int_gt(send(clients[i]->fd, request, strlen(request), 0), 0);
	ck_assert_int_le(answered_before(epoll_fd), N_HOSTILE_USERS);
	for (int i = 0; i < N_CLIENTS - 1; i++)
		daemon_bed_disconnect(clients[i]);
}
END_TEST

static sem_t held;

static void hold(struct worker_job *job)
{
	(void)job;
	while (sem_wait(&held) < 0)
		;
}

static void let_go(struct worker_job *job)
{
	(void)job;
}

/* Nothing is done before all have asked, he last. */
static int done_before(const char *request)
{
	struct worker_job job = { .run = hold, .done = let_go };
	int epoll_fd = order_epoll();

	sem_init(&held, 0, 0);
	server_submit(bed.server, SERVER_WORKER_LOOK, &job);
	for (int i = 0; i < N_CLIENTS; i++) {
		ck_assert_int_gt(send(clients[i]->fd, request, strlen(request), 0), 0);
		while (!clients[i]->session->busy)
			server_step(bed.server, 1);
	}
	sem_post(&held);
	return answered_before(epoll_fd);
}

START_TEST(who_asks_for_work_waits_for_a_job_or_two_of_each)
{
	ck_assert_int_eq(ask("{\"op\":\"create\",\"stream\":\"events\"}"), 0);
	connect_all();
	ck_assert_int_le(done_before("{\"op\":\"describe\",\"stream\":\"events\"}"),
			 2 * N_HOSTILE_USERS);
	ck_assert_int_le(done_before("{\"op\":\"stat\"}"), 2 * N_HOSTILE_USERS);
	for (int i = 0; i < N_CLIENTS - 1; i++)
		daemon_bed_disconnect(clients[i]);
}
END_TEST

START_TEST(who_leaves_before_the_answer_has_the_connection_until_then)
{
	static const char request[] = "{\"op\":\"create\",\"stream\":\"events\"}";
	struct daemon_bed_client other;
	int pair[2];

	daemon_bed_connect(&bed, &other);
	ck_assert_int_gt(send(other.fd, request, strlen(request), 0), 0);
	while (!other.session->busy)
		server_step(bed.server, 1);
	json_decref(other.reply);
	close(other.fd);
	while (!other.session->closed)
		server_step(bed.server, 1);
	bed.config.max_connections_per_user = 2;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_int_eq(session_new(bed.server, pair[1], NULL), -EAGAIN);
	close(pair[0]);
	daemon_bed_settle(&bed);
	ck_assert_uint_eq(user_n_sessions(bed.server, geteuid()), 1);
}
END_TEST

START_TEST(a_long_reply_is_not_piled_upon_one_that_is_not_read)
{
	static const char request[] = "{\"op\":\"stat\"}";
	int memory;

	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(ask("{\"op\":\"create\",\"stream\":\"s%d\",\"options\":"
				     "{\"shards\":100,\"memory\":true}}",
				     i),
				 0);
	ck_assert_int_eq(ask("{\"op\":\"stat\"}"), 0);
	ck_assert_ptr_nonnull(json_object_get(client.reply, "body"));
	memory = count_fds();
	for (int i = 0; i < 5; i++) {
		(void)!send(client.fd, request, strlen(request), MSG_NOSIGNAL);
		daemon_bed_settle(&bed);
	}
	ck_assert_uint_eq(bed.server->n_sessions, 0);
	daemon_bed_disconnect(&client);
	ck_assert_int_le(count_fds(), memory);
	daemon_bed_connect(&bed, &client);
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
	tcase_add_test(tc, who_asks_once_is_answered_before_the_second_request_of_anybody);
	tcase_add_test(tc, who_asks_for_work_waits_for_a_job_or_two_of_each);
	tcase_add_test(tc, who_leaves_before_the_answer_has_the_connection_until_then);
	tcase_add_test(tc, a_long_reply_is_not_piled_upon_one_that_is_not_read);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
