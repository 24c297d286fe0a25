/* SPDX-License-Identifier: Apache-2.0 */
#include "persist/io.h"

#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include "persist/file.h"

enum {
	DEPTH = 64,
	DEPTH_MAX = 1024,
	THREADS_MAX = 4,
	/* A write that is longer is not copied by the submitter, but by a worker of the kernel. */
	INLINE_MAX = 64 << 10,
	/* A write that is longer is not held: see IO_F_HOLD. */
	HELD_MAX = 512 << 10,
	/* What one call moves at most; the kernel's own limit is a little below 2 GiB. */
	MOVE_MAX = 1 << 30,
};

struct queue {
	struct io_op *head;
	struct io_op **tail;
};

struct io {
	struct io_uring ring;
	bool has_ring;
	bool holds;
	bool stopping;
	bool owner_waits; /* mutex: in io_wait() */
	int event_fd;
	unsigned int depth;
	unsigned int n_pending; /* submitted, done() not called */
	unsigned int n_kernel;  /* of these, with io_uring */
	struct io_op *held;     /* by IO_F_HOLD */
	struct queue waiting;   /* for a place in io_uring */
	struct queue failed;    /* before they reached the kernel */
	/* The rest is shared with the threads, under the mutex. */
	pthread_mutex_t mutex;
	pthread_cond_t work;
	struct queue todo;
	struct queue finished;
	pthread_t threads[THREADS_MAX];
	unsigned int n_threads;
	unsigned int n_idle;
	unsigned int n_todo;
};

static void queue_init(struct queue *queue)
{
	queue->head = NULL;
	queue->tail = &queue->head;
}

static void queue_push(struct queue *queue, struct io_op *op)
{
	op->next = NULL;
	*queue->tail = op;
	queue->tail = &op->next;
}

static struct io_op *queue_pop(struct queue *queue)
{
	struct io_op *op = queue->head;

	if (op) {
		queue->head = op->next;
		if (!queue->head)
			queue->tail = &queue->head;
	}
	return op;
}

static void signal_owner(struct io *io)
{
	const uint64_t one = 1;

	/* It fails only when the counter is full, and then the fd is readable anyway. */
	if (write(io->event_fd, &one, sizeof(one)) < 0)
		return;
}

/* ---- threads ---- */

static int run_blocking(struct io_op *op)
{
	switch (op->kind) {
	case IO_WRITE:
		return file_write(op->fd, op->buf, op->len, op->off);
	case IO_FDATASYNC:
		return file_datasync(op->fd);
	case IO_WRITEBACK:
		(void)sync_file_range(op->fd, (off_t)op->off, (off_t)op->len,
				      SYNC_FILE_RANGE_WRITE);
		return 0;
	case IO_CALL:
		return op->call(op);
	}
	return -EINVAL;
}

/* With the mutex held. */
static void finish_elsewhere(struct io *io, struct io_op *op, bool tell)
{
	queue_push(&io->finished, op);
	if (tell || io->owner_waits)
		signal_owner(io);
}

static void *thread_main(void *arg)
{
	struct io *io = arg;
	struct io_op *op;

	pthread_mutex_lock(&io->mutex);
	for (;;) {
		op = queue_pop(&io->todo);
		if (!op) {
			if (io->stopping)
				break;
			io->n_idle++;
			pthread_cond_wait(&io->work, &io->mutex);
			io->n_idle--;
			continue;
		}
		io->n_todo--;
		pthread_mutex_unlock(&io->mutex);
		op->result = run_blocking(op);
		pthread_mutex_lock(&io->mutex);
		finish_elsewhere(io, op, true);
	}
	pthread_mutex_unlock(&io->mutex);
	return NULL;
}

/* A thread more when all are busy; without any thread at all, false. */
static bool ensure_thread(struct io *io)
{
	if (io->n_todo >= io->n_idle && io->n_threads < THREADS_MAX &&
	    pthread_create(&io->threads[io->n_threads], NULL, thread_main, io) == 0)
		io->n_threads++;
	return io->n_threads > 0;
}

static void give_to_thread(struct io *io, struct io_op *op)
{
	pthread_mutex_lock(&io->mutex);
	if (ensure_thread(io)) {
		queue_push(&io->todo, op);
		io->n_todo++;
		pthread_cond_signal(&io->work);
	} else {
		op->result = -EAGAIN;
		finish_elsewhere(io, op, true);
	}
	pthread_mutex_unlock(&io->mutex);
}

/* ---- io_uring ---- */

static void event_of(const struct io_op *op, struct file_event *ret_event)
{
	*ret_event = (struct file_event){
		.kind = op->kind == IO_WRITE ? FILE_WRITE : FILE_FDATASYNC,
		.fd = op->fd,
	};
	if (op->kind == IO_WRITE) {
		ret_event->buf = (const char *)op->buf + op->moved;
		ret_event->len = op->len - op->moved;
		ret_event->off = op->off + op->moved;
	}
}

static void fail_early(struct io *io, struct io_op *op, int result)
{
	op->result = result;
	queue_push(&io->failed, op);
	signal_owner(io);
}

