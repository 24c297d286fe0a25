/* SPDX-License-Identifier: Apache-2.0 */
/* The connection against a daemon that says what the case wants it to. */
#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "clientlib/attach.h"
#include "clientlib/control.h"
#include "clientlib/describe.h"

enum {
	REPLY_FDS_MAX = 4
};

/* What the false daemon does with one request. */
struct script {
	const char *reply; /* after hello; NULL = hang up; "" = stay silent */
	int fds[REPLY_FDS_MAX];
	int n_fds;
	bool echo_id;     /* the request's own id is put in place of the first '#' */
	bool keep_silent; /* on the request before, which is answered together with this one */
	int wait_fd;      /* if not 0: answers when there is something to be read from it */
	int n_more;       /* so many times more */
};

static char path[64];
static int listener;
static pthread_t thread;
static const struct script *scripts;
static int n_scripts;
static struct control control;
static struct detail detail;

static void send_reply(int fd, const char *text, size_t len, const int *fds, int n_fds)
{
	char room[CMSG_SPACE(REPLY_FDS_MAX * sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)text, .iov_len = len };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;

	if (n_fds > 0) {
		message.msg_control = room;
		message.msg_controllen = CMSG_SPACE((size_t)n_fds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&message);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN((size_t)n_fds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, (size_t)n_fds * sizeof(int));
	}
	(void)!sendmsg(fd, &message, MSG_NOSIGNAL);
}

static void answer(int fd, const struct script *script, const char *request)
{
	const char *hash = strchr(script->reply, '#');
	unsigned long long id = 0;
	char text[4096];
	int n;

	if (!script->echo_id || !hash) {
		send_reply(fd, script->reply, strlen(script->reply), script->fds, script->n_fds);
		return;
	}
	sscanf(strstr(request, "\"id\":") + 5, "%llu", &id);
	n = snprintf(text, sizeof(text), "%.*s%llu%s", (int)(hash - script->reply), script->reply,
		     id, hash + 1);
	send_reply(fd, text, (size_t)n, script->fds, script->n_fds);
}

static void *serve(void *arg)
{
	static const char hello[] = "{\"ok\":true,\"version\":1,\"pid\":1,\"instance\":7}";
	const struct script *held = NULL;
	int fd = accept(listener, NULL, NULL), i = 0;
	char request[4096], earlier[4096] = "";
	ssize_t n;

	(void)arg;
	while (fd >= 0 && i <= n_scripts) {
		n = recv(fd, request, sizeof(request) - 1, 0);
		if (n <= 0) {
			close(fd);
			if (i == n_scripts)
				return NULL;
			fd = accept(listener, NULL, NULL);
			continue;
		}
		request[n] = 0;
		if (strstr(request, "\"hello\"")) {
			send_reply(fd, hello, strlen(hello), NULL, 0);
			continue;
		}
		ck_assert_int_lt(i, n_scripts);
		if (!scripts[i].reply) {
			close(fd);
			i++;
			fd = accept(listener, NULL, NULL);
			continue;
		}
		if (scripts[i].keep_silent) {
			held = &scripts[i++];
			strcpy(earlier, request);
			continue;
		}
		if (held)
			answer(fd, held, earlier);
		held = NULL;
		if (scripts[i].wait_fd)
			(void)!read(scripts[i].wait_fd, earlier, 8);
		for (int more = scripts[i].n_more; more > 0; more--)
			answer(fd, &scripts[i], request);
		answer(fd, &scripts[i++], request);
	}
	if (fd >= 0)
		close(fd);
	return NULL;
}

static void setup(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(path, sizeof(path), "/tmp/leat-test-control.%d", (int)getpid());
	unlink(path);
	strcpy(address.sun_path, path);
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(listener, 8), 0);
	ck_assert_int_eq(control_init(&control, path, "test", NS_PER_S), 0);
	detail_clear(&detail);
}

