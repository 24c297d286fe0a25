/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One segment file: making it under a temporary name, giving it its header and its real name,
 * opening it again. A name exists only with a durable header behind it.
 */
#ifndef PERSIST_SEGMENT_H
#define PERSIST_SEGMENT_H

#include "persist/format.h"
#include "shm/base.h"

/* What all segments of a shard have in common. */
struct segment_identity {
	uint8_t stream_uuid[16];
	uint32_t shard;
	uint32_t flags; /* FORMAT_F_* */
	uint32_t crc_seed;
	uint32_t reserved;
};

/* Makes the file `name` and reserves space for `len` bytes of records. Returns an fd. */
int segment_prepare(int dir_fd, const char *name, uint64_t len);

/*
 * Writes the header to the fd that segment_prepare() gave, makes it durable, renames `name` to the
 * segment's own name and makes that durable. A segment of the same base is replaced: its content
 * must be void. *ret_header is set also when it fails.
 */
int segment_publish(int dir_fd, int fd, const char *name, const struct segment_identity *identity,
		    uint64_t base, uint64_t prev_end, uint64_t epoch,
		    struct format_segment *ret_header);

/* Opens for reading. Returns an fd, -ENOENT, or what open gave. */
int segment_open(int dir_fd, uint64_t base);

/*
 * Reads and checks the header at fd: 0, -EBADMSG, -EPROTONOSUPPORT, or -ESTALE when it is sound
 * but of another stream, shard or base than `identity` and `base` say. identity may be NULL.
 */
int segment_read_header(int fd, const struct segment_identity *identity, uint64_t base,
			struct format_segment *ret_header);

/* Bases of all segments in the directory, ascending; *ret_bases is freed by the caller. */
int segment_list(int dir_fd, uint64_t **ret_bases, size_t *ret_n);

/*
 * Gives back the space that was reserved behind the end of a segment that nobody writes to any
 * more, and what lies behind `upto`, if anything, which the caller knows to be zeros. Neither is
 * anybody's data, so a failure is no matter.
 */
void segment_release(int dir_fd, uint64_t base, uint64_t upto);

/* Unlinks a segment and its index; 0 also when they are not there. */
int segment_unlink(int dir_fd, uint64_t base);

/* Removes all files of a shard by their names, then the directory. */
int segment_remove_all(const char *path);

#endif
