/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_machine.h"

#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <time.h>

#include "tools/tool.h"

#ifndef LEAT_COMMIT
#define LEAT_COMMIT ""
#endif
#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif
#ifndef ZFS_SUPER_MAGIC
#define ZFS_SUPER_MAGIC 0x2fc12fc1
#endif

static void name_file_system(const char *dir, char *name, size_t len)
{
	static const struct {
		unsigned long magic;
		const char *name;
	} known[] = {
		{ EXT4_SUPER_MAGIC, "ext4" },         { XFS_SUPER_MAGIC, "xfs" },
		{ BTRFS_SUPER_MAGIC, "btrfs" },       { TMPFS_MAGIC, "tmpfs" },
		{ OVERLAYFS_SUPER_MAGIC, "overlay" }, { ZFS_SUPER_MAGIC, "zfs" },
		{ NFS_SUPER_MAGIC, "nfs" },
	};
	struct statfs fs;
	size_t i;

	snprintf(name, len, "unknown");
	if (statfs(dir, &fs) < 0)
		return;
	snprintf(name, len, "type %lx", (unsigned long)fs.f_type);
	for (i = 0; i < ARRAY_LEN(known); i++) {
		if (known[i].magic == (unsigned long)fs.f_type)
			snprintf(name, len, "%s", known[i].name);
	}
}

/* Takes the model's name and whether a hypervisor is there from /proc/cpuinfo. */
static void read_cpuinfo(struct bench_machine *machine)
{
	FILE *file = fopen("/proc/cpuinfo", "re");
	char *line = NULL, *value;
	size_t cap = 0;

	snprintf(machine->cpu, sizeof(machine->cpu), "unknown processor");
	while (file && getline(&line, &cap, file) > 0) {
		value = strchr(line, ':');
		if (!value)
			continue;
		value[strcspn(value, "\n")] = '\0';
		if (strncmp(line, "model name", 10) == 0 && value[1])
			snprintf(machine->cpu, sizeof(machine->cpu), "%s", value + 2);
		if (strncmp(line, "flags", 5) == 0)
			machine->virtual_machine = strstr(value, " hypervisor") != NULL;
	}
	free(line);
	if (file)
		fclose(file);
}

void bench_machine_describe(const char *dir, struct bench_machine *ret_machine)
{
	time_t now = time(NULL);
	struct utsname name;
	struct tm utc;

	*ret_machine = (struct bench_machine){ .commit = LEAT_COMMIT };
	read_cpuinfo(ret_machine);
	if (uname(&name) == 0)
		snprintf(ret_machine->kernel, sizeof(ret_machine->kernel), "%s %s", name.sysname,
			 name.release);
	name_file_system(dir, ret_machine->file_system, sizeof(ret_machine->file_system));
	gmtime_r(&now, &utc);
	strftime(ret_machine->date, sizeof(ret_machine->date), "%Y-%m-%dT%H:%M:%SZ", &utc);
	if (getloadavg(&ret_machine->load, 1) != 1)
		ret_machine->load = 0;
}

/* The core that a processor belongs to, across packages; the processor itself when unknown. */
static long core_of(int cpu)
{
	static const char *const files[] = { "physical_package_id", "core_id" };
	long ids[2] = { 0, 0 };
	char path[96];
	FILE *file;
	int i, n;

	for (i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/topology/%s", cpu,
			 files[i]);
		file = fopen(path, "re");
		if (!file)
			return cpu;
		n = fscanf(file, "%ld", &ids[i]);
		fclose(file);
		if (n != 1)
			return cpu;
	}
	return ids[0] << 16 | ids[1];
}

/* From the last one down, because the first one usually serves the interrupts. */
void bench_machine_choose_cpus(struct bench_env *env)
{
	cpu_set_t set;
	int cpu, sibling = -1;

	env->cpus[0] = -1;
	env->cpus[1] = -1;
	env->n_cpus = 1;
	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return;
	env->n_cpus = CPU_COUNT(&set);
	for (cpu = CPU_SETSIZE - 1; cpu >= 0 && env->cpus[1] < 0; cpu--) {
		if (!CPU_ISSET(cpu, &set))
			continue;
		if (env->cpus[0] < 0)
			env->cpus[0] = cpu;
		else if (core_of(cpu) != core_of(env->cpus[0]))
			env->cpus[1] = cpu;
		else if (sibling < 0)
			sibling = cpu;
	}
	if (env->cpus[1] < 0)
		env->cpus[1] = sibling;
	/* With a single processor there is nothing to choose, and pinning only gets in the way. */
	if (env->cpus[1] < 0)
		env->cpus[0] = -1;
}
