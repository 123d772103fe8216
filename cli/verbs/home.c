/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/home.h"

#include "base/file.h"
#include "manifest/trust-file.h"

char *dn_home_path(const DnCall *call, const char *name, GError **error)
{
	g_autofree char *home = dn_call_home(call, error);

	return home != NULL ? g_build_filename(home, name, NULL) : NULL;
}

DnTrustPolicy *dn_home_trust(const DnCall *call, char **path, GError **error)
{
	g_autofree char *file = dn_home_path(call, "trust.yaml", error);
	g_autoptr(GBytes) bytes =
		file != NULL ? dn_file_read(file, DN_HOME_FILE_LIMIT, error) : NULL;
	DnTrustPolicy *policy = bytes != NULL ? dn_trust_file_parse(bytes, file, error) : NULL;

	if (policy != NULL && path != NULL)
		*path = g_steal_pointer(&file);
	return policy;
}

char *dn_home_repo(const DnCall *call, GError **error)
{
	const char *named = dn_call_option(call, "repo");

	return named != NULL ? g_strdup(named) : dn_home_path(call, "repo", error);
}
