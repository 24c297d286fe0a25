/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a store is made of; for store*.c alone.
 */
#ifndef PERSIST_STORE_IMPL_H
#define PERSIST_STORE_IMPL_H

#include "persist/seglist.h"
#include "persist/store.h"

enum {
	STORE_WRITES_MAX = 32,      /* in flight */
	STORE_FILES_MAX = 8,        /* segments not closed yet, the current one among them */
	STORE_SHORT_LEN = 64 << 10, /* of a write, and of what a sync is for */
	STORE_ZERO_MAX = 512 << 10,
	STORE_ZERO_ALIGN = 4096,
};

/* A segment whose fd is still needed. */
struct store_file {
	struct store_file *next; /* the one after it in the log */
	struct store *store;
	int fd;
	uint32_t reserved;
	uint64_t base;
	uint64_t prev_end;
	uint64_t end;    /* once closed; UINT64_MAX for the current one */
	uint64_t synced; /* below it all is durable */
	uint64_t sync_upto;
	uint64_t writeback_pos; /* write-back was started below it */
	uint64_t zero_upto;     /* zeros were written up to there */
	/* Records one write at a time: several would spin for each other in the kernel; and none
	 * where zeros are being written. */
	unsigned int n_writing;
	uint32_t reserved2;
	uint64_t epoch;
	bool published;
	bool writing_back;
	bool closing;
	struct format_segment header;
	struct timeindex index; /* of a closed one */
	struct io_op publish;
	struct io_op sync;
	struct io_op zero;
	struct io_op writeback;
	struct io_op close;
};

struct store_write {
	struct io_op op;
	struct store_file *file;
	uint64_t pos;
	uint64_t len;
	bool done;
	int result;
};

/* A background job of the store itself. */
struct store_job {
	struct io_op op;
	struct store *store;
	bool running;
};

struct store {
	struct io *io;
	int dir_fd;
	int error;
	bool error_is_sync;
	bool started;
	bool released;
	bool closing;
	bool has_list;
	bool has_checkpoint; /* a valid one was found, and its name is durable */
	int space_error;
	int checkpoint_error;
	struct segment_identity identity;
	uint64_t segment_len;
	uint64_t ahead_len;
	uint64_t dirty_max;
	uint64_t cache_len;
	uint64_t burst_rate;
	uint64_t zero_len; /* 0: none */
	uint64_t sync_len; /* bytes that the last sync was for */
	void (*changed)(void *ctx);
	void *ctx;
	struct recover recover;
	struct seglist list;
	uint64_t epoch;
	uint64_t prev_end; /* where the log before the next segment to begin ends */

	uint64_t next_pos;
	uint64_t written;
	uint64_t durable;
	uint64_t sync_goal; /* to be made durable: asked for */
	struct store_file *files;
	struct store_file *current;
	unsigned int n_files;
	unsigned int n_ops;      /* in flight on files: what restart has to wait for */
	unsigned int n_jobs;     /* other operations in flight */
	unsigned int n_syncing;  /* fdatasyncs of the sync that is under way */
	unsigned int write_head; /* oldest in flight; a ring of STORE_WRITES_MAX */
	unsigned int n_writes;
	uint64_t sync_upto;
	struct store_write writes[STORE_WRITES_MAX];

	struct store_job prepare;
	int next_fd; /* the prepared file, or -1 */

	struct store_job checkpoint_job;
	struct checkpoint checkpoint; /* the job's while it runs */
	uint64_t reserved_until;      /* durable */
	uint64_t reserve_goal;
	uint64_t ckpt_durable; /* what the running job writes, or the last one wrote */
	uint64_t ckpt_reserved;
	uint64_t ckpt_epoch;
	bool checkpoint_due;

	struct store_job explore;
	bool explored;
	bool ticked;

	struct store_job cool;
	uint64_t cool_pos;  /* what lies below it was dropped from the page cache, or is to stay */
	uint64_t cool_ns;   /* when it was moved */
	uint64_t cool_end;  /* so far of it is to be dropped */
	uint64_t cool_from; /* the job's while it runs */
	uint64_t cool_upto;

	struct store_job unlink;
	uint64_t unlink_base;
	int unlink_error;
	uint32_t reserved;
};

/* store_open(), without a look at the options' sense. */
int store_begin_open(const struct store_options *options, struct store *store);

/* Frees what was reserved for the segments that recovery has looked at: whoever ended without
 * closing them leaves it, and none of them is written to again. */
void store_begin_release(struct store *store);

/*
 * Makes everything from pos on void and begins a segment there, durable when it returns; after a
 * failure it may be called again. No operation on files is in flight.
 */
int store_begin_at(struct store *store, uint64_t pos);

/* Makes what is written durable here and now, for a segment that has to end before its time. */
int store_begin_sync(struct store *store);

/* Frees what is left of a store whose operations have all ended. */
void store_begin_undo(struct store *store);

/* Takes a file out of the store, closes it. */
void store_begin_drop_file(struct store *store, struct store_file *file);

/* NULL when there is no memory; the fd stays the caller's then. */
struct store_file *store_begin_add_file(struct store *store, int fd, uint64_t base,
					uint64_t prev_end, uint64_t epoch);

/* ---- store_job.c ---- */

/* The owner has something new to look at. */
void store_job_tell(struct store *store);

/* Each begins one background job, unless it is running or has nothing to do. */
void store_job_prepare(struct store *store);
void store_job_checkpoint(struct store *store);
void store_job_explore(struct store *store);
/* Drops what a burst has left in the page cache. */
void store_job_cool(struct store *store);
/* Of the segment at unlink_base. */
void store_job_unlink(struct store *store);

#endif
