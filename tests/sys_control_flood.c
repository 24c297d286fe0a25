/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients do to the control socket that no library would: garbage, floods, fds, silence. After
 * each the daemon serves others, and holds no fd and no memory more than before.
 */
/* TEST_TIMEOUT=300 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/atomic.h"
#include "tests/harness.h"

enum {
	PACKET_MAX = 64 << 10,
	WAIT_MS = 10000,
	N_CONNECTIONS = 1000,
	PER_USER = 256,
};

static struct harness_bus bus;

static void setup(void)
{
	signal(SIGPIPE, SIG_IGN);
	harness_bus_start(&bus, HARNESS_PUBLIC);
}

static void teardown(void)
{
	harness_bus_stop(&bus);
}

/* ---- a client without a library ---- */

static int raw_connect(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	must(fd >= 0, "socket: %s", strerror(errno));
	strcpy(address.sun_path, bus.sock);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Length of the reply, 0 at the end of the connection. */
static size_t raw_read(int fd, char *text, size_t len)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n;

	must(poll(&p, 1, WAIT_MS) == 1, "the daemon does not answer");
	n = recv(fd, text, len - 1, 0);
	/* A connection that was cut while we sent says so once; the reason is behind it. */
	if (n < 0 && errno == ECONNRESET)
		n = recv(fd, text, len - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	return n > 0 ? (size_t)n : 0;
}

/* Sends and reads the reply into text; false when the connection is gone. */
static int raw_ask(int fd, const void *bytes, size_t bytes_len, char *text, size_t len)
{
	if (send(fd, bytes, bytes_len, MSG_NOSIGNAL) < 0 && errno != EPIPE)
		return 0;
	return raw_read(fd, text, len) > 0;
}

static void raw_want_error(int fd, const void *bytes, size_t bytes_len, int error)
{
	char text[4096], want[32];

	must(raw_ask(fd, bytes, bytes_len, text, sizeof(text)), "no reply but errno %d was wanted",
	     error);
	snprintf(want, sizeof(want), "\"errno\":%d", error);
	must(strstr(text, want) != NULL, "wanted errno %d, got %s", error, text);
	must(strstr(text, "\"error\":\"") != NULL, "no sentence in %s", text);
}

static int raw_hello(void)
{
	static const char hello[] = "{\"op\":\"hello\",\"version\":1,\"client\":\"flood\"}";
	char text[1024];
	int fd = raw_connect();

	must(fd >= 0, "connect: %s", strerror(errno));
	must(raw_ask(fd, hello, strlen(hello), text, sizeof(text)) &&
		     strstr(text, "\"ok\":true") != NULL,
	     "hello: %s", text);
	return fd;
}

/* ---- what the daemon holds ---- */

static int count_fds(void)
{
	char path[64];
	DIR *dir;
	int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", bus.pid);
	dir = opendir(path);
	must(dir != NULL, "%s: %s", path, strerror(errno));
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static long resident_kib(void)
{
	char path[64], line[256];
	long kib = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", bus.pid);
	f = fopen(path, "r");
	must(f != NULL, "%s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "RssAnon: %ld", &kib) == 1)
			break;
	fclose(f);
	return kib;
}

/* A sanitizer keeps what was freed for a while, and finds leaks itself. */
static void want_resident(long before)
{
	const char *variant = getenv("LEAT_VARIANT");

	if (variant && strcmp(variant, "release") != 0 && strcmp(variant, "debug") != 0)
		return;
	must(resident_kib() < before + 4096, "%ld KiB, before %ld", resident_kib(), before);
}

/* Processor time of the daemon in milliseconds. */
static long busy_ms(void)
{
	char path[64], line[1024], *p;
	unsigned long user = 0, system = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", bus.pid);
	f = fopen(path, "r");
	must(f && fgets(line, sizeof(line), f), "%s", path);
	fclose(f);
	p = strrchr(line, ')');
	must(sscanf(p + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) ==
		     2,
	     "%s: %s", path, line);
	return (long)(user + system) * 1000 / sysconf(_SC_CLK_TCK);
}

static bool has_fds(void *arg)
{
	return count_fds() <= *(int *)arg;
}

static void want_fds(int before)
{
	must(harness_until(has_fds, &before, 10), "the daemon holds %d fds, before it were %d",
	     count_fds(), before);
}

/* ---- the cases ---- */

START_TEST(garbage_gets_an_error_each)
{
	static char big[2 * PACKET_MAX];
	uint64_t seed = harness_seed();
	int fds = count_fds(), fd = raw_connect();

	raw_want_error(fd, "garbage", 7, EBADMSG);
	raw_want_error(fd, "[]", 2, EBADMSG);
	raw_want_error(fd, "{}", 2, EINVAL);
	raw_want_error(fd, "{\"op\":\"list\"}", 13, EPROTO);
	raw_want_error(fd, "{\"op\":\"hello\",\"version\":2}", 26, EPROTONOSUPPORT);
	raw_want_error(fd, big, PACKET_MAX + 1, EMSGSIZE);
	raw_want_error(fd, big, sizeof(big), EMSGSIZE);
	for (int i = 0; i < 2000; i++) {
		size_t len = harness_random(&seed) % 300 + 1;

		for (size_t k = 0; k < len; k++)
			big[k] = (char)harness_random(&seed);
		raw_want_error(fd, big, len, EBADMSG);
	}
	close(fd);
	close(raw_hello());
	want_fds(fds);
}
END_TEST

START_TEST(a_packet_of_0_bytes_ends_the_connection)
{
	char text[64];
	int fd = raw_hello();

	must(send(fd, "", 0, 0) == 0, "send: %s", strerror(errno));
	must(raw_read(fd, text, sizeof(text)) == 0, "got %s", text);
	close(fd);
}
END_TEST

START_TEST(fds_that_clients_send_do_not_stay)
{
	char control[CMSG_SPACE(100 * sizeof(int))] = { 0 }, text[1024];
	struct iovec iov = { .iov_base = "{\"op\":\"list\"}", .iov_len = 13 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int fds = count_fds(), fd = raw_hello();

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(100 * sizeof(int));
	for (int i = 0; i < 100; i++)
		((int *)(void *)CMSG_DATA(c))[i] = fd;
	for (int i = 0; i < 100; i++) {
		/* Newer kernels refuse it at the sender. */
		if (sendmsg(fd, &msg, MSG_NOSIGNAL) < 0) {
			must(errno == EPERM, "sendmsg: %s", strerror(errno));
			continue;
		}
		must(raw_read(fd, text, sizeof(text)) > 0 && strstr(text, "\"errno\""),
		     "fds were accepted: %s", text);
	}
	close(fd);
	want_fds(fds);
}
END_TEST

START_TEST(a_thousand_connections_of_one_user)
{
	static int connections[N_CONNECTIONS];
	int fds = count_fds(), n_served = 0, n_refused = 0;
	struct rlimit limit = { .rlim_cur = 2 * N_CONNECTIONS, .rlim_max = 2 * N_CONNECTIONS };
	char text[1024];

	(void)setrlimit(RLIMIT_NOFILE, &limit);
	for (int i = 0; i < N_CONNECTIONS; i++) {
		static const char hello[] = "{\"op\":\"hello\",\"version\":1}";

		connections[i] = raw_connect();
		must(connections[i] >= 0, "connection %d: %s", i, strerror(errno));
		must(raw_ask(connections[i], hello, strlen(hello), text, sizeof(text)),
		     "connection %d: no answer", i);
		if (strstr(text, "\"ok\":true")) {
			n_served++;
			continue;
		}
		must(strstr(text, "\"errno\":11") != NULL, "connection %d: %s", i, text);
		must(raw_read(connections[i], text, sizeof(text)) == 0,
		     "connection %d: refused and not closed: %s", i, text);
		n_refused++;
	}
	ck_assert_int_eq(n_served, PER_USER);
	ck_assert_int_eq(n_refused, N_CONNECTIONS - PER_USER);
	for (int i = 0; i < N_CONNECTIONS; i++)
		close(connections[i]);
	want_fds(fds);
	close(raw_hello());
}
END_TEST

static int other_user_connects(void *arg)
{
	static const struct harness_user user = { .uid = 4711, .gid = 4711 };

	(void)arg;
	harness_become(&user);
	close(raw_hello());
	return 0;
}

START_TEST(one_user_s_silent_connections_do_not_keep_another_out)
{
	static int connections[PER_USER];

	if (geteuid() != 0)
		return;
	for (int i = 0; i < PER_USER; i++)
		connections[i] = raw_connect();
	harness_reap_ok(harness_fork(other_user_connects, NULL), 20, "the other user");
	for (int i = 0; i < PER_USER; i++)
		close(connections[i]);
}
END_TEST

static const char attach_request[] =
	"{\"op\":\"attach\",\"stream\":\"events\",\"shard\":0,\"role\":\"subscribe\"}";

/* Of memory alone: segments are made ahead, and would come between two counts of fds. */
static void make_stream(void)
{
	struct leat_bus *handle = harness_connect(&bus);
	struct leat_stream_options options;

	leat_stream_options_init(&options);
	options.memory = 1;
	harness_stream(handle, "events", 1, 64 << 10, &options);
	leat_close(handle);
}

START_TEST(a_client_that_never_reads_is_disconnected)
{
	static const char stat_request[] = "{\"op\":\"stat\"}";
	int fds, fd, n = 0;
	long kib;

	make_stream();
	close(raw_hello());
	fds = count_fds();
	kib = resident_kib();
	fd = raw_hello();
	while (send(fd, attach_request, strlen(attach_request), MSG_NOSIGNAL) > 0)
		must(n++ < 100000, "the daemon answers for ever");
	close(fd);
	fd = raw_hello();
	for (n = 0; send(fd, stat_request, strlen(stat_request), MSG_NOSIGNAL) > 0; n++)
		must(n < 100000, "the daemon answers for ever");
	want_fds(fds);
	close(fd);
	close(raw_hello());
	want_resident(kib);
}
END_TEST

/* Clients by the hundred that send what they like and never read; another user's, for root. */
static int flood(void *arg)
{
	static const struct harness_user user = { .uid = 4711, .gid = 4711 };
	const _Atomic uint32_t *is_over = arg;

	signal(SIGPIPE, SIG_IGN);
	if (geteuid() == 0)
		harness_become(&user);
	while (!load_relaxed(is_over)) {
		int fd = raw_connect();

		if (fd < 0)
			continue;
		for (int i = 0; i < 20; i++)
			(void)!send(fd, attach_request, strlen(attach_request),
				    MSG_NOSIGNAL | MSG_DONTWAIT);
		close(fd);
	}
	return 0;
}

/* False when the user has as many connections as he may: he is the one who floods. */
static bool is_greeted(void)
{
	static const char hello[] = "{\"op\":\"hello\",\"version\":1}";
	char text[1024] = "";
	int fd = raw_connect();
	bool there = fd >= 0 && raw_ask(fd, hello, strlen(hello), text, sizeof(text));

	close(fd);
	must(there && (strstr(text, "\"ok\":true") ||
		       (geteuid() != 0 && strstr(text, "\"errno\":11"))),
	     "hello: %s", text);
	return strstr(text, "\"ok\":true") != NULL;
}

START_TEST(others_are_served_during_a_flood)
{
	_Atomic uint32_t *is_over = harness_shared(sizeof(*is_over));
	uint64_t begin, worst = 0;
	int fds, n = 0;
	pid_t pids[2];

	make_stream();
	close(raw_hello());
	fds = count_fds();
	for (int i = 0; i < 2; i++)
		pids[i] = harness_fork(flood, (void *)is_over);
	while (n < 20) {
		begin = harness_now_ns();
		n += is_greeted();
		worst = harness_now_ns() - begin > worst ? harness_now_ns() - begin : worst;
	}
	store_relaxed(is_over, 1);
	for (int i = 0; i < 2; i++)
		harness_reap_ok(pids[i], 20, "a flooder");
	printf("%d hellos during the flood, the slowest took %.1f ms\n", n, (double)worst / 1e6);
	want_fds(fds);
}
END_TEST

START_TEST(running_out_of_fds_is_said_and_does_not_spin)
{
	static int connections[200];
	struct rlimit old, low;
	int n_refused = 0;
	char text[1024];
	long before;

	must(prlimit(bus.pid, RLIMIT_NOFILE, NULL, &old) == 0, "prlimit: %s", strerror(errno));
	low = old;
	low.rlim_cur = (rlim_t)count_fds() + 20;
	must(prlimit(bus.pid, RLIMIT_NOFILE, &low, NULL) == 0, "prlimit: %s", strerror(errno));
	for (int i = 0; i < 200; i++) {
		static const char hello[] = "{\"op\":\"hello\",\"version\":1}";

		connections[i] = raw_connect();
		must(connections[i] >= 0, "connection %d: %s", i, strerror(errno));
		if (raw_ask(connections[i], hello, strlen(hello), text, sizeof(text)))
			n_refused += strstr(text, "\"errno\":24") != NULL;
	}
	must(n_refused > 100, "only %d of 200 were refused", n_refused);
	before = busy_ms();
	sleep(1);
	must(busy_ms() - before < 300, "%ld ms of processor time in a second of nothing",
	     busy_ms() - before);
	for (int i = 0; i < 200; i++)
		close(connections[i]);
	must(prlimit(bus.pid, RLIMIT_NOFILE, &old, NULL) == 0, "prlimit: %s", strerror(errno));
	close(raw_hello());
}
END_TEST

START_TEST(streams_made_and_removed_by_clients_that_die_leave_nothing)
{
	static const char *const requests[] = {
		"{\"op\":\"create\",\"stream\":\"s\",\"options\":{\"ring\":65536,\"shards\":2}}",
		"{\"op\":\"remove\",\"stream\":\"s\"}",
	};
	struct leat_bus *handle;
	char text[4096];
	long kib = 0;
	int fds = 0;

	for (int i = 0; i < 60; i++) {
		int fd = raw_hello(), there;

		/* Half of the clients do not wait for what becomes of their request. */
		must(send(fd, requests[i % 2], strlen(requests[i % 2]), MSG_NOSIGNAL) > 0, "%s",
		     strerror(errno));
		if (i % 4 < 2)
			(void)raw_read(fd, text, sizeof(text));
		else
			usleep((useconds_t)(i * 100));
		close(fd);
		fd = raw_hello();
		there = raw_ask(fd, requests[1], strlen(requests[1]), text, sizeof(text));
		must(there, "no answer to remove");
		close(fd);
		if (i == 19) {
			usleep(500000);
			fds = count_fds();
			kib = resident_kib();
		}
	}
	usleep(500000);
	handle = harness_connect(&bus);
	(void)leat_stream_delete(handle, "s");
	leat_close(handle);
	want_fds(fds + 1);
	want_resident(kib);
}
END_TEST

/* Takes a publisher slot and dies. */
static int publish_and_die(void *arg)
{
	static const char request[] =
		"{\"op\":\"attach\",\"stream\":\"events\",\"shard\":0,\"role\":\"publish\"}";
	char text[1024];
	int fd = raw_hello();

	(void)arg;
	if (!raw_ask(fd, request, strlen(request), text, sizeof(text)) ||
	    !strstr(text, "\"ok\":true")) {
		fprintf(stderr, "attach: %s\n", text);
		return 1;
	}
	raise(SIGKILL);
	return 2;
}

START_TEST(slots_of_the_dead_are_free_again)
{
	int fds;

	make_stream();
	close(raw_hello());
	fds = count_fds();
	/* More than there are slots. */
	for (int i = 0; i < 400; i++) {
		int status = harness_reap(harness_fork(publish_and_die, NULL), 20);

		must(WIFSIGNALED(status), "publisher %d ended with %#x", i, status);
	}
	want_fds(fds);
}
END_TEST

START_TEST(it_ends_properly_with_clients_of_all_kinds)
{
	int fd[3];

	make_stream();
	fd[0] = raw_connect();
	fd[1] = raw_hello();
	fd[2] = raw_hello();
	(void)!send(fd[2], attach_request, strlen(attach_request), MSG_NOSIGNAL);
	harness_bus_stop(&bus);
	harness_bus_restart(&bus);
	for (int i = 0; i < 3; i++)
		close(fd[i]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sys_control_flood");
	TCase *tcase = tcase_create("flood");

	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, garbage_gets_an_error_each);
	tcase_add_test(tcase, a_packet_of_0_bytes_ends_the_connection);
	tcase_add_test(tcase, fds_that_clients_send_do_not_stay);
	tcase_add_test(tcase, a_thousand_connections_of_one_user);
	tcase_add_test(tcase, one_user_s_silent_connections_do_not_keep_another_out);
	tcase_add_test(tcase, a_client_that_never_reads_is_disconnected);
	tcase_add_test(tcase, others_are_served_during_a_flood);
	tcase_add_test(tcase, running_out_of_fds_is_said_and_does_not_spin);
	tcase_add_test(tcase, streams_made_and_removed_by_clients_that_die_leave_nothing);
	tcase_add_test(tcase, slots_of_the_dead_are_free_again);
	tcase_add_test(tcase, it_ends_properly_with_clients_of_all_kinds);
	suite_add_tcase(suite, tcase);
	return harness_main(suite);
}
