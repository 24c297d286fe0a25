/* SPDX-License-Identifier: Apache-2.0 */
/* A shard's segments as the control thread sees them: for clients that read, and for retention. */
#include "daemon/shard_internal.h"

#include "persist/format.h"
#include "persist/segment.h"

/*
 * The store stays open while the shard is served, and the drain thread lets go of it under the
 * lock; so it is held for these calls, which open files but never wait for the disk's writes.
 */
int shard_segments(struct shard *shard, uint64_t pos, struct shard_segment *segments, size_t n)
{
	size_t found = 0;
	int r = 0;

	pthread_mutex_lock(&shard->lock);
	while (shard->store && found < n) {
		struct shard_segment *segment = &segments[found];
		bool closed;

		*segment = (struct shard_segment){ .fd = -1 };
		r = store_open_segment(shard->store, pos, &segment->base, &segment->end, &closed,
				       &segment->fd);
		if (r != 0)
			break;
		pos = segment->end;
		if (!closed)
			segment->end = 0;
		found++;
		if (!closed)
			break;
	}
	pthread_mutex_unlock(&shard->lock);
	return r < 0 && found == 0 ? r : (int)found;
}

size_t shard_closed_segments(struct shard *shard, struct shard_closed_segment *segments, size_t n)
{
	struct store_segment_info infos[64];
	size_t found = 0, first = 0, got;

	pthread_mutex_lock(&shard->lock);
	while (shard->store && found < n) {
		got = store_list(shard->store, first, infos, ARRAY_LEN(infos));
		if (got == 0)
			break;
		for (size_t i = 0; i < got && found < n; i++) {
			if (!infos[i].closed)
				continue;
			segments[found++] = (struct shard_closed_segment){
				.base = infos[i].base,
				.bytes = infos[i].bytes ? infos[i].bytes
							: infos[i].end - infos[i].base,
				.last_ns = infos[i].max_ns,
			};
		}
		first += got;
	}
	pthread_mutex_unlock(&shard->lock);
	return found;
}

uint64_t shard_kept_bytes(const struct shard *shard)
{
	return load_relaxed(&shard->cur.ring->govern->counters.kept_bytes);
}

int shard_drop_segment(struct shard *shard, uint64_t base)
{
	static const uint64_t one = 1;
	int r = -ENOENT;

	pthread_mutex_lock(&shard->lock);
	if (shard->store && shard->life == SHARD_RUNNING) {
		shard->want_drop = true;
		shard->drop_base = base;
		shard->drop_result = -ENOENT;
		(void)!write(shard->kick_fd, &one, sizeof(one));
		while (shard->want_drop && shard->life == SHARD_RUNNING)
			pthread_cond_wait(&shard->changed, &shard->lock);
		r = shard->drop_result;
	}
	pthread_mutex_unlock(&shard->lock);
	return r;
}
