/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "clientlib/bus.h"

static char dir[64];

static void setup(void)
{
	strcpy(dir, "/tmp/leat-test-bus.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	unsetenv("LEAT_BUS");
	setenv("XDG_RUNTIME_DIR", dir, 1);
}

static void teardown(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/bus.sock", dir);
	unlink(path);
	rmdir(dir);
}

static int connect_with_detail(const char *path, char *detail, size_t len)
{
	struct leat_connect_options options = {
		.size = sizeof(options), .timeout_ns = NS_PER_S, .detail = detail, .detail_len = len
	};
	struct leat_bus *bus = NULL;
	int r = leat_connect(path, &options, &bus);

	leat_close(bus);
	return r;
}

START_TEST(without_a_bus_the_places_that_were_looked_at_are_named)
{
	char detail[256] = "", expected[96];

	ck_assert_int_eq(connect_with_detail(NULL, detail, sizeof(detail)), -ENOENT);
	snprintf(expected, sizeof(expected), "%s/leat/bus.sock", dir);
	ck_assert_ptr_nonnull(strstr(detail, expected));
	ck_assert_ptr_nonnull(strstr(detail, "/run/leat/bus.sock"));
	ck_assert_ptr_nonnull(strstr(detail, "leatd"));
}
END_TEST

START_TEST(the_environment_names_the_only_bus)
{
	char detail[256] = "";

	setenv("LEAT_BUS", "/nowhere/bus.sock", 1);
	ck_assert_int_eq(connect_with_detail(NULL, detail, sizeof(detail)), -ENOENT);
	ck_assert_ptr_nonnull(strstr(detail, "/nowhere/bus.sock"));
	ck_assert_ptr_null(strstr(detail, "/run/leat"));
}
END_TEST

START_TEST(without_a_runtime_directory_only_our_own_in_tmp_is_looked_at)
{
	char own[64], detail[256] = "";
	struct stat st;

	unsetenv("XDG_RUNTIME_DIR");
	snprintf(own, sizeof(own), "/tmp/leat-%u", (unsigned)geteuid());
	/* Somebody works with it. */
	if (lstat(own, &st) == 0)
		return;
	ck_assert_int_eq(connect_with_detail(NULL, detail, sizeof(detail)), -ENOENT);
	ck_assert_ptr_null(strstr(detail, own));
	/* A link there leads where somebody else wants. */
	ck_assert_int_eq(symlink(dir, own), 0);
	ck_assert_int_eq(connect_with_detail(NULL, detail, sizeof(detail)), -ENOENT);
	ck_assert_ptr_null(strstr(detail, own));
	ck_assert_int_eq(unlink(own), 0);
	ck_assert_int_eq(mkdir(own, 0700), 0);
	ck_assert_int_eq(connect_with_detail(NULL, detail, sizeof(detail)), -ENOENT);
	ck_assert_ptr_nonnull(strstr(detail, own));
	ck_assert_int_eq(rmdir(own), 0);
}
END_TEST

START_TEST(options_without_a_size_are_refused_before_anything_is_tried)
{
	char detail[256] = "";
	struct leat_connect_options options = { .detail = detail, .detail_len = sizeof(detail) };
	struct leat_bus *handle = NULL;

	ck_assert_int_eq(leat_connect("/nowhere/bus.sock", &options, &handle), -EINVAL);
	ck_assert_ptr_null(handle);
	ck_assert_ptr_null(leat_close(NULL));
	ck_assert_str_eq(leat_detail(NULL), "");
}
END_TEST

START_TEST(a_socket_without_a_daemon_is_refused)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char detail[256] = "";
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/bus.sock", dir);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(connect_with_detail(address.sun_path, detail, sizeof(detail)),
			 -ECONNREFUSED);
	ck_assert_ptr_nonnull(strstr(detail, address.sun_path));
	close(fd);
}
END_TEST

START_TEST(a_path_that_is_too_long_is_said_so)
{
	char path[300], detail[512] = "";

	memset(path, 'p', sizeof(path));
	path[sizeof(path) - 1] = 0;
	ck_assert_int_eq(connect_with_detail(path, detail, sizeof(detail)), -ENAMETOOLONG);
	ck_assert_ptr_nonnull(strstr(detail, "107"));
	setenv("LEAT_BUS", path, 1);
	ck_assert_int_eq(connect_with_detail(NULL, detail, sizeof(detail)), -ENAMETOOLONG);
}
END_TEST

START_TEST(a_short_detail_buffer_is_not_overrun)
{
	char detail[8] = "1234567";

	ck_assert_int_eq(connect_with_detail("/nowhere/bus.sock", detail, 4), -ENOENT);
	ck_assert_uint_eq(strlen(detail), 3);
	ck_assert_int_eq(detail[4], '5');
}
END_TEST

