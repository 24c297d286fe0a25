/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The streams that this daemon serves. The control thread alone changes it; other threads read it
 * without locks, inside of an RCU read-side section (liburcu-memb).
 */
#ifndef DAEMON_REGISTRY_H
#define DAEMON_REGISTRY_H

#include <urcu/rculist.h>
#include <urcu/urcu-memb.h>

#include "daemon/options.h"
#include "daemon/shard.h"
#include "shm/atomic.h"

struct drain;
struct restore_shard;
struct retention;
struct shard;
struct worker_job;

enum {
	REGISTRY_BUCKETS = 256
};

enum registry_state {
	REGISTRY_MAKING,    /* the name is taken; nobody else sees it */
	REGISTRY_RESTORING, /* served as far as its shards are back; not in the list yet */
	REGISTRY_LIVE,      /* in the list that readers walk */
	REGISTRY_REMOVING,  /* the name is taken; readers that came before may still see it */
};

/* Replaced as a whole when something is set. */
struct registry_settings {
	struct options options;
};

/* Of a named subscriber. Positions change in place; UINT64_MAX = none. */
struct registry_checkpoint {
	struct cds_list_head node; /* RCU */
	char name[NAMES_STREAM_MAX + 1];
	uint32_t n_shards;
	_Atomic uint64_t pos[];
};

/* Written before the stream is live, and after no reader can see it. */
struct registry_shard {
	struct shard *shard;             /* NULL: not made yet, or it could not be */
	struct drain *drain;             /* that serves it, or NULL */
	struct restore_shard *restoring; /* until it is back */
	int error;                       /* why it could not be restored, with a sentence */
	char *detail;
};

struct registry_stream {
	struct cds_list_head node;      /* of registry.streams, RCU */
	struct cds_list_head name_node; /* of a bucket, control thread */
	_Atomic uint32_t state;         /* enum registry_state */
	int64_t id;                     /* in the catalogue */
	char name[NAMES_STREAM_MAX + 1];
	uint8_t uuid[16];
	uint32_t n_shards;
	uint32_t n_restoring;               /* shards that are not back yet; control thread */
	struct registry_settings *settings; /* RCU */
	struct registry_shard *shards;
	struct shard_quota quota;         /* its limit follows the settings */
	struct cds_list_head checkpoints; /* RCU */
	uint32_t n_checkpoints;
	uint32_t n_checkpoint_jobs; /* control thread: being stored */
	int checkpoints_error;      /* why they could not be read when the daemon started */
	/* Control thread: jobs that use it; it is not removed before they are over. */
	uint32_t n_jobs;
	bool altering;
	struct worker_job *waiting; /* the removal, for n_jobs to become 0 */
	struct retention *retention;
};

struct registry {
	struct cds_list_head streams; /* RCU */
	struct cds_list_head buckets[REGISTRY_BUCKETS];
	uint32_t n_streams; /* all states */
	uint32_t n_shards;
	uint64_t ring_len; /* bytes of all rings */
};

void registry_init(struct registry *registry);

/* The name is free: registry_find() said so. NULL without memory. State MAKING. */
struct registry_stream *registry_add(struct registry *registry, const char *name);
/* Sets what the stream is and makes room for its shards. -ENOMEM. */
int registry_define(struct registry *registry, struct registry_stream *stream,
		    const uint8_t uuid[16], const struct options *options);
/* The names of the streams there are, for an error message: "; there are: a, b", cut where there
 * are many. Any thread that is registered with RCU. */
void registry_print_names(const struct registry *registry, char *text, size_t len);
void registry_set_restoring(struct registry_stream *stream);
void registry_set_live(struct registry *registry, struct registry_stream *stream);
/* New readers do not see it any more; those that do may use its shards for a grace period. */
void registry_set_removing(struct registry *registry, struct registry_stream *stream);
/* From now on its name is free. The stream itself is the caller's: registry_stream_free(). */
void registry_remove(struct registry *registry, struct registry_stream *stream);
/* Its shards must be gone, and it must have been removed. Waits for a grace period. */
struct registry_stream *registry_stream_free(struct registry_stream *stream);

/* Any state. */
struct registry_stream *registry_find(struct registry *registry, const char *name);
/* Replaces the options; -ENOMEM. */
int registry_set_options(struct registry *registry, struct registry_stream *stream,
			 const struct options *options);

/* Control thread. NULL without memory or when there is none of that name (find). */
struct registry_checkpoint *registry_find_checkpoint(struct registry_stream *stream,
						     const char *name);
struct registry_checkpoint *registry_add_checkpoint(struct registry_stream *stream,
						    const char *name);
void registry_remove_checkpoint(struct registry_stream *stream,
				struct registry_checkpoint *checkpoint);

/* The options as they are now: control thread, or inside of a read-side section. */
static inline const struct options *registry_options(const struct registry_stream *stream)
{
	return &rcu_dereference(stream->settings)->options;
}

static inline enum registry_state registry_state_of(const struct registry_stream *stream)
{
	return (enum registry_state)load_relaxed(&stream->state);
}

#endif
