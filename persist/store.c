/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a position becomes durable, in order, all of it asynchronous:
 *
 *   write   the records' bytes reach the page cache; `written` follows in the order of positions
 *   publish the segment's header is durable and its name is; only then does `written` enter it
 *   sync    one fdatasync per segment with bytes that are not durable; then `durable` is raised
 *   close   a segment that is durable to its end is cut to its size and gets its index
 *
 * A segment's file is made ahead of need as FORMAT_NEXT_NAME; one is prepared at a time, and not
 * while the one before it still has that name. The checkpoint follows behind.
 */
#include "persist/store.h"

#include "persist/file.h"
#include "persist/reader.h"
#include "persist/store_impl.h"

#define SEGMENT_LEN_MIN (64 * KIB)
#define SEGMENT_LEN_MAX (UINT64_C(1) << 40)
#define WRITEBACK_LEN (8 * MIB)

static void advance(struct store *store);
static void start_sync(struct store *store);

static void set_error(struct store *store, int error, bool is_sync)
{
	if (store->error == 0)
		store->error = error;
	/* A failed sync is the graver of the two: the kernel will not say it again. */
	if (is_sync && !store->error_is_sync) {
		store->error_is_sync = true;
		store->error = error;
	}
}

/* ---- files ---- */

static struct store_file *file_of(struct io_op *op, size_t off)
{
	return (struct store_file *)((char *)op - off);
}

/* What a closed segment is left like: cut to its size, with its index. Any thread. */
static int close_call(struct io_op *op)
{
	struct store_file *file = file_of(op, offsetof(struct store_file, close));

	/* Gives back what was reserved beyond the end; all of it is optional. */
	(void)file_truncate(file->fd, format_file_off(file->base, file->end));
	(void)timeindex_store(file->store->dir_fd, &file->header, file->end, &file->index);
	file->fd = file_close(file->fd);
	return 0;
}

static void close_done(struct io_op *op, int result)
{
	struct store_file *file = file_of(op, offsetof(struct store_file, close));
	struct store *store = file->store;

	(void)result;
	store->n_jobs--;
	seglist_set_max_ns(&store->list, file->base,
			   file->index.max_ns ? file->index.max_ns : file->header.created_ns);
	store_begin_drop_file(store, file);
	store_job_tell(store);
}

/* Closes the files that are durable to their ends. */
static void close_files(struct store *store)
{
	struct store_file *file;

	for (file = store->files; file; file = file->next) {
		if (file->closing || file->end == UINT64_MAX || file->synced < file->end ||
		    file->writing_back || file->n_writing > 0)
			continue;
		file->closing = true;
		file->close = (struct io_op){
			.kind = IO_CALL, .fd = -1, .call = close_call, .done = close_done
		};
		store->n_jobs++;
		io_submit(store->io, &file->close);
	}
}

static int publish_call(struct io_op *op)
{
	struct store_file *file = file_of(op, offsetof(struct store_file, publish));
	struct store *store = file->store;

	return segment_publish(store->dir_fd, file->fd, FORMAT_NEXT_NAME, &store->identity,
			       file->base, file->prev_end, file->epoch, &file->header);
}

static void publish_done(struct io_op *op, int result)
{
	struct store_file *file = file_of(op, offsetof(struct store_file, publish));
	struct store *store = file->store;

	store->n_ops--;
	if (result < 0) {
		/* Its fdatasync may have been what failed. */
		set_error(store, result, true);
		store_job_tell(store);
		return;
	}
	file->published = true;
	seglist_append(&store->list, file->prev_end, file->base);
	store_job_prepare(store);
	advance(store);
	store_job_tell(store);
}

/* ---- writing ---- */

static void writeback_done(struct io_op *op, int result)
{
	struct store_file *file = file_of(op, offsetof(struct store_file, writeback));

	(void)result;
	file->writing_back = false;
	file->store->n_ops--;
	close_files(file->store);
}

/* Starts write-back early, so that dirty memory does not pile up until the sync. */
static void start_writeback(struct store *store, struct store_file *file)
{
	uint64_t upto = min_u64(store->written, file->end);

	if (file->writing_back || file->closing || upto < file->writeback_pos + WRITEBACK_LEN)
		return;
	file->writeback = (struct io_op){
		.kind = IO_WRITEBACK,
		.fd = file->fd,
		.off = format_file_off(file->base, file->writeback_pos),
		.len = upto - file->writeback_pos,
		.done = writeback_done,
	};
	file->writeback_pos = upto;
	file->writing_back = true;
	store->n_ops++;
	io_submit(store->io, &file->writeback);
}

