/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Splits a stream of bytes into records. The caller reads into split_room(), says how much with
 * split_filled(), and takes records out with split_next(); they lie in the buffer, uncopied, until
 * the next split_room().
 *
 * A record longer than max_len is never held as a whole: its bytes are dropped as they come, and
 * it is given as too_large with its length only.
 */
#ifndef TOOLS_SPLIT_H
#define TOOLS_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum split_mode {
	SPLIT_DELIMITER,  /* a delimiter ends a record; the last one may lack it */
	SPLIT_PARAGRAPHS, /* one or more empty lines separate records */
	SPLIT_WHOLE,      /* all there is, be it nothing, is one record */
};

struct split {
	enum split_mode mode;
	bool eof;
	bool given; /* SPLIT_WHOLE: the one record */
	const char *delim;
	size_t delim_len;
	size_t max_len;
	char *buf;
	size_t cap;
	size_t start;     /* where the record being looked for begins */
	size_t scan;      /* its end is not before here */
	size_t end;       /* of what was read */
	uint64_t dropped; /* bytes of that record that were thrown away */
};

struct split_part {
	const char *data;
	size_t len;
	uint64_t full_len; /* len, or of a record too large all of its length */
	bool too_large;
};

/* delim must live as long as the split and is ignored except for SPLIT_DELIMITER. */
int split_init(struct split *split, enum split_mode mode, const char *delim, size_t delim_len,
	       size_t max_len);
void split_deinit(struct split *split);
/* Begins another input; what was left of the one before is forgotten. */
void split_reset(struct split *split);
/* Where to read to; NULL when there is no memory. Parts given before are no longer valid. */
char *split_room(struct split *split, size_t *ret_len);
/* n bytes were read; 0 is the end of the input. */
void split_filled(struct split *split, size_t n);
/* Returns 1 with a record, 0 when more must be read or, at the end, when there is none. */
int split_next(struct split *split, struct split_part *ret_part);

#endif
