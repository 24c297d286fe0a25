/* SPDX-License-Identifier: Apache-2.0 */
#include "persist/file.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

#ifdef LEAT_TESTPOINTS
static const struct file_hooks *file_hooks;

void file_set_hooks(const struct file_hooks *hooks)
{
	file_hooks = hooks;
}

int file_before(const struct file_event *event)
{
	return file_hooks && file_hooks->before ? file_hooks->before(file_hooks->ctx, event) : 0;
}

void file_after(const struct file_event *event, int64_t result)
{
	if (file_hooks && file_hooks->after)
		file_hooks->after(file_hooks->ctx, event, result);
}
#else
void file_set_hooks(const struct file_hooks *hooks)
{
	(void)hooks;
}

int file_before(const struct file_event *event)
{
	(void)event;
	return 0;
}

void file_after(const struct file_event *event, int64_t result)
{
	(void)event;
	(void)result;
}
#endif

/* Runs `call` between the hooks; it leaves its result, negative errno on failure, in r. */
#define hooked(event, r, call)                                                                     \
	do {                                                                                       \
		(r) = file_before(event);                                                          \
		if ((r) == 0) {                                                                    \
			do                                                                         \
				(r) = (call);                                                      \
			while ((r) < 0 && errno == EINTR);                                         \
			if ((r) < 0)                                                               \
				(r) = -errno;                                                      \
		}                                                                                  \
		file_after(event, r);                                                              \
	} while (0)

int file_open(int dir_fd, const char *name, int flags, mode_t mode)
{
	struct file_event event = { .kind = FILE_OPEN, .fd = dir_fd, .flags = flags, .name = name };
	int r;

	/* A FIFO that somebody put in a file's place must not hold up who opens it. */
	if ((flags & O_ACCMODE) != O_RDWR)
		flags |= O_NONBLOCK;
	hooked(&event, r, openat(dir_fd, name, flags | O_CLOEXEC | O_NOFOLLOW, mode));
	return r;
}

int file_close(int fd)
{
	struct file_event event = { .kind = FILE_CLOSE, .fd = fd };

	if (fd < 0)
		return -1;
	/* Linux closes in any case; whether all was written is what fdatasync said. */
	(void)file_before(&event);
	close(fd);
	file_after(&event, 0);
	return -1;
}

void file_closep(int *fd)
{
	*fd = file_close(*fd);
}

int64_t file_read(int fd, void *buf, uint64_t len, uint64_t off)
{
	uint64_t done = 0;

	if (off > INT64_MAX || len > INT64_MAX - off)
		return -EINVAL;
	while (done < len) {
		struct file_event event = {
			.kind = FILE_READ, .fd = fd, .len = len - done, .off = off + done
		};
		int64_t r;

		hooked(&event, r, pread(fd, (char *)buf + done, len - done, (off_t)(off + done)));
		/* What came before an error is given first; the next call meets the error again. */
		if (r < 0 && done == 0)
			return r;
		if (r <= 0)
			break;
		done += (uint64_t)r;
	}
	return (int64_t)done;
}

int file_write(int fd, const void *buf, uint64_t len, uint64_t off)
{
	uint64_t done = 0;

	if (off > INT64_MAX || len > INT64_MAX - off)
		return -EINVAL;
	while (done < len) {
		struct file_event event = {
			.kind = FILE_WRITE,
			.fd = fd,
			.buf = (const char *)buf + done,
			.len = len - done,
			.off = off + done,
		};
		int64_t r;

		hooked(&event, r, pwrite(fd, event.buf, event.len, (off_t)event.off));
		if (r <= 0)
			return r < 0 ? (int)r : -EIO;
		done += (uint64_t)r;
	}
	return 0;
}

int file_datasync(int fd)
{
	struct file_event event = { .kind = FILE_FDATASYNC, .fd = fd };
	int r = file_before(&event);

	/* Not repeated after EINTR: an error is reported once, and a second call would hide it. */
	if (r == 0 && fdatasync(fd) < 0)
		r = -errno;
	file_after(&event, r);
	return r;
}

int file_sync_dir(int dir_fd)
{
	struct file_event event = { .kind = FILE_FSYNC, .fd = dir_fd };
	int r = file_before(&event);

	if (r == 0 && fsync(dir_fd) < 0)
		r = -errno;
	file_after(&event, r);
	return r;
}

int file_size(int fd, uint64_t *ret_len)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size < 0)
		return -EBADMSG;
	*ret_len = (uint64_t)st.st_size;
	return 0;
}

int file_allocate(int fd, uint64_t off, uint64_t len)
{
	struct file_event event = { .kind = FILE_ALLOCATE, .fd = fd, .len = len, .off = off };
	int r;

	if (off > INT64_MAX || len > INT64_MAX - off)
		return -EINVAL;
	hooked(&event, r, fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len));
	return r == -EOPNOTSUPP || r == -ENOSYS ? 0 : r;
}

int file_truncate(int fd, uint64_t len)
{
	struct file_event event = { .kind = FILE_TRUNCATE, .fd = fd, .len = len };
	int r;

	if (len > INT64_MAX)
		return -EINVAL;
	hooked(&event, r, ftruncate(fd, (off_t)len));
	return r;
}

void file_drop(int fd, uint64_t off, uint64_t len)
{
	struct file_event event = { .kind = FILE_DROP, .fd = fd, .len = len, .off = off };
	int r = file_before(&event);

	if (r == 0)
		r = -posix_fadvise(fd, (off_t)off, (off_t)len, POSIX_FADV_DONTNEED);
	file_after(&event, r);
}

int file_rename(int dir_fd, const char *from, const char *to)
{
	struct file_event event = { .kind = FILE_RENAME, .fd = dir_fd, .name = from, .to = to };
	int r;

	hooked(&event, r, renameat(dir_fd, from, dir_fd, to));
	return r;
}

int file_unlink(int dir_fd, const char *name)
{
	struct file_event event = { .kind = FILE_UNLINK, .fd = dir_fd, .name = name };
	int r;

	hooked(&event, r, unlinkat(dir_fd, name, 0));
	return r == -ENOENT ? 0 : r;
}

/* Makes the names in the directory that holds `path` durable. */
int file_sync_parent(const char *path)
{
	char parent[PATH_MAX];
	char *slash;
	int r, fd;

	strcpy(parent, path);
	slash = strrchr(parent, '/');
	if (slash)
		slash[slash == parent ? 1 : 0] = '\0';
	fd = file_open(AT_FDCWD, slash ? parent : ".", O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return fd;
	r = file_sync_dir(fd);
	file_close(fd);
	return r;
}

static int make_dir(const char *path)
{
	struct file_event event = { .kind = FILE_MKDIR, .fd = AT_FDCWD, .name = path };
	int r;

	hooked(&event, r, mkdir(path, 0700));
	if (r < 0)
		return r == -EEXIST ? 0 : r;
	return file_sync_parent(path);
}

int file_make_dirs(const char *path)
{
	char part[PATH_MAX];
	size_t i, len = strlen(path);
	int r;

	while (len > 1 && path[len - 1] == '/')
		len--;
	if (len == 0 || len >= sizeof(part))
		return len ? -ENAMETOOLONG : -EINVAL;
	for (i = 1; i <= len; i++) {
		if (i < len && path[i] != '/')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		r = make_dir(part);
		if (r < 0)
			return r;
	}
	/* It may be there since a moment before a crash, without a durable name. */
	r = file_sync_parent(part);
	return r == -EACCES ? 0 : r;
}