/* Fills in one submission; false when the ring has no place for it now. */
static bool give_to_kernel(struct io *io, struct io_op *op)
{
	uint64_t len = min_u64(op->len - op->moved, MOVE_MAX);
	struct io_uring_sqe *sqe;
	struct file_event event;
	int r = 0;

	if (io->n_kernel >= io->depth)
		return false;
	if (op->kind != IO_WRITEBACK) {
		event_of(op, &event);
		r = file_before(&event);
		if (r < 0) {
			file_after(&event, r);
			fail_early(io, op, r);
			return true;
		}
	}
	sqe = io_uring_get_sqe(&io->ring);
	if (!sqe)
		return false;
	if (op->kind == IO_WRITE) {
		io_uring_prep_write(sqe, op->fd, (const char *)op->buf + op->moved,
				    (unsigned int)len, op->off + op->moved);
		if (len > INLINE_MAX)
			sqe->flags |= IOSQE_ASYNC;
	} else if (op->kind == IO_FDATASYNC) {
		io_uring_prep_fsync(sqe, op->fd, IORING_FSYNC_DATASYNC);
	} else {
		io_uring_prep_sync_file_range(sqe, op->fd, (unsigned int)min_u64(len, UINT32_MAX),
					      op->off, SYNC_FILE_RANGE_WRITE);
		sqe->flags |= IOSQE_ASYNC;
	}
	io_uring_sqe_set_data(sqe, op);
	io->n_kernel++;
	return true;
}

/* Tells the kernel of what is filled in; what it does not take now it takes later. */
static void push_ring(struct io *io)
{
	while (io_uring_sq_ready(&io->ring) > 0) {
		int r = io_uring_submit(&io->ring);

		if (r == -EINTR)
			continue;
		/* -EAGAIN, -EBUSY: short of memory or of places; io_reap() tries again. */
		if (r <= 0) {
			signal_owner(io);
			break;
		}
	}
}

static void start_waiting(struct io *io)
{
	while (io->waiting.head && io->n_kernel < io->depth) {
		struct io_op *op = queue_pop(&io->waiting);

		if (!give_to_kernel(io, op)) {
			queue_push(&io->waiting, op);
			break;
		}
	}
	push_ring(io);
}

/* What the kernel said of one operation: true when that was all of it. */
static bool take_completion(struct io_op *op, int res)
{
	struct file_event event;

	if (op->kind == IO_WRITEBACK) {
		op->result = 0;
		return true;
	}
	event_of(op, &event);
	file_after(&event, res);
	if (op->kind == IO_WRITE) {
		if (res == -EINTR || res == -EAGAIN)
			return false;
		if (res > 0)
			op->moved += (uint64_t)res;
		if (res > 0 && op->moved < op->len)
			return false;
		op->result = res > 0 ? 0 : res < 0 ? res : -EIO;
		return true;
	}
	op->result = res;
	return true;
}

/* Functional, not only present: a filter may allow the set-up and not the rest. */
static bool try_ring(struct io *io)
{
	static const int needed[] = { IORING_OP_WRITE, IORING_OP_FSYNC, IORING_OP_SYNC_FILE_RANGE };
	struct io_uring_probe *probe = io_uring_get_probe_ring(&io->ring);
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe;
	bool ok = probe != NULL;
	size_t i;

	for (i = 0; ok && i < ARRAY_LEN(needed); i++)
		ok = io_uring_opcode_supported(probe, needed[i]);
	io_uring_free_probe(probe);
	sqe = ok ? io_uring_get_sqe(&io->ring) : NULL;
	if (!sqe)
		return false;
	io_uring_prep_nop(sqe);
	if (io_uring_submit(&io->ring) != 1 || io_uring_wait_cqe(&io->ring, &cqe) != 0)
		return false;
	io_uring_cqe_seen(&io->ring, cqe);
	return io_uring_register_eventfd(&io->ring, io->event_fd) == 0;
}

static void open_ring(struct io *io)
{
	if (io_uring_queue_init(io->depth, &io->ring, IORING_SETUP_CLAMP) < 0)
		return;
	io->has_ring = try_ring(io);
	if (!io->has_ring)
		io_uring_queue_exit(&io->ring);
}

/* ---- both ---- */

int io_new(unsigned int depth, unsigned int flags, struct io **ret_io)
{
	struct io *io = calloc(1, sizeof(*io));
	int r;

	if (!io)
		return -ENOMEM;
	io->depth = depth == 0 ? DEPTH : depth < DEPTH_MAX ? depth : DEPTH_MAX;
	queue_init(&io->waiting);
	queue_init(&io->failed);
	queue_init(&io->todo);
	queue_init(&io->finished);
	io->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (io->event_fd < 0) {
		r = -errno;
		free(io);
		return r;
	}
	pthread_mutex_init(&io->mutex, NULL);
	pthread_cond_init(&io->work, NULL);
	io->holds = (flags & IO_F_HOLD) != 0;
	if (!(flags & IO_F_THREADS))
		open_ring(io);
	*ret_io = io;
	return 0;
}

