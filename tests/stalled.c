/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/stalled.h"

#include <stdio.h>

/* $1 is the bus' directory. */
static const char disk[] = "df \"$1/data\"; find \"$1/data\" -type f -printf '%P %s %b\\n' | sort;"
			   "tail -n 60 \"$1/log\"";

/* $1 is a process. */
static const char threads[] =
	"echo \"-- $1: $(tr '\\0' ' ' <\"/proc/$1/cmdline\")\"; cd \"/proc/$1\" || exit;"
	"grep -E '^(State|SigPnd|ShdPnd)' status; ls -l fd;"
	"for t in task/*; do"
	"  echo \"$t $(cat \"$t/comm\"): $(cat \"$t/wchan\") $(cat \"$t/syscall\")\";"
	"  cat \"$t/stack\"; done;"
	"if command -v gdb >/dev/null; then"
	"  timeout 50 gdb -p \"$1\" -batch -ex 'thread apply all bt full'; fi";

static const char core[] = "if [ -n \"$LEAT_CORES\" ] && command -v gcore >/dev/null; then"
			   "  timeout 50 gcore -o \"$LEAT_CORES/leat-stalled\" \"$1\"; fi";

static void show(const struct harness_bus *bus, const char *script, const char *argument)
{
	struct harness_output output;

	harness_run(bus, NULL, &output,
		    (const char *[]){ "sh", "-c", script, "stalled", argument, NULL });
	printf("%s%s\n", output.out, output.err);
	fflush(stdout);
	harness_output_deinit(&output);
}

static void show_figures(const struct harness_bus *bus)
{
	struct harness_output output;

	harness_run(bus, NULL, &output, (const char *[]){ "leat", "stat", "--json", NULL });
	printf("%s%s\n", output.out, output.err);
	fflush(stdout);
	harness_output_deinit(&output);
}

static void show_process(const struct harness_bus *bus, const char *script, pid_t pid)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", (int)pid);
	show(bus, script, number);
}

void stalled_show(const struct harness_bus *bus, const pid_t *pids, size_t n)
{
	pid_t daemon;

	show_figures(bus);
	show(bus, disk, bus->dir);
	daemon = harness_daemon_pid(bus);
	show_process(bus, threads, daemon);
	for (size_t i = 0; i < n; i++)
		show_process(bus, threads, pids[i]);
	show_process(bus, core, daemon);
	/* What moves meanwhile. */
	show_figures(bus);
}
