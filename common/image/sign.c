/* SPDX-License-Identifier: Apache-2.0 */
#include "image/sign.h"

#include <string.h>

#include "image/repository-ostree.h"

#define SIGNATURES_KEY "ostree.sign.ed25519"

GBytes *dn_image_commit_bytes_now(DnImageRepo *repo, const char *commit, GError **error)
{
	if (!dn_image_is_commit(commit)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "%s is not a commit: 64 lower-case hexadecimal digits", commit);
		return NULL;
	}
	g_autoptr(GVariant) object =
		dn_image_load_variant(repo, OSTREE_OBJECT_TYPE_COMMIT, commit, error);
	return object != NULL ? g_variant_get_data_as_bytes(object) : NULL;
}

GBytes *dn_image_metadata_now(DnImageRepo *repo, const char *commit, GError **error)
{
	g_autoptr(GVariant) metadata = NULL;

	if (!ostree_repo_read_commit_detached_metadata(dn_image_repo_ostree(repo), commit,
						       &metadata, NULL, error))
		return NULL;
	return metadata != NULL ? g_variant_get_data_as_bytes(metadata) : g_bytes_new_static("", 0);
}

/* Bytes of any origin as a{sv}, or NULL. */
static GVariant *parse_metadata(GBytes *metadata, GError **error)
{
	if (g_bytes_get_size(metadata) > DN_IMAGE_METADATA_LIMIT) {
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
			    "signatures of the image: more than %d bytes", DN_IMAGE_METADATA_LIMIT);
		return NULL;
	}
	/* A copy: GVariant wants its bytes aligned. */
	g_autoptr(GBytes) copy =
		g_bytes_new(g_bytes_get_data(metadata, NULL), g_bytes_get_size(metadata));
	g_autoptr(GVariant) parsed =
		g_variant_ref_sink(g_variant_new_from_bytes(G_VARIANT_TYPE_VARDICT, copy, FALSE));
	if (!g_variant_is_normal_form(parsed)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "signatures of the image: not a dictionary in normal form");
		return NULL;
	}
	return g_steal_pointer(&parsed);
}

static GPtrArray *signatures_in(GVariant *dictionary, GError **error)
{
	g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
	g_autoptr(GVariant) list =
		g_variant_lookup_value(dictionary, SIGNATURES_KEY, G_VARIANT_TYPE("aay"));
	gsize n = list != NULL ? g_variant_n_children(list) : 0;

	if (n > DN_IMAGE_SIGNATURES_LIMIT) {
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
			    "the image has %" G_GSIZE_FORMAT " signatures, at most %d", n,
			    DN_IMAGE_SIGNATURES_LIMIT);
		return NULL;
	}
	for (gsize i = 0; i < n; i++) {
		g_autoptr(GVariant) one = g_variant_get_child_value(list, i);
		gsize size = 0;
		const void *data = g_variant_get_fixed_array(one, &size, 1);

		/* One of another length is no ed25519 signature and convinces nobody. */
		if (size == DN_SIGNATURE_BYTES)
			g_ptr_array_add(found, g_bytes_new(data, size));
	}
	return g_steal_pointer(&found);
}

GPtrArray *dn_image_signatures(GBytes *metadata, GError **error)
{
	g_autoptr(GVariant) dictionary = parse_metadata(metadata, error);

	return dictionary != NULL ? signatures_in(dictionary, error) : NULL;
}

/* @dictionary with @signatures in place of those it had. */
static GVariant *with_signatures(GVariant *dictionary, const GPtrArray *signatures)
{
	GVariantBuilder list;
	GVariantDict changed;

	g_variant_builder_init(&list, G_VARIANT_TYPE("aay"));
	for (guint i = 0; i < signatures->len; i++)
		g_variant_builder_add_value(&list,
					    g_variant_new_from_bytes(G_VARIANT_TYPE_BYTESTRING,
								     signatures->pdata[i], TRUE));
	g_variant_dict_init(&changed, dictionary);
	g_variant_dict_insert_value(&changed, SIGNATURES_KEY, g_variant_builder_end(&list));
	return g_variant_ref_sink(g_variant_dict_end(&changed));
}

static bool has(const GPtrArray *signatures, GBytes *one)
{
	for (guint i = 0; i < signatures->len; i++)
		if (g_bytes_equal(signatures->pdata[i], one))
			return true;
	return false;
}

bool dn_image_add_signatures_now(DnImageRepo *repo, const char *commit, const GPtrArray *signatures,
				 GError **error)
{
	g_autoptr(GBytes) metadata = dn_image_metadata_now(repo, commit, error);
	g_autoptr(GVariant) dictionary = metadata != NULL ? parse_metadata(metadata, error) : NULL;
	g_autoptr(GPtrArray) all = dictionary != NULL ? signatures_in(dictionary, error) : NULL;

	if (all == NULL)
		return false;
	guint before = all->len;
	for (guint i = 0; i < signatures->len; i++)
		if (!has(all, signatures->pdata[i]))
			g_ptr_array_add(all, g_bytes_ref(signatures->pdata[i]));
	if (all->len == before)
		return true;
	if (all->len > DN_IMAGE_SIGNATURES_LIMIT) {
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
			    "commit %s would have %u signatures, at most %d", commit, all->len,
			    DN_IMAGE_SIGNATURES_LIMIT);
		return false;
	}
	g_autoptr(GVariant) changed = with_signatures(dictionary, all);
	return ostree_repo_write_commit_detached_metadata(dn_image_repo_ostree(repo), commit,
							  changed, NULL, error);
}

bool dn_image_sign_now(DnImageRepo *repo, const char *commit, const DnSecretKey *key,
		       GError **error)
{
	g_autoptr(GPtrArray) one = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
	g_autoptr(GBytes) bytes = dn_image_commit_bytes_now(repo, commit, error);
	uint8_t signature[DN_SIGNATURE_BYTES];

	if (bytes == NULL)
		return false;
	/* Ed25519 signs the same bytes the same way each time, so a second one is no addition. */
	dn_secret_key_sign(key, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), signature);
	g_ptr_array_add(one, g_bytes_new(signature, sizeof(signature)));
	return dn_image_add_signatures_now(repo, commit, one, error);
}

char **dn_image_bindings(GBytes *commit_bytes, GError **error)
{
	g_autoptr(GBytes) copy =
		g_bytes_new(g_bytes_get_data(commit_bytes, NULL), g_bytes_get_size(commit_bytes));
	g_autoptr(GVariant) commit = g_variant_ref_sink(
		g_variant_new_from_bytes(OSTREE_COMMIT_GVARIANT_FORMAT, copy, FALSE));

	if (!g_variant_is_normal_form(commit) ||
	    !ostree_validate_structureof_commit(commit, NULL)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "the commit is malformed");
		return NULL;
	}
	g_autoptr(GVariant) metadata = g_variant_get_child_value(commit, 0);
	g_autoptr(GVariant) refs = g_variant_lookup_value(
		metadata, OSTREE_COMMIT_META_KEY_REF_BINDING, G_VARIANT_TYPE_STRING_ARRAY);
	if (refs == NULL)
		return g_new0(char *, 1);
	return g_variant_dup_strv(refs, NULL);
}
