/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buffered output to an fd. An error is remembered and ends all further writing, so that it needs
 * to be looked at once in a while only; EPIPE is how a reader says that it has enough.
 */
#ifndef TOOLS_OUT_H
#define TOOLS_OUT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct out {
	char *buf;
	size_t len;
	size_t cap;
	int fd;
	int error; /* negative errno of the first failure */
};

int out_init(struct out *out, int fd, size_t cap);
void out_deinit(struct out *out);
/* Returns 0 or the error remembered. */
int out_flush(struct out *out);
/* True once whoever reads the other end of the pipe has gone. */
int out_reader_is_gone(const struct out *out);
/* For what does not fit the rest of the buffer. */
void out_write_slow(struct out *out, const void *data, size_t len);
void out_number(struct out *out, uint64_t number);

static inline void out_write(struct out *out, const void *data, size_t len)
{
	if (len > out->cap - out->len) {
		out_write_slow(out, data, len);
		return;
	}
	if (len > 0)
		memcpy(out->buf + out->len, data, len);
	out->len += len;
}

static inline void out_text(struct out *out, const char *text)
{
	out_write(out, text, strlen(text));
}

static inline void out_char(struct out *out, char c)
{
	out_write(out, &c, 1);
}

#endif
