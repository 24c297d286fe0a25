/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Damage: every bit of a small shard's files flipped in turn; sectors zeroed, swapped, doubled;
 * files cut, missing, swapped with each other and with another shard's, old ones put back. What
 * was published is in a ledger outside of leat. After each: verify finds it, and nothing where
 * nothing is wrong; a reader is given all but the damaged records, and a gap for these; a store
 * opens, goes on above all positions ever used, and what was durable and is damaged stays damaged:
 * it does not become a gap that "was never used". LEAT_FULL=1 tries all of it, else a share.
 */
/* TEST_TIMEOUT=3600 */
#include <stdio.h>
#include <stdlib.h>

#include "persist/verify.h"
#include "tests/image.h"
#include "tests/ledger.h"

enum {
	SECTOR = 512,
	SEGMENTS = 4,
	ENTRIES_MAX = 512,
};

static char dir[64];
static char place[80];       /* where a damaged copy is put */
static struct image good;    /* as the shard was left */
static struct image older;   /* as it was one segment before that */
static struct image strange; /* another shard's files, under the same names */
static struct image bad;
static struct store_options options;
static struct persist_log ring;
static struct ledger ledger;
static bool lost[ENTRIES_MAX];
static bool vague[ENTRIES_MAX]; /* what nobody needs is cut off it: given or not */
static uint64_t good_reserved;
static uint64_t n_tried;
static bool is_full;

/* ---- what is damaged ---- */

static void write_some(struct persist_log_store *s, uint64_t *pos)
{
	persist_log_write(s, &ring, *pos, 700);
	*pos = persist_log_end(&ring);
	persist_log_sync(s);
}

static void roll(struct persist_log_store *s)
{
	int r;

	while ((r = store_roll(s->store)) == STORE_E_WAIT)
		io_wait(s->io, 100);
	ck_assert_int_eq(r, 0);
	while (io_pending(s->io) > 0)
		io_wait(s->io, 100);
}

static void add_records(int i)
{
	persist_log_fill(&ring, 5, (uint64_t)i * 100 + 1);
	persist_log_add_batch(&ring, 4, 50);
	persist_log_add(&ring, RECORD_COMMITTED, 0, (uint64_t)i * 100 + 50);
	persist_log_add(&ring, RECORD_TOMBSTONE, 300, 1);
	persist_log_add(&ring, RECORD_COMMITTED, 700 + (uint32_t)i, (uint64_t)i * 100 + 60);
	if (i % 2)
		persist_log_add_batch(&ring, 3, 120);
}

/* A shard of SEGMENTS small segments, all durable; `killed`: its last part is in no checkpoint. */
static void make_shard(uint32_t shard, bool killed, struct image *ret_image,
		       struct image *ret_older)
{
	struct persist_log_store s;
	uint64_t pos = ring.base;
	int i;

	persist_log_make_dir(dir);
	options.path = dir;
	options.shard = shard;
	options.crc_seed = ring.seed;
	persist_log_open(&s, &options, IO_F_THREADS);
	ck_assert_int_eq(store_start(s.store, ring.base), 0);
	for (i = 0; i < SEGMENTS; i++) {
		add_records(i);
		write_some(&s, &pos);
		store_tick(s.store);
		while (io_pending(s.io) > 0)
			io_wait(s.io, 100);
		if (i == SEGMENTS - 2 && ret_older)
			image_load(ret_older, dir);
		if (i < SEGMENTS - 1)
			roll(&s);
	}
	if (killed) {
		ledger_add(&ledger, &ring, ring.base);
		ledger_acknowledge(&ledger, pos, LEDGER_DURABLE);
		add_records(SEGMENTS);
		persist_log_write(&s, &ring, pos, 700);
		image_load(ret_image, dir);
	}
	good_reserved = store_reserved(s.store);
	persist_log_close(&s);
	if (!killed)
		image_load(ret_image, dir);
	persist_log_remove_dir(dir);
}

