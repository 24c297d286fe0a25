/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/region.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "shm/record.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

enum {
	REGION_SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL,
	REGION_HUGE_LEN = 2 << 20,
};

void (*region_place_hook)(void *base, uint64_t len, int node);

static const char *const region_names[REGION_N] = { "leat-ring", "leat-publish", "leat-govern",
						    "leat-wait" };

uint32_t region_max_len(uint64_t ring_len)
{
	return (uint32_t)min_u64(ring_len / 4, RECORD_LEN_MAX);
}

static uint64_t region_len(enum region_kind kind, uint64_t ring_len)
{
	switch (kind) {
	case REGION_RING:
		return ring_len;
	case REGION_PUBLISH:
		return sizeof(struct layout_publish);
	case REGION_GOVERN:
		return sizeof(struct layout_govern);
	default:
		return sizeof(struct layout_wait);
	}
}

static bool region_writable(enum region_kind kind, enum region_access access)
{
	if (access == REGION_DAEMON || kind == REGION_WAIT)
		return true;
	return access == REGION_PUBLISHER && kind != REGION_GOVERN;
}

static bool region_wanted(enum region_kind kind, enum region_access access)
{
	return access != REGION_MONITOR || kind == REGION_PUBLISH || kind == REGION_GOVERN;
}

/* The first number after `key` in a small text file; 0 when there is none. */
static uint64_t region_read_number(const char *path, const char *key)
{
	char buf[4096];
	const char *at = buf;
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	buf[n] = '\0';
	if (key)
		at = strstr(buf, key);
	return at ? strtoull(at + (key ? strlen(key) : 0), NULL, 10) : 0;
}

/* Where the two versions of memory cgroups say what they allow. */
struct region_groups {
	const char *mount;
	const char *max;
	const char *current;
	const char *inactive; /* in memory.stat: what is given back when something else needs it */
	const char *active;
};

static const struct region_groups region_groups_v1 = {
	"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
	"total_inactive_file ",  "total_active_file ",
};
static const struct region_groups region_groups_v2 = {
	"/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file ", "\nactive_file ",
};

static uint64_t region_group_number(const struct region_groups *groups, const char *group,
				    const char *file, const char *key)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s%s/%s", groups->mount, group, file);
	return region_read_number(path, key);
}

/* What one memory cgroup leaves; a file that is not there limits nothing. */
static uint64_t region_group_available(const struct region_groups *groups, const char *group)
{
	uint64_t max = region_group_number(groups, group, groups->max, NULL), used, cached;

	if (max == 0)
		return UINT64_MAX;
	used = region_group_number(groups, group, groups->current, NULL);
	/* Without it a group that has read and written enough files would have no room for ever. */
	cached = region_group_number(groups, group, "memory.stat", groups->inactive) +
		 region_group_number(groups, group, "memory.stat", groups->active);
	used -= min_u64(used, cached);
	return max > used ? max - used : 0;
}

/* The least that a group and the ones above it leave. */
static uint64_t region_branch_available(const struct region_groups *groups, char *group)
{
	uint64_t available = UINT64_MAX;
	char *slash;

	do {
		available = min_u64(available, region_group_available(groups, group));
		slash = strrchr(group, '/');
		if (slash)
			*slash = '\0';
	} while (slash);
	return available;
}

static bool region_is_memory(const char *controllers)
{
	const char *at = strstr(controllers, "memory");

	return at && (at == controllers || at[-1] == ',') && (at[6] == ',' || at[6] == '\0');
}

/* Nobody may rely on populating to fail there: the kernel ends a process of the group instead. */
static uint64_t region_groups_available(void)
{
	char line[PATH_MAX / 2], controllers[256], group[PATH_MAX / 2];
	FILE *file = fopen("/proc/self/cgroup", "re");
	uint64_t available = UINT64_MAX;

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "0::%2047[^\n]", group) == 1)
			available = min_u64(available,
					    region_branch_available(&region_groups_v2, group));
		else if (sscanf(line, "%*u:%255[^:]:%2047[^\n]", controllers, group) == 2 &&
			 region_is_memory(controllers))
			available = min_u64(available,
					    region_branch_available(&region_groups_v1, group));
	}
	if (file)
		fclose(file);
	return available;
}

uint64_t region_available(void)
{
	uint64_t available = region_read_number("/proc/meminfo", "MemAvailable:") * 1024;

	/* What cannot be read limits nothing: populating the memory finds out. */
	if (available == 0)
		available = UINT64_MAX;
	return min_u64(available, region_groups_available());
}

/*
 * Pages of the kernel's pool (MFD_HUGETLB) are not for rings: who may write one can punch a hole
 * into it and take the pool's last pages, and whoever touches the hole then gets a SIGBUS.
 */
static int region_memfd(enum region_kind kind)
{
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd = memfd_create(region_names[kind], flags);

	return fd < 0 ? -errno : fd;
}

