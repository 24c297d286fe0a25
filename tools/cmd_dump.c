/* SPDX-License-Identifier: Apache-2.0 */
/* leat dump: a segment file in words, record by record, damage included. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "persist/format.h"
#include "persist/reader.h"
#include "shm/record.h"
#include "tools/escape.h"
#include "tools/out.h"
#include "tools/tool.h"
#include "tools/units.h"

enum {
	DUMP_BUFFER = 1 << 20,
	DUMP_PREVIEW = 40, /* bytes of the value shown */
};

static const char help[] =
	"usage: leat dump [OPTION...] FILE\n"
	"\n"
	"Shows a segment (DATA/streams/STREAM/SHARD/*.seg) in words: its header, then each\n"
	"record with position, kind, length, time, publisher, sequence, key, headers and the\n"
	"beginning of its value. Ends with 1 when something in it is damaged.\n"
	"\n"
	"      --json              one JSON object for the header, then one per record\n"
	"  -c, --count N           stop after N records\n";

struct dump {
	const char *path;
	struct out out;
	bool json;
	uint64_t max;
	uint64_t n_shown;
	bool damaged;
	bool has_crc;
	int fd; /* of our own, beside the reader's */
	struct reader *reader;
	uint64_t base;
	uint64_t pos;
	uint64_t upto;
	char *buf;
	size_t cap;
};

