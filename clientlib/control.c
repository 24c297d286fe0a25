/* SPDX-License-Identifier: Apache-2.0 */
/* Requests and replies. */
#include "clientlib/control.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum {
	CONTROL_RETRY_MS = 5, /* first pause before another connection is tried */
	CONTROL_RETRY_MAX_MS = 100,
	CONTROL_CHECK_MS = 200, /* what control_epoch() may take */
	CONTROL_STALE_MAX = 16, /* replies with somebody else's id */
};

int control_init(struct control *control, const char *path, const char *client, uint64_t timeout_ns)
{
	pthread_condattr_t attr;

	*control = (struct control){ .fd = -1, .timeout_ns = timeout_ns };
	if (strlen(path) >= sizeof(control->address.sun_path))
		return -ENAMETOOLONG;
	control->address.sun_family = AF_UNIX;
	strcpy(control->address.sun_path, path);
	control->client = strdup(client);
	if (!control->client)
		return -ENOMEM;
	pthread_mutex_init(&control->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&control->released, &attr);
	pthread_condattr_destroy(&attr);
	return 0;
}

void control_deinit(struct control *control)
{
	control->fd = close_fd(control->fd);
	/* The condition is not destroyed: in a forked child that would wait for the parent's
	 * threads, and there is nothing behind it to free. */
	free(control->client);
	control->client = NULL;
}

/* The connection is this thread's own until release(). -ETIMEDOUT. */
static int acquire(struct control *control, struct deadline *deadline)
{
	uint64_t left = deadline_left(deadline), end = 0;
	struct timespec until;
	int r = 0;

	if (left != DEADLINE_FOREVER)
		end = clock_now_ns(CLOCK_MONOTONIC) + left;
	until = (struct timespec){ .tv_sec = (time_t)(end / NS_PER_S),
				   .tv_nsec = (long)(end % NS_PER_S) };
	pthread_mutex_lock(&control->lock);
	while (control->busy && r == 0) {
		if (left == DEADLINE_FOREVER)
			r = pthread_cond_wait(&control->released, &control->lock);
		else
			r = pthread_cond_timedwait(&control->released, &control->lock, &until);
	}
	if (!control->busy) {
		control->busy = true;
		r = 0;
	}
	pthread_mutex_unlock(&control->lock);
	return -r;
}

static bool try_acquire(struct control *control)
{
	bool taken;

	pthread_mutex_lock(&control->lock);
	taken = !control->busy;
	control->busy = true;
	pthread_mutex_unlock(&control->lock);
	return taken;
}

static void release(struct control *control)
{
	pthread_mutex_lock(&control->lock);
	control->busy = false;
	pthread_cond_signal(&control->released);
	pthread_mutex_unlock(&control->lock);
}

/* Waits for `events` on the connection; 0, -ETIMEDOUT or what poll gave. */
static int wait_socket(int fd, short events, struct deadline *deadline)
{
	for (;;) {
		struct pollfd pollfd = { .fd = fd, .events = events };
		uint64_t left = deadline_left(deadline);
		uint64_t ms = min_u64((left + NS_PER_MS - 1) / NS_PER_MS, 60000);
		int n = poll(&pollfd, 1, left == DEADLINE_FOREVER ? 60000 : (int)ms);

		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (deadline_over(deadline))
			return -ETIMEDOUT;
	}
}

/* ---- replies ---- */

void control_reply_deinit(struct control_reply *reply)
{
	size_t i;

	for (i = 0; i < reply->n_fds; i++)
		close_fd(reply->fds[i]);
	reply->n_fds = 0;
	control_decref(&reply->object);
}

int control_take_fd(struct control_reply *reply, const char *name)
{
	const json_t *names = json_object_get(reply->object, "fds");
	size_t i;

	for (i = 0; i < reply->n_fds && i < json_array_size(names); i++) {
		const char *at = json_string_value(json_array_get(names, i));

		if (at && strcmp(at, name) == 0)
			return take_fd(reply->fds[i]);
	}
	return -1;
}

bool control_get_u64(const json_t *object, const char *key, uint64_t *ret)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return false;
	*ret = (uint64_t)json_integer_value(value);
	return true;
}

bool control_get_u32(const json_t *object, const char *key, uint32_t *ret)
{
	uint64_t value;

	if (!control_get_u64(object, key, &value) || value > UINT32_MAX)
		return false;
	*ret = (uint32_t)value;
	return true;
}

