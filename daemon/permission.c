/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/permission.h"

#include <sys/socket.h>

static int permission_take_groups(struct permission_subject *subject, int socket)
{
	socklen_t len = 0;

	/* The first call says how much is needed; no groups at all is success. */
	if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, NULL, &len) == 0)
		return 0;
	if (errno != ERANGE)
		return -errno;
	subject->groups = malloc(len);
	if (!subject->groups)
		return -ENOMEM;
	if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, subject->groups, &len) < 0)
		return -errno;
	subject->n_groups = len / sizeof(gid_t);
	return 0;
}

int permission_subject_init(struct permission_subject *subject, int socket, pid_t *ret_pid)
{
	struct permission_subject s = { 0 };
	struct ucred cred;
	socklen_t len = sizeof(cred);
	int r;

	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	s.uid = cred.uid;
	s.gid = cred.gid;
	r = permission_take_groups(&s, socket);
	if (r < 0) {
		permission_subject_deinit(&s);
		return r;
	}
	*subject = s;
	*ret_pid = cred.pid;
	return 0;
}

void permission_subject_deinit(struct permission_subject *subject)
{
	free(subject->groups);
	subject->groups = NULL;
	subject->n_groups = 0;
}

int permission_subject_copy(struct permission_subject *subject,
			    const struct permission_subject *from)
{
	struct permission_subject s = *from;

	s.groups = NULL;
	if (from->n_groups) {
		s.groups = malloc(from->n_groups * sizeof(gid_t));
		if (!s.groups)
			return -ENOMEM;
		memcpy(s.groups, from->groups, from->n_groups * sizeof(gid_t));
	}
	*subject = s;
	return 0;
}

bool permission_is_privileged(const struct permission_subject *subject)
{
	return subject->uid == 0 || subject->uid == geteuid();
}

bool permission_in_group(const struct permission_subject *subject, gid_t gid)
{
	if (subject->gid == gid)
		return true;
	for (size_t i = 0; i < subject->n_groups; i++)
		if (subject->groups[i] == gid)
			return true;
	return false;
}

/* As for files, one class of the mode counts: the first that fits. */
unsigned int permission_rights(const struct permission_subject *subject,
			       const struct permission_object *object)
{
	unsigned int bits, rights = 0;

	if (permission_is_privileged(subject))
		return PERMISSION_SUBSCRIBE | PERMISSION_PUBLISH | PERMISSION_ADMINISTER;
	if (subject->uid == object->owner) {
		rights = PERMISSION_ADMINISTER;
		bits = object->mode >> 6;
	} else if (permission_in_group(subject, object->group)) {
		bits = object->mode >> 3;
	} else {
		bits = object->mode;
	}
	if (bits & 4)
		rights |= PERMISSION_SUBSCRIBE;
	if (bits & 2)
		rights |= PERMISSION_PUBLISH;
	return rights;
}
