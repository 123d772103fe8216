/* SPDX-License-Identifier: Apache-2.0 */
#include "audit/text.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

char *dn_status_value(const char *status, const char *name)
{
	g_autofree char *key = g_strconcat(name, ":", NULL);
	size_t length = strlen(key);

	/* A process chooses its own name, but a line feed in it is shown as "\n". */
	for (const char *line = status; line != NULL && *line != '\0';) {
		const char *end = strchrnul(line, '\n');

		if (strncmp(line, key, length) == 0)
			return g_strstrip(g_strndup(line + length, (gsize)(end - line) - length));
		line = *end == '\n' ? end + 1 : end;
	}
	return NULL;
}

/* ---- mounts ---- */

static void free_mount(gpointer data)
{
	DnMount *mount = data;

	g_free(mount->root);
	g_free(mount->point);
	g_free(mount->options);
	g_free(mount->shared);
	g_free(mount->type);
	g_free(mount->super);
	g_free(mount);
}

/*
 * 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
 * id parent dev root point options [field…] - type source super
 */
static DnMount *parse_mount(const char *line)
{
	enum { ID, PARENT, DEVICE, ROOT, POINT, OPTIONS, FIELDS };
	g_auto(GStrv) words = g_strsplit(line, " ", -1);
	guint n = g_strv_length(words);
	guint dash = FIELDS;
	uint64_t id = 0;

	while (dash < n && strcmp(words[dash], "-") != 0)
		dash++;
	if (dash + 3 >= n || !dn_text_parse_u64(words[ID], UINT64_MAX, &id))
		return NULL;
	DnMount *mount = g_new0(DnMount, 1);
	GString *shared = g_string_new(NULL);
	for (guint i = FIELDS; i < dash; i++)
		g_string_append_printf(shared, "%s%s", shared->len > 0 ? " " : "", words[i]);
	mount->id = id;
	mount->root = g_strcompress(words[ROOT]);
	mount->point = g_strcompress(words[POINT]);
	mount->options = g_strdup(words[OPTIONS]);
	mount->shared = g_string_free(shared, FALSE);
	mount->type = g_strdup(words[dash + 1]);
	mount->super = g_strdup(words[dash + 3]);
	return mount;
}

GPtrArray *dn_mounts_parse(const char *mountinfo)
{
	GPtrArray *mounts = g_ptr_array_new_with_free_func(free_mount);
	g_auto(GStrv) lines = g_strsplit_set(mountinfo != NULL ? mountinfo : "", "\n", -1);

	for (guint i = 0; lines[i] != NULL; i++) {
		DnMount *mount = parse_mount(lines[i]);

		if (mount != NULL)
			g_ptr_array_add(mounts, mount);
	}
	return mounts;
}

char *dn_mount_value(const char *options, const char *option)
{
	g_auto(GStrv) words = g_strsplit(options, ",", -1);
	size_t length = strlen(option);

	for (guint i = 0; words[i] != NULL; i++)
		if (strncmp(words[i], option, length) == 0 && words[i][length] == '=')
			return g_strdup(words[i] + length + 1);
	return NULL;
}

bool dn_mount_has(const char *options, const char *option)
{
	g_auto(GStrv) words = g_strsplit(options, ",", -1);

	return g_strv_contains((const char *const *)words, option);
}

uint64_t dn_mount_size(const char *value)
{
	char *end = NULL;
	uint64_t number = g_ascii_strtoull(value, &end, 10);
	unsigned shift = *end == 'k' ? 10 : *end == 'm' ? 20 : *end == 'g' ? 30 : 0;

	if (end == value || (shift != 0 && end[1] != '\0') || (shift == 0 && *end != '\0') ||
	    number > UINT64_MAX >> shift)
		return 0;
	return number << shift;
}

/* ---- limits ---- */

/* "Max open files            1024                 4096                 files" */
bool dn_limit_of(const char *limits, const char *row, uint64_t *value)
{
	g_auto(GStrv) lines = g_strsplit_set(limits != NULL ? limits : "", "\n", -1);
	char soft[24];
	char hard[24];

	for (guint i = 0; lines[i] != NULL; i++) {
		if (!g_str_has_prefix(lines[i], row) ||
		    sscanf(lines[i] + strlen(row), "%23s %23s", soft, hard) != 2)
			continue;
		*value = UINT64_MAX;
		return strcmp(hard, "unlimited") == 0 || dn_text_parse_u64(hard, UINT64_MAX, value);
	}
	return false;
}

/* ---- sockets ---- */

/* "0100007F" is 127.0.0.1, and so is "…0000FFFF0100007F"; the kernel prints words as they lie. */
static bool is_loopback(const char *address)
{
	size_t length = strlen(address);
	static const char mapped[] = "0000000000000000FFFF0000";
	static const char one[] = "00000000000000000000000001000000";

	if (strcmp(address, one) == 0)
		return true;
	if (length == 32 && strncmp(address, mapped, strlen(mapped)) != 0)
		return false;
	return length >= 8 && strncmp(address + length - 2, "7F", 2) == 0;
}

GArray *dn_bound_sockets(const char *table, bool tcp)
{
	enum { LISTENING = 0x0a, UNCONNECTED = 0x07 };
	GArray *bound = g_array_new(FALSE, FALSE, sizeof(DnBound));
	g_auto(GStrv) lines = g_strsplit_set(table != NULL ? table : "", "\n", -1);

	for (guint i = 0; lines[i] != NULL; i++) {
		char local[33];
		unsigned port = 0;
		unsigned state = 0;

		if (sscanf(lines[i], " %*u: %32[0-9A-F]:%4x %*[0-9A-F]:%*4x %2x", local, &port,
			   &state) != 3 ||
		    state != (tcp ? LISTENING : UNCONNECTED) || port == 0)
			continue;
		DnBound one = {.port = (uint16_t)port, .loopback = is_loopback(local)};
		g_array_append_val(bound, one);
	}
	return bound;
}

unsigned dn_table_rows(const char *table)
{
	unsigned lines = 0;

	for (const char *at = table; at != NULL && *at != '\0';
	     at = strchrnul(at, '\n'), at += *at == '\n')
		lines++;
	return lines > 0 ? lines - 1 : 0;
}
