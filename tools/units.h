/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How numbers are written on the command line and shown: sizes, times, places in a stream, speeds.
 * Parsing returns 0, -EINVAL for what is not written so, -ERANGE for what does not fit 64 bits.
 */
#ifndef TOOLS_UNITS_H
#define TOOLS_UNITS_H

#include <stddef.h>
#include <stdint.h>

#include "clientlib/leat.h"

enum {
	UNITS_TEXT_LEN = 40
};

/* A place to start or stop at. */
struct units_where {
	enum leat_where where;
	uint64_t value; /* position or nanoseconds since 1970 */
};

/* A decimal number and nothing else. */
int units_parse_number(const char *text, uint64_t *ret_number);
/* "4096", "64K", "16M", "1G", "2T": powers of 1024; a following B or iB is allowed. */
int units_parse_size(const char *text, uint64_t *ret_len);
/* "100ms", "7d": a number with one of ns us ms s m h d, or 0. */
int units_parse_time(const char *text, uint64_t *ret_ns);
/*
 * "earliest", "latest", a position, or "@TIME": ISO 8601 (local time unless it ends in Z or an
 * offset), seconds since 1970 with or without a fraction, milliseconds from 12 digits on,
 * microseconds from 15, nanoseconds from 18; "@-10m" is that long before now_ns. "beginning" and
 * "end" are what kcat calls earliest and latest.
 */
int units_parse_where(const char *text, uint64_t now_ns, struct units_where *ret_where);
/* "max" gives 0, "10x", "0.5x" or "2" the factor. */
int units_parse_speed(const char *text, double *ret_factor);

/* Short forms for people: "1.5G", "16M", "312"; "250ms", "7d"; "1.2M" in powers of 1000. */
const char *units_show_size(uint64_t len, char text[UNITS_TEXT_LEN]);
const char *units_show_time(uint64_t ns, char text[UNITS_TEXT_LEN]);
const char *units_show_count(double count, char text[UNITS_TEXT_LEN]);
/* Exactly, as the command line takes it: the largest unit that divides it. */
const char *units_exact_size(uint64_t len, char text[UNITS_TEXT_LEN]);
const char *units_exact_time(uint64_t ns, char text[UNITS_TEXT_LEN]);
/* "2026-01-31T12:00:00.123456789Z"; "-" for 0. */
const char *units_show_date(uint64_t ns, char text[UNITS_TEXT_LEN]);

#endif
