/* SPDX-License-Identifier: Apache-2.0 */
/* The control protocol spoken without the library, as somebody would who means no good. */
#ifndef TESTS_RAW_H
#define TESTS_RAW_H

#include <jansson.h>

#include "tests/harness.h"

enum {
	RAW_FDS = 16
};

struct raw_reply {
	json_t *json;
	int fds[RAW_FDS];
	size_t n_fds;
};

int raw_connect(const struct harness_bus *bus);
/* Connects and says hello. */
int raw_hello(const struct harness_bus *bus);
/* Sends a request, and one of our fds beside it unless that is -1; waits for the reply. */
void raw_request_fd(int fd, const char *request, int with, struct raw_reply *ret_reply);
void raw_request(int fd, const char *request, struct raw_reply *ret_reply);
bool raw_ok(const struct raw_reply *reply);
/* The errno of a refusal, 0 where there was none. */
int raw_errno(const struct raw_reply *reply);
/* The fd of that name; stays the reply's. -1 = there is none. */
int raw_fd(const struct raw_reply *reply, const char *name);
void raw_end(struct raw_reply *reply);

/* harness_fork() function of a struct harness_bus: makes the streams that tests of permission try
 * their hands at, of user 64001 and group 64100: "guarded" (0640), with a secret, and "dropbox"
 * (0620). */
int raw_make_streams(void *bus);

#endif
