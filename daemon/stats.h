/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is seen of the bus: lists, descriptions, statistics. Made on a worker that reads the
 * registry under RCU, so that watching holds up neither control nor drains.
 */
#ifndef DAEMON_STATS_H
#define DAEMON_STATS_H

#include "daemon/dispatch.h"

int stats_op_list(struct session *session, const json_t *request, struct dispatch_reply *reply);
int stats_op_describe(struct session *session, const json_t *request, struct dispatch_reply *reply);
int stats_op_stat(struct session *session, const json_t *request, struct dispatch_reply *reply);

#endif