static void put(struct dump *dump, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct dump *dump, const char *format, ...)
{
	char text[512];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (len > 0)
		out_write(&dump->out, text,
			  (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1);
}

static const char *kind_name(enum record_kind kind)
{
	static const char *const names[] = { "free",    "reserved", "record", "tombstone",
					     "padding", "batch",    "gap" };

	return (size_t)kind < ARRAY_LEN(names) ? names[kind] : "unknown";
}

/* ---- the header ---- */

static void uuid_text(const uint8_t uuid[16], char text[37])
{
	char *to = text;
	int i;

	for (i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*to++ = '-';
		to += sprintf(to, "%02x", uuid[i]);
	}
}

static void show_header(struct dump *dump, const struct format_segment *header, bool sound)
{
	char uuid[37], created[UNITS_TEXT_LEN];

	uuid_text(header->stream_uuid, uuid);
	units_show_date(header->created_ns, created);
	if (dump->json) {
		put(dump,
		    "{\"segment\":{\"version\":\"%u.%u\",\"stream_uuid\":\"%s\",\"shard\":%u,"
		    "\"base\":%" PRIu64 ",\"end\":%" PRIu64 ",\"epoch\":%" PRIu64
		    ",\"prev_end\":%" PRIu64 ",\"created_ns\":%" PRIu64
		    ",\"checksum\":%s,\"crc_seed\":%u,\"crc_ok\":%s}}\n",
		    header->major, header->minor, uuid, header->shard, header->base, dump->upto,
		    header->epoch, header->prev_end, header->created_ns,
		    header->flags & FORMAT_F_CHECKSUM ? "true" : "false", header->crc_seed,
		    sound ? "true" : "false");
		return;
	}
	put(dump, "segment    version %u.%u, header crc %s\n", header->major, header->minor,
	    sound ? "ok" : "BAD");
	put(dump, "stream     %s, shard %u\n", uuid, header->shard);
	put(dump, "positions  %" PRIu64 "..%" PRIu64 " (by the file's size)\n", header->base,
	    dump->upto);
	put(dump, "epoch      %" PRIu64 "\n", header->epoch);
	put(dump, "prev end   %" PRIu64, header->prev_end);
	if (header->prev_end < header->base)
		put(dump, " (a gap of %" PRIu64 " bytes before this segment)",
		    header->base - header->prev_end);
	put(dump, "\ncreated    %s\n", created);
	put(dump, "checksums  %s, seed 0x%08x\n\n",
	    header->flags & FORMAT_F_CHECKSUM ? "on" : "off", header->crc_seed);
}

/* ---- records ---- */

/* As in what `leat sub -J` prints: bytes that are no text come as an object. */
static void json_field(struct dump *dump, const char *name, const void *bytes, size_t len)
{
	put(dump, "\"%s\":", name);
	if (escape_is_utf8(bytes, len)) {
		escape_json(&dump->out, bytes, len);
		return;
	}
	out_text(&dump->out, "{\"base64\":\"");
	escape_base64(&dump->out, bytes, len);
	out_text(&dump->out, "\"}");
}

static void json_content(struct dump *dump, const struct record_view *view)
{
	struct record_field field;
	uint32_t off = 0;
	int n = 0;

	put(dump, ",\"publisher\":%u,\"sequence\":%u", view->publisher, view->sequence);
	if (view->event_time_ns)
		put(dump, ",\"event_time_ns\":%" PRIu64, view->event_time_ns);
	out_char(&dump->out, ',');
	json_field(dump, "key", view->key, view->key_len);
	put(dump, ",\"headers\":[");
	while (record_headers_next(view->headers, view->headers_len, &off, &field) == 1) {
		out_text(&dump->out, n++ > 0 ? ",{" : "{");
		json_field(dump, "name", field.name, field.name_len);
		out_char(&dump->out, ',');
		json_field(dump, "value", field.value, field.value_len);
		out_char(&dump->out, '}');
	}
	put(dump, "],\"value_len\":%u", view->value_len);
}

static void json_record(struct dump *dump, const struct record_view *view)
{
	put(dump, "{\"position\":%" PRIu64 ",\"kind\":\"%s\",\"len\":%u,\"ts_ns\":%" PRIu64,
	    view->pos, kind_name(view->kind), view->len, view->timestamp_ns);
	if (view->kind == RECORD_COMMITTED)
		json_content(dump, view);
	else if (view->kind == RECORD_TOMBSTONE)
		put(dump, ",\"pid\":%u,\"uid\":%u", view->publisher, view->sequence);
	put(dump, ",\"crc\":\"%s\"}\n", dump->has_crc ? "ok" : "none");
}

static void quoted(struct dump *dump, const void *bytes, size_t len)
{
	out_char(&dump->out, '"');
	escape_c(&dump->out, bytes, len);
	out_char(&dump->out, '"');
}

static void words_content(struct dump *dump, const struct record_view *view)
{
	uint32_t shown = view->value_len < DUMP_PREVIEW ? view->value_len : DUMP_PREVIEW;
	char date[UNITS_TEXT_LEN];
	struct record_field field;
	uint32_t off = 0;

	put(dump, "  publisher %u #%u", view->publisher, view->sequence);
	if (view->event_time_ns)
		put(dump, "  event %s", units_show_date(view->event_time_ns, date));
	if (view->key_len) {
		put(dump, "  key ");
		quoted(dump, view->key, view->key_len);
	}
	while (record_headers_next(view->headers, view->headers_len, &off, &field) == 1) {
		put(dump, "  header ");
		quoted(dump, field.name, field.name_len);
		out_char(&dump->out, '=');
		quoted(dump, field.value, field.value_len);
	}
	put(dump, "  value %u ", view->value_len);
	quoted(dump, view->value, shown);
	if (shown < view->value_len)
		put(dump, "...");
}

static void words_record(struct dump *dump, const struct record_view *view)
{
	char date[UNITS_TEXT_LEN];

	put(dump, "%" PRIu64 "  %-9s  %u bytes  %s  crc %s", view->pos, kind_name(view->kind),
	    view->len, units_show_date(view->timestamp_ns, date), dump->has_crc ? "ok" : "none");
	if (view->kind == RECORD_COMMITTED)
		words_content(dump, view);
	else if (view->kind == RECORD_TOMBSTONE)
		put(dump, "  left by pid %u, uid %u", view->publisher, view->sequence);
	put(dump, "\n");
}

static void show_run(struct dump *dump, const struct reader_run *run)
{
	struct record_view view;
	uint64_t off, pos = dump->pos, word;

	for (off = 0; off + RECORD_HEADER_LEN <= run->len && dump->n_shown < dump->max;
	     off += record_step(word)) {
		memcpy(&word, dump->buf + off, sizeof(word));
		/* The reader has checked it; a step of 0 would be without end. */
		if (record_word_len(word) < RECORD_HEADER_LEN ||
		    record_parse(word, dump->buf + off, pos + off, &view) < 0)
			return;
		if (dump->json)
			json_record(dump, &view);
		else
			words_record(dump, &view);
		dump->n_shown++;
	}
}

/* ---- damage ---- */

/* 1 when the file holds nothing but zeros from `pos` on, space reserved ahead; 0 or -errno. */
static int is_unwritten(struct dump *dump, uint64_t pos)
{
	off_t off = (off_t)format_file_off(dump->base, pos);
	ssize_t n, i;

	while ((n = pread(dump->fd, dump->buf, dump->cap, off)) > 0) {
		for (i = 0; i < n; i++) {
			if (dump->buf[i])
				return 0;
		}
		off += n;
	}
	return n < 0 ? -errno : 1;
}

static void show_damage(struct dump *dump, uint64_t to)
{
	uint64_t word = 0;

	dump->damaged = true;
	if (pread(dump->fd, &word, sizeof(word), (off_t)format_file_off(dump->base, dump->pos)) < 0)
		word = 0;
	if (dump->json)
		put(dump,
		    "{\"damaged\":{\"from\":%" PRIu64 ",\"to\":%" PRIu64 ",\"word\":%" PRIu64
		    "}}\n",
		    dump->pos, to, word);
	else
		put(dump,
		    "%" PRIu64 "  DAMAGED    up to %" PRIu64 ", %" PRIu64
		    " bytes; word 0x%016" PRIx64 ": %s of %u bytes, crc or structure BAD\n",
		    dump->pos, to, to - dump->pos, word, kind_name(record_word_kind(word)),
		    record_word_len(word));
}

static void show_unwritten(struct dump *dump)
{
	if (dump->json)
		put(dump, "{\"unwritten\":{\"from\":%" PRIu64 ",\"to\":%" PRIu64 "}}\n", dump->pos,
		    dump->upto);
	else
		put(dump, "%" PRIu64 "  unwritten  %" PRIu64 " bytes of zeros to the file's end\n",
		    dump->pos, dump->upto - dump->pos);
}

/* ---- the file ---- */

static int grow(struct dump *dump, uint64_t needed)
{
	char *buf = needed > dump->cap ? realloc(dump->buf, needed) : NULL;

	if (!buf)
		return -ENOMEM;
	dump->buf = buf;
	dump->cap = needed;
	return 0;
}

/* One step: a run of records, a damaged range, or the end (READER_E_END). */
static int step(struct dump *dump)
{
	struct reader_run run;
	uint64_t next;
	int rc;

	rc = reader_read(dump->reader, dump->pos, dump->upto, dump->buf, dump->cap, &run);
	if (rc == READER_E_SMALL)
		return grow(dump, run.needed);
	if (rc == 0) {
		show_run(dump, &run);
		dump->pos = run.next_pos;
		return 0;
	}
	if (rc != -EBADMSG)
		return rc;
	rc = is_unwritten(dump, dump->pos);
	if (rc < 0)
		return rc;
	if (rc == 1) {
		show_unwritten(dump);
		return READER_E_END;
	}
	rc = reader_resync(dump->reader, dump->pos, dump->upto, &next);
	if (rc < 0)
		return rc;
	show_damage(dump, next);
	dump->pos = next;
	return 0;
}

/* With a damaged header the name says where it begins, and the rest is tried as it stands. */
static int open_damaged(struct dump *dump, const struct format_segment *header)
{
	const char *name = strrchr(dump->path, '/');
	uint64_t base;
	int fd, rc;

	if (!format_segment_base(name ? name + 1 : dump->path, &base))
		return -EBADMSG;
	fd = dup(dump->fd);
	rc = reader_open_bare(fd, base, header->flags & FORMAT_F_KNOWN, header->crc_seed,
			      &dump->reader);
	if (rc < 0)
		close(fd);
	dump->base = base;
	dump->damaged = true;
	return rc;
}

static int open_segment(struct dump *dump, struct format_segment *header)
{
	int fd, rc;

	dump->fd = open(dump->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (dump->fd < 0)
		return -errno;
	if (pread(dump->fd, header, sizeof(*header), 0) != (ssize_t)sizeof(*header))
		return -EBADMSG;
	fd = dup(dump->fd);
	rc = reader_open(fd, &dump->reader);
	if (rc < 0)
		close(fd);
	dump->base = header->base;
	if (rc == -EBADMSG)
		rc = open_damaged(dump, header);
	return rc < 0 ? rc : reader_size_end(dump->reader, &dump->upto);
}

static int dump_file(struct dump *dump)
{
	struct format_segment header;
	int rc;

	dump->cap = DUMP_BUFFER;
	dump->buf = malloc(dump->cap);
	rc = dump->buf ? open_segment(dump, &header) : -ENOMEM;
	if (rc == -EBADMSG || rc == -EPROTONOSUPPORT) {
		tool_error("%s is not a segment that this version can read%s", dump->path,
			   rc == -EBADMSG ? "" : ": it is of another version");
		return TOOL_FAILED;
	}
	if (rc < 0) {
		tool_error("cannot read %s: %s", dump->path, strerror(-rc));
		return TOOL_FAILED;
	}
	dump->has_crc = header.flags & FORMAT_F_CHECKSUM;
	show_header(dump, &header, !dump->damaged);
	dump->pos = dump->base;
	while (rc == 0 && dump->n_shown < dump->max && !dump->out.error)
		rc = step(dump);
	if (rc < 0) {
		out_flush(&dump->out);
		tool_error("cannot read %s at position %" PRIu64 ": %s", dump->path, dump->pos,
			   strerror(-rc));
	}
	return rc < 0 || dump->damaged ? TOOL_FAILED : TOOL_OK;
}

static int run(struct dump *dump)
{
	int status, error;

	if (out_init(&dump->out, STDOUT_FILENO, 64 << 10) < 0) {
		tool_error("out of memory");
		return TOOL_FAILED;
	}
	dump->fd = -1;
	status = dump_file(dump);
	error = out_flush(&dump->out);
	if (error && error != -EPIPE) {
		tool_error("cannot write to standard output: %s", strerror(-error));
		status = TOOL_FAILED;
	}
	reader_close(dump->reader);
	close_fd(dump->fd);
	free(dump->buf);
	out_deinit(&dump->out);
	return status;
}

int cmd_dump(int argc, char **argv)
{
	enum {
		OPT_JSON = TOOL_OPTION
	};
	static const struct option options[] = {
		{ "json", no_argument, NULL, OPT_JSON },
		{ "count", required_argument, NULL, 'c' },
		TOOL_LONG_OPTIONS,
	};
	struct dump dump = { .max = UINT64_MAX };
	int c, status;

	while ((c = getopt_long(argc, argv, ":c:" TOOL_SHORT_OPTIONS, options, NULL)) != -1) {
		status = -1;
		if (c == OPT_JSON)
			dump.json = true;
		else if (c == 'c' && units_parse_number(optarg, &dump.max) < 0)
			return tool_usage("count \"%s\" is not a number", optarg);
		else if (c != 'c')
			status = tool_common_option(c, argv, help);
		if (status >= 0)
			return status;
	}
	if (optind + 1 != argc)
		return tool_usage(optind == argc ? "which file?" : "one file at a time");
	dump.path = argv[optind];
	return run(&dump);
}
