/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/registry.h"

#include <stdio.h>

void registry_init(struct registry *registry)
{
	*registry = (struct registry){ 0 };
	CDS_INIT_LIST_HEAD(&registry->streams);
	for (int i = 0; i < REGISTRY_BUCKETS; i++)
		CDS_INIT_LIST_HEAD(&registry->buckets[i]);
}

/* FNV-1a: names are short, and whoever makes thousands that collide slows down nobody's records. */
static struct cds_list_head *registry_bucket(struct registry *registry, const char *name)
{
	uint32_t hash = 2166136261u;

	for (const char *p = name; *p; p++)
		hash = (hash ^ (unsigned char)*p) * 16777619u;
	return &registry->buckets[hash % REGISTRY_BUCKETS];
}

struct registry_stream *registry_find(struct registry *registry, const char *name)
{
	struct registry_stream *stream;

	cds_list_for_each_entry(stream, registry_bucket(registry, name), name_node)
		if (strcmp(stream->name, name) == 0)
			return stream;
	return NULL;
}

struct registry_stream *registry_add(struct registry *registry, const char *name)
{
	struct registry_stream *stream = calloc(1, sizeof(*stream));

	if (!stream)
		return NULL;
	snprintf(stream->name, sizeof(stream->name), "%s", name);
	CDS_INIT_LIST_HEAD(&stream->node);
	CDS_INIT_LIST_HEAD(&stream->checkpoints);
	store_relaxed(&stream->state, REGISTRY_MAKING);
	cds_list_add(&stream->name_node, registry_bucket(registry, name));
	registry->n_streams++;
	return stream;
}

int registry_define(struct registry *registry, struct registry_stream *stream,
		    const uint8_t uuid[16], const struct options *options)
{
	struct registry_settings *settings = calloc(1, sizeof(*settings));
	struct registry_shard *shards = calloc(options->n_shards, sizeof(*shards));

	if (!settings || !shards) {
		free(settings);
		free(shards);
		return -ENOMEM;
	}
	settings->options = *options;
	stream->settings = settings;
	stream->shards = shards;
	stream->n_shards = options->n_shards;
	store_relaxed(&stream->quota.limit, options->retain_len);
	memcpy(stream->uuid, uuid, 16);
	registry->n_shards += options->n_shards;
	registry->ring_len += options->n_shards * options->ring_len;
	return 0;
}

void registry_print_names(const struct registry *registry, char *text, size_t len)
{
	const struct registry_stream *stream;
	const char *before = "; there are: ";
	size_t at = 0;

	text[0] = '\0';
	urcu_memb_read_lock();
	cds_list_for_each_entry_rcu(stream, &registry->streams, node) {
		int n = snprintf(text + at, len - at, "%s%s", before, stream->name);

		/* The last one that fits makes room for the dots. */
		if (n < 0 || (size_t)n + sizeof(", ...") > len - at) {
			snprintf(text + at, len - at, "%s", at > 0 ? ", ..." : "");
			break;
		}
		at += (size_t)n;
		before = ", ";
	}
	urcu_memb_read_unlock();
	if (at == 0)
		snprintf(text, len, "; there is none yet: `leat stream create` makes one");
}

void registry_set_restoring(struct registry_stream *stream)
{
	store_relaxed(&stream->state, REGISTRY_RESTORING);
}

void registry_set_live(struct registry *registry, struct registry_stream *stream)
{
	store_relaxed(&stream->state, REGISTRY_LIVE);
	cds_list_add_tail_rcu(&stream->node, &registry->streams);
}

void registry_set_removing(struct registry *registry, struct registry_stream *stream)
{
	(void)registry;
	if (registry_state_of(stream) == REGISTRY_LIVE)
		cds_list_del_rcu(&stream->node);
	store_relaxed(&stream->state, REGISTRY_REMOVING);
}

void registry_remove(struct registry *registry, struct registry_stream *stream)
{
	registry_set_removing(registry, stream);
	cds_list_del(&stream->name_node);
	registry->n_streams--;
	registry->n_shards -= stream->n_shards;
	if (stream->settings)
		registry->ring_len -= stream->n_shards * registry_options(stream)->ring_len;
}

struct registry_stream *registry_stream_free(struct registry_stream *stream)
{
	struct registry_checkpoint *checkpoint, *next;

	if (!stream)
		return NULL;
	urcu_memb_synchronize_rcu();
	cds_list_for_each_entry_safe(checkpoint, next, &stream->checkpoints, node)
		free(checkpoint);
	for (uint32_t i = 0; i < stream->n_shards; i++)
		free(stream->shards[i].detail);
	free(stream->shards);
	free(stream->settings);
	free(stream);
	return NULL;
}

int registry_set_options(struct registry *registry, struct registry_stream *stream,
			 const struct options *options)
{
	struct registry_settings *settings = calloc(1, sizeof(*settings)), *old = stream->settings;

	if (!settings)
		return -ENOMEM;
	settings->options = *options;
	registry->ring_len += stream->n_shards * (options->ring_len - old->options.ring_len);
	rcu_assign_pointer(stream->settings, settings);
	store_relaxed(&stream->quota.limit, options->retain_len);
	/* Not call_rcu(): it ends the process when it cannot have its thread. */
	urcu_memb_synchronize_rcu();
	free(old);
	return 0;
}

/* ---- checkpoints ---- */

struct registry_checkpoint *registry_find_checkpoint(struct registry_stream *stream,
						     const char *name)
{
	struct registry_checkpoint *checkpoint;

	cds_list_for_each_entry(checkpoint, &stream->checkpoints, node)
		if (strcmp(checkpoint->name, name) == 0)
			return checkpoint;
	return NULL;
}

struct registry_checkpoint *registry_add_checkpoint(struct registry_stream *stream,
						    const char *name)
{
	struct registry_checkpoint *checkpoint =
		calloc(1, sizeof(*checkpoint) + stream->n_shards * sizeof(checkpoint->pos[0]));

	if (!checkpoint)
		return NULL;
	snprintf(checkpoint->name, sizeof(checkpoint->name), "%s", name);
	checkpoint->n_shards = stream->n_shards;
	for (uint32_t i = 0; i < stream->n_shards; i++)
		store_relaxed(&checkpoint->pos[i], UINT64_MAX);
	cds_list_add_tail_rcu(&checkpoint->node, &stream->checkpoints);
	stream->n_checkpoints++;
	return checkpoint;
}

void registry_remove_checkpoint(struct registry_stream *stream,
				struct registry_checkpoint *checkpoint)
{
	cds_list_del_rcu(&checkpoint->node);
	stream->n_checkpoints--;
	urcu_memb_synchronize_rcu();
	free(checkpoint);
}
