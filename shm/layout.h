/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that lies in shared memory, byte by byte. shm/FORMAT.md says the same in words and
 * `make check-format` compares the two. Each shard has four regions, each a memfd of its own so
 * that the mapping's permission is the access rule:
 *
 *   ring          the records, no header; publishers RW, subscribers R
 *   publish page  tail, doorbell, publisher slots; publishers RW, subscribers R
 *   govern page   what the daemon alone says; everybody else R
 *   wait page     the number of sleepers; everybody RW
 *
 * Whoever reads a field that another party writes loads it once, checks it, then uses it.
 */
#ifndef SHM_LAYOUT_H
#define SHM_LAYOUT_H

#include "shm/atomic.h"
#include "shm/base.h"

#define LAYOUT_MAGIC_PUBLISH UINT64_C(0x687362757074616c) /* "latpubsh" */
#define LAYOUT_MAGIC_GOVERN UINT64_C(0x7672766f6774616c)  /* "latgovrv" */
#define LAYOUT_MAGIC_WAIT UINT64_C(0x7469617774616c61)    /* "alatwait" */
#define LAYOUT_READY UINT64_C(0x79646165725f6f6b)         /* "ko_ready" */
#define LAYOUT_ORDER_MARK UINT32_C(0x01020304)

enum {
	LAYOUT_MAJOR = 1,
	LAYOUT_MINOR = 0,
	LAYOUT_LINE = 128,            /* two cache lines: the adjacent-line prefetcher */
	LAYOUT_PUBLISHER_SLOTS = 256, /* of one shard, at the same time */
	LAYOUT_PUBLISH_LEN = 36864,
	LAYOUT_GOVERN_LEN = 12288,
	LAYOUT_WAIT_LEN = 4096,
};

/* The first position of a new shard: truncation to 32 bits shows within the first MiB. */
#define LAYOUT_FIRST_POS (UINT64_C(0x100000000) - MIB)
/* Positions stay below 2^62, so that sums of a position and a length never wrap. */
#define LAYOUT_POS_END (UINT64_C(1) << 62)
#define LAYOUT_RING_MIN (64 * KIB)

/* Bit 0 of the tail word: no reservation succeeds any more in this ring. */
#define LAYOUT_TAIL_CLOSED UINT64_C(1)

/* First line of the publish, govern and wait pages. Written once by the daemon. */
struct layout_header {
	uint64_t magic;
	uint32_t order_mark;
	uint16_t major;
	uint16_t minor;
	uint64_t len;      /* of this region in bytes */
	uint32_t incompat; /* an unknown bit: refuse */
	uint32_t compat;   /* an unknown bit: ignore */
	uint8_t stream_uuid[16];
	uint32_t shard;
	uint32_t generation; /* of the ring: 1 for a shard's first, then one more each successor */
	uint64_t reserved[8];
	_Atomic uint64_t ready; /* LAYOUT_READY, stored last */
};

/* Who claims what: one line for each publisher slot. Written by its publisher. */
struct layout_slot {
	_Atomic uint64_t claim;   /* odd from before the tail's CAS until the header is stored */
	_Atomic uint64_t records; /* published through this slot, for the monitor */
	_Atomic uint64_t bytes;
	uint64_t reserved[13];
};

struct layout_publish {
	struct layout_header header;
	/* line 1: written by publishers (CAS) and, to close or repair, by the daemon */
	_Atomic uint64_t tail; /* next position to reserve | LAYOUT_TAIL_CLOSED */
	uint64_t reserved1[15];
	/* line 2: written by whoever wakes sleepers; subscribers futex-wait on it, read-only */
	_Atomic uint32_t doorbell;
	uint32_t reserved2[31];
	/* line 3: exchanged to 1 by who kicks a sleeping drain; the drain zeroes it */
	_Atomic uint32_t drain_kicked;
	uint32_t reserved3[31];
	struct layout_slot slots[LAYOUT_PUBLISHER_SLOTS];
	uint8_t reserved4[LAYOUT_PUBLISH_LEN - 512 - 128 * LAYOUT_PUBLISHER_SLOTS];
};

