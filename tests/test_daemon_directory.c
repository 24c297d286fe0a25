/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/directory.h"

static char dir[64], path[256], detail[512];

static void setup(void)
{
	strcpy(dir, "/tmp/leat-directory.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

static int remove_one(const char *name, const struct stat *st, int type, struct FTW *at)
{
	(void)st, (void)type, (void)at;
	return remove(name);
}

static void teardown(void)
{
	ck_assert_int_eq(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static const char *at(const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static mode_t mode_of(const char *name)
{
	struct stat st;

	ck_assert_int_eq(lstat(at(name), &st), 0);
	return st.st_mode & 07777;
}

static void touch(const char *name)
{
	int fd = open(at(name), O_WRONLY | O_CREAT, 0600);

	ck_assert_int_ge(fd, 0);
	close(fd);
}

START_TEST(directories_get_their_mode_whatever_the_umask)
{
	umask(0077);
	ck_assert_int_eq(directory_make(at("a/b/run"), 0755, detail, sizeof(detail)), 0);
	ck_assert_uint_eq(mode_of("a/b/run"), 0755);
	ck_assert_uint_eq(mode_of("a/b"), 0755);
	umask(0);
	ck_assert_int_eq(directory_make(at("c/data"), 0700, detail, sizeof(detail)), 0);
	ck_assert_uint_eq(mode_of("c"), 0700);
	ck_assert_uint_eq(mode_of("c/data"), 0700);
	/* What is there is as its owner wants it. */
	ck_assert_int_eq(chmod(at("c/data"), 0750), 0);
	ck_assert_int_eq(directory_make(at("c/data"), 0700, detail, sizeof(detail)), 0);
	ck_assert_uint_eq(mode_of("c/data"), 0750);
	touch("file");
	ck_assert_int_eq(directory_make(at("file"), 0700, detail, sizeof(detail)), -ENOTDIR);
	ck_assert_ptr_nonnull(strstr(detail, "file"));
	ck_assert_int_eq(directory_make("", 0700, detail, sizeof(detail)), -EINVAL);
}
END_TEST

START_TEST(a_path_that_leads_nowhere_is_named)
{
	touch("file");
	ck_assert_int_eq(directory_make(at("file/below"), 0700, detail, sizeof(detail)), -ENOTDIR);
	ck_assert_ptr_nonnull(strstr(detail, "file/below"));
	ck_assert_int_eq(symlink("nowhere", at("dangling")), 0);
	ck_assert_int_eq(directory_make(at("dangling"), 0700, detail, sizeof(detail)), -ENOENT);
	ck_assert_int_eq(access(at("nowhere"), F_OK), -1);
}
END_TEST

START_TEST(a_lock_that_cannot_be_is_an_error_and_no_daemon)
{
	char name[PATH_MAX];
	int fd = -1;

	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	ck_assert_int_eq(directory_lock(dir, name, &fd, detail, sizeof(detail)), -ENAMETOOLONG);
	ck_assert_int_eq(directory_lock(at("none"), "lock", &fd, detail, sizeof(detail)), -ENOENT);
	ck_assert_ptr_nonnull(strstr(detail, "none/lock"));
	/* Nor is a lock followed to where somebody else's link leads. */
	ck_assert_int_eq(symlink("file", at("lock")), 0);
	ck_assert_int_eq(directory_lock(dir, "lock", &fd, detail, sizeof(detail)), -ELOOP);
	ck_assert_int_eq(directory_lock("/dev", "full", &fd, detail, sizeof(detail)), -EIO);
	ck_assert_ptr_nonnull(strstr(detail, "cannot be written"));
	ck_assert_int_eq(fd, -1);
}
END_TEST

START_TEST(what_is_no_directory_holds_nothing_to_remove)
{
	touch("file");
	ck_assert_int_eq(directory_remove(at("file"), "s"), -ENOTDIR);
	ck_assert_int_eq(directory_remove(dir, "file/s"), -ENOTDIR);
	ck_assert_int_eq(access(at("file"), F_OK), 0);
	ck_assert_uint_eq(directory_free_len(at("none")), 0);
}
END_TEST

START_TEST(a_second_lock_names_the_first_process)
{
	char want[32];
	int fd = -1, second = -1, status;
	pid_t pid;

	ck_assert_int_eq(directory_lock(dir, "lock", &fd, detail, sizeof(detail)), 0);
	/* Also from the same process: it is the file's lock, not the process'. */
	ck_assert_int_eq(directory_lock(dir, "lock", &second, detail, sizeof(detail)), -EBUSY);
	snprintf(want, sizeof(want), "process %d", getpid());
	ck_assert_msg(strstr(detail, want) != NULL, "%s", detail);
	close(fd);
	/* The lock of a process that was killed is gone when the kernel says that it is dead. */
	pid = fork();
	if (pid == 0) {
		if (directory_lock(dir, "lock", &fd, detail, sizeof(detail)) == 0)
			kill(getpid(), SIGKILL);
		_exit(1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(directory_lock(dir, "lock", &second, detail, sizeof(detail)), 0);
	close(second);
}
END_TEST

START_TEST(a_stream_is_removed_and_links_are_not_followed)
{
	ck_assert_int_eq(directory_make(at("streams/s/0"), 0700, detail, sizeof(detail)), 0);
	ck_assert_int_eq(directory_make(at("outside"), 0700, detail, sizeof(detail)), 0);
	touch("outside/precious");
	touch("streams/s/0/1.seg");
	ck_assert_int_eq(symlink(dir, at("streams/s/link")), 0);
	snprintf(path, sizeof(path), "%s/streams", dir);
	ck_assert_int_eq(directory_remove(path, "s"), 0);
	ck_assert_int_eq(access(at("streams/s"), F_OK), -1);
	ck_assert_int_eq(access(at("outside/precious"), F_OK), 0);
	snprintf(path, sizeof(path), "%s/streams", dir);
	ck_assert_int_eq(directory_remove(path, "s"), 0);
	ck_assert_int_eq(directory_remove("/no/such/place", "s"), 0);
}
END_TEST

START_TEST(what_is_deeper_than_ours_is_left_alone)
{
	ck_assert_int_eq(directory_make(at("s/1/2/3/4/5"), 0700, detail, sizeof(detail)), 0);
	ck_assert_int_eq(directory_remove(dir, "s"), -ELOOP);
	ck_assert_int_eq(access(at("s/1/2/3/4/5"), F_OK), 0);
	ck_assert_int_eq(directory_remove(at("s/1/2"), "3"), 0);
}
END_TEST

START_TEST(only_our_own_directory_is_private)
{
	ck_assert(directory_is_private(dir));
	ck_assert_int_eq(chmod(dir, 0770), 0);
	ck_assert(!directory_is_private(dir));
	ck_assert_int_eq(chmod(dir, 0700), 0);
	ck_assert_int_eq(symlink(dir, at("link")), 0);
	ck_assert(!directory_is_private(at("link")));
	if (geteuid() == 0) {
		ck_assert_int_eq(chown(dir, 4711, 4711), 0);
		ck_assert(!directory_is_private(dir));
	}
	ck_assert_uint_gt(directory_free_len(dir), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("directory");
	TCase *tc = tcase_create("directory");
	SRunner *runner = srunner_create(suite);
	int n_failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, directories_get_their_mode_whatever_the_umask);
	tcase_add_test(tc, a_path_that_leads_nowhere_is_named);
	tcase_add_test(tc, a_lock_that_cannot_be_is_an_error_and_no_daemon);
	tcase_add_test(tc, what_is_no_directory_holds_nothing_to_remove);
	tcase_add_test(tc, a_second_lock_names_the_first_process);
	tcase_add_test(tc, a_stream_is_removed_and_links_are_not_followed);
	tcase_add_test(tc, what_is_deeper_than_ours_is_left_alone);
	tcase_add_test(tc, only_our_own_directory_is_private);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
