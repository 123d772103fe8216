/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest/manifest.h"

#include "manifest/check.h"

DnManifest *dn_manifest_read(GBytes *bytes, DnFaults *faults)
{
	g_autoptr(DnManifest) manifest = dn_manifest_new();
	g_autoptr(DnYamlNode) root = dn_yaml_load(bytes, faults);

	if (root != NULL) {
		dn_fields_read(root, dn_manifest_fields(), manifest, faults);
		dn_check_manifest(root, manifest, faults);
	}
	if (dn_faults_count(faults) > 0)
		return NULL;
	manifest->digest = g_compute_checksum_for_bytes(G_CHECKSUM_SHA256, bytes);
	if (manifest->removed) {
		g_clear_pointer(&manifest->image_ref, g_free);
		g_clear_pointer(&manifest->image_commit, g_free);
	}
	return g_steal_pointer(&manifest);
}

DnManifest *dn_manifest_parse(GBytes *bytes, const char *name, GError **error)
{
	g_autoptr(DnFaults) faults = dn_faults_new(name);
	g_autoptr(DnManifest) manifest = dn_manifest_read(bytes, faults);

	return dn_faults_raise(faults, error) ? g_steal_pointer(&manifest) : NULL;
}
