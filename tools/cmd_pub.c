/* SPDX-License-Identifier: Apache-2.0 */
/* leat pub: files or standard input become records, and are acknowledged before it ends. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/escape.h"
#include "tools/progress.h"
#include "tools/split.h"
#include "tools/tool.h"
#include "tools/units.h"

enum {
	PUB_RUN = 1024,       /* records handed over at once */
	PUB_HEADERS = 64,     /* -H given at most so often */
	PUB_SLICE_MS = 200,   /* how long to wait before looking whether to stop */
	PUB_NOTE_MS = 3000,   /* an acknowledgement that takes longer is worth a word */
	PUB_ERRORS_SHOWN = 20 /* of records refused; the rest is only counted */
};

static const char help[] =
	"usage: leat pub [OPTION...] STREAM [FILE...]\n"
	"\n"
	"Publishes the records of the files, or of standard input (also \"-\"): each line is\n"
	"one. Ends with 0 only when everything that was read is acknowledged.\n"
	"\n"
	"  -D, --delimiter STR     ends a record instead of newline; with escapes \\n \\0 \\xNN\n"
	"  -0, --null              the same as -D '\\0'\n"
	"      --paragraphs        empty lines separate records\n"
	"      --whole             each file is one record\n"
	"  -k, --key KEY           the key of all records (that do not have their own)\n"
	"  -K, --key-separator STR the key stands before STR in each record\n"
	"      --key-regex RE      the key is what the first group of this extended regular\n"
	"                          expression matches; ^ and $ match at lines\n"
	"  -H, --header NAME=VALUE a header for all records; may be given again\n"
	"  -s, --shard N           to this shard, whatever the key\n"
	"      --ack LEVEL         ring, written or durable (default; ring when the stream\n"
	"                          is memory-only)\n"
	"  -q, --quiet             no progress bar, no notes\n"
	"  -b, --bus PATH          the daemon's socket\n"
	"\n"
	"examples:\n"
	"  journalctl -f -o json | leat pub journal\n"
	"  leat pub --paragraphs --key-regex '^Package: (.*)' packages /var/lib/dpkg/status\n"
	"  printf 'alice:42\\n' | leat pub -K: accounts\n";

struct pub {
	/* what was asked for */
	const char *stream;
	const char *key;
	char *delim;
	size_t delim_len;
	char *separator;
	size_t separator_len;
	regex_t regex;
	bool has_regex;
	bool quiet;
	enum split_mode mode;
	int ack; /* enum leat_ack, -1 = not said */
	int32_t shard;
	struct leat_header headers[PUB_HEADERS];
	size_t n_headers;
	/* what is under way */
	struct leat_bus *bus;
	struct leat_publisher *publisher;
	size_t max_len;
	struct split split;
	struct progress progress;
	const char *input;    /* name of the file being read */
	uint64_t n_in_input;  /* records found in it */
	uint64_t n_read;      /* bytes */
	uint64_t n_published; /* records */
	uint64_t n_bytes;     /* of them */
	uint64_t n_refused;
	bool failed; /* an input could not be read */
};

static void refuse(struct pub *pub, uint64_t number, const char *why)
{
	pub->n_refused++;
	if (pub->n_refused > PUB_ERRORS_SHOWN)
		return;
	progress_clear(&pub->progress);
	tool_error("%s: record %llu: %s; it was not published", pub->input,
		   (unsigned long long)number, why);
	if (pub->n_refused == PUB_ERRORS_SHOWN)
		tool_error("further records that are refused are only counted");
}

static void refuse_size(struct pub *pub, uint64_t number, uint64_t len)
{
	char why[200];

	snprintf(why, sizeof(why),
		 "%llu bytes, but stream \"%s\" takes at most %zu in one record "
		 "(key, headers and value together)",
		 (unsigned long long)len, pub->stream, pub->max_len);
	refuse(pub, number, why);
}

static uint64_t record_len(const struct leat_record *record)
{
	uint64_t len = record->key_len + record->value_len;
	size_t i;

	for (i = 0; i < record->n_headers; i++)
		len += 4 + record->headers[i].name_len + record->headers[i].value_len;
	return len;
}

