/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes as a segment file. The file is opened, read, sought in, walked and verified as anybody
 * would; then its header is repaired and the same is done again, so that the fuzzer need not
 * find a CRC first. What must hold: calls end, stay inside of memory, and agree with each other.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

#include "persist/reader.h"
#include "persist/recover.h"
#include "persist/timeindex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Reads the whole file as a subscriber does; returns how many bytes of log validated. */
static uint64_t read_all(struct reader *reader, uint64_t end)
{
	static char buf[65536];
	uint64_t pos = reader_header(reader)->base, next, sum = 0;
	struct reader_run run;
	int r;

	while (pos < end) {
		r = reader_read(reader, pos, end, buf, sizeof(buf), &run);
		if (r == 0) {
			assert(run.len > 0 && run.len <= sizeof(buf) && run.next_pos > pos);
			assert(run.next_pos <= end);
			sum += run.next_pos - pos;
			pos = run.next_pos;
		} else if (r == READER_E_SMALL) {
			uint64_t word;

			assert(run.needed > sizeof(buf));
			if (reader_check(reader, pos, end, &word, NULL) == 0)
				sum += record_step(word);
			pos = reader_check(reader, pos, end, &word, NULL) == 0
				      ? pos + record_step(word)
				      : end;
		} else {
			assert(r == -EBADMSG);
			r = reader_resync(reader, pos, end, &next);
			assert(r == 0 && next > pos && next <= end);
			pos = next;
		}
	}
	return sum;
}

static void seek(struct reader *reader, uint64_t end)
{
	uint64_t base = reader_header(reader)->base, pos, found;
	struct timeindex index = { .entries = NULL };

	for (pos = base; pos <= end; pos += 1 + (end - base) / 16) {
		int r = reader_seek_pos(reader, pos, end, &found);

		assert(r == 0 ? found >= pos && found < end : r == READER_E_END && found == end);
		r = reader_seek_time(reader, pos, end, &found);
		assert(r == 0 ? found < end : r == READER_E_END && found == end);
		if (r == 0) {
			uint64_t ns;

			r = reader_check(reader, found, end, NULL, &ns);
			assert(r == 0 && ns >= pos);
		}
	}
	if (timeindex_build(reader, end, &index) == 0) {
		uint64_t plain, indexed;
		int a = reader_seek_time(reader, base, end, &plain), b;

		reader_use_index(reader, &index);
		b = reader_seek_time(reader, base, end, &indexed);
		assert(a == b && plain == indexed);
		reader_use_index(reader, NULL);
		timeindex_deinit(&index);
	}
}

static void use(int fd)
{
	struct recover recover = { .bases = NULL };
	struct reader *reader = NULL;
	uint64_t end, walked;

	if (reader_open(dup(fd), &reader) != 0)
		return;
	if (reader_size_end(reader, &end) == 0) {
		uint64_t sum = read_all(reader, end);

		assert(sum <= end - reader_header(reader)->base);
		seek(reader, end);
		assert(recover_walk(reader, reader_header(reader)->base, end, true, &recover,
				    &walked) == 0);
		assert(walked <= end);
		recover_deinit(&recover);
	}
	reader_close(reader);
}

/* The same bytes as a shard's only segment: opened by recovery, whatever its header says. */
static void recover_bytes(int fd, const struct format_segment *header)
{
	const struct checkpoint none = { .fd = -1 };
	struct segment_identity identity = { .shard = header->shard,
					     .flags = FORMAT_F_CHECKSUM,
					     .crc_seed = header->crc_seed };
	char dir[] = "/dev/shm/leat-fuzz.XXXXXX", name[FORMAT_NAME_LEN], proc[64];
	struct recover recover;
	uint64_t base = header->base % FORMAT_POS_END / 32 * 32;
	int dir_fd;

	if (!mkdtemp(dir))
		return;
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	memcpy(identity.stream_uuid, header->stream_uuid, 16);
	format_segment_name(base, name);
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	if (dir_fd >= 0 && linkat(AT_FDCWD, proc, dir_fd, name, AT_SYMLINK_FOLLOW) == 0 &&
	    recover_scan(dir_fd, &identity, &none, 0, base, &recover) == 0) {
		assert(recover.end >= base && recover.reserved_until > recover.end);
		recover_deinit(&recover);
	}
	if (dir_fd >= 0) {
		unlinkat(dir_fd, name, 0);
		close(dir_fd);
	}
	rmdir(dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct format_segment header;
	int fd;

	if (len > MIB)
		return 0;
	fd = open("/dev/shm", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	if (fd < 0)
		fd = memfd_create("segment", MFD_CLOEXEC);
	if (fd < 0)
		return 0;
	if (write(fd, data, len) == (ssize_t)len) {
		use(fd);
		if (len >= sizeof(header)) {
			memcpy(&header, data, sizeof(header));
			recover_bytes(fd, &header);
			header.base = header.base % FORMAT_POS_END / 32 * 32;
			header.prev_end = header.base;
			header.flags &= FORMAT_F_KNOWN;
			format_segment_seal(&header);
			if (pwrite(fd, &header, sizeof(header), 0) == sizeof(header))
				use(fd);
		}
	}
	close(fd);
	return 0;
}
