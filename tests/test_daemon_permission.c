/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/permission.h"

enum {
	ALL = PERMISSION_SUBSCRIBE | PERMISSION_PUBLISH | PERMISSION_ADMINISTER
};

static unsigned int rights(uid_t uid, gid_t gid, gid_t other, uint32_t mode)
{
	struct permission_subject subject = {
		.uid = uid, .gid = gid, .groups = &other, .n_groups = 1
	};
	struct permission_object object = { .owner = 5000, .group = 6000, .mode = mode };

	return permission_rights(&subject, &object);
}

START_TEST(one_class_of_the_mode_counts_as_for_files)
{
	ck_assert_uint_eq(rights(5000, 1, 2, 0600), ALL);
	ck_assert_uint_eq(rights(5001, 1, 2, 0600), 0);
	ck_assert_uint_eq(rights(5001, 6000, 2, 0640), PERMISSION_SUBSCRIBE);
	ck_assert_uint_eq(rights(5001, 1, 6000, 0620), PERMISSION_PUBLISH);
	ck_assert_uint_eq(rights(5001, 1, 2, 0604), PERMISSION_SUBSCRIBE);
	ck_assert_uint_eq(rights(5001, 1, 2, 0602), PERMISSION_PUBLISH);
	/* The first class that fits counts, also when a later one would give more. */
	ck_assert_uint_eq(rights(5000, 1, 2, 0066), PERMISSION_ADMINISTER);
	ck_assert_uint_eq(rights(5001, 6000, 2, 0606), 0);
}
END_TEST

START_TEST(root_and_the_daemon_may_do_everything)
{
	ck_assert_uint_eq(rights(0, 1, 2, 0), ALL);
	ck_assert_uint_eq(rights(geteuid(), 1, 2, 0), ALL);
}
END_TEST

START_TEST(the_kernel_says_who_is_at_the_other_end)
{
	struct permission_subject subject, copy;
	gid_t groups[64];
	int pair[2], n = getgroups(64, groups);
	pid_t pid;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	ck_assert_int_eq(permission_subject_init(&subject, pair[0], &pid), 0);
	ck_assert_int_eq(pid, getpid());
	ck_assert_uint_eq(subject.uid, geteuid());
	ck_assert_uint_eq(subject.gid, getegid());
	ck_assert_uint_eq(subject.n_groups, (size_t)n);
	ck_assert_int_eq(permission_subject_copy(&copy, &subject), 0);
	for (int i = 0; i < n; i++)
		ck_assert(permission_in_group(&copy, groups[i]));
	ck_assert(permission_in_group(&copy, getegid()));
	ck_assert(!permission_in_group(&copy, 54321));
	permission_subject_deinit(&copy);
	permission_subject_deinit(&subject);
	close(pair[0]);
	close(pair[1]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("permission");
	TCase *tc = tcase_create("permission");
	SRunner *runner = srunner_create(suite);
	int n_failed;

	tcase_add_test(tc, one_class_of_the_mode_counts_as_for_files);
	tcase_add_test(tc, root_and_the_daemon_may_do_everything);
	tcase_add_test(tc, the_kernel_says_who_is_at_the_other_end);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