struct io *io_free(struct io *io)
{
	unsigned int i;

	if (!io)
		return NULL;
	while (io->n_pending > 0)
		(void)io_wait(io, -1);
	pthread_mutex_lock(&io->mutex);
	io->stopping = true;
	pthread_cond_broadcast(&io->work);
	pthread_mutex_unlock(&io->mutex);
	for (i = 0; i < io->n_threads; i++)
		pthread_join(io->threads[i], NULL);
	if (io->has_ring)
		io_uring_queue_exit(&io->ring);
	pthread_cond_destroy(&io->work);
	pthread_mutex_destroy(&io->mutex);
	close_fd(io->event_fd);
	free(io);
	return NULL;
}

int io_fd(const struct io *io)
{
	return io->event_fd;
}

const char *io_backend(const struct io *io)
{
	return io->has_ring ? "io_uring" : "threads";
}

unsigned int io_pending(const struct io *io)
{
	return io->n_pending;
}

static void pass_on(struct io *io, struct io_op *op)
{
	if (!io->has_ring || op->kind == IO_CALL) {
		give_to_thread(io, op);
	} else if (op->kind == IO_WRITE && op->len == 0) {
		fail_early(io, op, 0);
	} else {
		queue_push(&io->waiting, op);
		start_waiting(io);
	}
}

/* With others under way there is work for somebody else anyway. */
static bool is_to_hold(const struct io *io, const struct io_op *op)
{
	return io->holds && io->n_pending == 1 &&
	       (op->kind == IO_FDATASYNC || (op->kind == IO_WRITE && op->len <= HELD_MAX));
}

void io_submit(struct io *io, struct io_op *op)
{
	op->moved = 0;
	op->result = 0;
	io->n_pending++;
	if (is_to_hold(io, op))
		io->held = op;
	else
		pass_on(io, op);
}

struct io_op *io_take(struct io *io)
{
	return take_ptr(io->held);
}

bool io_holds(const struct io *io)
{
	return io->held != NULL;
}

void io_run(struct io *io, struct io_op *op)
{
	op->result = run_blocking(op);
	pthread_mutex_lock(&io->mutex);
	finish_elsewhere(io, op, false);
	pthread_mutex_unlock(&io->mutex);
}

void io_release(struct io *io)
{
	struct io_op *op = take_ptr(io->held);

	if (op)
		pass_on(io, op);
}

static void finish(struct io *io, struct io_op *op)
{
	io->n_pending--;
	op->done(op, op->result);
}

static unsigned int reap_ring(struct io *io)
{
	struct io_uring_cqe *cqe;
	unsigned int n = 0;

	while (io_uring_peek_cqe(&io->ring, &cqe) == 0) {
		struct io_op *op = io_uring_cqe_get_data(cqe);
		int res = cqe->res;

		io_uring_cqe_seen(&io->ring, cqe);
		io->n_kernel--;
		if (!take_completion(op, res)) {
			queue_push(&io->waiting, op);
			continue;
		}
		finish(io, op);
		n++;
	}
	start_waiting(io);
	return n;
}

static void clear_fd(struct io *io)
{
	uint64_t count;

	if (read(io->event_fd, &count, sizeof(count)) < 0)
		return;
}

unsigned int io_reap(struct io *io)
{
	struct queue finished;
	struct io_op *op;
	unsigned int n = 0;

	/* Before looking, so that what completes meanwhile makes it readable again. */
	if (!io->holds)
		clear_fd(io);
	if (io->has_ring)
		n += reap_ring(io);
	while ((op = queue_pop(&io->failed)) != NULL) {
		finish(io, op);
		n++;
	}
	pthread_mutex_lock(&io->mutex);
	finished.head = io->finished.head;
	queue_init(&io->finished);
	pthread_mutex_unlock(&io->mutex);
	while (finished.head) {
		op = finished.head;
		finished.head = op->next;
		finish(io, op);
		n++;
	}
	return n;
}

/* False when something is complete already. */
static bool begin_waiting(struct io *io)
{
	bool is_empty;

	io_release(io);
	pthread_mutex_lock(&io->mutex);
	is_empty = io->finished.head == NULL;
	io->owner_waits = is_empty;
	pthread_mutex_unlock(&io->mutex);
	return is_empty;
}

static void end_waiting(struct io *io)
{
	pthread_mutex_lock(&io->mutex);
	io->owner_waits = false;
	pthread_mutex_unlock(&io->mutex);
	clear_fd(io);
}

unsigned int io_wait(struct io *io, int timeout_ms)
{
	struct pollfd pfd = { .fd = io->event_fd, .events = POLLIN };
	unsigned int n = 0;

	do {
		if (begin_waiting(io) && poll(&pfd, 1, timeout_ms) < 0 && errno != EINTR)
			break;
		end_waiting(io);
		n = io_reap(io);
	} while (n == 0 && timeout_ms < 0 && io->n_pending > 0);
	return n;
}