/*
 * One record, waiting for room as long as it takes, in slices, so that a signal can end it. Not
 * leat_publish_many(): there a record that found no room would be overtaken by the next one.
 */
static int publish_record(struct pub *pub, const struct leat_record *record)
{
	const char *detail;
	int rc;

	do {
		rc = leat_publish_timed(pub->publisher, record, PUB_SLICE_MS * UINT64_C(1000000),
					NULL);
		if (rc == 0) {
			pub->n_published++;
			pub->n_bytes += record->key_len + record->value_len;
			return 0;
		}
		if ((rc == -EAGAIN || rc == -ETIMEDOUT || rc == -EINTR) && tool_stopping())
			return -EINTR;
	} while (rc == -EAGAIN || rc == -ETIMEDOUT || rc == -EINTR);
	detail = leat_publisher_detail(pub->publisher);
	if (!detail || !*detail)
		detail = leat_strerror(rc);
	if (rc == -EMSGSIZE && record->key_len <= UINT16_MAX) {
		refuse_size(pub, pub->n_in_input, record_len(record));
		return 0;
	}
	if (rc == -EMSGSIZE || rc == -EINVAL) {
		refuse(pub, pub->n_in_input, detail);
		return 0;
	}
	progress_clear(&pub->progress);
	tool_error("%s: %s", pub->stream, detail);
	return rc;
}

/* The key by --key-regex; none when it does not match. */
static void find_key(const struct pub *pub, const struct split_part *part,
		     struct leat_record *record)
{
	regmatch_t match[2] = { { .rm_so = 0, .rm_eo = (regoff_t)part->len } };
	const regmatch_t *group = &match[pub->regex.re_nsub > 0];

	/* The match's bounds go in with REG_STARTEND: the text has no NUL at its end. */
	if (regexec(&pub->regex, part->data, ARRAY_LEN(match), match, REG_STARTEND) != 0 ||
	    group->rm_so < 0)
		return;
	record->key = part->data + group->rm_so;
	record->key_len = (size_t)(group->rm_eo - group->rm_so);
}

static int publish_part(struct pub *pub, const struct split_part *part)
{
	struct leat_record record = {
		.key = pub->key,
		.key_len = pub->key ? strlen(pub->key) : 0,
		.value = part->data,
		.value_len = part->len,
		.headers = pub->headers,
		.n_headers = pub->n_headers,
		.shard = pub->shard,
	};
	const char *end;

	pub->n_in_input++;
	if (part->too_large) {
		refuse_size(pub, pub->n_in_input, part->full_len);
		return 0;
	}
	if (pub->has_regex)
		find_key(pub, part, &record);
	end = pub->separator ? memmem(part->data, part->len, pub->separator, pub->separator_len)
			     : NULL;
	if (end) {
		record.key = part->data;
		record.key_len = (size_t)(end - part->data);
		record.value = end + pub->separator_len;
		record.value_len = part->len - record.key_len - pub->separator_len;
	}
	return publish_record(pub, &record);
}

/* Waits for input, or for a signal. */
static int wait_readable(int fd)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	int rc;

	do {
		if (tool_stopping())
			return -EINTR;
		rc = poll(&pollfd, 1, -1);
	} while (rc < 0 && errno == EINTR);
	return rc < 0 ? -errno : 0;
}

static int fill(struct pub *pub, int fd)
{
	ssize_t n;
	size_t len;
	char *to;
	int rc;

	to = split_room(&pub->split, &len);
	if (!to) {
		tool_error("%s: no memory for a record of %zu bytes", pub->input, pub->split.cap);
		return -ENOMEM;
	}
	do {
		rc = wait_readable(fd);
		if (rc < 0)
			return rc;
		n = read(fd, to, len);
	} while (n < 0 && (errno == EINTR || errno == EAGAIN));
	if (n < 0) {
		rc = -errno;
		progress_clear(&pub->progress);
		tool_error("%s: cannot read: %s", pub->input, strerror(-rc));
		return rc;
	}
	split_filled(&pub->split, (size_t)n);
	pub->n_read += (uint64_t)n;
	progress_update(&pub->progress, pub->n_read);
	return 0;
}

