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

/* Memory that is left to the machine when rings are made; less where there is little. */
#define STREAM_MEMORY_SPARE (64 * MIB)

int stream_op_create(struct session *session, const json_t *request, struct dispatch_reply *reply);
int stream_op_remove(struct session *session, const json_t *request, struct dispatch_reply *reply);

/* Is there room for rings of `needed` bytes, and something left for everything else? */
static inline bool stream_fits_memory(uint64_t needed, uint64_t available)
{
	return needed + min_u64(STREAM_MEMORY_SPARE, available / 4) <= available;
}

/* Where a stream's files are; shard -1 = the directory of all its shards. */
void stream_path(const struct config *config, const char *name, int shard, char *path, size_t len);

/*
 * Takes away what the catalogue calls half made or half removed: files, then the row. -EEXIST when
 * a stream that was never whole has records: then it is the catalogue that is not. Blocking.
 */
int stream_remove_leftover(struct server *server, const char *name, int64_t id,
			   enum catalogue_state state);

/* A shard to be made or restored. The stream has its settings. */
struct stream_shard {
	struct registry_stream *stream;
	uint32_t number;
	int node;                           /* of memory, -1 = any */
	const struct region_fds *survivors; /* as struct shard_options */
	size_t n_survivors;
};

/* As shard_new() and shard_start(); after the second its drain thread serves it. Blocking; any
 * thread. */
int stream_make_shard(struct server *server, const struct stream_shard *what, char *detail,
		      size_t detail_len, struct shard **ret_shard);
int stream_start_shard(struct shard *shard, char *detail, size_t detail_len);
/* All its shards are served: everybody sees it. */
void stream_set_live(struct server *server, struct registry_stream *stream);
/* A drain thread says that shards have stopped: goes on with removals that wait for it. */
void stream_check_stopping(struct server *server);
/* Another user of the stream is done; its removal may have waited. */
void stream_put(struct server *server, struct registry_stream *stream);

/* The end: asks all shards to drain and stop; then true when all have; then frees them. */
void stream_stop_all(struct server *server, bool keep_rings);
bool stream_all_stopped(struct server *server);
void stream_free_all(struct server *server);

#endif