/* What publishers look at once after each commit; 0 in the common case. */
enum {
	GOVERN_DRAIN_ASLEEP = 1, /* kick the drain */
	GOVERN_CLOSED = 2,       /* this ring has a successor: ask what became of the record */
};

enum govern_state {
	GOVERN_OPEN = 1,
	GOVERN_SUCCEEDED = 2, /* closed at close_pos; ask the daemon for the next generation */
	GOVERN_REMOVED = 3,   /* the stream is gone */
	GOVERN_FAILED = 4,    /* stopped with an error (disk); nothing is lost, publishing fails */
};

enum {
	GOVERN_F_CHECKSUM = 1,  /* records carry their CRC */
	GOVERN_F_MEMORY = 2,    /* memory-only stream: no segments, written and durable stay */
	GOVERN_F_FULL_FAIL = 4, /* a full ring fails at once instead of waiting, by default */
	GOVERN_F_HASH_MD5 = 8,
};

enum {
	CLOCK_MODE_SYSCALL = 0, /* clock_gettime(CLOCK_REALTIME) */
	CLOCK_MODE_TSC = 1,     /* ns = ns_base + ((tsc - tsc_base) * mult >> 32) */
};

/* The daemon's counters of a shard, for the monitor. */
struct layout_counters {
	_Atomic uint64_t records; /* drained: committed records seen by the drain */
	_Atomic uint64_t bytes;   /* of log drained */
	_Atomic uint64_t tombstones;
	_Atomic uint64_t tombstone_bytes;
	_Atomic uint64_t damaged; /* ranges */
	_Atomic uint64_t damaged_bytes;
	_Atomic uint64_t syncs; /* fdatasync calls that succeeded */
	_Atomic uint64_t disk_errors;
	_Atomic uint64_t earliest;   /* position of the earliest record kept (disk, else ring) */
	_Atomic uint64_t kept_bytes; /* on disk */
	_Atomic uint64_t gaps;
	_Atomic uint64_t
		full_waits; /* times the limit could not be raised because the disk was slow */
	_Atomic uint64_t segments;
	_Atomic uint64_t latest_ns;  /* timestamp of the last record drained */
	_Atomic uint64_t successors; /* rings closed in favour of a successor */
	uint64_t reserved;
};

enum layout_owner_state {
	OWNER_FREE = 0,
	OWNER_TAKEN = 1,
	OWNER_DEAD = 2, /* its process is gone; free again once the drain has passed dead_tail */
};

/* To whom the daemon gave a publisher slot; survives the daemon's restart. */
struct layout_owner {
	_Atomic uint32_t state; /* enum layout_owner_state */
	uint32_t pid;
	uint32_t uid;
	uint32_t publisher;  /* id, in the records */
	uint64_t start_time; /* of the process, field 22 of /proc/PID/stat: pids are reused */
	uint64_t dead_tail;
};

