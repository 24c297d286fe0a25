/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/protocol.h"
#include "tests/daemon_bed.h"

static int ours, theirs;
static char packet[PROTOCOL_REQUEST_MAX];

static void setup(void)
{
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	ours = pair[0];
	theirs = pair[1];
}

static void teardown(void)
{
	close_fd(ours);
	close_fd(theirs);
}

static ssize_t send_with_fd(int socket, const void *text, size_t len, int n_fds, int fd)
{
	char control[CMSG_SPACE(8 * sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = (void *)text, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = CMSG_SPACE((size_t)n_fds * sizeof(int)) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN((size_t)n_fds * sizeof(int));
	for (int i = 0; i < n_fds; i++)
		((int *)CMSG_DATA(c))[i] = fd;
	return sendmsg(socket, &msg, MSG_NOSIGNAL);
}

static ssize_t send_with_fds(int socket, const void *text, size_t len, int n_fds)
{
	return send_with_fd(socket, text, len, n_fds, STDIN_FILENO);
}

START_TEST(a_packet_arrives_whole)
{
	size_t len = 0;

	ck_assert_int_eq(protocol_receive(ours, packet, &len), PROTOCOL_E_AGAIN);
	ck_assert_int_eq(send(theirs, "{}", 2, 0), 2);
	ck_assert_int_eq(protocol_receive(ours, packet, &len), 0);
	ck_assert_uint_eq(len, 2);
	ck_assert_mem_eq(packet, "{}", 2);
}
END_TEST

START_TEST(a_packet_of_0_bytes_and_a_hang_up_end_the_connection)
{
	size_t len;

	ck_assert_int_eq(send(theirs, "", 0, 0), 0);
	ck_assert_int_eq(protocol_receive(ours, packet, &len), PROTOCOL_E_END);
	theirs = close_fd(theirs);
	ck_assert_int_eq(protocol_receive(ours, packet, &len), PROTOCOL_E_END);
}
END_TEST

START_TEST(one_byte_over_the_limit_is_refused)
{
	static char big[PROTOCOL_REQUEST_MAX + 1];
	size_t len;

	ck_assert_int_eq(send(theirs, big, sizeof(big), 0), sizeof(big));
	ck_assert_int_eq(send(theirs, big, sizeof(big) - 1, 0), sizeof(big) - 1);
	ck_assert_int_eq(protocol_receive(ours, packet, &len), -EMSGSIZE);
	ck_assert_int_eq(protocol_receive(ours, packet, &len), 0);
	ck_assert_uint_eq(len, PROTOCOL_REQUEST_MAX);
}
END_TEST

START_TEST(fds_in_a_packet_are_not_taken)
{
	int before = daemon_bed_count_fds();
	size_t len;

	ck_assert_int_eq(send_with_fds(theirs, "{}", 2, 8), 2);
	ck_assert_int_eq(protocol_receive(ours, packet, &len), -EBADMSG);
	ck_assert_int_eq(daemon_bed_count_fds(), before);
	protocol_close(ours);
	ours = -1;
	ck_assert_int_eq(daemon_bed_count_fds(), before - 1);
	ck_assert_int_eq(send(theirs, "{}", 2, MSG_NOSIGNAL), -1);
}
END_TEST

/* A TCP connection that takes nothing, full, whose closing waits for an hour. */
static int make_lingering(int *ret_peer)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct linger linger = { .l_onoff = 1, .l_linger = 3600 };
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, len), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &len), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, len), 0);
	*ret_peer = accept(listener, NULL, NULL);
	ck_assert_int_ge(*ret_peer, 0);
	close(listener);
	while (send(fd, packet, sizeof(packet), MSG_DONTWAIT) > 0)
		;
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	return fd;
}

/* Whoever waited here would wait for an hour. */
START_TEST(a_socket_that_lingers_is_not_waited_for)
{
	int peer, fd = make_lingering(&peer);
	size_t len;

	ck_assert_int_eq(send(theirs, "{}", 2, 0), 2);
	ck_assert_int_eq(send_with_fd(theirs, "{}", 2, 1, fd), 2);
	close(fd);
	ck_assert_int_eq(protocol_receive(ours, packet, &len), 0);
	ck_assert_int_eq(protocol_receive(ours, packet, &len), -EBADMSG);
	protocol_close(ours);
	ours = -1;
	close(peer);
}
END_TEST

START_TEST(fds_are_refused_at_the_sender_where_the_kernel_can)
{
	if (!protocol_refuse_fds(ours))
		return;
	ck_assert_int_eq(send_with_fds(theirs, "{}", 2, 1), -1);
	ck_assert_int_eq(errno, EPERM);
}
END_TEST

