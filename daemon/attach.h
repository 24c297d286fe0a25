/* SPDX-License-Identifier: Apache-2.0 */
/* What a publisher and a subscriber of one shard ask for: rings, slots, segments. */
#ifndef DAEMON_ATTACH_H
#define DAEMON_ATTACH_H

#include "daemon/dispatch.h"

int attach_op_attach(struct session *session, const json_t *request, struct dispatch_reply *reply);
int attach_op_detach(struct session *session, const json_t *request, struct dispatch_reply *reply);
int attach_op_segments(struct session *session, const json_t *request,
		       struct dispatch_reply *reply);
int attach_op_sync(struct session *session, const json_t *request, struct dispatch_reply *reply);

#endif
