/* SPDX-License-Identifier: Apache-2.0 */
#include "forge.h"

#include <fcntl.h>
#include <ostree.h>
#include <string.h>
#include <sys/stat.h>

static void must(bool done, const GError *error)
{
	if (!done)
		g_error("%s", error != NULL ? error->message : "no error was set");
}

static GFileInfo *describe(GFileType type, unsigned mode, unsigned uid, goffset size)
{
	GFileInfo *info = g_file_info_new();

	g_file_info_set_file_type(info, type);
	g_file_info_set_size(info, size);
	g_file_info_set_attribute_uint32(info, "unix::uid", uid);
	g_file_info_set_attribute_uint32(info, "unix::gid", 0);
	g_file_info_set_attribute_uint32(info, "unix::mode", mode);
	return info;
}

static GVariant *capability(void)
{
	/* VFS_CAP_REVISION_2, cap_net_raw permitted */
	static const guint8 value[20] = {1, 0, 0, 2, 0, 32};
	GVariantBuilder builder;

	g_variant_builder_init(&builder, G_VARIANT_TYPE("a(ayay)"));
	g_variant_builder_add(
		&builder, "(@ay@ay)", g_variant_new_bytestring("security.capability"),
		g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, value, sizeof(value), 1));
	return g_variant_ref_sink(g_variant_builder_end(&builder));
}

static void put(OstreeRepo *repo, OstreeMutableTree *parent, const char *name,
		GInputStream *content, GFileInfo *info, GVariant *xattrs)
{
	g_autoptr(GInputStream) object = NULL;
	g_autoptr(GError) error = NULL;
	g_autofree guchar *raw = NULL;
	guint64 length = 0;

	must(ostree_raw_file_to_content_stream(content, info, xattrs, &object, &length, NULL,
					       &error),
	     error);
	must(ostree_repo_write_content(repo, NULL, object, length, &raw, NULL, &error), error);
	g_autofree char *checksum = ostree_checksum_from_bytes(raw);
	must(ostree_mutable_tree_replace_file(parent, name, checksum, &error), error);
}

static OstreeMutableTree *put_directory(OstreeRepo *repo, OstreeMutableTree *parent,
					const char *name)
{
	g_autoptr(GFileInfo) info = describe(G_FILE_TYPE_DIRECTORY, S_IFDIR | 0755, 0, 0);
	g_autoptr(GVariant) meta = g_variant_ref_sink(ostree_create_directory_metadata(info, NULL));
	OstreeMutableTree *made = g_object_ref(parent);
	g_autoptr(GError) error = NULL;
	g_autofree guchar *raw = NULL;

	if (name != NULL) {
		g_clear_object(&made);
		must(ostree_mutable_tree_ensure_dir(parent, name, &made, &error), error);
	}
	must(ostree_repo_write_metadata(repo, OSTREE_OBJECT_TYPE_DIR_META, NULL, meta, &raw, NULL,
					&error),
	     error);
	g_autofree char *checksum = ostree_checksum_from_bytes(raw);
	ostree_mutable_tree_set_metadata_checksum(made, checksum);
	return made;
}

static void put_mount_point(OstreeRepo *repo, OstreeMutableTree *root, const char *name,
			    const Forgery *forgery)
{
	if (g_strcmp0(forgery->absent, name) == 0)
		return;
	if (g_strcmp0(forgery->link, name) == 0) {
		g_autoptr(GFileInfo) link =
			describe(G_FILE_TYPE_SYMBOLIC_LINK, S_IFLNK | 0777, 0, 0);

		g_file_info_set_attribute_byte_string(link, "standard::symlink-target", "/bin");
		put(repo, root, name, NULL, link, NULL);
		return;
	}
	g_autoptr(OstreeMutableTree) directory = put_directory(repo, root, name);
	if (strcmp(name, "etc") == 0 && !forgery->without_hosts) {
		g_autoptr(GFileInfo) info = describe(G_FILE_TYPE_REGULAR, S_IFREG | 0644, 0, 0);
		g_autoptr(GInputStream) nothing = g_memory_input_stream_new();

		put(repo, directory, "hosts", nothing, info, NULL);
	}
}

static char *commit_tree(OstreeRepo *repo, OstreeMutableTree *root, const char *ref)
{
	const char *refs[] = {ref, NULL};
	g_autoptr(GFile) tree = NULL;
	g_autoptr(GError) error = NULL;
	char *commit = NULL;
	GVariantDict metadata;

	g_variant_dict_init(&metadata, NULL);
	if (ref != NULL)
		g_variant_dict_insert_value(&metadata, OSTREE_COMMIT_META_KEY_REF_BINDING,
					    g_variant_new_strv(refs, 1));
	g_autoptr(GVariant) dictionary = g_variant_ref_sink(g_variant_dict_end(&metadata));
	must(ostree_repo_write_mtree(repo, root, &tree, NULL, &error), error);
	must(ostree_repo_write_commit_with_time(repo, NULL, "", "", dictionary,
						OSTREE_REPO_FILE(tree), 0, &commit, NULL, &error),
	     error);
	return commit;
}

char *forge(const char *repo_path, const Forgery *forgery)
{
	static const char *const mount_points[] = {"dev", "proc", "sys", "etc", "tmp", "run"};
	g_autoptr(GError) error = NULL;
	g_autoptr(OstreeRepo) repo = ostree_repo_open_at(AT_FDCWD, repo_path, NULL, &error);
	g_autoptr(OstreeMutableTree) root = ostree_mutable_tree_new();

	must(repo != NULL, error);
	must(ostree_repo_prepare_transaction(repo, NULL, NULL, &error), error);
	g_object_unref(put_directory(repo, root, NULL));
	for (size_t i = 0; i < G_N_ELEMENTS(mount_points); i++)
		put_mount_point(repo, root, mount_points[i], forgery);
	{
		unsigned mode = forgery->file_mode != 0 ? forgery->file_mode : 0755;
		g_autoptr(OstreeMutableTree) bin = put_directory(repo, root, "bin");
		g_autoptr(GFileInfo) info =
			describe(G_FILE_TYPE_REGULAR, S_IFREG | mode, forgery->file_uid, 3);
		g_autoptr(GInputStream) content =
			g_memory_input_stream_new_from_data("app", 3, NULL);
		g_autoptr(GVariant) xattrs = forgery->capability ? capability() : NULL;

		put(repo, bin, "app", content, info, xattrs);
	}
	char *commit = commit_tree(repo, root, forgery->ref);
	must(ostree_repo_commit_transaction(repo, NULL, NULL, &error), error);
	return commit;
}
