/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a node may do, as an OCI runtime configuration. Pure: reads nothing but its arguments. */

#include <json-glib/json-glib.h>
#include <stdbool.h>

#include "runtime/container.h"

typedef struct {
	const DnContainerSpec *spec;
	const char *cgroup_parent; /* of the instance */
	/*
	 * NULL: the image has /etc/hosts, or /etc is declared writable, and the file is bound
	 * there. Else a directory with nothing but hosts in it, laid over the image's /etc: the
	 * mount point of a file cannot be made in a read-only root.
	 */
	const char *etc_overlay;
	bool memfd_sealed; /* vm.memfd_noexec is there and will be set; else no memfd even with jit
			    */
} DnOciInput;

/* Fails with DN_ERROR_INVALID when a writable path or the working directory may not be one. */
JsonObject *dn_oci_config(const DnOciInput *input, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* True when @path is one of the manifest's writable paths or below one. */
bool dn_oci_is_writable(const DnManifest *manifest, const char *path);