static void teardown(void)
{
	control_deinit(&control);
	shutdown(listener, SHUT_RDWR);
	close(listener);
	if (n_scripts >= 0)
		pthread_join(thread, NULL);
	unlink(path);
}

static void play(const struct script *what, int n)
{
	scripts = what;
	n_scripts = n;
	ck_assert_int_eq(pthread_create(&thread, NULL, serve, NULL), 0);
}

static int request(uint64_t timeout_ns, struct control_reply *ret_reply)
{
	struct deadline deadline = DEADLINE(timeout_ns);
	json_t *object = json_pack("{s:s}", "op", "test");
	int r = control_request(&control, object, &deadline, ret_reply, &detail);

	json_decref(object);
	return r;
}

/* In the place of the connection one that nobody reads from; the other end. */
static int replace_connection(void)
{
	struct deadline deadline = DEADLINE(NS_PER_S);
	int pair[2];

	ck_assert_int_eq(control_connect(&control, &deadline, &detail), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_int_eq(dup3(pair[0], control.fd, O_CLOEXEC), control.fd);
	close(pair[0]);
	return pair[1];
}

/* For the whole program: says that it is ready, as long as it is to. */
static _Atomic bool poll_lies;

int poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	struct timespec timeout = { .tv_sec = timeout_ms / 1000,
				    .tv_nsec = timeout_ms % 1000 * 1000000L };

	if (!load_acquire(&poll_lies))
		return ppoll(fds, n, timeout_ms < 0 ? NULL : &timeout, NULL);
	for (nfds_t i = 0; i < n; i++)
		fds[i].revents = fds[i].events;
	return (int)n;
}

