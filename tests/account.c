/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/account.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "shm/atomic.h"
#include "tests/harness.h"

enum {
	NUMBER_BITS = 40,
	IN_VALUE_LEN = 16, /* of a value that can hold who it is */
	GAPS_MAX = 4096,
};

/* What is known of a record. */
enum state {
	STATE_NONE = 0,
	STATE_TRIED = 1,
	STATE_REFUSED = 2,
	STATE_TOLD = 3, /* and the levels above it */
};

struct entry {
	uint64_t hash;
	uint64_t pos;
	uint32_t len;
	_Atomic uint32_t state;
	uint16_t shard;
	uint16_t batch_idx;
	uint16_t batch_n;
	uint16_t reserved;
};

struct writer {
	_Atomic uint64_t n;
};

struct account {
	uint64_t len;
	uint64_t capacity;
	uint32_t n_writers;
	uint32_t reserved;
	struct writer writers[ACCOUNT_WRITERS_MAX];
	struct entry entries[];
};

struct gap {
	uint64_t pos;
	uint64_t next_pos;
	uint32_t shard;
	uint32_t reason;
};

struct seen {
	_Atomic uint64_t pos; /* 0 = not seen */
	uint32_t shard;
	uint32_t reserved;
};

struct account_reader {
	const struct account *account;
	uint64_t len;
	uint64_t n;
	uint64_t pos[ACCOUNT_SHARDS_MAX];
	uint64_t first[ACCOUNT_SHARDS_MAX];
	uint64_t next[ACCOUNT_WRITERS_MAX][ACCOUNT_SHARDS_MAX];
	char complaint[512];
	size_t n_gaps;
	struct gap gaps[GAPS_MAX];
	struct seen seen[];
};

/* ---- memory ---- */

static void *map(const char *path, uint64_t len)
{
	int fd = -1, flags = MAP_SHARED | MAP_NORESERVE;
	void *p;

	if (path) {
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		must(fd >= 0 && ftruncate(fd, (off_t)len) == 0, "%s: %s", path, strerror(errno));
	} else {
		flags |= MAP_ANONYMOUS;
	}
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, flags, fd, 0);
	must(p != MAP_FAILED, "mapping %llu bytes: %s", (unsigned long long)len, strerror(errno));
	if (fd >= 0)
		close(fd);
	return p;
}

struct account *account_new(const char *path, unsigned n_writers, uint64_t n)
{
	uint64_t len = sizeof(struct account) + n_writers * n * sizeof(struct entry);
	struct account *account = map(path, len);

	must(n_writers <= ACCOUNT_WRITERS_MAX, "too many writers");
	must(account->len == 0 || (account->len == len && account->n_writers == n_writers),
	     "%s is another account", path);
	account->len = len;
	account->capacity = n;
	account->n_writers = n_writers;
	return account;
}

struct account *account_free(struct account *account)
{
	if (account)
		munmap(account, account->len);
	return NULL;
}

void account_clear(struct account *account)
{
	for (uint32_t i = 0; i < account->n_writers; i++)
		memset(&account->entries[i * account->capacity], 0,
		       load_acquire(&account->writers[i].n) * sizeof(struct entry));
	memset(account->writers, 0, sizeof(account->writers));
}

uint64_t account_n(const struct account *account, unsigned writer)
{
	return load_acquire(&account->writers[writer].n);
}

uint64_t account_room(const struct account *account, unsigned writer)
{
	return account->capacity - account_n(account, writer);
}

void account_count(const struct account *account, uint64_t *ret_tried, uint64_t *ret_told)
{
	*ret_tried = 0;
	*ret_told = 0;
	for (uint32_t i = 0; i < account->n_writers; i++) {
		uint64_t n = account_n(account, i);

		*ret_tried += n;
		for (uint64_t j = 0; j < n; j++)
			*ret_told +=
				load_acquire(&account->entries[i * account->capacity + j].state) >=
				STATE_TOLD;
	}
}

