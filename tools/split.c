/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/split.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	SPLIT_FIRST_CAP = 1 << 20
};

int split_init(struct split *split, enum split_mode mode, const char *delim, size_t delim_len,
	       size_t max_len)
{
	*split = (struct split){
		.mode = mode,
		.delim = mode == SPLIT_PARAGRAPHS ? "\n\n" : delim,
		.delim_len = mode == SPLIT_PARAGRAPHS ? 2 : delim_len,
		.max_len = max_len,
		.cap = SPLIT_FIRST_CAP,
	};
	split->buf = malloc(split->cap);
	return split->buf ? 0 : -ENOMEM;
}

void split_deinit(struct split *split)
{
	free(split->buf);
	split->buf = NULL;
}

void split_reset(struct split *split)
{
	split->eof = split->given = false;
	split->start = split->scan = split->end = 0;
	split->dropped = 0;
}

char *split_room(struct split *split, size_t *ret_len)
{
	char *buf;

	if (split->start > 0) {
		memmove(split->buf, split->buf + split->start, split->end - split->start);
		split->end -= split->start;
		split->scan -= split->start;
		split->start = 0;
	}
	/* Half full with one record: the rest of it is likely to be as long. */
	if (split->end > split->cap / 2) {
		buf = realloc(split->buf, split->cap * 2);
		if (!buf && split->end == split->cap)
			return NULL;
		if (buf) {
			split->buf = buf;
			split->cap *= 2;
		}
	}
	*ret_len = split->cap - split->end;
	return split->buf + split->end;
}

void split_filled(struct split *split, size_t n)
{
	split->end += n;
	if (n == 0)
		split->eof = true;
}

/* Gives what lies from start to `to`; the next record begins at `next`. */
static int give(struct split *split, size_t to, size_t next, struct split_part *ret_part)
{
	uint64_t full_len = split->dropped + (to - split->start);

	*ret_part = (struct split_part){
		.data = split->buf + split->start,
		.len = to - split->start,
		.full_len = full_len,
		.too_large = full_len > split->max_len,
	};
	split->start = split->scan = next;
	split->dropped = 0;
	return 1;
}

/* Throws away what can no longer be part of a record that fits. */
static void drop_excess(struct split *split)
{
	if (split->dropped == 0 && split->scan - split->start <= split->max_len)
		return;
	split->dropped += split->scan - split->start;
	split->start = split->scan;
}

static int next_delimited(struct split *split, struct split_part *ret_part)
{
	size_t keep = split->delim_len - 1;
	char *found;

	found = split->delim_len == 1 ? memchr(split->buf + split->scan, split->delim[0],
					       split->end - split->scan)
				      : memmem(split->buf + split->scan, split->end - split->scan,
					       split->delim, split->delim_len);
	if (found)
		return give(split, (size_t)(found - split->buf),
			    (size_t)(found - split->buf) + split->delim_len, ret_part);
	if (split->eof) {
		if (split->end == split->start && split->dropped == 0)
			return 0;
		return give(split, split->end, split->end, ret_part);
	}
	/* A delimiter may have begun in the last bytes. */
	if (split->end - split->scan > keep)
		split->scan = split->end - keep;
	drop_excess(split);
	return 0;
}

static int next_paragraph(struct split *split, struct split_part *ret_part)
{
	int rc;

	if (split->dropped == 0) {
		while (split->start < split->end && split->buf[split->start] == '\n')
			split->start++;
		if (split->scan < split->start)
			split->scan = split->start;
	}
	rc = next_delimited(split, ret_part);
	/* Only the last one can end in a newline: the end of its last line. */
	if (rc > 0 && ret_part->len > 0 && ret_part->data[ret_part->len - 1] == '\n') {
		ret_part->len--;
		ret_part->full_len--;
		ret_part->too_large = ret_part->full_len > split->max_len;
	}
	return rc;
}

static int next_whole(struct split *split, struct split_part *ret_part)
{
	if (split->eof) {
		if (split->given)
			return 0;
		split->given = true;
		return give(split, split->end, split->end, ret_part);
	}
	split->scan = split->end;
	drop_excess(split);
	return 0;
}

int split_next(struct split *split, struct split_part *ret_part)
{
	switch (split->mode) {
	case SPLIT_PARAGRAPHS:
		return next_paragraph(split, ret_part);
	case SPLIT_WHOLE:
		return next_whole(split, ret_part);
	default:
		return next_delimited(split, ret_part);
	}
}
