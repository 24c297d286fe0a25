/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/notify.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include "daemon/log.h"
#include "daemon/names.h"
#include "shm/testpoint.h"

#define NOTIFY_LISTENER "bus"

enum {
	NOTIFY_NAME_LEN = 256
};

static const char *const notify_kinds[REGION_N] = {
	[REGION_RING] = "ring",
	[REGION_PUBLISH] = "publish",
	[REGION_GOVERN] = "govern",
	[REGION_WAIT] = "wait",
};

/* An fd that the manager passed. */
struct notify_fd {
	char *name; /* as it was stored */
	int fd;     /* -1 once taken or closed */
	bool is_ring;
	bool taken;
	uint8_t uuid[16];
	uint32_t shard;
	uint32_t generation;
	enum region_kind kind;
};

struct notify {
	bool has_manager;
	bool has_store;
	uint64_t watchdog_ns;
	struct notify_fd *fds;
	size_t n_fds;
};

/* "<uuid>.<shard>.<generation>.<kind>"; anything else is not a ring. */
static bool notify_parse_name(struct notify_fd *f)
{
	char kind[16];
	int end = 0;

	if (strlen(f->name) < 33 || f->name[32] != '.' ||
	    names_parse_uuid_hex(f->name, f->uuid) < 0)
		return false;
	if (sscanf(f->name + 33, "%" SCNu32 ".%" SCNu32 ".%15[a-z]%n", &f->shard, &f->generation,
		   kind, &end) != 3 ||
	    f->name[33 + end] != '\0')
		return false;
	for (int k = 0; k < REGION_N; k++) {
		if (strcmp(kind, notify_kinds[k]) == 0) {
			f->kind = (enum region_kind)k;
			return true;
		}
	}
	return false;
}

/*
 * Rings by stream, shard and generation, so that each shard finds its own without a look at all
 * others'; what is no ring comes last.
 */
static int notify_compare(const void *a, const void *b)
{
	const struct notify_fd *x = a, *y = b;
	int r = (int)y->is_ring - (int)x->is_ring;

	if (r == 0 && x->is_ring)
		r = memcmp(x->uuid, y->uuid, sizeof(x->uuid));
	if (r == 0)
		r = (x->shard > y->shard) - (x->shard < y->shard);
	if (r == 0)
		r = (x->generation > y->generation) - (x->generation < y->generation);
	return r;
}

static int notify_take_environment(struct notify *n)
{
	char **names = NULL;
	int n_fds = sd_listen_fds_with_names(1, &names);

	if (n_fds < 0)
		return n_fds;
	if (n_fds == 0) {
		free(names);
		return 0;
	}
	n->fds = calloc((size_t)n_fds, sizeof(*n->fds));
	for (int i = 0; i < n_fds; i++) {
		int fd = SD_LISTEN_FDS_START + i;

		if (!n->fds) {
			close(fd);
			free(names[i]);
			continue;
		}
		n->fds[i] = (struct notify_fd){ .name = names[i], .fd = fd };
		n->fds[i].is_ring = notify_parse_name(&n->fds[i]);
		n->n_fds++;
	}
	free(names);
	if (n->fds)
		qsort(n->fds, n->n_fds, sizeof(*n->fds), notify_compare);
	return n->fds ? 0 : -ENOMEM;
}

int notify_new(struct notify **ret_notify)
{
	struct notify *n = calloc(1, sizeof(*n));
	/* Managers that can say whether they keep fds say it there (systemd 254 and the keeper). */
	const char *store = getenv("FDSTORE");
	uint64_t watchdog_us = 0;
	int r;

	if (!n)
		return -ENOMEM;
	n->has_manager = getenv("NOTIFY_SOCKET") != NULL;
	n->has_store = n->has_manager && !(store && strcmp(store, "0") == 0);
	if (sd_watchdog_enabled(1, &watchdog_us) > 0)
		n->watchdog_ns = watchdog_us * NS_PER_US / 2;
	r = notify_take_environment(n);
	unsetenv("FDSTORE");
	if (r < 0) {
		notify_free(n);
		return r;
	}
	*ret_notify = n;
	return 0;
}

