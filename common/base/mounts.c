/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mounts.h"

#include <errno.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>

char **dn_mounts_of_type(const char *type, GError **error)
{
	FILE *table = setmntent("/proc/self/mounts", "re");
	struct mntent entry;
	char text[8192];

	if (table == NULL) {
		dn_throw_errno(error, errno, "open /proc/self/mounts");
		return NULL;
	}
	GStrvBuilder *found = g_strv_builder_new();
	/* getmntent_r() undoes the \040 escapes of blanks in paths. */
	while (getmntent_r(table, &entry, text, sizeof(text)) != NULL)
		if (strcmp(entry.mnt_type, type) == 0)
			g_strv_builder_add(found, entry.mnt_dir);
	(void)endmntent(table);

	char **paths = g_strv_builder_end(found);
	g_strv_builder_unref(found);
	return paths;
}
