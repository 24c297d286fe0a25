/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linked into the programs that are built with test points (tests/leatd): the process kills itself
 * with -9 at a point for which there is a file of that name in $LEAT_TESTPOINT_DIR, and stops there
 * if the file's name ends in ".stop". The file is removed by that, so each one means one death.
 * Of the file "row" each process takes the first line when it starts: the point at which it dies.
 */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/testpoint.h"

static const char *dir;
static char target[64]; /* where this process dies in any case */

static void die_where_told(const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (strcmp(name, target) == 0 || unlink(path) == 0)
		kill(getpid(), SIGKILL);
	snprintf(path, sizeof(path), "%s/%s.stop", dir, name);
	if (unlink(path) == 0)
		kill(getpid(), SIGSTOP);
}

static void take_from_row(void)
{
	char path[PATH_MAX], text[256] = "", *end;
	int fd;

	snprintf(path, sizeof(path), "%s/row", dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	if (read(fd, text, sizeof(text) - 1) > 0 && (end = strchr(text, '\n'))) {
		*end++ = '\0';
		snprintf(target, sizeof(target), "%.63s", text);
		if (pwrite(fd, end, strlen(end), 0) < 0 || ftruncate(fd, (off_t)strlen(end)) < 0)
			abort();
	}
	close(fd);
}

static __attribute__((constructor)) void testpoint_dir(void)
{
	dir = getenv("LEAT_TESTPOINT_DIR");
	if (!dir)
		return;
	take_from_row();
	testpoint_hook = die_where_told;
}
