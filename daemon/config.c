/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config.h"

#include <getopt.h>
#include <stdio.h>

#include "daemon/directory.h"
#include "daemon/quantity.h"

enum {
	CONFIG_LINE_MAX = 4096
};

static uint64_t config_half_of_memory(void)
{
	return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 2;
}

void config_init(struct config *config)
{
	*config = (struct config){
		.log_level = LOG_LEVEL_INFO,
		.max_connections = 1024,
		.max_connections_per_user = 256,
		.max_streams = 256,
		.max_shards = 512,
		.max_checkpoints = 1024,
		.max_memory = config_half_of_memory(),
		.stop_timeout_ns = 60 * NS_PER_S,
		.create_everybody = true,
		.ring_len = 16 * MIB,
		.segment_len = 64 * MIB,
		.claim_timeout_ns = 10 * NS_PER_S,
		.sync = SHARD_SYNC_ALWAYS,
		.mode = 0600,
	};
}

void config_deinit(struct config *config)
{
	free(config->runtime);
	free(config->data);
	free(config->file);
	config->runtime = config->data = config->file = NULL;
}

/* ---- the command line ---- */

static int config_take_string(char **string, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	free(*string);
	*string = copy;
	return 0;
}

int config_parse_arguments(struct config *config, int argc, char *const argv[], char *detail,
			   size_t detail_len)
{
	static const struct option options[] = {
		{ "runtime", required_argument, NULL, 'r' },
		{ "data", required_argument, NULL, 'd' },
		{ "config", required_argument, NULL, 'c' },
		{ "keep", no_argument, NULL, 'k' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	int c, r = 0;

	opterr = 0;
	optind = 1;
	while (r == 0 && (c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		switch (c) {
		case 'r':
			r = config_take_string(&config->runtime, optarg);
			break;
		case 'd':
			r = config_take_string(&config->data, optarg);
			break;
		case 'c':
			r = config_take_string(&config->file, optarg);
			break;
		case 'k':
			config->keep = true;
			break;
		case 'h':
			return CONFIG_E_HELP;
		case 'V':
			return CONFIG_E_VERSION;
		default:
			snprintf(detail, detail_len,
				 c == ':' ? "%s needs a value" : "%s is not an option",
				 argv[optind - 1]);
			return -EINVAL;
		}
	}
	if (r < 0)
		snprintf(detail, detail_len, "the command line cannot be taken: %s", strerror(-r));
	if (r == 0 && optind < argc) {
		snprintf(detail, detail_len, "'%s' is one word too many", argv[optind]);
		r = -EINVAL;
	}
	return r;
}

/* ---- values ---- */

int config_parse_sync(const char *text, enum shard_sync *ret_sync, uint64_t *ret_ns)
{
	uint64_t ns = 0;
	int r;

	if (strcmp(text, "always") == 0) {
		*ret_sync = SHARD_SYNC_ALWAYS;
	} else if (strcmp(text, "none") == 0) {
		*ret_sync = SHARD_SYNC_NONE;
	} else {
		r = quantity_parse_ns(text, &ns);
		if (r < 0)
			return r;
		*ret_sync = ns ? SHARD_SYNC_INTERVAL : SHARD_SYNC_ALWAYS;
	}
	*ret_ns = ns;
	return 0;
}

enum config_kind {
	CONFIG_STRING,
	CONFIG_NUMBER, /* uint32_t */
	CONFIG_LEN,
	CONFIG_NS,
	CONFIG_MODE,
	CONFIG_SYNC,
	CONFIG_LEVEL,
	CONFIG_IO,
	CONFIG_CREATE,
};

struct config_key {
	const char *name;
	enum config_kind kind;
	size_t off;
	uint64_t min;
	uint64_t max;
};

static const struct config_key config_keys[] = {
	{ "runtime", CONFIG_STRING, offsetof(struct config, runtime), 0, 0 },
	{ "data", CONFIG_STRING, offsetof(struct config, data), 0, 0 },
	{ "log-level", CONFIG_LEVEL, 0, 0, 0 },
	{ "io", CONFIG_IO, 0, 0, 0 },
	{ "create", CONFIG_CREATE, 0, 0, 0 },
	{ "max-connections", CONFIG_NUMBER, offsetof(struct config, max_connections), 1, 16384 },
	{ "max-connections-per-user", CONFIG_NUMBER,
	  offsetof(struct config, max_connections_per_user), 1, 16384 },
	{ "max-streams", CONFIG_NUMBER, offsetof(struct config, max_streams), 1, 4096 },
	/* A manager passes four names a shard in one environment string of 128 KiB. */
	{ "max-shards", CONFIG_NUMBER, offsetof(struct config, max_shards), 1, 600 },
	{ "max-checkpoints", CONFIG_NUMBER, offsetof(struct config, max_checkpoints), 0, 65536 },
	{ "max-memory", CONFIG_LEN, offsetof(struct config, max_memory), LAYOUT_RING_MIN,
	  (uint64_t)1 << 56 },
	{ "stop-timeout", CONFIG_NS, offsetof(struct config, stop_timeout_ns), 0,
	  86400 * NS_PER_S },
	{ "default-ring", CONFIG_LEN, offsetof(struct config, ring_len), LAYOUT_RING_MIN,
	  (uint64_t)1 << 40 },
	{ "default-segment", CONFIG_LEN, offsetof(struct config, segment_len), 64 * KIB,
	  (uint64_t)1 << 40 },
	{ "default-claim-timeout", CONFIG_NS, offsetof(struct config, claim_timeout_ns), NS_PER_MS,
	  86400 * NS_PER_S },
	{ "default-sync", CONFIG_SYNC, 0, 0, 0 },
	{ "default-mode", CONFIG_MODE, 0, 0, 0 },
};

/* The two words that a key of two values takes. */
static int config_choose(const char *value, const char *yes, const char *no, bool *ret_yes)
{
	bool is_yes = strcmp(value, yes) == 0;

	if (!is_yes && strcmp(value, no) != 0)
		return -EINVAL;
	*ret_yes = is_yes;
	return 0;
}

static int config_set_quantity(struct config *config, const struct config_key *key,
			       const char *value)
{
	char *at = (char *)config + key->off;
	uint64_t number = 0;
	int r;

	if (key->kind == CONFIG_LEN)
		r = quantity_parse_len(value, &number);
	else if (key->kind == CONFIG_NS)
		r = quantity_parse_ns(value, &number);
	else
		r = quantity_parse_number(value, UINT32_MAX, &number);
	if (r < 0)
		return r;
	if (number < key->min || number > key->max)
		return -ERANGE;
	if (key->kind == CONFIG_NUMBER)
		*(uint32_t *)at = (uint32_t)number;
	else
		*(uint64_t *)at = number;
	return 0;
}

static int config_set_mode(struct config *config, const char *value)
{
	char *end;
	unsigned long mode = strtoul(value, &end, 8);

	if (value[0] < '0' || value[0] > '7' || *end != '\0' || mode > 0777)
		return -EINVAL;
	config->mode = (uint32_t)mode;
	return 0;
}

static int config_set_key(struct config *config, const struct config_key *key, const char *value)
{
	switch (key->kind) {
	case CONFIG_STRING:
		return config_take_string((char **)((char *)config + key->off), value);
	case CONFIG_LEVEL:
		return log_parse_level(value, &config->log_level);
	case CONFIG_IO:
		return config_choose(value, "threads", "auto", &config->io_threads);
	case CONFIG_CREATE:
		return config_choose(value, "everybody", "administrators",
				     &config->create_everybody);
	case CONFIG_SYNC:
		return config_parse_sync(value, &config->sync, &config->sync_ns);
	case CONFIG_MODE:
		return config_set_mode(config, value);
	default:
		return config_set_quantity(config, key, value);
	}
}

int config_set(struct config *config, const char *key, const char *value, char *detail,
	       size_t detail_len)
{
	for (size_t i = 0; i < ARRAY_LEN(config_keys); i++) {
		int r;

		if (strcmp(config_keys[i].name, key) != 0)
			continue;
		r = config_set_key(config, &config_keys[i], value);
		if (r == 0 && config_keys[i].off == offsetof(struct config, ring_len) &&
		    config_keys[i].kind == CONFIG_LEN && !is_power_of_two(config->ring_len))
			r = -EINVAL;
		if (r < 0)
			snprintf(detail, detail_len, "%s cannot be '%.64s'%s", key, value,
				 r == -ERANGE ? ": out of range" : "");
		return r;
	}
	snprintf(detail, detail_len, "'%.64s' is not a key; leatd(8) lists them", key);
	return -EINVAL;
}

/* ---- the file ---- */

static char *config_trim(char *text)
{
	char *end;

	text += strspn(text, " \t\r\n");
	end = text + strlen(text);
	while (end > text && strchr(" \t\r\n", end[-1]))
		*--end = '\0';
	return text;
}

static int config_read_line(struct config *config, char *line, char *detail, size_t detail_len)
{
	char *key = config_trim(line), *value;

	if (*key == '\0' || *key == '#')
		return 0;
	value = strchr(key, '=');
	if (!value) {
		snprintf(detail, detail_len, "a line is `key = value`");
		return -EINVAL;
	}
	*value++ = '\0';
	return config_set(config, config_trim(key), config_trim(value), detail, detail_len);
}

static int config_read_stream(struct config *config, FILE *f, const char *path, char *detail,
			      size_t detail_len)
{
	char line[CONFIG_LINE_MAX], why[256];
	unsigned int number = 0;

	while (fgets(line, sizeof(line), f)) {
		int r;

		number++;
		why[0] = '\0';
		r = config_read_line(config, line, why, sizeof(why));
		if (r < 0) {
			snprintf(detail, detail_len, "%s line %u: %s", path, number,
				 why[0] ? why : strerror(-r));
			return r;
		}
	}
	if (ferror(f)) {
		snprintf(detail, detail_len, "%s cannot be read: %s", path, strerror(errno));
		return -EIO;
	}
	return 0;
}

/* Where the file is if nobody says so. */
static void config_usual_file(char *path, size_t len)
{
	const char *home = getenv("HOME"), *config = getenv("XDG_CONFIG_HOME");

	if (geteuid() == 0)
		snprintf(path, len, CONFIG_SYSCONFDIR "/leat/leatd.conf");
	else if (config && config[0] == '/')
		snprintf(path, len, "%s/leat/leatd.conf", config);
	else
		snprintf(path, len, "%s/.config/leat/leatd.conf", home ? home : "");
}

int config_read(struct config *config, char *detail, size_t detail_len)
{
	char *runtime = take_ptr(config->runtime), *data = take_ptr(config->data);
	char usual[CONFIG_LINE_MAX];
	const char *path = config->file;
	FILE *f;
	int r;

	if (!path) {
		config_usual_file(usual, sizeof(usual));
		path = usual;
	}
	f = fopen(path, "re");
	if (f) {
		r = config_read_stream(config, f, path, detail, detail_len);
		fclose(f);
	} else {
		r = !config->file && errno == ENOENT ? 0 : -errno;
		if (r < 0)
			snprintf(detail, detail_len, "%s cannot be read: %s", path, strerror(-r));
	}
	if (runtime) {
		free(config->runtime);
		config->runtime = runtime;
	}
	if (data) {
		free(config->data);
		config->data = data;
	}
	return r;
}

int config_reload(struct config *config, char *detail, size_t detail_len)
{
	struct config fresh;
	int r;

	config_init(&fresh);
	fresh.file = config->file;
	r = config_read(&fresh, detail, detail_len);
	fresh.file = NULL;
	if (r == 0) {
		if (fresh.io_threads != config->io_threads)
			log_notice("The key `io` counts from the next start on");
		/* Directories and the way to the disk stay as they were when we started. */
		free(fresh.runtime);
		free(fresh.data);
		fresh.runtime = config->runtime;
		fresh.data = config->data;
		fresh.file = config->file;
		fresh.keep = config->keep;
		fresh.io_threads = config->io_threads;
		*config = fresh;
	} else {
		config_deinit(&fresh);
	}
	return r;
}

/* ---- directories ---- */

static int config_default_runtime(char *path, size_t len, char *detail, size_t detail_len)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");

	if (geteuid() == 0) {
		snprintf(path, len, "/run/leat");
		return 0;
	}
	if (xdg && xdg[0] == '/') {
		snprintf(path, len, "%s/leat", xdg);
		return 0;
	}
	/* Anybody can make this name first: only one that is our own is used. */
	snprintf(path, len, "/tmp/leat-%u", geteuid());
	if (directory_make(path, 0700, detail, detail_len) < 0)
		return -EACCES;
	if (!directory_is_private(path)) {
		snprintf(detail, detail_len,
			 "%s belongs to somebody else or can be written by others; "
			 "use --runtime",
			 path);
		return -EACCES;
	}
	return 0;
}

static int config_default_data(char *path, size_t len, char *detail, size_t detail_len)
{
	const char *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

	if (geteuid() == 0) {
		snprintf(path, len, "/var/lib/leat");
	} else if (xdg && xdg[0] == '/') {
		snprintf(path, len, "%s/leat", xdg);
	} else if (home && home[0] == '/') {
		snprintf(path, len, "%s/.local/state/leat", home);
	} else {
		snprintf(detail, detail_len,
			 "there is no home directory to keep data in; "
			 "use --data");
		return -ENOENT;
	}
	return 0;
}

/* The service manager, the library and a restarted child are told these paths: whole ones. */
static int config_make_absolute(char **path)
{
	char *whole = NULL, *here;

	if (**path == '/')
		return 0;
	here = getcwd(NULL, 0);
	if (!here)
		return -errno;
	if (asprintf(&whole, "%s/%s", here, *path) < 0)
		whole = NULL;
	free(here);
	if (!whole)
		return -ENOMEM;
	free(*path);
	*path = whole;
	return 0;
}

int config_default_directories(struct config *config, char *detail, size_t detail_len)
{
	char path[CONFIG_LINE_MAX];
	int r = 0;

	if (!config->runtime) {
		r = config_default_runtime(path, sizeof(path), detail, detail_len);
		if (r == 0)
			r = config_take_string(&config->runtime, path);
	}
	if (r == 0 && !config->data) {
		r = config_default_data(path, sizeof(path), detail, detail_len);
		if (r == 0)
			r = config_take_string(&config->data, path);
	}
	if (r == 0)
		r = config_make_absolute(&config->runtime);
	return r == 0 ? config_make_absolute(&config->data) : r;
}