/* Returns 0 at the end of the input; -EINTR to stop, other errors have been told. */
static int publish_input(struct pub *pub, int fd)
{
	struct split_part part;
	int rc = 0;

	split_reset(&pub->split);
	pub->n_in_input = 0;
	while (rc == 0) {
		while (rc == 0 && split_next(&pub->split, &part) > 0)
			rc = publish_part(pub, &part);
		if (rc < 0 || pub->split.eof)
			break;
		rc = fill(pub, fd);
	}
	return rc;
}

static int publish_file(struct pub *pub, const char *path)
{
	int fd, rc;

	if (strcmp(path, "-") == 0) {
		pub->input = "standard input";
		return publish_input(pub, STDIN_FILENO);
	}
	pub->input = path;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	/* Waiting for somebody to write to a fifo can be interrupted. */
	if (fd < 0 && tool_stopping())
		return -EINTR;
	if (fd < 0) {
		tool_error("%s: cannot open: %s", path, strerror(errno));
		pub->failed = true;
		return 0;
	}
	posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	rc = publish_input(pub, fd);
	close(fd);
	/* One file that cannot be read does not keep the others back. */
	if (rc == -EISDIR) {
		pub->failed = true;
		rc = 0;
	}
	return rc;
}

/* Sum of the sizes when all inputs are plain files, 0 otherwise. */
static uint64_t input_size(int n_paths, char **paths)
{
	uint64_t total = 0;
	struct stat st;
	int i, rc;

	for (i = 0; i < n_paths; i++) {
		rc = strcmp(paths[i], "-") == 0 ? fstat(STDIN_FILENO, &st) : stat(paths[i], &st);
		if (rc < 0 || !S_ISREG(st.st_mode))
			return 0;
		total += (uint64_t)st.st_size;
	}
	return total;
}

/* Waits until all that was published is acknowledged; only a second signal ends it early. */
static int wait_for_ack(struct pub *pub)
{
	static const char *const names[] = { "ring", "written", "durable" };
	uint64_t since = tool_monotonic_ns();
	bool noted = pub->quiet;
	const char *detail;
	int rc;

	do {
		rc = leat_flush(pub->publisher, (enum leat_ack)pub->ack,
				PUB_SLICE_MS * UINT64_C(1000000));
		if (!noted && tool_monotonic_ns() - since > PUB_NOTE_MS * UINT64_C(1000000)) {
			tool_error("waiting for the daemon: what was published to stream \"%s\" "
				   "is not %s yet",
				   pub->stream, names[pub->ack]);
			noted = true;
		}
	} while (rc == -ETIMEDOUT || rc == -EINTR);
	if (rc == 0)
		return 0;
	detail = leat_publisher_detail(pub->publisher);
	tool_error("not acknowledged as %s: %s", names[pub->ack],
		   detail && *detail ? detail : leat_strerror(rc));
	return rc;
}

/* What the stream is decides the acknowledgement and whether the shard exists. */
static int check_stream(struct pub *pub)
{
	cleanup_with(tool_free_info) struct leat_stream_info *info = NULL;
	int rc;

	rc = leat_stream_describe(pub->bus, pub->stream, &info);
	if (rc < 0)
		return tool_bus_error(pub->bus, rc, pub->stream);
	if (info->options.memory && pub->ack > LEAT_ACK_RING) {
		tool_error("stream \"%s\" is memory-only: nothing of it is ever written, use "
			   "--ack ring",
			   pub->stream);
		return TOOL_FAILED;
	}
	if (pub->ack < 0)
		pub->ack = info->options.memory ? LEAT_ACK_RING : LEAT_ACK_DURABLE;
	if (pub->shard >= 0 && (size_t)pub->shard >= info->n_shards) {
		tool_error("stream \"%s\" has no shard %d, only 0 to %zu", pub->stream, pub->shard,
			   info->n_shards - 1);
		return TOOL_FAILED;
	}
	return TOOL_OK;
}

