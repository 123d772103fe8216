/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The manifest of a service, from its bytes. docs/formats/manifest.md is the language,
 * manifests/README.md teaches it. Verify the signatures of the bytes first, then parse them.
 */

#include <glib.h>

#include "base/error.h"
#include "manifest/fields.h"
#include "model/manifest.h"

/*
 * Fails with DN_ERROR_INVALID and one line for everything that is wrong, each beginning with
 * @name:LINE:COLUMN. The result has every default filled in (run's that an image may give stay
 * unset) and a probe whose port is resolved. Of a manifest with state: removed the image is
 * forgotten, so that nothing can be started from it.
 */
DnManifest *dn_manifest_parse(GBytes *bytes, const char *name,
			      GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The same for who wants the faults one by one: NULL, and at least one in @faults, which is new. */
DnManifest *dn_manifest_read(GBytes *bytes, DnFaults *faults) G_GNUC_WARN_UNUSED_RESULT;

/* The whole schema: every key, honoured or reserved. Offsets are into DnManifest. */
const DnField *dn_manifest_fields(void);