/* Raises `written` over the writes that are done, in their order. */
static void advance(struct store *store)
{
	struct store_write *write;
	uint64_t before = store->written;

	while (store->n_writes > 0 && store->error == 0) {
		write = &store->writes[store->write_head];
		if (!write->done || !write->file->published)
			break;
		if (write->result < 0) {
			set_error(store, write->result, false);
			break;
		}
		store->written = write->pos + write->len;
		start_writeback(store, write->file);
		store->write_head = (store->write_head + 1) % STORE_WRITES_MAX;
		store->n_writes--;
	}
	if (store->written == before)
		return;
	if (store->written - store->durable >= store->dirty_max / 4)
		store->sync_goal = max_u64(store->sync_goal, store->written);
	seglist_set_progress(&store->list, store->written, store->durable);
	start_sync(store);
}

static void write_done(struct io_op *op, int result)
{
	struct store_write *write =
		(struct store_write *)((char *)op - offsetof(struct store_write, op));
	struct store *store = write->file->store;

	store->n_ops--;
	write->file->n_writing--;
	write->done = true;
	write->result = result;
	advance(store);
	store_job_tell(store);
}

static void zero_done(struct io_op *op, int result)
{
	struct store_file *file = file_of(op, offsetof(struct store_file, zero));
	struct store *store = file->store;

	/* Nothing was promised by it. */
	(void)result;
	store->n_ops--;
	file->n_writing--;
	close_files(store);
	store_job_tell(store);
}

/*
 * An fdatasync of bytes that were never written before, or behind the end of the file, waits for
 * the file system's journal too, which takes about as long as the bytes themselves. So a short
 * write that reaches new ground, where syncs are for little, is followed by zeros, which are made
 * durable with it; the writes after it go where bytes were written before.
 */
static void start_zero(struct store *store, struct store_file *file, uint64_t pos)
{
	static char zeros[STORE_ZERO_MAX];
	uint64_t off = format_file_off(file->base, pos), upto;

	upto = align_up(off + store->zero_len, STORE_ZERO_ALIGN) - off;
	upto = pos + min_u64(upto, store_room(store));
	file->zero_upto = upto;
	if (upto <= pos)
		return;
	file->zero = (struct io_op){
		.kind = IO_WRITE,
		.fd = file->fd,
		.buf = zeros,
		.len = upto - pos,
		.off = off,
		.done = zero_done,
	};
	file->n_writing++;
	store->n_ops++;
	io_submit(store->io, &file->zero);
}

static bool wants_zero(const struct store *store, const struct store_file *file, uint64_t len)
{
	return len <= STORE_SHORT_LEN && store->sync_len <= STORE_SHORT_LEN &&
	       store->zero_len > 0 && store->next_pos > file->zero_upto;
}

int store_write(struct store *store, uint64_t pos, const void *buf, uint64_t len, uint64_t max_ns)
{
	struct store_file *file = store->current;
	struct store_write *write;

	if (store->error != 0)
		return store->error;
	if (pos != store->next_pos || len == 0 || len % RECORD_ALIGN != 0 ||
	    len > FORMAT_POS_END - pos)
		return -EINVAL;
	if (pos != file->base && len > store_room(store))
		return STORE_E_ROLL;
	if (store->n_writes == STORE_WRITES_MAX || pos - store->durable >= store->dirty_max ||
	    file->n_writing > 0)
		return STORE_E_WAIT;
	write = &store->writes[(store->write_head + store->n_writes++) % STORE_WRITES_MAX];
	write->op = (struct io_op){
		.kind = IO_WRITE,
		.fd = file->fd,
		.buf = buf,
		.len = len,
		.off = format_file_off(file->base, pos),
		.done = write_done,
	};
	write->file = file;
	write->pos = pos;
	write->len = len;
	write->done = false;
	write->result = 0;
	store->next_pos = pos + len;
	store->n_ops++;
	file->n_writing++;
	seglist_index_add(&store->list, pos, max_ns);
	io_submit(store->io, &write->op);
	if (wants_zero(store, file, len))
		start_zero(store, file, store->next_pos);
	return 0;
}

uint64_t store_room(const struct store *store)
{
	uint64_t used;

	/* After an error it can take a while until the next segment is begun. */
	if (!store->current)
		return 0;
	used = store->next_pos - store->current->base;
	return used < store->segment_len ? store->segment_len - used : 0;
}

