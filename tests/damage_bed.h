/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream whose files are damaged behind the daemon's back: data that was made once, and is put
 * back before each case; an account of it outside of leat; what a case did to the files, and what
 * a subscriber and the commands have to make of it.
 */
#ifndef TESTS_DAMAGE_BED_H
#define TESTS_DAMAGE_BED_H

#include "tests/account.h"
#include "tests/harness.h"

enum {
	DAMAGE_SHARDS = 2,
	DAMAGE_SEGMENTS_MAX = 24,
	DAMAGE_ENTRIES_MAX = 2000,
	DAMAGE_FRESH = 30, /* records published after the damage, each time */
};

#define DAMAGE_STREAM "damaged"
#define DAMAGE_OTHER "other"

/* A record that is durable. */
struct damage_entry {
	uint64_t pos;
	uint64_t timestamp_ns;
	uint64_t from; /* with its batch, if it has one: what must be whole for it to be given */
	uint64_t to;
	bool hurt;
	bool headless; /* of its batch the header is damaged: nothing says that it is one */
};

struct damage_bed {
	struct harness_bus bus; /* no daemon runs between two cases */
	struct account *account;
	struct account *fresh; /* of what is published after the damage */
	struct damage_entry entries[DAMAGE_SHARDS][DAMAGE_ENTRIES_MAX];
	size_t n_entries[DAMAGE_SHARDS];
	uint64_t bases[DAMAGE_SHARDS][DAMAGE_SEGMENTS_MAX];
	size_t n_segments[DAMAGE_SHARDS];
	uint64_t other_base;  /* of a closed segment of another stream */
	uint64_t old_base;    /* of a segment of shard 0 that is also there as it once was */
	uint64_t hidden_from; /* shard 0: what lies behind a file that should not be there */
	uint64_t hidden_to;
};

/* What one subscriber was given. */
struct damage_view {
	struct account_reader *old;
	struct account_reader *fresh;
	bool seen[DAMAGE_SHARDS][DAMAGE_ENTRIES_MAX];
	uint64_t n;
};

/* Makes the data, once for all cases. */
void damage_bed_make(struct damage_bed *bed, unsigned flags);
/* All files as they were made. No daemon may run. */
void damage_bed_put_back(struct damage_bed *bed);

/* Paths: of a shard's directory, and of its i-th segment; of the copy that stays whole. */
void damage_bed_dir(const struct damage_bed *bed, uint32_t shard, char ret_path[256]);
void damage_bed_path(const struct damage_bed *bed, uint32_t shard, size_t i, char ret_path[256]);
void damage_bed_good_path(const struct damage_bed *bed, uint32_t shard, size_t i,
			  char ret_path[256]);
void damage_bed_old_path(const struct damage_bed *bed, char ret_path[256]);
void damage_bed_other_path(const struct damage_bed *bed, char ret_path[256]);

/* Looks at the files: which entries are damaged now? */
void damage_bed_look(struct damage_bed *bed);
/* One record to each shard, DAMAGE_FRESH times, durable. */
void damage_bed_publish(struct damage_bed *bed);

void damage_view_init(struct damage_view *view, const struct damage_bed *bed);
void damage_view_deinit(struct damage_view *view);
/* Takes at most `max` messages; ends at the stop, or when all fresh records came. */
void damage_view_read(struct damage_view *view, struct damage_bed *bed,
		      struct leat_subscriber *subscriber, uint64_t max);
/* Wants all that is not damaged to have come, and the rest to be a gap that says so. */
void damage_view_check(struct damage_view *view, const struct damage_bed *bed, const char *who);
/* A subscriber from the earliest to the end as it is now does all of that. */
void damage_bed_read_all(struct damage_bed *bed, const char *who);
/* Subscribes to shard 0 from times around each segment's edge. */
void damage_bed_seek(const struct damage_bed *bed);
/* verify, replay and dump come to an end, and agree. must_find: -1 = either. */
void damage_bed_run_commands(struct damage_bed *bed, int must_find);

#endif