static int open_stream(struct pub *pub)
{
	struct leat_publisher_options options = {
		.size = sizeof(options),
		.use_timeout = 1,
		.timeout_ns = PUB_SLICE_MS * UINT64_C(1000000),
	};
	int rc;

	if (tool_connect(&pub->bus) < 0 || check_stream(pub) != TOOL_OK)
		return TOOL_FAILED;
	rc = leat_publisher_open(pub->bus, pub->stream, &options, &pub->publisher);
	if (rc < 0)
		return tool_bus_error(pub->bus, rc, pub->stream);
	pub->max_len = leat_publisher_max_len(pub->publisher);
	/* The separator does not count: it is not published. */
	rc = split_init(&pub->split, pub->mode, pub->delim ? pub->delim : "\n",
			pub->delim ? pub->delim_len : 1, pub->max_len + pub->separator_len);
	if (rc < 0)
		tool_error("out of memory");
	return rc < 0 ? TOOL_FAILED : TOOL_OK;
}

static int finish(struct pub *pub, int rc)
{
	int flushed = pub->n_published ? wait_for_ack(pub) : 0;

	progress_clear(&pub->progress);
	if (rc == -EINTR && !pub->quiet)
		tool_error("stopped: %llu records are published%s, the rest of the input is not",
			   (unsigned long long)pub->n_published,
			   flushed == 0 ? " and acknowledged" : "");
	if (rc < 0 && rc != -EINTR)
		tool_error("ended early: %llu records are published",
			   (unsigned long long)pub->n_published);
	if (pub->n_refused > 0)
		tool_error("%llu of %llu records were refused", (unsigned long long)pub->n_refused,
			   (unsigned long long)(pub->n_refused + pub->n_published));
	if (rc == -EINTR)
		return tool_die_of_signal();
	if (rc < 0 || flushed < 0 || pub->n_refused > 0 || pub->failed)
		return TOOL_FAILED;
	progress_finish(&pub->progress, pub->n_published, pub->n_bytes);
	return TOOL_OK;
}

static int run(struct pub *pub, int n_paths, char **paths)
{
	static char dash[] = "-", *standard_input[] = { dash };
	int status, rc = 0, i;

	if (n_paths == 0) {
		n_paths = 1;
		paths = standard_input;
	}
	status = open_stream(pub);
	if (status != TOOL_OK)
		return status;
	tool_catch_signals();
	progress_init(&pub->progress, pub->stream, input_size(n_paths, paths), pub->quiet);
	for (i = 0; i < n_paths && rc == 0; i++)
		rc = publish_file(pub, paths[i]);
	return finish(pub, rc);
}

static int take_bytes(const char *what, const char *text, char **ret_bytes, size_t *ret_len)
{
	free(*ret_bytes);
	*ret_bytes = NULL;
	if (escape_decode(text, ret_bytes, ret_len) < 0)
		return tool_usage("%s \"%s\" has an escape that is not known", what, text);
	if (*ret_len == 0)
		return tool_usage("the %s is empty", what);
	return TOOL_OK;
}

static int take_regex(struct pub *pub, const char *text)
{
	char why[200];
	int rc;

	if (pub->has_regex)
		return tool_usage("--key-regex is given twice");
	rc = regcomp(&pub->regex, text, REG_EXTENDED | REG_NEWLINE);
	if (rc != 0) {
		regerror(rc, &pub->regex, why, sizeof(why));
		return tool_usage("--key-regex \"%s\": %s", text, why);
	}
	pub->has_regex = true;
	return TOOL_OK;
}

static int take_header(struct pub *pub, const char *text)
{
	const char *equals = strchr(text, '=');

	if (!equals || equals == text)
		return tool_usage("header \"%s\" is not NAME=VALUE", text);
	if (pub->n_headers == PUB_HEADERS)
		return tool_usage("at most %d headers can be given", PUB_HEADERS);
	pub->headers[pub->n_headers++] = (struct leat_header){
		.name = text,
		.name_len = (size_t)(equals - text),
		.value = equals + 1,
		.value_len = strlen(equals + 1),
	};
	return TOOL_OK;
}

static int take_ack(struct pub *pub, const char *text)
{
	static const char *const names[] = { "ring", "written", "durable" };
	size_t i;

	for (i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(text, names[i]) == 0) {
			pub->ack = (int)i;
			return TOOL_OK;
		}
	}
	return tool_usage("--ack \"%s\" is not ring, written or durable", text);
}

