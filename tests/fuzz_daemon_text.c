/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Words from outside that the daemon takes apart: its configuration file and command line, what
 * `create` and `set` say, lengths, times and names. The first byte says which. What is accepted
 * must be what the rest of the daemon can live with.
 */
#include <stdio.h>
#include <sys/mman.h>

#include "daemon/log.h"
#include "daemon/options.h"
#include "daemon/protocol.h"
#include "daemon/quantity.h"

enum {
	TEXT_MAX = 4096,
	WORDS_MAX = 16,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_len);

static const struct permission_subject root;

static void fail(const char *why)
{
	fprintf(stderr, "%s\n", why);
	abort();
}

static void check_sentence(int r, const char *detail)
{
	if (r < 0 && detail[0] == '\0')
		fail("an error without a sentence");
}

static void check_options(const struct options *o)
{
	if (o->n_shards < 1 || o->n_shards > OPTIONS_SHARDS_MAX || !is_power_of_two(o->ring_len) ||
	    o->ring_len < LAYOUT_RING_MIN || o->access.mode > 0777)
		fail("options that nobody can live with");
	if (!o->memory && o->segment_len < region_max_len(o->ring_len))
		fail("a segment that does not take a record");
}

/* A file with these bytes. */
static void try_config(const char *text, size_t len)
{
	struct config config;
	char path[64], detail[512] = "";
	int fd = memfd_create("config", MFD_CLOEXEC), r;

	if (fd < 0 || write(fd, text, len) != (ssize_t)len)
		abort();
	config_init(&config);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	config.file = strdup(path);
	r = config_read(&config, detail, sizeof(detail));
	check_sentence(r, detail);
	if (r == 0 && (!is_power_of_two(config.ring_len) || config.mode > 0777))
		fail("a configuration that nobody can live with");
	config_deinit(&config);
	close(fd);
}

/* Words end at a zero byte. */
static void try_arguments(char *text, size_t len)
{
	char *words[WORDS_MAX + 1] = { (char *)(uintptr_t) "leatd" };
	struct config config;
	char detail[512] = "";
	int n = 1;

	for (size_t at = 0; at < len && n < WORDS_MAX; at += strlen(text + at) + 1)
		words[n++] = text + at;
	config_init(&config);
	check_sentence(config_parse_arguments(&config, n, words, detail, sizeof(detail)), detail);
	config_deinit(&config);
}

static void try_create(const char *text, size_t len)
{
	json_t *object = NULL;
	struct options options;
	struct config config;
	char detail[OPTIONS_DETAIL_LEN] = "";
	int r = protocol_parse(text, len, &object, detail, sizeof(detail));

	check_sentence(r, detail);
	if (r < 0)
		return;
	config_init(&config);
	r = options_parse(object, &config, &root, &options, detail, sizeof(detail));
	check_sentence(r, detail);
	if (r == 0) {
		check_options(&options);
		json_decref(options_to_json(&options));
	}
	config_deinit(&config);
	json_decref(object);
}

static void try_set(char *text, size_t len)
{
	struct options options = { .n_shards = 1,
				   .ring_len = 16 * MIB,
				   .segment_len = 64 * MIB,
				   .policy = { .claim_timeout_ns = NS_PER_S } };
	char detail[OPTIONS_DETAIL_LEN] = "";
	size_t key_len = strnlen(text, len);
	unsigned int changed = 0;
	int r;

	r = options_set(&options, text, key_len < len ? text + key_len + 1 : "", &root, &changed,
			detail, sizeof(detail));
	check_sentence(r, detail);
	if (r == 0)
		check_options(&options);
}

static void try_quantities(const char *text)
{
	char shown[QUANTITY_LEN];
	uint64_t value, again;

	if (quantity_parse_len(text, &value) == 0) {
		quantity_print_len(value, shown);
		if (quantity_parse_len(shown, &again) < 0 || again > value)
			fail("a length that is shown wrong");
	}
	if (quantity_parse_ns(text, &value) == 0) {
		quantity_print_ns(value, shown);
		if (quantity_parse_ns(shown, &again) < 0)
			fail("a time that is shown wrong");
	}
	(void)quantity_parse_number(text, 1000, &value);
	if (names_is_valid(text) &&
	    (strchr(text, '/') || text[0] == '.' || strlen(text) > NAMES_STREAM_MAX))
		fail("a name that is a path");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_len)
{
	char text[TEXT_MAX + 1];
	size_t len = min_u64(data_len - 1, TEXT_MAX);

	if (data_len < 1)
		return 0;
	log_set_level(LOG_LEVEL_ERROR);
	memcpy(text, data + 1, len);
	text[len] = '\0';
	switch (data[0] % 5) {
	case 0:
		try_config(text, len);
		break;
	case 1:
		try_arguments(text, len);
		break;
	case 2:
		try_create(text, len);
		break;
	case 3:
		try_set(text, len);
		break;
	default:
		try_quantities(text);
		break;
	}
	return 0;
}