/* Every page is there, or an error says so now: nobody gets a SIGBUS later. */
static int region_populate(int fd, uint64_t len, int node)
{
	int r = 0;
	void *base = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (base == MAP_FAILED)
		return -errno;
	(void)madvise(base, len, MADV_HUGEPAGE);
	if (region_place_hook)
		region_place_hook(base, len, node);
	if (madvise(base, len, MADV_POPULATE_WRITE) < 0)
		r = errno == EINTR ? -EINTR : -ENOSPC;
	munmap(base, len);
	return r;
}

static int region_create_one(const struct region_options *options, enum region_kind kind,
			     int *ret_fd)
{
	uint64_t len = region_len(kind, options->ring_len);
	cleanup_with(close_fdp) int fd = region_memfd(kind);
	int r;

	if (fd < 0)
		return fd;
	/* A memfd is born 0777: anybody given a read-only fd could reopen it for writing. */
	if (fchmod(fd, 0600) < 0 || ftruncate(fd, (off_t)len) < 0)
		return -errno;
	do {
		r = region_populate(fd, len, options->node);
	} while (r == -EINTR);
	if (r < 0)
		return r;
	if (fcntl(fd, F_ADD_SEALS, REGION_SEALS) < 0)
		return -errno;
	*ret_fd = take_fd(fd);
	return 0;
}

static void region_header_init(struct layout_header *header, const struct region_options *options,
			       uint64_t magic, uint64_t len)
{
	header->magic = magic;
	header->order_mark = LAYOUT_ORDER_MARK;
	header->major = LAYOUT_MAJOR;
	header->minor = LAYOUT_MINOR;
	header->len = len;
	memcpy(header->stream_uuid, options->stream_uuid, sizeof(header->stream_uuid));
	header->shard = options->shard;
	header->generation = options->generation;
}

static void region_govern_init(struct layout_govern *govern, const struct region_options *options)
{
	uint64_t first = options->first_pos;

	govern->ring_len = options->ring_len;
	govern->first_pos = first;
	govern->max_len = options->max_len ? options->max_len : region_max_len(options->ring_len);
	govern->flags = options->flags;
	govern->crc_seed = record_crc_seed(options->stream_uuid, options->shard);
	govern->n_slots = LAYOUT_PUBLISHER_SLOTS;
	govern->origin = options->generation;
	store_relaxed(&govern->limit, first + options->ring_len);
	store_relaxed(&govern->reclaimed, first);
	store_relaxed(&govern->written, first);
	store_relaxed(&govern->durable, first);
	store_relaxed(&govern->close_pos, LAYOUT_POS_END);
	store_relaxed(&govern->state, GOVERN_OPEN);
}

/* Writes the three pages' headers and first values through a mapping of our own. */
static int region_init_pages(const struct region_options *options, const struct region_fds *fds)
{
	static const uint64_t magic[REGION_N] = { 0, LAYOUT_MAGIC_PUBLISH, LAYOUT_MAGIC_GOVERN,
						  LAYOUT_MAGIC_WAIT };

	for (int kind = REGION_PUBLISH; kind < REGION_N; kind++) {
		uint64_t len = region_len(kind, 0);
		void *page = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fds->fd[kind], 0);

		if (page == MAP_FAILED)
			return -errno;
		region_header_init(page, options, magic[kind], len);
		if (kind == REGION_GOVERN)
			region_govern_init(page, options);
		if (kind == REGION_PUBLISH)
			store_relaxed(&((struct layout_publish *)page)->tail, options->first_pos);
		/* MO(ready.R) pairs with ready.A in region_check_page(): the page before its
		 * ready word, or a successor could be mapped half made after a crash. */
		store_release(&((struct layout_header *)page)->ready, LAYOUT_READY);
		munmap(page, len);
	}
	return 0;
}

int region_create(const struct region_options *options, struct region_fds *ret_fds,
		  uint64_t *ret_available)
{
	struct region_fds fds = REGION_FDS_NULL;
	uint64_t available = region_available();
	int r = 0;

	if (ret_available)
		*ret_available = available == UINT64_MAX ? 0 : available;
	if (options->ring_len < LAYOUT_RING_MIN || !is_power_of_two(options->ring_len) ||
	    options->first_pos % RECORD_ALIGN != 0 || options->first_pos >= LAYOUT_POS_END ||
	    (options->max_len != 0 && options->max_len < RECORD_HEADER_LEN) ||
	    options->max_len > region_max_len(options->ring_len))
		return -EINVAL;
	if (options->ring_len > available || available - options->ring_len < MIB)
		return -ENOSPC;
	for (int kind = 0; kind < REGION_N && r == 0; kind++)
		r = region_create_one(options, kind, &fds.fd[kind]);
	if (r == 0)
		r = region_init_pages(options, &fds);
	if (r < 0) {
		region_fds_close(&fds);
		return r;
	}
	*ret_fds = fds;
	return 0;
}

