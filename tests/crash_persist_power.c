/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power cuts, without a power switch: a store works with all its calls on files logged
 * (tests/disk_log.h), and for places in the log the disk is made as it can look if the power had
 * gone there. Each is recovered and held against a ledger of what was published: what was durable
 * is there, in order, once, byte for byte; nothing comes in part; positions handed out do not come
 * again. Some recoveries are cut as well, and some of these. All states there are where at most
 * twelve operations are open, and LEAT_STATES more by chance (LEAT_FULL=1: a million). The seed is
 * printed; LEAT_SEED repeats a run. LEAT_LIE=1 is the negative control: no sync reaches the disk,
 * and the test has to fail.
 */
/* TEST_TIMEOUT=7200 */
#include <stdio.h>
#include <stdlib.h>

#include "persist/verify.h"
#include "tests/disk_log.h"
#include "tests/ledger.h"

enum {
	OPEN_MAX = 12,
	STATES = 100000,
	STATES_FULL = 1000000,
	RUNS = 20,
	DEPTH = 3, /* a cut, a cut while it recovers, and once more */
};

static char dir[64];
static char place[DEPTH][80];
static uint64_t chance_state;
static uint64_t n_states, n_nested;
static struct store_options options;
static struct persist_log ring;

/* What the test says at a mark. */
struct promise {
	uint64_t durable;
	uint64_t reserved;
	uint64_t dropped; /* retention was told to take what is below */
};

static uint64_t below(uint64_t n)
{
	return disk_log_random(&chance_state) % n;
}

static void mark(struct disk_log *log, const struct persist_log_store *s, uint64_t dropped)
{
	disk_log_mark(log, store_durable(s->store), store_reserved(s->store), dropped);
}

/* Without the marks of the log that it began with. */
static void promise_at(const struct disk_log *log, uint64_t cut, struct promise *promise)
{
	uint64_t i;

	for (i = 0; i < cut; i++) {
		if (log->events[i].kind != DISK_LOG_MARK)
			continue;
		promise->durable = log->events[i].off;
		promise->reserved = log->events[i].len;
		promise->dropped = max_u64(promise->dropped, log->events[i].more);
	}
}

/* ---- work ---- */

static uint64_t span_at(const struct persist_log *records, uint64_t pos)
{
	uint64_t word;

	memcpy(&word, records->bytes + (pos - records->base), 8);
	return record_span(record_word_len(word));
}

static void repair(struct persist_log_store *s)
{
	bool is_sync;

	while (store_error(s->store, &is_sync) < 0) {
		if (is_sync)
			(void)store_restart(s->store, store_durable(s->store));
		else
			(void)store_retry(s->store);
		io_wait(s->io, 1);
		store_tick(s->store);
	}
}

/* Retention takes the oldest segment; it may be gone from now on. */
static void drop(struct disk_log *log, struct persist_log_store *s, uint64_t *dropped)
{
	struct store_segment_info infos[2];

	if (store_list(s->store, 0, infos, 2) < 2)
		return;
	mark(log, s, max_u64(*dropped, infos[1].base));
	if (store_drop_oldest(s->store) == 0)
		*dropped = max_u64(*dropped, infos[1].base);
}

