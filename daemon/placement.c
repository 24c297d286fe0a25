/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/placement.h"

#include <numa.h>
#include <stdio.h>

#include "daemon/log.h"
#include "daemon/process.h"
#include "shm/region.h"

static bool placement_matters;

/* Preferred, not forced: memory of another node is slower, none at all is worse. */
static void placement_place(void *base, uint64_t len, int node)
{
	if (node < 0)
		return;
	numa_set_bind_policy(0);
	numa_tonode_memory(base, len, node);
}

static unsigned int placement_find_nodes(int nodes[PLACEMENT_NODES_MAX])
{
	/* libnuma does not live without memory for its masks: it is not asked in vain. */
	struct bitmask *cpus = numa_max_node() > 0 ? numa_allocate_cpumask() : NULL;
	unsigned int n = 0;

	if (!cpus)
		return 0;
	for (int node = 0; node <= numa_max_node() && n < PLACEMENT_NODES_MAX; node++) {
		bool ours = false;

		if (!numa_bitmask_isbitset(numa_all_nodes_ptr, (unsigned int)node) ||
		    numa_node_to_cpus(node, cpus) < 0)
			continue;
		for (unsigned int cpu = 0; cpu < cpus->size; cpu++)
			ours |= numa_bitmask_isbitset(cpus, cpu) &&
				numa_bitmask_isbitset(numa_all_cpus_ptr, cpu);
		if (ours)
			nodes[n++] = node;
	}
	numa_free_cpumask(cpus);
	return n;
}

unsigned int placement_init(int nodes[PLACEMENT_NODES_MAX])
{
	unsigned int n = 0;

	if (numa_available() >= 0)
		n = placement_find_nodes(nodes);
	if (n <= 1) {
		log_info("One memory node: rings and threads need no placement");
		nodes[0] = -1;
		return 1;
	}
	log_info("%u memory nodes: each gets a drain thread, and rings go where their streams "
		 "are made",
		 n);
	placement_matters = true;
	region_place_hook = placement_place;
	return n;
}

void placement_bind(int node)
{
	if (node >= 0 && numa_run_on_node(node) < 0)
		log_warning("A drain thread cannot be bound to memory node %d: %s", node,
			    strerror(errno));
}

int placement_node_of(pid_t pid)
{
	int cpu;

	if (!placement_matters || process_read_stat(pid, NULL, &cpu) < 0)
		return -1;
	return numa_node_of_cpu(cpu);
}

uint64_t placement_available(void)
{
	return min_u64(region_available(), LAYOUT_POS_END);
}
