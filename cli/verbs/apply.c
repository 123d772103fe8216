/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/file.h"
#include "seal/minisign.h"
#include "seal/trust.h"
#include "verbs/all.h"
#include "verbs/named.h"
#include "verbs/submit.h"

static int compare_names(gconstpointer a, gconstpointer b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The signature files beside FILE: FILE.minisig and FILE.ANYTHING.minisig, one a signer. */
static GPtrArray *find_signatures(const char *path, GError **error)
{
	g_autofree char *directory = g_path_get_dirname(path);
	g_autofree char *base = g_path_get_basename(path);
	g_autofree char *prefix = g_strconcat(base, ".", NULL);
	g_autoptr(GDir) dir = g_dir_open(directory, 0, error);
	g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func(g_free);
	const char *name;

	if (dir == NULL)
		return NULL;
	while ((name = g_dir_read_name(dir)) != NULL)
		if (g_str_has_prefix(name, prefix) && g_str_has_suffix(name, ".minisig"))
			g_ptr_array_add(found, g_build_filename(directory, name, NULL));
	g_ptr_array_sort(found, compare_names);
	return g_steal_pointer(&found);
}

static GPtrArray *load_signatures(const char *path, GError **error)
{
	g_autoptr(GPtrArray) paths = find_signatures(path, error);
	g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);

	if (paths == NULL)
		return NULL;
	for (unsigned i = 0; i < paths->len; i++) {
		GBytes *bytes = dn_file_read(paths->pdata[i], DN_MINISIGN_LIMIT, error);
		if (bytes == NULL)
			return NULL;
		g_ptr_array_add(list, bytes);
	}
	return g_steal_pointer(&list);
}

static bool run(DnCall *call, GError **error)
{
	const char *path = dn_call_operand(call, 0);
	g_autoptr(GBytes) bytes = dn_named_read(path, DN_MANIFEST_BYTES_LIMIT, error);
	g_autoptr(GPtrArray) signatures = bytes != NULL ? load_signatures(path, error) : NULL;

	if (signatures == NULL)
		return false;
	if (signatures->len == 0 && !dn_call_has(call, "key")) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "%s is not signed: give --key, or sign it first with 'dnode manifest "
			    "sign %s --key KEY'",
			    path, path);
		return false;
	}
	return dn_submit(call, &(DnSubmission){bytes, path, signatures}, error);
}

const DnVerb dn_verb_apply = {
	.noun = "apply",
	.operands = "FILE",
	.least = 1,
	.most = 1,
	.help = "declare a service by its signed manifest",
	.more = "Takes the signatures in FILE.minisig and FILE.*.minisig, and one by each --key.\n"
		"With --key, those beside FILE that are of another epoch are left out.\n"
		"Every host verifies them again before it starts anything.",
	.many = "key",
	.options = {{"key", "KEY", DN_KEYS_HELP("deploy")},
		    {"plan", NULL, "only show what would change"},
		    {"wait", NULL, "until every node is ready"}},
	.run = run,
};