static int take_shard(struct pub *pub, const char *text)
{
	uint64_t shard;

	if (units_parse_number(text, &shard) < 0 || shard > INT32_MAX)
		return tool_usage("shard \"%s\" is not a number", text);
	pub->shard = (int32_t)shard;
	return TOOL_OK;
}

enum {
	OPT_PARAGRAPHS = TOOL_OPTION,
	OPT_WHOLE,
	OPT_KEY_REGEX,
	OPT_ACK,
};

/* One option; -1 when parsing goes on, otherwise the exit status. */
static int take_option(struct pub *pub, int c, char **argv)
{
	int status = TOOL_OK;

	switch (c) {
	case 'D':
		status = take_bytes("delimiter", optarg, &pub->delim, &pub->delim_len);
		break;
	case '0':
		status = take_bytes("delimiter", "\\0", &pub->delim, &pub->delim_len);
		break;
	case OPT_PARAGRAPHS:
	case OPT_WHOLE:
		if (pub->mode != SPLIT_DELIMITER)
			return tool_usage("--paragraphs and --whole exclude each other");
		pub->mode = c == OPT_WHOLE ? SPLIT_WHOLE : SPLIT_PARAGRAPHS;
		break;
	case 'k':
		pub->key = optarg;
		break;
	case 'K':
		status = take_bytes("key separator", optarg, &pub->separator, &pub->separator_len);
		break;
	case OPT_KEY_REGEX:
		status = take_regex(pub, optarg);
		break;
	case 'H':
		status = take_header(pub, optarg);
		break;
	case 's':
		status = take_shard(pub, optarg);
		break;
	case OPT_ACK:
		status = take_ack(pub, optarg);
		break;
	case 'q':
		pub->quiet = true;
		break;
	default:
		return tool_common_option(c, argv, help);
	}
	return status == TOOL_OK ? -1 : status;
}

static int parse_and_run(struct pub *pub, int argc, char **argv)
{
	static const struct option options[] = {
		{ "delimiter", required_argument, NULL, 'D' },
		{ "null", no_argument, NULL, '0' },
		{ "paragraphs", no_argument, NULL, OPT_PARAGRAPHS },
		{ "whole", no_argument, NULL, OPT_WHOLE },
		{ "key", required_argument, NULL, 'k' },
		{ "key-separator", required_argument, NULL, 'K' },
		{ "key-regex", required_argument, NULL, OPT_KEY_REGEX },
		{ "header", required_argument, NULL, 'H' },
		{ "shard", required_argument, NULL, 's' },
		{ "ack", required_argument, NULL, OPT_ACK },
		{ "quiet", no_argument, NULL, 'q' },
		TOOL_LONG_OPTIONS,
	};
	int c, status;

	while ((c = getopt_long(argc, argv, ":D:0k:K:H:s:q" TOOL_SHORT_OPTIONS, options, NULL)) !=
	       -1) {
		status = take_option(pub, c, argv);
		if (status >= 0)
			return status;
	}
	if (optind == argc)
		return tool_usage("which stream?");
	if (pub->has_regex && pub->separator)
		return tool_usage("--key-regex and -K exclude each other");
	if (pub->mode != SPLIT_DELIMITER && pub->delim)
		return tool_usage("a delimiter has no meaning with --%s",
				  pub->mode == SPLIT_WHOLE ? "whole" : "paragraphs");
	pub->stream = argv[optind];
	return run(pub, argc - optind - 1, argv + optind + 1);
}

int cmd_pub(int argc, char **argv)
{
	struct pub *pub = calloc(1, sizeof(*pub));
	int status;

	if (!pub) {
		tool_error("out of memory");
		return TOOL_FAILED;
	}
	pub->ack = -1;
	pub->shard = LEAT_SHARD_ANY;
	status = parse_and_run(pub, argc, argv);
	leat_publisher_close(pub->publisher);
	leat_close(pub->bus);
	split_deinit(&pub->split);
	if (pub->has_regex)
		regfree(&pub->regex);
	free(pub->separator);
	free(pub->delim);
	free(pub);
	return status;
}
