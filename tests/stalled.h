/* SPDX-License-Identifier: Apache-2.0 */
/* What is to be known of a bus on which somebody stands still, said before it is taken down. */
#ifndef TESTS_STALLED_H
#define TESTS_STALLED_H

#include "tests/harness.h"

/*
 * To standard output: the figures, the disk, the end of the daemon's log, and for the daemon and
 * each of pids[n] what its threads wait for, with their stacks where there is a gdb. With
 * $LEAT_CORES a core of the daemon is left in that directory.
 */
void stalled_show(const struct harness_bus *bus, const pid_t *pids, size_t n);

#endif
