/* SPDX-License-Identifier: Apache-2.0 */
#include "persist/segment.h"

#include <dirent.h>
#include <fcntl.h>

#include "persist/file.h"

int segment_prepare(int dir_fd, const char *name, uint64_t len)
{
	cleanup_with(file_closep) int fd = -1;
	int r = file_unlink(dir_fd, name);

	if (r < 0)
		return r;
	fd = file_open(dir_fd, name, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return fd;
	if (len > FORMAT_POS_END)
		return -EINVAL;
	r = file_allocate(fd, 0, FORMAT_SEGMENT_LEN + len);
	if (r < 0) {
		(void)file_unlink(dir_fd, name);
		return r;
	}
	return take_fd(fd);
}

int segment_publish(int dir_fd, int fd, const char *name, const struct segment_identity *identity,
		    uint64_t base, uint64_t prev_end, uint64_t epoch,
		    struct format_segment *ret_header)
{
	struct format_segment header = {
		.shard = identity->shard,
		.flags = identity->flags,
		.base = base,
		.epoch = epoch,
		.prev_end = prev_end,
		.created_ns = clock_now_ns(CLOCK_REALTIME),
		.crc_seed = identity->crc_seed,
	};
	char to[FORMAT_NAME_LEN];
	int r;

	memcpy(header.stream_uuid, identity->stream_uuid, sizeof(header.stream_uuid));
	format_segment_seal(&header);
	*ret_header = header;
	format_segment_name(base, to);
	r = file_write(fd, &header, sizeof(header), 0);
	if (r == 0)
		r = file_datasync(fd);
	if (r == 0)
		r = file_rename(dir_fd, name, to);
	if (r == 0)
		r = file_sync_dir(dir_fd);
	return r;
}

int segment_open(int dir_fd, uint64_t base)
{
	cleanup_with(file_closep) int fd = -1;
	char name[FORMAT_NAME_LEN];
	struct stat st;

	format_segment_name(base, name);
	fd = file_open(dir_fd, name, O_RDONLY, 0);
	if (fd == -ELOOP)
		return -ENOENT;
	if (fd < 0)
		return take_fd(fd);
	if (fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) ? take_fd(fd) : -ENOENT;
}

/* What is no file under a segment's name: the segment is missing. */
static bool is_file(int dir_fd, const struct dirent *entry)
{
	struct stat st;

	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type == DT_REG;
	return fstatat(dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || S_ISREG(st.st_mode);
}

int segment_read_header(int fd, const struct segment_identity *identity, uint64_t base,
			struct format_segment *ret_header)
{
	struct format_segment header;
	int64_t n = file_read(fd, &header, sizeof(header), 0);
	int r;

	if (n < 0)
		return (int)n;
	if (n != sizeof(header))
		return -EBADMSG;
	r = format_segment_check(&header);
	if (r < 0)
		return r;
	if (identity && (memcmp(header.stream_uuid, identity->stream_uuid, 16) != 0 ||
			 header.shard != identity->shard || header.base != base))
		return -ESTALE;
	*ret_header = header;
	return 0;
}

static int compare_bases(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int read_names(DIR *dir, uint64_t **bases, size_t *n)
{
	size_t n_allocated = 0;
	struct dirent *entry;
	uint64_t base;

	for (errno = 0; (entry = readdir(dir)) != NULL; errno = 0) {
		if (!format_segment_base(entry->d_name, &base) || !is_file(dirfd(dir), entry))
			continue;
		if (*n == n_allocated) {
			size_t more = n_allocated ? n_allocated * 2 : 64;
			uint64_t *grown = reallocarray(*bases, more, sizeof(**bases));

			if (!grown)
				return -ENOMEM;
			*bases = grown;
			n_allocated = more;
		}
		(*bases)[(*n)++] = base;
	}
	return -errno;
}

int segment_list(int dir_fd, uint64_t **ret_bases, size_t *ret_n)
{
	uint64_t *bases = NULL;
	size_t n = 0;
	DIR *dir;
	int fd, r;

	/* A directory fd of its own: the position in it is shared by duplicates. */
	fd = file_open(dir_fd, ".", O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (!dir) {
		r = -errno;
		file_close(fd);
		return r;
	}
	r = read_names(dir, &bases, &n);
	closedir(dir);
	if (r < 0) {
		free(bases);
		return r;
	}
	if (n)
		qsort(bases, n, sizeof(*bases), compare_bases);
	*ret_bases = bases;
	*ret_n = n;
	return 0;
}

void segment_release(int dir_fd, uint64_t base, uint64_t upto)
{
	cleanup_with(file_closep) int fd = -1;
	char name[FORMAT_NAME_LEN];
	uint64_t len;

	format_segment_name(base, name);
	fd = file_open(dir_fd, name, O_WRONLY, 0);
	if (fd < 0 || file_size(fd, &len) < 0)
		return;
	if (upto > base && upto < FORMAT_POS_END)
		len = min_u64(len, format_file_off(base, upto));
	/* Also when that is the size it has: what lies behind it is freed. */
	(void)file_truncate(fd, len);
}

int segment_unlink(int dir_fd, uint64_t base)
{
	char name[FORMAT_NAME_LEN];

	format_index_name(base, name);
	(void)file_unlink(dir_fd, name);
	format_segment_name(base, name);
	return file_unlink(dir_fd, name);
}

/* Ours, by its name; anything else is left where it is. */
static bool is_ours(const char *name)
{
	size_t len = strlen(name);

	return strcmp(name, FORMAT_CHECKPOINT_NAME) == 0 || strcmp(name, FORMAT_NEXT_NAME) == 0 ||
	       (len == 24 && strspn(name, "0123456789") == 20 &&
		(strcmp(name + 20, ".seg") == 0 || strcmp(name + 20, ".idx") == 0));
}

int segment_remove_all(const char *path)
{
	struct dirent *entry;
	DIR *dir = opendir(path);
	int r = 0;

	if (!dir)
		return -errno;
	while (r == 0 && (entry = readdir(dir)) != NULL)
		if (is_ours(entry->d_name))
			r = file_unlink(dirfd(dir), entry->d_name);
	closedir(dir);
	if (r == 0 && rmdir(path) < 0)
		r = -errno;
	return r;
}
