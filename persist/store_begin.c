/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a store begins: what is on disk is looked at, what is void is taken away, and a fresh
 * segment is begun. Synchronous, because nothing can go on without it.
 */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/vfs.h>

#include "persist/file.h"
#include "persist/store_impl.h"

enum {
	MAGIC_EXT4 = 0xef53,
	MAGIC_XFS = 0x58465342,
};

#define AHEAD_LEN (4 * GIB)
#define DIRTY_MAX (256 * MIB)
#define CACHE_LEN (64 * MIB)
#define BURST_RATE (256 * MIB)

struct store_file *store_begin_add_file(struct store *store, int fd, uint64_t base,
					uint64_t prev_end, uint64_t epoch)
{
	struct store_file **at = &store->files;
	struct store_file *file = calloc(1, sizeof(*file));

	if (!file)
		return NULL;
	file->store = store;
	file->fd = fd;
	file->base = base;
	file->prev_end = prev_end;
	file->end = UINT64_MAX;
	file->synced = base;
	file->writeback_pos = base;
	file->zero_upto = base;
	file->epoch = epoch;
	while (*at)
		at = &(*at)->next;
	*at = file;
	store->current = file;
	store->n_files++;
	return file;
}

void store_begin_drop_file(struct store *store, struct store_file *file)
{
	struct store_file **at = &store->files;

	while (*at && *at != file)
		at = &(*at)->next;
	if (*at) {
		*at = file->next;
		store->n_files--;
	}
	if (store->current == file)
		store->current = NULL;
	file_close(file->fd);
	timeindex_deinit(&file->index);
	free(file);
}