bool control_get_bool(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

const char *control_get_string(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

/* All fds of a message are taken, also those that nobody asked for. */
static void take_fds(struct msghdr *message, struct control_reply *reply)
{
	struct cmsghdr *cmsg;

	for (cmsg = CMSG_FIRSTHDR(message); cmsg; cmsg = CMSG_NXTHDR(message, cmsg)) {
		size_t n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int), i;
		int fd;

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		for (i = 0; i < n; i++) {
			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(int));
			if (reply->n_fds < CONTROL_FDS_MAX)
				reply->fds[reply->n_fds++] = fd;
			else
				close(fd);
		}
	}
}

/* One packet; reply->object and its fds are the caller's also when it fails. */
static int receive_packet(int fd, struct control_reply *reply, struct detail *detail)
{
	cleanup_with(free_ptr) char *text = NULL;
	char room[CMSG_SPACE(CONTROL_FDS_MAX * sizeof(int))];
	struct iovec iov;
	struct msghdr message = { .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = room,
				  .msg_controllen = sizeof(room) };
	bool no_memory;
	ssize_t n = recv(fd, NULL, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? -EAGAIN : -ENOTCONN;
	if (n == 0)
		return -ENOTCONN;
	if (n > CONTROL_BODY_MAX)
		return -EBADMSG;
	text = malloc((size_t)n);
	if (!text)
		return -ENOMEM;
	iov = (struct iovec){ .iov_base = text, .iov_len = (size_t)n };
	n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n <= 0)
		return n < 0 && errno == EAGAIN ? -EAGAIN : -ENOTCONN;
	take_fds(&message, reply);
	errno = 0;
	reply->object = json_loadb(text, (size_t)n, JSON_REJECT_DUPLICATES, NULL);
	no_memory = !reply->object && errno == ENOMEM;
	if (message.msg_flags & MSG_CTRUNC)
		return detail_fail(detail, -EMFILE,
				   "the daemon's file descriptors did not fit: raise this "
				   "process' limit of open files (ulimit -n)");
	if (no_memory)
		return -ENOMEM;
	return json_is_object(reply->object) ? 0 : -EBADMSG;
}

/* A long reply lies in a sealed memfd beside a short one. */
static int receive_body(struct control_reply *reply)
{
	cleanup_with(close_fdp) int fd = -1;
	uint64_t len;
	struct stat st;
	json_t *object;
	void *text;

	if (!control_get_u64(reply->object, "body", &len))
		return 0;
	fd = control_take_fd(reply, "body");
	if (fd < 0 || len == 0 || len > CONTROL_BODY_MAX || fstat(fd, &st) < 0 ||
	    (uint64_t)st.st_size < len || (fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK) == 0)
		return -EBADMSG;
	text = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
	if (text == MAP_FAILED)
		return -ENOMEM;
	object = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	munmap(text, len);
	if (!json_is_object(object)) {
		json_decref(object);
		return -EBADMSG;
	}
	json_decref(reply->object);
	reply->object = object;
	return 0;
}

/* The reply to request `id`; one with another id is dropped. */
static int receive_reply(int fd, uint64_t id, struct deadline *deadline,
			 struct control_reply *reply, struct detail *detail)
{
	int i, r;

	for (i = 0; i < CONTROL_STALE_MAX;) {
		uint64_t got;

		r = wait_socket(fd, POLLIN, deadline);
		if (r == 0)
			r = receive_packet(fd, reply, detail);
		if (r == -EAGAIN && !deadline_over(deadline))
			continue;
		if (r < 0)
			return r == -EAGAIN ? -ETIMEDOUT : r;
		if (!control_get_u64(reply->object, "id", &got) || got == id)
			return receive_body(reply);
		control_reply_deinit(reply);
		i++;
	}
	return -EBADMSG;
}

/* What the daemon's answer means to the caller. */
static int judge_reply(const struct control_reply *reply, struct detail *detail)
{
	const char *sentence = control_get_string(reply->object, "error");
	uint64_t error;

	if (control_get_bool(reply->object, "ok"))
		return 0;
	if (!control_get_u64(reply->object, "errno", &error) || error == 0 || error > 4095)
		return detail_fail(detail, -EBADMSG, "the daemon's reply has no errno");
	return detail_fail(detail, -(int)error, "%s", sentence ? sentence : strerror((int)error));
}

/* ---- the connection ---- */

static int send_packet(struct control *control, const char *text, size_t len,
		       struct deadline *deadline)
{
	for (;;) {
		int r;

		if (send(control->fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT | MSG_EOR) >= 0)
			return 0;
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return errno == EMSGSIZE ? -EMSGSIZE : -ENOTCONN;
		r = wait_socket(control->fd, POLLOUT, deadline);
		if (r < 0)
			return r;
		if (deadline_over(deadline))
			return -ETIMEDOUT;
	}
}

