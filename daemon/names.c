/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/names.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>

#include "daemon/quantity.h"

/* What one entry of the user or group database may need; a group has a list of members. */
enum {
	NAMES_BUF_MAX = 1 << 20
};

static bool names_char_is_valid(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '.' || c == '_' || c == '-';
}

bool names_is_valid(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > NAMES_STREAM_MAX || name[0] == '.')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!names_char_is_valid(name[i]))
			return false;
	return true;
}

void names_copy_client(char client[NAMES_CLIENT_LEN], const char *text)
{
	size_t i;

	for (i = 0; i < NAMES_CLIENT_LEN - 1 && text[i] != '\0'; i++)
		client[i] = (char)(text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?');
	client[i] = '\0';
}

/* The id of the word, as the C library's _r functions give it in a buffer that suffices. */
static int names_find_user(const char *name, uid_t uid, char *ret_name, uid_t *ret_uid)
{
	for (size_t len = 1024; len <= NAMES_BUF_MAX; len *= 4) {
		cleanup_with(free_ptr) char *buf = malloc(len);
		struct passwd entry, *found = NULL;
		int r;

		if (!buf)
			return -ENOMEM;
		r = name ? getpwnam_r(name, &entry, buf, len, &found)
			 : getpwuid_r(uid, &entry, buf, len, &found);
		if (r == ERANGE)
			continue;
		if (!found)
			return r == 0 ? -ENOENT : -r;
		if (ret_name)
			snprintf(ret_name, NAMES_USER_LEN, "%s", found->pw_name);
		*ret_uid = found->pw_uid;
		return 0;
	}
	return -ERANGE;
}

static int names_find_group(const char *name, gid_t gid, char *ret_name, gid_t *ret_gid)
{
	for (size_t len = 1024; len <= NAMES_BUF_MAX; len *= 4) {
		cleanup_with(free_ptr) char *buf = malloc(len);
		struct group entry, *found = NULL;
		int r;

		if (!buf)
			return -ENOMEM;
		r = name ? getgrnam_r(name, &entry, buf, len, &found)
			 : getgrgid_r(gid, &entry, buf, len, &found);
		if (r == ERANGE)
			continue;
		if (!found)
			return r == 0 ? -ENOENT : -r;
		if (ret_name)
			snprintf(ret_name, NAMES_USER_LEN, "%s", found->gr_name);
		*ret_gid = found->gr_gid;
		return 0;
	}
	return -ERANGE;
}

int names_parse_user(const char *text, uid_t *ret_uid)
{
	uint64_t number;

	/* The largest number means "no user" to the kernel. */
	if (quantity_parse_number(text, UINT32_MAX - 1, &number) == 0) {
		*ret_uid = (uid_t)number;
		return 0;
	}
	return names_find_user(text, 0, NULL, ret_uid);
}

int names_parse_group(const char *text, gid_t *ret_gid)
{
	uint64_t number;

	if (quantity_parse_number(text, UINT32_MAX - 1, &number) == 0) {
		*ret_gid = (gid_t)number;
		return 0;
	}
	return names_find_group(text, 0, NULL, ret_gid);
}

void names_print_user(uid_t uid, char name[NAMES_USER_LEN])
{
	uid_t found;

	if (names_find_user(NULL, uid, name, &found) < 0)
		snprintf(name, NAMES_USER_LEN, "%u", uid);
}

void names_print_group(gid_t gid, char name[NAMES_USER_LEN])
{
	gid_t found;

	if (names_find_group(NULL, gid, name, &found) < 0)
		snprintf(name, NAMES_USER_LEN, "%u", gid);
}

void names_print_uuid_hex(const uint8_t uuid[16], char text[33])
{
	for (int i = 0; i < 16; i++)
		snprintf(text + 2 * i, 3, "%02x", uuid[i]);
}

void names_print_uuid(const uint8_t uuid[16], char text[NAMES_UUID_LEN])
{
	char hex[33];

	names_print_uuid_hex(uuid, hex);
	snprintf(text, NAMES_UUID_LEN, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12,
		 hex + 16, hex + 20);
}

static int names_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int names_parse_uuid_hex(const char *text, uint8_t ret_uuid[16])
{
	uint8_t uuid[16];

	for (int i = 0; i < 16; i++) {
		int high = names_hex_digit(text[2 * i]);
		int low = high < 0 ? -1 : names_hex_digit(text[2 * i + 1]);

		if (low < 0)
			return -EINVAL;
		uuid[i] = (uint8_t)(high << 4 | low);
	}
	memcpy(ret_uuid, uuid, 16);
	return 0;
}
