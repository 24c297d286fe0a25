/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel itself offers to carry records from process to process: a pipe, and the two
 * kinds of Unix socket that keep records apart. Everybody has them, so they are part of leat
 * bench itself. They block, and run where the scheduler puts them, as their users let them: it
 * brings two processes that take turns together on one processor, which is ten times faster.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tools/bench_pair.h"
#include "tools/tool.h"

enum {
	MANY = 64, /* records of one call where several go together */
	READ_LEN = 64 << 10,
	PIPE_LEN = 1 << 20,
	SOCKET_LEN = 1 << 20,
};

/* Made before the processes are: what side 0 and 1 read from and write to. */
struct ends {
	int in[2];
	int out[2];
	int at_once; /* records of one call */
};

/* ---- pipes: bytes, that a reader cuts into records again ---- */

struct pipe_side {
	char *records; /* to be written at once */
	size_t n;
	char *buf;
	size_t have;
	size_t at;
};

static void pipe_close(struct bench_side *side)
{
	struct pipe_side *own = side->own;

	if (!own)
		return;
	free(own->records);
	free(own->buf);
	free(own);
}

static int pipe_open(struct bench_side *side)
{
	const struct ends *ends = side->pair->context;
	struct pipe_side *own = calloc(1, sizeof(*own));

	if (!own)
		return bench_team_fail(side->team, side->me, -ENOMEM, "no memory");
	side->own = own;
	own->records = malloc(side->len * (size_t)ends->at_once);
	own->buf = malloc(side->len + READ_LEN);
	if (!own->records || !own->buf)
		return bench_team_fail(side->team, side->me, -ENOMEM, "no memory");
	return 0;
}

static int pipe_flush(struct bench_side *side)
{
	const struct ends *ends = side->pair->context;
	struct pipe_side *own = side->own;
	size_t len = own->n * side->len, done;
	ssize_t n;

	own->n = 0;
	for (done = 0; done < len; done += (size_t)n) {
		n = write(ends->out[side->me], own->records + done, len - done);
		if (n < 0)
			return bench_team_fail(side->team, side->me, -errno, "cannot write: %s",
					       strerror(errno));
	}
	return 0;
}

static int pipe_send(struct bench_side *side, const void *record)
{
	const struct ends *ends = side->pair->context;
	struct pipe_side *own = side->own;

	memcpy(own->records + own->n * side->len, record, side->len);
	own->n++;
	return own->n == (size_t)ends->at_once ? pipe_flush(side) : 0;
}

static int pipe_receive(struct bench_side *side, const void **ret_record, size_t *ret_len)
{
	const struct ends *ends = side->pair->context;
	struct pipe_side *own = side->own;
	ssize_t n;

	if (own->have - own->at < side->len) {
		memmove(own->buf, own->buf + own->at, own->have - own->at);
		own->have -= own->at;
		own->at = 0;
	}
	while (own->have < side->len) {
		n = read(ends->in[side->me], own->buf + own->have,
			 side->len + READ_LEN - own->have);
		if (n <= 0)
			return bench_team_fail(side->team, side->me, -EIO, "cannot read: %s",
					       n < 0 ? strerror(errno) : "the end");
		own->have += (size_t)n;
	}
	*ret_record = own->buf + own->at;
	*ret_len = side->len;
	own->at += side->len;
	return 0;
}

/* ---- sockets: the kernel keeps records apart ---- */

struct socket_side {
	struct mmsghdr out[MANY];
	struct mmsghdr in[MANY];
	struct iovec out_iov[MANY];
	struct iovec in_iov[MANY];
	char *buf; /* MANY records to be sent, then MANY received */
	int n_out;
	int n_in;
	int at;
};

static void socket_close(struct bench_side *side)
{
	struct socket_side *own = side->own;

	if (!own)
		return;
	free(own->buf);
	free(own);
}

static int socket_open(struct bench_side *side)
{
	struct socket_side *own = calloc(1, sizeof(*own));
	size_t i;

	if (!own)
		return bench_team_fail(side->team, side->me, -ENOMEM, "no memory");
	side->own = own;
	own->buf = malloc(side->len * 2 * MANY);
	if (!own->buf)
		return bench_team_fail(side->team, side->me, -ENOMEM, "no memory");
	for (i = 0; i < MANY; i++) {
		own->out_iov[i] = (struct iovec){ own->buf + i * side->len, side->len };
		own->in_iov[i] = (struct iovec){ own->buf + (MANY + i) * side->len, side->len };
		own->out[i].msg_hdr = (struct msghdr){ .msg_iov = &own->out_iov[i] };
		own->in[i].msg_hdr = (struct msghdr){ .msg_iov = &own->in_iov[i] };
		own->out[i].msg_hdr.msg_iovlen = 1;
		own->in[i].msg_hdr.msg_iovlen = 1;
	}
	return 0;
}

static int socket_flush(struct bench_side *side)
{
	const struct ends *ends = side->pair->context;
	struct socket_side *own = side->own;
	int done = 0, n;

	while (done < own->n_out) {
		n = sendmmsg(ends->out[side->me], own->out + done,
			     (unsigned int)(own->n_out - done), 0);
		if (n < 0)
			return bench_team_fail(side->team, side->me, -errno, "cannot send: %s",
					       strerror(errno));
		done += n;
	}
	own->n_out = 0;
	return 0;
}

static int socket_send_one(struct bench_side *side, const void *record)
{
	const struct ends *ends = side->pair->context;

	if (send(ends->out[side->me], record, side->len, 0) < 0)
		return bench_team_fail(side->team, side->me, -errno, "cannot send: %s",
				       strerror(errno));
	return 0;
}

