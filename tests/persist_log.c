/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/persist_log.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "persist/reader.h"

const uint8_t persist_log_uuid[16] = "leat test stream";

void persist_log_make_dir(char ret_path[64])
{
	const char *tmp = getenv("TMPDIR");

	snprintf(ret_path, 64, "%.40s/leat-persist.XXXXXX", tmp && *tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(ret_path));
}

void persist_log_remove_dir(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	rmdir(path);
}

static void copy_file(int from_dir, int to_dir, const char *name)
{
	int from = openat(from_dir, name, O_RDONLY | O_CLOEXEC);
	int to = openat(to_dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	char buf[65536];
	ssize_t n;

	ck_assert_int_ge(from, 0);
	ck_assert_int_ge(to, 0);
	while ((n = read(from, buf, sizeof(buf))) > 0)
		ck_assert_int_eq(write(to, buf, (size_t)n), n);
	ck_assert_int_eq(n, 0);
	close(from);
	close(to);
}

void persist_log_copy_dir(const char *from, const char *to)
{
	DIR *dir = opendir(from);
	struct dirent *entry;
	int to_dir;

	mkdir(to, 0700);
	to_dir = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_ptr_nonnull(dir);
	ck_assert_int_ge(to_dir, 0);
	while ((entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			copy_file(dirfd(dir), to_dir, entry->d_name);
	closedir(dir);
	close(to_dir);
}

void persist_log_segment_path(const char *dir, uint64_t base, char ret_path[128])
{
	char name[FORMAT_NAME_LEN];

	format_segment_name(base, name);
	snprintf(ret_path, 128, "%.64s/%s", dir, name);
}

void persist_log_poke(const char *path, uint64_t off, const void *buf, size_t len)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	size_t i;

	ck_assert_int_ge(fd, 0);
	for (i = 0; i < len; i++) {
		char byte;

		ck_assert_int_eq(pread(fd, &byte, 1, (off_t)(off + i)), 1);
		byte = buf ? ((const char *)buf)[i] : (char)(byte ^ 0x10);
		ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)(off + i)), 1);
	}
	close(fd);
}

void persist_log_init(struct persist_log *log, uint64_t base, bool checksum)
{
	memset(log, 0, sizeof(*log));
	log->base = base;
	log->checksum = checksum;
	log->seed = record_crc_seed(persist_log_uuid, PERSIST_LOG_SHARD);
}

void persist_log_deinit(struct persist_log *log)
{
	free(log->bytes);
	log->bytes = NULL;
}

uint64_t persist_log_end(const struct persist_log *log)
{
	return log->base + log->len;
}

static char *grow(struct persist_log *log, uint64_t span)
{
	char *p;

	if (log->len + span > log->cap) {
		log->cap = (log->len + span) * 2;
		log->bytes = realloc(log->bytes, log->cap);
		ck_assert_ptr_nonnull(log->bytes);
	}
	p = log->bytes + log->len;
	memset(p, 0, span);
	log->len += span;
	return p;
}

static void finish(struct persist_log *log, char *p, uint64_t word)
{
	uint64_t pos = log->base + (uint64_t)(p - log->bytes);
	uint32_t crc;

	memcpy(p, &word, sizeof(word));
	crc = log->checksum ? record_crc(log->seed, pos, word, p) : 0;
	memcpy(p + offsetof(struct record_header, crc), &crc, sizeof(crc));
}

uint64_t persist_log_add(struct persist_log *log, enum record_kind kind, uint32_t value_len,
			 uint64_t timestamp_ns)
{
	uint64_t pos = persist_log_end(log);
	uint32_t len = RECORD_HEADER_LEN + value_len, i;
	char *p = grow(log, record_span(len));
	uint16_t key_len = kind == RECORD_COMMITTED && value_len >= 4 ? 4 : 0;
	uint32_t publisher = 1 + log->n_records % 3, sequence = log->n_records / 3;

	log->n_records++;
	memcpy(p + offsetof(struct record_header, timestamp_ns), &timestamp_ns, 8);
	memcpy(p + offsetof(struct record_header, key_len), &key_len, 2);
	memcpy(p + offsetof(struct record_header, publisher), &publisher, 4);
	memcpy(p + offsetof(struct record_header, sequence), &sequence, 4);
	for (i = 0; i < value_len; i++)
		p[RECORD_HEADER_LEN + i] = (char)(pos / 32 * 7 + i * 13 + 1);
	finish(log, p, record_word(kind, len, 5, 0));
	return pos;
}