struct layout_govern {
	struct layout_header header;
	/* line 1 */
	_Atomic uint64_t limit;      /* memory at positions below it may be reserved */
	_Atomic uint32_t limit_bell; /* futex: bumped with limit and state */
	uint32_t reserved1[29];
	/* line 2 */
	_Atomic uint64_t reclaimed; /* ring memory of positions below it may be overwritten */
	uint64_t reserved2[15];
	/* line 3 */
	_Atomic uint32_t attention; /* GOVERN_DRAIN_ASLEEP, GOVERN_CLOSED */
	uint32_t reserved3[31];
	/* line 4 */
	_Atomic uint64_t written;      /* records below it are in the page cache */
	_Atomic uint64_t durable;      /* records below it are on stable storage */
	_Atomic uint32_t durable_bell; /* futex: bumped with durable and state */
	_Atomic uint32_t written_bell; /* futex: bumped with written and state */
	uint32_t reserved4[26];
	/* line 5 */
	_Atomic uint64_t close_pos; /* succeeded: this ring is good below it, the next from it on */
	_Atomic uint32_t state;     /* enum govern_state */
	_Atomic int32_t error;      /* failed: the negative errno */
	uint64_t reserved5[14];
	/* line 6: conversion of the TSC, a sequence lock */
	_Atomic uint32_t clock_seq; /* odd: a conversion stands here; even: none, or not yet */
	_Atomic uint32_t clock_mode;
	_Atomic uint64_t clock_tsc_base;
	_Atomic uint64_t clock_ns_base;
	_Atomic uint64_t clock_mult;
	uint64_t reserved6[12];
	/* line 7: written once before the ring is announced */
	uint64_t ring_len;  /* power of two, bytes */
	uint64_t first_pos; /* where this generation of the ring begins */
	uint32_t max_len;   /* of one record, bytes */
	uint32_t flags;     /* GOVERN_F_* */
	uint32_t crc_seed;
	uint32_t n_slots;
	uint32_t origin; /* generation of the first ring that this one goes on from: what was in
			    lower ones may be lost */
	uint32_t reserved7[23];
	/* line 8 */
	struct layout_counters counters;
	uint8_t reserved8[4096 - 128 * 9];
	/* bytes 4096 on */
	struct layout_owner owners[LAYOUT_PUBLISHER_SLOTS];
};

struct layout_wait {
	struct layout_header header;
	_Atomic uint32_t n_sleepers; /* who sleeps adds 1; who wakes exchanges 0 */
	uint8_t reserved[LAYOUT_WAIT_LEN - 132];
};

/* Every offset and size, so that no compiler and no edit moves one unseen. */
_Static_assert(sizeof(struct layout_header) == 128, "layout_header size 128");
_Static_assert(offsetof(struct layout_header, magic) == 0, "layout_header.magic 0 8");
_Static_assert(offsetof(struct layout_header, order_mark) == 8, "layout_header.order_mark 8 4");
_Static_assert(offsetof(struct layout_header, major) == 12, "layout_header.major 12 2");
_Static_assert(offsetof(struct layout_header, minor) == 14, "layout_header.minor 14 2");
_Static_assert(offsetof(struct layout_header, len) == 16, "layout_header.len 16 8");
_Static_assert(offsetof(struct layout_header, incompat) == 24, "layout_header.incompat 24 4");
_Static_assert(offsetof(struct layout_header, compat) == 28, "layout_header.compat 28 4");
_Static_assert(offsetof(struct layout_header, stream_uuid) == 32,
	       "layout_header.stream_uuid 32 16");
_Static_assert(offsetof(struct layout_header, shard) == 48, "layout_header.shard 48 4");
_Static_assert(offsetof(struct layout_header, generation) == 52, "layout_header.generation 52 4");
_Static_assert(offsetof(struct layout_header, reserved) == 56, "layout_header.reserved 56 64");
_Static_assert(offsetof(struct layout_header, ready) == 120, "layout_header.ready 120 8");
_Static_assert(sizeof(struct layout_slot) == 128, "layout_slot size 128");
_Static_assert(offsetof(struct layout_slot, claim) == 0, "layout_slot.claim 0 8");
_Static_assert(offsetof(struct layout_slot, records) == 8, "layout_slot.records 8 8");
_Static_assert(offsetof(struct layout_slot, bytes) == 16, "layout_slot.bytes 16 8");
_Static_assert(offsetof(struct layout_slot, reserved) == 24, "layout_slot.reserved 24 104");
_Static_assert(sizeof(struct layout_publish) == 36864, "layout_publish size 36864");
_Static_assert(offsetof(struct layout_publish, header) == 0, "layout_publish.header 0 128");
_Static_assert(offsetof(struct layout_publish, tail) == 128, "layout_publish.tail 128 8");
_Static_assert(offsetof(struct layout_publish, reserved1) == 136,
	       "layout_publish.reserved1 136 120");