int store_roll(struct store *store)
{
	struct store_file *file, *old = store->current;
	int r;

	if (store->error != 0)
		return store->error;
	if (store->next_pos == old->base)
		return 0;
	if (store->next_fd < 0)
		store_job_prepare(store);
	if (store->next_fd < 0 || store->n_files >= STORE_FILES_MAX)
		return STORE_E_WAIT;
	r = seglist_reserve(&store->list);
	if (r < 0)
		return r;
	file = store_begin_add_file(store, store->next_fd, store->next_pos, store->next_pos,
				    store->epoch);
	if (!file)
		return -ENOMEM;
	store->next_fd = -1;
	old->end = store->next_pos;
	seglist_index_begin(&store->list, store->next_pos, &old->index);
	file->publish = (struct io_op){
		.kind = IO_CALL, .fd = -1, .call = publish_call, .done = publish_done
	};
	store->n_ops++;
	io_submit(store->io, &file->publish);
	/* A segment is closed only when it is durable, so its end is always synced. */
	store->sync_goal = store->next_pos;
	store->checkpoint_due = true;
	start_sync(store);
	return 0;
}

/* ---- syncing ---- */

static void end_sync(struct store *store)
{
	if (store->error_is_sync)
		return;
	store->durable = store->sync_upto;
	seglist_set_progress(&store->list, store->written, store->durable);
	close_files(store);
	store_job_cool(store);
	if (store->checkpoint_due)
		store_job_checkpoint(store);
	start_sync(store);
}

static void sync_done(struct io_op *op, int result)
{
	struct store_file *file = file_of(op, offsetof(struct store_file, sync));
	struct store *store = file->store;

	store->n_ops--;
	store->n_syncing--;
	if (result < 0)
		set_error(store, result, true);
	else
		file->synced = file->sync_upto;
	if (store->n_syncing == 0)
		end_sync(store);
	store_job_tell(store);
}

/* One sync at a time: what is written while it runs is the next one's, for all who asked. */
static void start_sync(struct store *store)
{
	struct store_file *file;

	if (store->n_syncing > 0 || store->error != 0 || store->written == store->durable ||
	    store->sync_goal <= store->durable)
		return;
	store->sync_upto = store->written;
	store->sync_len = store->written - store->durable;
	for (file = store->files; file && file->base < store->written; file = file->next) {
		uint64_t upto = min_u64(file->end, store->written);

		if (file->closing || file->synced >= upto)
			continue;
		file->sync_upto = upto;
		file->sync =
			(struct io_op){ .kind = IO_FDATASYNC, .fd = file->fd, .done = sync_done };
		store->n_ops++;
		store->n_syncing++;
		io_submit(store->io, &file->sync);
	}
}

int store_sync(struct store *store)
{
	if (store->error != 0)
		return store->error;
	store->sync_goal = store->next_pos;
	start_sync(store);
	return 0;
}

uint64_t store_next(const struct store *store)
{
	return store->next_pos;
}

uint64_t store_written(const struct store *store)
{
	return store->written;
}

uint64_t store_durable(const struct store *store)
{
	return store->durable;
}

bool store_is_working(const struct store *store)
{
	return store->n_syncing > 0 || (store->current && store->current->n_writing > 0);
}

int store_error(const struct store *store, bool *ret_is_sync)
{
	if (store->error != 0 && ret_is_sync)
		*ret_is_sync = store->error_is_sync;
	return store->error;
}

int store_space_error(const struct store *store)
{
	return store->space_error;
}

/* ---- the checkpoint ---- */

uint64_t store_reserved(const struct store *store)
{
	return store->reserved_until;
}

void store_reserve(struct store *store, uint64_t upto)
{
	if (upto <= store->reserve_goal || upto >= FORMAT_POS_END - store->ahead_len)
		return;
	store->reserve_goal = align_up(upto + store->ahead_len, RECORD_ALIGN);
	store_job_checkpoint(store);
}

int store_checkpoint_error(const struct store *store)
{
	return store->checkpoint_error;
}

/* ---- retention and background work ---- */

/* Is it closed, with all that it holds durable? An error may have left no file open. */
static bool may_go(struct store *store, const struct seglist_entry *oldest)
{
	uint64_t newest;

	if (store->files)
		return oldest->base < store->files->base;
	return oldest->end <= store->durable && seglist_newest(&store->list, &newest) &&
	       newest != oldest->base;
}

