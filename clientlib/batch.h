/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several records in one reservation, committed by one word: what leat_publish_batch() is for, and
 * what leat_publish_many() uses because it is cheaper.
 */
#ifndef CLIENTLIB_BATCH_H
#define CLIENTLIB_BATCH_H

#include "clientlib/publish.h"

struct batch {
	const struct leat_record *records;
	struct leat_result *results; /* of the same indices; NULL = nobody asks */
	const uint32_t *shards;      /* the same: only those of the shard count; NULL = all */
	size_t n;
};

/*
 * Writes the batch at pos, where `span` bytes are reserved for it and its header, and commits it as
 * n_records records. 0, or what follow_fate() says.
 */
int batch_commit(struct leat_publisher *publisher, struct publish_shard *shard,
		 const struct batch *batch, uint64_t pos, uint32_t span, uint32_t n_records,
		 struct deadline *deadline);

#endif
