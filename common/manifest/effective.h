/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a manifest comes to: with its image's defaults, as text for people, and compared with
 * another one. Pure.
 */

#include <glib.h>

#include "model/manifest.h"

enum { DN_RUN_FALLBACK_UID = 65534 }; /* when neither manifest nor image names a user */

/*
 * Fill the unset @result with what a node is run with. The manifest overrides the image's
 * @defaults (or NULL) key by key: args, cwd and user as a whole, env variable by variable.
 * Everything else comes from the manifest alone, whatever the image says. Without either, cwd
 * is "/", the user DN_RUN_FALLBACK_UID, env empty, and args stays NULL: the caller refuses that.
 */
void dn_run_effective(const DnRun *manifest, const DnRun *defaults, DnRun *result);

/*
 * The whole manifest as YAML that parses to the same values, one value a line, each followed by
 * where it comes from when that is not the manifest: "# image" or "# default". "# default" says
 * that the value is the default; a manifest may have spelt it out. @image is what the image
 * gives, or NULL.
 */
char *dn_manifest_render(const DnManifest *self, const DnRun *image) G_GNUC_WARN_UNUSED_RESULT;

/*
 * What changes from @before (NULL: there was none) to @after, as lines for people such as
 * "replicas: 3 -> 5"; empty when both mean the same.
 */
GPtrArray *dn_manifest_changes(const DnManifest *before,
			       const DnManifest *after) G_GNUC_WARN_UNUSED_RESULT;
