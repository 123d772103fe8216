/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* cluster.yaml (docs/formats/cluster.md). */

#include <glib.h>

#include "base/error.h"
#include "model/cluster.h"

/* Fails with DN_ERROR_INVALID and one line a fault. "advertise" is filled in with "listen". */
DnCluster *dn_cluster_file_parse(GBytes *bytes, const char *name,
				 GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A file with comments that parses to @cluster. */
GBytes *dn_cluster_file_render(const DnCluster *cluster) G_GNUC_WARN_UNUSED_RESULT;
