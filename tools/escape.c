/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/escape.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/out.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int take_hex(const char **text)
{
	int value = hex_digit(**text), next;

	if (value < 0)
		return -EINVAL;
	(*text)++;
	next = hex_digit(**text);
	if (next >= 0) {
		value = value * 16 + next;
		(*text)++;
	}
	return value;
}

static int take_octal(const char **text)
{
	int value = 0, n;

	for (n = 0; n < 3 && **text >= '0' && **text <= '7'; n++)
		value = value * 8 + *(*text)++ - '0';
	return value <= 255 ? value : -EINVAL;
}

int escape_take(const char **text)
{
	static const char names[] = "ntrabfve\\\"'", values[] = "\n\t\r\a\b\f\v\033\\\"'";
	const char *name;

	if (**text >= '0' && **text <= '7')
		return take_octal(text);
	if (**text == 'x') {
		(*text)++;
		return take_hex(text);
	}
	name = **text ? strchr(names, **text) : NULL;
	if (!name)
		return -EINVAL;
	(*text)++;
	return (unsigned char)values[name - names];
}

int escape_decode(const char *text, char **ret_bytes, size_t *ret_len)
{
	char *bytes = malloc(strlen(text) + 1);
	size_t len = 0;
	int c;

	if (!bytes)
		return -ENOMEM;
	while (*text) {
		c = (unsigned char)*text++;
		if (c == '\\') {
			c = escape_take(&text);
			if (c < 0) {
				free(bytes);
				return c;
			}
		}
		bytes[len++] = (char)c;
	}
	bytes[len] = '\0';
	*ret_bytes = bytes;
	*ret_len = len;
	return 0;
}

void escape_c(struct out *out, const void *bytes, size_t len)
{
	static const char names[] = "ntr\\\"", values[] = "\n\t\r\\\"";
	const unsigned char *p = bytes;
	char hex[5];
	const char *value;
	size_t i;

	for (i = 0; i < len; i++) {
		value = p[i] ? strchr(values, p[i]) : NULL;
		if (value) {
			out_char(out, '\\');
			out_char(out, names[value - values]);
		} else if (p[i] >= 0x20 && p[i] < 0x7f) {
			out_char(out, (char)p[i]);
		} else {
			snprintf(hex, sizeof(hex), "\\x%02x", p[i]);
			out_write(out, hex, 4);
		}
	}
}

/* Length of the UTF-8 sequence at p, 0 when it is none. */
static size_t utf8_sequence(const unsigned char *p, size_t len)
{
	uint32_t code, low;
	size_t n, i;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		n = 2;
	else if ((p[0] & 0xf0) == 0xe0)
		n = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (len < n)
		return 0;
	code = p[0] & (0x7fu >> n);
	for (i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (p[i] & 0x3f);
	}
	low = n == 2 ? 0x80 : n == 3 ? 0x800 : 0x10000;
	return code >= low && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff) ? n : 0;
}

bool escape_is_utf8(const void *bytes, size_t len)
{
	const unsigned char *p = bytes;
	uint64_t eight;
	size_t n;

	while (len > 0) {
		if (len >= 8) {
			memcpy(&eight, p, 8);
			if ((eight & UINT64_C(0x8080808080808080)) == 0) {
				p += 8;
				len -= 8;
				continue;
			}
		}
		n = utf8_sequence(p, len);
		if (n == 0)
			return false;
		p += n;
		len -= n;
	}
	return true;
}

static void json_special(struct out *out, unsigned char c)
{
	static const char names[] = "ntrbf\\\"", values[] = "\n\t\r\b\f\\\"";
	const char *value = c ? strchr(values, c) : NULL;
	char text[7];

	if (value)
		snprintf(text, sizeof(text), "\\%c", names[value - values]);
	else
		snprintf(text, sizeof(text), "\\u%04x", c);
	out_text(out, text);
}

void escape_json(struct out *out, const void *bytes, size_t len)
{
	const unsigned char *p = bytes;
	size_t i, from = 0;

	out_char(out, '"');
	for (i = 0; i < len; i++) {
		if (p[i] >= 0x20 && p[i] != '"' && p[i] != '\\' && p[i] != 0x7f)
			continue;
		out_write(out, p + from, i - from);
		from = i + 1;
		json_special(out, p[i]);
	}
	if (len > 0)
		out_write(out, p + from, len - from);
	out_char(out, '"');
}

void escape_base64(struct out *out, const void *bytes, size_t len)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *p = bytes;
	uint32_t three;
	char four[4];
	size_t i;

	for (i = 0; i < len; i += 3) {
		three = (uint32_t)p[i] << 16;
		if (i + 1 < len)
			three |= (uint32_t)p[i + 1] << 8;
		if (i + 2 < len)
			three |= p[i + 2];
		four[0] = digits[three >> 18];
		four[1] = digits[three >> 12 & 63];
		four[2] = i + 1 < len ? digits[three >> 6 & 63] : '=';
		four[3] = i + 2 < len ? digits[three & 63] : '=';
		out_write(out, four, 4);
	}
}