int store_drop_oldest(struct store *store)
{
	struct seglist_entry oldest;
	bool is_current;
	int r;

	/* One at a time, so that a crash never leaves a hole in the middle. */
	if (store->unlink.running)
		return STORE_E_WAIT;
	r = store->unlink_error;
	store->unlink_error = 0;
	if (r < 0)
		return r;
	if (!seglist_oldest(&store->list, &oldest, &is_current) || is_current)
		return STORE_E_END;
	if (!may_go(store, &oldest))
		return STORE_E_WAIT;
	store->unlink_base = oldest.base;
	store_job_unlink(store);
	return 0;
}

void store_tick(struct store *store)
{
	if (!store->started)
		return;
	if (store->error == 0)
		store_job_prepare(store);
	if (store->checkpoint_due || store->durable > store->ckpt_durable ||
	    store->reserve_goal > store->reserved_until)
		store_job_checkpoint(store);
	/* Not at once: who has just started has better to do. */
	if (store->ticked)
		store_job_explore(store);
	store->ticked = true;
}

/* ---- begin, begin again, end ---- */

int store_open(const struct store_options *options, struct io *io,
	       struct store_recovered *ret_recovered, struct store **ret_store)
{
	struct store *store;
	int r;

	if (!options->path || options->segment_len < SEGMENT_LEN_MIN ||
	    options->segment_len > SEGMENT_LEN_MAX || !format_pos_is_sane(options->first_pos) ||
	    options->ahead_len > FORMAT_POS_END / 2)
		return -EINVAL;
	store = calloc(1, sizeof(*store));
	if (!store)
		return -ENOMEM;
	store->io = io;
	r = store_begin_open(options, store);
	if (r < 0) {
		store_begin_undo(store);
		return r;
	}
	*ret_recovered = (struct store_recovered){
		.is_new = r == 0,
		.checkpoint_lost = store->recover.checkpoint_lost,
		.earliest = store->recover.n_bases ? store->recover.bases[0] : store->written,
		.end = store->written,
		.reserved_until = store->reserved_until,
		.epoch = store->epoch + 1,
		.ranges = store->recover.ranges,
		.n_ranges = store->recover.n_ranges,
	};
	*ret_store = store;
	return 0;
}

int store_start(struct store *store, uint64_t pos)
{
	uint64_t reserved_until, durable = min_u64(store->written, pos);
	bool is_first = !store->has_checkpoint;
	int r;

	if (store->started || !format_pos_is_sane(pos) || pos < store->durable ||
	    pos >= FORMAT_POS_END - store->ahead_len)
		return -EINVAL;
	/* Before anything that could let the next recovery begin behind them. */
	store_begin_release(store);
	/* First of all, so that there is never a segment without a checkpoint. */
	reserved_until = max_u64(store->reserved_until, pos + store->ahead_len);
	reserved_until = align_up(reserved_until, RECORD_ALIGN);
	r = checkpoint_write(&store->checkpoint, &store->identity, durable, reserved_until,
			     store->epoch + 1);
	if (r == 0 && is_first)
		r = file_sync_dir(store->dir_fd);
	if (r == 0)
		r = store_begin_at(store, pos);
	if (r < 0)
		return r;
	store->ckpt_durable = durable;
	store->reserved_until = store->reserve_goal = reserved_until;
	store->started = true;
	return 0;
}

int store_restart(struct store *store, uint64_t pos)
{
	struct store_file *file, *next;
	int r;

	if (store->error == 0 || !format_pos_is_sane(pos) || pos < store->durable ||
	    pos > store->written)
		return -EINVAL;
	if (store->n_ops > 0 || store->prepare.running)
		return STORE_E_WAIT;
	for (file = store->files; file; file = next) {
		next = file->next;
		if (file->closing)
			continue;
		/* Its name may be there, or come back; it must not hide what is written next. */
		if (!file->published) {
			r = segment_unlink(store->dir_fd, file->base);
			if (r < 0)
				return r;
		} else {
			segment_release(store->dir_fd, file->base, UINT64_MAX);
		}
		store_begin_drop_file(store, file);
	}
	store->prev_end = pos;
	r = store_begin_at(store, pos);
	if (r < 0)
		return r;
	store->error = 0;
	store->error_is_sync = false;
	store_job_checkpoint(store);
	store_job_prepare(store);
	return 0;
}

