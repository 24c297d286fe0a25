/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/out.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

int out_init(struct out *out, int fd, size_t cap)
{
	*out = (struct out){ .fd = fd, .cap = cap, .buf = malloc(cap) };
	return out->buf ? 0 : -ENOMEM;
}

void out_deinit(struct out *out)
{
	free(out->buf);
	out->buf = NULL;
}

static void write_all(struct out *out, const char *data, size_t len)
{
	struct pollfd pollfd = { .fd = out->fd, .events = POLLOUT };
	ssize_t n;

	while (len > 0 && !out->error) {
		n = write(out->fd, data, len);
		if (n >= 0) {
			data += n;
			len -= (size_t)n;
		} else if (errno == EAGAIN) {
			/* Somebody else made the terminal or pipe non-blocking. */
			poll(&pollfd, 1, -1);
		} else if (errno != EINTR) {
			out->error = -errno;
		}
	}
}

int out_flush(struct out *out)
{
	write_all(out, out->buf, out->len);
	out->len = 0;
	return out->error;
}

void out_write_slow(struct out *out, const void *data, size_t len)
{
	out_flush(out);
	if (len > out->cap) {
		write_all(out, data, len);
		return;
	}
	memcpy(out->buf, data, len);
	out->len = len;
}

void out_number(struct out *out, uint64_t number)
{
	char text[20];
	size_t at = sizeof(text);

	do {
		text[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	out_write(out, text + at, sizeof(text) - at);
}

int out_reader_is_gone(const struct out *out)
{
	struct pollfd pollfd = { .fd = out->fd };

	return out->error == -EPIPE ||
	       (poll(&pollfd, 1, 0) == 1 && (pollfd.revents & POLLERR) != 0);
}
