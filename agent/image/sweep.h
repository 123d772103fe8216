/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Looking for objects that this host's disk lost or changed. */

#include <glib.h>
#include <stdbool.h>

#include "image/repository.h"

/*
 * Hash every object of the `bare` repository @repo and remove those whose checksum is not their
 * name, so that the next pull brings them again. A checkout that hard-links a removed file keeps
 * it.
 */
bool dn_image_sweep(DnImageRepo *repo, unsigned *removed, GError **error) G_GNUC_WARN_UNUSED_RESULT;
