/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a store does in the background, each kind one at a time on a worker thread: the next
 * segment's file, the checkpoint, taking away the oldest segment, looking at old ones.
 */
#include "persist/file.h"
#include "persist/store_impl.h"

enum {
	EXPLORE_MAX = 64,     /* segments looked at by one background job */
	COOL_STEP = 2 << 20,  /* dropped from the page cache by one */
	COOL_ALIGN = 2 << 20, /* no unit of the page cache is longer */
};

void store_job_tell(struct store *store)
{
	if (store->changed)
		store->changed(store->ctx);
}

static struct store_job *job_of(struct io_op *op)
{
	return (struct store_job *)((char *)op - offsetof(struct store_job, op));
}

static void start_job(struct store *store, struct store_job *job, int (*call)(struct io_op *op),
		      void (*done)(struct io_op *op, int result))
{
	job->store = store;
	job->running = true;
	job->op = (struct io_op){ .kind = IO_CALL, .fd = -1, .call = call, .done = done };
	store->n_jobs++;
	io_submit(store->io, &job->op);
}

static struct store *end_job(struct io_op *op)
{
	struct store_job *job = job_of(op);

	job->running = false;
	job->store->n_jobs--;
	return job->store;
}

/* ---- the next segment's file ---- */

static int prepare_call(struct io_op *op)
{
	struct store *store = job_of(op)->store;

	return segment_prepare(store->dir_fd, FORMAT_NEXT_NAME, store->segment_len);
}

static void prepare_done(struct io_op *op, int result)
{
	struct store *store = end_job(op);

	store->space_error = result < 0 ? result : 0;
	if (result >= 0)
		store->next_fd = result;
	store_job_tell(store);
}

void store_job_prepare(struct store *store)
{
	if (store->next_fd >= 0 || store->prepare.running || store->error != 0 ||
	    !store->current->published)
		return;
	start_job(store, &store->prepare, prepare_call, prepare_done);
}

/* ---- the checkpoint ---- */

static int checkpoint_call(struct io_op *op)
{
	struct store *store = job_of(op)->store;

	return checkpoint_write(&store->checkpoint, &store->identity, store->ckpt_durable,
				store->ckpt_reserved, store->ckpt_epoch);
}

static void checkpoint_done(struct io_op *op, int result)
{
	struct store *store = end_job(op);

	store->checkpoint_error = result;
	if (result < 0) {
		store->checkpoint_due = true;
	} else {
		store->reserved_until = store->ckpt_reserved;
		if (store->reserve_goal > store->reserved_until)
			store_job_checkpoint(store);
	}
	store_job_tell(store);
}

void store_job_checkpoint(struct store *store)
{
	if (store->checkpoint_job.running)
		return;
	store->checkpoint_due = false;
	store->ckpt_durable = store->durable;
	store->ckpt_epoch = store->epoch;
	store->ckpt_reserved = max_u64(store->reserved_until, store->reserve_goal);
	start_job(store, &store->checkpoint_job, checkpoint_call, checkpoint_done);
}

/* ---- the page cache ---- */

/*
 * A stretch can lie in several segments. The kernel drops only what lies in it as a whole, so each
 * begins early enough for what the last one left at its end.
 */
static int cool_call(struct io_op *op)
{
	struct store *store = job_of(op)->store;
	uint64_t pos = store->cool_from, end = store->cool_upto;
	struct seglist_entry entry;
	bool is_current;
	int fd;

	while (pos < end && seglist_open(&store->list, pos, &entry, &is_current, &fd) == 0) {
		uint64_t from = max_u64(pos, entry.base), upto = min_u64(end, entry.end), off;

		off = format_file_off(entry.base, from) / COOL_ALIGN * COOL_ALIGN;
		if (from < upto)
			file_drop(fd, off, format_file_off(entry.base, upto) - off);
		file_close(fd);
		pos = max_u64(entry.end, pos + 1);
	}
	return 0;
}

static void cool_done(struct io_op *op, int result);

/* A worker drops some 10 GB in a second. In one go a burst would take a processor away from
 * somebody else for milliseconds; between two steps the kernel can look for a better one. */
static void start_cool(struct store *store)
{
	store->cool_from = store->cool_pos;
	store->cool_upto = min_u64(store->cool_pos + COOL_STEP, store->cool_end);
	start_job(store, &store->cool, cool_call, cool_done);
}

static void cool_done(struct io_op *op, int result)
{
	struct store *store = end_job(op);

	(void)result;
	store->cool_pos = max_u64(store->cool_pos, store->cool_upto);
	if (store->cool_pos < store->cool_end && !store->closing)
		start_cool(store);
	else
		store_job_cool(store);
}

/*
 * A burst would fill all memory with pages that nobody may ever read, at the expense of those of
 * other programs, and on many virtual machines each page that is new to the host costs more than
 * to fill it. So what came as a burst goes once it is durable and cache_len behind. What comes
 * slower stays as long as the kernel sees fit, for subscribers that are late.
 */
void store_job_cool(struct store *store)
{
	uint64_t now_ns, step_ns, len = store->cache_len / 2;

	if (store->cool.running || store->closing ||
	    store->durable < store->cool_pos + store->cache_len + len)
		return;
	now_ns = clock_now_ns(CLOCK_MONOTONIC);
	step_ns = now_ns - store->cool_ns;
	store->cool_ns = now_ns;
	if ((double)len * (double)NS_PER_S < (double)step_ns * (double)store->burst_rate) {
		store->cool_pos = store->durable - store->cache_len;
		return;
	}
	store->cool_end = store->cool_pos + len;
	start_cool(store);
}

/* ---- retention and background work ---- */

static int unlink_call(struct io_op *op)
{
	struct store *store = job_of(op)->store;

	return segment_unlink(store->dir_fd, store->unlink_base);
}

static void unlink_done(struct io_op *op, int result)
{
	struct store *store = end_job(op);
	uint64_t base;

	store->unlink_error = result;
	if (result == 0)
		(void)seglist_pop_oldest(&store->list, &base);
	else
		seglist_set_going(&store->list, 0);
	store->explored = false;
	store_job_tell(store);
}

void store_job_unlink(struct store *store)
{
	/* Who misses the file from now on is told that it was deleted, not that it is damaged. */
	seglist_set_going(&store->list, store->unlink_base);
	start_job(store, &store->unlink, unlink_call, unlink_done);
}

static int explore_call(struct io_op *op)
{
	return seglist_explore(&job_of(op)->store->list, EXPLORE_MAX);
}

static void explore_done(struct io_op *op, int result)
{
	struct store *store = end_job(op);

	if (result > 0 && !store->closing)
		store_job_explore(store);
	else if (result == 0)
		store->explored = true;
}

void store_job_explore(struct store *store)
{
	if (store->explored || store->explore.running)
		return;
	start_job(store, &store->explore, explore_call, explore_done);
}
