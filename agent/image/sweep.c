/* SPDX-License-Identifier: Apache-2.0 */
#include "image/sweep.h"

#include "base/fd.h"
#include "image/identity.h"
#include "image/repository-ostree.h"

static bool is_good_file(DnImageRepo *repo, const char *checksum)
{
	g_autofree char *path = g_strdup_printf("objects/%.2s/%s.file", checksum, checksum + 2);
	g_autoptr(DnDigest) digest = dn_digest_new();
	g_autofree char *found =
		dn_image_identity(ostree_repo_get_dfd(dn_image_repo_ostree(repo)), path,
				  &(DnImageReader){.digest = digest}, NULL, NULL);

	return g_strcmp0(found, checksum) == 0;
}

static bool is_good_variant(DnImageRepo *repo, OstreeObjectType type, const char *checksum)
{
	g_autoptr(GVariant) object = dn_image_load_variant(repo, type, checksum, NULL);

	return object != NULL;
}

bool dn_image_sweep(DnImageRepo *repo, unsigned *removed, GError **error)
{
	OstreeRepo *ostree = dn_image_repo_ostree(repo);
	g_autoptr(GHashTable) objects = NULL;
	GHashTableIter iter;
	gpointer name = NULL;

	*removed = 0;
	if (!ostree_repo_list_objects(ostree, OSTREE_REPO_LIST_OBJECTS_LOOSE, &objects, NULL,
				      error))
		return false;
	g_hash_table_iter_init(&iter, objects);
	while (g_hash_table_iter_next(&iter, &name, NULL)) {
		const char *checksum = NULL;
		OstreeObjectType type;

		ostree_object_name_deserialize(name, &checksum, &type);
		bool good = type == OSTREE_OBJECT_TYPE_FILE ? is_good_file(repo, checksum)
							    : is_good_variant(repo, type, checksum);
		/* A commit is brought and judged before content; it is not for the sweep to take.
		 */
		if (good || type == OSTREE_OBJECT_TYPE_COMMIT)
			continue;
		if (!ostree_repo_delete_object(ostree, type, checksum, NULL, error))
			return false;
		*removed += 1;
	}
	return true;
}
