/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who asks, and what it may do. A stream has owner, group and mode as a file has: read is
 * subscribing, write is publishing; the owner, root and the daemon's own user administer.
 */
#ifndef DAEMON_PERMISSION_H
#define DAEMON_PERMISSION_H

#include <sys/types.h>

#include "shm/base.h"

enum permission_right {
	PERMISSION_SUBSCRIBE = 1,
	PERMISSION_PUBLISH = 2,
	PERMISSION_ADMINISTER = 4,
};

/* The peer of a connection as the kernel knew it when it connected. */
struct permission_subject {
	uid_t uid;
	gid_t gid;
	gid_t *groups; /* owned */
	size_t n_groups;
};

struct permission_object {
	uid_t owner;
	gid_t group;
	uint32_t mode;
};

/* From the socket. ret_pid may be 0: the peer lives in a pid namespace that we cannot see. */
int permission_subject_init(struct permission_subject *subject, int socket, pid_t *ret_pid);
void permission_subject_deinit(struct permission_subject *subject);
int permission_subject_copy(struct permission_subject *subject,
			    const struct permission_subject *from);

/* Root and the daemon's own user may do everything. */
bool permission_is_privileged(const struct permission_subject *subject);
bool permission_in_group(const struct permission_subject *subject, gid_t gid);
/* The rights that the subject has, of enum permission_right. */
unsigned int permission_rights(const struct permission_subject *subject,
			       const struct permission_object *object);

#endif
