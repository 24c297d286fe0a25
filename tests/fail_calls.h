/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lets any call of the C library that a process makes fail, from outside: fail_calls.so is loaded
 * before the library ($LD_PRELOAD), and the page that says what fails lies in the file that
 * $LEAT_FAIL_CALLS names. Nothing is built in for it: the process is as it is installed.
 *
 * A call is known by the function, and by who in the program called: the innermost return
 * addresses that lie in it, FAIL_FRAMES at most. So each place fails once rather than each
 * round of a loop, and what a library calls counts for the place in the program that called it.
 */
#ifndef TESTS_FAIL_CALLS_H
#define TESTS_FAIL_CALLS_H

#include <errno.h>

#include "shm/atomic.h"
#include "shm/base.h"

enum {
	FAIL_FRAMES = 3,
	FAIL_SITES = 1 << 14,
	FAIL_ERRORS_MAX = 24,
	FAIL_SHORT = -1, /* in place of an errno: half of it is done */
};

/* What fails, and how: the errnos of each man page. EFAULT is not among them: the C library's
 * functions may crash instead. Of futex those only that are part of its protocol: liburcu ends the
 * process by the others, which a kernel that has futexes does not give. Of what is printed not
 * EPIPE: then nobody is there to be told. */
#define FAIL_CALLS(X)                                                                              \
	X(malloc, ENOMEM)                                                                          \
	X(calloc, ENOMEM)                                                                          \
	X(realloc, ENOMEM)                                                                         \
	X(reallocarray, ENOMEM)                                                                    \
	X(aligned_alloc, ENOMEM, EINVAL)                                                           \
	X(posix_memalign, ENOMEM, EINVAL)                                                          \
	X(open, EACCES, EBUSY, EDQUOT, EEXIST, EFBIG, EINTR, EINVAL, EISDIR, ELOOP, EMFILE,        \
	  ENAMETOOLONG, ENFILE, ENODEV, ENOENT, ENOMEM, ENOSPC, ENOTDIR, ENXIO, EPERM, EROFS, EIO, \
	  EWOULDBLOCK)                                                                             \
	X(openat, EACCES, EBADF, EDQUOT, EEXIST, EFBIG, EINTR, EINVAL, EISDIR, ELOOP, EMFILE,      \
	  ENAMETOOLONG, ENFILE, ENOENT, ENOMEM, ENOSPC, ENOTDIR, EPERM, EROFS, EIO, ETXTBSY)       \
	X(fopen, EMFILE, ENOMEM, EACCES, ENFILE)                                                   \
	X(fclose, EIO, ENOSPC, EBADF)                                                              \
	X(opendir, EACCES, EMFILE, ENFILE, ENOENT, ENOMEM, ENOTDIR)                                \
	X(fdopendir, EBADF, ENOMEM)                                                                \
	X(readdir, EBADF)                                                                          \
	X(close, EINTR, EIO, EBADF, ENOSPC, EDQUOT)                                                \
	X(dup, EBADF, EMFILE, ENOMEM)                                                              \
	X(dup2, EBADF, EBUSY, EINTR, EMFILE)                                                       \
	X(pipe2, EMFILE, ENFILE, EINVAL)                                                           \
	X(fcntl, EBADF, EPERM)                                                                     \
	X(fcntl_dup, EBADF, EINVAL, EMFILE)                                                        \
	X(fcntl_lock, EAGAIN, EACCES, EBADF, EINTR, EINVAL, ENOLCK)                                \
	X(ioctl, EBADF, EINVAL, ENOTTY)                                                            \
	X(read, FAIL_SHORT, EAGAIN, EBADF, EINTR, EINVAL, EIO, EISDIR)                             \
	X(pread, FAIL_SHORT, EBADF, EINTR, EINVAL, EIO, EISDIR, ENXIO, EOVERFLOW, ESPIPE)          \
	X(preadv2, FAIL_SHORT, EAGAIN, EBADF, EINTR, EINVAL, EIO, EOPNOTSUPP)                      \
	X(write, FAIL_SHORT, EAGAIN, EBADF, EDQUOT, EFBIG, EINTR, EINVAL, EIO, ENOSPC, EPERM,      \
	  EPIPE)                                                                                   \
	X(eventfd_write, EAGAIN)                                                                   \
	X(pwrite, FAIL_SHORT, EBADF, EDQUOT, EFBIG, EINTR, EINVAL, EIO, ENOSPC, EPERM, EPIPE,      \
	  ESPIPE)                                                                                  \
	X(fdatasync, EBADF, EINTR, EIO, ENOSPC, EROFS, EINVAL, EDQUOT)                             \
	X(fsync, EBADF, EINTR, EIO, ENOSPC, EROFS, EINVAL, EDQUOT)                                 \
	X(sync_file_range, EBADF, EINVAL, EIO, ENOMEM, ENOSPC, ESPIPE)                             \
	X(ftruncate, EACCES, EFBIG, EINTR, EINVAL, EIO, EPERM, EROFS, EBADF)                       \
	X(fallocate, EBADF, EFBIG, EINTR, EINVAL, EIO, ENODEV, ENOSPC, ENOSYS, EOPNOTSUPP, EPERM)  \
	X(posix_fadvise, EBADF, EINVAL, ESPIPE)                                                    \
	X(renameat, EACCES, EBUSY, EDQUOT, EINVAL, EIO, ENOENT, ENOMEM, ENOSPC, ENOTDIR, EPERM,    \
	  EROFS, EXDEV)                                                                            \
	X(unlinkat, EACCES, EBUSY, EIO, EISDIR, ENOENT, ENOMEM, ENOTDIR, EPERM, EROFS)             \
	X(unlink, EACCES, EBUSY, EIO, EISDIR, ENOENT, ENOMEM, ENOTDIR, EPERM, EROFS)               \
	X(rmdir, EACCES, EBUSY, EINVAL, ENOENT, ENOMEM, ENOTDIR, ENOTEMPTY, EPERM, EROFS)          \
	X(mkdir, EACCES, EDQUOT, EEXIST, EINVAL, ELOOP, EMLINK, ENAMETOOLONG, ENOENT, ENOMEM,      \
	  ENOSPC, ENOTDIR, EPERM, EROFS)                                                           \
	X(access, EACCES, EIO, ENOENT, ENOMEM, EROFS)                                              \
	X(fstat, EBADF, ENOMEM, EOVERFLOW)                                                         \
	X(stat, EACCES, ELOOP, ENAMETOOLONG, ENOENT, ENOMEM, ENOTDIR, EOVERFLOW)                   \
	X(lstat, EACCES, ELOOP, ENAMETOOLONG, ENOENT, ENOMEM, ENOTDIR, EOVERFLOW)                  \
	X(fstatat, EACCES, EBADF, EINVAL, ELOOP, ENOENT, ENOMEM, ENOTDIR, EOVERFLOW)               \
	X(fstatfs, EBADF, EINTR, EIO, ENOMEM, ENOSYS, EOVERFLOW)                                   \
	X(statfs, EACCES, EINTR, EIO, ENOENT, ENOMEM, ENOSYS, EOVERFLOW)                           \
	X(statvfs, EACCES, EINTR, EIO, ENOENT, ENOMEM, ENOSYS, EOVERFLOW)                          \
	X(readlink, EACCES, EINVAL, EIO, ELOOP, ENOENT, ENOMEM, ENOTDIR)                           \
	X(getcwd, EACCES, ENOENT, ENOMEM)                                                          \
	X(chmod, EACCES, EIO, ENOENT, ENOMEM, EPERM, EROFS)                                        \
	X(fchmod, EBADF, EIO, EPERM, EROFS)                                                        \
	X(flock, EBADF, EINTR, EINVAL, ENOLCK, EWOULDBLOCK)                                        \
	X(memfd_create, EINVAL, EMFILE, ENFILE, ENOMEM, EPERM)                                     \
	X(mmap, EACCES, EAGAIN, EBADF, EINVAL, ENFILE, ENODEV, ENOMEM, EOVERFLOW, EPERM, ETXTBSY)  \
	X(munmap, EINVAL, ENOMEM)                                                                  \
	X(madvise, EACCES, EAGAIN, EBADF, EINVAL, EIO, ENOMEM, EPERM)                              \
	X(eventfd, EINVAL, EMFILE, ENFILE, ENODEV, ENOMEM)                                         \
	X(signalfd, EBADF, EINVAL, EMFILE, ENFILE, ENODEV, ENOMEM)                                 \
	X(timerfd_create, EINVAL, EMFILE, ENFILE, ENODEV, ENOMEM, EPERM)                           \
	X(timerfd_settime, EBADF, EINVAL, ECANCELED)                                               \
	X(epoll_create1, EINVAL, EMFILE, ENFILE, ENOMEM)                                           \
	X(epoll_ctl, EBADF, EEXIST, EINVAL, ENOENT, ENOMEM, ENOSPC, EPERM)                         \
	X(epoll_wait, EBADF, EINTR, EINVAL)                                                        \
	X(poll, EINTR, EINVAL, ENOMEM)                                                             \
	X(socket, EACCES, EAFNOSUPPORT, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPROTONOSUPPORT)  \
	X(socketpair, EAFNOSUPPORT, EMFILE, ENFILE, EOPNOTSUPP, EPROTONOSUPPORT, ENOMEM)           \
	X(bind, EACCES, EADDRINUSE, EBADF, EINVAL, ENOTSOCK, EADDRNOTAVAIL, ELOOP, ENAMETOOLONG,   \
	  ENOENT, ENOMEM, ENOTDIR, EROFS)                                                          \
	X(listen, EADDRINUSE, EBADF, ENOTSOCK, EOPNOTSUPP)                                         \
	X(accept4, EAGAIN, EBADF, ECONNABORTED, EINTR, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM,    \
	  ENOTSOCK, EOPNOTSUPP, EPERM, EPROTO)                                                     \
	X(connect, EACCES, EPERM, EADDRINUSE, EAGAIN, EBADF, ECONNREFUSED, EINPROGRESS, EINTR,     \
	  ENOENT, ENOTSOCK, EPROTOTYPE, ETIMEDOUT)                                                 \
	X(shutdown, EBADF, EINVAL, ENOTCONN, ENOTSOCK)                                             \
	X(setsockopt, EBADF, EINVAL, ENOPROTOOPT, ENOTSOCK, EDOM, ENOMEM)                          \
	X(getsockopt, EBADF, EINVAL, ENOPROTOOPT, ENOTSOCK)                                        \
	X(send, EAGAIN, EBADF, ECONNRESET, EINTR, EINVAL, EMSGSIZE, ENOBUFS, ENOMEM, ENOTCONN,     \
	  ENOTSOCK, EPIPE)                                                                         \
	X(sendmsg, EAGAIN, EBADF, ECONNRESET, EINTR, EINVAL, EMSGSIZE, ENOBUFS, ENOMEM, ENOTCONN,  \
	  ENOTSOCK, EPIPE, ETOOMANYREFS)                                                           \
	X(recv, EAGAIN, EBADF, ECONNREFUSED, EINTR, EINVAL, ENOMEM, ENOTCONN, ENOTSOCK)            \
	X(recvmsg, EAGAIN, EBADF, ECONNREFUSED, EINTR, EINVAL, ENOMEM, ENOTCONN, ENOTSOCK, EMFILE) \
	X(pthread_create, EAGAIN, EINVAL, EPERM)                                                   \
	X(pidfd_open, EINVAL, EMFILE, ENFILE, ENODEV, ENOMEM, ESRCH)                               \
	X(getpwuid_r, EINTR, EIO, EMFILE, ENFILE, ENOMEM, ERANGE)                                  \
	X(getpwnam_r, EINTR, EIO, EMFILE, ENFILE, ENOMEM, ERANGE)                                  \
	X(getgrgid_r, EINTR, EIO, EMFILE, ENFILE, ENOMEM, ERANGE)                                  \
	X(getgrnam_r, EINTR, EIO, EMFILE, ENFILE, ENOMEM, ERANGE)                                  \
	X(getrandom, FAIL_SHORT, EAGAIN, EINTR, EINVAL, ENOSYS)                                    \
	X(getrlimit, EINVAL)                                                                       \
	X(setrlimit, EINVAL, EPERM)                                                                \
	X(setenv, ENOMEM)                                                                          \
	X(prctl, EINVAL, EPERM)                                                                    \
	X(fork, EAGAIN, ENOMEM, ENOSYS)                                                            \
	X(waitpid, EINTR, ECHILD)                                                                  \
	X(nanosleep, EINTR)                                                                        \
	X(sigprocmask, EINVAL)                                                                     \
	X(futex, EAGAIN, EINTR)                                                                    \
	X(futex_waitv, EAGAIN, EINTR, EINVAL, ENOMEM, ENOSYS, ETIMEDOUT)                           \
	X(membarrier, EINVAL, ENOSYS, EPERM)                                                       \
	X(syscall, EINVAL, ENOSYS, EPERM, ENOMEM)                                                  \
	X(io_uring_queue_init, EINVAL, EMFILE, ENFILE, ENOMEM, EPERM, ENOSYS)                      \
	X(io_uring_get_probe_ring, ENOMEM)                                                         \
	X(io_uring_register_eventfd, EBADF, EBUSY, EINVAL, ENOMEM)                                 \
	X(io_uring_submit, EAGAIN, EBUSY, EINTR)                                                   \
	X(io_uring_write, FAIL_SHORT, EAGAIN, EBADF, EDQUOT, EFBIG, EINTR, EINVAL, EIO, ENOSPC,    \
	  EPERM, ECANCELED)                                                                        \
	X(io_uring_fsync, EBADF, EINTR, EIO, ENOSPC, EROFS, EINVAL, EDQUOT, ECANCELED)             \
	X(io_uring_sync_file_range, EBADF, EINVAL, EIO, ENOMEM, ENOSPC, ESPIPE)                    \
	X(fflush, EIO, ENOSPC, EDQUOT, EBADF)                                                      \
	X(fwrite, EIO, ENOSPC, EDQUOT)                                                             \
	X(fputs, EIO, ENOSPC, EDQUOT)                                                              \
	X(puts, EIO, ENOSPC, EDQUOT)                                                               \
	X(fputc, EIO, ENOSPC, EDQUOT)                                                              \
	X(putc, EIO, ENOSPC, EDQUOT)                                                               \
	X(putchar, EIO, ENOSPC, EDQUOT)                                                            \
	X(fprintf, EIO, ENOSPC, EDQUOT)                                                            \
	X(vfprintf, EIO, ENOSPC, EDQUOT)                                                           \
	X(printf, EIO, ENOSPC, EDQUOT)                                                             \
	X(fgets, EIO, EINTR, EISDIR)                                                               \
	X(__getdelim, EIO, EINTR, EISDIR, ENOMEM)

enum fail_fn {
#define FAIL_ENUM(name, ...) FAIL_FN_##name,
	FAIL_CALLS(FAIL_ENUM)
#undef FAIL_ENUM
	FAIL_N_FNS
};

enum fail_mode {
	FAIL_OFF,
	FAIL_ONCE,    /* the call at the place */
	FAIL_FROM_ON, /* from that call on the function fails wherever it is called */
};

struct fail_site {
	_Atomic uint64_t key; /* 0: free */
	_Atomic uint32_t n;
	uint32_t fn;
	uint64_t frames[FAIL_FRAMES]; /* in the program; 0: none */
};

struct fail_page {
	_Atomic uint32_t open; /* else nothing is counted and nothing fails */
	_Atomic uint32_t counts;
	_Atomic uint32_t mode;
	_Atomic int32_t error;
	_Atomic uint64_t key;
	_Atomic uint32_t skip;   /* so many calls from there pass before */
	_Atomic uint32_t passed; /* have */
	_Atomic uint32_t raging; /* 1 + function that fails from now on */
	_Atomic uint32_t n_hit;
	struct fail_site sites[FAIL_SITES];
};

#endif
