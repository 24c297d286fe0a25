/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One shard as the daemon holds it: its ring (and the ring it is moving to), its segments, its
 * publishers' slots. Control calls come from the control thread; everything that touches the ring
 * or the disk happens on the shard's drain thread (drain.h), which finds requests in the shard.
 */
#ifndef DAEMON_SHARD_H
#define DAEMON_SHARD_H

#include <urcu/rculist.h>

#include "shm/region.h"
#include "shm/ring.h"

struct drain;
struct shard;

enum shard_sync {
	SHARD_SYNC_ALWAYS,
	SHARD_SYNC_NONE,
	SHARD_SYNC_INTERVAL
};
enum shard_disk_full {
	SHARD_DISK_FULL_STOP,
	SHARD_DISK_FULL_DROP_OLDEST
};

/* What can change while the shard lives: shard_set_policy(). */
struct shard_policy {
	uint64_t sync_ns;
	uint64_t claim_timeout_ns;
	uint64_t rate_limit; /* bytes a second, 0 = none */
	uint64_t roll_ns;    /* a segment is closed when it is so old; 0 = when it is full */
	enum shard_sync sync;
	enum shard_disk_full on_disk_full;
};

/*
 * How many bytes a stream may keep, shared by its shards. What each shard keeps is charged with its
 * current segment as if it were full, and no shard begins another one while the charge is above
 * the limit and there is something to delete: so a stream never keeps more than the limit and one
 * segment, however fast it is published to.
 */
struct shard_quota {
	_Atomic uint64_t limit;    /* bytes, 0 = none; control thread */
	_Atomic uint64_t charged;  /* bytes; drain threads */
	_Atomic uint64_t n_closed; /* segments that retention can delete; drain threads */
	_Atomic uint32_t news;     /* set by drain threads: retention is to look */
	uint32_t reserved;
};

/* How ring fds are kept beyond the daemon's life: notify.c (systemd's fd store or the keeper). */
struct shard_keep {
	/* name is region_fd_name() without kind; all four at once. Both may be called from the
	 * drain thread. Errors are the implementation's to log. */
	void (*store)(void *ctx, const char *name, const struct region_fds *fds);
	void (*forget)(void *ctx, const char *name);
	void *ctx;
};

struct shard_options {
	struct drain *drain;   /* that will serve it: drain_add() */
	const char *stream;    /* name, for messages; copied */
	const char *directory; /* data/streams/<stream>/<shard>, NULL for memory-only; copied */
	uint8_t stream_uuid[16];
	uint32_t shard;
	uint32_t flags; /* GOVERN_F_* */
	uint64_t ring_len;
	uint64_t segment_len;
	int node; /* NUMA node, -1 = any */
	/* Of a ring that takes over from none: above all of its shard before, so that clients
	 * who still hold one that died with its daemon come to ask for it. */
	uint32_t first_generation;
	struct shard_policy policy;
	struct shard_quota *quota; /* of the stream, outlives the shard; NULL = none */
	struct shard_keep keep;
	/* Rings that survived the last daemon, newest generation last; fds are taken over. */
	const struct region_fds *survivors;
	size_t n_survivors;
};

/* What the monitor sees; a consistent-enough snapshot. */
struct shard_stats {
	uint64_t earliest, tail, written, durable, reclaimed, limit, ring_len;
	uint64_t records, bytes, tombstones, tombstone_bytes, damaged, damaged_bytes, gaps;
	uint64_t disk_errors, syncs, segments, kept_bytes, full_waits, successors, latest_ns;
	uint32_t generation;
	uint32_t n_publishers;
	enum govern_state state;
	int error;
};

struct shard_slot_stats {
	uint32_t slot, pid, uid, publisher;
	uint64_t records, bytes;
};

/*
 * Makes a shard with its ring. One that survived is taken over as it is, without a look at the
 * disk: clients can have it from now on. Where none did, the segments are recovered first, to find
 * where the log goes on. detail[detail_len] gets a sentence on failure. -ENOSPC with needed and
 * available, -EIO, ... Any thread.
 */
