/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every system call on files of this folder goes through here: negative errno instead of errno,
 * EINTR and short transfers dealt with, and, in test builds only, hooks that see each call before
 * and after it, may let it fail, and so can log what would be on disk after a power cut.
 */
#ifndef PERSIST_FILE_H
#define PERSIST_FILE_H

#include <sys/stat.h>

#include "shm/base.h"

enum file_kind {
	FILE_OPEN,
	FILE_CLOSE,
	FILE_READ,
	FILE_WRITE,
	FILE_FDATASYNC,
	FILE_FSYNC, /* of a directory */
	FILE_ALLOCATE,
	FILE_TRUNCATE,
	FILE_RENAME,
	FILE_UNLINK,
	FILE_MKDIR,
	FILE_DROP,
};

/* What a hook is shown. Fields that do not belong to the kind are 0. */
struct file_event {
	enum file_kind kind;
	int fd;           /* the file; OPEN, RENAME, UNLINK, MKDIR: its directory */
	int flags;        /* OPEN */
	const char *name; /* OPEN, RENAME (from), UNLINK, MKDIR */
	const char *to;   /* RENAME */
	const void *buf;  /* WRITE */
	uint64_t len;
	uint64_t off;
};

struct file_hooks {
	void *ctx;
	/* Before the call, on any thread: 0, or the negative errno that the call fails with. */
	int (*before)(void *ctx, const struct file_event *event);
	/* After it, with its result; OPEN: the new fd. */
	void (*after)(void *ctx, const struct file_event *event, int64_t result);
};

/* Test builds: NULL takes the hooks away. Not while other threads use files. */
void file_set_hooks(const struct file_hooks *hooks);

/* For calls that are made elsewhere (io_uring): tell the hooks. */
int file_before(const struct file_event *event);
void file_after(const struct file_event *event, int64_t result);

/* 0 or a new fd (close-on-exec, symbolic links refused), or negative errno. */
int file_open(int dir_fd, const char *name, int flags, mode_t mode);
int file_close(int fd); /* accepts -1; returns -1 */
void file_closep(int *fd);

/* Short at the end of the file, or before a place that cannot be read (at once: the error). */
int64_t file_read(int fd, void *buf, uint64_t len, uint64_t off);
/* Writes all, or negative errno. */
int file_write(int fd, const void *buf, uint64_t len, uint64_t off);
int file_datasync(int fd);
int file_sync_dir(int dir_fd);
/* The directory that `path`, shorter than PATH_MAX, is in; -EACCES where it may not be read. */
int file_sync_parent(const char *path);
int file_size(int fd, uint64_t *ret_len);
/* Reserves space without a change of the size; -EOPNOTSUPP is turned into 0. */
int file_allocate(int fd, uint64_t off, uint64_t len);
int file_truncate(int fd, uint64_t len);
int file_rename(int dir_fd, const char *from, const char *to);
/* Clean pages of this range leave the page cache; a hint. */
void file_drop(int fd, uint64_t off, uint64_t len);
/* 0 also when it is not there. */
int file_unlink(int dir_fd, const char *name);
/* Makes `path` and its parents where they are missing, mode 0700, names durable. */
int file_make_dirs(const char *path);

#endif
