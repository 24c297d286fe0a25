/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's directories: made where they are missing, locked, removed stream by stream. */
#ifndef DAEMON_DIRECTORY_H
#define DAEMON_DIRECTORY_H

#include <sys/types.h>

#include "shm/base.h"

/*
 * Makes `path` and its parents where they are missing; `mode` is the last one's, whatever the
 * umask, parents get 0755 (mode 0700: 0700). 0; on failure a sentence in detail.
 */
int directory_make(const char *path, mode_t mode, char *detail, size_t detail_len);

/* True when path is a directory of our own that nobody else can write; for places below /tmp. */
bool directory_is_private(const char *path);

/*
 * Locks path/name for this process and writes its pid into it. The lock ends with the process,
 * however it ends. -EBUSY with a sentence that names the process that holds it.
 */
int directory_lock(const char *path, const char *name, int *ret_fd, char *detail,
		   size_t detail_len);

/*
 * Removes base/name with everything in it, at most two levels of directories deep; symbolic links
 * are removed, not followed. 0 also when it is not there.
 */
int directory_remove(const char *base, const char *name);

/* Gives each() the names of all directories in `path`, hidden ones left out. 0 also when it is not
 * there. */
int directory_each(const char *path, void (*each)(void *ctx, const char *name), void *ctx);

/* True when a segment anywhere below base/name is longer than its header. */
bool directory_holds_records(const char *base, const char *name);

/* Bytes that the file system of `path` has free for us; 0 when it cannot be told. */
uint64_t directory_free_len(const char *path);

#endif
