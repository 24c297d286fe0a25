/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/print.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/escape.h"
#include "tools/tool.h"
#include "tools/units.h"

enum {
	PRINT_BUFFER = 256 << 10
};

static int add_token(struct print_format *format, char kind, size_t off, size_t len)
{
	struct print_token *last, *tokens;

	last = format->n_tokens > 0 ? &format->tokens[format->n_tokens - 1] : NULL;
	if (last && kind == 0 && last->kind == 0 && last->off + last->len == off) {
		last->len += len;
		return 0;
	}
	tokens = reallocarray(format->tokens, format->n_tokens + 1, sizeof(*tokens));
	if (!tokens)
		return -ENOMEM;
	tokens[format->n_tokens++] = (struct print_token){ .kind = kind, .off = off, .len = len };
	format->tokens = tokens;
	return 0;
}

int print_format_parse(const char *text, struct print_format *ret_format, const char **ret_bad)
{
	struct print_format format = { .text = malloc(strlen(text) + 1) };
	const char *from;
	size_t len = 0;
	int rc = format.text ? 0 : -ENOMEM, c;

	while (rc == 0 && *text) {
		from = text;
		c = (unsigned char)*text++;
		if (c == '%' && *text != '%') {
			rc = *text && strchr("sSkKtpoTNh", *text) ? 0 : -EINVAL;
			if (rc == 0)
				rc = add_token(&format, *text++, 0, 0);
		} else {
			if (c == '%')
				text++;
			else if (c == '\\')
				c = escape_take(&text);
			rc = c < 0 ? c : add_token(&format, 0, len, 1);
			format.text[len++] = (char)c;
		}
		if (rc == -EINVAL)
			*ret_bad = from;
	}
	if (rc == 0)
		*ret_format = format;
	else
		print_format_free(&format);
	return rc;
}

void print_format_free(struct print_format *format)
{
	free(format->tokens);
	free(format->text);
	*format = (struct print_format){ 0 };
}

/* As kcat does: name=value,name=value. */
static void write_headers(struct out *out, const struct leat_message *message)
{
	struct leat_header header;
	uint32_t off = 0;
	int n = 0;

	while (leat_message_header(message, &off, &header) == 1) {
		if (n++ > 0)
			out_char(out, ',');
		out_write(out, header.name, header.name_len);
		out_char(out, '=');
		out_write(out, header.value, header.value_len);
	}
}

void print_format_write(const struct print_format *format, struct out *out, const char *stream,
			const struct leat_message *message)
{
	for (size_t i = 0; i < format->n_tokens; i++) {
		const struct print_token *token = &format->tokens[i];

		switch (token->kind) {
		case 's':
			out_write(out, message->value, message->value_len);
			break;
		case 'S':
			out_number(out, message->value_len);
			break;
		case 'k':
			out_write(out, message->key, message->key_len);
			break;
		case 'K':
			out_number(out, message->key_len);
			break;
		case 't':
			out_text(out, stream);
			break;
		case 'p':
			out_number(out, message->shard);
			break;
		case 'o':
			out_number(out, message->pos);
			break;
		case 'T':
			out_number(out, message->timestamp_ns / 1000000);
			break;
		case 'N':
			out_number(out, message->timestamp_ns);
			break;
		case 'h':
			write_headers(out, message);
			break;
		default:
			out_write(out, format->text + token->off, token->len);
		}
	}
}

static void json_number(struct out *out, const char *before, uint64_t number)
{
	out_text(out, before);
	out_number(out, number);
}

/* Bytes that are no UTF-8 cannot be a JSON string; then they come as an object. */
static void json_bytes(struct out *out, const void *bytes, size_t len)
{
	if (escape_is_utf8(bytes, len)) {
		escape_json(out, bytes, len);
		return;
	}
	out_text(out, "{\"base64\":\"");
	escape_base64(out, bytes, len);
	out_text(out, "\"}");
}

/* As kcat does: one array of name, value, name, value, because a name may come twice. */
static void json_headers(struct out *out, const struct leat_message *message)
{
	struct leat_header header;
	uint32_t off = 0;
	int n = 0;

	out_text(out, ",\"headers\":[");
	while (leat_message_header(message, &off, &header) == 1) {
		if (n++ > 0)
			out_char(out, ',');
		json_bytes(out, header.name, header.name_len);
		out_char(out, ',');
		json_bytes(out, header.value, header.value_len);
	}
	out_char(out, ']');
}

const char *print_gap_reason(enum leat_gap reason)
{
	switch (reason) {
	case LEAT_GAP_RETENTION:
		return "retention";
	case LEAT_GAP_DAMAGE:
		return "damage";
	case LEAT_GAP_LAPPED:
		return "lapped";
	case LEAT_GAP_JUMP:
		return "jump";
	}
	return "unknown";
}

static void json_gap(struct out *out, const char *stream, const struct leat_message *message)
{
	out_text(out, "{\"gap\":{\"stream\":");
	escape_json(out, stream, strlen(stream));
	json_number(out, ",\"shard\":", message->shard);
	json_number(out, ",\"from\":", message->pos);
	json_number(out, ",\"to\":", message->next_pos);
	out_text(out, ",\"reason\":\"");
	out_text(out, print_gap_reason(message->reason));
	out_text(out, "\"}}");
}