_Static_assert(offsetof(struct layout_publish, doorbell) == 256, "layout_publish.doorbell 256 4");
_Static_assert(offsetof(struct layout_publish, reserved2) == 260,
	       "layout_publish.reserved2 260 124");
_Static_assert(offsetof(struct layout_publish, drain_kicked) == 384,
	       "layout_publish.drain_kicked 384 4");
_Static_assert(offsetof(struct layout_publish, reserved3) == 388,
	       "layout_publish.reserved3 388 124");
_Static_assert(offsetof(struct layout_publish, slots) == 512, "layout_publish.slots 512 32768");
_Static_assert(offsetof(struct layout_publish, reserved4) == 33280,
	       "layout_publish.reserved4 33280 3584");
_Static_assert(sizeof(struct layout_counters) == 128, "layout_counters size 128");
_Static_assert(offsetof(struct layout_counters, records) == 0, "layout_counters.records 0 8");
_Static_assert(offsetof(struct layout_counters, bytes) == 8, "layout_counters.bytes 8 8");
_Static_assert(offsetof(struct layout_counters, tombstones) == 16,
	       "layout_counters.tombstones 16 8");
_Static_assert(offsetof(struct layout_counters, tombstone_bytes) == 24,
	       "layout_counters.tombstone_bytes 24 8");
_Static_assert(offsetof(struct layout_counters, damaged) == 32, "layout_counters.damaged 32 8");
_Static_assert(offsetof(struct layout_counters, damaged_bytes) == 40,
	       "layout_counters.damaged_bytes 40 8");
_Static_assert(offsetof(struct layout_counters, syncs) == 48, "layout_counters.syncs 48 8");
_Static_assert(offsetof(struct layout_counters, disk_errors) == 56,
	       "layout_counters.disk_errors 56 8");
_Static_assert(offsetof(struct layout_counters, earliest) == 64, "layout_counters.earliest 64 8");
_Static_assert(offsetof(struct layout_counters, kept_bytes) == 72,
	       "layout_counters.kept_bytes 72 8");
_Static_assert(offsetof(struct layout_counters, gaps) == 80, "layout_counters.gaps 80 8");
_Static_assert(offsetof(struct layout_counters, full_waits) == 88,
	       "layout_counters.full_waits 88 8");
_Static_assert(offsetof(struct layout_counters, segments) == 96, "layout_counters.segments 96 8");
_Static_assert(offsetof(struct layout_counters, latest_ns) == 104,
	       "layout_counters.latest_ns 104 8");
_Static_assert(offsetof(struct layout_counters, successors) == 112,
	       "layout_counters.successors 112 8");
_Static_assert(offsetof(struct layout_counters, reserved) == 120, "layout_counters.reserved 120 8");
_Static_assert(sizeof(struct layout_owner) == 32, "layout_owner size 32");
_Static_assert(offsetof(struct layout_owner, state) == 0, "layout_owner.state 0 4");
_Static_assert(offsetof(struct layout_owner, pid) == 4, "layout_owner.pid 4 4");
_Static_assert(offsetof(struct layout_owner, uid) == 8, "layout_owner.uid 8 4");
_Static_assert(offsetof(struct layout_owner, publisher) == 12, "layout_owner.publisher 12 4");
_Static_assert(offsetof(struct layout_owner, start_time) == 16, "layout_owner.start_time 16 8");
_Static_assert(offsetof(struct layout_owner, dead_tail) == 24, "layout_owner.dead_tail 24 8");
_Static_assert(sizeof(struct layout_govern) == 12288, "layout_govern size 12288");
_Static_assert(offsetof(struct layout_govern, header) == 0, "layout_govern.header 0 128");
_Static_assert(offsetof(struct layout_govern, limit) == 128, "layout_govern.limit 128 8");
_Static_assert(offsetof(struct layout_govern, limit_bell) == 136, "layout_govern.limit_bell 136 4");
_Static_assert(offsetof(struct layout_govern, reserved1) == 140, "layout_govern.reserved1 140 116");
_Static_assert(offsetof(struct layout_govern, reclaimed) == 256, "layout_govern.reclaimed 256 8");
_Static_assert(offsetof(struct layout_govern, reserved2) == 264, "layout_govern.reserved2 264 120");
_Static_assert(offsetof(struct layout_govern, attention) == 384, "layout_govern.attention 384 4");
_Static_assert(offsetof(struct layout_govern, reserved3) == 388, "layout_govern.reserved3 388 124");
_Static_assert(offsetof(struct layout_govern, written) == 512, "layout_govern.written 512 8");
_Static_assert(offsetof(struct layout_govern, durable) == 520, "layout_govern.durable 520 8");
_Static_assert(offsetof(struct layout_govern, durable_bell) == 528,
	       "layout_govern.durable_bell 528 4");