/* Writes all records in runs of random length, with rolls, syncs, and calls that fail. */
static void work(struct disk_log *log, struct persist_log_store *s,
		 const struct persist_log *records, bool is_small)
{
	uint64_t pos = store_next(s->store), len, run, dropped = 0;
	int r;

	while (pos < persist_log_end(records)) {
		run = below(is_small ? 300 : 1500);
		for (len = span_at(records, pos);
		     len < run && pos + len < persist_log_end(records);)
			len += span_at(records, pos + len);
		/* Nobody is given a position that is not reserved. */
		store_reserve(s->store, pos + len + options.ahead_len / 2);
		while (store_reserved(s->store) < pos + len) {
			io_wait(s->io, 1);
			store_tick(s->store);
		}
		if (below(is_small ? 6 : 12) == 0 && store_roll(s->store) == STORE_E_WAIT)
			io_wait(s->io, 1);
		r = store_write(s->store, pos, records->bytes + (pos - records->base), len, 1);
		if (below(is_small ? 4 : 6) == 0)
			(void)store_sync(s->store);
		if (below(8) == 0)
			store_tick(s->store);
		if (below(16) == 0 && log->fail_sync_in == 0)
			log->fail_sync_in = 1 + (int)below(5);
		if (below(30) == 0 && log->fail_write_in == 0)
			log->fail_write_in = 1 + (int)below(5);
		if (below(20) == 0)
			drop(log, s, &dropped);
		if (is_small || below(4) == 0 || r == STORE_E_WAIT)
			io_wait(s->io, 1);
		repair(s);
		mark(log, s, dropped);
		pos = store_next(s->store);
	}
	while (io_pending(s->io) > 0)
		io_wait(s->io, 1);
	mark(log, s, dropped);
	log->fail_sync_in = log->fail_write_in = 0;
}

/* ---- checking ---- */

struct checked {
	const struct ledger *ledger;
	const struct promise *promise;
};

static bool is_promised(const struct ledger_entry *entry, const struct promise *promise)
{
	return entry->level == LEDGER_DURABLE && entry->pos >= promise->dropped &&
	       entry->pos + entry->span <= promise->durable;
}

/* Damage may be where nothing was promised. */
static void check_finding(void *ctx, const struct verify_finding *finding)
{
	const struct checked *checked = ctx;
	size_t i;

	if (!verify_is_damage(finding->kind))
		return;
	ck_assert_msg(finding->kind == VERIFY_DAMAGE, "verify finds %d at %llu", finding->kind,
		      (unsigned long long)finding->base);
	for (i = 0; i < checked->ledger->n; i++) {
		const struct ledger_entry *entry = &checked->ledger->entries[i];

		ck_assert_msg(entry->pos < finding->from || entry->pos >= finding->to ||
				      !is_promised(entry, checked->promise),
			      "verify finds damage at %llu, where all was durable",
			      (unsigned long long)finding->from);
	}
}

static void check_records(const struct persist_log_store *s, const struct ledger *ledger,
			  uint64_t upto, const struct promise *promise)
{
	struct ledger_view view;
	size_t i;

	ledger_read(ledger, s->store, ring.base, upto, &view);
	for (i = 0; i < ledger->n; i++) {
		const struct ledger_entry *entry = &ledger->entries[i];

		ck_assert_msg(view.seen[i] || !is_promised(entry, promise),
			      "publisher %u's record %u at %llu was durable and is lost",
			      entry->publisher, entry->sequence, (unsigned long long)entry->pos);
	}
	ledger_view_deinit(&view);
}

/* What recovery reports is not where something was durable. */
static void check_ranges(const struct store_recovered *recovered, const struct ledger_entry *entry)
{
	size_t i;

	for (i = 0; i < recovered->n_ranges; i++)
		ck_assert(recovered->ranges[i].from >= entry->pos + entry->span ||
			  recovered->ranges[i].to <= entry->pos);
}

static void open_recovered(struct persist_log_store *s, const char *path,
			   const struct ledger *ledger, const struct promise *promise)
{
	size_t i;

	options.path = path;
	persist_log_open(s, &options, IO_F_THREADS);
	if (promise->reserved > 0) {
		ck_assert(!s->recovered.checkpoint_lost);
		ck_assert_uint_ge(s->recovered.reserved_until, promise->reserved);
	}
	for (i = 0; i < ledger->n; i++)
		if (is_promised(&ledger->entries[i], promise))
			check_ranges(&s->recovered, &ledger->entries[i]);
	check_records(s, ledger, s->recovered.end, promise);
}

static void try_cut(const struct disk_log *log, uint64_t cut, const struct disk_choice *choice,
		    const struct ledger *ledger, struct promise promise, unsigned int depth);

