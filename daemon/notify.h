/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the daemon tells its service manager, and what the manager keeps for it: readiness,
 * watchdog, and the fds of the rings beyond the daemon's life. The manager is systemd or the
 * keeper; nothing here can tell them apart. Without a manager every call does nothing.
 *
 * An fd is stored as `<stream uuid, 32 digits>.<shard>.<generation>.<kind>`, the listening socket
 * as `bus`. A stored fd is safe as soon as the call returns: its message lies in the manager's
 * queue, which outlives us.
 */
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

#include "shm/base.h"
#include "shm/region.h"

struct notify;

/*
 * Takes what the manager passes in the environment (and removes it from there, apart from
 * NOTIFY_SOCKET). Once, before other threads exist.
 */
int notify_new(struct notify **ret_notify);
/* Closes received fds that nobody took; they stay in the store. */
struct notify *notify_free(struct notify *notify);

/* True when fds can be kept and the manager is still there: asks it. */
bool notify_has_store(const struct notify *notify);
/* True when fds may be kept, for who cannot ask because of what fails just now. */
bool notify_may_keep(const struct notify *notify);
/* The interval at which notify_watchdog() is wanted, 0 = not at all. */
uint64_t notify_watchdog_ns(const struct notify *notify);

void notify_ready(const struct notify *notify);
void notify_reloading(const struct notify *notify);
void notify_stopping(const struct notify *notify);
void notify_watchdog(const struct notify *notify);
void notify_status(const struct notify *notify, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Waits until the manager has handled what was sent before. 0, -ETIMEDOUT and others. */
int notify_barrier(const struct notify *notify, uint64_t timeout_ns);

/*
 * The listening socket, or -1; the caller's from then on. *ret_ours is true when an earlier daemon
 * made and stored it, false when the manager made it (socket activation).
 */
int notify_take_listener(struct notify *notify, bool *ret_ours);
void notify_store_listener(const struct notify *notify, int fd);
void notify_forget_listener(const struct notify *notify);

/* True when rings of a daemon before were passed, whosever they are; asked before any is taken. */
bool notify_has_rings(const struct notify *notify);
/*
 * The rings of one shard that survived, oldest generation first: *ret_fds is an array of *ret_n, to
 * be freed by the caller; the fds are the caller's too. Part of a ring, which is what a daemon
 * leaves that dies while it stores or forgets one, is closed and removed from the store. -ENOMEM.
 */
int notify_take_rings(struct notify *notify, const uint8_t uuid[16], uint32_t shard,
		      struct region_fds **ret_fds, size_t *ret_n);
/* Closes what nobody has taken, and has it removed from the store. Returns how many. */
size_t notify_drop_rest(struct notify *notify);

/* The callbacks of struct shard_keep; ctx is the notify. Any thread. */
void notify_store_ring(void *ctx, const char *name, const struct region_fds *fds);
void notify_forget_ring(void *ctx, const char *name);

#endif
