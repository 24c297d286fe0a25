/* SPDX-License-Identifier: Apache-2.0 */
/* fail_calls.so; see tests/fail_calls.h. */
#include "tests/fail_calls.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <grp.h>
#include <liburing.h>
#include <link.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <unwind.h>

#define EXPORT __attribute__((visibility("default")))

/* glibc's own; what is asked for before the constructor has run comes from there as well. */
void *__libc_malloc(size_t len);
void *__libc_calloc(size_t n, size_t len);
void *__libc_realloc(void *p, size_t len);
void *__libc_memalign(size_t align, size_t len);

static struct fail_page *page;
static uintptr_t program_base, program_begin, program_end;
static __thread int is_inside; /* what this file itself calls is not counted */

/* ---- who called ---- */

struct walk {
	uint64_t frames[FAIL_FRAMES];
	int n;
	int depth;
};

static _Unwind_Reason_Code take_frame(struct _Unwind_Context *context, void *arg)
{
	struct walk *walk = arg;
	uintptr_t at = _Unwind_GetIP(context);

	if (at >= program_begin && at < program_end)
		walk->frames[walk->n++] = at - program_base;
	return walk->n == FAIL_FRAMES || ++walk->depth > 60 ? _URC_END_OF_STACK : _URC_NO_REASON;
}

static uint64_t key_of(enum fail_fn fn, struct walk *walk)
{
	uint64_t key = (uint64_t)fn + 1;

	_Unwind_Backtrace(take_frame, walk);
	for (int i = 0; i < FAIL_FRAMES; i++)
		key = (key ^ walk->frames[i]) * 0x9e3779b97f4a7c15u, key ^= key >> 29;
	return key | 1;
}

static void count(enum fail_fn fn, uint64_t key, const struct walk *walk)
{
	for (uint32_t i = 0; i < FAIL_SITES; i++) {
		struct fail_site *site = &page->sites[(key + i) % FAIL_SITES];
		uint64_t was = load_acquire(&site->key);

		if (was == 0) {
			/* Of two threads that meet here one looks at the entry again. */
			if (!cas_acq_rel(&site->key, &was, key))
				i--;
			else
				memcpy(site->frames, walk->frames, sizeof(site->frames));
			site->fn = fn;
			was = load_acquire(&site->key);
		}
		if (was == key) {
			fetch_add_relaxed(&site->n, 1);
			return;
		}
	}
}

/* ---- whether it fails ---- */

static bool is_meant(enum fail_fn fn)
{
	struct walk walk = { .n = 0 };
	uint32_t mode = load_acquire(&page->mode);
	uint64_t key;

	if (mode == FAIL_FROM_ON && load_relaxed(&page->raging) == (uint32_t)fn + 1)
		return true;
	if (!load_relaxed(&page->counts) && (mode == FAIL_OFF || load_relaxed(&page->raging)))
		return false;
	key = key_of(fn, &walk);
	if (load_relaxed(&page->counts))
		count(fn, key, &walk);
	if (mode == FAIL_OFF || key != load_relaxed(&page->key) ||
	    fetch_add_relaxed(&page->passed, 1) != load_relaxed(&page->skip))
		return false;
	if (mode == FAIL_FROM_ON)
		store_relaxed(&page->raging, (uint32_t)fn + 1);
	return true;
}

/* 0, FAIL_SHORT or a positive errno, which is errno then. */
static int fault(enum fail_fn fn)
{
	int error = 0, kept = errno;

	if (!page || is_inside || fn == FAIL_N_FNS || !load_acquire(&page->open))
		return 0;
	is_inside++;
	if (is_meant(fn)) {
		fetch_add_relaxed(&page->n_hit, 1);
		error = load_relaxed(&page->error);
	}
	is_inside--;
	errno = error > 0 ? error : kept;
	return error;
}

