/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the bus remembers apart from records: streams, shards with their lineage, owners and modes,
 * checkpoints, when segments were closed, a few numbers. An SQLite database `catalogue.db` in the
 * data directory; every change is one transaction that is on the disk when the call returns.
 * One thread at a time.
 */
#ifndef DAEMON_CATALOGUE_H
#define DAEMON_CATALOGUE_H

#include "daemon/options.h"

#define CATALOGUE_NAME "catalogue.db"

struct catalogue;

enum {
	CATALOGUE_VERSION = 1
};

enum catalogue_state {
	CATALOGUE_MAKING = 0, /* what a daemon that died has left half-made */
	CATALOGUE_LIVE = 1,
	CATALOGUE_REMOVING = 2,
};

/* Numbers of the bus as a whole. */
#define CATALOGUE_CLOCK "clock_ns"      /* retention's clock, see retention.h */
#define CATALOGUE_PUBLISHER "publisher" /* ids below it may have been given away */

struct catalogue_stream {
	int64_t id;
	enum catalogue_state state;
	uint8_t uuid[16];
	char name[NAMES_STREAM_MAX + 1];
	struct options options; /* owner and group without their names */
};

/* Callbacks of the catalogue_each_*(): negative errno ends the walk. */
typedef int (*catalogue_stream_fn)(void *ctx, const struct catalogue_stream *stream);
typedef int (*catalogue_checkpoint_fn)(void *ctx, const char *name, uint32_t shard, uint64_t pos);
typedef int (*catalogue_closed_fn)(void *ctx, uint32_t shard, uint64_t base, uint64_t closed_ns);

/*
 * Opens or makes it. -EPROTONOSUPPORT made by a newer version, -EBADMSG no catalogue or a damaged
 * one, -EBUSY, -EIO and others, with a sentence.
 */
int catalogue_open(const char *directory, struct catalogue **ret_catalogue, char *detail,
		   size_t detail_len);
struct catalogue *catalogue_close(struct catalogue *catalogue);

int catalogue_each_stream(struct catalogue *catalogue, catalogue_stream_fn fn, void *ctx);
/* With its shards, each with an equal part of the hash range. -EEXIST. */
int catalogue_add_stream(struct catalogue *catalogue, const struct catalogue_stream *stream,
			 int64_t *ret_id);
int catalogue_set_state(struct catalogue *catalogue, int64_t id, enum catalogue_state state);
int catalogue_set_options(struct catalogue *catalogue, int64_t id, const struct options *options);
/* What is left of a stream that is half made or half removed; -ENOENT. */
int catalogue_find_leftover(struct catalogue *catalogue, const char *name, int64_t *ret_id,
			    enum catalogue_state *ret_state);
/* With everything that belongs to it. */
int catalogue_remove_stream(struct catalogue *catalogue, int64_t id);

int catalogue_each_checkpoint(struct catalogue *catalogue, int64_t id, catalogue_checkpoint_fn fn,
			      void *ctx);
/* Replaces the positions given; pos[i] == UINT64_MAX leaves shard i as it is. */
int catalogue_set_checkpoint(struct catalogue *catalogue, int64_t id, const char *name,
			     const uint64_t *pos, uint32_t n_shards);
int catalogue_remove_checkpoint(struct catalogue *catalogue, int64_t id, const char *name);

/* Segments that were seen closed, and when by the retention's clock. */
int catalogue_each_closed(struct catalogue *catalogue, int64_t id, catalogue_closed_fn fn,
			  void *ctx);
int catalogue_add_closed(struct catalogue *catalogue, int64_t id, uint32_t shard, uint64_t base,
			 uint64_t closed_ns);
int catalogue_remove_closed(struct catalogue *catalogue, int64_t id, uint32_t shard, uint64_t base);

int catalogue_get_number(struct catalogue *catalogue, const char *key, uint64_t *ret_number);
int catalogue_set_number(struct catalogue *catalogue, const char *key, uint64_t number);

/* Several of the above in one transaction. */
int catalogue_begin(struct catalogue *catalogue);
/* Commits when r is 0, otherwise everything since catalogue_begin() did not happen; returns r. */
int catalogue_end(struct catalogue *catalogue, int r);

#endif
