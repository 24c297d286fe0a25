/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What publishers were told, put down outside of leat: in memory or a file that all processes
 * of a test share and that outlives each of them. Afterwards whoever has read the log says whether
 * it is all there: every acknowledged record present, in order, once and intact; what was not
 * acknowledged there or not, but never in part; a batch whole or not at all; what is missing in a
 * gap that is allowed for its level.
 *
 * A record is recognised by its event time, so that key and value may be anything, also empty; or,
 * every other one that is long enough, by the beginning of its value.
 * Each writer is one publisher at a time; a later one may go on under the same number.
 */
#ifndef TESTS_ACCOUNT_H
#define TESTS_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clientlib/leat.h"

enum {
	ACCOUNT_WRITERS_MAX = 64,
	ACCOUNT_SHARDS_MAX = 16,
	ACCOUNT_BATCH_MAX = 64,
	ACCOUNT_LEVELS = 3, /* of enum leat_ack */
};

struct account;

/* Room for n records of each writer; path NULL: memory that children share. Ends the case when it
 * cannot be had. A file may be mapped again later, or by somebody else. */
struct account *account_new(const char *path, unsigned n_writers, uint64_t n);
struct account *account_free(struct account *account);
/* All forgotten, nobody uses it now. */
void account_clear(struct account *account);
/* How many records a writer has tried; there is no room beyond `n`. */
uint64_t account_n(const struct account *account, unsigned writer);
uint64_t account_room(const struct account *account, unsigned writer);
/* Of all writers: tried, and acknowledged. */
void account_count(const struct account *account, uint64_t *ret_tried, uint64_t *ret_told);

/* ---- the publisher's side ---- */

/* Bytes that depend on the seed alone. */
void account_fill(void *buf, size_t len, uint64_t seed);

/* Before n records are published together (1, or a batch): notes key and value of each, and gives
 * them their names, for which values are changed. Returns the number of the first. */
uint64_t account_try(struct account *account, unsigned writer, struct leat_record *records,
		     size_t n);
/* Afterwards, for each: it was acknowledged at that level, there. */
void account_told(struct account *account, unsigned writer, uint64_t number,
		  const struct leat_result *result, enum leat_ack level);
/* They were refused: nobody may ever see one. Without a word from either: nobody knows. */
void account_refused(struct account *account, unsigned writer, uint64_t number, size_t n);
/* All that this writer was told, from that number on, has reached that level. */
void account_flushed(struct account *account, unsigned writer, uint64_t from, enum leat_ack level);

/* ---- the reader's side ---- */

/* Which gaps may hide an acknowledged record, by its level: a mask of 1 << enum leat_gap. */
struct account_terms {
	uint32_t gaps[ACCOUNT_LEVELS];
	bool from_first; /* what lies before the first thing that came is none of the reader's */
};

struct account_reader;

/* In shared memory, so that a later process can go on with it. */
struct account_reader *account_reader_new(const struct account *account);
struct account_reader *account_reader_free(struct account_reader *reader);
void account_reader_clear(struct account_reader *reader);
/* Takes the next message. False: it should not be; account_reader_complaint() says why. */
bool account_reader_take(struct account_reader *reader, const struct leat_message *message);
/* Whose a record is; UINT64_MAX: it is a gap. */
uint64_t account_writer_of(const struct leat_message *message);
/* A subscriber goes back to a position that it has been at before. False: it is not behind. */
bool account_reader_rewind(struct account_reader *reader, uint32_t shard, uint64_t pos);
/* One after the last message of a shard; 0 = none came. */
uint64_t account_reader_pos(const struct account_reader *reader, uint32_t shard);
uint64_t account_reader_n(const struct account_reader *reader);
/* Nothing more will come and nobody publishes: is all there? */
bool account_reader_check(struct account_reader *reader, const struct account_terms *terms);
const char *account_reader_complaint(const struct account_reader *reader);

#endif
