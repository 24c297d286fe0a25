/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/image.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

struct image_file *image_add(struct image *image, const char *name)
{
	struct image_file *file;
	size_t i = image->n;

	ck_assert_uint_lt(image->n, IMAGE_FILES_MAX);
	while (i > 0 && strcmp(image->files[i - 1].name, name) > 0) {
		image->files[i] = image->files[i - 1];
		i--;
	}
	image->n++;
	file = &image->files[i];
	memset(file, 0, sizeof(*file));
	snprintf(file->name, sizeof(file->name), "%s", name);
	return file;
}

void image_set(struct image_file *file, const void *bytes, size_t len)
{
	char *copy = malloc(len + 1);

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, bytes, len);
	free(file->bytes);
	file->bytes = copy;
	file->len = len;
	file->there = true;
}

static void load_file(struct image_file *file, int dir_fd)
{
	int fd = openat(dir_fd, file->name, O_RDONLY | O_CLOEXEC);
	struct stat st;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	file->len = (size_t)st.st_size;
	file->bytes = malloc(file->len + 1);
	ck_assert_ptr_nonnull(file->bytes);
	ck_assert_int_eq(read(fd, file->bytes, file->len), (ssize_t)file->len);
	file->there = true;
	close(fd);
}

void image_load(struct image *image, const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	ck_assert_ptr_nonnull(dir);
	memset(image, 0, sizeof(*image));
	while ((entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			load_file(image_add(image, entry->d_name), dirfd(dir));
	closedir(dir);
}

static void put_file(const struct image_file *file, int dir_fd)
{
	int fd = openat(dir_fd, file->name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, file->bytes, file->len), (ssize_t)file->len);
	close(fd);
}

void image_put(const struct image *image, const char *path)
{
	struct dirent *entry;
	size_t i;
	DIR *dir;

	mkdir(path, 0700);
	dir = opendir(path);
	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			unlinkat(dirfd(dir), entry->d_name, 0);
	for (i = 0; i < image->n; i++)
		if (image->files[i].there)
			put_file(&image->files[i], dirfd(dir));
	closedir(dir);
}

void image_deinit(struct image *image)
{
	while (image->n > 0)
		free(image->files[--image->n].bytes);
}

void image_copy(struct image *to, const struct image *from)
{
	size_t i;

	image_deinit(to);
	*to = *from;
	for (i = 0; i < to->n; i++) {
		to->files[i].bytes = NULL;
		if (from->files[i].there)
			image_set(&to->files[i], from->files[i].bytes, from->files[i].len);
	}
}

struct image_file *image_find(struct image *image, const char *name)
{
	size_t i;

	for (i = 0; i < image->n; i++)
		if (strcmp(image->files[i].name, name) == 0)
			return &image->files[i];
	return NULL;
}
