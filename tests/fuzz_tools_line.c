/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command lines of leat, words ended by zero bytes, where there is no daemon; and with another
 * first byte what else users type: formats, escapes, numbers, places, and records in lines. A
 * command ends by itself with one of its three exit statuses.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/escape.h"
#include "tools/print.h"
#include "tools/split.h"
#include "tools/tool.h"
#include "tools/units.h"

enum {
	LINE_MAX_LEN = 1024,
	WORDS_MAX = 24,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_len);

static void fail(const char *why)
{
	fprintf(stderr, "%s\n", why);
	abort();
}

/* Nothing is printed, nothing is typed, and no daemon is found. */
static void begin(void)
{
	static bool begun;
	int null;

	if (begun)
		return;
	begun = true;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (dup2(null, 0) < 0 || dup2(null, 1) < 0)
		abort();
	setenv("LEAT_BUS", "/nonexistent/bus.sock", 1);
}

/* Not bench, which is meant to run for long, and not what waits for somebody to come. */
static void try_command(uint8_t which, char *text, size_t len)
{
	static int (*const commands[])(int, char **) = { cmd_stream, cmd_pub,  cmd_sub,
							 cmd_replay, cmd_stat, cmd_dump,
							 cmd_verify };
	char *words[WORDS_MAX + 1] = { (char *)(uintptr_t) "command" };
	int n = 1, status;

	for (size_t at = 0; at < len && n < WORDS_MAX; at += strlen(text + at) + 1) {
		/* Another bus, and files by their path, are somebody's. */
		if (strchr(text + at, '/') || strstr(text + at, "..") ||
		    strncmp(text + at, "-b", 2) == 0 || strncmp(text + at, "--b", 3) == 0)
			return;
		words[n++] = text + at;
	}
	tool_set_bus("/nonexistent/bus.sock");
	optind = 0;
	opterr = 0;
	status = commands[which % ARRAY_LEN(commands)](n, words);
	if (status != TOOL_OK && status != TOOL_FAILED && status != TOOL_USAGE)
		fail("an exit status that there is not");
}

static void try_format(const char *text)
{
	static const struct leat_message message = {
		.kind = LEAT_RECORD, .key = "", .headers = "", .value = "v", .value_len = 1
	};
	struct print_format format;
	struct print print;
	const char *bad;

	if (print_format_parse(text, &format, &bad) < 0)
		return;
	if (print_init(&print) == 0) {
		print_format_write(&format, &print.out, "stream", &message);
		print_json(&print.out, text, &message);
		print_deinit(&print);
	}
	print_format_free(&format);
}

static void try_values(const char *text)
{
	struct units_where where;
	char shown[UNITS_TEXT_LEN], *bytes;
	uint64_t value, again;
	double factor;
	size_t len;

	(void)units_parse_number(text, &value);
	if (units_parse_size(text, &value) == 0) {
		units_exact_size(value, shown);
		if (units_parse_size(shown, &again) < 0 || again != value)
			fail("a size that is shown wrong");
	}
	if (units_parse_time(text, &value) == 0) {
		units_exact_time(value, shown);
		if (units_parse_time(shown, &again) < 0 || again != value)
			fail("a time that is shown wrong");
	}
	(void)units_parse_where(text, UINT64_C(1700000000000000000), &where);
	(void)units_parse_speed(text, &factor);
	if (escape_decode(text, &bytes, &len) == 0) {
		if (len > strlen(text))
			fail("more bytes than were written");
		free(bytes);
	}
}

/* In pieces of any length; what comes out together is no longer than what went in. */
static void try_split(uint8_t mode, const char *text, size_t len)
{
	struct split split;
	struct split_part part;
	size_t at = 0, given = 0;

	if (split_init(&split, (enum split_mode)(mode % 3), mode & 4 ? "ab" : "\n",
		       mode & 4 ? 2 : 1, 100) < 0)
		abort();
	for (bool eof = false; !eof;) {
		size_t room, n;
		char *to = split_room(&split, &room);

		if (!to)
			abort();
		n = len - at < 1 + mode / 8u ? len - at : 1 + mode / 8u;
		n = n < room ? n : room;
		memcpy(to, text + at, n);
		at += n;
		eof = n == 0;
		split_filled(&split, n);
		while (split_next(&split, &part) == 1) {
			for (size_t i = 0; !part.too_large && i < part.len; i++)
				given += part.data[i] == '\0';
			if (!part.too_large && part.len > 100)
				fail("a part that is too large");
		}
	}
	if (given > len)
		fail("more came out than went in");
	split_deinit(&split);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_len)
{
	char text[LINE_MAX_LEN + 1];
	size_t len;

	if (data_len < 2)
		return 0;
	begin();
	len = data_len - 2 < LINE_MAX_LEN ? data_len - 2 : LINE_MAX_LEN;
	memcpy(text, data + 2, len);
	text[len] = '\0';
	switch (data[0] % 4) {
	case 0:
		try_command(data[1], text, len);
		break;
	case 1:
		try_format(text);
		break;
	case 2:
		try_values(text);
		break;
	default:
		try_split(data[1], text, len);
		break;
	}
	return 0;
}
