/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a shard, shared by shard*.c and drain.c alone.
 *
 * Threads: the drain thread holds `lock` for each pass; the control thread takes it to look and to
 * leave a wish. Neither does disk work under it.
 */
#ifndef DAEMON_SHARD_INTERNAL_H
#define DAEMON_SHARD_INTERNAL_H

#include <pthread.h>

#include "daemon/shard.h"
#include "persist/io.h"
#include "persist/store.h"
#include "shm/clock.h"
#include "shm/orphan.h"

enum {
	SHARD_MARKS = 64, /* record boundaries remembered, for reclaiming */
	SHARD_MARKS_PER_RING = 32,
	SHARD_PASS_LEN = 4 << 20,   /* drained at most in one pass, so that others get their turn */
	SHARD_WRITE_LEN = 2 << 20,  /* written at once, more or less */
	SHARD_PACE_PART = 8,        /* of the ring: what a pass finds when it comes in time */
	SHARD_PACE_MIN_US = 20,     /* shorter is not worth a nap */
	SHARD_PACE_MAX_US = 1000,   /* longer than this nobody waits for news */
	SHARD_PREFETCH_LEN = 512,   /* the walk looks ahead so far */
	SHARD_PASS_TRIES = 64,      /* looks at something unfinished in one pass */
	SHARD_WASTE_RINGS = 4,      /* checked in vain before a search is given up */
	SHARD_WAKE_GUARD_MS = 20,   /* see shard_guard_sleepers() */
	SHARD_RETRY_MS = 200,       /* between attempts after a disk error */
	SHARD_CLOSE_GRACE_MS = 100, /* for publishers behind a stuck one */
	SHARD_FAILURES_MAX = 5,     /* disk errors in a row before the shard says so */
};

enum shard_life {
	SHARD_NEW, /* not served yet */
	SHARD_RUNNING,
	SHARD_STOPPING, /* draining what is left */
	SHARD_STOPPED,
	SHARD_BROKEN, /* could not be started */
};

enum shard_want_stop {
	SHARD_STOP_NOT,
	SHARD_STOP_KEEP, /* the ring lives on */
	SHARD_STOP_DROP, /* the ring is let go */
};

struct shard_ring {
	struct ring *ring;
	struct region_fds fds;
};

/* A ring that takes over from the current one. */
enum shard_succession {
	SUCCESSION_NONE,
	SUCCESSION_MAKING,  /* memory is being populated on a worker thread */
	SUCCESSION_CLOSING, /* the tail is closed, reservations below it are being resolved */
};

struct shard {
	struct cds_list_head drain_node; /* in drain->shards, RCU */
	struct drain *drain;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* life, want_drop */

	/* constant after shard_new() */
	char *stream;
	char *directory; /* NULL: memory-only */
	uint8_t stream_uuid[16];
	uint32_t shard;
	uint32_t flags; /* GOVERN_F_* */
	uint32_t crc_seed;
	uint32_t first_generation;
	int node;
	int kick_fd;
	uint64_t segment_len;
	struct shard_keep keep;
	struct shard_quota *quota;

	struct shard_policy policy;
	struct shard_ring cur;  /* publishers reserve here */
	struct shard_ring old;  /* succeeded; kept until its records are safe */
	struct shard_ring next; /* being made */

	/* lock; the drain thread looks at them once a pass */
	enum shard_life life;
	enum shard_want_stop want_stop;
	bool want_sync;
	bool want_drop; /* the oldest segment, if its base is drop_base; result in drop_result */
	int drop_result;
	uint64_t drop_base;
	uint64_t want_ring_len; /* a successor of this length; 0 = none wanted */

