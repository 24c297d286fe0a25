/* SPDX-License-Identifier: Apache-2.0 */
/* Sentences about failures. */
#include <stdarg.h>
#include <stdio.h>

#include "clientlib/detail.h"

int detail_fail(struct detail *detail, int error, const char *format, ...)
{
	va_list args;

	if (!detail)
		return error;
	va_start(args, format);
	vsnprintf(detail->text, sizeof(detail->text), format, args);
	va_end(args);
	return error;
}

int detail_default(struct detail *detail, int error)
{
	if (error >= 0 || !detail || detail->text[0])
		return error;
	if (error == -ENOMEM)
		return detail_fail(detail, error, "there is no memory for it");
	if (error == -EBADMSG)
		return detail_fail(detail, error, "the daemon's reply makes no sense");
	return detail_fail(detail, error, "the system refused it: %s", strerror(-error));
}
