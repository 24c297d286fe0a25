/* SPDX-License-Identifier: Apache-2.0 */
/* A directory's files in memory: read, changed, put somewhere. */
#ifndef TESTS_IMAGE_H
#define TESTS_IMAGE_H

#include <check.h>

#include "shm/base.h"

enum {
	IMAGE_FILES_MAX = 128,
};

struct image_file {
	char name[32];
	char *bytes;
	size_t len;
	bool there;
};

/* In order of their names. */
struct image {
	struct image_file files[IMAGE_FILES_MAX];
	size_t n;
};

void image_load(struct image *image, const char *dir);
/* The directory holds exactly the files of the image afterwards; made where it is missing. */
void image_put(const struct image *image, const char *dir);
void image_deinit(struct image *image);
void image_copy(struct image *to, const struct image *from);
struct image_file *image_find(struct image *image, const char *name);
void image_set(struct image_file *file, const void *bytes, size_t len);
/* A file of that name more; it is not there yet. */
struct image_file *image_add(struct image *image, const char *name);

#endif