/* The reply of a request that was given up is taken first: one request is under way at a time. */
static int settle(struct control *control, struct deadline *deadline)
{
	struct control_reply late = CONTROL_REPLY_NULL;
	int r;

	if (!control->owes_reply)
		return 0;
	r = receive_reply(control->fd, control->next_id, deadline, &late, NULL);
	control_reply_deinit(&late);
	if (r < 0)
		return r;
	control->owes_reply = false;
	return 0;
}

static int exchange(struct control *control, json_t *request, struct deadline *deadline,
		    struct control_reply *reply, struct detail *detail);

/*
 * A publisher slot came with fds for which there is no room here. It would be this process' for as
 * long as it lives: the daemon is told that nobody has it. One that was had before is kept.
 */
static void give_back_slot(struct control *control, const json_t *request,
			   const struct control_reply *reply, struct deadline *deadline)
{
	const json_t *reattach = json_object_get(request, "reattach");
	struct control_reply ignored = CONTROL_REPLY_NULL;
	cleanup_with(control_decref) json_t *detach = NULL;
	uint64_t slot, had;

	if (!control_get_u64(reply->object, "slot", &slot) ||
	    (control_get_u64(reattach, "slot", &had) && had == slot))
		return;
	detach = json_pack("{s:s, s:O, s:O, s:I}", "op", "detach", "stream",
			   json_object_get(request, "stream"), "shard",
			   json_object_get(request, "shard"), "slot", (json_int_t)slot);
	if (detach && exchange(control, detach, deadline, &ignored, NULL) == 0)
		control_reply_deinit(&ignored);
}

/* One request on the connection that is there. The connection is ours. */
static int exchange(struct control *control, json_t *request, struct deadline *deadline,
		    struct control_reply *reply, struct detail *detail)
{
	cleanup_with(free_ptr) char *text = NULL;
	struct deadline at_once = DEADLINE(0);
	int sent, r = settle(control, deadline);
	uint64_t id;

	if (r < 0)
		return r;
	id = ++control->next_id;
	if (json_object_set_new(request, "id", json_integer((json_int_t)id)) < 0)
		return -ENOMEM;
	text = json_dumps(request, JSON_COMPACT);
	if (!text)
		return detail_fail(detail, -EINVAL,
				   "a name or value is not valid UTF-8, or there is "
				   "no memory");
	if (strlen(text) > CONTROL_PACKET_MAX)
		return detail_fail(detail, -EMSGSIZE, "the request is longer than %d bytes",
				   CONTROL_PACKET_MAX);
	sent = send_packet(control, text, strlen(text), deadline);
	if (sent < 0 && sent != -ENOTCONN)
		return sent;
	/* Who is refused is told why before the connection ends, so one look is worth it; no wait,
	 * because to what was not sent there is no reply. */
	r = receive_reply(control->fd, id, sent < 0 ? &at_once : deadline, reply, detail);
	if (r == 0)
		r = judge_reply(reply, detail);
	else if (sent < 0)
		r = -ENOTCONN;
	else if (r == -ETIMEDOUT)
		control->owes_reply = true;
	else if (r == -EMFILE)
		give_back_slot(control, request, reply, deadline);
	if (r < 0)
		control_reply_deinit(reply);
	return sent < 0 && r == 0 ? -ENOTCONN : r;
}

static void hang_up(struct control *control)
{
	control->fd = close_fd(control->fd);
	control->owes_reply = false;
}

static int hello(struct control *control, struct deadline *deadline, struct detail *detail)
{
	struct control_reply reply = CONTROL_REPLY_NULL;
	cleanup_with(control_decref) json_t *request = NULL;
	int r;

	request = json_pack("{s:s, s:i, s:s}", "op", "hello", "version", CONTROL_VERSION, "client",
			    control->client);
	if (!request)
		return detail_fail(detail, -EINVAL,
				   "the client's name is not valid UTF-8, or there is no "
				   "memory");
	r = exchange(control, request, deadline, &reply, detail);
	if (r < 0)
		return r;
	control_reply_deinit(&reply);
	return 0;
}

