/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where memory and threads go on a machine of several NUMA nodes: a ring on the node where its
 * stream's creator runs, its drain thread on the same. With one node there is nothing to decide.
 */
#ifndef DAEMON_PLACEMENT_H
#define DAEMON_PLACEMENT_H

#include <sys/types.h>

#include "shm/base.h"

enum {
	PLACEMENT_NODES_MAX = 64
};

/*
 * Finds the nodes that have processors we may use; sets region_place_hook. Returns how many, with
 * their numbers in nodes; one node is -1, "any". Says what it found in the log.
 */
unsigned int placement_init(int nodes[PLACEMENT_NODES_MAX]);
/* The calling thread runs on the node's processors from now on. */
void placement_bind(int node);
/* The node on which a process ran last, -1 when it cannot be told or does not matter. */
int placement_node_of(pid_t pid);
/* Bytes of memory that new rings may take: the machine's, or the control group's if less. */
uint64_t placement_available(void);

#endif
