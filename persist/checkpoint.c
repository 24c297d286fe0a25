/* SPDX-License-Identifier: Apache-2.0 */
#include "persist/checkpoint.h"

#include <fcntl.h>

#include "persist/file.h"

enum {
	FILE_LEN = FORMAT_CHECKPOINT_SLOTS * FORMAT_CHECKPOINT_STRIDE,
};

static uint64_t slot_off(uint64_t sequence)
{
	return sequence % FORMAT_CHECKPOINT_SLOTS * FORMAT_CHECKPOINT_STRIDE;
}

static bool is_zero(const uint8_t *p, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (p[i] != 0)
			return false;
	return true;
}

/*
 * The newer valid slot: 1; 0 when nothing was ever written; -EBADMSG when something was and none
 * is valid; -EPROTONOSUPPORT when a slot is of a version that is not known.
 */
static int read_slots(int fd, struct format_checkpoint *ret_slot)
{
	struct format_checkpoint slot;
	bool was_written = false;
	uint64_t sequence = 0;
	unsigned int i;
	int64_t n;
	int r;

	for (i = 0; i < FORMAT_CHECKPOINT_SLOTS; i++) {
		memset(&slot, 0, sizeof(slot));
		n = file_read(fd, &slot, sizeof(slot), i * FORMAT_CHECKPOINT_STRIDE);
		if (n < 0)
			return (int)n;
		if (!is_zero((const uint8_t *)&slot, sizeof(slot)))
			was_written = true;
		r = format_checkpoint_check(&slot);
		if (r == -EPROTONOSUPPORT)
			return r;
		if (r == 0 && slot.sequence > sequence) {
			sequence = slot.sequence;
			*ret_slot = slot;
		}
	}
	if (sequence > 0)
		return 1;
	return was_written ? -EBADMSG : 0;
}

int checkpoint_open(int dir_fd, const struct segment_identity *identity,
		    struct checkpoint *ret_checkpoint)
{
	cleanup_with(file_closep) int fd = -1;
	struct checkpoint checkpoint = { .fd = -1 };
	struct format_checkpoint slot;
	int r, have;

	fd = file_open(dir_fd, FORMAT_CHECKPOINT_NAME, O_RDWR | O_CREAT, 0600);
	if (fd < 0)
		return fd;
	have = read_slots(fd, &slot);
	if (have < 0 && have != -EBADMSG)
		return have;
	if (have == 1) {
		if (memcmp(slot.stream_uuid, identity->stream_uuid, 16) != 0 ||
		    slot.shard != identity->shard)
			return -ESTALE;
		checkpoint.sequence = slot.sequence;
		checkpoint.durable = slot.durable;
		checkpoint.reserved_until = slot.reserved_until;
		checkpoint.epoch = slot.epoch;
	}
	/* Writing in place later must not have to allocate: a full disk does not stop it. */
	r = file_allocate(fd, 0, FILE_LEN);
	if (r < 0 && r != -ENOSPC && r != -EDQUOT)
		return r;
	checkpoint.fd = take_fd(fd);
	*ret_checkpoint = checkpoint;
	return have;
}

void checkpoint_close(struct checkpoint *checkpoint)
{
	checkpoint->fd = file_close(checkpoint->fd);
}

int checkpoint_write(struct checkpoint *checkpoint, const struct segment_identity *identity,
		     uint64_t durable, uint64_t reserved_until, uint64_t epoch)
{
	struct format_checkpoint slot = {
		.shard = identity->shard,
		.sequence = checkpoint->sequence + 1,
		.durable = durable,
		.reserved_until = reserved_until,
		.epoch = epoch,
		.written_ns = clock_now_ns(CLOCK_REALTIME),
	};
	int r;

	memcpy(slot.stream_uuid, identity->stream_uuid, sizeof(slot.stream_uuid));
	format_checkpoint_seal(&slot);
	r = file_write(checkpoint->fd, &slot, sizeof(slot), slot_off(slot.sequence));
	if (r == 0)
		r = file_datasync(checkpoint->fd);
	if (r < 0)
		return r;
	checkpoint->sequence = slot.sequence;
	checkpoint->durable = durable;
	checkpoint->reserved_until = reserved_until;
	checkpoint->epoch = epoch;
	return 0;
}

int checkpoint_read(int dir_fd, struct format_checkpoint *ret_slot)
{
	cleanup_with(file_closep) int fd = -1;
	int r;

	fd = file_open(dir_fd, FORMAT_CHECKPOINT_NAME, O_RDONLY, 0);
	if (fd < 0)
		return fd;
	r = read_slots(fd, ret_slot);
	return r == 1 ? 0 : r == 0 ? -ENOENT : r;
}
