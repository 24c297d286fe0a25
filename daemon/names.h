/* SPDX-License-Identifier: Apache-2.0 */
/* Names: of streams and subscribers, of users and groups, of what a client calls itself. */
#ifndef DAEMON_NAMES_H
#define DAEMON_NAMES_H

#include <sys/types.h>

#include "shm/base.h"

enum {
	NAMES_STREAM_MAX = 200,
	NAMES_CLIENT_LEN = 64, /* NUL included */
	NAMES_USER_LEN = 64,   /* NUL included */
	NAMES_UUID_LEN = 37,   /* with dashes, NUL included */
};

#define NAMES_RULE "1 to 200 of letters, digits, '.', '_' and '-', not beginning with '.'"

/* True for a name that may become a directory and a word of a command line (NAMES_RULE). */
bool names_is_valid(const char *name);
/* Copies what a client calls itself; anything that is not printable ASCII becomes '?'. */
void names_copy_client(char client[NAMES_CLIENT_LEN], const char *text);

/*
 * A user or group by name or number. 0, -ENOENT when there is no such name, or what the name
 * service gave. They may ask the network: never on the control thread.
 */
int names_parse_user(const char *text, uid_t *ret_uid);
int names_parse_group(const char *text, gid_t *ret_gid);
/* The name, or the number in digits. */
void names_print_user(uid_t uid, char name[NAMES_USER_LEN]);
void names_print_group(gid_t gid, char name[NAMES_USER_LEN]);

void names_print_uuid(const uint8_t uuid[16], char text[NAMES_UUID_LEN]);
/* 32 digits without dashes, as in the names of the fd store. */
void names_print_uuid_hex(const uint8_t uuid[16], char text[33]);
int names_parse_uuid_hex(const char *text, uint8_t ret_uuid[16]);

#endif
