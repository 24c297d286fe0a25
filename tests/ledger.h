/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was published, kept outside of leat: publisher, sequence, place, hash of the bytes, and how
 * it was acknowledged. A log is read back as a subscriber reads it and held against the ledger: in
 * order, once, intact, and whatever is missing lies in a gap.
 */
#ifndef TESTS_LEDGER_H
#define TESTS_LEDGER_H

#include "tests/persist_log.h"

enum ledger_level {
	LEDGER_NONE, /* published, and nothing said of it */
	LEDGER_WRITTEN,
	LEDGER_DURABLE,
};

struct ledger_entry {
	uint64_t pos;
	uint64_t hash;      /* of all its bytes that mean something */
	uint64_t batch_end; /* of the batch that it is in; 0: of none */
	uint32_t span;
	uint32_t len; /* of what is hashed */
	uint32_t publisher;
	uint32_t sequence;
	enum record_kind kind;
	enum ledger_level level;
};

struct ledger {
	struct ledger_entry *entries; /* ascending, without holes: every unit of the log */
	size_t n;
	size_t n_allocated;
};

enum ledger_gap {
	LEDGER_GAP_DAMAGE = 1,
	LEDGER_GAP_DELETED, /* the file that held it is not there */
	LEDGER_GAP_JUMP,    /* never used, say the segments */
};

enum {
	LEDGER_GAPS_MAX = 256,
};

/* What a subscriber was given. */
struct ledger_view {
	bool *seen; /* of the entry of that number */
	size_t n;
	struct {
		enum ledger_gap reason;
		uint64_t from;
		uint64_t to;
	} gaps[LEDGER_GAPS_MAX];
	size_t n_gaps;
};

/* Adds every record of the log from `pos` on. */
void ledger_add(struct ledger *ledger, const struct persist_log *log, uint64_t pos);
void ledger_deinit(struct ledger *ledger);
/* All entries that end at or below pos are at least so well kept. */
void ledger_acknowledge(struct ledger *ledger, uint64_t pos, enum ledger_level level);
/* The entries from number `first` on. */
void ledger_acknowledge_from(struct ledger *ledger, size_t first, enum ledger_level level);
/* The entry at that very position, or NULL. */
struct ledger_entry *ledger_at(const struct ledger *ledger, uint64_t pos);

/*
 * Reads [from, to) with the store's and the reader's means in the way that clientlib does. Fails
 * when a record comes that is not in the ledger, or is not as it was, or twice, or out of order;
 * when something is neither given nor in a gap; when a batch comes in part.
 */
void ledger_read(const struct ledger *ledger, struct store *store, uint64_t from, uint64_t to,
		 struct ledger_view *ret_view);
void ledger_view_deinit(struct ledger_view *view);
/* The gap that holds pos; -1 when there is none. */
int ledger_gap_at(const struct ledger_view *view, uint64_t pos);

/* FNV-1a, of nothing of leat's. */
uint64_t ledger_hash(const void *bytes, size_t len);

#endif
