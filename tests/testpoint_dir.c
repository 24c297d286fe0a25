/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linked into the programs that are built with test points (tests/leatd): the process kills itself
 * with -9 at a point for which there is a file of that name in $LEAT_TESTPOINT_DIR, and stops there
 * if the file's name ends in ".stop". The file is removed by that, so each one means one death.
 */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "shm/testpoint.h"

static const char *dir;

static void die_where_told(const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (unlink(path) == 0)
		kill(getpid(), SIGKILL);
	snprintf(path, sizeof(path), "%s/%s.stop", dir, name);
	if (unlink(path) == 0)
		kill(getpid(), SIGSTOP);
}

static __attribute__((constructor)) void testpoint_dir(void)
{
	dir = getenv("LEAT_TESTPOINT_DIR");
	if (dir)
		testpoint_hook = die_where_told;
}
