/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/weak/controls.h"

/*
 * Every ordering call of shm/, made to order nothing: which case notices, and as what. Where two
 * calls each do what the other does, both are taken away. What nothing notices has its reason,
 * and the cases are run to see that this is so.
 */
const struct weak_control weak_controls[] = {
	/* publish */
	{ "ring_commit_store/store_release", "publish", "a record without its content" },
	{ "ring_word_load/load_acquire", "publish", "a record without its content" },
	{ "ring_read_short/load_acquire", "short", "a record without its content" },
	{ "orphan_bury/store_release", "bury", "a tombstone without its content" },
	/* claim */
	{ "ring_try_reserve/store_release + ring_try_reserve/cas_acq_rel", "holes", "" },
	{ "ring_try_reserve/fence_release + ring_try_reserve/store_release#2", "holes", "" },
	{ "ring_try_reserve/fence_release", "laps", "" },
	{ "orphan_begin/load_acquire", "holes", "" },
	{ "orphan_look_again/load_acquire", "kick", "somebody waits for ever" },
	/* tail */
	{ "ring_try_reserve/cas_acq_rel", "holes", "" },
	{ "ring_tail/load_acquire", "holes", "" },
	{ "ring_close_tail/fetch_or_acq_rel", NULL,
	  "nothing is decided before ring_set_succeeded() has passed its barrier" },
	/* limit */
	{ "ring_reclaim/fence_full#2 + ring_reclaim/store_release", "laps", "" },
	{ "ring_limit/load_acquire", "laps", "" },
	/* reclaim */
	{ "ring_reclaim/fence_full", "laps-short", "a record without its content" },
	{ "ring_lapped/fence_acquire", "laps", "a record without its content" },
	{ "ring_read_short/fence_acquire", "laps-short", "a record without its content" },
	{ "ring_reclaimed/load_acquire", NULL,
	  "what is read from there on is checked by itself, by limit and by ring_lapped()" },
	{ "ring_at_batch/fence_acquire", NULL,
	  "what one steps into is read with a check of its own" },
	{ "ring_at_batch/load_acquire", NULL, "as ring_read_short/load_acquire#2" },
	{ "ring_view_plain/fence_acquire", NULL,
	  "a view is asked of ring_still_valid() in the end" },
	{ "ring_view_plain/load_acquire", NULL, "as ring_view_plain/fence_acquire" },
	/* progress */
	{ "ring_progress/store_release", "progress", "acknowledged before it is true" },
	{ "ring_progress/store_release#2", "progress", "acknowledged before it is true" },
	{ "ring_written/load_acquire", "progress", "acknowledged before it is true" },
	{ "ring_durable/load_acquire", "progress", "acknowledged before it is true" },
	/* sleep */
	{ "ring_commit_store/fence_compiler", "sleep", "somebody waits for ever" },
	{ "ring_commit_attend/fence_full", "fence", "somebody waits for ever" },
	{ "wait_barrier/membarrier_sync", "sleep", "somebody waits for ever" },
	{ "wait_announce/fetch_add_acq_rel", NULL,
	  "the barrier comes between it and the look; before it the bell, see model sleep" },
	{ "ring_wake_one/xchg_acq_rel", NULL,
	  "the bell rings only if it found somebody, and a store is not done on a guess" },
	/* kick */
	{ "kick_drain_sleeps/membarrier_sync", "kick", "somebody waits for ever" },
	{ "ring_kick_drain/xchg_acq_rel", "rearm", "somebody waits for ever" },
	{ "ring_drain_rearm/xchg_acq_rel", "rearm", "somebody waits for ever" },
	{ "ring_drain_sleeps/fetch_or_acq_rel", NULL,
	  "the caller's barrier comes before its last look at the ring" },
	{ "ring_drain_wakes/fetch_and_acq_rel", NULL, "taking it back orders nothing" },
	/* close */
	{ "ring_set_succeeded/membarrier_sync", "close", "a record told published is lost" },
	{ "ring_set_state/store_release", "failed", "failed without its reason" },
	{ "ring_state/load_acquire", "failed", "failed without its reason" },
	{ "ring_set_succeeded/store_release", NULL,
	  "who sees the state without close_pos has records from before the barrier: they count" },
	{ "ring_set_succeeded/fetch_or_acq_rel", NULL, "the barrier follows it" },
	{ "ring_read/load_acquire", NULL, "as ring_set_succeeded/store_release" },
	{ "ring_ended/load_acquire", NULL, "as ring_set_succeeded/store_release" },
	{ "ring_read_short/load_acquire#2", NULL, "nothing is read after it" },
	/* bell */
	{ "ring_reclaim/fetch_add_acq_rel", "room", "somebody waits for ever" },
	{ "ring_progress/fetch_add_acq_rel", "progress", "somebody waits for ever" },
	{ "ring_progress/fetch_add_acq_rel#2", "progress", "somebody waits for ever" },
	{ "ring_wake_all/fetch_add_acq_rel", "failed", "somebody waits for ever" },
	{ "ring_wake_all/fetch_add_acq_rel#2", "failed", "somebody waits for ever" },
	{ "ring_wake_all/fetch_add_acq_rel#3", "failed", "somebody waits for ever" },
	{ "ring_bell/load_acquire", "room", "somebody waits for ever" },
	{ "ring_wake_subscribers/fetch_add_acq_rel", NULL,
	  "who has seen this bell passes a barrier on the daemon's processor before it looks" },
	{ "ring_wake_one/fetch_add_acq_rel", NULL,
	  "who has seen this bell passes a barrier on the publisher's processor before it looks" },
	{ "wait_announce/load_acquire", NULL,
	  "the machine makes loads in the order of the program; see model sleep" },
	/* ready */
	{ "region_init_pages/store_release", "ready", "a half-made ring is used" },
	{ "region_check_page/load_acquire", "ready", "a half-made ring is used" },
	/* clock */
	{ "clock_publish/fence_release", "clock", "two conversions are mixed" },
	{ "clock_publish/store_release", "clock", "two conversions are mixed" },
	{ "clock_try/load_acquire", "clock", "two conversions are mixed" },
	{ "clock_try/fence_acquire", "clock", "two conversions are mixed" },
	{ NULL, NULL, NULL },
};
