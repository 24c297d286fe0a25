/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishers and subscribers, each in a process of its own, that go on until they are told to stop
 * and check everything they get: for tests of what happens to them meanwhile.
 */
#ifndef TESTS_PARTY_H
#define TESTS_PARTY_H

#include "shm/atomic.h"
#include "tests/harness.h"

enum {
	PARTY_PUBLISHERS = 3,
	PARTY_SUBSCRIBERS = 2,
	PARTY_SHARDS = 4,
	PARTY_LEAD = 20000, /* how many records the fastest publisher may be ahead of the slowest */
};

/* A record's bytes follow from who published it and its number: no two of them are alike. */
struct party_content {
	uint64_t publisher;
	uint64_t number;
	uint64_t rest[128];
};

/* Fills in the rest; how many bytes are to be published. */
size_t party_fill(struct party_content *content);
/* Is it what party_fill() made of its publisher and number, to the last byte? */
bool party_is_whole(const void *value, size_t len);

/* In memory that all processes share: harness_shared(). */
struct party {
	struct harness_bus bus;    /* started by the test */
	uint32_t pause_us;         /* between two records of a publisher; 0 = none */
	uint64_t claim_timeout_ns; /* 0 = the default */
	_Atomic uint64_t published[PARTY_PUBLISHERS]; /* acknowledged as `ring` or better */
	_Atomic uint64_t received[PARTY_SUBSCRIBERS];
	_Atomic int stop;
	_Atomic int n_done; /* publishers that ended; then `published` is final */
	pid_t publishers[PARTY_PUBLISHERS];
	pid_t subscribers[PARTY_SUBSCRIBERS];
};

/* Makes the stream "party" with rings of ring_len bytes and starts everybody. */
void party_start(struct party *party, uint64_t ring_len);
/* Wants everybody to publish, or receive, n more records than the slowest has now. */
void party_wait(struct party *party, uint64_t n, const char *when);
/*
 * Ends the publishers and waits for the subscribers, which have then checked that each record came
 * once and in order and that there was no gap; then sends one more subscriber through the log.
 */
void party_end(struct party *party);

#endif
