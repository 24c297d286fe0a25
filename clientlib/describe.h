/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon says of a stream, as a leat_stream_info. */
#ifndef CLIENTLIB_DESCRIBE_H
#define CLIENTLIB_DESCRIBE_H

#include "clientlib/control.h"
#include "clientlib/leat.h"

/* -EBADMSG, -ENOMEM. */
int describe_parse(const json_t *object, struct leat_stream_info **ret_info);

/* Asks the daemon. */
int describe(struct control *control, const char *stream, struct deadline *deadline,
	     struct leat_stream_info **ret_info, struct detail *detail);

/* The options of `create`; NULL with the sentence in detail. */
json_t *describe_options(const struct leat_stream_options *options, struct detail *detail);

#endif