/* Recovery, and some records more, with its own calls logged; then the power goes again. */
static void cut_again(const struct image *image, struct ledger *ledger,
		      const struct promise *promise, unsigned int depth)
{
	struct disk_choice choice = { .is_random = true, .random = &chance_state };
	struct persist_log_store s;
	struct persist_log more;
	struct disk_log log;
	size_t n;
	int i;

	disk_log_begin(&log, image);
	open_recovered(&s, place[depth], ledger, promise);
	ck_assert_int_eq(store_start(s.store, s.recovered.reserved_until), 0);
	mark(&log, &s, 0);
	persist_log_init(&more, s.recovered.reserved_until, true);
	persist_log_fill(&more, 12, 1);
	work(&log, &s, &more, true);
	disk_log_end(&log);
	persist_log_close(&s);
	/* What came after the cut has never been; what was not durable then may be lost. */
	while (ledger->n > 0 && ledger->entries[ledger->n - 1].pos >= more.base)
		ledger->n--;
	n = ledger->n;
	for (i = 0; (size_t)i < n; i++)
		if (ledger->entries[i].pos + ledger->entries[i].span > promise->durable)
			ledger->entries[i].level = LEDGER_NONE;
	ledger_add(ledger, &more, more.base);
	ledger_acknowledge_from(ledger, n, LEDGER_DURABLE);
	for (i = 0; i < 4; i++) {
		choice.any_names = i % 2;
		try_cut(&log, below(log.n + 1), &choice, ledger, *promise, depth + 1);
		n_nested++;
	}
	disk_log_deinit(&log);
	persist_log_deinit(&more);
}

static struct ledger copy_ledger(const struct ledger *ledger)
{
	struct ledger copy = { .n = ledger->n, .n_allocated = ledger->n + 1 };

	copy.entries = malloc(copy.n_allocated * sizeof(*copy.entries));
	ck_assert_ptr_nonnull(copy.entries);
	memcpy(copy.entries, ledger->entries, ledger->n * sizeof(*copy.entries));
	return copy;
}

/* Ends without the checkpoint and the syncs of a clean end, as far as they were not made. */
static void go_on(struct persist_log_store *s, const struct ledger *ledger, struct promise *promise,
		  const char *path)
{
	struct checked checked = { ledger, promise };
	struct verify_stats stats;

	ck_assert_int_eq(store_start(s->store, s->recovered.reserved_until), 0);
	check_records(s, ledger, store_written(s->store), promise);
	persist_log_close(s);
	ck_assert_int_eq(verify_dir(path, check_finding, &checked, &stats), 0);
}

static void try_cut(const struct disk_log *log, uint64_t cut, const struct disk_choice *choice,
		    const struct ledger *ledger, struct promise promise, unsigned int depth)
{
	struct persist_log_store s;
	struct ledger copy;
	struct image image;

	promise_at(log, cut, &promise);
	disk_log_state(log, cut, choice, &image);
	image_put(&image, place[depth]);
	n_states++;
	if (depth + 1 < DEPTH && choice->is_random && below(60) == 0) {
		copy = copy_ledger(ledger);
		cut_again(&image, &copy, &promise, depth);
		ledger_deinit(&copy);
	} else {
		open_recovered(&s, place[depth], ledger, &promise);
		if (below(8) == 0)
			go_on(&s, ledger, &promise, place[depth]);
		else
			persist_log_close(&s);
	}
	image_deinit(&image);
}

/* ---- the runs ---- */

static void begin_run(struct disk_log *log, struct ledger *ledger, unsigned int n, bool is_small,
		      unsigned int io_flags)
{
	struct persist_log_store s;

	memset(ledger, 0, sizeof(*ledger));
	persist_log_make_dir(dir);
	for (int i = 0; i < DEPTH; i++)
		snprintf(place[i], sizeof(place[i]), "%.60s.image%d", dir, i);
	persist_log_options(&options, dir, true);
	options.ahead_len = 4 * KIB;
	options.zero_len = 4 * KIB;
	persist_log_init(&ring, PERSIST_LOG_FIRST, true);
	persist_log_fill(&ring, n / 2, 1);
	persist_log_add_batch(&ring, 5, 90);
	persist_log_fill(&ring, n / 2, 1);
	ledger_add(ledger, &ring, ring.base);
	ledger_acknowledge(ledger, persist_log_end(&ring), LEDGER_DURABLE);
	disk_log_begin(log, NULL);
	log->lies = getenv("LEAT_LIE") != NULL;
	persist_log_open(&s, &options, io_flags);
	ck_assert_int_eq(store_start(s.store, ring.base), 0);
	mark(log, &s, 0);
	work(log, &s, &ring, is_small);
	disk_log_end(log);
	persist_log_close(&s);
}