int region_reopen(const struct region_fds *fds, enum region_access access,
		  struct region_fds *ret_fds)
{
	struct region_fds reopened = REGION_FDS_NULL;

	for (int kind = 0; kind < REGION_N; kind++) {
		char path[64];
		int mode = region_writable(kind, access) ? O_RDWR : O_RDONLY;

		if (!region_wanted(kind, access))
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fds->fd[kind]);
		reopened.fd[kind] = open(path, mode | O_CLOEXEC);
		if (reopened.fd[kind] < 0) {
			int error = -errno;

			region_fds_close(&reopened);
			return error;
		}
	}
	*ret_fds = reopened;
	return 0;
}

struct region_fds *region_fds_close(struct region_fds *fds)
{
	for (int kind = 0; fds && kind < REGION_N; kind++)
		close_fdp(&fds->fd[kind]);
	return NULL;
}

/* The fd is what it should be: of this size, and of this size for ever. */
static int region_check_fd(int fd, uint64_t len, uint64_t *ret_page_len)
{
	struct stat st;
	int seals;

	if (fstat(fd, &st) < 0)
		return -errno;
	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 && errno != EINVAL)
		return -errno;
	if (seals < 0 || (seals & (F_SEAL_SHRINK | F_SEAL_GROW)) != (F_SEAL_SHRINK | F_SEAL_GROW))
		return -EBADMSG;
	if (len == 0 || (uint64_t)st.st_size != len)
		return -EBADMSG;
	*ret_page_len = (uint64_t)st.st_blksize;
	return 0;
}

/*
 * The govern page alone is looked at, and the others are good with it: they were made together.
 * What publishers or everybody can write is not believed, and must not keep anybody out.
 */
static int region_check_page(const struct layout_header *header, enum region_kind kind)
{
	if (kind != REGION_GOVERN)
		return 0;
	/* MO(ready.A) pairs with ready.R in region_init_pages(). */
	if (load_acquire(&header->ready) != LAYOUT_READY)
		return -EBADMSG;
	if (header->magic != LAYOUT_MAGIC_GOVERN || header->order_mark != LAYOUT_ORDER_MARK)
		return -EBADMSG;
	if (header->major != LAYOUT_MAJOR || header->incompat != 0)
		return -EPROTONOSUPPORT;
	return header->len == region_len(kind, 0) ? 0 : -EBADMSG;
}

/* Maps a ring twice back to back, inside one reservation of address space. */
static void *region_map_twice(int fd, uint64_t len, int prot, uint64_t align)
{
	uint64_t room = 2 * len + align;
	char *reserved =
		mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *base;

	if (reserved == MAP_FAILED)
		return MAP_FAILED;
	base = (char *)align_up((uint64_t)(uintptr_t)reserved, align);
	if (mmap(base, len, prot, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED ||
	    mmap(base + len, len, prot, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
		int error = errno;

		munmap(reserved, room);
		errno = error;
		return MAP_FAILED;
	}
	if (base > reserved)
		munmap(reserved, (size_t)(base - reserved));
	munmap(base + 2 * len, (size_t)(reserved + room - base) - 2 * len);
	return base;
}

int region_map(int fd, enum region_kind kind, enum region_access access, uint64_t ring_len,
	       struct region *ret_region)
{
	bool writable = region_writable(kind, access);
	int prot = PROT_READ | (writable ? PROT_WRITE : 0);
	struct region region = { .len = region_len(kind, ring_len) };
	uint64_t page_len = 0, mapped = region.len * (kind == REGION_RING ? 2 : 1);
	int r = region_check_fd(fd, region.len, &page_len);

	if (r < 0)
		return r;
	if (kind == REGION_RING) {
		uint64_t align = region.len >= REGION_HUGE_LEN ? REGION_HUGE_LEN : 4096;

		region.base = region_map_twice(fd, region.len, prot, max_u64(align, page_len));
	} else {
		region.base = mmap(NULL, region.len, prot, MAP_SHARED, fd, 0);
	}
	if (region.base == MAP_FAILED)
		return -errno;
	/* A forked child has no slot and no say: it does not get the memory either. */
	(void)madvise(region.base, mapped, MADV_DONTFORK);
	(void)madvise(region.base, mapped, MADV_DONTDUMP);
	/* The daemon has all rings, and its start and its end would both take the longer for them:
	 * it maps what it comes to. The memory itself is there. */
	if (kind != REGION_RING || access != REGION_DAEMON)
		(void)madvise(region.base, mapped,
			      writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
	if (kind != REGION_RING) {
		r = region_check_page(region.base, kind);
		if (r < 0) {
			region_unmap(&region, kind);
			return r;
		}
	}
	*ret_region = region;
	return 0;
}

void region_unmap(struct region *region, enum region_kind kind)
{
	if (region->base)
		munmap(region->base, region->len * (kind == REGION_RING ? 2 : 1));
	*region = (struct region){ 0 };
}