	/* drain thread */
	struct store *store;
	uint64_t charged, n_closed; /* this shard's part of the quota */
	uint64_t segment_ns; /* since when the current segment has records; 0 = it was empty */
	bool roll_waits;     /* the walk stands because there is no next segment yet */
	bool disk_changed;   /* the store has news */
	uint64_t pos;        /* all below is resolved and checked; private, never read back. 0 =
				not known yet */
	uint64_t counted;    /* all below is in the counters: pos goes back after a disk error */
	uint64_t max_ns;     /* highest timestamp in [store_next, pos) */
	uint64_t resync;     /* where the search for the next valid record goes on; 0 = no search */
	uint64_t wasted;     /* bytes checked that turned out invalid, less those that were valid */
	uint64_t stuck_pos, stuck_ns; /* an unresolved reservation, and since when (monotonic) */
	struct orphan_scan scan;
	uint64_t marks[SHARD_MARKS];
	uint32_t mark_first, n_marks;
	uint64_t pass_ns; /* the last pass began */
	uint64_t pace_ns; /* of the last rest, see shard_pace() */
	uint64_t guard_pos, guard_ns;
	uint64_t rate_pos, rate_ns; /* the limit allowed at rate_ns */
	uint64_t synced_ns;         /* last sync asked for */
	uint64_t sync_upto;         /* a requested sync is over when durable reaches it */
	uint64_t tick_ns;           /* last store_tick() */
	uint64_t stop_since_ns;
	uint64_t retry_ns;
	uint64_t fail_pos; /* written then: beyond it the disk works again */
	uint32_t failures;
	bool started; /* shard_start() has done its part */
	bool failed;  /* the govern page says GOVERN_FAILED */

	enum shard_succession succession;
	struct io_op make_op;
	uint64_t make_len;
	int make_error;
	bool make_done;
	uint64_t close_tail;     /* final tail of the closing ring */
	uint64_t close_deadline; /* monotonic */
	bool close_forced;       /* a publisher is stuck: it has had its time */
};

/* ---- shard.c ---- */

void shard_ring_release(struct shard *shard, struct shard_ring *sr, bool forget);
void shard_ring_keep(struct shard *shard, const struct shard_ring *sr);
/* region_fd name without the kind: "<uuid>.<shard>.<generation>". */
void shard_ring_name(const struct shard *shard, uint32_t generation, char *buf, size_t len);

/* The ring that holds pos. */
struct ring *shard_ring_of(const struct shard *shard, uint64_t pos);
struct layout_counters *shard_counters(const struct shard *shard);

/* ---- shard_drain.c: one pass ---- */

/* One pass over all shards of a drain. */
struct shard_round {
	uint64_t now_ns; /* CLOCK_MONOTONIC */
	uint64_t walked; /* bytes */
	uint64_t due_ns; /* records have come, and a pass then is early enough; 0 = no */
	bool restless;   /* something may become due without anybody kicking: nap shortly */
};

/* Drain thread; true when something was done. */
bool shard_drain_pass(struct shard *shard, struct shard_round *round);
/* The finished, valid unit (record, whole batch, ...) at pos below tail, whose word was loaded
 * once by the caller: its span, else 0. */
uint64_t shard_drain_unit(const struct ring *ring, uint64_t pos, uint64_t word, uint64_t tail,
			  uint32_t *ret_records, uint64_t *ret_max_ns);

/* ---- shard_disk.c ---- */

int shard_disk_open(struct shard *shard, struct store_recovered *ret_recovered, char *detail,
		    size_t detail_len);
/* Closes the store, if there is one; waits for the disk. */
void shard_disk_close(struct shard *shard);
/* Says in the ring what the segments hold, and where the log begins. */
void shard_disk_publish_totals(struct shard *shard);
bool shard_disk_pass(struct shard *shard, uint64_t now_ns);
/* May the shard begin another segment? If not, retention has been told. */
bool shard_disk_may_roll(struct shard *shard);
bool shard_disk_idle(const struct shard *shard);
bool shard_disk_reclaim(struct shard *shard, uint64_t now_ns);

/* ---- shard_succeed.c ---- */

/* Decides what each unit of [from, tail) of the closed current ring is, into `next`. */
void shard_succeed_decide(struct shard *shard, uint64_t from, uint64_t tail);
/* Gives the new ring, which nobody else has seen, its place in the log. */
void shard_succeed_rebase(struct shard *shard, uint64_t first, uint64_t tail);
void shard_succeed_finish(struct shard *shard);
bool shard_succeed_pass(struct shard *shard, uint64_t now_ns);
/* A publisher has held a reservation for longer than the claim time-out. */
void shard_succeed_force(struct shard *shard);

#endif