static void end_run(struct disk_log *log, struct ledger *ledger)
{
	for (int i = 0; i < DEPTH; i++)
		persist_log_remove_dir(place[i]);
	persist_log_remove_dir(dir);
	disk_log_deinit(log);
	ledger_deinit(ledger);
	persist_log_deinit(&ring);
}

static void seed(int i)
{
	const char *given = getenv("LEAT_SEED");

	if (!getenv("TMPDIR") && access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	chance_state = given ? strtoull(given, NULL, 0)
			     : clock_now_ns(CLOCK_MONOTONIC) + (uint64_t)i;
	printf("LEAT_SEED=%llu\n", (unsigned long long)chance_state);
	n_states = n_nested = 0;
}

static void tell(void)
{
	printf("%llu states, %llu of them of a second or third cut\n", (unsigned long long)n_states,
	       (unsigned long long)n_nested);
	fflush(stdout);
}

START_TEST(every_state_there_is_with_up_to_twelve_open_operations_is_recovered)
{
	const struct promise nothing = { .durable = PERSIST_LOG_FIRST };
	struct disk_choice choice = { .random = &chance_state };
	uint64_t cut, n_cuts = 0, n_left_out = 0;
	struct ledger ledger;
	struct disk_log log;
	unsigned int n_open;

	seed(_i);
	begin_run(&log, &ledger, 16, true, _i % 2 ? IO_F_THREADS : 0);
	for (cut = 0; cut <= log.n; cut++) {
		/* Another state begins only with an event that changes the disk. */
		if (cut > 0 && log.events[cut - 1].kind == DISK_LOG_MARK)
			continue;
		n_open = disk_log_n_open(&log, cut);
		if (n_open > OPEN_MAX) {
			n_left_out++;
			continue;
		}
		n_cuts++;
		for (choice.bits = 0; choice.bits < UINT64_C(1) << n_open; choice.bits++)
			try_cut(&log, cut, &choice, &ledger, nothing, 0);
	}
	printf("%llu places, %llu with more open operations left out; ", (unsigned long long)n_cuts,
	       (unsigned long long)n_left_out);
	tell();
	ck_assert_uint_gt(n_cuts, 20);
	end_run(&log, &ledger);
}
END_TEST

START_TEST(what_was_called_durable_survives_a_power_cut_anywhere)
{
	const struct promise nothing = { .durable = PERSIST_LOG_FIRST };
	struct disk_choice choice = { .is_random = true, .random = &chance_state };
	const char *given = getenv("LEAT_STATES");
	uint64_t n = given ? strtoull(given, NULL, 10)
			   : (getenv("LEAT_FULL") ? STATES_FULL : STATES);
	struct ledger ledger;
	struct disk_log log;

	seed(_i);
	begin_run(&log, &ledger, 150, false, _i % 2 ? IO_F_THREADS : 0);
	while (n_states < n / RUNS) {
		choice.any_names = below(2) == 0;
		try_cut(&log, below(log.n + 1), &choice, &ledger, nothing, 0);
	}
	tell();
	end_run(&log, &ledger);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("power");
	TCase *tc = tcase_create("power");
	SRunner *runner;
	int n_failed;

	tcase_set_timeout(tc, 3000);
	tcase_add_loop_test(tc, every_state_there_is_with_up_to_twelve_open_operations_is_recovered,
			    0, 2);
	tcase_add_loop_test(tc, what_was_called_durable_survives_a_power_cut_anywhere, 0, RUNS);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed != 0;
}
