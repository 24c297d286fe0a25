/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of a shard's segments: changed by the store's owner, read by any thread, under one
 * mutex that is never held over a system call. What is known of a segment without a look at its
 * file is where it begins; the rest is found out when somebody asks, or in the background.
 */
#ifndef PERSIST_SEGLIST_H
#define PERSIST_SEGLIST_H

#include <pthread.h>

#include "persist/segment.h"
#include "persist/timeindex.h"
#include "shm/base.h"

struct seglist_entry {
	uint64_t base;
	uint64_t end;    /* of the last one: see `written` */
	uint64_t bytes;  /* on disk; 0 until known */
	uint64_t max_ns; /* 0 until known */
	bool known;      /* end and bytes are exact */
	bool indexed;    /* max_ns was looked for in vain or found */
	uint8_t reserved[6];
};

struct seglist {
	pthread_mutex_t mutex;
	int dir_fd; /* borrowed */
	uint32_t reserved;
	struct segment_identity identity;
	struct seglist_entry *entries; /* [first, n) */
	size_t first;
	size_t n;
	size_t n_allocated;
	size_t explored; /* entries before it were looked at */
	uint64_t written;
	uint64_t durable;
	uint64_t going;   /* base of the oldest while it is being unlinked; 0: none is */
	bool has_current; /* the last one is being written */
	uint8_t reserved2[7];
	struct timeindex index; /* of the segment being written, base index_base */
	uint64_t index_base;
};

/* Takes the bases, ascending, of which the last n_ends are known to end at `ends`. */
int seglist_init(struct seglist *list, int dir_fd, const struct segment_identity *identity,
		 const uint64_t *bases, size_t n, const uint64_t *ends, size_t n_ends);
void seglist_deinit(struct seglist *list);

/* ---- the owner ---- */

/* Room for one more, so that seglist_append() cannot fail. */
int seglist_reserve(struct seglist *list);
/* The current segment ends at `end`, the one at `base` is current now; end <= base. */
void seglist_append(struct seglist *list, uint64_t end, uint64_t base);
/* Takes off the last one if its base is >= pos; *ret_base is which. */
bool seglist_pop_from(struct seglist *list, uint64_t pos, uint64_t *ret_base);
/* The base of the newest; false when there is none. */
bool seglist_newest(struct seglist *list, uint64_t *ret_base);
/* The oldest; false when there is none. */
bool seglist_oldest(struct seglist *list, struct seglist_entry *ret_entry, bool *ret_current);
/* Takes off the oldest if it is closed. */
bool seglist_pop_oldest(struct seglist *list, uint64_t *ret_base);
/* The oldest one, at `base`, counts as gone; 0: it does not. Before its file goes. */
void seglist_set_going(struct seglist *list, uint64_t base);
void seglist_set_progress(struct seglist *list, uint64_t written, uint64_t durable);
void seglist_set_max_ns(struct seglist *list, uint64_t base, uint64_t max_ns);
void seglist_index_add(struct seglist *list, uint64_t pos, uint64_t max_ns);
/* Gives the index of the segment that ends, and begins that of the one at `base`. */
void seglist_index_begin(struct seglist *list, uint64_t base, struct timeindex *ret_old);

/* ---- any thread ---- */

/* Where the oldest one begins that is not on its way out. */
uint64_t seglist_earliest(struct seglist *list);
/* One after what is written. */
uint64_t seglist_written(struct seglist *list);
/* The first segment that reaches beyond pos; its end is exact. READER_E_END, or negative errno. */
int seglist_find(struct seglist *list, uint64_t pos, struct seglist_entry *ret_entry,
		 bool *ret_current);
/* The same, opened for reading. */
int seglist_open(struct seglist *list, uint64_t pos, struct seglist_entry *ret_entry,
		 bool *ret_current, int *ret_fd);
int seglist_seek_time(struct seglist *list, uint64_t ns, uint64_t *ret_pos);
int seglist_seek_pos(struct seglist *list, uint64_t pos, uint64_t *ret_pos);

/*
 * Looks at up to `n` segments that nobody has looked at, then at the oldest one's timestamps where
 * they are missing. Returns how many it looked at, or negative errno.
 */
int seglist_explore(struct seglist *list, size_t n);

#endif