static struct entry *entry_of(struct account *account, unsigned writer, uint64_t number)
{
	must(writer < account->n_writers && number < account->capacity, "the account is full");
	return &account->entries[writer * account->capacity + number];
}

/* ---- the publisher's side ---- */

void account_fill(void *buf, size_t len, uint64_t seed)
{
	char *to = buf;

	while (len > 0) {
		uint64_t word = harness_random(&seed);
		size_t n = len < sizeof(word) ? len : sizeof(word);

		memcpy(to, &word, n);
		to += n;
		len -= n;
	}
}

static uint64_t hash_of(const void *key, size_t key_len, const void *value, size_t value_len)
{
	uint64_t seed = XXH3_64bits_withSeed(key, key_len, key_len);

	return XXH3_64bits_withSeed(value, value_len, seed);
}

uint64_t account_try(struct account *account, unsigned writer, struct leat_record *records,
		     size_t n)
{
	uint64_t first = account_n(account, writer);

	must(n > 0 && n <= ACCOUNT_BATCH_MAX, "a strange batch");
	for (size_t i = 0; i < n; i++) {
		uint64_t id = ((uint64_t)writer + 1) << NUMBER_BITS | (first + i);
		struct leat_record *record = &records[i];
		struct entry *entry = entry_of(account, writer, first + i);

		record->event_time_ns = 0;
		if ((first + i) % 2 && record->value_len >= IN_VALUE_LEN)
			memcpy((char *)(uintptr_t)record->value, &id, sizeof(id));
		else
			record->event_time_ns = id;

		*entry = (struct entry){
			.hash = hash_of(record->key, record->key_len, record->value,
					record->value_len),
			.len = (uint32_t)record->value_len,
			.batch_idx = (uint16_t)i,
			.batch_n = (uint16_t)n,
		};
		store_release(&entry->state, STATE_TRIED);
	}
	store_release(&account->writers[writer].n, first + n);
	return first;
}

void account_told(struct account *account, unsigned writer, uint64_t number,
		  const struct leat_result *result, enum leat_ack level)
{
	struct entry *entry = entry_of(account, writer, number);

	entry->pos = result->pos;
	entry->shard = (uint16_t)result->shard;
	store_release(&entry->state, STATE_TOLD + (uint32_t)level);
}

void account_refused(struct account *account, unsigned writer, uint64_t number, size_t n)
{
	for (size_t i = 0; i < n; i++)
		store_release(&entry_of(account, writer, number + i)->state, STATE_REFUSED);
}

void account_flushed(struct account *account, unsigned writer, uint64_t from, enum leat_ack level)
{
	uint64_t n = account_n(account, writer);

	for (uint64_t i = from; i < n; i++) {
		struct entry *entry = entry_of(account, writer, i);
		uint32_t state = load_acquire(&entry->state);

		if (state >= STATE_TOLD && state < STATE_TOLD + (uint32_t)level)
			store_release(&entry->state, STATE_TOLD + (uint32_t)level);
	}
}

/* ---- the reader's side ---- */

struct account_reader *account_reader_new(const struct account *account)
{
	uint64_t len = sizeof(struct account_reader) +
		       account->n_writers * account->capacity * sizeof(struct seen);
	struct account_reader *reader = map(NULL, len);

	reader->len = len;
	reader->account = account;
	return reader;
}

struct account_reader *account_reader_free(struct account_reader *reader)
{
	if (reader)
		munmap(reader, reader->len);
	return NULL;
}

void account_reader_clear(struct account_reader *reader)
{
	const struct account *account = reader->account;
	uint64_t len = reader->len;

	/* All of it reads as zero afterwards, for whoever has it mapped. */
	must(madvise(reader, len, MADV_REMOVE) == 0, "MADV_REMOVE: %s", strerror(errno));
	reader->len = len;
	reader->account = account;
}

static __attribute__((format(printf, 2, 3))) bool complain(struct account_reader *reader,
							   const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(reader->complaint, sizeof(reader->complaint), format, args);
	va_end(args);
	return false;
}