struct notify *notify_free(struct notify *notify)
{
	if (!notify)
		return NULL;
	for (size_t i = 0; i < notify->n_fds; i++) {
		close_fd(notify->fds[i].fd);
		free(notify->fds[i].name);
	}
	free(notify->fds);
	free(notify);
	return NULL;
}

/* Every message goes through here; what the manager cannot be told is said once in a while. */
static int notify_send(const struct notify *notify, const char *message, const int *fds,
		       unsigned int n_fds)
{
	int r;

	if (!notify->has_manager)
		return 0;
	r = sd_pid_notify_with_fds(0, 0, message, fds, n_fds);
	return r < 0 ? r : 0;
}

bool notify_has_store(const struct notify *notify)
{
	int r = notify->has_store ? notify_send(notify, "FDPOLL=0", NULL, 0) : -ENOTCONN;

	/* What we lack for asking says nothing of the manager. */
	return r == 0 || r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -ENOBUFS;
}

bool notify_may_keep(const struct notify *notify)
{
	return notify->has_store;
}

uint64_t notify_watchdog_ns(const struct notify *notify)
{
	return notify->watchdog_ns;
}

void notify_ready(const struct notify *notify)
{
	int r = notify_send(notify, "READY=1", NULL, 0);

	if (r < 0)
		log_warning("The service manager cannot be told that the daemon is ready: %s",
			    strerror(-r));
}

void notify_reloading(const struct notify *notify)
{
	char message[80];

	snprintf(message, sizeof(message), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
		 clock_now_ns(CLOCK_MONOTONIC) / NS_PER_US);
	notify_send(notify, message, NULL, 0);
}

void notify_stopping(const struct notify *notify)
{
	notify_send(notify, "STOPPING=1", NULL, 0);
}

void notify_watchdog(const struct notify *notify)
{
	notify_send(notify, "WATCHDOG=1", NULL, 0);
}

void notify_status(const struct notify *notify, const char *format, ...)
{
	char message[256] = "STATUS=";
	va_list args;

	va_start(args, format);
	vsnprintf(message + 7, sizeof(message) - 7, format, args);
	va_end(args);
	notify_send(notify, message, NULL, 0);
}

int notify_barrier(const struct notify *notify, uint64_t timeout_ns)
{
	int r;

	if (!notify->has_manager)
		return 0;
	r = sd_notify_barrier(0, timeout_ns / NS_PER_US);
	return r < 0 ? r : 0;
}

