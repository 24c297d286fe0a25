/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/disk_log.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	SECTOR = 512,
	INODES_MAX = 256,
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct disk_log *active;

uint64_t disk_log_random(uint64_t *state)
{
	uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* ---- logging ---- */

static struct disk_event *push(struct disk_log *log, int kind, int64_t result)
{
	struct disk_event *event;

	if (log->n == log->n_allocated) {
		log->n_allocated = log->n_allocated * 2 + 256;
		log->events = realloc(log->events, log->n_allocated * sizeof(*log->events));
		ck_assert_ptr_nonnull(log->events);
	}
	event = &log->events[log->n++];
	memset(event, 0, sizeof(*event));
	event->kind = kind;
	event->result = (int)result;
	event->ended_by = UINT64_MAX;
	return event;
}

static bool is_name_event(const struct disk_event *event)
{
	return event->kind == FILE_OPEN || event->kind == FILE_RENAME || event->kind == FILE_UNLINK;
}

static bool is_hint_name(const char *name)
{
	size_t len = strlen(name);

	return len > 4 && strcmp(name + len - 4, ".idx") == 0;
}

/* The inode of that name as the program sees the directory; 0: none. */
static int look_up(const struct disk_log *log, const char *name)
{
	int inode = 0;
	uint64_t i;

	for (i = 0; i < log->initial.n; i++)
		if (log->initial.files[i].there && strcmp(log->initial.files[i].name, name) == 0)
			inode = (int)i + 1;
	for (i = 0; i < log->n; i++) {
		const struct disk_event *event = &log->events[i];

		if (!is_name_event(event))
			continue;
		if (event->kind == FILE_RENAME && strcmp(event->to, name) == 0)
			inode = event->inode;
		else if (strcmp(event->name, name) == 0)
			inode = event->kind == FILE_OPEN ? event->inode : 0;
	}
	return inode;
}

static int before(void *ctx, const struct file_event *e)
{
	struct disk_log *log = ctx;
	int r = 0;

	pthread_mutex_lock(&mutex);
	if (log == active && e->fd >= 0 && e->fd < DISK_LOG_FDS &&
	    (e->kind == FILE_FDATASYNC || e->kind == FILE_FSYNC))
		log->fd_covers[e->fd] = log->n;
	if (e->kind == FILE_FDATASYNC && log->fail_sync_in > 0 && --log->fail_sync_in == 0)
		r = -EIO;
	if (e->kind == FILE_WRITE && log->fail_write_in > 0 && --log->fail_write_in == 0)
		r = -ENOSPC;
	pthread_mutex_unlock(&mutex);
	return r;
}

static void log_open(struct disk_log *log, const struct file_event *e, int64_t fd)
{
	struct disk_event *event;
	int inode;

	if (fd < 0 || fd >= DISK_LOG_FDS || (e->flags & O_DIRECTORY))
		return;
	inode = look_up(log, e->name);
	if ((e->flags & O_CREAT) && inode == 0) {
		event = push(log, FILE_OPEN, 0);
		inode = event->inode = ++log->n_inodes;
		ck_assert_int_lt(inode, INODES_MAX);
		snprintf(event->name, sizeof(event->name), "%s", e->name);
		event->is_hint = is_hint_name(e->name);
	} else if (e->flags & O_TRUNC) {
		event = push(log, FILE_TRUNCATE, 0);
		event->inode = inode;
		event->is_hint = is_hint_name(e->name);
	}
	log->fd_inode[fd] = inode;
}

static bool inode_is_hint(const struct disk_log *log, int inode)
{
	uint64_t i;

	for (i = 0; i < log->n; i++)
		if (log->events[i].kind == FILE_OPEN && log->events[i].inode == inode)
			return log->events[i].is_hint;
	return inode > 0 && (uint64_t)inode <= log->initial.n &&
	       is_hint_name(log->initial.files[inode - 1].name);
}

static void log_sync(struct disk_log *log, const struct file_event *e, int64_t result)
{
	uint64_t i, covers = log->fd_covers[e->fd], number = log->n;
	int inode = log->fd_inode[e->fd];

	push(log, e->kind, result)->inode = inode;
	if (log->lies)
		return;
	for (i = 0; i < covers; i++) {
		struct disk_event *event = &log->events[i];
		bool is_meant = e->kind == FILE_FSYNC
					? result == 0 && is_name_event(event)
					: event->inode == inode && !is_name_event(event);

		if (is_meant && event->ended_by == UINT64_MAX)
			event->ended_by = number;
	}
}

static void log_names(struct disk_log *log, const struct file_event *e, int64_t result)
{
	int inode = look_up(log, e->name);
	struct disk_event *event;

	if (result < 0 || inode == 0)
		return;
	event = push(log, e->kind, result);
	event->inode = inode;
	event->is_hint = is_hint_name(e->name);
	snprintf(event->name, sizeof(event->name), "%s", e->name);
	if (e->to)
		snprintf(event->to, sizeof(event->to), "%s", e->to);
}

static void log_event(struct disk_log *log, const struct file_event *e, int64_t result)
{
	struct disk_event *event;

	switch (e->kind) {
	case FILE_OPEN:
		log_open(log, e, result);
		break;
	case FILE_WRITE:
	case FILE_TRUNCATE:
		if (result < 0)
			break;
		event = push(log, e->kind, result);
		event->inode = log->fd_inode[e->fd];
		event->is_hint = inode_is_hint(log, event->inode);
		event->off = e->off;
		event->len = e->kind == FILE_WRITE ? (uint64_t)result : e->len;
		if (e->kind == FILE_WRITE) {
			event->bytes = malloc(event->len + 1);
			memcpy(event->bytes, e->buf, event->len);
		}
		break;
	case FILE_FDATASYNC:
	case FILE_FSYNC:
		log_sync(log, e, result);
		break;
	case FILE_RENAME:
	case FILE_UNLINK:
		log_names(log, e, result);
		break;
	default:
		break;
	}
}

static void after(void *ctx, const struct file_event *e, int64_t result)
{
	struct disk_log *log = ctx;

	pthread_mutex_lock(&mutex);
	if (log == active)
		log_event(log, e, result);
	pthread_mutex_unlock(&mutex);
}

static struct file_hooks hooks = { .before = before, .after = after };

void disk_log_begin(struct disk_log *log, const struct image *initial)
{
	memset(log, 0, sizeof(*log));
	if (initial)
		image_copy(&log->initial, initial);
	log->n_inodes = (int)log->initial.n;
	hooks.ctx = log;
	active = log;
	file_set_hooks(&hooks);
}

void disk_log_end(struct disk_log *log)
{
	ck_assert_ptr_eq(active, log);
	active = NULL;
	file_set_hooks(NULL);
}

void disk_log_deinit(struct disk_log *log)
{
	while (log->n > 0)
		free(log->events[--log->n].bytes);
	free(log->events);
	log->events = NULL;
	image_deinit(&log->initial);
}

void disk_log_mark(struct disk_log *log, uint64_t off, uint64_t len, uint64_t more)
{
	struct disk_event *event;

	pthread_mutex_lock(&mutex);
	event = push(log, DISK_LOG_MARK, 0);
	event->off = off;
	event->len = len;
	event->more = more;
	pthread_mutex_unlock(&mutex);
}

/* ---- states ---- */

static bool is_operation(const struct disk_event *event)
{
	return is_name_event(event) || event->kind == FILE_WRITE || event->kind == FILE_TRUNCATE;
}

enum fate {
	FATE_DURABLE,
	FATE_OPEN,
	FATE_LOST, /* its sync failed */
};

static enum fate fate_of(const struct disk_log *log, const struct disk_event *event, uint64_t cut)
{
	if (event->ended_by >= cut)
		return FATE_OPEN;
	return log->events[event->ended_by].result == 0 ? FATE_DURABLE : FATE_LOST;
}

unsigned int disk_log_n_open(const struct disk_log *log, uint64_t cut)
{
	unsigned int n = 0;
	uint64_t i;

	for (i = 0; i < cut; i++)
		n += is_operation(&log->events[i]) && !log->events[i].is_hint &&
		     fate_of(log, &log->events[i], cut) == FATE_OPEN;
	return n;
}

struct state {
	struct image_file inodes[INODES_MAX]; /* contents */
	struct image names;                   /* `len`: the inode */
	const struct disk_choice *choice;
	unsigned int n_open; /* so far */
	bool names_end;      /* no name after this one */
};

static bool chance(const struct state *state, unsigned int one_in)
{
	return disk_log_random(state->choice->random) % one_in == 0;
}

static void put(struct image_file *file, uint64_t off, const char *bytes, uint64_t len)
{
	if (off + len > file->len) {
		file->bytes = realloc(file->bytes, off + len + 1);
		ck_assert_ptr_nonnull(file->bytes);
		memset(file->bytes + file->len, 0, off + len - file->len);
		file->len = off + len;
	}
	if (bytes)
		memcpy(file->bytes + off, bytes, len);
}

/* Sector by sector, each as chance has it. */
static void put_some(struct state *state, struct image_file *file, const struct disk_event *event)
{
	static const char garbage[SECTOR] = "neither what was there nor what was to be";
	unsigned int mood = (unsigned int)(disk_log_random(state->choice->random) % 4);
	uint64_t at, len;

	for (at = 0; at < event->len; at += len) {
		uint64_t off = event->off + at;
		const char *bytes = event->bytes + at;

		len = min_u64(SECTOR - off % SECTOR, event->len - at);
		if (mood == 0 || (mood > 1 && chance(state, 2)))
			put(file, off, bytes, len);
		else if (mood == 3 && chance(state, 3))
			put(file, off, bytes, disk_log_random(state->choice->random) % len);
		else if (mood == 3 && chance(state, 4))
			put(file, off, garbage, len);
		else if (chance(state, 4))
			put(file, off + len, NULL, 0); /* the size is ahead of the data */
	}
}

static void cut_file(struct image_file *file, uint64_t len)
{
	if (len < file->len)
		file->len = len;
	else
		put(file, len, NULL, 0);
}

static struct image_file *name_of(struct state *state, const char *name)
{
	struct image_file *file = image_find(&state->names, name);

	return file ? file : image_add(&state->names, name);
}

static void apply_names(struct state *state, const struct disk_event *event)
{
	struct image_file *to;

	if (event->kind == FILE_RENAME) {
		to = name_of(state, event->to);
		to->len = (size_t)event->inode;
		to->there = true;
	}
	to = name_of(state, event->name);
	to->len = (size_t)event->inode;
	to->there = event->kind == FILE_OPEN;
}

/* Has an open operation been done? */
static bool has_been(struct state *state, const struct disk_event *event)
{
	const struct disk_choice *choice = state->choice;

	if (event->is_hint)
		return chance(state, 2);
	if (!choice->is_random)
		return choice->bits >> state->n_open++ & 1;
	if (!is_name_event(event) || choice->any_names)
		return !chance(state, 3);
	state->names_end |= chance(state, 4);
	return !state->names_end;
}

static void apply(struct state *state, const struct disk_event *event, enum fate fate)
{
	struct image_file *file = &state->inodes[event->inode];
	bool is_random = state->choice->is_random;

	if (event->kind == FILE_WRITE && is_random && fate != FATE_DURABLE && !event->is_hint) {
		put_some(state, file, event);
		return;
	}
	if (fate == FATE_LOST || (fate == FATE_OPEN && !has_been(state, event)))
		return;
	if (event->kind == FILE_WRITE)
		put(file, event->off, event->bytes, event->len);
	else if (event->kind == FILE_TRUNCATE)
		cut_file(file, event->len);
	else
		apply_names(state, event);
}

static void begin_state(const struct disk_log *log, struct state *state)
{
	size_t i;

	for (i = 0; i < log->initial.n; i++) {
		const struct image_file *file = &log->initial.files[i];

		if (!file->there)
			continue;
		image_set(&state->inodes[i + 1], file->bytes, file->len);
		image_add(&state->names, file->name)->len = i + 1;
		image_find(&state->names, file->name)->there = true;
	}
}

void disk_log_state(const struct disk_log *log, uint64_t cut, const struct disk_choice *choice,
		    struct image *ret_image)
{
	static struct state state;
	uint64_t i;

	memset(&state, 0, sizeof(state));
	state.choice = choice;
	begin_state(log, &state);
	for (i = 0; i < cut; i++)
		if (is_operation(&log->events[i]))
			apply(&state, &log->events[i], fate_of(log, &log->events[i], cut));
	memset(ret_image, 0, sizeof(*ret_image));
	for (i = 0; i < state.names.n; i++) {
		const struct image_file *name = &state.names.files[i], *file;

		if (!name->there)
			continue;
		file = &state.inodes[name->len];
		image_set(image_add(ret_image, name->name), file->bytes ? file->bytes : "",
			  file->len);
	}
	for (i = 0; i < INODES_MAX; i++)
		free(state.inodes[i].bytes);
}
