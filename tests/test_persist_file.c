/* SPDX-License-Identifier: Apache-2.0 */
/* Calls on files: what they refuse themselves, and directories on whatever path. */
#include <check.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "persist/file.h"

static char dir[64];

static void setup(void)
{
	strcpy(dir, "/tmp/leat-test-file.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
}

static void teardown(void)
{
	static const char *const left[] = { "a/b/c", "a/b", "a", "locked/there", "locked" };

	chmod("locked", 0700);
	for (size_t i = 0; i < ARRAY_LEN(left); i++)
		rmdir(left[i]);
	unlink("plain");
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(rmdir(dir), 0);
}

static bool is_dir(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

START_TEST(a_place_that_no_file_can_have_is_refused)
{
	const uint64_t beyond = (uint64_t)INT64_MAX + 1;
	int fd = memfd_create("file", MFD_CLOEXEC);
	char byte = 1;

	ck_assert_int_eq(file_write(fd, &byte, 1, beyond), -EINVAL);
	ck_assert_int_eq(file_write(fd, &byte, 2, INT64_MAX), -EINVAL);
	ck_assert_int_eq(file_read(fd, &byte, 1, beyond), -EINVAL);
	ck_assert_int_eq(file_read(fd, &byte, 2, INT64_MAX), -EINVAL);
	ck_assert_int_eq(file_allocate(fd, beyond, 1), -EINVAL);
	ck_assert_int_eq(file_allocate(fd, 1, INT64_MAX), -EINVAL);
	ck_assert_int_eq(file_truncate(fd, beyond), -EINVAL);
	/* None of them has touched the file. */
	ck_assert_int_eq(lseek(fd, 0, SEEK_END), 0);
	close(fd);
}
END_TEST

START_TEST(what_is_no_file_has_no_length_and_no_end)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t len = 7;

	ck_assert_int_eq(file_size(fd, &len), -EBADMSG);
	close(fd);
	ck_assert_int_eq(file_size(fd, &len), -EBADF);
	ck_assert_int_eq(file_sync_dir(fd), -EBADF);
	ck_assert_int_eq(file_datasync(fd), -EBADF);
	ck_assert_uint_eq(len, 7);
	ck_assert_int_eq(file_close(-1), -1);
}
END_TEST

START_TEST(directories_are_made_on_the_way_whatever_slashes_there_are)
{
	char path[PATH_MAX + 1];

	ck_assert_int_eq(file_make_dirs("a/b/c///"), 0);
	ck_assert(is_dir("a/b/c"));
	ck_assert_int_eq(file_make_dirs("a/b/c"), 0);
	snprintf(path, sizeof(path), "%s/a", dir);
	ck_assert_int_eq(file_make_dirs(path), 0);
	ck_assert_int_eq(file_make_dirs("/"), 0);
	ck_assert_int_eq(file_make_dirs(""), -EINVAL);
	memset(path, 'p', sizeof(path));
	path[PATH_MAX] = '\0';
	ck_assert_int_eq(file_make_dirs(path), -ENAMETOOLONG);
	close(open("plain", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	ck_assert_int_eq(file_make_dirs("plain/below"), -ENOTDIR);
}
END_TEST

/* As a user who may go through `locked` and write there, but not read it. */
static int make_below_locked(const char *name)
{
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setresgid(4711, 4711, 4711) < 0 ||
				       setresuid(4711, 4711, 4711) < 0))
			_exit(255);
		_exit(-file_make_dirs(name));
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	return -WEXITSTATUS(status);
}

START_TEST(a_new_name_that_cannot_be_made_durable_is_an_error_an_old_one_is_not)
{
	ck_assert_int_eq(chmod(dir, 0755), 0);
	ck_assert_int_eq(mkdir("locked", 0700), 0);
	ck_assert_int_eq(mkdir("locked/there", 0755), 0);
	ck_assert_int_eq(chmod("locked", 0333), 0);
	ck_assert_int_eq(make_below_locked("locked/there"), 0);
	ck_assert_int_eq(make_below_locked("locked/new"), -EACCES);
	ck_assert_int_eq(rmdir("locked/new"), 0);
}
END_TEST

START_TEST(a_device_that_takes_nothing_more_gives_its_error)
{
	int fd = open("/dev/full", O_RDWR | O_CLOEXEC);
	char byte = 1;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(file_write(fd, &byte, 1, 0), -ENOSPC);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("file");
	TCase *tc = tcase_create("file");
	SRunner *runner;
	int n_failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_place_that_no_file_can_have_is_refused);
	tcase_add_test(tc, what_is_no_file_has_no_length_and_no_end);
	tcase_add_test(tc, directories_are_made_on_the_way_whatever_slashes_there_are);
	tcase_add_test(tc, a_new_name_that_cannot_be_made_durable_is_an_error_an_old_one_is_not);
	tcase_add_test(tc, a_device_that_takes_nothing_more_gives_its_error);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
