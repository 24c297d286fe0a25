/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of persist share: a temporary directory, records made from a number, a store
 * driven to an end synchronously, and its log read back and compared.
 */
#ifndef TESTS_PERSIST_LOG_H
#define TESTS_PERSIST_LOG_H

#include <check.h>

#include "persist/store.h"
#include "shm/base.h"
#include "shm/record.h"

struct reader;

/* The stream of all tests here. */
extern const uint8_t persist_log_uuid[16];
#define PERSIST_LOG_SHARD 3
#define PERSIST_LOG_FIRST (UINT64_C(0x100000000) - MIB)

/* Memory that stands for the ring: records one after the other from `base` on. */
struct persist_log {
	char *bytes;
	uint64_t base;
	uint64_t len;
	uint64_t cap;
	uint32_t seed;
	uint32_t n_records; /* their publishers take turns */
	bool checksum;
};

/* A new empty directory; removed with all in it by persist_log_remove_dir(). */
void persist_log_make_dir(char ret_path[64]);
void persist_log_remove_dir(const char *path);
/* A copy of the directory's files as they are now: what a crash of the process leaves. */
void persist_log_copy_dir(const char *from, const char *to);
/* Path of the segment at `base`. */
void persist_log_segment_path(const char *dir, uint64_t base, char ret_path[128]);
/* Overwrites bytes of a file; a NULL buf flips one bit of each. */
void persist_log_poke(const char *path, uint64_t off, const void *buf, size_t len);

void persist_log_init(struct persist_log *log, uint64_t base, bool checksum);
void persist_log_deinit(struct persist_log *log);
/* Appends one record of `len` bytes value; returns its position. */
uint64_t persist_log_add(struct persist_log *log, enum record_kind kind, uint32_t value_len,
			 uint64_t timestamp_ns);
/* Appends a batch of n records; returns the position of its header. */
uint64_t persist_log_add_batch(struct persist_log *log, unsigned int n, uint32_t value_len);
/* n records of changing length, timestamps from `ns` on, one more each. */
void persist_log_fill(struct persist_log *log, unsigned int n, uint64_t ns);
uint64_t persist_log_end(const struct persist_log *log);

struct persist_log_store {
	struct io *io;
	struct store *store;
	struct store_recovered recovered;
	unsigned int n_changed;
};

/* Opens; r is what store_open() has to return. */
void persist_log_options(struct store_options *options, const char *path, bool checksum);
void persist_log_open(struct persist_log_store *s, const struct store_options *options,
		      unsigned int io_flags);
void persist_log_close(struct persist_log_store *s);
/* Writes the log from `pos` to its end, record by record or in runs of `run` bytes, rolling. */
void persist_log_write(struct persist_log_store *s, const struct persist_log *log, uint64_t pos,
		       uint64_t run);
/* Waits until everything written is durable. */
void persist_log_sync(struct persist_log_store *s);
/* Reads [from, to) back through store_open_segment() and compares with the log. */
void persist_log_compare(struct persist_log_store *s, const struct persist_log *log, uint64_t from,
			 uint64_t to);

#endif
