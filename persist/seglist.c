/* SPDX-License-Identifier: Apache-2.0 */
#include "persist/seglist.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "persist/file.h"
#include "persist/reader.h"
#include "shm/record.h"

int seglist_init(struct seglist *list, int dir_fd, const struct segment_identity *identity,
		 const uint64_t *bases, size_t n, const uint64_t *ends, size_t n_ends)
{
	size_t i;

	memset(list, 0, sizeof(*list));
	list->dir_fd = dir_fd;
	list->identity = *identity;
	if (n > 0) {
		list->entries = calloc(n, sizeof(*list->entries));
		if (!list->entries)
			return -ENOMEM;
	}
	list->n = list->n_allocated = n;
	for (i = 0; i < n; i++) {
		struct seglist_entry *entry = &list->entries[i];

		entry->base = bases[i];
		entry->end = i + 1 < n ? bases[i + 1] : bases[i];
		if (i >= n - n_ends) {
			/* `bytes` is counted without a look at the file. */
			entry->end = ends[i - (n - n_ends)];
			entry->bytes = FORMAT_SEGMENT_LEN + entry->end - entry->base;
			entry->known = true;
		}
	}
	pthread_mutex_init(&list->mutex, NULL);
	return 0;
}

void seglist_deinit(struct seglist *list)
{
	pthread_mutex_destroy(&list->mutex);
	timeindex_deinit(&list->index);
	free(list->entries);
	list->entries = NULL;
}

int seglist_reserve(struct seglist *list)
{
	struct seglist_entry *grown;
	size_t n_kept = list->n - list->first, n = n_kept + n_kept / 2 + 16;

	if (list->n < list->n_allocated)
		return 0;
	grown = calloc(n, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	pthread_mutex_lock(&list->mutex);
	if (n_kept > 0)
		memcpy(grown, list->entries + list->first, n_kept * sizeof(*grown));
	free(list->entries);
	list->entries = grown;
	list->n_allocated = n;
	list->explored -= list->explored > list->first ? list->first : list->explored;
	list->n = n_kept;
	list->first = 0;
	pthread_mutex_unlock(&list->mutex);
	return 0;
}

static struct seglist_entry *last_entry(struct seglist *list)
{
	return list->n > list->first ? &list->entries[list->n - 1] : NULL;
}

static void close_last(struct seglist *list, uint64_t end)
{
	struct seglist_entry *last = last_entry(list);

	if (!last)
		return;
	last->end = end;
	last->bytes = FORMAT_SEGMENT_LEN + end - last->base;
	last->known = true;
}

void seglist_append(struct seglist *list, uint64_t end, uint64_t base)
{
	pthread_mutex_lock(&list->mutex);
	close_last(list, end);
	list->entries[list->n++] = (struct seglist_entry){ .base = base, .end = base };
	list->has_current = true;
	pthread_mutex_unlock(&list->mutex);
}

bool seglist_pop_from(struct seglist *list, uint64_t pos, uint64_t *ret_base)
{
	struct seglist_entry *last;
	bool found;

	pthread_mutex_lock(&list->mutex);
	last = last_entry(list);
	found = last && last->base >= pos;
	if (found) {
		*ret_base = last->base;
		list->n--;
		list->has_current = false;
	}
	pthread_mutex_unlock(&list->mutex);
	return found;
}

bool seglist_newest(struct seglist *list, uint64_t *ret_base)
{
	struct seglist_entry *last;

	pthread_mutex_lock(&list->mutex);
	last = last_entry(list);
	if (last)
		*ret_base = last->base;
	pthread_mutex_unlock(&list->mutex);
	return last != NULL;
}

bool seglist_oldest(struct seglist *list, struct seglist_entry *ret_entry, bool *ret_current)
{
	bool found;

	pthread_mutex_lock(&list->mutex);
	found = list->n > list->first;
	if (found) {
		*ret_entry = list->entries[list->first];
		*ret_current = list->has_current && list->n - list->first == 1;
	}
	pthread_mutex_unlock(&list->mutex);
	return found;
}

bool seglist_pop_oldest(struct seglist *list, uint64_t *ret_base)
{
	bool found;

	pthread_mutex_lock(&list->mutex);
	found = list->n - list->first > (list->has_current ? 1 : 0);
	if (found)
		*ret_base = list->entries[list->first++].base;
	pthread_mutex_unlock(&list->mutex);
	return found;
}

void seglist_set_going(struct seglist *list, uint64_t base)
{
	pthread_mutex_lock(&list->mutex);
	list->going = base;
	pthread_mutex_unlock(&list->mutex);
}

uint64_t seglist_earliest(struct seglist *list)
{
	uint64_t earliest;
	size_t i;

	pthread_mutex_lock(&list->mutex);
	i = list->first;
	if (i < list->n && list->entries[i].base == list->going)
		i++;
	earliest = i < list->n ? list->entries[i].base : list->written;
	pthread_mutex_unlock(&list->mutex);
	return earliest;
}

uint64_t seglist_written(struct seglist *list)
{
	uint64_t written;

	pthread_mutex_lock(&list->mutex);
	written = list->written;
	pthread_mutex_unlock(&list->mutex);
	return written;
}

void seglist_set_progress(struct seglist *list, uint64_t written, uint64_t durable)
{
	pthread_mutex_lock(&list->mutex);
	list->written = written;
	list->durable = durable;
	pthread_mutex_unlock(&list->mutex);
}

/* The entry of that very base; with the mutex held. */
static struct seglist_entry *find_base(struct seglist *list, uint64_t base)
{
	size_t low = list->first, high = list->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (list->entries[middle].base < base)
			low = middle + 1;
		else
			high = middle;
	}
	return low < list->n && list->entries[low].base == base ? &list->entries[low] : NULL;
}