_Static_assert(offsetof(struct layout_govern, written_bell) == 532,
	       "layout_govern.written_bell 532 4");
_Static_assert(offsetof(struct layout_govern, reserved4) == 536, "layout_govern.reserved4 536 104");
_Static_assert(offsetof(struct layout_govern, close_pos) == 640, "layout_govern.close_pos 640 8");
_Static_assert(offsetof(struct layout_govern, state) == 648, "layout_govern.state 648 4");
_Static_assert(offsetof(struct layout_govern, error) == 652, "layout_govern.error 652 4");
_Static_assert(offsetof(struct layout_govern, reserved5) == 656, "layout_govern.reserved5 656 112");
_Static_assert(offsetof(struct layout_govern, clock_seq) == 768, "layout_govern.clock_seq 768 4");
_Static_assert(offsetof(struct layout_govern, clock_mode) == 772, "layout_govern.clock_mode 772 4");
_Static_assert(offsetof(struct layout_govern, clock_tsc_base) == 776,
	       "layout_govern.clock_tsc_base 776 8");
_Static_assert(offsetof(struct layout_govern, clock_ns_base) == 784,
	       "layout_govern.clock_ns_base 784 8");
_Static_assert(offsetof(struct layout_govern, clock_mult) == 792, "layout_govern.clock_mult 792 8");
_Static_assert(offsetof(struct layout_govern, reserved6) == 800, "layout_govern.reserved6 800 96");
_Static_assert(offsetof(struct layout_govern, ring_len) == 896, "layout_govern.ring_len 896 8");
_Static_assert(offsetof(struct layout_govern, first_pos) == 904, "layout_govern.first_pos 904 8");
_Static_assert(offsetof(struct layout_govern, max_len) == 912, "layout_govern.max_len 912 4");
_Static_assert(offsetof(struct layout_govern, flags) == 916, "layout_govern.flags 916 4");
_Static_assert(offsetof(struct layout_govern, crc_seed) == 920, "layout_govern.crc_seed 920 4");
_Static_assert(offsetof(struct layout_govern, n_slots) == 924, "layout_govern.n_slots 924 4");
_Static_assert(offsetof(struct layout_govern, origin) == 928, "layout_govern.origin 928 4");
_Static_assert(offsetof(struct layout_govern, reserved7) == 932, "layout_govern.reserved7 932 92");
_Static_assert(offsetof(struct layout_govern, counters) == 1024, "layout_govern.counters 1024 128");
_Static_assert(offsetof(struct layout_govern, reserved8) == 1152,
	       "layout_govern.reserved8 1152 2944");
_Static_assert(offsetof(struct layout_govern, owners) == 4096, "layout_govern.owners 4096 8192");
_Static_assert(sizeof(struct layout_wait) == 4096, "layout_wait size 4096");
_Static_assert(offsetof(struct layout_wait, header) == 0, "layout_wait.header 0 128");
_Static_assert(offsetof(struct layout_wait, n_sleepers) == 128, "layout_wait.n_sleepers 128 4");
_Static_assert(offsetof(struct layout_wait, reserved) == 132, "layout_wait.reserved 132 3964");

#endif
