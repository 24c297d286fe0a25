/* SPDX-License-Identifier: Apache-2.0 */
/* A thread that turns futexes into a file descriptor. */
#include "clientlib/helper.h"

#include <signal.h>
#include <sys/eventfd.h>

#include "shm/wait.h"

/* How long it can sleep where its own word does not fit beside the bells. */
#define HELPER_BLIND_NS (50 * NS_PER_MS)

struct helper {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int fd;
	bool stop;
	bool armed; /* words are asleep on, or are about to be */
	unsigned int n_words;
	uint64_t slice_ns;
	_Atomic uint32_t poke; /* the last word: changed to end the sleep */
	struct sleep_word words[SLEEP_WORDS_MAX];
};

void helper_signal(struct helper *helper)
{
	static const uint64_t one = 1;

	(void)!write(helper->fd, &one, sizeof(one));
}

void helper_clear(struct helper *helper)
{
	uint64_t count;

	(void)!read(helper->fd, &count, sizeof(count));
}

int helper_fd(const struct helper *helper)
{
	return helper->fd;
}

/* Without the lock: the words do not change while armed. */
static void sleep_once(struct helper *helper, unsigned int n_bells)
{
	int r = sleep_any(helper->words, helper->n_words, helper->slice_ns);

	/* The kernel names one; others may have rung too, and their sleepers count on us. */
	for (unsigned int i = 0; r >= 0 && i < n_bells; i++)
		if (helper->words[i].ring)
			wait_pass_on(helper->words[i].ring, helper->words[i].expected);
}

static void *helper_run(void *arg)
{
	struct helper *helper = arg;

	pthread_mutex_lock(&helper->lock);
	while (!helper->stop) {
		if (!helper->armed) {
			pthread_cond_wait(&helper->changed, &helper->lock);
			continue;
		}
		pthread_mutex_unlock(&helper->lock);
		sleep_once(helper, helper->n_words - 1);
		pthread_mutex_lock(&helper->lock);
		helper->armed = false;
		helper_signal(helper);
		pthread_cond_broadcast(&helper->changed);
	}
	pthread_mutex_unlock(&helper->lock);
	return NULL;
}

/* The lock is held; returns when nothing of the words is used any more. */
static void disarm(struct helper *helper)
{
	if (!helper->armed)
		return;
	store_relaxed(&helper->poke, load_relaxed(&helper->poke) + 1);
	wait_futex_wake(&helper->poke, 1);
	while (helper->armed)
		pthread_cond_wait(&helper->changed, &helper->lock);
}

void helper_arm(struct helper *helper, const struct sleep_word *words, unsigned int n,
		uint64_t slice_ns)
{
	bool blind = n >= SLEEP_WORDS_MAX;

	pthread_mutex_lock(&helper->lock);
	/* The same bells, none of which has rung: it sleeps rightly. */
	if (helper->armed && helper->n_words == n + !blind && slice_ns >= helper->slice_ns &&
	    memcmp(helper->words, words, n * sizeof(*words)) == 0) {
		pthread_mutex_unlock(&helper->lock);
		return;
	}
	if (helper->armed) {
		disarm(helper);
		helper_clear(helper);
	}
	memcpy(helper->words, words, n * sizeof(*words));
	if (!blind)
		helper->words[n] = (struct sleep_word){
			.word = &helper->poke,
			.expected = load_relaxed(&helper->poke),
		};
	helper->n_words = n + !blind;
	helper->slice_ns = blind ? min_u64(slice_ns, HELPER_BLIND_NS) : slice_ns;
	helper->armed = true;
	pthread_cond_broadcast(&helper->changed);
	pthread_mutex_unlock(&helper->lock);
}

static int start_thread(struct helper *helper)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&helper->thread, NULL, helper_run, helper);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

int helper_start(struct helper **ret_helper)
{
	struct helper *helper = calloc(1, sizeof(*helper));
	int r;

	if (!helper)
		return -ENOMEM;
	/* Readable at first: nobody has looked yet. */
	helper->fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
	if (helper->fd < 0) {
		r = -errno;
		free(helper);
		return r;
	}
	pthread_mutex_init(&helper->lock, NULL);
	pthread_cond_init(&helper->changed, NULL);
	r = start_thread(helper);
	if (r < 0) {
		close_fd(helper->fd);
		free(helper);
		return r;
	}
	*ret_helper = helper;
	return 0;
}

struct helper *helper_stop(struct helper *helper, bool forked)
{
	if (!helper)
		return NULL;
	if (!forked) {
		pthread_mutex_lock(&helper->lock);
		helper->stop = true;
		disarm(helper);
		pthread_cond_broadcast(&helper->changed);
		pthread_mutex_unlock(&helper->lock);
		pthread_join(helper->thread, NULL);
		pthread_cond_destroy(&helper->changed);
		pthread_mutex_destroy(&helper->lock);
	}
	close_fd(helper->fd);
	free(helper);
	return NULL;
}

void helper_retire(struct leat_subscriber *sub, struct ring *ring)
{
	struct helper *helper = sub->helper;

	if (helper) {
		pthread_mutex_lock(&helper->lock);
		disarm(helper);
		pthread_mutex_unlock(&helper->lock);
	}
	ring_close(ring);
}