int shard_new(const struct shard_options *options, char *detail, size_t detail_len,
	      struct shard **ret_shard);
/* The rest, before drain_add(): recovery, if it was not done yet, and the first segment. Waits for
 * the disk. After a failure the shard counts as stopped. Any thread. */
int shard_start(struct shard *shard, char *detail, size_t detail_len);
struct drain *shard_drain(const struct shard *shard);
/* Only after shard_stopped(), and after the drain was made to forget it. NULL ok. */
struct shard *shard_free(struct shard *shard);

/* ---- control thread ---- */

/*
 * The fds of the newest ring for a client of this access, to be closed by the caller after sending.
 * -EAGAIN while only generations below at_least exist.
 */
int shard_region_fds(struct shard *shard, enum region_access access, uint32_t at_least,
		     uint32_t *ret_generation, struct region_fds *ret_fds);
/* The generation of the first ring that the newest one goes on from: slots are the same since. */
uint32_t shard_origin(const struct shard *shard);
/* The eventfd that wakes the drain for this shard; stays the shard's. */
int shard_kick_fd(const struct shard *shard);

/* Gives a free slot in the newest ring to a process. -EAGAIN when all are taken. The slot number
 * is valid in every later generation too. */
int shard_slot_take(struct shard *shard, uint32_t pid, uint32_t uid, uint64_t start_time,
		    uint32_t publisher, uint32_t *ret_slot);
/* The process is dead or has detached: what it left open becomes tombstones. Idempotent. */
void shard_slot_gone(struct shard *shard, uint32_t slot);
/* Slots taken, for a daemon that starts with surviving rings: returns how many, at most n. */
size_t shard_slots(const struct shard *shard, struct layout_owner *owners, uint32_t *slots,
		   size_t n);
size_t shard_slot_statistics(const struct shard *shard, struct shard_slot_stats *stats, size_t n);

/* Asks for a successor ring of ring_len bytes (0 = as now). Returns at once; -ENOSPC with detail
 * when the memory is not there. */
int shard_succeed(struct shard *shard, uint64_t ring_len, char *detail, size_t detail_len);
/* Asks for an fdatasync whatever the policy. */
void shard_request_sync(struct shard *shard);
void shard_set_policy(struct shard *shard, const struct shard_policy *policy);
/* The stream is being deleted: publishers and subscribers see GOVERN_REMOVED. */
void shard_set_removed(struct shard *shard);
void shard_statistics(const struct shard *shard, struct shard_stats *ret_stats);

/* One segment for a client. fd is the caller's. */
struct shard_segment {
	uint64_t base, end, prev_end;
	uint32_t epoch;
	int fd;
};
/* What has to be in segments: [earliest, end); both 0 where there is no telling. */
struct shard_kept {
	uint64_t earliest, end;
};
/* Segments from the one that holds pos (or the next) on; returns how many, at most n. */
int shard_segments(struct shard *shard, uint64_t pos, struct shard_segment *segments, size_t n,
		   struct shard_kept *ret_kept);

/* Retention: closed segments, oldest first. */
struct shard_closed_segment {
	uint64_t base, bytes, last_ns;
	bool going; /* being unlinked; false again if that fails */
};
size_t shard_closed_segments(struct shard *shard, struct shard_closed_segment *segments, size_t n);
uint64_t shard_kept_bytes(const struct shard *shard); /* closed and active */
/* Says the ring where the log begins? One that did not survive learns it from the segments. */
bool shard_knows_earliest(const struct shard *shard);
/* Begins to unlink the oldest closed segment, if its base is still `base`. 0, -ENOENT, -EAGAIN; or
 * why the last one could not be unlinked, once: then it is to be asked for again. */
int shard_drop_segment(struct shard *shard, uint64_t base);

/* Asks the drain to finish: drain all, write, sync, close the segments (keep = the ring lives on
 * for the next daemon; otherwise the fds are forgotten). shard_stopped() turns true later; the
 * eventfd given to drain_start() is written then. */
void shard_stop(struct shard *shard, bool keep_ring);
bool shard_stopped(const struct shard *shard);

#endif