const char *account_reader_complaint(const struct account_reader *reader)
{
	return reader->complaint;
}

uint64_t account_reader_pos(const struct account_reader *reader, uint32_t shard)
{
	return reader->pos[shard];
}

uint64_t account_reader_n(const struct account_reader *reader)
{
	return reader->n;
}

bool account_reader_rewind(struct account_reader *reader, uint32_t shard, uint64_t pos)
{
	if (pos > reader->pos[shard])
		return complain(reader, "shard %u: resumes at %llu, but has not read past %llu",
				shard, (unsigned long long)pos,
				(unsigned long long)reader->pos[shard]);
	reader->pos[shard] = pos;
	/* What comes again has to come at the place where it was before, which take() checks. */
	for (uint32_t i = 0; i < ACCOUNT_WRITERS_MAX; i++)
		reader->next[i][shard] = 0;
	return true;
}

static bool take_gap(struct account_reader *reader, const struct leat_message *message)
{
	struct gap *last = reader->n_gaps ? &reader->gaps[reader->n_gaps - 1] : NULL;

	if (message->next_pos <= message->pos)
		return complain(reader, "an empty gap at %llu", (unsigned long long)message->pos);
	if (last && last->shard == message->shard && last->next_pos == message->pos &&
	    last->reason == (uint32_t)message->reason) {
		last->next_pos = message->next_pos;
		return true;
	}
	if (reader->n_gaps == GAPS_MAX)
		return complain(reader, "more gaps than this test was made for");
	reader->gaps[reader->n_gaps++] = (struct gap){ message->pos, message->next_pos,
						       message->shard, (uint32_t)message->reason };
	return true;
}

static bool is_intact(struct account_reader *reader, const struct entry *entry,
		      const struct leat_message *message)
{
	uint32_t state = load_acquire(&entry->state);

	if (state == STATE_NONE)
		return complain(reader, "a record that nobody published");
	if (state == STATE_REFUSED)
		return complain(reader,
				"a record whose publisher was told that it is not published");
	if (entry->len != message->value_len)
		return complain(reader, "%u bytes instead of %u", message->value_len, entry->len);
	if (hash_of(message->key, message->key_len, message->value, message->value_len) !=
	    entry->hash)
		return complain(reader, "not the bytes that were published");
	if (state >= STATE_TOLD && (entry->pos != message->pos || entry->shard != message->shard))
		return complain(reader, "its publisher was told position %llu in shard %u",
				(unsigned long long)entry->pos, entry->shard);
	return true;
}

/* Who and which it says it is. */
static uint64_t id_of(const struct leat_message *message)
{
	uint64_t id = message->event_time_ns;

	if (id == 0 && message->value_len >= IN_VALUE_LEN)
		memcpy(&id, message->value, sizeof(id));
	return id;
}

static uint64_t number_of(const struct leat_message *message)
{
	return id_of(message) & ((UINT64_C(1) << NUMBER_BITS) - 1);
}

uint64_t account_writer_of(const struct leat_message *message)
{
	return message->kind == LEAT_RECORD ? (id_of(message) >> NUMBER_BITS) - 1 : UINT64_MAX;
}

static bool take_record(struct account_reader *reader, const struct leat_message *message)
{
	uint64_t writer = account_writer_of(message), number = number_of(message);
	const struct account *account = reader->account;
	const struct entry *entry;
	struct seen *seen;

	if (writer >= account->n_writers || number >= account->capacity)
		return complain(reader, "a record that nobody published");
	entry = &account->entries[writer * account->capacity + number];
	seen = &reader->seen[writer * account->capacity + number];
	if (!is_intact(reader, entry, message))
		return false;
	if (seen->pos && (seen->pos != message->pos || seen->shard != message->shard))
		return complain(reader, "it came before, at %llu in shard %u",
				(unsigned long long)seen->pos, seen->shard);
	if (number < reader->next[writer][message->shard])
		return complain(reader, "it comes after record %llu of the same publisher",
				(unsigned long long)reader->next[writer][message->shard] - 1);
	reader->next[writer][message->shard] = number + 1;
	/* In this order: the process may be killed between any two. */
	seen->shard = message->shard;
	store_release(&seen->pos, message->pos);
	reader->n++;
	return true;
}

