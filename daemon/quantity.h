/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizes and times as people write them: sizes take K, M, G, T (powers of 1024), times take ns,
 * us, ms, s, m, h, d. The command line, the configuration and `set` share this spelling.
 */
#ifndef DAEMON_QUANTITY_H
#define DAEMON_QUANTITY_H

#include "shm/base.h"

/* What quantity_print_*() needs at most. */
enum {
	QUANTITY_LEN = 32
};
/* All quantities stay below it, so that SQLite and JSON hold them as signed integers. */
#define QUANTITY_MAX ((uint64_t)INT64_MAX)

/* 0, -EINVAL for anything that is not a whole number with a known unit, -ERANGE. */
int quantity_parse_len(const char *text, uint64_t *ret_len);
/* Only 0 needs no unit. */
int quantity_parse_ns(const char *text, uint64_t *ret_ns);
/* A whole number without a unit, at most max. */
int quantity_parse_number(const char *text, uint64_t max, uint64_t *ret_number);

/* In the largest unit that divides it ("16M", "100ms"); returns buf. */
const char *quantity_print_len(uint64_t len, char buf[QUANTITY_LEN]);
const char *quantity_print_ns(uint64_t ns, char buf[QUANTITY_LEN]);

#endif
