/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams come and go: made on request, brought back at the start, changed, removed. What takes
 * time is done by workers, step by step; each step leaves the catalogue such that a daemon that
 * starts after a crash knows what to finish or to undo.
 */
#ifndef DAEMON_STREAM_H
#define DAEMON_STREAM_H

#include "daemon/dispatch.h"
#include "daemon/server.h"

/* Memory that is left to the machine when rings are made. */
#define STREAM_MEMORY_SPARE (64 * MIB)

int stream_op_create(struct session *session, const json_t *request, struct dispatch_reply *reply);
int stream_op_remove(struct session *session, const json_t *request, struct dispatch_reply *reply);

/* Where a stream's files are; shard -1 = the directory of all its shards. */
void stream_path(const struct config *config, const char *name, int shard, char *path, size_t len);
/*
 * Makes or restores one shard, which its drain thread serves when this returns. The stream has its
 * settings. Blocking; any thread. On failure a sentence, and the shard is not there.
 */
int stream_make_shard(struct server *server, struct registry_stream *stream, uint32_t shard,
		      int node, char *detail, size_t detail_len);
/* A drain thread says that shards have stopped: goes on with removals that wait for it. */
void stream_check_stopping(struct server *server);
/* Another user of the stream is done; its removal may have waited. */
void stream_put(struct server *server, struct registry_stream *stream);

/* The end: asks all shards to drain and stop; then true when all have; then frees them. */
void stream_stop_all(struct server *server, bool keep_rings);
bool stream_all_stopped(struct server *server);
void stream_free_all(struct server *server);

#endif
