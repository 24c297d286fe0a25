/* SPDX-License-Identifier: Apache-2.0 */
/* leatd: the daemon of the leat log bus. See leatd(8). */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

#include <jansson.h>
#include <urcu/urcu-memb.h>

#include "daemon/config.h"
#include "daemon/directory.h"
#include "daemon/keeper.h"
#include "daemon/log.h"
#include "daemon/notify.h"
#include "daemon/server.h"

enum {
	MAIN_FAILED = 1,
	MAIN_USAGE = 2
};

static const char main_help[] =
	"Usage: leatd [--runtime DIR] [--data DIR] [--config FILE] [--keep]\n"
	"\n"
	"The daemon of the leat log bus.\n"
	"\n"
	"  --runtime DIR  where the socket bus.sock is made\n"
	"                 (root: /run/leat, else $XDG_RUNTIME_DIR/leat)\n"
	"  --data DIR     where segments and the catalogue are kept\n"
	"                 (root: /var/lib/leat, else $XDG_STATE_HOME/leat)\n"
	"  --config FILE  configuration, see leatd(8)\n"
	"  --keep         run the daemon as a child, keep its rings, start it again\n"
	"                 when it crashes; not needed under systemd\n"
	"  --help         this text\n"
	"  --version      the version\n";

/* What main() holds; released in one place. */
struct main_state {
	struct config config;
	struct notify *notify;
	struct server *server;
	int runtime_lock;
	int data_lock;
};

static void main_raise_limit(void)
{
	struct rlimit limit;

	/* Many connections and rings; nothing here uses select(). */
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int main_block_signals(char *detail, size_t detail_len)
{
	sigset_t set;

	/* For all threads: the control loop reads them. */
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0) {
		snprintf(detail, detail_len, "signals cannot be blocked: %s", strerror(errno));
		return -errno;
	}
	signal(SIGPIPE, SIG_IGN);
	/* A file that may not grow is an error of the write, like a full disk. */
	signal(SIGXFSZ, SIG_IGN);
	return 0;
}

/* 0, 1 to end with *ret_status, or negative errno with a sentence. */
static int main_configure(struct main_state *m, int argc, char **argv, int *ret_status,
			  char *detail, size_t detail_len)
{
	int r = config_parse_arguments(&m->config, argc, argv, detail, detail_len);

	if (r == CONFIG_E_HELP || r == CONFIG_E_VERSION) {
		fputs(r == CONFIG_E_HELP ? main_help : "leatd " LEAT_VERSION "\n", stdout);
		*ret_status = fflush(stdout) == 0 ? 0 : MAIN_FAILED;
		return 1;
	}
	if (r == -EINVAL) {
		log_error("%s; see leatd --help", detail);
		*ret_status = MAIN_USAGE;
		return 1;
	}
	if (r < 0)
		return r;
	r = config_read(&m->config, detail, detail_len);
	if (r == 0)
		r = config_default_directories(&m->config, detail, detail_len);
	log_set_level(m->config.log_level);
	return r;
}

/* The words for the child: the same without --keep. */
static int main_keep(struct main_state *m, int argc, char **argv)
{
	cleanup_with(free_ptr) char **words = calloc((size_t)argc + 1, sizeof(*words));
	int n = 0;

	if (!words) {
		log_error("the keeper cannot begin: %s", strerror(ENOMEM));
		return MAIN_FAILED;
	}
	for (int i = 0; i < argc; i++) {
		/* getopt takes any beginning that is the only one possible. */
		if (i > 0 && strlen(argv[i]) > 2 &&
		    strncmp(argv[i], "--keep", strlen(argv[i])) == 0)
			continue;
		words[n++] = argv[i];
	}
	log_init("leatd (keeper)");
	return keeper_run(m->config.runtime, words);
}

static int main_lock(struct main_state *m, char *detail, size_t detail_len)
{
	int r = directory_make(m->config.data, 0700, detail, detail_len);

	if (r == 0)
		r = directory_lock(m->config.runtime, "leatd.lock", &m->runtime_lock, detail,
				   detail_len);
	if (r == 0)
		r = directory_lock(m->config.data, "leatd.lock", &m->data_lock, detail, detail_len);
	return r;
}

static int main_serve(struct main_state *m, char *detail, size_t detail_len)
{
	int r = main_lock(m, detail, detail_len);

	if (r < 0)
		return r;
	main_raise_limit();
	r = main_block_signals(detail, detail_len);
	if (r < 0)
		return r;
	json_object_seed(0);
	urcu_memb_register_thread();
	r = notify_new(&m->notify);
	if (r < 0) {
		snprintf(detail, detail_len, "what the service manager passes makes no sense: %s",
			 strerror(-r));
		return r;
	}
	r = server_new(&m->config, m->notify, &m->server, detail, detail_len);
	if (r < 0)
		return r;
	log_notice("leat " LEAT_VERSION " serves %s/bus.sock, data in %s", m->config.runtime,
		   m->config.data);
	notify_ready(m->notify);
	notify_status(m->notify, "serving %u streams", m->server->registry.n_streams);
	r = server_run(m->server);
	/* Threads are still at work there: the kernel cleans up, files are as after a crash. */
	if (r < 0)
		_exit(MAIN_FAILED);
	m->server = server_free(m->server);
	log_notice("Stopped");
	return 0;
}

int main(int argc, char **argv)
{
	struct main_state m = { .runtime_lock = -1, .data_lock = -1 };
	char detail[1024] = "";
	int status = 0, r;

	log_init("leatd");
	config_init(&m.config);
	r = main_configure(&m, argc, argv, &status, detail, sizeof(detail));
	if (r == 0)
		r = directory_make(m.config.runtime, 0755, detail, sizeof(detail));
	if (r == 0 && m.config.keep)
		status = main_keep(&m, argc, argv);
	else if (r == 0)
		r = main_serve(&m, detail, sizeof(detail));
	if (r < 0) {
		log_error("%s", detail[0] ? detail : strerror(-r));
		status = MAIN_FAILED;
	}
	notify_free(m.notify);
	close_fd(m.data_lock);
	close_fd(m.runtime_lock);
	config_deinit(&m.config);
	return status;
}
