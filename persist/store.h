/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The segments of one shard. One thread, the owner, writes: all calls are its own, apart from the
 * group "control thread", which any thread may call beside it. The owner has the records in ring
 * memory and keeps them there until they are written (or durable), so an error loses nothing.
 *
 * The owner's life with it:
 *
 *   store_open()      recovers; says where the log ends and how far positions were handed out
 *   store_start(pos)  begins a fresh segment: at recovered.end when the rings live on, at
 *                     recovered.reserved_until when they are lost
 *   loop              store_write() / store_roll() / store_sync() / store_reserve(), store_tick()
 *                     once a second, io_reap(); changed() says that a getter has a new value
 *   on store_error()  store_retry() after a failed write: go on from store_written();
 *                     store_restart(store_durable()) after a failed sync: write again from there
 *   store_close()     waits, syncs, writes the checkpoint
 */
#ifndef PERSIST_STORE_H
#define PERSIST_STORE_H

#include "persist/io.h"
#include "persist/recover.h"
#include "shm/base.h"

struct store;

/* Expected outcomes. */
enum {
	STORE_E_WAIT = 1, /* not now; changed() is called when it is worth trying again */
	STORE_E_ROLL = 2, /* it does not fit this segment: store_roll() first */
	STORE_E_END = 3,  /* nothing there (yet); the position says how far the log goes */
};

#define STORE_NO_ZEROS UINT64_MAX

struct store_options {
	const char *path; /* directory of this shard alone; made where it is missing, 0700 */
	uint8_t stream_uuid[16];
	uint32_t shard;
	uint32_t crc_seed;
	bool checksum;
	uint64_t segment_len; /* of records per segment; at least 64 KiB */
	uint64_t first_pos;   /* of an empty shard */
	/* All below was made durable since the machine started, as an owner knows who has kept it
	 * in memory: newer than the checkpoint. 0: unknown. */
	uint64_t durable;
	uint64_t ahead_len; /* positions reserved ahead by a checkpoint; 0: 4 GiB */
	/* Bytes written and not durable; 0: 256 MiB. Synced at a quarter of it, store_write() waits
	 * at the whole. */
	uint64_t dirty_max;
	uint64_t cache_len;  /* of a burst, left in the page cache once durable; 0: 64 MiB */
	uint64_t burst_rate; /* bytes a second that make a burst; 0: 256 MiB */
	/* Zeros written ahead of short writes that are synced one by one, at most 512 KiB. 0: so
	 * much, where the file system writes in place; STORE_NO_ZEROS: none. */
	uint64_t zero_len;
	/* On the owner's thread inside io_reap(): written, durable, reserved, error or room have
	 * changed. It must not call store_close(). */
	void (*changed)(void *ctx);
	void *ctx;
};

struct store_recovered {
	bool is_new;             /* there was nothing */
	bool checkpoint_lost;    /* both slots damaged: reserved_until is a guess far ahead */
	uint64_t earliest;       /* of the oldest record kept; == end when there is none */
	uint64_t end;            /* after the last valid record; all below is on stable storage */
	uint64_t reserved_until; /* nothing from there on was ever handed out */
	uint64_t epoch;          /* that store_start() will use */
	const struct recover_range *ranges; /* found above the checkpoint; the store's */
	size_t n_ranges;
};

/*
 * Opens or makes the shard. -EBUSY when another process has it open, -ESTALE when it belongs to
 * another stream or shard, -EPROTONOSUPPORT when a newer version wrote it, -EINVAL for options,
 * or what the files gave. `io` is borrowed and must outlive the store.
 */
int store_open(const struct store_options *options, struct io *io,
	       struct store_recovered *ret_recovered, struct store **ret_store);

/*
 * Begins a segment at pos and reserves positions from there on, all durable when it returns: call
 * it once, before anything else. It waits for the disk and leaves nothing under way, so any thread
 * may do it, and store_open(), before the owner takes over; what goes on in the background begins
 * with the first store_tick(). Files from `pos` on are void after it; what recovery found valid
 * below pos is kept. -EINVAL when pos is not a position or lies below what the checkpoint calls
 * durable. On failure it may be called again.
 */
int store_start(struct store *store, uint64_t pos);

/*
 * Before store_close(), when no ring of this shard lives on and all that was handed out is
 * written: the positions above the end are given back, and the log goes on without a gap.
 */
void store_give_back(struct store *store);

/* Waits for all its operations; after no error also syncs and writes the checkpoint. Returns NULL
 * (NULL is accepted). The owner's thread; calls io_wait(). */
struct store *store_close(struct store *store);

/*
 * Writes records, whole ones and whole batches, that follow what was written before. The memory
 * stays untouched until store_written() has passed it, or until an error was handled. max_ns is
 * the highest timestamp among them. 0, STORE_E_WAIT (too much in flight or not durable yet),
 * STORE_E_ROLL, -EINVAL for a position that does not follow, or store_error(). Anything fits an
 * empty segment.
 */
