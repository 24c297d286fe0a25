/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/units.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS_PER_S UINT64_C(1000000000)

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit size_units[] = {
	{ "T", UINT64_C(1) << 40 },
	{ "G", UINT64_C(1) << 30 },
	{ "M", UINT64_C(1) << 20 },
	{ "K", UINT64_C(1) << 10 },
	{ "", 1 },
};

static const struct unit time_units[] = {
	{ "d", 86400 * NS_PER_S },
	{ "h", 3600 * NS_PER_S },
	{ "m", 60 * NS_PER_S },
	{ "s", NS_PER_S },
	{ "ms", 1000000 },
	{ "us", 1000 },
	{ "ns", 1 },
};

static const struct unit count_units[] = {
	{ "G", 1000000000 },
	{ "M", 1000000 },
	{ "K", 1000 },
	{ "", 1 },
};

/* Digits only: no sign, no blanks, which strtoull would take. */
static int take_number(const char **text, uint64_t *ret_number)
{
	char *end;

	if (!isdigit((unsigned char)**text))
		return -EINVAL;
	errno = 0;
	*ret_number = strtoull(*text, &end, 10);
	*text = end;
	return errno == ERANGE ? -ERANGE : 0;
}

static int take_factor(uint64_t number, uint64_t factor, uint64_t *ret)
{
	return __builtin_mul_overflow(number, factor, ret) ? -ERANGE : 0;
}

int units_parse_number(const char *text, uint64_t *ret_number)
{
	uint64_t number;
	int rc = take_number(&text, &number);

	if (rc < 0)
		return rc;
	if (*text)
		return -EINVAL;
	*ret_number = number;
	return 0;
}

int units_parse_size(const char *text, uint64_t *ret_len)
{
	static const char letters[] = "TGMK";
	uint64_t number, factor = 1;
	const char *letter;
	int rc = take_number(&text, &number);

	if (rc < 0)
		return rc;
	letter = *text ? strchr(letters, toupper((unsigned char)*text)) : NULL;
	if (letter) {
		factor = size_units[letter - letters].factor;
		text++;
		if (text[0] == 'i' && text[1] == 'B')
			text++;
	}
	if (*text == 'B')
		text++;
	if (*text)
		return -EINVAL;
	return take_factor(number, factor, ret_len);
}

int units_parse_time(const char *text, uint64_t *ret_ns)
{
	uint64_t number;
	size_t i;
	int rc = take_number(&text, &number);

	if (rc < 0)
		return rc;
	if (number == 0 && !*text) {
		*ret_ns = 0;
		return 0;
	}
	for (i = 0; i < sizeof(time_units) / sizeof(time_units[0]); i++) {
		if (strcmp(text, time_units[i].name) == 0)
			return take_factor(number, time_units[i].factor, ret_ns);
	}
	return -EINVAL;
}

/* Up to nine digits after the point; more are read and have no weight. */
static uint64_t take_fraction(const char **text)
{
	uint64_t fraction = 0, weight = NS_PER_S / 10;

	for (; isdigit((unsigned char)**text); (*text)++) {
		fraction += (uint64_t)(**text - '0') * weight;
		weight /= 10;
	}
	return fraction;
}

static int parse_epoch(const char *text, uint64_t *ret_ns)
{
	static const uint64_t by_digits[] = { NS_PER_S, 1000000, 1000, 1 };
	size_t n_digits = strspn(text, "0123456789");
	uint64_t number, ns, fraction = 0;
	size_t unit = n_digits < 12 ? 0 : (n_digits - 9) / 3;
	int rc = take_number(&text, &number);

	if (rc < 0)
		return rc;
	if (*text == '.' && unit == 0 && isdigit((unsigned char)text[1])) {
		text++;
		fraction = take_fraction(&text);
	}
	if (*text)
		return -EINVAL;
	rc = take_factor(number, by_digits[unit > 3 ? 3 : unit], &ns);
	if (rc < 0)
		return rc;
	return __builtin_add_overflow(ns, fraction, ret_ns) ? -ERANGE : 0;
}

/* "Z", "+01:00", "-0530" or nothing; returns whether a zone was given. */
static int take_zone(const char **text, long *ret_seconds)
{
	int sign = **text == '-' ? -1 : 1, hours, minutes = 0, n = 0;

	*ret_seconds = 0;
	if (**text == 'Z' || **text == 'z') {
		(*text)++;
		return 1;
	}
	if (**text != '+' && **text != '-')
		return 0;
	if (sscanf(*text + 1, "%2d:%2d%n", &hours, &minutes, &n) < 2 || n == 0) {
		n = 0;
		if (sscanf(*text + 1, "%2d%2d%n", &hours, &minutes, &n) < 2 || n == 0) {
			if (sscanf(*text + 1, "%2d%n", &hours, &n) < 1)
				return 0;
			minutes = 0;
		}
	}
	*text += 1 + n;
	*ret_seconds = sign * (hours * 3600L + minutes * 60L);
	return 1;
}

static int in_range(int value, int low, int high)
{
	return value >= low && value <= high;
}

