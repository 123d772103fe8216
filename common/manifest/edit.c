/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest/edit.h"

#include "manifest/manifest.h"
#include "manifest/patch.h"

static bool take_epoch(const DnManifest *before, const DnManifestEdit *edit, uint64_t *epoch,
		       const char *name, GError **error)
{
	*epoch = edit->epoch != 0 ? edit->epoch : before->epoch + 1;
	if (*epoch > before->epoch && *epoch <= DN_EPOCH_LIMIT)
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
		    "%s: epoch %" G_GUINT64_FORMAT " cannot follow %" G_GUINT64_FORMAT
		    "; epochs only grow, up to 2^53-1",
		    name, *epoch, before->epoch);
	return false;
}

static void set_key(DnPatch *patch, const DnYamlNode *root, const char *key, const char *value)
{
	const DnYamlNode *node = dn_yaml_get(root, key);

	if (node != NULL)
		dn_patch_replace(patch, node, value);
	else
		dn_patch_add_key(patch, root, dn_yaml_get(root, "epoch"), key, value);
}

static bool set_commit(DnPatch *patch, const DnYamlNode *root, const char *commit, const char *name,
		       GError **error)
{
	const DnYamlNode *node = dn_yaml_get(dn_yaml_get(root, "image"), "commit");

	if (node == NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "%s: there is no image whose commit could be changed", name);
		return false;
	}
	dn_patch_replace(patch, node, commit);
	return true;
}

/* Another image replaces every node by itself. */
static bool must_say_restart(const DnManifest *before, const DnManifestEdit *edit)
{
	return edit->restart &&
	       (edit->commit == NULL || g_strcmp0(edit->commit, before->image_commit) == 0);
}

/* Whether @after is what @edit makes of @before, as far as it was to change. */
static bool is_edited(const DnManifest *before, const DnManifestEdit *edit, uint64_t epoch,
		      const DnManifest *after)
{
	const char *commit = edit->commit != NULL ? edit->commit : before->image_commit;
	uint32_t replicas = edit->replicas >= 0 ? (uint32_t)edit->replicas : before->replicas;
	bool removed = edit->state_removed || before->removed;

	return g_str_equal(after->service, before->service) && after->epoch == epoch &&
	       after->removed == removed && after->replicas == replicas &&
	       after->restart == before->restart + (must_say_restart(before, edit) ? 1 : 0) &&
	       (removed || g_strcmp0(after->image_commit, commit) == 0);
}

GBytes *dn_manifest_edit(GBytes *bytes, const char *name, const DnManifestEdit *edit,
			 GError **error)
{
	g_autoptr(DnManifest) before = dn_manifest_parse(bytes, name, error);
	uint64_t epoch = 0;

	if (before == NULL || !take_epoch(before, edit, &epoch, name, error))
		return NULL;
	g_autoptr(DnFaults) faults = dn_faults_new(name);
	g_autoptr(DnYamlNode) root = dn_yaml_load(bytes, faults);
	g_autoptr(DnPatch) patch = dn_patch_new(bytes);
	g_autofree char *number = g_strdup_printf("%" G_GUINT64_FORMAT, epoch);
	g_autofree char *replicas = g_strdup_printf("%" G_GINT64_FORMAT, edit->replicas);
	g_autofree char *restart = g_strdup_printf("%" G_GUINT64_FORMAT, before->restart + 1);
	set_key(patch, root, "epoch", number);
	if (edit->state_removed)
		set_key(patch, root, "state", "removed");
	if (edit->replicas >= 0)
		set_key(patch, root, "replicas", replicas);
	if (must_say_restart(before, edit))
		set_key(patch, root, "restart", restart);
	if (edit->commit != NULL && !set_commit(patch, root, edit->commit, name, error))
		return NULL;

	g_autoptr(GBytes) edited = dn_patch_apply(patch);
	g_autoptr(DnManifest) after = dn_manifest_parse(edited, name, error);
	if (after == NULL) {
		g_prefix_error(error, "after the change: ");
		return NULL;
	}
	if (!is_edited(before, edit, epoch, after)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "%s: written in a way that cannot be edited; change it by hand", name);
		return NULL;
	}
	return g_steal_pointer(&edited);
}