int store_write(struct store *store, uint64_t pos, const void *buf, uint64_t len, uint64_t max_ns);

/* Bytes that still fit the current segment; 0 while an error has left none. */
uint64_t store_room(const struct store *store);

/*
 * Ends the current segment where it is and goes on in the next. 0 (also when it is empty),
 * STORE_E_WAIT while the next is not ready (see store_space_error()), or store_error().
 */
int store_roll(struct store *store);

/* Asks for one fdatasync of everything written so far; several requests become one. 0 or
 * store_error(). */
int store_sync(struct store *store);

/*
 * The next position to write; all below store_written() is in the page cache and can be read
 * through store_open_segment(), all below store_durable() is on stable storage.
 */
uint64_t store_next(const struct store *store);
uint64_t store_written(const struct store *store);
uint64_t store_durable(const struct store *store);

/*
 * Positions below store_reserved() may be handed out to publishers (the ring's limit must not be
 * raised above it). store_reserve() asks for more, in the background, so that it becomes at least
 * upto; the call is cheap when that was asked for already. Ask for the limit plus ahead_len / 2.
 */
uint64_t store_reserved(const struct store *store);
void store_reserve(struct store *store, uint64_t upto);

/* True while a write or an fdatasync is under way: changed() will be called. */
bool store_is_working(const struct store *store);

/* 0, or the negative errno that stopped the current segment; *ret_is_sync: it came from a sync. */
int store_error(const struct store *store, bool *ret_is_sync);

/* Goes on after a failed write, in the same segment from store_written(). 0, STORE_E_WAIT while
 * operations are in flight, -EINVAL when the error came from a sync. */
int store_retry(struct store *store);

/*
 * Goes on after any error in a new segment at pos, store_durable() <= pos <= store_written(): at
 * store_durable() if the ring still has it. What lies between the durable position and a higher
 * pos was never confirmed and is counted as durable from then on; report it. 0, STORE_E_WAIT
 * while operations are in flight, or negative errno (then call it again later).
 */
int store_restart(struct store *store, uint64_t pos);

/* 0, or why the next segment cannot be prepared (-ENOSPC, -EDQUOT, ...). store_tick() retries. */
int store_space_error(const struct store *store);
/* 0, or why the last checkpoint could not be written; tried again by store_tick(). */
int store_checkpoint_error(const struct store *store);

/* About once a second: retries what failed, writes the checkpoint when durable has moved. */
void store_tick(struct store *store);

/*
 * Unlinks the oldest segment, which must be a closed and durable one, in the background; it is in
 * the list until it is gone. 0, STORE_E_WAIT while the one before is still being unlinked or this
 * one not durable yet, STORE_E_END when only the current one is left, or why the last one failed.
 */
int store_drop_oldest(struct store *store);

/* Removes the shard's files and its directory; the store is closed before. */
int store_remove(const char *path);

/* ---- control thread: any thread, also beside the owner ---- */

struct store_segment_info {
	uint64_t base;
	uint64_t end;    /* of the current one: written */
	uint64_t bytes;  /* on disk; 0 while not looked at yet */
	uint64_t max_ns; /* highest timestamp; 0 while unknown, or when it is empty */
	bool closed;
	bool going; /* its file is being unlinked */
	bool known; /* end, bytes and max_ns are exact; before that end is at most too high */
};

struct store_totals {
	uint64_t earliest; /* where the oldest segment begins */
	uint64_t written;
	uint64_t durable;
	uint64_t bytes; /* at least; segments not looked at yet count as nothing */
	uint64_t n_segments;
	uint64_t n_unknown; /* not looked at yet: a background job does after store_tick() */
};

void store_totals(struct store *store, struct store_totals *ret_totals);
/* Where the oldest segment begins that nobody is deleting. Nothing above it goes but by damage. */
uint64_t store_earliest(struct store *store);
/* Everything below it that is kept is in a segment. */
uint64_t store_listed(struct store *store);

/* Segments from the `first`th oldest on; returns how many were filled in. */
size_t store_list(struct store *store, size_t first, struct store_segment_info *infos, size_t cap);

/*
 * Opens (O_RDONLY, of its own) the segment that holds pos, or the next one after pos. *ret_end is
 * where it ends; for the current one what is written so far, and *ret_closed false. 0,
 * STORE_E_END when pos lies at or above everything in a segment, or negative errno.
 */
int store_open_segment(struct store *store, uint64_t pos, uint64_t *ret_base, uint64_t *ret_end,
		       bool *ret_closed, int *ret_fd);

/* The first record written with timestamp >= ns. 0, or STORE_E_END with *ret_pos = written. */
int store_seek_time(struct store *store, uint64_t ns, uint64_t *ret_pos);

/* The first record boundary >= pos. 0, or STORE_E_END with *ret_pos = written. */
int store_seek_pos(struct store *store, uint64_t pos, uint64_t *ret_pos);

#endif
