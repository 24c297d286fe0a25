/* SPDX-License-Identifier: Apache-2.0 */
/* Both sides of the notification protocol; the manager is this program. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/directory.h"
#include "daemon/notify.h"

#define UUID "0102030405060708090a0b0c0d0e0f10"

static const uint8_t uuid[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
static char dir[64], socket_path[100];
static int manager = -1;
static struct notify *notify;

static void setup(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	strcpy(dir, "/tmp/leat-notify.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(socket_path, sizeof(socket_path), "%s/notify", dir);
	strcpy(address.sun_path, socket_path);
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ck_assert_int_eq(bind(manager, (struct sockaddr *)&address, sizeof(address)), 0);
	setenv("NOTIFY_SOCKET", socket_path, 1);
	unsetenv("LISTEN_FDS");
	unsetenv("FDSTORE");
}

static void teardown(void)
{
	notify = notify_free(notify);
	close(manager);
	directory_remove("/tmp", dir + 5);
}

/* The next message that the manager gets, and its fd if it has one. */
static const char *message(int *ret_fd)
{
	static char text[1024];
	char control[CMSG_SPACE(4 * sizeof(int))];
	struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) - 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(manager, &msg, MSG_CMSG_CLOEXEC);
	int fd = -1;

	text[n > 0 ? n : 0] = '\0';
	if (n > 0 && CMSG_FIRSTHDR(&msg))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	if (ret_fd)
		*ret_fd = fd;
	else
		close_fd(fd);
	return text;
}

START_TEST(without_a_manager_nothing_happens)
{
	unsetenv("NOTIFY_SOCKET");
	ck_assert_int_eq(notify_new(&notify), 0);
	ck_assert(!notify_has_store(notify));
	notify_ready(notify);
	notify_store_ring(notify, UUID ".0.1", &REGION_FDS_NULL);
	ck_assert_int_eq(notify_barrier(notify, NS_PER_S), 0);
	ck_assert_uint_eq(notify_watchdog_ns(notify), 0);
	ck_assert_str_eq(message(NULL), "");
}
END_TEST

START_TEST(the_manager_hears_what_it_should)
{
	ck_assert_int_eq(notify_new(&notify), 0);
	notify_ready(notify);
	ck_assert_str_eq(message(NULL), "READY=1");
	notify_stopping(notify);
	ck_assert_str_eq(message(NULL), "STOPPING=1");
	notify_watchdog(notify);
	ck_assert_str_eq(message(NULL), "WATCHDOG=1");
	notify_status(notify, "serving %d streams", 3);
	ck_assert_str_eq(message(NULL), "STATUS=serving 3 streams");
}
END_TEST

START_TEST(the_watchdog_is_asked_for_twice_as_often_as_needed)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	setenv("WATCHDOG_PID", pid, 1);
	setenv("WATCHDOG_USEC", "30000000", 1);
	ck_assert_int_eq(notify_new(&notify), 0);
	ck_assert_uint_eq(notify_watchdog_ns(notify), 15 * NS_PER_S);
	ck_assert_ptr_null(getenv("WATCHDOG_USEC"));
}
END_TEST

START_TEST(a_store_that_is_gone_is_noticed)
{
	ck_assert_int_eq(notify_new(&notify), 0);
	ck_assert(notify_has_store(notify));
	unlink(socket_path);
	ck_assert(!notify_has_store(notify));
	notify = notify_free(notify);
	setenv("FDSTORE", "0", 1);
	ck_assert_int_eq(notify_new(&notify), 0);
	ck_assert(!notify_has_store(notify));
}
END_TEST

static struct region_fds make_ring(int tag)
{
	struct region_fds fds;

	for (int k = 0; k < REGION_N; k++) {
		fds.fd[k] = memfd_create("test", MFD_CLOEXEC);
		ck_assert_int_eq(ftruncate(fds.fd[k], tag * 10 + k + 1), 0);
	}
	return fds;
}

/* No ck_assert here: it would write to check's own fd, in whose place a child has others. */
static off_t size_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? st.st_size : -1;
}

