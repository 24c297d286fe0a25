/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sentence about a failure: names the object and the remedy. Each public handle has one;
 * internal functions that can fail write into the one they are given.
 */
#ifndef CLIENTLIB_DETAIL_H
#define CLIENTLIB_DETAIL_H

#include "shm/base.h"

enum {
	DETAIL_LEN = 512
};

struct detail {
	char text[DETAIL_LEN];
};

/* Stores the sentence and returns `error`; detail may be NULL. Any thread that owns detail. */
int detail_fail(struct detail *detail, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* For an error that nobody has stored a sentence of: what its errno says. Returns `error`. */
int detail_default(struct detail *detail, int error);

static inline void detail_clear(struct detail *detail)
{
	detail->text[0] = 0;
}

#endif