static void notify_store_one(const struct notify *notify, const char *name, int fd)
{
	char message[NOTIFY_NAME_LEN + 64];
	int r;

	if (!notify->has_store)
		return;
	/* Nothing that is stored here ever hangs up: the manager need not watch it. */
	snprintf(message, sizeof(message), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
	r = notify_send(notify, message, &fd, 1);
	if (r < 0)
		log_limited(LOG_LEVEL_ERROR,
			    "%s cannot be kept beyond the daemon's life, the service manager does "
			    "not take it: %s",
			    name, strerror(-r));
}

static void notify_forget_one(const struct notify *notify, const char *name)
{
	char message[NOTIFY_NAME_LEN + 64];

	if (!notify->has_store)
		return;
	snprintf(message, sizeof(message), "FDSTOREREMOVE=1\nFDNAME=%s", name);
	notify_send(notify, message, NULL, 0);
}

static bool notify_is_listener(int fd)
{
	int type = 0, listens = 0;
	socklen_t len = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_SEQPACKET &&
	       getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && listens;
}

int notify_take_listener(struct notify *notify, bool *ret_ours)
{
	for (size_t i = 0; i < notify->n_fds; i++) {
		struct notify_fd *f = &notify->fds[i];

		if (f->is_ring || f->fd < 0 || !notify_is_listener(f->fd))
			continue;
		*ret_ours = strcmp(f->name, NOTIFY_LISTENER) == 0;
		return take_fd(f->fd);
	}
	return -1;
}

void notify_store_listener(const struct notify *notify, int fd)
{
	notify_store_one(notify, NOTIFY_LISTENER, fd);
}

void notify_forget_listener(const struct notify *notify)
{
	notify_forget_one(notify, NOTIFY_LISTENER);
}

bool notify_has_rings(const struct notify *notify)
{
	/* They come first. */
	return notify->n_fds > 0 && notify->fds[0].is_ring;
}

static bool notify_is_of(const struct notify_fd *f, const uint8_t uuid[16], uint32_t shard)
{
	return f->is_ring && f->shard == shard && memcmp(f->uuid, uuid, 16) == 0;
}

/* The first fd of a shard, or where it would be. */
static size_t notify_find(const struct notify *notify, const uint8_t uuid[16], uint32_t shard)
{
	struct notify_fd key = { .is_ring = true, .shard = shard };
	size_t low = 0, high = notify->n_fds;

	memcpy(key.uuid, uuid, sizeof(key.uuid));
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (notify_compare(&notify->fds[middle], &key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Takes one generation, if all four kinds are there, from [*at, end); *at is behind it then. */
static bool notify_take_generation(struct notify *notify, size_t *at, size_t end,
				   struct region_fds *ret_fds)
{
	struct notify_fd *parts[REGION_N] = { NULL };
	uint32_t generation = notify->fds[*at].generation;

	for (; *at < end && notify->fds[*at].generation == generation; (*at)++) {
		struct notify_fd *f = &notify->fds[*at];

		if (f->fd >= 0 && !parts[f->kind])
			parts[f->kind] = f;
	}
	for (int k = 0; k < REGION_N; k++)
		if (!parts[k])
			return false;
	for (int k = 0; k < REGION_N; k++) {
		ret_fds->fd[k] = take_fd(parts[k]->fd);
		parts[k]->taken = true;
	}
	return true;
}

/* A name stands for all fds stored under it: one of them in use keeps the others stored too. */
static bool notify_name_in_use(const struct notify *notify, const char *name)
{
	for (size_t i = 0; i < notify->n_fds; i++)
		if (notify->fds[i].taken && strcmp(notify->fds[i].name, name) == 0)
			return true;
	return false;
}

/* Closes what nobody took of [at, end), and has it removed from the store. Returns how many. */
static size_t notify_drop(struct notify *notify, size_t at, size_t end)
{
	size_t n_dropped = 0;

	for (; at < end; at++) {
		struct notify_fd *f = &notify->fds[at];

		if (f->fd < 0)
			continue;
		f->fd = close_fd(f->fd);
		/* What the manager itself made (a socket unit's) is not in its store. */
		if (f->is_ring && !notify_name_in_use(notify, f->name))
			notify_forget_one(notify, f->name);
		n_dropped++;
	}
	return n_dropped;
}

int notify_take_rings(struct notify *notify, const uint8_t uuid[16], uint32_t shard,
		      struct region_fds **ret_fds, size_t *ret_n)
{
	size_t first = notify_find(notify, uuid, shard), end = first;
	struct region_fds *fds;

	*ret_fds = NULL;
	*ret_n = 0;
	while (end < notify->n_fds && notify_is_of(&notify->fds[end], uuid, shard))
		end++;
	if (end == first)
		return 0;
	fds = calloc(end - first, sizeof(*fds));
	if (!fds)
		return -ENOMEM;
	for (size_t at = first; at < end;)
		*ret_n += notify_take_generation(notify, &at, end, &fds[*ret_n]);
	/* Now, and not when all shards are back: the shard's next ring may have the same name. */
	notify_drop(notify, first, end);
	*ret_fds = fds;
	return 0;
}

size_t notify_drop_rest(struct notify *notify)
{
	return notify_drop(notify, 0, notify->n_fds);
}

void notify_store_ring(void *ctx, const char *name, const struct region_fds *fds)
{
	for (int k = 0; k < REGION_N; k++) {
		char full[NOTIFY_NAME_LEN];

		snprintf(full, sizeof(full), "%s.%s", name, notify_kinds[k]);
		notify_store_one(ctx, full, fds->fd[k]);
		TESTPOINT("succeed-stored");
	}
}

void notify_forget_ring(void *ctx, const char *name)
{
	for (int k = 0; k < REGION_N; k++) {
		char full[NOTIFY_NAME_LEN];

		snprintf(full, sizeof(full), "%s.%s", name, notify_kinds[k]);
		notify_forget_one(ctx, full);
		TESTPOINT("succeed-forgot");
	}
}