START_TEST(options_of_any_version_are_taken_and_nonsense_is_not)
{
	struct {
		size_t size;
		uint64_t first;
		uint64_t second;
		uint64_t third;
	} known = { sizeof(known), 1, 2, 3 }, given = { 16, 7, 8, 9 };
	struct detail detail;

	/* Older than the library: what it does not have keeps its default. */
	ck_assert_int_eq(bus_take_options(&known, sizeof(known), &given, "x", &detail), 0);
	ck_assert_uint_eq(known.first, 7);
	ck_assert_uint_eq(known.second, 2);
	ck_assert_uint_eq(known.size, sizeof(known));
	/* Newer than the library: the rest is left alone. */
	given.size = sizeof(given);
	ck_assert_int_eq(bus_take_options(&known, 24, &given, "x", &detail), 0);
	ck_assert_uint_eq(known.second, 8);
	ck_assert_uint_eq(known.third, 3);
	given.size = 0;
	ck_assert_int_eq(bus_take_options(&known, sizeof(known), &given, "x", &detail), -EINVAL);
	given.size = SIZE_MAX;
	ck_assert_int_eq(bus_take_options(&known, sizeof(known), &given, "x", &detail), -EINVAL);
}
END_TEST

START_TEST(every_errno_has_a_name)
{
	ck_assert_str_eq(leat_strerror(0), "success");
	ck_assert_str_eq(leat_strerror(-ENOTCONN), "the daemon is away");
	ck_assert_str_ne(leat_strerror(-EXDEV), "");
	ck_assert_str_eq(leat_strerror(-100000), "unknown error");
	ck_assert_str_eq(leat_strerror(-4095), "unknown error");
	ck_assert_str_eq(leat_strerror(1), "unknown error");
	ck_assert_str_eq(leat_strerror(-2147483647 - 1), "unknown error");
}
END_TEST

static uint32_t alive = 1;
static struct leat_bus bus = { .alive = &alive, .failures_lock = PTHREAD_MUTEX_INITIALIZER };

static void *fail_elsewhere(void *arg)
{
	struct detail detail;

	detail_fail(&detail, -EIO, "thread %d", *(int *)arg);
	bus_done(&bus, -EIO, &detail);
	ck_assert_str_eq(leat_detail(&bus), detail.text);
	return NULL;
}

START_TEST(each_thread_reads_its_own_failure)
{
	struct detail detail;
	pthread_t thread;
	int i;

	detail_fail(&detail, -EIO, "here");
	ck_assert_int_eq(bus_done(&bus, -EIO, &detail), -EIO);
	for (i = 0; i < 60; i++) {
		pthread_create(&thread, NULL, fail_elsewhere, &i);
		pthread_join(thread, NULL);
	}
	ck_assert_str_eq(leat_detail(&bus), "here");
	/* Ever more threads do not take ever more memory. */
	for (i = 0; i < 200; i++) {
		pthread_create(&thread, NULL, fail_elsewhere, &i);
		pthread_join(thread, NULL);
	}
	ck_assert_uint_le(bus.n_failures, 64);
}
END_TEST

START_TEST(a_success_does_not_take_the_last_sentence_away)
{
	struct detail detail;

	detail_fail(&detail, -EIO, "still there");
	bus_done(&bus, -EIO, &detail);
	detail_fail(&detail, 0, "nothing happened");
	ck_assert_int_eq(bus_done(&bus, 3, &detail), 3);
	ck_assert_str_eq(leat_detail(&bus), "still there");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bus");
	TCase *tc = tcase_create("bus");
	SRunner *runner;
	int n_failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, without_a_bus_the_places_that_were_looked_at_are_named);
	tcase_add_test(tc, the_environment_names_the_only_bus);
	tcase_add_test(tc, without_a_runtime_directory_only_our_own_in_tmp_is_looked_at);
	tcase_add_test(tc, options_without_a_size_are_refused_before_anything_is_tried);
	tcase_add_test(tc, a_socket_without_a_daemon_is_refused);
	tcase_add_test(tc, a_path_that_is_too_long_is_said_so);
	tcase_add_test(tc, a_short_detail_buffer_is_not_overrun);
	tcase_add_test(tc, options_of_any_version_are_taken_and_nonsense_is_not);
	tcase_add_test(tc, every_errno_has_a_name);
	tcase_add_test(tc, each_thread_reads_its_own_failure);
	tcase_add_test(tc, a_success_does_not_take_the_last_sentence_away);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
