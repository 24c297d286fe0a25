/* SPDX-License-Identifier: Apache-2.0 */
/* Linked into the daemon that is built with test points; see tests/fault_file.h. */
#include "tests/fault_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "persist/file.h"

static struct fault_file *fault;

static bool is_meant(const struct file_event *event)
{
	char link[32], path[512];
	ssize_t n;

	if (fault->path[0] == '\0')
		return true;
	if (event->name && strstr(event->name, fault->path))
		return true;
	if (event->fd < 0)
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", event->fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0)
		return false;
	path[n] = '\0';
	return strstr(path, fault->path) != NULL;
}

static int fail_as_told(void *ctx, const struct file_event *event)
{
	uint32_t one_in, left;

	(void)ctx;
	if (!(load_relaxed(&fault->kinds) >> event->kind & 1) || !is_meant(event))
		return 0;
	one_in = load_relaxed(&fault->one_in);
	if (one_in > 1 && (uint32_t)random() % one_in != 0)
		return 0;
	left = load_relaxed(&fault->left);
	if (left == 0)
		return 0;
	if (left != UINT32_MAX)
		fetch_add_relaxed(&fault->left, UINT32_MAX);
	fetch_add_relaxed(&fault->n_hit, 1);
	return -(int)load_relaxed(&fault->error);
}

static const struct file_hooks hooks = { .before = fail_as_told };

static __attribute__((constructor)) void fault_file(void)
{
	const char *name = getenv("LEAT_FAULT_FILE");
	int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;

	if (fd < 0)
		return;
	fault = mmap(NULL, sizeof(*fault), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (fault != MAP_FAILED)
		file_set_hooks(&hooks);
}
