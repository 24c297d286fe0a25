/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long the machine itself stood still or had no time: a process on each processor of this one
 * notes when it did not get to run, or a write of its own to the disk, in time. A bound on how long
 * something takes is honest when that is taken off.
 */
#ifndef TESTS_HEARTBEAT_H
#define TESTS_HEARTBEAT_H

#include <stdint.h>

/* For the rest of the case; `dir` lies on the disk that is waited for. Ends with the case. */
void heartbeat_start(const char *dir);
/* Of all processors together, as far as it is known. */
uint64_t heartbeat_lost_ns(void);
/* Waits until all up to now is known: each has had its turn. */
void heartbeat_settle(void);

#endif
