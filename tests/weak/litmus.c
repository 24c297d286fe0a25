/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine itself: the small programs by which memory models are told apart. What C11 forbids
 * must not be found, and what it allows must be, or the cases would prove nothing.
 */
#include "tests/weak/bed.h"

#define X ((_Atomic uint64_t *)&weak_shared[0].disk[0])
#define Y ((_Atomic uint64_t *)&weak_shared[0].disk[1])

static uint64_t litmus_r[4];

static void litmus_init(void)
{
}

static void litmus_begin(void)
{
	memset(litmus_r, 9, sizeof(litmus_r));
}

static void x_relaxed(void)
{
	store_relaxed(X, 1);
}

static void y_relaxed(void)
{
	store_relaxed(Y, 1);
}

/* ---- message passing: the flag without the message ---- */

static void mp_write(void)
{
	store_relaxed(X, 1);
	store_relaxed(Y, 1);
}

static void mp_write_release(void)
{
	store_relaxed(X, 1);
	store_release(Y, 1);
}

static void mp_write_fence(void)
{
	store_relaxed(X, 1);
	fence_release();
	store_relaxed(Y, 1);
}

static void mp_read(void)
{
	litmus_r[0] = load_relaxed(Y);
	litmus_r[1] = load_relaxed(X);
}

static void mp_read_acquire(void)
{
	litmus_r[0] = load_acquire(Y);
	litmus_r[1] = load_relaxed(X);
}

static void mp_read_fence(void)
{
	litmus_r[0] = load_relaxed(Y);
	fence_acquire();
	litmus_r[1] = load_relaxed(X);
}

/* Through an exchange by somebody else: still the same release. */
static void mp_pass_on(void)
{
	fetch_add_relaxed(Y, 1);
}

static void mp_read_two(void)
{
	litmus_r[0] = load_acquire(Y) == 2;
	litmus_r[1] = load_relaxed(X);
}

static void mp_end(void)
{
	weak_must(litmus_r[0] != 1 || litmus_r[1] == 1, "MP");
}

/* ---- store buffering: both look before the other's store ---- */

static void sb_left(void)
{
	store_relaxed(X, 1);
	litmus_r[0] = load_relaxed(Y);
}

static void sb_right(void)
{
	store_relaxed(Y, 1);
	litmus_r[1] = load_relaxed(X);
}

static void sb_left_fence(void)
{
	store_relaxed(X, 1);
	fence_full();
	litmus_r[0] = load_relaxed(Y);
}

static void sb_right_fence(void)
{
	store_relaxed(Y, 1);
	fence_full();
	litmus_r[1] = load_relaxed(X);
}

static void sb_left_compiler(void)
{
	store_relaxed(X, 1);
	fence_compiler();
	litmus_r[0] = load_relaxed(Y);
}

static void sb_right_membarrier(void)
{
	store_relaxed(Y, 1);
	(void)membarrier_sync();
	litmus_r[1] = load_relaxed(X);
}

static void sb_end(void)
{
	weak_must(litmus_r[0] != 0 || litmus_r[1] != 0, "SB");
}

/* ---- four parties: do all see two stores in one order? ---- */

static void iriw_xy(void)
{
	litmus_r[0] = load_acquire(X);
	litmus_r[1] = load_acquire(Y);
}

static void iriw_yx(void)
{
	litmus_r[2] = load_acquire(Y);
	litmus_r[3] = load_acquire(X);
}

static void iriw_xy_fence(void)
{
	litmus_r[0] = load_relaxed(X);
	fence_full();
	litmus_r[1] = load_relaxed(Y);
}

static void iriw_yx_fence(void)
{
	litmus_r[2] = load_relaxed(Y);
	fence_full();
	litmus_r[3] = load_relaxed(X);
}

static void iriw_end(void)
{
	weak_must(litmus_r[0] != 1 || litmus_r[1] != 0 || litmus_r[2] != 1 || litmus_r[3] != 0,
		  "IRIW");
}

/* ---- the order of one location ---- */

static void w22_left(void)
{
	store_relaxed(X, 1);
	store_relaxed(Y, 2);
}

static void w22_right(void)
{
	store_relaxed(Y, 1);
	store_relaxed(X, 2);
}

static void w22_end(void)
{
	weak_must(weak_peek(X, 8) != 1 || weak_peek(Y, 8) != 1, "2+2W");
}

static void co_write(void)
{
	store_relaxed(X, 1);
	store_relaxed(X, 2);
}

static void co_read(void)
{
	litmus_r[0] = load_relaxed(X);
	litmus_r[1] = load_relaxed(X);
}

static void co_end(void)
{
	weak_must(litmus_r[0] == 9 || litmus_r[1] >= litmus_r[0], "CoRR");
}

static void add_one(void)
{
	fetch_add_relaxed(X, 1);
}

static void add_end(void)
{
	weak_must(weak_peek(X, 8) == 3, "an addition was lost");
}

#define LITMUS(label, last, is_wrong, ...)                                                         \
	{                                                                                          \
		.name = label, .init = litmus_init, .begin = litmus_begin,                         \
		.party = { __VA_ARGS__ }, .end = last, .depth = 4, .ring_len = 64,                 \
		.moves_stores = true, .fails = is_wrong                                            \
	}

const struct weak_case weak_litmus[] = {
	LITMUS("MP", mp_end, true, mp_write, mp_read),
	LITMUS("MP, release only", mp_end, true, mp_write_release, mp_read),
	LITMUS("MP, acquire only", mp_end, true, mp_write, mp_read_acquire),
	LITMUS("MP, both", mp_end, false, mp_write_release, mp_read_acquire),
	LITMUS("MP, fences", mp_end, false, mp_write_fence, mp_read_fence),
	LITMUS("MP, release and fence", mp_end, false, mp_write_release, mp_read_fence),
	LITMUS("MP, passed on", mp_end, false, mp_write_release, mp_pass_on, mp_read_two),
	LITMUS("MP, passed on, no release", mp_end, true, mp_write, mp_pass_on, mp_read_two),
	LITMUS("SB", sb_end, true, sb_left, sb_right),
	LITMUS("SB, one fence", sb_end, true, sb_left_fence, sb_right),
	LITMUS("SB, fences", sb_end, false, sb_left_fence, sb_right_fence),
	LITMUS("SB, membarrier", sb_end, false, sb_left_compiler, sb_right_membarrier),
	LITMUS("SB, membarrier alone", sb_end, true, sb_left, sb_right_membarrier),
	LITMUS("SB, compiler's fence alone", sb_end, true, sb_left_compiler, sb_right),
	LITMUS("IRIW, acquire", iriw_end, true, x_relaxed, y_relaxed, iriw_xy, iriw_yx),
	LITMUS("IRIW, fences", iriw_end, false, x_relaxed, y_relaxed, iriw_xy_fence, iriw_yx_fence),
	LITMUS("2+2W", w22_end, true, w22_left, w22_right),
	LITMUS("CoRR", co_end, false, co_write, co_read),
	LITMUS("additions", add_end, false, add_one, add_one, add_one),
	{ .name = NULL },
};