START_TEST(a_ring_is_stored_as_four_named_fds)
{
	static const char *const kinds[REGION_N] = { "ring", "publish", "govern", "wait" };
	struct region_fds fds = make_ring(1);
	char want[200];
	int fd;

	ck_assert_int_eq(notify_new(&notify), 0);
	notify_store_ring(notify, UUID ".3.7", &fds);
	for (int k = 0; k < REGION_N; k++) {
		snprintf(want, sizeof(want), "FDSTORE=1\nFDPOLL=0\nFDNAME=" UUID ".3.7.%s",
			 kinds[k]);
		ck_assert_str_eq(message(&fd), want);
		ck_assert_int_eq(size_of(fd), 11 + k);
		close(fd);
	}
	notify_forget_ring(notify, UUID ".3.7");
	for (int k = 0; k < REGION_N; k++) {
		snprintf(want, sizeof(want), "FDSTOREREMOVE=1\nFDNAME=" UUID ".3.7.%s", kinds[k]);
		ck_assert_str_eq(message(NULL), want);
	}
	for (int k = 0; k < REGION_N; k++)
		close(fds.fd[k]);
}
END_TEST

/* What a manager does before it starts a daemon: fds from 3 on, and their names. */
static void pass(const int *fds, int n, const char *names)
{
	char number[16];
	int high[32];

	/* In the order in which they will be, and out of the way of 3 and on. */
	for (int i = 0; i < n; i++)
		high[i] = fcntl(fds[i], F_DUPFD, 100);
	for (int i = 0; i < n; i++) {
		dup2(high[i], 3 + i);
		close(high[i]);
	}
	snprintf(number, sizeof(number), "%d", n);
	setenv("LISTEN_FDS", number, 1);
	snprintf(number, sizeof(number), "%d", getpid());
	setenv("LISTEN_PID", number, 1);
	setenv("LISTEN_FDNAMES", names, 1);
}

static int child_takes_rings(void)
{
	struct region_fds one = make_ring(1), two = make_ring(2), *taken = NULL;
	int fds[13] = { two.fd[2], one.fd[0], one.fd[1], one.fd[3], one.fd[2], two.fd[0], two.fd[1],
			two.fd[3], two.fd[0], one.fd[0], one.fd[0], one.fd[0], 0 };
	size_t n;

	fds[12] = manager;
	/* A whole ring of generations 7 and 12, in any order; half of one of another shard; a name
	 * that is none of ours; a name that is there twice. */
	pass(fds, 12,
	     UUID ".3.12.govern:" UUID ".3.7.ring:" UUID ".3.7.publish:" UUID ".3.7.wait:" UUID
		  ".3.7.govern:" UUID ".3.12.ring:" UUID ".3.12.publish:" UUID ".3.12.wait:" UUID
		  ".4.7.ring:" UUID ".3.7.ring:strange:" UUID ".3.7.ring");
	unsetenv("NOTIFY_SOCKET");
	if (notify_new(&notify) < 0)
		return 1;
	if (notify_take_rings(notify, uuid, 3, &taken, &n) < 0 || n != 2)
		return 2;
	for (int k = 0; k < REGION_N; k++)
		if (size_of(taken[0].fd[k]) != 11 + k || size_of(taken[1].fd[k]) != 21 + k)
			return 3;
	if (fcntl(taken[0].fd[0], F_GETFD) != FD_CLOEXEC)
		return 4;
	free(taken);
	if (notify_take_rings(notify, uuid, 4, &taken, &n) < 0 || n != 0)
		return 5;
	free(taken);
	return notify_drop_rest(notify) == 1 ? 0 : 6;
}

static int child_takes_listener(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fds[2];
	bool ours = true;
	int fd;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/bus.sock", dir);
	fds[0] = open("/dev/null", O_RDONLY);
	fds[1] = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	if (bind(fds[1], (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fds[1], 5) < 0)
		return 1;
	pass(fds, 2, "other:leatd.socket");
	if (notify_new(&notify) < 0)
		return 2;
	fd = notify_take_listener(notify, &ours);
	if (fd != 4 || ours)
		return 3;
	return notify_take_listener(notify, &ours) == -1 ? 0 : 4;
}

static int child_takes_own_listener(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	bool ours = false;

	if (listen(fd, 5) < 0) {
		struct sockaddr_un address = { .sun_family = AF_UNIX };

		if (bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)) < 0 ||
		    listen(fd, 5) < 0)
			return 1;
	}
	pass(&fd, 1, "bus");
	if (notify_new(&notify) < 0)
		return 2;
	return notify_take_listener(notify, &ours) == 3 && ours ? 0 : 3;
}