void print_json(struct out *out, const char *stream, const struct leat_message *message)
{
	if (message->kind == LEAT_GAP) {
		json_gap(out, stream, message);
		return;
	}
	out_text(out, "{\"stream\":");
	escape_json(out, stream, strlen(stream));
	json_number(out, ",\"shard\":", message->shard);
	json_number(out, ",\"position\":", message->pos);
	json_number(out, ",\"ts\":", message->timestamp_ns / 1000000);
	json_number(out, ",\"ts_ns\":", message->timestamp_ns);
	if (message->event_time_ns)
		json_number(out, ",\"event_time_ns\":", message->event_time_ns);
	if (message->headers_len)
		json_headers(out, message);
	out_text(out, ",\"key\":");
	if (message->key_len)
		json_bytes(out, message->key, message->key_len);
	else
		out_text(out, "null");
	out_text(out, ",\"value\":");
	json_bytes(out, message->value, message->value_len);
	out_char(out, '}');
}

int print_init(struct print *print)
{
	*print = (struct print){ .max = UINT64_MAX, .shard = LEAT_SHARD_ANY };
	return out_init(&print->out, STDOUT_FILENO, PRINT_BUFFER);
}

void print_deinit(struct print *print)
{
	out_deinit(&print->out);
	print_format_free(&print->format);
	free(print->delim);
}

static int take_format(struct print *print, const char *text)
{
	const char *bad = NULL;
	int rc;

	print_format_free(&print->format);
	rc = print_format_parse(text, &print->format, &bad);
	if (rc == -EINVAL)
		tool_usage("format \"%s\": \"%.2s\" is not known", text, bad);
	else if (rc < 0)
		tool_error("out of memory");
	print->has_format = rc == 0;
	return rc < 0 ? -EINVAL : 0;
}

static int take_delimiter(struct print *print, const char *text)
{
	free(print->delim);
	print->delim = NULL;
	print->has_delim = true;
	if (escape_decode(text, &print->delim, &print->delim_len) < 0) {
		tool_usage("delimiter \"%s\" has an escape that is not known", text);
		return -EINVAL;
	}
	return 0;
}

/* -K SEP is short for the format that prints the key, SEP and the value. */
static int take_key_separator(struct print *print, const char *separator)
{
	size_t size = 2 * strlen(separator) + 5;
	char *text = malloc(size), *to = text;
	int rc;

	if (!text)
		return -EINVAL;
	to = stpcpy(to, "%k");
	for (; *separator; separator++) {
		if (*separator == '%')
			*to++ = '%';
		*to++ = *separator;
	}
	strcpy(to, "%s");
	rc = take_format(print, text);
	free(text);
	/* Unlike with -f the delimiter goes on as without. */
	if (rc == 0 && !print->has_delim)
		rc = take_delimiter(print, "\\n");
	return rc;
}

static int take_shard(struct print *print, const char *arg)
{
	uint64_t shard;

	if (units_parse_number(arg, &shard) < 0 || shard > INT32_MAX) {
		tool_usage("shard \"%s\" is not a number", arg);
		return -EINVAL;
	}
	print->shard = (int32_t)shard;
	return 0;
}

int print_option(struct print *print, int c, const char *arg)
{
	switch (c) {
	case 'f':
		return take_format(print, arg);
	case 'J':
		print->json = true;
		return 0;
	case 'D':
		return take_delimiter(print, arg);
	case '0':
		return take_delimiter(print, "\\0");
	case 'K':
		return take_key_separator(print, arg);
	case 'c':
		if (units_parse_number(arg, &print->max) == 0)
			return 0;
		tool_usage("count \"%s\" is not a number", arg);
		return -EINVAL;
	case 's':
		return take_shard(print, arg);
	case 'u':
		print->unbuffered = true;
		return 0;
	case 'q':
		print->quiet = true;
		return 0;
	}
	return -ENOENT;
}

int print_ready(struct print *print, const char *stream)
{
	print->stream = stream;
	if (print->json && print->has_format)
		return tool_usage("-J is a format of its own: leave out -f and -K");
	if (!print->has_delim && (print->json || !print->has_format) &&
	    take_delimiter(print, "\\n") < 0)
		return TOOL_FAILED;
	if (!print->has_format && take_format(print, "%s") < 0)
		return TOOL_FAILED;
	return 0;
}

static void say_gap(struct print *print, const struct leat_message *message)
{
	/* What comes before it is written before it, where both go to one terminal. */
	out_flush(&print->out);
	tool_error("gap: stream %s shard %u positions %llu..%llu (%s)", print->stream,
		   message->shard, (unsigned long long)message->pos,
		   (unsigned long long)message->next_pos, print_gap_reason(message->reason));
}

int print_message(struct print *print, const struct leat_message *message)
{
	if (message->kind == LEAT_GAP && !print->quiet)
		say_gap(print, message);
	if (message->kind == LEAT_GAP && !print->json)
		return print->out.error;
	if (print->json)
		print_json(&print->out, print->stream, message);
	else
		print_format_write(&print->format, &print->out, print->stream, message);
	out_write(&print->out, print->delim, print->delim_len);
	print->n_printed += message->kind == LEAT_RECORD;
	if (print->unbuffered)
		out_flush(&print->out);
	return print->out.error;
}

int print_finish(struct print *print, int status)
{
	int error = out_flush(&print->out);

	/* A reader that has enough, as in `leat sub x | head`, is no failure. */
	if (error == 0 || error == -EPIPE)
		return status;
	tool_error("cannot write to standard output: %s", strerror(-error));
	return TOOL_FAILED;
}