void seglist_set_max_ns(struct seglist *list, uint64_t base, uint64_t max_ns)
{
	struct seglist_entry *entry;

	pthread_mutex_lock(&list->mutex);
	entry = find_base(list, base);
	if (entry) {
		entry->max_ns = max_ns;
		entry->indexed = true;
	}
	pthread_mutex_unlock(&list->mutex);
}

void seglist_index_add(struct seglist *list, uint64_t pos, uint64_t max_ns)
{
	pthread_mutex_lock(&list->mutex);
	(void)timeindex_add(&list->index, pos, max_ns);
	pthread_mutex_unlock(&list->mutex);
}

void seglist_index_begin(struct seglist *list, uint64_t base, struct timeindex *ret_old)
{
	pthread_mutex_lock(&list->mutex);
	*ret_old = list->index;
	memset(&list->index, 0, sizeof(list->index));
	list->index_base = base;
	pthread_mutex_unlock(&list->mutex);
}

/*
 * Finds out where a closed segment ends: what the next one's header says, if that one is there and
 * sound, however short the file is by now; else what the file holds.
 */
static int look_at(const struct seglist *list, uint64_t next_base, struct seglist_entry *entry)
{
	struct format_segment next;
	char name[FORMAT_NAME_LEN];
	uint64_t held = 0, end;
	struct stat st;
	int fd;

	format_segment_name(entry->base, name);
	if (fstatat(list->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOENT;
	if (st.st_size > FORMAT_SEGMENT_LEN)
		held = (uint64_t)st.st_size - FORMAT_SEGMENT_LEN;
	held = min_u64(held - held % RECORD_ALIGN, next_base - entry->base);
	end = entry->base + held;
	fd = segment_open(list->dir_fd, next_base);
	if (fd >= 0 && segment_read_header(fd, &list->identity, next_base, &next) == 0 &&
	    next.prev_end >= entry->base && next.prev_end <= next_base)
		end = next.prev_end;
	file_close(fd);
	entry->end = end;
	entry->bytes = FORMAT_SEGMENT_LEN + min_u64(held, end - entry->base);
	entry->known = true;
	return 0;
}

static void keep_look(struct seglist *list, const struct seglist_entry *seen)
{
	struct seglist_entry *entry;

	pthread_mutex_lock(&list->mutex);
	entry = find_base(list, seen->base);
	if (entry && !entry->known) {
		entry->end = seen->end;
		entry->bytes = seen->bytes;
		entry->known = true;
	}
	pthread_mutex_unlock(&list->mutex);
}

/* A copy of the first entry whose range may reach beyond pos; false when there is none. */
static bool pick(struct seglist *list, uint64_t pos, struct seglist_entry *ret_entry,
		 bool *ret_current, uint64_t *ret_next_base)
{
	size_t low, high;
	bool found;

	pthread_mutex_lock(&list->mutex);
	low = list->first;
	high = list->n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		bool is_current = list->has_current && middle == list->n - 1;
		uint64_t end = is_current ? list->written : list->entries[middle].end;

		if (end <= pos)
			low = middle + 1;
		else
			high = middle;
	}
	found = low < list->n;
	if (found) {
		*ret_entry = list->entries[low];
		*ret_current = list->has_current && low == list->n - 1;
		if (*ret_current)
			ret_entry->end = list->written;
		*ret_next_base = low + 1 < list->n ? list->entries[low + 1].base : 0;
	}
	pthread_mutex_unlock(&list->mutex);
	return found;
}

/* The current one, if it begins beyond pos: behind files that are gone it says, also when it is
 * empty, where the log goes on. */
static int find_current(struct seglist *list, uint64_t pos, struct seglist_entry *ret_entry,
			bool *ret_current)
{
	struct seglist_entry *last;
	bool found;

	pthread_mutex_lock(&list->mutex);
	last = last_entry(list);
	found = last && list->has_current && last->base > pos;
	if (found) {
		*ret_entry = *last;
		ret_entry->end = list->written;
		*ret_current = true;
	}
	pthread_mutex_unlock(&list->mutex);
	return found ? 0 : READER_E_END;
}

int seglist_find(struct seglist *list, uint64_t pos, struct seglist_entry *ret_entry,
		 bool *ret_current)
{
	struct seglist_entry entry;
	uint64_t next_base, from = pos;
	bool is_current;
	int r;

	while (pick(list, pos, &entry, &is_current, &next_base)) {
		if (!is_current && !entry.known) {
			r = look_at(list, next_base, &entry);
			if (r < 0 && r != -ENOENT)
				return r;
			/* Unlinked a moment ago: the list does not hold it any more. */
			if (r == 0)
				keep_look(list, &entry);
			else
				entry.end = 0;
		}
		/* The current one counts when it is empty too: it says where the log goes on. */
		if (entry.end > pos && (is_current || entry.end > entry.base)) {
			*ret_entry = entry;
			*ret_current = is_current;
			return 0;
		}
		pos = max_u64(pos, is_current ? entry.end : max_u64(entry.end, next_base));
	}
	return find_current(list, from, ret_entry, ret_current);
}

int seglist_open(struct seglist *list, uint64_t pos, struct seglist_entry *ret_entry,
		 bool *ret_current, int *ret_fd)
{
	uint64_t from = pos;
	int r, fd;

	for (;;) {
		r = seglist_find(list, pos, ret_entry, ret_current);
		if (r == READER_E_END)
			r = find_current(list, from, ret_entry, ret_current);
		if (r != 0)
			return r;
		fd = segment_open(list->dir_fd, ret_entry->base);
		if (fd >= 0)
			break;
		if (fd != -ENOENT)
			return fd;
		if (*ret_current)
			return READER_E_END;
		pos = max_u64(pos, ret_entry->end);
	}
	*ret_fd = fd;
	return 0;
}

/* The index in memory, if it is that of the segment at `base`. */
static bool copy_index(struct seglist *list, uint64_t base, struct timeindex *ret_index)
{
	struct timeindex index = { .entries = NULL };
	bool found = false;

	pthread_mutex_lock(&list->mutex);
	if (list->has_current && list->index_base == base && list->index.n_entries > 0) {
		index = list->index;
		index.n_allocated = index.n_entries;
		index.entries = calloc(index.n_entries, sizeof(*index.entries));
		found = index.entries != NULL;
		if (found)
			memcpy(index.entries, list->index.entries,
			       index.n_entries * sizeof(*index.entries));
	}
	pthread_mutex_unlock(&list->mutex);
	if (found)
		*ret_index = index;
	return found;
}

/* Memory's, the side file's, or made now. *ret_index is empty when all that fails. */
static void find_index(struct seglist *list, const struct seglist_entry *entry, bool is_current,
		       struct reader *reader, struct timeindex *ret_index)
{
	uint64_t end;

	memset(ret_index, 0, sizeof(*ret_index));
	if (is_current) {
		(void)copy_index(list, entry->base, ret_index);
		return;
	}
	if (timeindex_load(list->dir_fd, reader_header(reader), ret_index, &end) == 0) {
		if (end >= entry->end)
			return;
		timeindex_deinit(ret_index);
	}
	if (timeindex_build(reader, entry->end, ret_index) == 0)
		(void)timeindex_store(list->dir_fd, reader_header(reader), entry->end, ret_index);
}

/* What a search in one segment needs, opened. */
struct search {
	struct seglist_entry entry;
	struct reader *reader;
	struct timeindex index;
	bool is_current;
};

static void search_deinit(struct search *search)
{
	search->reader = reader_close(search->reader);
	timeindex_deinit(&search->index);
}

/* 0, READER_E_END, -EBADMSG for a segment that cannot be opened (its range is in the entry). */
static int search_open(struct seglist *list, uint64_t pos, struct search *search)
{
	struct reader_log log = {
		.shard = list->identity.shard,
		.flags = list->identity.flags,
		.crc_seed = list->identity.crc_seed,
	};
	uint64_t max_ns;
	int fd = -1, r;

	memcpy(log.stream_uuid, list->identity.stream_uuid, sizeof(log.stream_uuid));
	memset(search, 0, sizeof(*search));
	r = seglist_open(list, pos, &search->entry, &search->is_current, &fd);
	if (r != 0)
		return r;
	r = reader_open_of(fd, &log, search->entry.base, &search->reader);
	if (r < 0) {
		file_close(fd);
		return r;
	}
	find_index(list, &search->entry, search->is_current, search->reader, &search->index);
	reader_use_index(search->reader, &search->index);
	if (search->is_current || search->index.n_entries == 0)
		return 0;
	/* A segment without any record counts as old as it is. */
	max_ns = search->index.max_ns;
	seglist_set_max_ns(list, search->entry.base,
			   max_ns ? max_ns : reader_header(search->reader)->created_ns);
	return 0;
}

int seglist_seek_time(struct seglist *list, uint64_t ns, uint64_t *ret_pos)
{
	struct search search;
	uint64_t pos = 0;
	int r;

	for (;;) {
		struct seglist_entry entry;
		bool is_current;

		r = seglist_find(list, pos, &entry, &is_current);
		if (r == 0 && !is_current && entry.indexed && entry.max_ns < ns) {
			pos = entry.end;
			continue;
		}
		if (r == 0)
			r = search_open(list, pos, &search);
		if (r == 0)
			r = reader_seek_time(search.reader, ns, search.entry.end, ret_pos);
		else if (r != -EBADMSG)
			break;
		pos = search.entry.end;
		search_deinit(&search);
		if (r <= 0 && r != -EBADMSG)
			return r;
	}
	if (r == READER_E_END)
		*ret_pos = seglist_written(list);
	return r;
}

int seglist_seek_pos(struct seglist *list, uint64_t pos, uint64_t *ret_pos)
{
	struct search search;
	int r;

	for (;;) {
		r = search_open(list, pos, &search);
		if (r == 0)
			r = reader_seek_pos(search.reader, pos, search.entry.end, ret_pos);
		else if (r != -EBADMSG)
			break;
		pos = search.entry.end;
		search_deinit(&search);
		if (r <= 0 && r != -EBADMSG)
			return r;
	}
	if (r == READER_E_END)
		*ret_pos = seglist_written(list);
	return r;
}

/* The oldest closed entry that nobody has looked at. */
static bool pick_unknown(struct seglist *list, struct seglist_entry *ret_entry,
			 uint64_t *ret_next_base)
{
	bool found = false;

	pthread_mutex_lock(&list->mutex);
	/* Only what was there at the start can be unknown: never look at an entry twice. */
	list->explored = list->explored > list->first ? list->explored : list->first;
	while (!found && list->explored + 1 < list->n) {
		size_t i = list->explored++;

		*ret_entry = list->entries[i];
		*ret_next_base = list->entries[i + 1].base;
		found = !ret_entry->known;
	}
	pthread_mutex_unlock(&list->mutex);
	return found;
}

/* The oldest entry, if it is closed and its timestamps were not looked for. */
static bool pick_unindexed(struct seglist *list, struct seglist_entry *ret_entry)
{
	bool found;

	pthread_mutex_lock(&list->mutex);
	found = list->n - list->first > (list->has_current ? 1 : 0) &&
		!list->entries[list->first].indexed;
	if (found)
		*ret_entry = list->entries[list->first];
	pthread_mutex_unlock(&list->mutex);
	return found;
}

/* When the file was last written, for one whose records cannot be read. */
static uint64_t written_ns(const struct seglist *list, uint64_t base)
{
	char name[FORMAT_NAME_LEN];
	struct stat st;

	format_segment_name(base, name);
	if (fstatat(list->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	return (uint64_t)st.st_mtim.tv_sec * NS_PER_S + (uint64_t)st.st_mtim.tv_nsec;
}

int seglist_explore(struct seglist *list, size_t n)
{
	struct seglist_entry entry;
	struct search search;
	uint64_t next_base;
	size_t i;
	int r;

	for (i = 0; i < n && pick_unknown(list, &entry, &next_base); i++) {
		r = look_at(list, next_base, &entry);
		if (r < 0 && r != -ENOENT)
			return r;
		entry.known = true;
		keep_look(list, &entry);
	}
	if (i == n || !pick_unindexed(list, &entry))
		return (int)i;
	r = search_open(list, entry.base, &search);
	search_deinit(&search);
	if (pick_unindexed(list, &search.entry) && search.entry.base == entry.base)
		seglist_set_max_ns(list, entry.base, written_ns(list, entry.base));
	return r < 0 && r != -EBADMSG ? r : (int)i + 1;
}