#define REAL(name)                                                                                 \
	({                                                                                         \
		static __typeof__(&name) real;                                                     \
		if (!real) {                                                                       \
			is_inside++;                                                               \
			real = (__typeof__(&name))dlsym(RTLD_NEXT, #name);                         \
			is_inside--;                                                               \
		}                                                                                  \
		real;                                                                              \
	})

#define WRAP_AS(name, fn, type, failed, params, args)                                              \
	EXPORT type name params                                                                    \
	{                                                                                          \
		return fault(FAIL_FN_##fn) > 0 ? (failed) : REAL(name) args;                       \
	}
#define WRAP(name, type, failed, params, args) WRAP_AS(name, name, type, failed, params, args)
/* The name that programs get which are built for long file offsets. */
#define WRAP64(name, type, failed, params, args)                                                   \
	WRAP_AS(name, name, type, failed, params, args)                                            \
	WRAP_AS(name##64, name, type, failed, params, args)
/* The result is the errno itself. */
#define WRAP_CODE(name, params, args)                                                              \
	EXPORT int name params                                                                     \
	{                                                                                          \
		int error = fault(FAIL_FN_##name);                                                 \
                                                                                                   \
		return error > 0 ? error : REAL(name) args;                                        \
	}
#define WRAP_MINUS(name, params, args)                                                             \
	EXPORT int name params                                                                     \
	{                                                                                          \
		int error = fault(FAIL_FN_##name);                                                 \
                                                                                                   \
		return error > 0 ? -error : REAL(name) args;                                       \
	}
/* Moves bytes: half of them, at least one. */
#define WRAP_MOVE_AS(name, fn, params, args)                                                       \
	EXPORT ssize_t name params                                                                 \
	{                                                                                          \
		int error = fault(FAIL_FN_##fn);                                                   \
                                                                                                   \
		if (error == FAIL_SHORT && len > 1)                                                \
			len /= 2;                                                                  \
		return error > 0 ? -1 : REAL(name) args;                                           \
	}
#define WRAP_MOVE(name, params, args) WRAP_MOVE_AS(name, name, params, args)
/* Ends what it is given in any case, as the kernel does. */
#define WRAP_END(name, params, args)                                                               \
	EXPORT int name params                                                                     \
	{                                                                                          \
		int error = fault(FAIL_FN_##name), r = REAL(name) args;                            \
                                                                                                   \
		if (error > 0)                                                                     \
			errno = error;                                                             \
		return error > 0 ? -1 : r;                                                         \
	}

/* ---- memory ---- */

EXPORT void *malloc(size_t len)
{
	return fault(FAIL_FN_malloc) > 0 ? NULL : __libc_malloc(len);
}

EXPORT void *calloc(size_t n, size_t len)
{
	return fault(FAIL_FN_calloc) > 0 ? NULL : __libc_calloc(n, len);
}

EXPORT void *realloc(void *p, size_t len)
{
	return fault(FAIL_FN_realloc) > 0 ? NULL : __libc_realloc(p, len);
}

EXPORT void *reallocarray(void *p, size_t n, size_t len)
{
	size_t total;

	if (fault(FAIL_FN_reallocarray) > 0)
		return NULL;
	if (__builtin_mul_overflow(n, len, &total)) {
		errno = ENOMEM;
		return NULL;
	}
	return __libc_realloc(p, total);
}

EXPORT void *aligned_alloc(size_t align, size_t len)
{
	return fault(FAIL_FN_aligned_alloc) > 0 ? NULL : __libc_memalign(align, len);
}

EXPORT int posix_memalign(void **ret, size_t align, size_t len)
{
	int error = fault(FAIL_FN_posix_memalign);

	if (error > 0)
		return error;
	*ret = __libc_memalign(align, len);
	return *ret ? 0 : ENOMEM;
}

/* ---- files ---- */

#define MODE_ARG                                                                                   \
	mode_t mode = 0;                                                                           \
	if (flags & (O_CREAT | __O_TMPFILE)) {                                                     \
		va_list list;                                                                      \
                                                                                                   \
		va_start(list, flags);                                                             \
		mode = va_arg(list, mode_t);                                                       \
		va_end(list);                                                                      \
	}
#define WRAP_OPEN(name)                                                                            \
	EXPORT int name(const char *path, int flags, ...)                                          \
	{                                                                                          \
		MODE_ARG                                                                           \
		return fault(FAIL_FN_open) > 0 ? -1 : REAL(name)(path, flags, mode);               \
	}
#define WRAP_OPENAT(name)                                                                          \
	EXPORT int name(int dir, const char *path, int flags, ...)                                 \
	{                                                                                          \
		MODE_ARG                                                                           \
		return fault(FAIL_FN_openat) > 0 ? -1 : REAL(name)(dir, path, flags, mode);        \
	}
/* One argument more, of any type that fits a register. */
#define WRAP_MORE(name, fn, type, more)                                                            \
	EXPORT int name(int fd, type what, ...)                                                    \
	{                                                                                          \
		va_list list;                                                                      \
		more arg;                                                                          \
                                                                                                   \
		va_start(list, what);                                                              \
		arg = va_arg(list, more);                                                          \
		va_end(list);                                                                      \
		return fault(fn) > 0 ? -1 : REAL(name)(fd, what, arg);                             \
	}

/* FAIL_N_FNS: never. A lock is taken in vain; to let go of one, and to ask who has it, no kernel
 * refuses, and SQLite would keep what it could not let go for as long as it is open. */
static enum fail_fn fcntl_of(int what, const struct flock *lock)
{
	switch (what) {
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		return FAIL_FN_fcntl_dup;
	case F_SETLK:
	case F_SETLKW:
	case F_OFD_SETLK:
	case F_OFD_SETLKW:
		return lock->l_type == F_UNLCK ? FAIL_N_FNS : FAIL_FN_fcntl_lock;
	case F_GETLK:
	case F_OFD_GETLK:
		return FAIL_N_FNS;
	default:
		return FAIL_FN_fcntl;
	}
}

WRAP_OPEN(open)
WRAP_OPEN(open64)
WRAP_OPENAT(openat)
WRAP_OPENAT(openat64)
WRAP_MORE(fcntl, fcntl_of(what, arg), int, void *)
WRAP_MORE(fcntl64, fcntl_of(what, arg), int, void *)
WRAP_MORE(ioctl, FAIL_FN_ioctl, unsigned long, void *)
WRAP64(fopen, FILE *, NULL, (const char *path, const char *mode), (path, mode))
WRAP_END(fclose, (FILE * file), (file))
WRAP(opendir, DIR *, NULL, (const char *path), (path))
WRAP(fdopendir, DIR *, NULL, (int fd), (fd))
WRAP(readdir, struct dirent *, NULL, (DIR * dir), (dir))
WRAP_END(close, (int fd), (fd))
WRAP(dup, int, -1, (int fd), (fd))
WRAP(dup2, int, -1, (int from, int to), (from, to))
WRAP(pipe2, int, -1, (int fds[2], int flags), (fds, flags))
WRAP_MOVE(read, (int fd, void *buf, size_t len), (fd, buf, len))
WRAP_MOVE(pread, (int fd, void *buf, size_t len, off_t off), (fd, buf, len, off))
WRAP_MOVE_AS(pread64, pread, (int fd, void *buf, size_t len, off_t off), (fd, buf, len, off))

/* An eventfd refuses when its count is full, and is readable then, which is all that matters. */
static bool is_eventfd(int fd)
{
	char link[32], name[32] = "";

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	return REAL(readlink)(link, name, sizeof(name) - 1) > 0 &&
	       strcmp(name, "anon_inode:[eventfd]") == 0;
}

EXPORT ssize_t write(int fd, const void *buf, size_t len)
{
	bool is_count = page && len == sizeof(uint64_t) && is_eventfd(fd);
	int error = fault(is_count ? FAIL_FN_eventfd_write : FAIL_FN_write);

	if (error == FAIL_SHORT)
		len = len > 1 ? len / 2 : len;
	if (error <= 0)
		return REAL(write)(fd, buf, len);
	if (is_count && REAL(write)(fd, buf, len) >= 0)
		errno = error;
	return -1;
}

WRAP_MOVE(pwrite, (int fd, const void *buf, size_t len, off_t off), (fd, buf, len, off))
WRAP_MOVE_AS(pwrite64, pwrite, (int fd, const void *buf, size_t len, off_t off),
	     (fd, buf, len, off))
WRAP(preadv2, ssize_t, -1, (int fd, const struct iovec *iov, int n, off_t off, int flags),
     (fd, iov, n, off, flags))
WRAP(fdatasync, int, -1, (int fd), (fd))
WRAP(fsync, int, -1, (int fd), (fd))
WRAP(sync_file_range, int, -1, (int fd, off_t off, off_t len, unsigned flags),
     (fd, off, len, flags))
WRAP64(ftruncate, int, -1, (int fd, off_t len), (fd, len))
WRAP(fallocate, int, -1, (int fd, int mode, off_t off, off_t len), (fd, mode, off, len))
WRAP_CODE(posix_fadvise, (int fd, off_t off, off_t len, int advice), (fd, off, len, advice))
WRAP(renameat, int, -1, (int a, const char *from, int b, const char *to), (a, from, b, to))
WRAP(unlinkat, int, -1, (int dir, const char *path, int flags), (dir, path, flags))
WRAP(unlink, int, -1, (const char *path), (path))
WRAP(rmdir, int, -1, (const char *path), (path))
WRAP(mkdir, int, -1, (const char *path, mode_t mode), (path, mode))
WRAP(access, int, -1, (const char *path, int mode), (path, mode))
WRAP(fstat, int, -1, (int fd, struct stat *st), (fd, st))
WRAP(stat, int, -1, (const char *path, struct stat *st), (path, st))
WRAP(lstat, int, -1, (const char *path, struct stat *st), (path, st))
WRAP_AS(fstat64, fstat, int, -1, (int fd, struct stat64 *st), (fd, st))
WRAP_AS(stat64, stat, int, -1, (const char *path, struct stat64 *st), (path, st))
WRAP_AS(lstat64, lstat, int, -1, (const char *path, struct stat64 *st), (path, st))
WRAP(fstatat, int, -1, (int dir, const char *path, struct stat *st, int flags),
     (dir, path, st, flags))
WRAP(fstatfs, int, -1, (int fd, struct statfs *st), (fd, st))
WRAP(statfs, int, -1, (const char *path, struct statfs *st), (path, st))
WRAP(statvfs, int, -1, (const char *path, struct statvfs *st), (path, st))
WRAP(readlink, ssize_t, -1, (const char *path, char *buf, size_t len), (path, buf, len))
WRAP(getcwd, char *, NULL, (char *buf, size_t len), (buf, len))
WRAP(chmod, int, -1, (const char *path, mode_t mode), (path, mode))
WRAP(fchmod, int, -1, (int fd, mode_t mode), (fd, mode))
WRAP(flock, int, -1, (int fd, int what), (fd, what))
WRAP(memfd_create, int, -1, (const char *name, unsigned flags), (name, flags))
WRAP64(mmap, void *, MAP_FAILED, (void *at, size_t len, int prot, int flags, int fd, off_t off),
       (at, len, prot, flags, fd, off))
WRAP(munmap, int, -1, (void *at, size_t len), (at, len))
WRAP(madvise, int, -1, (void *at, size_t len, int advice), (at, len, advice))

/* ---- events, sockets ---- */

WRAP(eventfd, int, -1, (unsigned count, int flags), (count, flags))
WRAP(signalfd, int, -1, (int fd, const sigset_t *set, int flags), (fd, set, flags))
WRAP(timerfd_create, int, -1, (clockid_t clock, int flags), (clock, flags))
WRAP(timerfd_settime, int, -1,
     (int fd, int flags, const struct itimerspec *new, struct itimerspec *old),
     (fd, flags, new, old))
WRAP(epoll_create1, int, -1, (int flags), (flags))
WRAP(epoll_ctl, int, -1, (int epoll_fd, int op, int fd, struct epoll_event *event),
     (epoll_fd, op, fd, event))
WRAP(epoll_wait, int, -1, (int fd, struct epoll_event *events, int n, int timeout),
     (fd, events, n, timeout))
WRAP(poll, int, -1, (struct pollfd * fds, nfds_t n, int timeout), (fds, n, timeout))
WRAP(socket, int, -1, (int domain, int type, int protocol), (domain, type, protocol))
WRAP(socketpair, int, -1, (int domain, int type, int protocol, int fds[2]),
     (domain, type, protocol, fds))
WRAP(bind, int, -1, (int fd, const struct sockaddr *address, socklen_t len), (fd, address, len))
WRAP(listen, int, -1, (int fd, int n), (fd, n))
WRAP(accept4, int, -1, (int fd, struct sockaddr *address, socklen_t *len, int flags),
     (fd, address, len, flags))
WRAP(connect, int, -1, (int fd, const struct sockaddr *address, socklen_t len), (fd, address, len))
WRAP(shutdown, int, -1, (int fd, int how), (fd, how))
WRAP(setsockopt, int, -1, (int fd, int level, int name, const void *value, socklen_t len),
     (fd, level, name, value, len))
WRAP(getsockopt, int, -1, (int fd, int level, int name, void *value, socklen_t *len),
     (fd, level, name, value, len))
WRAP(send, ssize_t, -1, (int fd, const void *buf, size_t len, int flags), (fd, buf, len, flags))
WRAP(sendmsg, ssize_t, -1, (int fd, const struct msghdr *message, int flags), (fd, message, flags))
WRAP(recv, ssize_t, -1, (int fd, void *buf, size_t len, int flags), (fd, buf, len, flags))
WRAP(recvmsg, ssize_t, -1, (int fd, struct msghdr *message, int flags), (fd, message, flags))

/* ---- processes, users, the rest ---- */

WRAP_CODE(pthread_create,
	  (pthread_t * thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg),
	  (thread, attr, fn, arg))
WRAP(pidfd_open, int, -1, (pid_t pid, unsigned flags), (pid, flags))
/* Where memory is short inside of it, the C library's name service ends the process: that is not
 * ours to repair, and only its result fails. */
#define WRAP_NAMES(name, params, args)                                                             \
	EXPORT int name params                                                                     \
	{                                                                                          \
		int r = fault(FAIL_FN_##name);                                                     \
                                                                                                   \
		is_inside++;                                                                       \
		r = r > 0 ? r : REAL(name) args;                                                   \
		is_inside--;                                                                       \
		return r;                                                                          \
	}
WRAP_NAMES(getpwuid_r, (uid_t uid, struct passwd *pw, char *buf, size_t len, struct passwd **ret),
	   (uid, pw, buf, len, ret))
WRAP_NAMES(getpwnam_r,
	   (const char *name, struct passwd *pw, char *buf, size_t len, struct passwd **ret),
	   (name, pw, buf, len, ret))
WRAP_NAMES(getgrgid_r, (gid_t gid, struct group *gr, char *buf, size_t len, struct group **ret),
	   (gid, gr, buf, len, ret))
WRAP_NAMES(getgrnam_r,
	   (const char *name, struct group *gr, char *buf, size_t len, struct group **ret),
	   (name, gr, buf, len, ret))
WRAP_MOVE(getrandom, (void *buf, size_t len, unsigned flags), (buf, len, flags))
WRAP(setenv, int, -1, (const char *name, const char *value, int over), (name, value, over))
WRAP(fork, pid_t, -1, (void), ())
WRAP(waitpid, pid_t, -1, (pid_t pid, int *status, int flags), (pid, status, flags))
WRAP(nanosleep, int, -1, (const struct timespec *length, struct timespec *left), (length, left))
WRAP(sigprocmask, int, -1, (int how, const sigset_t *set, sigset_t *old), (how, set, old))

EXPORT int getrlimit(__rlimit_resource_t what, struct rlimit *limit)
{
	return fault(FAIL_FN_getrlimit) > 0 ? -1 : REAL(getrlimit)(what, limit);
}

EXPORT int setrlimit(__rlimit_resource_t what, const struct rlimit *limit)
{
	return fault(FAIL_FN_setrlimit) > 0 ? -1 : REAL(setrlimit)(what, limit);
}

EXPORT int prctl(int what, ...)
{
	unsigned long a[4];
	va_list list;

	va_start(list, what);
	for (int i = 0; i < 4; i++)
		a[i] = va_arg(list, unsigned long);
	va_end(list);
	return fault(FAIL_FN_prctl) > 0 ? -1 : REAL(prctl)(what, a[0], a[1], a[2], a[3]);
}

static bool is_wake(int op)
{
	op &= FUTEX_CMD_MASK;
	return op == FUTEX_WAKE || op == FUTEX_WAKE_BITSET;
}

EXPORT long syscall(long number, ...)
{
	enum fail_fn fn = number == SYS_futex         ? FAIL_FN_futex
			  : number == SYS_futex_waitv ? FAIL_FN_futex_waitv
			  : number == SYS_membarrier  ? FAIL_FN_membarrier
						      : FAIL_FN_syscall;
	va_list list;
	long a[6];

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	/* Waking gives no errno but for what is not a futex at all, and liburcu's barrier none once
	 * it has been registered: liburcu would end the process by it. */
	if (!(fn == FAIL_FN_futex && is_wake((int)a[1])) &&
	    !(fn == FAIL_FN_membarrier && a[0] == MEMBARRIER_CMD_PRIVATE_EXPEDITED) &&
	    fault(fn) > 0)
		return -1;
	return REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- io_uring, SQLite ---- */

WRAP_MINUS(io_uring_queue_init, (unsigned n, struct io_uring *ring, unsigned flags),
	   (n, ring, flags))
WRAP(io_uring_get_probe_ring, struct io_uring_probe *, NULL, (struct io_uring * ring), (ring))
WRAP_MINUS(io_uring_register_eventfd, (struct io_uring * ring, int fd), (ring, fd))

/* What the kernel is asked for becomes a no-operation that has the error for its result, which
 * comes when the kernel gives it: since 6.11 it does. */
#ifndef IORING_NOP_INJECT_RESULT
#define IORING_NOP_INJECT_RESULT (1u << 0)
#endif

static void become_error(struct io_uring_sqe *sqe, int error)
{
	uint64_t data = sqe->user_data;

	io_uring_prep_nop(sqe);
	sqe->rw_flags = IORING_NOP_INJECT_RESULT;
	sqe->len = (uint32_t)-error;
	sqe->user_data = data;
}

static bool kernel_gives_errors(void)
{
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	bool does = false;

	is_inside++;
	if (REAL(io_uring_queue_init)(2, &ring, 0) == 0) {
		become_error(io_uring_get_sqe(&ring), EIO);
		if (REAL(io_uring_submit)(&ring) == 1 && io_uring_wait_cqe(&ring, &cqe) == 0)
			does = cqe->res == -EIO;
		io_uring_queue_exit(&ring);
	}
	is_inside--;
	return does;
}

static void fault_operation(struct io_uring_sqe *sqe)
{
	int error;

	if (sqe->opcode == IORING_OP_WRITE)
		error = fault(FAIL_FN_io_uring_write);
	else if (sqe->opcode == IORING_OP_FSYNC)
		error = fault(FAIL_FN_io_uring_fsync);
	else if (sqe->opcode == IORING_OP_SYNC_FILE_RANGE)
		error = fault(FAIL_FN_io_uring_sync_file_range);
	else
		return;
	if (error == FAIL_SHORT && sqe->len > 1)
		sqe->len /= 2;
	else if (error > 0)
		become_error(sqe, error);
}

EXPORT int io_uring_submit(struct io_uring *ring)
{
	static int gives_errors = -1; /* who asks twice gets the same answer */
	int error = fault(FAIL_FN_io_uring_submit);

	if (error > 0)
		return -error;
	if (gives_errors < 0)
		gives_errors = kernel_gives_errors();
	for (unsigned i = ring->sq.sqe_head; gives_errors && i != ring->sq.sqe_tail; i++)
		fault_operation(&ring->sq.sqes[i & ring->sq.ring_mask]);
	return REAL(io_uring_submit)(ring);
}

/* ---- streams ---- */

/* What is said on stderr stays: it is what tells of the failure. */
static bool fails_on(FILE *file, enum fail_fn fn)
{
	if (file == stderr || fault(fn) <= 0)
		return false;
	file->_flags |= 0x20; /* as ferror() sees it: _IO_ERR_SEEN */
	return true;
}

#define WRAP_STREAM(name, type, failed, params, args)                                              \
	EXPORT type name params                                                                    \
	{                                                                                          \
		return fails_on(file, FAIL_FN_##name) ? (failed) : REAL(name) args;                \
	}
WRAP_STREAM(fflush, int, EOF, (FILE * file), (file))
WRAP_STREAM(fwrite, size_t, 0, (const void *p, size_t len, size_t n, FILE *file), (p, len, n, file))
WRAP_STREAM(fputs, int, EOF, (const char *text, FILE *file), (text, file))
WRAP_STREAM(fputc, int, EOF, (int c, FILE *file), (c, file))
WRAP_STREAM(putc, int, EOF, (int c, FILE *file), (c, file))
WRAP_STREAM(fgets, char *, NULL, (char *buf, int len, FILE *file), (buf, len, file))
WRAP_STREAM(__getdelim, ssize_t, -1, (char **line, size_t *len, int end, FILE *file),
	    (line, len, end, file))

/* By another name in C: the header has an inline putchar(), which clang lets nobody export. */
EXPORT int fail_putchar(int c) __asm__("putchar");

int fail_putchar(int c)
{
	return fails_on(stdout, FAIL_FN_putchar) ? EOF : REAL(putc)(c, stdout);
}

EXPORT int puts(const char *text)
{
	return fails_on(stdout, FAIL_FN_puts) ? EOF : REAL(puts)(text);
}

EXPORT int vfprintf(FILE *file, const char *format, va_list list)
{
	return fails_on(file, FAIL_FN_vfprintf) ? -1 : REAL(vfprintf)(file, format, list);
}

EXPORT int fprintf(FILE *file, const char *format, ...)
{
	va_list list;
	int r = -1;

	va_start(list, format);
	if (!fails_on(file, FAIL_FN_fprintf))
		r = REAL(vfprintf)(file, format, list);
	va_end(list);
	return r;
}

EXPORT int printf(const char *format, ...)
{
	va_list list;
	int r = -1;

	va_start(list, format);
	if (!fails_on(stdout, FAIL_FN_printf))
		r = REAL(vfprintf)(stdout, format, list);
	va_end(list);
	return r;
}

/* ---- the beginning ---- */

static int take_program(struct dl_phdr_info *info, size_t len, void *arg)
{
	(void)len;
	(void)arg;
	program_base = info->dlpi_addr;
	program_begin = UINTPTR_MAX;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		uintptr_t begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;

		if (info->dlpi_phdr[i].p_type != PT_LOAD)
			continue;
		program_begin = begin < program_begin ? begin : program_begin;
		program_end = begin + info->dlpi_phdr[i].p_memsz;
	}
	return 1; /* the program is the first */
}

static _Unwind_Reason_Code stop_at_once(struct _Unwind_Context *context, void *arg)
{
	(void)context;
	(void)arg;
	return _URC_END_OF_STACK;
}

static __attribute__((constructor)) void begin(void)
{
	const char *name = getenv("LEAT_FAIL_CALLS");
	struct fail_page *mapped;
	int fd;

	is_inside++;
	fd = name ? REAL(open)(name, O_RDWR | O_CLOEXEC) : -1;
	if (fd < 0)
		_exit(125);
	mapped = REAL(mmap)(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	REAL(close)(fd);
	if (mapped == MAP_FAILED)
		_exit(125);
	dl_iterate_phdr(take_program, NULL);
	_Unwind_Backtrace(stop_at_once, NULL);
	/* What this program starts is no victim. */
	unsetenv("LD_PRELOAD");
	page = mapped;
	is_inside--;
}
