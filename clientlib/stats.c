/* SPDX-License-Identifier: Apache-2.0 */
/* Figures of publishers and subscribers. */
#include "clientlib/publish.h"
#include "clientlib/subscribe.h"

/* Copies as much of the figures as the caller's struct has room for. */
static int copy_out(void *to, const void *from, size_t len)
{
	size_t size;

	memcpy(&size, to, sizeof(size));
	if (size < sizeof(size))
		return -EINVAL;
	if (size < len)
		len = size;
	memcpy((char *)to + sizeof(size), (const char *)from + sizeof(size), len - sizeof(size));
	return 0;
}

int leat_subscriber_statistics(const struct leat_subscriber *subscriber,
			       struct leat_subscriber_stats *ret_stats)
{
	return copy_out(ret_stats, &subscriber->stats, sizeof(*ret_stats));
}

int leat_publisher_statistics(const struct leat_publisher *publisher,
			      struct leat_publisher_stats *ret_stats)
{
	struct leat_publisher_stats stats = {
		.full_waits = publisher->full_waits,
		.successors = publisher->successors,
	};
	uint32_t i;

	for (i = 0; i < publisher->n_shards; i++) {
		stats.records += publisher->shards[i].records;
		stats.bytes += publisher->shards[i].bytes;
		stats.drain_kicks += publisher->shards[i].rp.n_kicks;
		stats.wakes += publisher->shards[i].rp.n_wakes;
	}
	return copy_out(ret_stats, &stats, sizeof(stats));
}
