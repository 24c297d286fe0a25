/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "persist/file.h"
#include "persist/io.h"

enum {
	N_OPS = 300,
	BLOCK = 5000,
};

struct counted {
	struct io_op op;
	int result;
	int n_done;
};

static struct counted ops[N_OPS];
static struct io *io;
static char data[N_OPS * BLOCK];
static int fd;
static pthread_mutex_t calls_mutex = PTHREAD_MUTEX_INITIALIZER;
static int n_calls;
static pthread_t owner;

static void setup(void)
{
	size_t i;

	memset(ops, 0, sizeof(ops));
	for (i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 31 + i / 256);
	fd = open("/tmp", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	owner = pthread_self();
}

static void teardown(void)
{
	close(fd);
}

static void done(struct io_op *op, int result)
{
	struct counted *c = (struct counted *)(void *)op;

	ck_assert(pthread_equal(owner, pthread_self()));
	c->result = result;
	c->n_done++;
}

static int call(struct io_op *op)
{
	ck_assert(!pthread_equal(owner, pthread_self()));
	pthread_mutex_lock(&calls_mutex);
	n_calls++;
	pthread_mutex_unlock(&calls_mutex);
	return (int)op->off;
}

static void submit(size_t i, enum io_kind kind)
{
	ops[i].op = (struct io_op){
		.kind = kind,
		.fd = fd,
		.buf = data + i * BLOCK,
		.len = BLOCK,
		.off = i * BLOCK,
		.call = call,
		.done = done,
	};
	io_submit(io, &ops[i].op);
}

static void check_all(unsigned int flags, unsigned int depth)
{
	static const enum io_kind kinds[] = { IO_WRITE,     IO_WRITE,     IO_CALL,
					      IO_FDATASYNC, IO_WRITEBACK, IO_WRITE };
	static char back[BLOCK];
	size_t i;

	ck_assert_int_eq(io_new(depth, flags, &io), 0);
	if (flags & IO_F_THREADS)
		ck_assert_str_eq(io_backend(io), "threads");
	for (i = 0; i < N_OPS; i++)
		submit(i, kinds[i % ARRAY_LEN(kinds)]);
	ck_assert_uint_eq(io_pending(io), N_OPS);
	while (io_pending(io) > 0)
		io_wait(io, 5000);
	for (i = 0; i < N_OPS; i++) {
		enum io_kind kind = kinds[i % ARRAY_LEN(kinds)];

		ck_assert_int_eq(ops[i].n_done, 1);
		ck_assert_int_eq(ops[i].result, kind == IO_CALL ? (int)(i * BLOCK) : 0);
		if (kind != IO_WRITE)
			continue;
		ck_assert_int_eq(file_read(fd, back, BLOCK, i * BLOCK), BLOCK);
		ck_assert_int_eq(memcmp(back, data + i * BLOCK, BLOCK), 0);
	}
	ck_assert_uint_eq(io_reap(io), 0);
	ck_assert_ptr_null(io_free(io));
}

START_TEST(all_kinds_complete_once_on_the_owners_thread)
{
	static const unsigned int flags[] = { 0, IO_F_THREADS, 0 };
	static const unsigned int depths[] = { 0, 0, 2 };

	check_all(flags[_i], depths[_i]);
	ck_assert_int_eq(n_calls, N_OPS / 6);
}
END_TEST

START_TEST(freeing_waits_for_what_is_under_way)
{
	size_t i;

	ck_assert_int_eq(io_new(4, _i ? IO_F_THREADS : 0, &io), 0);
	for (i = 0; i < 50; i++)
		submit(i, i % 2 ? IO_WRITE : IO_CALL);
	io_free(io);
	for (i = 0; i < 50; i++)
		ck_assert_int_eq(ops[i].n_done, 1);
	ck_assert_ptr_null(io_free(NULL));
}
END_TEST

START_TEST(errors_arrive_as_results)
{
	ck_assert_int_eq(io_new(0, _i ? IO_F_THREADS : 0, &io), 0);
	fd = -1;
	submit(0, IO_WRITE);
	submit(1, IO_FDATASYNC);
	fd = open("/dev/full", O_WRONLY);
	submit(2, IO_WRITE);
	while (io_pending(io) > 0)
		io_wait(io, 1000);
	ck_assert_int_eq(ops[0].result, -EBADF);
	ck_assert_int_eq(ops[1].result, -EBADF);
	ck_assert_int_eq(ops[2].result, -ENOSPC);
	io_free(io);
}
END_TEST

START_TEST(a_write_that_the_kernel_shortens_is_continued_to_its_error)
{
	struct rlimit limit = { 3000, 3000 };

	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(io_new(0, _i ? IO_F_THREADS : 0, &io), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	submit(0, IO_WRITE);
	while (io_pending(io) > 0)
		io_wait(io, 1000);
	ck_assert_int_eq(ops[0].result, -EFBIG);
	io_free(io);
}
END_TEST

START_TEST(the_fd_is_readable_when_there_is_something_to_reap)
{
	struct pollfd pfd;

	ck_assert_int_eq(io_new(0, _i ? IO_F_THREADS : 0, &io), 0);
	pfd = (struct pollfd){ .fd = io_fd(io), .events = POLLIN };
	ck_assert_int_eq(poll(&pfd, 1, 0), 0);
	submit(0, IO_WRITE);
	ck_assert_int_eq(poll(&pfd, 1, 5000), 1);
	while (io_pending(io) > 0)
		io_reap(io);
	ck_assert_int_eq(poll(&pfd, 1, 0), 0);
	io_free(io);
}
END_TEST

START_TEST(what_is_short_and_alone_waits_until_its_owner_has_decided_who_does_it)
{
	struct io_op *op;

	ck_assert_int_eq(io_new(0, IO_F_HOLD | (_i ? IO_F_THREADS : 0), &io), 0);
	ck_assert_ptr_null(io_take(io));
	submit(0, IO_WRITE);
	op = io_take(io);
	ck_assert_ptr_eq(op, &ops[0].op);
	ck_assert_ptr_null(io_take(io));
	ck_assert_uint_eq(io_reap(io), 0);
	io_run(io, op);
	ck_assert_int_eq(ops[0].n_done, 0);
	ck_assert_uint_eq(io_reap(io), 1);
	ck_assert_int_eq(ops[0].n_done, 1);
	/* Released, or waited for, it is done as any other. */
	submit(1, IO_FDATASYNC);
	io_release(io);
	ck_assert_ptr_null(io_take(io));
	while (io_pending(io) > 0)
		io_wait(io, 1000);
	submit(2, IO_WRITE);
	while (io_pending(io) > 0)
		io_wait(io, 1000);
	/* The second one is not alone; what is not short does not wait. */
	submit(3, IO_WRITE);
	submit(4, IO_FDATASYNC);
	ck_assert_ptr_eq(io_take(io), &ops[3].op);
	ck_assert_ptr_null(io_take(io));
	io_run(io, &ops[3].op);
	while (io_pending(io) > 0)
		io_wait(io, 1000);
	submit(5, IO_CALL);
	ck_assert_ptr_null(io_take(io));
	submit(6, IO_WRITEBACK);
	ck_assert_ptr_null(io_take(io));
	io_free(io);
	for (size_t i = 0; i < 7; i++)
		ck_assert_int_eq(ops[i].n_done, 1);
}
END_TEST

static void *run_later(void *arg)
{
	usleep(20 * 1000);
	io_run(io, arg);
	return NULL;
}

START_TEST(an_owner_who_waits_is_told_of_what_another_thread_has_done_itself)
{
	struct io_op *op;
	pthread_t thread;

	ck_assert_int_eq(io_new(0, IO_F_HOLD, &io), 0);
	for (size_t i = 0; i < 10; i++) {
		submit(i, IO_WRITE);
		op = io_take(io);
		ck_assert_int_eq(pthread_create(&thread, NULL, run_later, op), 0);
		ck_assert_uint_eq(io_wait(io, -1), 1);
		ck_assert_int_eq(ops[i].n_done, 1);
		pthread_join(thread, NULL);
	}
	io_free(io);
}
END_TEST

/* Refuses one system call with an errno, as a container's filter does. */
static void forbid(unsigned int nr, unsigned int error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = ARRAY_LEN(filter), .filter = filter };

	ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

START_TEST(threads_do_the_work_where_io_uring_is_forbidden)
{
	static const unsigned int calls[] = { SYS_io_uring_setup, SYS_io_uring_enter,
					      SYS_io_uring_register };
	static const unsigned int errors[] = { EPERM, EPERM, ENOSYS };

	forbid(calls[_i], errors[_i]);
	check_all(0, 0);
	ck_assert_int_eq(io_new(0, 0, &io), 0);
	ck_assert_str_eq(io_backend(io), "threads");
	io_free(io);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("io");
	TCase *tc = tcase_create("io");
	SRunner *runner;
	int n_failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, all_kinds_complete_once_on_the_owners_thread, 0, 3);
	tcase_add_loop_test(tc, freeing_waits_for_what_is_under_way, 0, 2);
	tcase_add_loop_test(tc, errors_arrive_as_results, 0, 2);
	tcase_add_loop_test(tc, a_write_that_the_kernel_shortens_is_continued_to_its_error, 0, 2);
	tcase_add_loop_test(tc, the_fd_is_readable_when_there_is_something_to_reap, 0, 2);
	tcase_add_loop_test(
		tc, what_is_short_and_alone_waits_until_its_owner_has_decided_who_does_it, 0, 2);
	tcase_add_test(tc, an_owner_who_waits_is_told_of_what_another_thread_has_done_itself);
	tcase_add_loop_test(tc, threads_do_the_work_where_io_uring_is_forbidden, 0, 3);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