uint64_t persist_log_add_batch(struct persist_log *log, unsigned int n, uint32_t value_len)
{
	uint64_t pos = persist_log_add(log, RECORD_BATCH, 0, 1);
	uint64_t off = pos - log->base;
	unsigned int i;

	for (i = 0; i < n; i++)
		persist_log_add(log, RECORD_COMMITTED, value_len, 1);
	finish(log, log->bytes + off, record_word(RECORD_BATCH, (uint32_t)(log->len - off), 5, 0));
	return pos;
}

void persist_log_fill(struct persist_log *log, unsigned int n, uint64_t ns)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		persist_log_add(log, i % 50 == 49 ? RECORD_TOMBSTONE : RECORD_COMMITTED,
				i * 37 % 300, ns + i);
}

static void count_change(void *ctx)
{
	struct persist_log_store *s = ctx;

	s->n_changed++;
}

void persist_log_options(struct store_options *options, const char *path, bool checksum)
{
	*options = (struct store_options){
		.path = path,
		.shard = PERSIST_LOG_SHARD,
		.crc_seed = record_crc_seed(persist_log_uuid, PERSIST_LOG_SHARD),
		.checksum = checksum,
		.segment_len = 64 * KIB,
		.first_pos = PERSIST_LOG_FIRST,
	};
	memcpy(options->stream_uuid, persist_log_uuid, 16);
}

void persist_log_open(struct persist_log_store *s, const struct store_options *options,
		      unsigned int io_flags)
{
	struct store_options mine = *options;

	memset(s, 0, sizeof(*s));
	mine.changed = count_change;
	mine.ctx = s;
	ck_assert_int_eq(io_new(0, io_flags, &s->io), 0);
	ck_assert_int_eq(store_open(&mine, s->io, &s->recovered, &s->store), 0);
}

void persist_log_close(struct persist_log_store *s)
{
	s->store = store_close(s->store);
	s->io = io_free(s->io);
}

/* Bytes of whole records, and whole batches, from off on: one at least, about `run` at most. */
static uint64_t next_run(const struct persist_log *log, uint64_t off, uint64_t run,
			 uint64_t *ret_max_ns)
{
	uint64_t at = off, max_ns = 0, word, ns;

	do {
		memcpy(&word, log->bytes + at, 8);
		memcpy(&ns, log->bytes + at + 8, 8);
		if (record_word_kind(word) == RECORD_COMMITTED)
			max_ns = max_u64(max_ns, ns);
		at += record_span(record_word_len(word));
	} while (at < log->len && at - off < run);
	*ret_max_ns = max_ns;
	return at - off;
}

void persist_log_write(struct persist_log_store *s, const struct persist_log *log, uint64_t pos,
		       uint64_t run)
{
	while (pos < persist_log_end(log)) {
		uint64_t max_ns, len = next_run(log, pos - log->base, run, &max_ns);
		int r = store_write(s->store, pos, log->bytes + (pos - log->base), len, max_ns);

		if (r == STORE_E_ROLL)
			r = store_roll(s->store);
		else if (r == 0)
			pos += len;
		ck_assert_msg(r >= 0, "writing at %llu: %s", (unsigned long long)pos, strerror(-r));
		if (r == STORE_E_WAIT)
			io_wait(s->io, 1000);
	}
	while (store_written(s->store) < pos) {
		ck_assert_int_eq(store_error(s->store, NULL), 0);
		io_wait(s->io, 1000);
	}
}

void persist_log_sync(struct persist_log_store *s)
{
	ck_assert_int_eq(store_sync(s->store), 0);
	while (store_durable(s->store) < store_next(s->store)) {
		ck_assert_int_eq(store_error(s->store, NULL), 0);
		io_wait(s->io, 1000);
	}
}

void persist_log_compare(struct persist_log_store *s, const struct persist_log *log, uint64_t from,
			 uint64_t to)
{
	static char buf[RECORD_LEN_MAX];
	struct reader_run run;
	struct reader *reader;
	uint64_t base, end;
	bool closed;
	int fd;

	while (from < to) {
		ck_assert_int_eq(store_open_segment(s->store, from, &base, &end, &closed, &fd), 0);
		ck_assert_uint_le(base, from);
		ck_assert_uint_gt(end, from);
		ck_assert_int_eq(reader_open(fd, &reader), 0);
		for (end = min_u64(end, to); from < end; from = run.next_pos) {
			ck_assert_int_eq(reader_read(reader, from, end, buf, sizeof(buf), &run), 0);
			ck_assert_uint_eq(run.next_pos, from + run.len);
			ck_assert_int_eq(memcmp(buf, log->bytes + (from - log->base), run.len), 0);
		}
		reader_close(reader);
	}
}