static int parse_iso(const char *text, uint64_t *ret_ns)
{
	struct tm tm = { .tm_isdst = -1 };
	uint64_t fraction = 0;
	long zone = 0;
	time_t seconds;
	int n = 0, has_zone;

	if (sscanf(text, "%4d-%2d-%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &n) < 3 || n != 10)
		return -EINVAL;
	text += n;
	if (*text == 'T' || *text == ' ') {
		n = 0;
		if (sscanf(text + 1, "%2d:%2d%n", &tm.tm_hour, &tm.tm_min, &n) < 2 || n != 5)
			return -EINVAL;
		text += 1 + n;
		n = 0;
		if (*text == ':' && sscanf(text, ":%2d%n", &tm.tm_sec, &n) == 1)
			text += n;
		if (*text == '.' && isdigit((unsigned char)text[1])) {
			text++;
			fraction = take_fraction(&text);
		}
	}
	has_zone = take_zone(&text, &zone);
	if (*text || !in_range(tm.tm_mon, 1, 12) || !in_range(tm.tm_mday, 1, 31) ||
	    !in_range(tm.tm_hour, 0, 23) || !in_range(tm.tm_min, 0, 59) ||
	    !in_range(tm.tm_sec, 0, 60))
		return -EINVAL;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	seconds = has_zone ? timegm(&tm) - zone : mktime(&tm);
	if (seconds < 0)
		return -ERANGE;
	*ret_ns = (uint64_t)seconds * NS_PER_S + fraction;
	return 0;
}

static int parse_date(const char *text, uint64_t now_ns, uint64_t *ret_ns)
{
	uint64_t back;
	int rc;

	if (strcmp(text, "now") == 0) {
		*ret_ns = now_ns;
		return 0;
	}
	if (*text == '-') {
		rc = units_parse_time(text + 1, &back);
		if (rc == 0)
			*ret_ns = back < now_ns ? now_ns - back : 0;
		return rc;
	}
	if (strchr(text, '-'))
		return parse_iso(text, ret_ns);
	return parse_epoch(text, ret_ns);
}

int units_parse_where(const char *text, uint64_t now_ns, struct units_where *ret_where)
{
	struct units_where where = { .where = LEAT_POSITION };
	int rc = 0;

	if (strcmp(text, "earliest") == 0 || strcmp(text, "beginning") == 0) {
		where.where = LEAT_EARLIEST;
	} else if (strcmp(text, "latest") == 0 || strcmp(text, "end") == 0) {
		where.where = LEAT_LATEST;
	} else if (*text == '@') {
		where.where = LEAT_TIME;
		rc = parse_date(text + 1, now_ns, &where.value);
	} else {
		rc = units_parse_number(text, &where.value);
	}
	if (rc == 0)
		*ret_where = where;
	return rc;
}

int units_parse_speed(const char *text, double *ret_factor)
{
	double factor;
	char *end;

	if (strcmp(text, "max") == 0) {
		*ret_factor = 0;
		return 0;
	}
	if (!isdigit((unsigned char)*text) && *text != '.')
		return -EINVAL;
	factor = strtod(text, &end);
	if (*end == 'x')
		end++;
	if (*end || !isfinite(factor) || factor <= 0)
		return -EINVAL;
	*ret_factor = factor;
	return 0;
}

/* One decimal below ten of a unit, none above: three figures or fewer. */
static const char *show(double value, const struct unit *units, size_t n_units, char *text)
{
	size_t i = 0;
	double x;

	while (i + 1 < n_units && value < (double)units[i].factor)
		i++;
	x = value / (double)units[i].factor;
	if (units[i].factor == 1 || x >= 9.95 || x == floor(x))
		snprintf(text, UNITS_TEXT_LEN, "%.0f%s", x, units[i].name);
	else
		snprintf(text, UNITS_TEXT_LEN, "%.1f%s", x, units[i].name);
	return text;
}

const char *units_show_size(uint64_t len, char text[UNITS_TEXT_LEN])
{
	return show((double)len, size_units, sizeof(size_units) / sizeof(size_units[0]), text);
}

const char *units_show_time(uint64_t ns, char text[UNITS_TEXT_LEN])
{
	return show((double)ns, time_units, sizeof(time_units) / sizeof(time_units[0]), text);
}

const char *units_show_count(double count, char text[UNITS_TEXT_LEN])
{
	if (count < 9.95 && count != floor(count)) {
		snprintf(text, UNITS_TEXT_LEN, "%.1f", count);
		return text;
	}
	return show(count, count_units, sizeof(count_units) / sizeof(count_units[0]), text);
}

static const char *exact(uint64_t value, const struct unit *units, char *text)
{
	while (units->factor > 1 && (value == 0 || value % units->factor != 0))
		units++;
	snprintf(text, UNITS_TEXT_LEN, "%llu%s", (unsigned long long)(value / units->factor),
		 value ? units->name : "");
	return text;
}

const char *units_exact_size(uint64_t len, char text[UNITS_TEXT_LEN])
{
	return exact(len, size_units, text);
}

const char *units_exact_time(uint64_t ns, char text[UNITS_TEXT_LEN])
{
	return exact(ns, time_units, text);
}

const char *units_show_date(uint64_t ns, char text[UNITS_TEXT_LEN])
{
	time_t seconds = (time_t)(ns / NS_PER_S);
	size_t len;
	struct tm tm;

	if (ns == 0 || !gmtime_r(&seconds, &tm)) {
		strcpy(text, "-");
		return text;
	}
	len = strftime(text, UNITS_TEXT_LEN, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + len, UNITS_TEXT_LEN - len, ".%09lluZ", (unsigned long long)(ns % NS_PER_S));
	return text;
}