bool account_reader_take(struct account_reader *reader, const struct leat_message *message)
{
	char why[sizeof(reader->complaint)];
	bool good;

	if (message->shard >= ACCOUNT_SHARDS_MAX)
		return complain(reader, "a shard %u", message->shard);
	if (message->pos < reader->pos[message->shard])
		return complain(reader, "shard %u: position %llu after %llu", message->shard,
				(unsigned long long)message->pos,
				(unsigned long long)reader->pos[message->shard]);
	good = message->kind == LEAT_GAP ? take_gap(reader, message) : take_record(reader, message);
	if (!good) {
		memcpy(why, reader->complaint, sizeof(why));
		return complain(
			reader, "shard %u, position %llu, publisher %llu, record %llu: %.300s",
			message->shard, (unsigned long long)message->pos,
			(unsigned long long)account_writer_of(message),
			(unsigned long long)(message->kind == LEAT_RECORD ? number_of(message) : 0),
			why);
	}
	if (reader->first[message->shard] == 0)
		reader->first[message->shard] = message->pos;
	reader->pos[message->shard] = message->next_pos;
	return true;
}

/* The reasons of the gaps that a place lies in. */
static uint32_t gaps_at(const struct account_reader *reader, uint32_t shard, uint64_t pos)
{
	uint32_t reasons = 0;

	for (size_t i = 0; i < reader->n_gaps; i++)
		if (reader->gaps[i].shard == shard && pos >= reader->gaps[i].pos &&
		    pos < reader->gaps[i].next_pos)
			reasons |= 1u << reader->gaps[i].reason;
	return reasons;
}

static bool check_entry(struct account_reader *reader, const struct account_terms *terms,
			unsigned writer, uint64_t number)
{
	static const char *const names[ACCOUNT_LEVELS] = { "ring", "written", "durable" };
	const struct account *account = reader->account;
	const struct seen *seen = &reader->seen[writer * account->capacity + number];
	const struct entry *entry = &account->entries[writer * account->capacity + number];
	uint32_t state = load_acquire(&entry->state);
	int level;

	/* All of a batch or none: each is as the one before it. */
	if (entry->batch_idx > 0 && (seen[0].pos != 0) != (seen[-1].pos != 0))
		return complain(reader, "publisher %u, record %llu: half a batch", writer,
				(unsigned long long)number);
	if (state < STATE_TOLD)
		return true;
	level = (int)(state - STATE_TOLD);
	if (seen->pos) {
		if (seen->pos == entry->pos && seen->shard == entry->shard)
			return true;
		return complain(reader, "publisher %u, record %llu: told %llu, seen at %llu",
				writer, (unsigned long long)number, (unsigned long long)entry->pos,
				(unsigned long long)seen->pos);
	}
	if (gaps_at(reader, entry->shard, entry->pos) & terms->gaps[level])
		return true;
	if (terms->from_first && entry->pos < reader->first[entry->shard])
		return true;
	return complain(
		reader,
		"publisher %u, record %llu, %u bytes, acknowledged as %s at %llu in shard %u, "
		"is lost (gaps there: %#x; read up to %llu)",
		writer, (unsigned long long)number, entry->len, names[level],
		(unsigned long long)entry->pos, entry->shard,
		gaps_at(reader, entry->shard, entry->pos),
		(unsigned long long)reader->pos[entry->shard]);
}

bool account_reader_check(struct account_reader *reader, const struct account_terms *terms)
{
	for (uint32_t i = 0; i < reader->account->n_writers; i++) {
		uint64_t n = account_n(reader->account, i);

		for (uint64_t j = 0; j < n; j++)
			if (!check_entry(reader, terms, i, j))
				return false;
	}
	return true;
}
