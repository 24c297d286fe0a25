/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/quantity.h"

#include <inttypes.h>
#include <stdio.h>

struct quantity_unit {
	const char *name;
	uint64_t factor;
};

/* The largest first: printing takes the first that divides. */
static const struct quantity_unit quantity_len_units[] = {
	{ "T", (uint64_t)1 << 40 }, { "G", GIB }, { "M", MIB }, { "K", KIB }, { "", 1 },
};

static const struct quantity_unit quantity_ns_units[] = {
	{ "d", 86400 * NS_PER_S },
	{ "h", 3600 * NS_PER_S },
	{ "m", 60 * NS_PER_S },
	{ "s", NS_PER_S },
	{ "ms", NS_PER_MS },
	{ "us", NS_PER_US },
	{ "ns", 1 },
};

static int quantity_digits(const char *text, const char **ret_end, uint64_t *ret_value)
{
	uint64_t value = 0;
	const char *p = text;

	for (; *p >= '0' && *p <= '9'; p++) {
		uint64_t digit = (uint64_t)(*p - '0');

		if (value > (QUANTITY_MAX - digit) / 10)
			return -ERANGE;
		value = value * 10 + digit;
	}
	if (p == text)
		return -EINVAL;
	*ret_end = p;
	*ret_value = value;
	return 0;
}

static int quantity_scale(uint64_t value, uint64_t factor, uint64_t *ret_value)
{
	if (value > QUANTITY_MAX / factor)
		return -ERANGE;
	*ret_value = value * factor;
	return 0;
}

int quantity_parse_number(const char *text, uint64_t max, uint64_t *ret_number)
{
	uint64_t value;
	const char *end;
	int r = quantity_digits(text, &end, &value);

	if (r < 0)
		return r;
	if (*end != '\0')
		return -EINVAL;
	if (value > max)
		return -ERANGE;
	*ret_number = value;
	return 0;
}

int quantity_parse_len(const char *text, uint64_t *ret_len)
{
	uint64_t value;
	const char *end;
	int r = quantity_digits(text, &end, &value);
	char unit[2] = { 0 };

	if (r < 0)
		return r;
	if (*end != '\0' && strcmp(end, "B") != 0) {
		/* k and K, KB and KiB: all mean 1024. */
		unit[0] = *end >= 'a' && *end <= 'z' ? (char)(*end - 'a' + 'A') : *end;
		end++;
		if (strcmp(end, "iB") == 0)
			end++;
	}
	if (*end != '\0' && strcmp(end, "B") != 0)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_LEN(quantity_len_units); i++)
		if (strcmp(unit, quantity_len_units[i].name) == 0)
			return quantity_scale(value, quantity_len_units[i].factor, ret_len);
	return -EINVAL;
}

int quantity_parse_ns(const char *text, uint64_t *ret_ns)
{
	uint64_t value;
	const char *end;
	int r = quantity_digits(text, &end, &value);

	if (r < 0)
		return r;
	if (*end == '\0' && value == 0)
		end = "s";
	for (size_t i = 0; i < ARRAY_LEN(quantity_ns_units); i++)
		if (strcmp(end, quantity_ns_units[i].name) == 0)
			return quantity_scale(value, quantity_ns_units[i].factor, ret_ns);
	return -EINVAL;
}

static const char *quantity_print(uint64_t value, const struct quantity_unit *unit, char *buf)
{
	while (unit->factor != 1 && (value == 0 || value % unit->factor != 0))
		unit++;
	snprintf(buf, QUANTITY_LEN, "%" PRIu64 "%s", value / unit->factor, unit->name);
	return buf;
}

const char *quantity_print_len(uint64_t len, char buf[QUANTITY_LEN])
{
	return quantity_print(len, quantity_len_units, buf);
}

const char *quantity_print_ns(uint64_t ns, char buf[QUANTITY_LEN])
{
	return quantity_print(ns, quantity_ns_units, buf);
}
