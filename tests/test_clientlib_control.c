/* SPDX-License-Identifier: Apache-2.0 */
/* The connection against a daemon that says what the case wants it to. */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
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
	ck_assert_int_eq(request(NS_PER_S, &reply), 0);
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
	ck_assert_int_eq(request(NS_PER_S, &reply), -EBADMSG);
	ck_assert_int_eq(request(NS_PER_S, &reply), -EACCES);
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
	ck_assert_int_eq(request(NS_PER_S, &reply), 0);
	ck_assert(control_get_u64(reply.object, "n", &n) && n == 6);
	control_reply_deinit(&reply);
	ck_assert_int_eq(request(NS_PER_S, &reply), -EBADMSG);
	ck_assert_int_eq(request(NS_PER_S, &reply), -EBADMSG);
	close(sealed);
	close(loose);
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

START_TEST(an_attach_reply_without_what_was_asked_for_is_refused)
{
	static const char *const replies[] = {
		"{\"ok\":true}",
		"{\"ok\":true,\"slot\":-1,\"fds\":[\"kick\"]}",
		"{\"ok\":true,\"slot\":256,\"fds\":[\"kick\"]}",
		"{\"ok\":true,\"slot\":1,\"shards\":129,\"fds\":[\"kick\"]}",
		"{\"ok\":true,\"slot\":1,\"fds\":[\"kick\"]}",
		"{\"ok\":true,\"slot\":1,\"fds\":[\"kick\",\"ring\"]}",
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

		ck_assert_int_lt(attach(&control, &wanted, &deadline, &reply, &detail), 0);
	}
}
END_TEST

START_TEST(a_description_with_anything_missing_does_no_harm)
{
	static const char *const objects[] = {
		"{}",
		"{\"shards\":[]}",
		"{\"shards\":[1]}",
		"{\"shards\":{\"a\":1}}",
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
	tcase_add_test(tc, a_long_reply_comes_in_a_sealed_memfd_and_no_other);
	tcase_add_test(tc, a_daemon_that_is_away_is_waited_for_until_the_deadline);
	tcase_add_test(tc, an_attach_reply_without_what_was_asked_for_is_refused);
	tcase_add_test(tc, a_description_with_anything_missing_does_no_harm);
	tcase_add_test(tc, options_are_sent_as_words_and_numbers);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