int store_retry(struct store *store)
{
	int r;

	if (store->error == 0 || store->error_is_sync)
		return -EINVAL;
	if (store->n_ops > 0)
		return STORE_E_WAIT;
	/* What failed lies before the current segment: that one has to be begun again. */
	if (!store->current || store->written < store->current->base) {
		r = store_begin_sync(store);
		if (r < 0)
			set_error(store, r, true);
		return r < 0 ? r : store_restart(store, store->written);
	}
	store->error = 0;
	store->n_writes = 0;
	store->next_pos = store->written;
	store->sync_goal = min_u64(store->sync_goal, store->next_pos);
	store_job_prepare(store);
	start_sync(store);
	return 0;
}

void store_give_back(struct store *store)
{
	store->released = true;
}

/* Leaves the current segment as a closed one is left. */
static void end_current(struct store *store)
{
	struct store_file *file = store->current;

	if (!file)
		return;
	file->end = store->next_pos;
	seglist_index_begin(&store->list, 0, &file->index);
	(void)close_call(&file->close);
}

struct store *store_close(struct store *store)
{
	if (!store)
		return NULL;
	store->changed = NULL;
	store->closing = true;
	if (store->started)
		(void)store_sync(store);
	while (store->n_ops > 0 || store->n_jobs > 0)
		(void)io_wait(store->io, -1);
	if (store->started && store->error == 0) {
		end_current(store);
		(void)checkpoint_write(&store->checkpoint, &store->identity, store->durable,
				       store->released ? store->durable : store->reserved_until,
				       store->epoch);
	}
	if (store->started)
		(void)file_unlink(store->dir_fd, FORMAT_NEXT_NAME);
	store_begin_undo(store);
	return NULL;
}

int store_remove(const char *path)
{
	return segment_remove_all(path);
}

/* ---- control thread ---- */

uint64_t store_earliest(struct store *store)
{
	return seglist_earliest(&store->list);
}

uint64_t store_listed(struct store *store)
{
	return seglist_written(&store->list);
}

void store_totals(struct store *store, struct store_totals *ret_totals)
{
	struct seglist *list = &store->list;
	struct store_totals totals = { .n_segments = 0 };
	size_t i;

	pthread_mutex_lock(&list->mutex);
	totals.written = list->written;
	totals.durable = list->durable;
	totals.n_segments = list->n - list->first;
	totals.earliest = totals.n_segments ? list->entries[list->first].base : list->written;
	for (i = list->first; i < list->n; i++) {
		const struct seglist_entry *entry = &list->entries[i];

		if (list->has_current && i == list->n - 1)
			totals.bytes += FORMAT_SEGMENT_LEN + list->written - entry->base;
		else if (entry->known)
			totals.bytes += entry->bytes;
		else
			totals.n_unknown++;
	}
	pthread_mutex_unlock(&list->mutex);
	*ret_totals = totals;
}

size_t store_list(struct store *store, size_t first, struct store_segment_info *infos, size_t cap)
{
	struct seglist *list = &store->list;
	size_t i, n = 0;

	pthread_mutex_lock(&list->mutex);
	for (i = list->first + first; i < list->n && n < cap; i++) {
		const struct seglist_entry *entry = &list->entries[i];
		bool closed = !list->has_current || i < list->n - 1;

		infos[n++] = (struct store_segment_info){
			.base = entry->base,
			.end = closed ? entry->end : list->written,
			.bytes = closed ? entry->bytes
					: FORMAT_SEGMENT_LEN + list->written - entry->base,
			.max_ns = closed ? entry->max_ns : list->index.max_ns,
			.closed = closed,
			.going = entry->base == list->going,
			.known = !closed || entry->known,
		};
	}
	pthread_mutex_unlock(&list->mutex);
	return n;
}

int store_open_segment(struct store *store, uint64_t pos, uint64_t *ret_base, uint64_t *ret_end,
		       bool *ret_closed, int *ret_fd)
{
	struct seglist_entry entry;
	bool is_current;
	int fd, r = seglist_open(&store->list, pos, &entry, &is_current, &fd);

	if (r != 0)
		return r < 0 ? r : STORE_E_END;
	*ret_base = entry.base;
	*ret_end = entry.end;
	*ret_closed = !is_current;
	*ret_fd = fd;
	return 0;
}

int store_seek_time(struct store *store, uint64_t ns, uint64_t *ret_pos)
{
	int r = seglist_seek_time(&store->list, ns, ret_pos);

	return r > 0 ? STORE_E_END : r;
}

int store_seek_pos(struct store *store, uint64_t pos, uint64_t *ret_pos)
{
	int r = seglist_seek_pos(&store->list, pos, ret_pos);

	return r > 0 ? STORE_E_END : r;
}