static int socket_send(struct bench_side *side, const void *record)
{
	const struct ends *ends = side->pair->context;
	struct socket_side *own = side->own;

	if (ends->at_once == 1)
		return socket_send_one(side, record);
	memcpy(own->out_iov[own->n_out].iov_base, record, side->len);
	return ++own->n_out == ends->at_once ? socket_flush(side) : 0;
}

static int socket_receive(struct bench_side *side, const void **ret_record, size_t *ret_len)
{
	const struct ends *ends = side->pair->context;
	struct socket_side *own = side->own;

	if (own->at == own->n_in) {
		own->at = 0;
		own->n_in = recvmmsg(ends->in[side->me], own->in, (unsigned int)ends->at_once,
				     MSG_WAITFORONE, NULL);
		if (own->n_in <= 0) {
			own->n_in = 0;
			return bench_team_fail(side->team, side->me, -EIO, "cannot receive: %s",
					       strerror(errno));
		}
	}
	*ret_record = own->in_iov[own->at].iov_base;
	*ret_len = own->in[own->at].msg_len;
	own->at++;
	return 0;
}

/* ---- rows ---- */

static const struct bench_pair pipe_pair = {
	.open = pipe_open,
	.send = pipe_send,
	.flush = pipe_flush,
	.receive = pipe_receive,
	.close = pipe_close,
	.free = true,
};

static const struct bench_pair socket_pair = {
	.open = socket_open,
	.send = socket_send,
	.flush = socket_flush,
	.receive = socket_receive,
	.close = socket_close,
	.free = true,
};

static int fail(struct bench_env *env, const char *what)
{
	int error = errno;

	snprintf(env->error, sizeof(env->error), "cannot make a %s: %s", what, strerror(error));
	return -error;
}

/* A pipe each way. More room is asked for, and done without where it is not granted. */
static int make_pipes(struct bench_env *env, struct ends *ends)
{
	int there[2], back[2];

	if (pipe2(there, O_CLOEXEC) < 0)
		return fail(env, "pipe");
	if (pipe2(back, O_CLOEXEC) < 0) {
		close(there[0]);
		close(there[1]);
		return fail(env, "pipe");
	}
	fcntl(there[1], F_SETPIPE_SZ, PIPE_LEN);
	fcntl(back[1], F_SETPIPE_SZ, PIPE_LEN);
	*ends = (struct ends){
		.in = { back[0], there[0] },
		.out = { there[1], back[1] },
	};
	return 0;
}

static int make_sockets(struct bench_env *env, int type, struct ends *ends)
{
	const int len = SOCKET_LEN;
	int fds[2], i;

	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) < 0)
		return fail(env, "socket");
	for (i = 0; i < 2; i++)
		setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &len, sizeof(len));
	*ends = (struct ends){
		.in = { fds[0], fds[1] },
		.out = { fds[0], fds[1] },
	};
	return 0;
}

typedef int measure_fn(struct bench_env *env, const struct bench_pair *pair, size_t len,
		       struct bench_result *result);

static size_t record_len(const struct bench_env *env)
{
	return env->row->x > 0 ? (size_t)env->row->x : BENCH_VALUE_LEN;
}

static int with_pipes(struct bench_env *env, int at_once, measure_fn *measure,
		      struct bench_result *result)
{
	struct bench_pair pair = pipe_pair;
	struct ends ends;
	int rc = make_pipes(env, &ends);

	if (rc < 0)
		return rc;
	ends.at_once = at_once;
	pair.context = &ends;
	rc = measure(env, &pair, record_len(env), result);
	close(ends.in[0]);
	close(ends.in[1]);
	close(ends.out[0]);
	close(ends.out[1]);
	return rc;
}

static int with_sockets(struct bench_env *env, int type, int at_once, measure_fn *measure,
			struct bench_result *result)
{
	struct bench_pair pair = socket_pair;
	struct ends ends;
	int rc = make_sockets(env, type, &ends);

	if (rc < 0)
		return rc;
	ends.at_once = at_once;
	pair.context = &ends;
	rc = measure(env, &pair, record_len(env), result);
	close(ends.in[0]);
	close(ends.in[1]);
	return rc;
}

int bench_socket_pipe_round_trip(struct bench_env *env, struct bench_result *result)
{
	return with_pipes(env, 1, bench_pair_round_trip, result);
}

int bench_socket_pipe_rate(struct bench_env *env, struct bench_result *result)
{
	return with_pipes(env, 1, bench_pair_rate, result);
}

int bench_socket_pipe_rate_many(struct bench_env *env, struct bench_result *result)
{
	return with_pipes(env, MANY, bench_pair_rate, result);
}

int bench_socket_datagram_round_trip(struct bench_env *env, struct bench_result *result)
{
	return with_sockets(env, SOCK_DGRAM, 1, bench_pair_round_trip, result);
}

int bench_socket_datagram_rate(struct bench_env *env, struct bench_result *result)
{
	return with_sockets(env, SOCK_DGRAM, 1, bench_pair_rate, result);
}

int bench_socket_datagram_rate_many(struct bench_env *env, struct bench_result *result)
{
	return with_sockets(env, SOCK_DGRAM, MANY, bench_pair_rate, result);
}

int bench_socket_seqpacket_round_trip(struct bench_env *env, struct bench_result *result)
{
	return with_sockets(env, SOCK_SEQPACKET, 1, bench_pair_round_trip, result);
}

int bench_socket_seqpacket_rate(struct bench_env *env, struct bench_result *result)
{
	return with_sockets(env, SOCK_SEQPACKET, 1, bench_pair_rate, result);
}

int bench_socket_seqpacket_rate_many(struct bench_env *env, struct bench_result *result)
{
	return with_sockets(env, SOCK_SEQPACKET, MANY, bench_pair_rate, result);
}