static void setup_as(bool killed)
{
	if (!getenv("TMPDIR") && access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	is_full = getenv("LEAT_FULL") != NULL;
	persist_log_options(&options, "", true);
	persist_log_init(&ring, PERSIST_LOG_FIRST, true);
	ring.seed = record_crc_seed(persist_log_uuid, PERSIST_LOG_SHARD + 1);
	make_shard(PERSIST_LOG_SHARD + 1, false, &strange, NULL);
	persist_log_deinit(&ring);
	persist_log_init(&ring, PERSIST_LOG_FIRST, true);
	memset(&ledger, 0, sizeof(ledger));
	make_shard(PERSIST_LOG_SHARD, killed, &good, &older);
	ledger_add(&ledger, &ring,
		   ledger.n ? ledger.entries[ledger.n - 1].pos + ledger.entries[ledger.n - 1].span
			    : ring.base);
	if (!killed)
		ledger_acknowledge(&ledger, persist_log_end(&ring), LEDGER_DURABLE);
	ck_assert_uint_lt(ledger.n, ENTRIES_MAX);
	snprintf(place, sizeof(place), "%.60s.bad", dir);
	options.path = place;
	image_copy(&bad, &good);
	n_tried = 0;
}

static void setup(void)
{
	setup_as(false);
}

static void setup_killed(void)
{
	setup_as(true);
}

static void teardown(void)
{
	printf("%llu cases of damage\n", (unsigned long long)n_tried);
	persist_log_remove_dir(place);
	image_deinit(&good);
	image_deinit(&older);
	image_deinit(&strange);
	image_deinit(&bad);
	ledger_deinit(&ledger);
	persist_log_deinit(&ring);
}

/* ---- what has to follow from it ---- */

/* The file of `good` that holds pos. */
static size_t file_of(uint64_t pos, uint64_t *ret_base)
{
	size_t i, found = IMAGE_FILES_MAX;
	uint64_t base;

	for (i = 0; i < good.n; i++) {
		if (format_segment_base(good.files[i].name, &base) && base <= pos) {
			found = i;
			*ret_base = base;
		}
	}
	ck_assert_uint_lt(found, IMAGE_FILES_MAX);
	return found;
}

static bool differs(const struct image_file *a, const struct image_file *b, size_t off, size_t len)
{
	return !b->there || b->len < off + len || memcmp(a->bytes + off, b->bytes + off, len) != 0;
}

static const struct image_file *now(size_t i)
{
	return image_find(&bad, good.files[i].name);
}

/* A batch is given as a whole or not at all. */
static void spread_over_batch(size_t i)
{
	bool hurt = false;
	size_t k;

	for (k = i; k < ledger.n && ledger.entries[k].batch_end == ledger.entries[i].batch_end; k++)
		hurt |= lost[k];
	for (k = i;
	     hurt && k < ledger.n && ledger.entries[k].batch_end == ledger.entries[i].batch_end;
	     k++)
		lost[k] = true;
}

/* Which entries are lost; returns whether verify has to say something. */
static bool expect(bool *ret_clean)
{
	bool must_find = false, has_older = false;
	uint64_t base;
	size_t i;

	*ret_clean = true;
	for (i = 0; i < ledger.n; i++) {
		const struct ledger_entry *entry = &ledger.entries[i];
		size_t file = file_of(entry->pos, &base);
		size_t off = (size_t)format_file_off(base, entry->pos);
		bool is_short = !now(file)->there || now(file)->len < off + entry->span;

		lost[i] = is_short || differs(&good.files[file], now(file), off, entry->len);
		vague[i] = lost[i] && entry->kind != RECORD_COMMITTED &&
			   entry->kind != RECORD_BATCH &&
			   !differs(&good.files[file], now(file), off, entry->len);
	}
	for (i = 0; i < ledger.n; i++)
		if (ledger.entries[i].kind == RECORD_BATCH && !lost[i])
			spread_over_batch(i);
	for (i = 0; i < ledger.n; i++) {
		*ret_clean &= !lost[i];
		must_find |= lost[i] && ledger.entries[i].level == LEDGER_DURABLE &&
			     now(file_of(ledger.entries[i].pos, &base))->there;
	}
	for (i = 0; i < good.n; i++) {
		if (!format_segment_base(good.files[i].name, &base))
			continue;
		*ret_clean &= !differs(&good.files[i], now(i), 0, FORMAT_SEGMENT_LEN);
		must_find |= now(i)->there &&
			     differs(&good.files[i], now(i), 0, FORMAT_SEGMENT_LEN);
		/* Of the oldest it cannot be told that they were there. */
		must_find |= !now(i)->there && has_older;
		has_older |= now(i)->there;
	}
	return must_find;
}

static bool checkpoint_is_whole(void)
{
	const struct image_file *a = image_find(&good, FORMAT_CHECKPOINT_NAME);
	const struct image_file *b = image_find(&bad, FORMAT_CHECKPOINT_NAME);

	return !differs(a, b, 0, FORMAT_CHECKPOINT_LEN) &&
	       !differs(a, b, FORMAT_CHECKPOINT_STRIDE, FORMAT_CHECKPOINT_LEN);
}

/* What was given is what is not damaged; `upto`: where the log ends for readers. */
static void check_view(const struct ledger_view *view, uint64_t upto, bool durable_is_known)
{
	size_t i;

	for (i = 0; i < view->n; i++) {
		const struct ledger_entry *entry = &ledger.entries[i];
		int gap = ledger_gap_at(view, entry->pos);

		if (entry->pos >= upto) {
			ck_assert_msg(lost[i] &&
					      (entry->level < LEDGER_DURABLE || !durable_is_known),
				      "position %llu was cut", (unsigned long long)entry->pos);
			continue;
		}
		ck_assert_msg(vague[i] || view->seen[i] == !lost[i], "position %llu (%d) is %s",
			      (unsigned long long)entry->pos, entry->kind,
			      lost[i] ? "damaged and yet given" : "not damaged and yet missing");
		ck_assert(view->seen[i] || gap >= 0);
		ck_assert_msg(view->seen[i] || entry->level < LEDGER_DURABLE || !durable_is_known ||
				      view->gaps[gap].reason != LEDGER_GAP_JUMP,
			      "position %llu was durable, and now was never used",
			      (unsigned long long)entry->pos);
	}
}

static void read_back(const struct persist_log_store *s, uint64_t to, bool durable_is_known)
{
	struct ledger_view view;

	ledger_read(&ledger, s->store, ring.base, to, &view);
	check_view(&view, to, durable_is_known);
	ledger_view_deinit(&view);
}

/* The log goes on; then it is looked at once more. */
static void go_on(struct persist_log_store *s, bool durable_is_known, bool must_find)
{
	uint64_t pos = s->recovered.reserved_until, upto = store_written(s->store);
	size_t n = ledger.n, i;
	struct verify_stats stats;
	struct persist_log more;

	if (durable_is_known)
		ck_assert_uint_ge(pos, good_reserved);
	ck_assert_uint_ge(pos, persist_log_end(&ring));
	ck_assert_int_eq(store_start(s->store, pos), 0);
	persist_log_init(&more, pos, true);
	persist_log_fill(&more, 10, 1);
	ledger_add(&ledger, &more, pos);
	memset(lost + n, 0, ledger.n - n);
	memset(vague + n, 0, ledger.n - n);
	persist_log_write(s, &more, pos, 500);
	persist_log_sync(s);
	persist_log_close(s);
	persist_log_open(s, &options, IO_F_THREADS);
	/* What the tail lost is a gap now, and was said. */
	for (i = 0; i < n; i++)
		lost[i] |= ledger.entries[i].pos >= upto;
	ck_assert_uint_eq(store_written(s->store), persist_log_end(&more));
	read_back(s, persist_log_end(&more), durable_is_known);
	ck_assert_int_eq(verify_dir(place, NULL, NULL, &stats), 0);
	/* Without its checkpoint a log's end that is missing is no longer known to have been. */
	ck_assert(!must_find || !durable_is_known || stats.n_damaged > 0);
	ledger.n = n;
	persist_log_deinit(&more);
}

static void count_torn(void *ctx, const struct verify_finding *finding)
{
	*(uint64_t *)ctx += finding->kind == VERIFY_TORN;
}

/* The damaged copy is in place. */
static void check(bool restart)
{
	uint64_t n_torn = 0;
	bool is_clean, must_find = expect(&is_clean), is_known = checkpoint_is_whole();
	struct persist_log_store s;
	struct verify_stats stats;

	n_tried++;
	ck_assert_int_eq(verify_dir(place, count_torn, &n_torn, &stats), 0);
	/* Without its newest checkpoint nothing says that the end of the log had been durable: then
	 * it is found to be torn. */
	ck_assert_msg(!must_find || stats.n_damaged > 0 || (!is_known && n_torn > 0),
		      "verify does not find it");
	ck_assert_msg(!is_clean || !is_known || stats.n_damaged == 0, "verify finds nothing real");
	persist_log_open(&s, &options, IO_F_THREADS);
	read_back(&s, store_written(s.store), is_known);
	if (restart)
		go_on(&s, is_known, must_find);
	persist_log_close(&s);
}

/* `bad` was changed in memory: puts it down, checks, and takes it back. */
static void try_bad(const char *what, size_t a, size_t b)
{
	image_put(&bad, place);
	if (getenv("LEAT_TELL"))
		printf("%s %zu %zu\n", what, a, b), fflush(stdout);
	check(true);
	image_copy(&bad, &good);
}

/* ---- the kinds of damage ---- */

static bool takes_part(size_t i, size_t share)
{
	return is_full || i % share == 0;
}

static void flip_file(size_t f, size_t from, size_t to, unsigned int bits, size_t step)
{
	char path[128];
	size_t i;
	int bit;

	snprintf(path, sizeof(path), "%s/%s", place, good.files[f].name);
	for (i = from; i < to; i += step) {
		for (bit = 0; bit < 8; bit++) {
			if (!(bits >> (bit + (int)(i / step)) % 8 & 1))
				continue;
			bad.files[f].bytes[i] ^= (char)(1 << bit);
			persist_log_poke(path, i, &bad.files[f].bytes[i], 1);
			if (getenv("LEAT_TELL"))
				printf("%s %zu %d\n", good.files[f].name, i, bit), fflush(stdout);
			check(false);
			bad.files[f].bytes[i] = good.files[f].bytes[i];
			persist_log_poke(path, i, &bad.files[f].bytes[i], 1);
		}
	}
}

START_TEST(each_flipped_bit_is_found_and_costs_the_record_it_is_in)
{
	size_t i, len, rest;

	image_put(&bad, place);
	for (i = 0; i < good.n; i++) {
		len = good.files[i].len;
		rest = min_u64(len, 128);
		/* A share: all of the fields of headers and all of one segment's records, one bit
		 * of some bytes of the rest. */
		flip_file(i, 0, rest, 0xff, 1);
		flip_file(i, rest, min_u64(len, 4096), is_full ? 0xff : 0x01, is_full ? 1 : 8);
		if (len > 4096)
			flip_file(i, 4096, len, is_full || i == 2 ? 0xff : 0x01, 1);
	}
}
END_TEST

START_TEST(a_log_goes_on_after_any_flipped_byte)
{
	size_t i, off;

	for (i = 0; i < good.n; i++) {
		for (off = 0; off < good.files[i].len; off++) {
			if (!takes_part(off, off < 128 ? 4 : 61))
				continue;
			bad.files[i].bytes[off] ^= (char)(1 << off % 8);
			try_bad("flip", i, off);
		}
	}
}
END_TEST

/* Sector number i of all files: where it is. */
static bool sector_at(struct image *image, size_t i, char **ret_bytes, size_t *ret_len)
{
	size_t f;

	for (f = 0; f < image->n; f++) {
		size_t n = (image->files[f].len + SECTOR - 1) / SECTOR;

		if (i < n) {
			*ret_bytes = image->files[f].bytes + i * SECTOR;
			*ret_len = min_u64(SECTOR, image->files[f].len - i * SECTOR);
			return true;
		}
		i -= n;
	}
	return false;
}

START_TEST(lost_and_garbled_sectors_cost_what_was_in_them)
{
	size_t i, len, k;
	char *bytes;

	for (i = 0; sector_at(&bad, i, &bytes, &len); i++) {
		memset(bytes, 0, len);
		try_bad("zero", i, 0);
		sector_at(&bad, i, &bytes, &len);
		for (k = 0; k < len; k++)
			bytes[k] = (char)rand();
		try_bad("garble", i, 0);
	}
}
END_TEST

START_TEST(swapped_and_doubled_sectors_are_found)
{
	size_t i, k, len_a, len_b, len;
	char *a, *b, kept[SECTOR];

	for (i = 0; sector_at(&bad, i, &a, &len_a); i++) {
		for (k = 0; sector_at(&bad, k, &b, &len_b); k++) {
			if (i == k || !takes_part(i * 131 + k, 13))
				continue;
			sector_at(&bad, i, &a, &len_a);
			len = min_u64(len_a, len_b);
			memcpy(kept, b, len);
			memcpy(b, a, len);
			if (i < k)
				memcpy(a, kept, len);
			try_bad(i < k ? "swap" : "double", i, k);
		}
	}
}
END_TEST

START_TEST(a_file_cut_anywhere_has_lost_what_is_behind)
{
	size_t i, len;

	for (i = 0; i < good.n; i++) {
		for (len = 0; len < good.files[i].len; len++) {
			if (!takes_part(len + i, 37) && len % SECTOR > 1)
				continue;
			bad.files[i].len = len;
			try_bad("cut", i, len);
		}
	}
}
END_TEST

START_TEST(files_that_are_missing_are_missed)
{
	size_t i, k;

	for (i = 0; i < good.n; i++) {
		for (k = i; k < good.n; k++) {
			bad.files[i].there = bad.files[k].there = false;
			try_bad("missing", i, k);
		}
	}
}
END_TEST

START_TEST(files_in_each_others_place_and_other_shards_files_are_not_taken_for_ours)
{
	size_t i, k;

	for (i = 0; i < good.n; i++) {
		for (k = 0; k < good.n; k++) {
			if (strcmp(good.files[i].name, FORMAT_CHECKPOINT_NAME) == 0 || i == k ||
			    strcmp(good.files[k].name, FORMAT_CHECKPOINT_NAME) == 0)
				continue;
			image_set(&bad.files[i], good.files[k].bytes, good.files[k].len);
			if (i < k)
				image_set(&bad.files[k], good.files[i].bytes, good.files[i].len);
			try_bad("exchanged", i, k);
		}
	}
	ck_assert_uint_eq(strange.n, good.n);
	for (i = 0; i < good.n; i++) {
		if (strcmp(good.files[i].name, FORMAT_CHECKPOINT_NAME) == 0)
			continue;
		image_set(&bad.files[i], strange.files[i].bytes, strange.files[i].len);
		try_bad("strange", i, 0);
	}
}
END_TEST

START_TEST(old_files_that_are_put_back_hide_nothing_that_is_whole)
{
	size_t i;

	for (i = 0; i < older.n; i++) {
		struct image_file *file = image_find(&bad, older.files[i].name);

		if (!file)
			continue;
		image_set(file, older.files[i].bytes, older.files[i].len);
		try_bad("old", i, 0);
	}
}
END_TEST

static void add_bits(Suite *suite, const char *name, void (*begin)(void))
{
	TCase *tc = tcase_create(name);

	tcase_add_checked_fixture(tc, begin, teardown);
	tcase_set_timeout(tc, 3000);
	tcase_add_test(tc, each_flipped_bit_is_found_and_costs_the_record_it_is_in);
	tcase_add_test(tc, a_log_goes_on_after_any_flipped_byte);
	suite_add_tcase(suite, tc);
}

static void add_files(Suite *suite, const char *name, void (*begin)(void))
{
	TCase *tc = tcase_create(name);

	tcase_add_checked_fixture(tc, begin, teardown);
	tcase_set_timeout(tc, 3000);
	tcase_add_test(tc, lost_and_garbled_sectors_cost_what_was_in_them);
	tcase_add_test(tc, swapped_and_doubled_sectors_are_found);
	tcase_add_test(tc, a_file_cut_anywhere_has_lost_what_is_behind);
	tcase_add_test(tc, files_that_are_missing_are_missed);
	tcase_add_test(tc,
		       files_in_each_others_place_and_other_shards_files_are_not_taken_for_ours);
	tcase_add_test(tc, old_files_that_are_put_back_hide_nothing_that_is_whole);
	suite_add_tcase(suite, tc);
}

int main(void)
{
	Suite *suite = suite_create("damage");
	SRunner *runner;
	int n_failed;

	add_files(suite, "closed-files", setup);
	add_files(suite, "killed-files", setup_killed);
	add_bits(suite, "closed-bits", setup);
	add_bits(suite, "killed-bits", setup_killed);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