/* fds from 3 on belong to check in this process: it is done in a child. */
static void in_child(int (*fn)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(fn());
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child ended with %#x",
		      status);
}

START_TEST(rings_come_back_whole_or_not_at_all)
{
	in_child(child_takes_rings);
}
END_TEST

START_TEST(a_listening_socket_is_known_by_what_it_is)
{
	in_child(child_takes_listener);
}
END_TEST

START_TEST(a_socket_that_we_made_is_known_as_ours)
{
	in_child(child_takes_own_listener);
}
END_TEST

static int child_drops(void)
{
	int fd = memfd_create("test", 0), fds[2] = { fd, fd };

	pass(fds, 2, UUID ".9.1.ring:unit.socket");
	if (notify_new(&notify) < 0)
		return 1;
	return notify_drop_rest(notify) == 2 ? 0 : 2;
}

START_TEST(what_belongs_to_no_stream_is_removed_from_the_store)
{
	in_child(child_drops);
	ck_assert_str_eq(message(NULL), "FDSTOREREMOVE=1\nFDNAME=" UUID ".9.1.ring");
	ck_assert_str_eq(message(NULL), "");
}
END_TEST

/* A whole ring of generation 7 and part of 8. Its next ring will be 8 again: what is stored under
 * that name after this must stay. */
static int child_takes_a_part(void)
{
	struct region_fds one = make_ring(1), two = make_ring(2), *taken = NULL;
	int fds[6] = { one.fd[0], one.fd[1], one.fd[2], one.fd[3], two.fd[2], two.fd[3] };
	size_t n;

	pass(fds, 6,
	     UUID ".3.7.ring:" UUID ".3.7.publish:" UUID ".3.7.govern:" UUID ".3.7.wait:" UUID
		  ".3.8.govern:" UUID ".3.8.wait");
	if (notify_new(&notify) < 0 || notify_take_rings(notify, uuid, 3, &taken, &n) < 0 || n != 1)
		return 1;
	notify_store_ring(notify, UUID ".3.8", &two);
	return notify_drop_rest(notify) == 0 ? 0 : 2;
}

START_TEST(part_of_a_ring_is_removed_before_one_of_the_same_name_is_stored)
{
	static const char *const want[] = {
		"FDSTOREREMOVE=1\nFDNAME=" UUID ".3.8.govern",
		"FDSTOREREMOVE=1\nFDNAME=" UUID ".3.8.wait",
		"FDSTORE=1\nFDPOLL=0\nFDNAME=" UUID ".3.8.ring",
		"FDSTORE=1\nFDPOLL=0\nFDNAME=" UUID ".3.8.publish",
		"FDSTORE=1\nFDPOLL=0\nFDNAME=" UUID ".3.8.govern",
		"FDSTORE=1\nFDPOLL=0\nFDNAME=" UUID ".3.8.wait",
		"",
	};

	in_child(child_takes_a_part);
	for (size_t i = 0; i < sizeof(want) / sizeof(*want); i++)
		ck_assert_str_eq(message(NULL), want[i]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("notify");
	TCase *tc = tcase_create("notify");
	SRunner *runner = srunner_create(suite);
	int n_failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, without_a_manager_nothing_happens);
	tcase_add_test(tc, the_manager_hears_what_it_should);
	tcase_add_test(tc, the_watchdog_is_asked_for_twice_as_often_as_needed);
	tcase_add_test(tc, a_store_that_is_gone_is_noticed);
	tcase_add_test(tc, a_ring_is_stored_as_four_named_fds);
	tcase_add_test(tc, rings_come_back_whole_or_not_at_all);
	tcase_add_test(tc, a_listening_socket_is_known_by_what_it_is);
	tcase_add_test(tc, a_socket_that_we_made_is_known_as_ours);
	tcase_add_test(tc, what_belongs_to_no_stream_is_removed_from_the_store);
	tcase_add_test(tc, part_of_a_ring_is_removed_before_one_of_the_same_name_is_stored);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
