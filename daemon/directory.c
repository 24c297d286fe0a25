/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "persist/file.h"
#include "persist/format.h"

enum {
	DIRECTORY_DEPTH_MAX = 3,
	DIRECTORY_LOCK_TRIES = 5
};

/* An existing directory is as its owner wants it; a new one gets exactly this mode. */
static int directory_make_one(const char *path, mode_t mode)
{
	struct stat st;
	int r;

	if (mkdir(path, mode) == 0) {
		if (chmod(path, mode) < 0)
			return -errno;
		r = file_sync_parent(path);
		return r == -EACCES ? 0 : r;
	}
	if (errno != EEXIST)
		return -errno;
	if (stat(path, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int directory_make(const char *path, mode_t mode, char *detail, size_t detail_len)
{
	mode_t parents = mode == 0700 ? 0700 : 0755;
	char part[PATH_MAX];
	size_t len = strlen(path);
	int r = 0;

	if (len == 0 || len >= sizeof(part)) {
		snprintf(detail, detail_len, "'%.64s...' is no usable path of a directory", path);
		return -EINVAL;
	}
	for (size_t i = 1; i <= len && r == 0; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		r = directory_make_one(part, i == len ? mode : parents);
	}
	if (r < 0)
		snprintf(detail, detail_len, "the directory %s cannot be made: %s", path,
			 strerror(-r));
	return r;
}

bool directory_is_private(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
	       (st.st_mode & 022) == 0;
}

static void directory_say_holder(int fd, const char *path, char *detail, size_t detail_len)
{
	char text[32] = { 0 };
	long pid = 0;

	if (pread(fd, text, sizeof(text) - 1, 0) > 0)
		pid = strtol(text, NULL, 10);
	if (pid > 0)
		snprintf(detail, detail_len, "a daemon runs on %s already: process %ld", path, pid);
	else
		snprintf(detail, detail_len, "a daemon runs on %s already", path);
}

/* Of the open file, not of the process: no close of another fd of this file ends it. -EBUSY:
 * somebody else has it. */
static int directory_try_lock(int fd)
{
	for (int i = 0; i < DIRECTORY_LOCK_TRIES; i++) {
		struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET }, held = lock;

		if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
			return 0;
		if (errno != EAGAIN && errno != EACCES)
			return -errno;
		/* Whoever had it may just have ended. */
		if (fcntl(fd, F_OFD_GETLK, &held) < 0 || held.l_type != F_UNLCK)
			return -EBUSY;
	}
	return -EAGAIN;
}

int directory_lock(const char *path, const char *name, int *ret_fd, char *detail, size_t detail_len)
{
	char file[PATH_MAX], text[32];
	cleanup_with(close_fdp) int fd = -1;
	int len, r;

	if ((size_t)snprintf(file, sizeof(file), "%s/%s", path, name) >= sizeof(file)) {
		snprintf(detail, detail_len, "the path %.64s... is too long", path);
		return -ENAMETOOLONG;
	}
	fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0) {
		snprintf(detail, detail_len, "%s cannot be opened: %s", file, strerror(errno));
		return -errno;
	}
	r = directory_try_lock(fd);
	if (r < 0) {
		if (r == -EBUSY)
			directory_say_holder(fd, path, detail, detail_len);
		else
			snprintf(detail, detail_len, "%s cannot be locked: %s", file, strerror(-r));
		return r;
	}
	len = snprintf(text, sizeof(text), "%d\n", getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)len, 0) != len) {
		snprintf(detail, detail_len, "%s cannot be written: %s", file, strerror(errno));
		return -EIO;
	}
	*ret_fd = take_fd(fd);
	return 0;
}

static int directory_remove_at(int parent, const char *name, int depth)
{
	struct dirent *entry;
	DIR *dir;
	int fd, r = 0;

	if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	if (depth == 0)
		return -ELOOP;
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir) {
		r = -errno;
		close(fd);
		return r;
	}
	while (r == 0 && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			r = directory_remove_at(dirfd(dir), entry->d_name, depth - 1);
	closedir(dir);
	if (r == 0 && unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		r = -errno;
	return r;
}

int directory_remove(const char *base, const char *name)
{
	int fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	r = directory_remove_at(fd, name, DIRECTORY_DEPTH_MAX);
	close(fd);
	return r;
}

int directory_each(const char *path, void (*each)(void *ctx, const char *name), void *ctx)
{
	struct dirent *entry;
	DIR *dir = opendir(path);
	struct stat st;

	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.' &&
		    fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISDIR(st.st_mode))
			each(ctx, entry->d_name);
	closedir(dir);
	return 0;
}

static int directory_is_record_file(const char *path, const struct stat *st, int type,
				    struct FTW *ftw)
{
	uint64_t base;

	return type == FTW_F && format_segment_base(path + ftw->base, &base) &&
	       st->st_size > FORMAT_SEGMENT_LEN;
}

bool directory_holds_records(const char *base, const char *name)
{
	char path[PATH_MAX];

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", base, name) >= sizeof(path))
		return false;
	return nftw(path, directory_is_record_file, 8, FTW_PHYS) == 1;
}

uint64_t directory_free_len(const char *path)
{
	struct statvfs st;

	return statvfs(path, &st) == 0 ? (uint64_t)st.f_bavail * st.f_frsize : 0;
}
