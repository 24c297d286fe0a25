/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream that several processes publish to and that one subscriber of each isolation follows all
 * the time, with an account of it all: the stage for tests that kill and stop.
 */
#ifndef TESTS_CROWD_H
#define TESTS_CROWD_H

#include "shm/atomic.h"
#include "tests/account.h"
#include "tests/harness.h"
#include "tests/load.h"

enum {
	CROWD_READERS = 3,
	CROWD_STEADY = 0, /* the writer that publishes all the time, and at the end */
};

/* How late records came, seen by one who sleeps for each. */
struct crowd_delays {
	uint64_t bound_ns; /* 0 = 10 ms */
	_Atomic uint64_t n;
	_Atomic uint64_t n_over;
	_Atomic uint64_t longest_ns;
};

/* In memory that all processes share: harness_shared(). */
struct crowd {
	struct harness_bus bus; /* the test's */
	struct account *account;
	char stream[32];
	uint32_t n_shards;
	uint64_t ring_len;
	uint64_t claim_timeout_ns; /* 0 = the default */
	uint64_t segment_len;      /* 0 = the default */
	uint64_t retain_len;       /* 0 = all */
	bool faults;               /* the disk may refuse: publishers are told so and go on */
	uint64_t pause_us;         /* of the steady publisher */
	uint64_t seed;
	_Atomic int stop;                         /* for publishers that go on until then */
	_Atomic int over;                         /* for the steady one */
	_Atomic uint64_t end[ACCOUNT_SHARDS_MAX]; /* of the last records of all; 0 = not yet */
	_Atomic uint64_t n_read[CROWD_READERS];
	struct account_reader *readers[CROWD_READERS]; /* by isolation */
	struct account_reader *late;
	/* When the last probe began that came through to the disk. */
	_Atomic uint64_t probed_ns[ACCOUNT_SHARDS_MAX];
	struct crowd_delays delays; /* of what the steady one publishes, for isolation ring */
	pid_t reader_pids[CROWD_READERS];
	pid_t steady_pid;
};

/* One of the crowd's publishers. */
struct crowd_part {
	struct crowd *crowd;
	unsigned writer;
	uint64_t n_steps;  /* UINT64_MAX: until crowd->stop */
	uint64_t pause_us; /* between two */
	uint64_t seed;
	_Atomic int *begun; /* set before the first step; may be NULL */
	void (*hook)(const char *point);
};

/* Account and readers, for n records of each writer; once. */
void crowd_init(struct crowd *crowd, unsigned n_writers, uint64_t n);
/* Makes the stream; starts the subscribers and the steady publisher. */
void crowd_open(struct crowd *crowd);
/* harness_fork() function of a struct crowd_part. */
int crowd_publish(void *part);
/* The same, of one who asks all the time whether records of all shards become durable. */
int crowd_probe(void *part);
/* Waits until that is so for those that are published from now on; false after `seconds`. */
bool crowd_is_served(struct crowd *crowd, double seconds);
/* Reads the log from its earliest record up to now, in this process. */
void crowd_read_late(struct crowd *crowd);
/* Wants every subscriber to get n more records. */
void crowd_wait(struct crowd *crowd, uint64_t n, const char *when);
/* When all other publishers are gone: the steady one sends the last records of all and ends. */
void crowd_end(struct crowd *crowd);
/* Does so if that was not done, and waits until everybody has all; it must be there on these terms,
 * for who was there all the time and for who comes late. Deletes the stream. */
void crowd_close(struct crowd *crowd, const struct account_terms *terms);

#endif
