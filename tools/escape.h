/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as text and back: C escapes, JSON strings, base64. */
#ifndef TOOLS_ESCAPE_H
#define TOOLS_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>

struct out;

/*
 * Reads one escape after a backslash at *text and steps over it: \n \t \r \a \b \f \v \e \\ \" \'
 * \0 to \377 and \xN or \xNN. Returns the byte, or -EINVAL.
 */
int escape_take(const char **text);
/* The bytes that a text with such escapes stands for, malloced, with a NUL after them. */
int escape_decode(const char *text, char **ret_bytes, size_t *ret_len);

/* Printable ASCII as it is, everything else as \n, \t, \xNN and so on. */
void escape_c(struct out *out, const void *bytes, size_t len);
/* True for well-formed UTF-8 (shortest form, no surrogates). */
bool escape_is_utf8(const void *bytes, size_t len);
/* A JSON string with its quotes; the bytes must be UTF-8. */
void escape_json(struct out *out, const void *bytes, size_t len);
void escape_base64(struct out *out, const void *bytes, size_t len);

#endif
