/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/user.h"

#include <sys/epoll.h>

static void user_ready(struct server_source *source, uint32_t events)
{
	(void)events;
	/* The last of his connections may end, and he with it: nothing of him is looked at then. */
	server_handle_one(source->fd, 0);
}

static struct user *user_find(const struct server *server, uid_t uid)
{
	struct user *user;

	cds_list_for_each_entry(user, &server->users, node)
		if (user->uid == uid)
			return user;
	return NULL;
}

unsigned int user_n_sessions(const struct server *server, uid_t uid)
{
	const struct user *user = user_find(server, uid);

	return user ? user->n_sessions : 0;
}

int user_get(struct server *server, uid_t uid, struct user **ret_user)
{
	struct user *user = user_find(server, uid);
	int r;

	if (!user) {
		user = calloc(1, sizeof(*user));
		if (!user)
			return -ENOMEM;
		user->source.fd = epoll_create1(EPOLL_CLOEXEC);
		user->source.ready = user_ready;
		r = user->source.fd < 0 ? -errno : server_watch(server, &user->source, EPOLLIN);
		if (r < 0) {
			close_fd(user->source.fd);
			free(user);
			return r;
		}
		user->server = server;
		user->uid = uid;
		cds_list_add_tail(&user->node, &server->users);
	}
	user->n_sessions++;
	*ret_user = user;
	return 0;
}

struct user *user_put(struct user *user)
{
	if (!user || --user->n_sessions > 0)
		return NULL;
	server_unwatch(user->server, &user->source);
	close_fd(user->source.fd);
	cds_list_del(&user->node);
	free(user);
	return NULL;
}