START_TEST(a_long_reply_goes_into_a_sealed_memfd)
{
	char *long_text = calloc(1, PROTOCOL_PACKET_MAX + 1), text[256], *body;
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	json_t *object, *head, *back;
	ssize_t n;
	size_t len;
	int fd;

	memset(long_text, 'x', PROTOCOL_PACKET_MAX);
	object = json_pack("{s:b, s:i, s:s}", "ok", 1, "id", 7, "text", long_text);
	ck_assert_int_eq(protocol_send(ours, object, NULL), 0);
	n = recvmsg(theirs, &msg, MSG_CMSG_CLOEXEC);
	ck_assert_int_gt(n, 0);
	head = json_loadb(text, (size_t)n, 0, NULL);
	ck_assert_int_eq(json_integer_value(json_object_get(head, "id")), 7);
	len = (size_t)json_integer_value(json_object_get(head, "body"));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	ck_assert_int_eq(fcntl(fd, F_GET_SEALS) & (F_SEAL_WRITE | F_SEAL_SHRINK),
			 F_SEAL_WRITE | F_SEAL_SHRINK);
	ck_assert_int_eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	body = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
	ck_assert_ptr_ne(body, MAP_FAILED);
	back = json_loadb(body, len, 0, NULL);
	ck_assert(json_equal(back, object));
	munmap(body, len);
	close(fd);
	json_decref(back);
	json_decref(head);
	json_decref(object);
	free(long_text);
}
END_TEST

START_TEST(a_peer_that_does_not_read_is_noticed)
{
	json_t *object = protocol_error(-EINVAL, "no");
	int r = 0;

	ck_assert(!protocol_has_unread(ours));
	ck_assert_int_eq(protocol_send(ours, object, NULL), 0);
	ck_assert(protocol_has_unread(ours));
	ck_assert_int_gt(recv(theirs, packet, sizeof(packet), 0), 0);
	ck_assert(!protocol_has_unread(ours));
	for (int i = 0; i < 100000 && r == 0; i++)
		r = protocol_send(ours, object, NULL);
	ck_assert_int_eq(r, -EAGAIN);
	theirs = close_fd(theirs);
	r = protocol_send(ours, object, NULL);
	ck_assert(r == -EPIPE || r == -ECONNRESET);
	json_decref(object);
}
END_TEST

START_TEST(a_refused_peer_reads_why)
{
	json_t *object = protocol_error(-EAGAIN, "full");

	ck_assert_int_eq(send(theirs, "{}", 2, 0), 2);
	protocol_shut(ours);
	ck_assert_int_eq(protocol_send(ours, object, NULL), 0);
	ours = close_fd(ours);
	ck_assert_int_eq(send(theirs, "{}", 2, MSG_NOSIGNAL), -1);
	ck_assert_int_eq(errno, EPIPE);
	ck_assert_int_gt(recv(theirs, packet, sizeof(packet), 0), 10);
	ck_assert_int_eq(recv(theirs, packet, sizeof(packet), 0), 0);
	json_decref(object);
}
END_TEST

START_TEST(only_objects_are_requests)
{
	static const char *const bad[] = { "",
					   "x",
					   "[]",
					   "1",
					   "\"a\"",
					   "{",
					   "{\"a\":}",
					   "{}{}",
					   "{\"a\":1,\"a\":2}",
					   "{\"a\":\"\\u0000\"}",
					   "{\"a\":\"\xff\"}",
					   "{\"a\":1e999}" };
	json_t *object;
	char detail[256];

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_msg(protocol_parse(bad[i], strlen(bad[i]), &object, detail,
					     sizeof(detail)) == -EBADMSG,
			      "%s", bad[i]);
	ck_assert_int_eq(protocol_parse("{\"op\":1}", 8, &object, detail, sizeof(detail)), 0);
	json_decref(object);
	/* Deep nesting is refused, not recursed into. */
	memset(packet, '[', sizeof(packet));
	ck_assert_int_eq(protocol_parse(packet, sizeof(packet), &object, detail, sizeof(detail)),
			 -EBADMSG);
}
END_TEST

START_TEST(a_sentence_cut_inside_a_character_is_still_said)
{
	json_t *object = protocol_error(-EINVAL, "caf\xc3");

	ck_assert_str_eq(json_string_value(json_object_get(object, "error")), "caf?");
	ck_assert_int_eq(json_integer_value(json_object_get(object, "errno")), EINVAL);
	json_decref(object);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("protocol");
	TCase *tc = tcase_create("protocol");
	SRunner *runner = srunner_create(suite);
	int n_failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_packet_arrives_whole);
	tcase_add_test(tc, a_packet_of_0_bytes_and_a_hang_up_end_the_connection);
	tcase_add_test(tc, one_byte_over_the_limit_is_refused);
	tcase_add_test(tc, fds_in_a_packet_are_not_taken);
	tcase_add_test(tc, a_socket_that_lingers_is_not_waited_for);
	tcase_add_test(tc, fds_are_refused_at_the_sender_where_the_kernel_can);
	tcase_add_test(tc, a_long_reply_goes_into_a_sealed_memfd);
	tcase_add_test(tc, a_peer_that_does_not_read_is_noticed);
	tcase_add_test(tc, a_refused_peer_reads_why);
	tcase_add_test(tc, only_objects_are_requests);
	tcase_add_test(tc, a_sentence_cut_inside_a_character_is_still_said);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
