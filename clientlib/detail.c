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
