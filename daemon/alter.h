/* SPDX-License-Identifier: Apache-2.0 */
/* Changing what a stream is: `set`. */
#ifndef DAEMON_ALTER_H
#define DAEMON_ALTER_H

#include "daemon/dispatch.h"

int alter_op_set(struct session *session, const json_t *request, struct dispatch_reply *reply);

#endif
