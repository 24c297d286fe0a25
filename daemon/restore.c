/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/restore.h"

#include <limits.h>
#include <stdio.h>

#include "daemon/directory.h"
#include "daemon/log.h"
#include "daemon/process.h"
#include "daemon/registry.h"
#include "daemon/retention.h"
#include "daemon/shard.h"
#include "daemon/stream.h"

/* What is to be deleted once the walk over the catalogue is over. */
struct restore_leftover {
	struct cds_list_head node;
	struct catalogue_stream row;
};

struct restore {
	struct server *server;
	struct cds_list_head leftovers;
	unsigned int n_streams, n_shards, n_failed, n_publishers;
};

/* A publisher that the last daemon knew: watched if it lives, else its slot is given up. */
static void restore_slot(struct restore *restore, struct registry_stream *stream, uint32_t shard,
			 const struct layout_owner *owner, uint32_t slot)
{
	struct process_slot held = {
		.stream = stream, .shard = shard, .slot = slot, .publisher = owner->publisher
	};
	struct process *process;
	int r = process_get(restore->server, -1, (pid_t)owner->pid, owner->start_time, &process);

	if (r == 0) {
		r = process_hold(process, &held);
		process_put(process);
	}
	if (r == 0)
		restore->n_publishers++;
	else
		shard_slot_gone(stream->shards[shard].shard, slot);
}

static void restore_slots(struct restore *restore, struct registry_stream *stream, uint32_t shard)
{
	static struct layout_owner owners[LAYOUT_PUBLISHER_SLOTS];
	static uint32_t slots[LAYOUT_PUBLISHER_SLOTS];
	size_t n = shard_slots(stream->shards[shard].shard, owners, slots, ARRAY_LEN(slots));

	for (size_t i = 0; i < n; i++)
		restore_slot(restore, stream, shard, &owners[i], slots[i]);
}

static void restore_shard(struct restore *restore, struct registry_stream *stream, uint32_t shard)
{
	struct registry_shard *rs = &stream->shards[shard];
	char detail[OPTIONS_DETAIL_LEN] = "";
	int r = stream_make_shard(restore->server, stream, shard, -1, detail, sizeof(detail));

	restore->n_shards++;
	if (r == 0) {
		restore_slots(restore, stream, shard);
		return;
	}
	/* The others are served all the same; who asks for this one is told why not. */
	restore->n_failed++;
	rs->error = r;
	rs->detail = strdup(detail[0] ? detail : strerror(-r));
	log_error("Stream %s shard %u cannot be restored: %s", stream->name, shard,
		  detail[0] ? detail : strerror(-r));
}

static int restore_checkpoint(void *ctx, const char *name, uint32_t shard, uint64_t pos)
{
	struct registry_stream *stream = ctx;
	struct registry_checkpoint *checkpoint = registry_find_checkpoint(stream, name);

	if (shard >= stream->n_shards || !names_is_valid(name))
		return 0;
	if (!checkpoint)
		checkpoint = registry_add_checkpoint(stream, name);
	if (!checkpoint)
		return -ENOMEM;
	store_relaxed(&checkpoint->pos[shard], pos);
	return 0;
}

static int restore_live(struct restore *restore, const struct catalogue_stream *row)
{
	struct server *server = restore->server;
	struct registry_stream *stream = registry_add(&server->registry, row->name);
	struct options options = row->options;
	int r;

	if (!stream)
		return -ENOMEM;
	options_print_names(&options);
	r = registry_define(&server->registry, stream, row->uuid, &options);
	if (r < 0)
		return r;
	stream->id = row->id;
	r = catalogue_each_checkpoint(server->catalogue, row->id, restore_checkpoint, stream);
	if (r < 0)
		log_error("The checkpoints of stream %s cannot be read: %s", row->name,
			  strerror(-r));
	r = retention_restore(server, stream);
	if (r < 0)
		log_error(
			"When segments of stream %s were closed cannot be read: %s; they count as "
			"new",
			row->name, strerror(-r));
	for (uint32_t i = 0; i < stream->n_shards; i++)
		restore_shard(restore, stream, i);
	registry_set_live(&server->registry, stream);
	restore->n_streams++;
	return 0;
}

static int restore_stream(void *ctx, const struct catalogue_stream *row)
{
	struct restore *restore = ctx;
	struct restore_leftover *leftover;

	if (row->state == CATALOGUE_LIVE)
		return restore_live(restore, row);
	leftover = calloc(1, sizeof(*leftover));
	if (!leftover)
		return -ENOMEM;
	leftover->row = *row;
	cds_list_add_tail(&leftover->node, &restore->leftovers);
	return 0;
}

/* Streams whose creation or removal was cut off: nobody was told that they exist, or do not. */
static void restore_clean(struct restore *restore)
{
	struct restore_leftover *leftover, *next;
	char base[PATH_MAX];

	snprintf(base, sizeof(base), "%s/streams", restore->server->config->data);
	cds_list_for_each_entry_safe(leftover, next, &restore->leftovers, node) {
		int r = directory_remove(base, leftover->row.name);

		if (r == 0)
			r = catalogue_remove_stream(restore->server->catalogue, leftover->row.id);
		if (r < 0)
			log_error("What is left of stream %s cannot be removed: %s",
				  leftover->row.name, strerror(-r));
		else
			log_notice("Stream %s had been left half-%s; it was cleaned away",
				   leftover->row.name,
				   leftover->row.state == CATALOGUE_MAKING ? "made" : "removed");
		free(leftover);
	}
}

int restore_streams(struct server *server)
{
	struct restore restore = { .server = server };
	int r;

	CDS_INIT_LIST_HEAD(&restore.leftovers);
	r = catalogue_each_stream(server->catalogue, restore_stream, &restore);
	restore_clean(&restore);
	if (r < 0)
		return r;
	if (restore.n_streams > 0)
		log_info("Streams are back: %u, with %u shards, of which %u failed; publishers "
			 "that live on: %u",
			 restore.n_streams, restore.n_shards, restore.n_failed,
			 restore.n_publishers);
	return 0;
}
