/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/worker.h"

#include <pthread.h>
#include <urcu/urcu-memb.h>

struct worker_queue {
	struct worker_job *first;
	struct worker_job *last;
};

struct worker {
	pthread_t threads[WORKER_THREADS_MAX];
	unsigned int n_threads;
	pthread_mutex_t lock;
	pthread_cond_t wanted; /* there is work, or quit */
	pthread_cond_t ended;  /* a job has run */
	struct worker_queue todo;
	struct worker_queue over;
	uint64_t turn;          /* of the job that was begun last */
	unsigned int n_pending; /* control thread */
	int notify_fd;
	bool quit;
};

static void worker_push(struct worker_queue *queue, struct worker_job *job)
{
	job->next = NULL;
	if (queue->last)
		queue->last->next = job;
	else
		queue->first = job;
	queue->last = job;
}

static struct worker_job *worker_pop(struct worker_queue *queue)
{
	struct worker_job *job = queue->first;

	if (job) {
		queue->first = job->next;
		if (!queue->first)
			queue->last = NULL;
	}
	return job;
}

/* In order of turns, in each of which every user has one job at most. */
static void worker_queue(struct worker *worker, struct worker_job *job)
{
	struct worker_job **at = &worker->todo.first, *other;

	job->turn = worker->turn + 1;
	for (other = worker->todo.first; other; other = other->next)
		if (other->user == job->user)
			job->turn = other->turn + 1;
	while (*at && (*at)->turn <= job->turn)
		at = &(*at)->next;
	job->next = *at;
	*at = job;
	if (!job->next)
		worker->todo.last = job;
}

static void *worker_main(void *arg)
{
	static const uint64_t one = 1;
	struct worker *worker = arg;

	urcu_memb_register_thread();
	pthread_mutex_lock(&worker->lock);
	for (;;) {
		struct worker_job *job = worker_pop(&worker->todo);

		if (!job && worker->quit)
			break;
		if (!job) {
			pthread_cond_wait(&worker->wanted, &worker->lock);
			continue;
		}
		worker->turn = job->turn;
		pthread_mutex_unlock(&worker->lock);
		job->run(job);
		pthread_mutex_lock(&worker->lock);
		worker_push(&worker->over, job);
		pthread_cond_signal(&worker->ended);
		(void)!write(worker->notify_fd, &one, sizeof(one));
	}
	pthread_mutex_unlock(&worker->lock);
	urcu_memb_unregister_thread();
	return NULL;
}

int worker_new(int notify_fd, unsigned int n_threads, struct worker **ret_worker)
{
	struct worker *worker = calloc(1, sizeof(*worker));
	int r = 0;

	if (!worker)
		return -ENOMEM;
	worker->notify_fd = notify_fd;
	pthread_mutex_init(&worker->lock, NULL);
	pthread_cond_init(&worker->wanted, NULL);
	pthread_cond_init(&worker->ended, NULL);
	while (r == 0 && worker->n_threads < n_threads && worker->n_threads < WORKER_THREADS_MAX) {
		r = pthread_create(&worker->threads[worker->n_threads], NULL, worker_main, worker);
		worker->n_threads += r == 0;
	}
	/* Fewer than were asked for do the same, more slowly. */
	if (worker->n_threads == 0) {
		free(worker);
		return -r;
	}
	*ret_worker = worker;
	return 0;
}

void worker_submit(struct worker *worker, struct worker_job *job)
{
	worker->n_pending++;
	pthread_mutex_lock(&worker->lock);
	worker_queue(worker, job);
	pthread_cond_signal(&worker->wanted);
	pthread_mutex_unlock(&worker->lock);
}

void worker_hurry(struct worker *worker, struct worker_job *job)
{
	struct worker_queue rest = { 0 };
	struct worker_job *other;
	bool found = false;

	pthread_mutex_lock(&worker->lock);
	while ((other = worker_pop(&worker->todo))) {
		found |= other == job;
		if (other != job)
			worker_push(&rest, other);
	}
	if (found) {
		job->turn = worker->turn;
		worker_push(&worker->todo, job);
	}
	while ((other = worker_pop(&rest)))
		worker_push(&worker->todo, other);
	pthread_mutex_unlock(&worker->lock);
}

unsigned int worker_reap(struct worker *worker)
{
	struct worker_job *job;
	unsigned int n = 0;

	for (;;) {
		pthread_mutex_lock(&worker->lock);
		job = worker_pop(&worker->over);
		pthread_mutex_unlock(&worker->lock);
		if (!job)
			return n;
		worker->n_pending--;
		job->done(job);
		n++;
	}
}

unsigned int worker_pending(const struct worker *worker)
{
	return worker->n_pending;
}

struct worker *worker_free(struct worker *worker)
{
	if (!worker)
		return NULL;
	while (worker->n_pending > 0) {
		pthread_mutex_lock(&worker->lock);
		while (!worker->over.first)
			pthread_cond_wait(&worker->ended, &worker->lock);
		pthread_mutex_unlock(&worker->lock);
		worker_reap(worker);
	}
	pthread_mutex_lock(&worker->lock);
	worker->quit = true;
	pthread_cond_broadcast(&worker->wanted);
	pthread_mutex_unlock(&worker->lock);
	for (unsigned int i = 0; i < worker->n_threads; i++)
		pthread_join(worker->threads[i], NULL);
	pthread_cond_destroy(&worker->wanted);
	pthread_cond_destroy(&worker->ended);
	pthread_mutex_destroy(&worker->lock);
	free(worker);
	return NULL;
}
