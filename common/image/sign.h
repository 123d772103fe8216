/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Signatures of a commit, in libostree's own place and format: detached metadata
 * `ostree.sign.ed25519` (aay), each a raw ed25519 signature over the bytes of the commit object.
 */

#include <glib.h>
#include <stdbool.h>

#include "image/repository.h"
#include "seal/keys.h"

/* Add @key's signature of @commit. Signing twice with one key adds nothing. */
bool dn_image_sign_now(DnImageRepo *repo, const char *commit, const DnSecretKey *key,
		       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Add @signatures (GBytes of 64 bytes), made elsewhere, to those that @commit has. */
bool dn_image_add_signatures_now(DnImageRepo *repo, const char *commit, const GPtrArray *signatures,
				 GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The bytes that are signed; they were hashed and do have the id @commit. */
GBytes *dn_image_commit_bytes_now(DnImageRepo *repo, const char *commit,
				  GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The serialised detached metadata of @commit; empty bytes when it has none. */
GBytes *dn_image_metadata_now(DnImageRepo *repo, const char *commit,
			      GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The signatures in serialised detached metadata, of any origin: an array of GBytes. */
GPtrArray *dn_image_signatures(GBytes *metadata, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The refs that the signed bytes themselves name (`ostree.ref-binding`). */
char **dn_image_bindings(GBytes *commit_bytes, GError **error) G_GNUC_WARN_UNUSED_RESULT;