static int n_open_fds(void)
{
	int n = 0, fd;

	for (fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

START_TEST(a_reply_is_given_with_its_fds_by_name)
{
	struct script script = { .reply = "{\"ok\":true,\"fds\":[\"a\",\"b\"],\"n\":5}",
				 .fds = { listener, listener },
				 .n_fds = 2 };
	struct control_reply reply;
	uint64_t n;
	int before = n_open_fds(), fd;

	play(&script, 1);
	ck_assert_int_eq(request(10 * NS_PER_S, &reply), 0);
	ck_assert(control_get_u64(reply.object, "n", &n) && n == 5);
	ck_assert_int_eq(control_take_fd(&reply, "c"), -1);
	fd = control_take_fd(&reply, "b");
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(control_take_fd(&reply, "b"), -1);
	ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
	close(fd);
	control_reply_deinit(&reply);
	/* The connection's two ends are new. */
	ck_assert_int_eq(n_open_fds(), before + 2);
}
END_TEST

START_TEST(fds_of_replies_that_are_refused_are_closed)
{
	struct script three[] = {
		{ .reply = "nonsense", .fds = { listener }, .n_fds = 1 },
		{ .reply = "{\"ok\":false,\"errno\":13,\"error\":\"no\"}",
		  .fds = { listener, 1 },
		  .n_fds = 2 },
		{ .reply = "{\"ok\":true,\"id\":999999}", .fds = { listener }, .n_fds = 1 },
	};
	struct control_reply reply;
	int before = n_open_fds();

	play(three, 3);
	ck_assert_int_eq(request(10 * NS_PER_S, &reply), -EBADMSG);
	ck_assert_int_eq(request(10 * NS_PER_S, &reply), -EACCES);
	ck_assert_str_eq(detail.text, "no");
	ck_assert_int_eq(request(50 * NS_PER_MS, &reply), -ETIMEDOUT);
	ck_assert_int_le(n_open_fds(), before + 2);
}
END_TEST

START_TEST(a_connection_that_ends_is_made_again)
{
	struct script two[] = { { .reply = NULL }, { .reply = "{\"ok\":true}" } };
	struct control_reply reply;
	uint32_t epoch;

	play(two, 2);
	epoch = control_epoch(&control);
	ck_assert_int_eq(request(5 * NS_PER_S, &reply), 0);
	control_reply_deinit(&reply);
	ck_assert_uint_eq(control_epoch(&control), epoch + 1);
}
END_TEST

START_TEST(a_late_reply_is_not_taken_for_the_next_one)
{
	struct script two[] = {
		{ .reply = "{\"ok\":true,\"id\":#,\"n\":1}", .echo_id = true, .keep_silent = true },
		{ .reply = "{\"ok\":true,\"id\":#,\"n\":2}", .echo_id = true },
	};
	struct control_reply reply;

	play(two, 2);
	ck_assert_int_eq(request(50 * NS_PER_MS, &reply), -ETIMEDOUT);
	ck_assert_ptr_nonnull(strstr(detail.text, path));
	/* One at a time: the second is not sent before the first one's reply is there. */
	ck_assert_int_eq(request(50 * NS_PER_MS, &reply), -ETIMEDOUT);
}
END_TEST

START_TEST(after_a_late_reply_the_connection_goes_on)
{
	int gate = eventfd(0, EFD_CLOEXEC);
	struct script two[] = {
		{ .reply = "{\"ok\":true,\"id\":#,\"n\":1}", .echo_id = true, .wait_fd = gate },
		{ .reply = "{\"ok\":true,\"id\":#,\"n\":2}", .echo_id = true },
	};
	const uint64_t one = 1;
	struct control_reply reply;
	uint32_t epoch;
	uint64_t n;

	play(two, 2);
	ck_assert_int_eq(request(50 * NS_PER_MS, &reply), -ETIMEDOUT);
	epoch = control_epoch(&control);
	ck_assert_int_eq(write(gate, &one, sizeof(one)), sizeof(one));
	ck_assert_int_eq(request(10 * NS_PER_S, &reply), 0);
	ck_assert(control_get_u64(reply.object, "n", &n) && n == 2);
	control_reply_deinit(&reply);
	ck_assert_uint_eq(control_epoch(&control), epoch);
	close(gate);
}
END_TEST

START_TEST(replies_of_others_without_end_are_not_waited_for_without_end)
{
	struct script one = { .reply = "{\"ok\":true,\"id\":0}", .n_more = 30 };
	struct control_reply reply;

	play(&one, 1);
	ck_assert_int_eq(request(10 * NS_PER_S, &reply), -EBADMSG);
}
END_TEST

START_TEST(a_refusal_without_an_errno_is_no_answer)
{
	struct script some[] = { { .reply = "{\"ok\":false}" },
				 { .reply = "{\"ok\":false,\"errno\":0}" },
				 { .reply = "{\"ok\":false,\"errno\":4096}" },
				 { .reply = "[]" },
				 { .reply = "{\"ok\":false,\"errno\":13}" } };
	struct control_reply reply;

	play(some, ARRAY_LEN(some));
	for (size_t i = 0; i + 1 < ARRAY_LEN(some); i++)
		ck_assert_int_eq(request(10 * NS_PER_S, &reply), -EBADMSG);
	ck_assert_int_eq(request(10 * NS_PER_S, &reply), -EACCES);
	ck_assert_str_eq(detail.text, strerror(EACCES));
}
END_TEST

START_TEST(fds_that_do_not_fit_are_said_so_and_those_that_did_are_closed)
{
	struct script two[] = {
		{ .reply = "{\"ok\":true}", .fds = { 0, 1, 2 }, .n_fds = 3 },
		{ .reply = "{\"ok\":true}", .fds = { 0, 1, 2 }, .n_fds = 3 },
	};
	struct deadline deadline = DEADLINE(NS_PER_S);
	struct control_reply reply;
	struct rlimit limit;
	rlim_t before;
	int fd, n_before;

	play(two, 2);
	ck_assert_int_eq(control_connect(&control, &deadline, &detail), 0);
	n_before = n_open_fds();
	fd = dup(0);
	close(fd);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	before = limit.rlim_cur;
	limit.rlim_cur = (rlim_t)fd + 1;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_int_eq(request(10 * NS_PER_S, &reply), -EMFILE);
	ck_assert_ptr_nonnull(strstr(detail.text, "ulimit -n"));
	ck_assert_int_eq(n_open_fds(), n_before);
	limit.rlim_cur = before;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_int_eq(request(10 * NS_PER_S, &reply), 0);
	ck_assert_uint_eq(reply.n_fds, 3);
	control_reply_deinit(&reply);
}
END_TEST

START_TEST(what_cannot_be_sent_is_refused_before_it_is)
{
	static char name[70000];
	struct deadline deadline = DEADLINE(NS_PER_S);
	struct attach_request wanted = { .stream = "\xff", .access = REGION_SUBSCRIBER };
	struct leat_stream_info *info;
	struct control_reply reply;
	struct attach_reply attached;
	struct control strange;
	json_t *object;

	play(NULL, 0);
	memset(name, 'n', sizeof(name) - 1);
	object = json_pack("{s:s}", "op", name);
	ck_assert_int_eq(control_request(&control, object, &deadline, &reply, &detail), -EMSGSIZE);
	json_decref(object);
	ck_assert_int_eq(attach(&control, &wanted, &deadline, &attached, &detail), -EINVAL);
	ck_assert_int_eq(describe(&control, "\xff", &deadline, &info, &detail), -EINVAL);
	ck_assert_ptr_nonnull(strstr(detail.text, "UTF-8"));
	control_deinit(&control);
	ck_assert_int_eq(control_init(&strange, path, "\xff", NS_PER_S), 0);
	ck_assert_int_eq(control_connect(&strange, &deadline, &detail), -EINVAL);
	ck_assert_ptr_nonnull(strstr(detail.text, "client"));
	control_deinit(&strange);
}
END_TEST

START_TEST(a_daemon_that_accepts_nobody_is_not_waited_for_beyond_the_deadline)
{
	struct deadline deadline = DEADLINE(100 * NS_PER_MS);
	int waiting[16];

	n_scripts = -1;
	ck_assert_int_eq(listen(listener, 0), 0);
	for (size_t i = 0; i < ARRAY_LEN(waiting); i++) {
		waiting[i] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		(void)!connect(waiting[i], (struct sockaddr *)&control.address,
			       sizeof(control.address));
	}
	ck_assert_int_eq(control_connect(&control, &deadline, &detail), -ETIMEDOUT);
	ck_assert_ptr_nonnull(strstr(detail.text, path));
	for (size_t i = 0; i < ARRAY_LEN(waiting); i++)
		close(waiting[i]);
}
END_TEST

START_TEST(who_is_ready_and_takes_nothing_is_not_waited_for_beyond_the_deadline)
{
	static const char packet[4096];
	struct control_reply reply;
	int other;

	play(NULL, 0);
	other = replace_connection();
	while (send(control.fd, packet, sizeof(packet), MSG_DONTWAIT) > 0)
		;
	ck_assert_int_eq(errno, EAGAIN);
	store_release(&poll_lies, true);
	ck_assert_int_eq(request(100 * NS_PER_MS, &reply), -ETIMEDOUT);
	store_release(&poll_lies, false);
	close(other);
}
END_TEST

START_TEST(who_is_ready_and_gives_nothing_is_not_waited_for_beyond_the_deadline)
{
	struct control_reply reply;
	int other;

	play(NULL, 0);
	other = replace_connection();
	store_release(&poll_lies, true);
	ck_assert_int_eq(request(100 * NS_PER_MS, &reply), -ETIMEDOUT);
	store_release(&poll_lies, false);
	close(other);
}
END_TEST

START_TEST(to_what_could_not_be_sent_no_reply_is_waited_for)
{
	struct script one = { .reply = "{\"ok\":true}" };
	struct control_reply reply;
	int other;

	play(&one, 1);
	other = replace_connection();
	ck_assert_int_eq(shutdown(control.fd, SHUT_WR), 0);
	ck_assert_int_eq(request(10 * NS_PER_S, &reply), 0);
	control_reply_deinit(&reply);
	close(other);
}
END_TEST

static void *ask_beside(void *arg)
{
	struct control_reply reply;
	struct deadline deadline = DEADLINE(*(uint64_t *)arg);
	json_t *object = json_pack("{s:s}", "op", "test");
	int r = control_request(&control, object, &deadline, &reply, NULL);

	if (r == 0)
		control_reply_deinit(&reply);
	json_decref(object);
	return (void *)(intptr_t)r;
}

static bool is_busy(void)
{
	bool busy;

	pthread_mutex_lock(&control.lock);
	busy = control.busy;
	pthread_mutex_unlock(&control.lock);
	return busy;
}

START_TEST(two_threads_share_a_connection_one_request_at_a_time)
{
	int gate = eventfd(0, EFD_CLOEXEC);
	struct script two[] = {
		{ .reply = "{\"ok\":true,\"id\":#}", .echo_id = true, .wait_fd = gate },
		{ .reply = "{\"ok\":true,\"id\":#}", .echo_id = true },
	};
	uint64_t forever = DEADLINE_FOREVER, soon = 50 * NS_PER_MS;
	pthread_t first, second;
	const uint64_t one = 1;
	uint32_t epoch;
	void *r;

	play(two, 2);
	epoch = control_epoch(&control);
	ck_assert_int_eq(pthread_create(&first, NULL, ask_beside, &forever), 0);
	while (!is_busy())
		sched_yield();
	/* Who waits for the connection waits as long as he said; a look waits for nobody. */
	ck_assert_ptr_eq(ask_beside(&soon), (void *)(intptr_t)-ETIMEDOUT);
	ck_assert_uint_eq(control_epoch(&control), epoch);
	ck_assert_int_eq(pthread_create(&second, NULL, ask_beside, &forever), 0);
	ck_assert_int_eq(write(gate, &one, sizeof(one)), sizeof(one));
	pthread_join(first, &r);
	ck_assert_ptr_null(r);
	pthread_join(second, &r);
	ck_assert_ptr_null(r);
	close(gate);
}
END_TEST

START_TEST(a_long_reply_comes_in_a_sealed_memfd_and_no_other)
{
	static const char body[] = "{\"ok\":true,\"n\":6}";
	int sealed = memfd_create("sealed", MFD_ALLOW_SEALING);
	int loose = memfd_create("loose", MFD_ALLOW_SEALING);
	struct script three[] = {
		{ .reply = "{\"ok\":true,\"body\":17,\"fds\":[\"body\"]}",
		  .fds = { sealed },
		  .n_fds = 1 },
		{ .reply = "{\"ok\":true,\"body\":17,\"fds\":[\"body\"]}",
		  .fds = { loose },
		  .n_fds = 1 },
		{ .reply = "{\"ok\":true,\"body\":18,\"fds\":[\"body\"]}",
		  .fds = { sealed },
		  .n_fds = 1 },
	};
	struct control_reply reply;
	uint64_t n;

	ck_assert_int_eq(write(sealed, body, 17), 17);
	ck_assert_int_eq(write(loose, body, 17), 17);
	ck_assert_int_eq(fcntl(sealed, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE), 0);
	play(three, 3);
	ck_assert_int_eq(request(10 * NS_PER_S, &reply), 0);
	ck_assert(control_get_u64(reply.object, "n", &n) && n == 6);
	control_reply_deinit(&reply);
	ck_assert_int_eq(request(10 * NS_PER_S, &reply), -EBADMSG);
	ck_assert_int_eq(request(10 * NS_PER_S, &reply), -EBADMSG);
	close(sealed);
	close(loose);
}
END_TEST

START_TEST(a_long_reply_that_cannot_be_is_refused)
{
	static const char *const heads[] = {
		"{\"ok\":true,\"body\":17}",
		"{\"ok\":true,\"body\":17,\"fds\":[7]}",
		"{\"ok\":true,\"body\":17,\"fds\":[\"other\"]}",
		"{\"ok\":true,\"body\":0,\"fds\":[\"body\"]}",
		"{\"ok\":true,\"body\":67108865,\"fds\":[\"body\"]}",
		/* These would be read, and hold no object and no JSON. */
		"{\"ok\":true,\"body\":17,\"fds\":[\"body\"]}",
		"{\"ok\":true,\"body\":16,\"fds\":[\"body\"]}",
	};
	struct script script[ARRAY_LEN(heads)];
	int sealed = memfd_create("sealed", MFD_ALLOW_SEALING);
	struct control_reply reply;

	ck_assert_int_eq(write(sealed, "[\"ok\",true,1,23]", 17), 17);
	ck_assert_int_eq(ftruncate(sealed, 65 << 20), 0);
	ck_assert_int_eq(fcntl(sealed, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE), 0);
	for (size_t i = 0; i < ARRAY_LEN(heads); i++)
		script[i] = (struct script){ .reply = heads[i], .fds = { sealed }, .n_fds = 1 };
	play(script, ARRAY_LEN(script));
	for (size_t i = 0; i < ARRAY_LEN(heads); i++)
		ck_assert_msg(request(10 * NS_PER_S, &reply) == -EBADMSG, "%s", heads[i]);
	close(sealed);
}
END_TEST

START_TEST(a_daemon_that_is_away_is_waited_for_until_the_deadline)
{
	struct control_reply reply;
	uint64_t begun = clock_now_ns(CLOCK_MONOTONIC), took;

	n_scripts = -1;
	close(listener);
	unlink(path);
	ck_assert_int_eq(request(100 * NS_PER_MS, &reply), -ENOTCONN);
	took = clock_now_ns(CLOCK_MONOTONIC) - begun;
	ck_assert_uint_ge(took, 100 * NS_PER_MS);
	ck_assert_uint_lt(took, 5 * NS_PER_S);
	ck_assert_ptr_nonnull(strstr(detail.text, path));
	ck_assert_int_eq(control_epoch(&control), 0);
}
END_TEST

/* A slot that came without its ring is no use to anybody: the next request gives it back. */
static const char given_back[] = "{\"ok\":true}";

START_TEST(an_attach_reply_without_what_was_asked_for_is_refused)
{
	static const char *const replies[] = {
		"{\"ok\":true}",
		"{\"ok\":true,\"slot\":-1,\"fds\":[\"kick\"]}",
		"{\"ok\":true,\"slot\":256,\"fds\":[\"kick\"]}",
		"{\"ok\":true,\"slot\":1,\"shards\":129,\"fds\":[\"kick\"]}",
		"{\"ok\":true,\"slot\":1,\"fds\":[\"kick\"]}",
		given_back,
		"{\"ok\":true,\"slot\":1,\"fds\":[\"kick\",\"ring\"]}",
		given_back,
		"{\"ok\":true,\"slot\":1,\"fds\":\"kick\"}",
	};
	struct script script[ARRAY_LEN(replies)];
	struct attach_request wanted = { .stream = "s", .access = REGION_PUBLISHER };
	struct attach_reply reply;
	size_t i;

	for (i = 0; i < ARRAY_LEN(replies); i++)
		script[i] = (struct script){ .reply = replies[i],
					     .fds = { listener, listener },
					     .n_fds = 2 };
	play(script, ARRAY_LEN(replies));
	for (i = 0; i < ARRAY_LEN(replies); i++) {
		struct deadline deadline = DEADLINE(NS_PER_S);

		if (replies[i] == given_back)
			continue;
		ck_assert_int_lt(attach(&control, &wanted, &deadline, &reply, &detail), 0);
	}
}
END_TEST

START_TEST(a_ring_that_is_not_the_one_asked_for_is_refused_and_unmapped)
{
	static const char reply[] = "{\"ok\":true,\"shards\":3,"
				    "\"fds\":[\"ring\",\"publish\",\"govern\",\"wait\"]}";
	const struct region_options made = { .stream_uuid = "the one we know",
					     .shard = 2,
					     .generation = 5,
					     .ring_len = LAYOUT_RING_MIN,
					     .first_pos = LAYOUT_FIRST_POS,
					     .node = -1 };
	const struct {
		uint32_t shard, at_least;
		const char *uuid;
		int r;
	} cases[] = {
		{ 1, 0, NULL, -EBADMSG },
		{ 2, 0, "another of name", -ENOENT },
		{ 2, 6, "the one we know", -EAGAIN },
		{ 2, 5, "the one we know", 0 },
	};
	struct script script[ARRAY_LEN(cases)];
	struct attach_reply attached;
	struct region_fds fds;
	int before;

	ck_assert_int_eq(region_create(&made, &fds, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		script[i] = (struct script){ .reply = reply, .n_fds = 4 };
		memcpy(script[i].fds, fds.fd, sizeof(script[i].fds));
	}
	play(script, ARRAY_LEN(script));
	before = n_open_fds();
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct deadline deadline = DEADLINE(NS_PER_S);
		struct attach_request wanted = { .stream = "s",
						 .shard = cases[i].shard,
						 .at_least = cases[i].at_least,
						 .uuid = (const uint8_t *)cases[i].uuid,
						 .access = REGION_SUBSCRIBER };

		ck_assert_int_eq(attach(&control, &wanted, &deadline, &attached, &detail),
				 cases[i].r);
	}
	ck_assert_uint_eq(attached.ring->generation, 5);
	ck_assert_uint_eq(attached.n_shards, 3);
	ring_close(attached.ring);
	/* The connection's two ends are new. */
	ck_assert_int_eq(n_open_fds(), before + 2);
	region_fds_close(&fds);
}
END_TEST

START_TEST(a_description_with_anything_missing_does_no_harm)
{
	static const char *const objects[] = {
		"{}",
		"{\"shards\":[]}",
		"{\"shards\":[1]}",
		"{\"shards\":{\"a\":1}}",
		"{\"shards\":[{\"shard\":4294967296}]}",
		"{\"name\":7,\"uuid\":{},\"options\":[],\"may\":{},\"shards\":[{}]}",
		"[]",
		"null",
	};
	struct leat_stream_info *info;
	json_t *object;
	size_t i;

	n_scripts = -1;
	for (i = 0; i < ARRAY_LEN(objects); i++) {
		object = json_loads(objects[i], JSON_DECODE_ANY, NULL);
		ck_assert_ptr_nonnull(object);
		ck_assert_int_eq(describe_parse(object, &info), -EBADMSG);
		json_decref(object);
	}
	object = json_pack("{s:[]}", "shards");
	for (i = 0; i <= ATTACH_SHARDS_MAX; i++)
		json_array_append_new(json_object_get(object, "shards"),
				      json_pack("{s:i}", "shard", (int)i));
	ck_assert_int_eq(describe_parse(object, &info), -EBADMSG);
	json_decref(object);
	object = json_loads("{\"shards\":[{\"shard\":0,\"latest\":-5}],\"may\":[1,\"publish\"],"
			    "\"uuid\":\"0123456789012345678901234567890123456789\"}",
			    0, NULL);
	ck_assert_int_eq(describe_parse(object, &info), 0);
	ck_assert_uint_eq(strlen(info->uuid), 36);
	ck_assert_str_eq(info->name, "");
	ck_assert_int_eq(info->may_publish, 1);
	leat_stream_info_free(info);
	json_decref(object);
}
END_TEST

START_TEST(options_are_sent_as_words_and_numbers)
{
	struct leat_stream_options options = { .size = sizeof(options),
					       .n_shards = 2,
					       .sync = LEAT_SYNC_INTERVAL,
					       .sync_ns = 5,
					       .memory = 1,
					       .owner = "root" };
	json_t *object = describe_options(&options, &detail);

	n_scripts = -1;
	ck_assert_int_eq(json_integer_value(json_object_get(object, "shards")), 2);
	ck_assert_int_eq(json_integer_value(json_object_get(object, "sync")), 5);
	ck_assert(json_is_true(json_object_get(object, "memory")));
	ck_assert_str_eq(json_string_value(json_object_get(object, "owner")), "root");
	ck_assert_ptr_null(json_object_get(object, "ring"));
	json_decref(object);
	options.sync_ns = 0;
	ck_assert_ptr_null(describe_options(&options, &detail));
	ck_assert_str_ne(detail.text, "");
	options.sync_ns = UINT64_MAX;
	ck_assert_ptr_null(describe_options(&options, &detail));
	options.sync = (enum leat_sync)77;
	ck_assert_ptr_null(describe_options(&options, &detail));
	options.sync = LEAT_SYNC_NONE;
	object = describe_options(&options, &detail);
	ck_assert_str_eq(json_string_value(json_object_get(object, "sync")), "none");
	json_decref(object);
	options.full = (enum leat_full)77;
	ck_assert_ptr_null(describe_options(&options, &detail));
	ck_assert_ptr_nonnull(strstr(detail.text, "77"));
	options.full = LEAT_FULL_FAIL;
	options.on_disk_full = (enum leat_disk_full) - 1;
	ck_assert_ptr_null(describe_options(&options, &detail));
	ck_assert_ptr_nonnull(strstr(detail.text, "on_disk_full"));
	options.on_disk_full = LEAT_DISK_FULL_STOP;
	options.hash = (enum leat_hash)78;
	ck_assert_ptr_null(describe_options(&options, &detail));
	ck_assert_ptr_nonnull(strstr(detail.text, "hash"));
	options = (struct leat_stream_options){ .size = sizeof(options), .owner = "\xff" };
	ck_assert_ptr_null(describe_options(&options, &detail));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("control");
	TCase *tc = tcase_create("control");
	SRunner *runner;
	int n_failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, a_reply_is_given_with_its_fds_by_name);
	tcase_add_test(tc, fds_of_replies_that_are_refused_are_closed);
	tcase_add_test(tc, a_connection_that_ends_is_made_again);
	tcase_add_test(tc, a_late_reply_is_not_taken_for_the_next_one);
	tcase_add_test(tc, after_a_late_reply_the_connection_goes_on);
	tcase_add_test(tc, replies_of_others_without_end_are_not_waited_for_without_end);
	tcase_add_test(tc, a_refusal_without_an_errno_is_no_answer);
	tcase_add_test(tc, fds_that_do_not_fit_are_said_so_and_those_that_did_are_closed);
	tcase_add_test(tc, what_cannot_be_sent_is_refused_before_it_is);
	tcase_add_test(tc, a_daemon_that_accepts_nobody_is_not_waited_for_beyond_the_deadline);
	tcase_add_test(tc, who_is_ready_and_takes_nothing_is_not_waited_for_beyond_the_deadline);
	tcase_add_test(tc, who_is_ready_and_gives_nothing_is_not_waited_for_beyond_the_deadline);
	tcase_add_test(tc, to_what_could_not_be_sent_no_reply_is_waited_for);
	tcase_add_test(tc, two_threads_share_a_connection_one_request_at_a_time);
	tcase_add_test(tc, a_long_reply_comes_in_a_sealed_memfd_and_no_other);
	tcase_add_test(tc, a_long_reply_that_cannot_be_is_refused);
	tcase_add_test(tc, a_daemon_that_is_away_is_waited_for_until_the_deadline);
	tcase_add_test(tc, an_attach_reply_without_what_was_asked_for_is_refused);
	tcase_add_test(tc, a_ring_that_is_not_the_one_asked_for_is_refused_and_unmapped);
	tcase_add_test(tc, a_description_with_anything_missing_does_no_harm);
	tcase_add_test(tc, options_are_sent_as_words_and_numbers);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