static int open_dir(struct store *store, const char *path)
{
	int r;

	store->dir_fd = file_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
	if (store->dir_fd == -ENOENT) {
		r = file_make_dirs(path);
		if (r < 0)
			return r;
		store->dir_fd = file_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
	}
	if (store->dir_fd < 0)
		return store->dir_fd;
	/* Two daemons on the same files would destroy them. The lock ends with the process. */
	if (flock(store->dir_fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	return 0;
}

static int scan(struct store *store, const struct store_options *options)
{
	struct recover *recover = &store->recover;
	int have, r = 0;

	have = checkpoint_open(store->dir_fd, &store->identity, &store->checkpoint);
	if (have < 0 && have != -EBADMSG)
		return have;
	/* The directory may be there since a moment before a crash, without a durable name. What
	 * names made durable comes before the first checkpoint. */
	if (have != 1)
		r = file_make_dirs(options->path);
	else if (options->durable < store->checkpoint.reserved_until)
		store->checkpoint.durable = max_u64(store->checkpoint.durable, options->durable);
	if (r == 0)
		r = recover_scan(store->dir_fd, &store->identity, &store->checkpoint, have,
				 options->first_pos, recover);
	if (r < 0)
		return r;
	r = seglist_init(&store->list, store->dir_fd, &store->identity, recover->bases,
			 recover->n_bases, recover->ends, recover->n_ends);
	if (r < 0)
		return r;
	store->has_list = true;
	/* A segment comes after the name of the checkpoint was made durable. */
	store->has_checkpoint = have == 1 && recover->n_bases > 0;
	store->epoch = recover->epoch;
	/* What is missing below the durable position stays missing, it does not become a gap. */
	store->prev_end = max_u64(recover->end, recover->durable);
	store->durable = recover->durable;
	store->written = max_u64(recover->end, recover->durable);
	store->reserved_until = max_u64(recover->reserved_until, store->written);
	seglist_set_progress(&store->list, store->written, store->written);
	return have != 0 || recover->n_bases > 0;
}

/* Where each write goes to a place of its own, zeros before it would gain nothing. */
static uint64_t zero_len(int dir_fd, uint64_t wanted)
{
	struct statfs st;

	if (wanted == STORE_NO_ZEROS)
		return 0;
	if (wanted != 0)
		return min_u64(wanted, STORE_ZERO_MAX - STORE_ZERO_ALIGN);
	if (fstatfs(dir_fd, &st) < 0 || (st.f_type != MAGIC_EXT4 && st.f_type != MAGIC_XFS))
		return 0;
	return STORE_ZERO_MAX - STORE_ZERO_ALIGN;
}

int store_begin_open(const struct store_options *options, struct store *store)
{
	int r;

	store->dir_fd = -1;
	store->next_fd = -1;
	store->checkpoint.fd = -1;
	store->segment_len = options->segment_len;
	store->ahead_len = options->ahead_len ? options->ahead_len : AHEAD_LEN;
	store->dirty_max = options->dirty_max ? options->dirty_max : DIRTY_MAX;
	store->cache_len = options->cache_len ? options->cache_len : CACHE_LEN;
	store->burst_rate = options->burst_rate ? options->burst_rate : BURST_RATE;
	store->changed = options->changed;
	store->ctx = options->ctx;
	memcpy(store->identity.stream_uuid, options->stream_uuid, 16);
	store->identity.shard = options->shard;
	store->identity.flags = options->checksum ? FORMAT_F_CHECKSUM : 0;
	store->identity.crc_seed = options->crc_seed;
	r = open_dir(store, options->path);
	if (r < 0)
		return r;
	store->zero_len = zero_len(store->dir_fd, options->zero_len);
	return scan(store, options);
}

void store_begin_undo(struct store *store)
{
	while (store->files)
		store_begin_drop_file(store, store->files);
	if (store->has_list)
		seglist_deinit(&store->list);
	recover_deinit(&store->recover);
	checkpoint_close(&store->checkpoint);
	file_close(store->next_fd);
	file_close(store->dir_fd);
	free(store);
}

void store_begin_release(struct store *store)
{
	const struct recover *recover = &store->recover;
	size_t i;

	for (i = recover->n_bases - recover->n_ends; i < recover->n_bases; i++) {
		bool is_last = i == recover->n_bases - 1;

		segment_release(store->dir_fd, recover->bases[i],
				is_last ? recover->content_end : UINT64_MAX);
	}
}

/* What the header of the segment at `base` says of the one before; `base` when it is damaged. */
static uint64_t read_prev_end(const struct store *store, uint64_t base)
{
	struct format_segment header = { .prev_end = base };
	int fd = segment_open(store->dir_fd, base);

	if (fd >= 0 && segment_read_header(fd, &store->identity, base, &header) < 0)
		header.prev_end = base;
	file_close(fd);
	return header.prev_end;
}

/*
 * True for the newest segment when it has a sound header, nothing at all behind it, and never had.
 */
static bool last_is_empty(struct store *store, uint64_t *ret_base)
{
	struct format_segment header;
	uint64_t len = UINT64_MAX, base;
	bool is_empty;
	int fd;

	if (!seglist_newest(&store->list, &base))
		return false;
	*ret_base = base;
	if (base < store->durable)
		return false;
	fd = segment_open(store->dir_fd, base);
	is_empty = fd >= 0 && file_size(fd, &len) == 0 && len == FORMAT_SEGMENT_LEN &&
		   segment_read_header(fd, &store->identity, base, &header) == 0;
	file_close(fd);
	return is_empty;
}

/* Takes away the segments from pos on, newest first, and empty ones before it. */
static int cut(struct store *store, uint64_t pos)
{
	uint64_t base, prev_end;
	bool was_cut = false;
	int r = 0;

	while (seglist_newest(&store->list, &base)) {
		bool is_empty = last_is_empty(store, &base);

		if (base < pos && !is_empty)
			break;
		prev_end = read_prev_end(store, base);
		r = segment_unlink(store->dir_fd, base);
		if (r < 0)
			return r;
		(void)seglist_pop_from(&store->list, base, &base);
		store->prev_end = prev_end;
		was_cut |= !is_empty;
	}
	/* Before the new segment is: a void one that came back would hide what it holds. An empty
	 * one hides nothing. */
	if (was_cut)
		r = file_sync_dir(store->dir_fd);
	store->prev_end = min_u64(store->prev_end, pos);
	return r;
}

int store_begin_sync(struct store *store)
{
	struct store_file *file;
	int r;

	for (file = store->files; file; file = file->next) {
		if (file->closing || file->base >= store->written)
			continue;
		r = file_datasync(file->fd);
		if (r < 0)
			return r;
	}
	store->durable = store->written;
	return 0;
}

int store_begin_at(struct store *store, uint64_t pos)
{
	cleanup_with(file_closep) int fd = take_fd(store->next_fd);
	struct timeindex old;
	struct store_file *file;
	int r = cut(store, pos);

	if (r == 0)
		r = seglist_reserve(&store->list);
	if (r < 0)
		return r;
	if (fd < 0)
		fd = segment_prepare(store->dir_fd, FORMAT_NEXT_NAME, store->segment_len);
	if (fd < 0)
		return take_fd(fd);
	file = store_begin_add_file(store, fd, pos, store->prev_end, store->epoch + 1);
	if (!file)
		return -ENOMEM;
	(void)take_fd(fd);
	r = segment_publish(store->dir_fd, file->fd, FORMAT_NEXT_NAME, &store->identity, pos,
			    store->prev_end, file->epoch, &file->header);
	if (r < 0) {
		(void)segment_unlink(store->dir_fd, pos);
		store_begin_drop_file(store, file);
		return r;
	}
	file->published = true;
	seglist_index_begin(&store->list, pos, &old);
	timeindex_deinit(&old);
	seglist_append(&store->list, store->prev_end, pos);
	store->epoch = file->epoch;
	store->next_pos = store->written = store->durable = store->sync_goal = pos;
	store->cool_pos = pos;
	store->n_writes = 0;
	seglist_set_progress(&store->list, pos, pos);
	return 0;
}
