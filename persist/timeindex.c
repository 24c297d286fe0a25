/* SPDX-License-Identifier: Apache-2.0 */
#include "persist/timeindex.h"

#include <fcntl.h>

#include "persist/file.h"
#include "persist/reader.h"

/* More than a segment of this many strides can have; bounds what a file makes us allocate. */
#define TIMEINDEX_FILE_MAX (64 * MIB)

void timeindex_deinit(struct timeindex *index)
{
	free(index->entries);
	memset(index, 0, sizeof(*index));
}

int timeindex_add(struct timeindex *index, uint64_t pos, uint64_t max_ns)
{
	struct format_index_entry *last = NULL, *grown;
	uint64_t n = index->n_entries;

	index->max_ns = max_u64(index->max_ns, max_ns);
	if (n > 0)
		last = &index->entries[n - 1];
	/* Written again after an error: the position may lie below the last stretch. */
	if (last && (pos < last->pos || pos - last->pos < TIMEINDEX_STRIDE)) {
		last->max_ns = max_u64(last->max_ns, max_ns);
		return 0;
	}
	if (n == index->n_allocated) {
		n = n ? n * 2 : 16;
		grown = reallocarray(index->entries, n, sizeof(*grown));
		if (!grown) {
			/* The last stretch reaches to the end: it takes this one in. */
			if (last)
				last->max_ns = max_u64(last->max_ns, max_ns);
			return -ENOMEM;
		}
		index->entries = grown;
		index->n_allocated = n;
	}
	last = &index->entries[index->n_entries++];
	last->pos = pos;
	last->max_ns = max_ns;
	return 0;
}

uint64_t timeindex_floor_pos(const struct timeindex *index, uint64_t base, uint64_t pos)
{
	uint64_t low = 0, high = index->n_entries;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (index->entries[middle].pos <= pos)
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 ? max_u64(index->entries[low - 1].pos, base) : base;
}

uint64_t timeindex_first_stretch(const struct timeindex *index, uint64_t ns)
{
	uint64_t i;

	if (index->max_ns < ns)
		return UINT64_MAX;
	for (i = 0; i < index->n_entries; i++)
		if (index->entries[i].max_ns >= ns)
			return index->entries[i].pos;
	return UINT64_MAX;
}

/* Entries as they have to be: ascending boundaries of this segment. */
static bool entries_are_sound(const struct format_index *index)
{
	const struct format_index_entry *entries = (const void *)(index + 1);
	uint64_t i, above = index->base;

	if (!format_pos_is_sane(index->end) || index->end < index->base)
		return false;
	if (index->n_entries > 0 && entries[0].pos != index->base)
		return false;
	for (i = 0; i < index->n_entries; i++) {
		if (!format_pos_is_sane(entries[i].pos) || entries[i].pos < above ||
		    entries[i].pos > index->end || entries[i].max_ns > index->max_ns)
			return false;
		above = entries[i].pos + 32;
	}
	return true;
}

static bool belongs_to(const struct format_index *index, const struct format_segment *segment)
{
	return memcmp(index->stream_uuid, segment->stream_uuid, 16) == 0 &&
	       index->shard == segment->shard && index->base == segment->base &&
	       index->epoch == segment->epoch && index->created_ns == segment->created_ns;
}

int timeindex_load(int dir_fd, const struct format_segment *segment, struct timeindex *ret_index,
		   uint64_t *ret_end)
{
	cleanup_with(file_closep) int fd = -1;
	cleanup_with(free_ptr) struct format_index *file = NULL;
	struct timeindex index = { .entries = NULL };
	char name[FORMAT_NAME_LEN];
	uint64_t len;
	int64_t n;
	int r;

	format_index_name(segment->base, name);
	fd = file_open(dir_fd, name, O_RDONLY, 0);
	if (fd < 0)
		return fd;
	r = file_size(fd, &len);
	if (r < 0)
		return r;
	if (len < sizeof(*file) || len > TIMEINDEX_FILE_MAX)
		return -EBADMSG;
	file = malloc(len);
	if (!file)
		return -ENOMEM;
	n = file_read(fd, file, len, 0);
	if (n < 0)
		return (int)n;
	if ((uint64_t)n != len || format_index_check(file, len) < 0 || !belongs_to(file, segment) ||
	    !entries_are_sound(file))
		return -EBADMSG;
	if (file->n_entries > 0) {
		index.entries = malloc(file->n_entries * sizeof(*index.entries));
		if (!index.entries)
			return -ENOMEM;
		memcpy(index.entries, file + 1, file->n_entries * sizeof(*index.entries));
	}
	index.n_entries = index.n_allocated = file->n_entries;
	index.max_ns = file->max_ns;
	*ret_end = file->end;
	*ret_index = index;
	return 0;
}

int timeindex_store(int dir_fd, const struct format_segment *segment, uint64_t end,
		    const struct timeindex *index)
{
	cleanup_with(file_closep) int fd = -1;
	cleanup_with(free_ptr) struct format_index *file = NULL;
	uint64_t entries_len = index->n_entries * sizeof(*index->entries);
	char name[FORMAT_NAME_LEN];

	file = calloc(1, sizeof(*file) + entries_len);
	if (!file)
		return -ENOMEM;
	memcpy(file->stream_uuid, segment->stream_uuid, sizeof(file->stream_uuid));
	file->shard = segment->shard;
	file->base = segment->base;
	file->end = end;
	file->epoch = segment->epoch;
	file->created_ns = segment->created_ns;
	file->max_ns = index->max_ns;
	file->n_entries = index->n_entries;
	if (entries_len)
		memcpy(file + 1, index->entries, entries_len);
	format_index_seal(file);
	format_index_name(segment->base, name);
	fd = file_open(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		return fd;
	return file_write(fd, file, sizeof(*file) + entries_len, 0);
}

int timeindex_build(struct reader *reader, uint64_t end, struct timeindex *ret_index)
{
	struct timeindex index = { .entries = NULL };
	uint64_t word, timestamp_ns, pos = reader_header(reader)->base;
	int r = timeindex_add(&index, pos, 0);

	if (r < 0)
		return r;
	while (pos < end) {
		r = reader_check(reader, pos, end, &word, &timestamp_ns);
		if (r == -EBADMSG) {
			r = reader_resync(reader, pos, end, &pos);
		} else if (r == 0) {
			if (record_word_kind(word) != RECORD_COMMITTED)
				timestamp_ns = 0;
			r = timeindex_add(&index, pos, timestamp_ns);
			pos += record_step(word);
		}
		if (r < 0) {
			timeindex_deinit(&index);
			return r;
		}
	}
	*ret_index = index;
	return 0;
}
