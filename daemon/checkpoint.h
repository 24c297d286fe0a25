/* SPDX-License-Identifier: Apache-2.0 */
/* Positions of named subscribers: kept in the catalogue, shown in the registry. */
#ifndef DAEMON_CHECKPOINT_H
#define DAEMON_CHECKPOINT_H

#include "daemon/dispatch.h"

int checkpoint_op_set(struct session *session, const json_t *request, struct dispatch_reply *reply);
int checkpoint_op_get(struct session *session, const json_t *request, struct dispatch_reply *reply);
int checkpoint_op_remove(struct session *session, const json_t *request,
			 struct dispatch_reply *reply);

#endif
