/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a request to the operation that answers it. An operation answers at once, or begins a job
 * and answers when that is over. Control thread, apart from the run() of jobs.
 */
#ifndef DAEMON_DISPATCH_H
#define DAEMON_DISPATCH_H

#include <jansson.h>

#include "daemon/protocol.h"
#include "daemon/session.h"
#include "daemon/worker.h"

/* What an operation returns when its answer comes later. */
enum {
	DISPATCH_E_LATER = 1
};

/* An answer in the making. fds that are `owned` are closed once sent. */
struct dispatch_reply {
	json_t *object; /* without ok and id; NULL = nothing but these */
	struct protocol_fds fds;
	bool owned[PROTOCOL_FDS_MAX];
	char detail[OPTIONS_DETAIL_LEN]; /* the sentence of a failure */
	struct protocol_packet packet;   /* all of it, where dispatch_prepare() was called */
};

/* 0, DISPATCH_E_LATER, or negative errno with a sentence in reply->detail. */
typedef int (*dispatch_fn)(struct session *session, const json_t *request,
			   struct dispatch_reply *reply);

/* An operation that takes its time; embedded first in what it needs. */
struct dispatch_job {
	struct worker_job job;
	struct session *session;
	int result;
	struct dispatch_reply reply;
};

/* Handles one packet. The session may be gone afterwards. */
void dispatch_request(struct session *session, const void *packet, size_t len);
/* Answers a packet that was too long. */
void dispatch_refuse(struct session *session);

/* A request that had to wait is handled now. The session may be gone afterwards. */
void dispatch_again(struct session *session, const json_t *request);
/* The session waits for the job: its operation returns DISPATCH_E_LATER. */
void dispatch_begin(struct dispatch_job *job, struct session *session);
/* Has it run, in its user's turn. */
void dispatch_submit(struct dispatch_job *job, enum server_worker worker);
/* On the worker: the reply is put into words here, and not by the loop, which others wait for. */
void dispatch_prepare(struct dispatch_job *job);
/* Answers with job->result and job->reply. The caller frees the job. */
void dispatch_end(struct dispatch_job *job);

/* Adds an fd under its name; owned = closed after sending. */
int dispatch_add_fd(struct dispatch_reply *reply, const char *name, int fd, bool owned);
/* Says the sentence and returns the error. */
int dispatch_fail(struct dispatch_reply *reply, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* -ENOENT with the streams that there are. */
int dispatch_no_stream(struct dispatch_reply *reply, const struct registry *registry,
		       const char *name);

/* ---- fields of a request; each says a sentence when it fails ---- */

int dispatch_get_string(const json_t *request, const char *key, const char **ret_text,
			struct dispatch_reply *reply);
/* At most max. */
int dispatch_get_number(const json_t *request, const char *key, uint64_t max, uint64_t *ret_number,
			struct dispatch_reply *reply);
/* The live stream that the request names, if the subject has any of `rights` (0 = none needed). */
int dispatch_get_stream(struct session *session, const json_t *request, unsigned int rights,
			struct registry_stream **ret_stream, struct dispatch_reply *reply);
/* The stream's shard that the request names; -EIO with the reason when it could not be restored. */
int dispatch_get_shard(const json_t *request, struct registry_stream *stream, uint32_t *ret_shard,
		       struct dispatch_reply *reply);

#endif
