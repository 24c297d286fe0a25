/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_axis.h"

#include <math.h>

enum {
	STEPS = 5,        /* between the ends of a linear axis, about */
	FEW_DECADES = 2,  /* on so few there is room for 2 and 5 */
	MANY_DECADES = 7, /* on so many there is none for anything but decades */
	LABELS_MAX = 9,
};

static const double nines[] = { 0.5, 0.9, 0.99, 0.999, 0.9999 };

static double transform(enum bench_scale scale, double value)
{
	switch (scale) {
	case BENCH_LOG:
		return log10(value);
	case BENCH_LOG2:
		return log2(value);
	case BENCH_NINES:
		return -log10(1 - value);
	default:
		return value;
	}
}

static void add_tick(struct bench_axis *axis, double value, bool labelled)
{
	if (axis->n_ticks < BENCH_TICKS_MAX)
		axis->ticks[axis->n_ticks++] = (struct bench_tick){ value, labelled };
}

/* 1, 2 or 5 times a power of ten that is at least `value`, or at most. */
static double round_up(double value)
{
	double power = pow(10, floor(log10(value) + 1e-9)), digits = value / power;

	return power * (digits <= 1 + 1e-9   ? 1
			: digits <= 2 + 1e-9 ? 2
			: digits <= 5 + 1e-9 ? 5
					     : 10);
}

static double round_down(double value)
{
	double power = pow(10, floor(log10(value) + 1e-9)), digits = value / power;

	return power * (digits >= 5 - 1e-9 ? 5 : digits >= 2 - 1e-9 ? 2 : 1);
}

static void fit_linear(struct bench_axis *axis, double most)
{
	double step = most > 0 ? round_up(most / STEPS) : 1;
	int i, n = most > 0 ? (int)ceil(most / step - 1e-9) : 1;

	axis->low = 0;
	axis->high = n * step;
	for (i = 0; i <= n; i++)
		add_tick(axis, i * step, true);
}

static void fit_log(struct bench_axis *axis, double least, double most)
{
	double power, value, decades;
	int digit;

	axis->low = round_down(least);
	axis->high = round_up(most);
	if (axis->high <= axis->low)
		axis->high = round_up(axis->low * 1.1);
	decades = log10(axis->high / axis->low);
	for (power = pow(10, floor(log10(axis->low) + 1e-9)); power <= axis->high * (1 + 1e-9);
	     power *= 10) {
		for (digit = 1; digit < 10; digit++) {
			value = digit * power;
			if (value < axis->low * (1 - 1e-9) || value > axis->high * (1 + 1e-9))
				continue;
			if (digit == 1 || (decades <= FEW_DECADES && (digit == 2 || digit == 5)))
				add_tick(axis, value, true);
			else if (decades <= MANY_DECADES)
				add_tick(axis, value, false);
		}
	}
}

/* Every doubling has a mark, and as many of them words as there is room for. */
static void fit_log2(struct bench_axis *axis, double least, double most)
{
	int low = (int)floor(log2(least) + 1e-9), high = (int)ceil(log2(most) - 1e-9), i, every;

	if (high <= low)
		high = low + 1;
	axis->low = exp2(low);
	axis->high = exp2(high);
	for (every = 1; (high - low) / every + 1 > LABELS_MAX; every *= 2)
		;
	for (i = low; i <= high; i++)
		add_tick(axis, exp2(i), (i - low) % every == 0);
}

static void fit_nines(struct bench_axis *axis, double least, double most)
{
	size_t i;

	axis->low = least;
	axis->high = most;
	for (i = 0; i < sizeof(nines) / sizeof(nines[0]); i++) {
		if (nines[i] >= least - 1e-9 && nines[i] <= most + 1e-9)
			add_tick(axis, nines[i], true);
	}
}

void bench_axis_fit(struct bench_axis *axis, enum bench_scale scale, double least, double most)
{
	*axis = (struct bench_axis){ .scale = scale };
	if (scale == BENCH_LOG)
		fit_log(axis, least, most);
	else if (scale == BENCH_LOG2)
		fit_log2(axis, least, most);
	else if (scale == BENCH_NINES)
		fit_nines(axis, least, most);
	else
		fit_linear(axis, most);
}

double bench_axis_place(const struct bench_axis *axis, double value)
{
	double low = transform(axis->scale, axis->low);
	double high = transform(axis->scale, axis->high);

	if (value <= axis->low)
		return 0;
	if (value >= axis->high)
		return 1;
	return (transform(axis->scale, value) - low) / (high - low);
}

/*
 * Labels that touch form a block, which lies where their mean wants to be; blocks that touch are
 * joined until none do (the pool-adjacent-violators algorithm, which finds the least squares).
 */
void bench_axis_spread(double *places, size_t n, double gap, double low, double high)
{
	struct {
		double sum; /* of what each wants, less its distance from the first of the block */
		size_t n;
	} blocks[BENCH_TICKS_MAX];
	size_t n_blocks = 0, i, j, at = 0;
	double start, last;

	if (n > BENCH_TICKS_MAX)
		return;
	for (i = 0; i < n; i++) {
		blocks[n_blocks].sum = places[i];
		blocks[n_blocks++].n = 1;
		while (n_blocks > 1) {
			start = blocks[n_blocks - 2].sum / (double)blocks[n_blocks - 2].n;
			last = start + gap * (double)blocks[n_blocks - 2].n;
			if (blocks[n_blocks - 1].sum / (double)blocks[n_blocks - 1].n >= last)
				break;
			blocks[n_blocks - 2].sum +=
				blocks[n_blocks - 1].sum -
				gap * (double)(blocks[n_blocks - 2].n * blocks[n_blocks - 1].n);
			blocks[n_blocks - 2].n += blocks[n_blocks - 1].n;
			n_blocks--;
		}
	}
	for (i = 0; i < n_blocks; i++) {
		start = blocks[i].sum / (double)blocks[i].n;
		for (j = 0; j < blocks[i].n; j++)
			places[at++] = start + gap * (double)j;
	}
	/* Pushed back from one end, then from the other, which wins when there is no room. */
	for (i = n, last = high; i > 0; i--, last -= gap)
		places[i - 1] = fmin(places[i - 1], last);
	for (i = 0, last = low; i < n; i++, last += gap)
		places[i] = fmax(places[i], last);
}
