/* SPDX-License-Identifier: Apache-2.0 */
/* What is measured on: without it a figure means nothing. */
#ifndef TOOLS_BENCH_MACHINE_H
#define TOOLS_BENCH_MACHINE_H

#include "tools/bench.h"

struct bench_machine {
	char cpu[128];
	char kernel[160];
	char file_system[32];
	char date[32];
	char commit[48]; /* that leat was built from; empty when it was not built in a clone */
	double load;     /* of the last minute, when the bench began: others distort it */
	bool virtual_machine;
};

/* Describes the machine and the file system of `dir`. */
void bench_machine_describe(const char *dir, struct bench_machine *ret_machine);
/* Fills in env's cpus: two that do not share a core if possible, from the last one down. */
void bench_machine_choose_cpus(struct bench_env *env);

#endif
