/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The four memfds of a shard's ring: made, populated, sealed and reopened by the daemon, checked
 * and mapped by everybody.
 */
#ifndef SHM_REGION_H
#define SHM_REGION_H

#include "shm/layout.h"

enum region_kind {
	REGION_RING,
	REGION_PUBLISH,
	REGION_GOVERN,
	REGION_WAIT,
	REGION_N,
};

/* Who maps; decides the permission of each region, see the table in shm/FORMAT.md. */
enum region_access {
	REGION_DAEMON,
	REGION_PUBLISHER,
	REGION_SUBSCRIBER,
	REGION_MONITOR, /* publish and govern page only, read-only */
};

/* The fds of one ring, indexed by enum region_kind; -1 = absent. */
struct region_fds {
	int fd[REGION_N];
};

#define REGION_FDS_NULL ((struct region_fds){ { -1, -1, -1, -1 } })

struct region_options {
	uint8_t stream_uuid[16];
	uint32_t shard;
	uint32_t generation;
	uint64_t ring_len;  /* bytes, a power of two, at least LAYOUT_RING_MIN */
	uint64_t first_pos; /* where this ring begins, multiple of 32 */
	uint32_t max_len;   /* of one record, bytes, 0 = region_max_len(ring_len) */
	uint32_t flags;     /* GOVERN_F_* */
	int node;           /* NUMA node, -1 = wherever the caller runs */
};

/*
 * How the daemon places ring memory: called on the mapping before it is populated. NULL (the
 * default) leaves it to the kernel; daemon/placement.c sets it to a libnuma call.
 */
extern void (*region_place_hook)(void *base, uint64_t len, int node);

/* Bytes that new rings may take: the machine's available memory, and what this process' memory
 * cgroups leave if that is less; UINT64_MAX where neither can be read. */
uint64_t region_available(void);

/* Largest record that a ring of ring_len bytes takes: a quarter of it or 16 MiB. */
uint32_t region_max_len(uint64_t ring_len);

/*
 * Makes the four regions: sized, populated, sealed against resizing, mode 0600, headers ready.
 * tail = limit-ring_len = reclaimed = written = durable = first_pos. ret_fds get read-write fds
 * with close-on-exec, owned by the caller. -EINVAL for sizes out of range; -ENOSPC when memory
 * does not suffice, with *ret_available bytes that would have been there (may be NULL); -EMFILE,
 * -ENFILE, -ENOMEM.
 */
int region_create(const struct region_options *options, struct region_fds *ret_fds,
		  uint64_t *ret_available);

/* The same regions as fds fit for `access`: read-only where it may not write; owned by caller. */
int region_reopen(const struct region_fds *fds, enum region_access access,
		  struct region_fds *ret_fds);

struct region_fds *region_fds_close(struct region_fds *fds);

/*
 * Maps one region with the permission that `access` has, after checking its size, its seals and
 * (pages) its header. The ring is mapped twice back to back. MADV_DONTFORK. -EPROTONOSUPPORT for
 * an unknown version, -EBADMSG for anything else that is not right, -ENOMEM.
 */
int region_map(int fd, enum region_kind kind, enum region_access access, uint64_t ring_len,
	       struct region *ret_region);
void region_unmap(struct region *region, enum region_kind kind);

#endif
