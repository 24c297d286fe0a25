/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a power cut leaves. All operations on the files of one directory are logged through the
 * hooks of persist/file.h; for any place in the log the states that a disk can be in are made:
 *
 *   - what a successful fdatasync covered is there; of other writes each sector may be there, or
 *     not, or torn, or be garbage, and the size may be ahead of the data;
 *   - what a failed fdatasync was to cover is not made durable by a later one;
 *   - names are there up to the last fsync of the directory, and of later ones those up to any
 *     place, or, as no journaling file system would leave it, any of them.
 */
#ifndef TESTS_DISK_LOG_H
#define TESTS_DISK_LOG_H

#include "persist/file.h"
#include "tests/image.h"

enum {
	DISK_LOG_MARK = 100, /* an event of the test itself */
	DISK_LOG_FDS = 256,
};

struct disk_event {
	int kind; /* enum file_kind, DISK_LOG_MARK */
	int result;
	int inode;
	bool is_hint;      /* on a file that can be lost at any time */
	uint64_t covers;   /* syncs: the events before that */
	uint64_t ended_by; /* number of the first sync that covered this; UINT64_MAX: none */
	uint64_t off;      /* marks: as the test says */
	uint64_t len;
	uint64_t more;
	char *bytes;
	char name[32];
	char to[32];
};

struct disk_log {
	struct image initial; /* durable; file number i is inode i + 1 */
	struct disk_event *events;
	uint64_t n;
	uint64_t n_allocated;
	int n_inodes;
	int fd_inode[DISK_LOG_FDS];
	uint64_t fd_covers[DISK_LOG_FDS];
	/* The next calls of this kind fail: count down to it, 0: none. */
	int fail_sync_in;
	int fail_write_in;
	/* Negative control: fdatasync, or the directory's fsync, is only said to have been. */
	bool lies;
};

/* How the states are chosen. */
struct disk_choice {
	bool is_random;
	bool any_names;   /* random: of the names any, else up to any place */
	uint64_t bits;    /* not random: which of the open operations have been, from the oldest */
	uint64_t *random; /* state of disk_log_random() */
};

/* splitmix64 */
uint64_t disk_log_random(uint64_t *state);

/* Begins to log; one log at a time. `initial` is copied; NULL: empty. */
void disk_log_begin(struct disk_log *log, const struct image *initial);
void disk_log_end(struct disk_log *log);
void disk_log_deinit(struct disk_log *log);
void disk_log_mark(struct disk_log *log, uint64_t off, uint64_t len, uint64_t more);

/* Operations before event `cut` that may or may not be on the disk then. */
unsigned int disk_log_n_open(const struct disk_log *log, uint64_t cut);
void disk_log_state(const struct disk_log *log, uint64_t cut, const struct disk_choice *choice,
		    struct image *ret_image);

#endif