static int connect_socket(struct control *control, struct deadline *deadline)
{
	cleanup_with(close_fdp) int fd = -1;
	uint64_t left = min_u64(deadline_left(deadline), 60 * NS_PER_S);
	struct timeval wait = { .tv_sec = (time_t)(left / NS_PER_S),
				.tv_usec = (suseconds_t)(left % NS_PER_S / NS_PER_US) + 1 };

	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* A full backlog makes connect() wait, this long at most. */
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	while (connect(fd, (struct sockaddr *)&control->address, sizeof(control->address)) < 0) {
		if (errno == EAGAIN)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
	control->fd = take_fd(fd);
	return 0;
}

/* The connection is ours. */
static int connect_once(struct control *control, struct deadline *deadline, struct detail *detail)
{
	const char *path = control->address.sun_path;
	int r;

	if (control->fd >= 0)
		return 0;
	r = connect_socket(control, deadline);
	if (r < 0) {
		detail_fail(detail, r, "no daemon answers at %s (%s): start one with `leatd`", path,
			    strerror(-r));
	} else {
		r = hello(control, deadline, detail);
		if (r == -ENOTCONN || r == -ETIMEDOUT)
			detail_fail(detail, r, "the daemon at %s %s", path,
				    r == -ENOTCONN ? "ended the connection at once"
						   : "does not answer");
	}
	if (r < 0) {
		hang_up(control);
		return r;
	}
	store_relaxed(&control->epoch, load_relaxed(&control->epoch) + 1);
	return 0;
}

int control_connect(struct control *control, struct deadline *deadline, struct detail *detail)
{
	int r = acquire(control, deadline);

	if (detail)
		detail_clear(detail);
	if (r < 0)
		return r;
	r = connect_once(control, deadline, detail);
	release(control);
	return r;
}

/* The daemon is not there, but may come back. */
static bool daemon_is_away(int error)
{
	return error == -ENOTCONN || error == -ENOENT || error == -ECONNREFUSED ||
	       error == -ECONNRESET || error == -EPIPE || error == -ETIMEDOUT || error == -EAGAIN;
}

int control_request_once(struct control *control, json_t *request, struct deadline *deadline,
			 struct control_reply *ret_reply, struct detail *detail)
{
	struct control_reply reply = CONTROL_REPLY_NULL;
	int r = acquire(control, deadline);

	/* What was said of an earlier request is not to be said of this one. */
	if (detail)
		detail_clear(detail);
	if (r < 0)
		return r;
	r = connect_once(control, deadline, detail);
	if (r < 0) {
		release(control);
		return daemon_is_away(r) ? -ENOTCONN : r;
	}
	r = exchange(control, request, deadline, &reply, detail);
	if (r == -ENOTCONN || r == -EBADMSG)
		hang_up(control);
	release(control);
	if (r == -ENOTCONN)
		return detail_fail(detail, r,
				   "the daemon at %s has gone: it is waited for, or "
				   "start one with `leatd`",
				   control->address.sun_path);
	if (r == -ETIMEDOUT)
		return detail_fail(detail, r, "the daemon at %s does not answer",
				   control->address.sun_path);
	if (r < 0)
		return r;
	*ret_reply = reply;
	return 0;
}

int control_request(struct control *control, json_t *request, struct deadline *deadline,
		    struct control_reply *ret_reply, struct detail *detail)
{
	unsigned int pause_ms = CONTROL_RETRY_MS;

	for (;;) {
		uint64_t left, pause_ns = pause_ms * NS_PER_MS;
		int r = control_request_once(control, request, deadline, ret_reply, detail);
		struct timespec ts;

		if (r != -ENOTCONN)
			return r;
		left = deadline_left(deadline);
		if (left == 0)
			return r;
		pause_ns = min_u64(pause_ns, left);
		ts = (struct timespec){ .tv_nsec = (long)pause_ns };
		nanosleep(&ts, NULL);
		pause_ms = (unsigned int)min_u64(pause_ms * 2, CONTROL_RETRY_MAX_MS);
	}
}

uint32_t control_epoch(struct control *control)
{
	struct deadline deadline = DEADLINE(CONTROL_CHECK_MS * NS_PER_MS);
	struct pollfd pollfd = { .events = 0 };
	uint32_t epoch;

	/* Somebody else's request is under way: it finds out as well. */
	if (!try_acquire(control))
		return load_relaxed(&control->epoch);
	pollfd.fd = control->fd;
	if (control->fd >= 0 && poll(&pollfd, 1, 0) > 0 && (pollfd.revents & (POLLHUP | POLLERR)))
		hang_up(control);
	if (control->fd < 0)
		(void)connect_once(control, &deadline, NULL);
	epoch = load_relaxed(&control->epoch);
	release(control);
	return epoch;
}
