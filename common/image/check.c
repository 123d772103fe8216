/* SPDX-License-Identifier: Apache-2.0 */
#include "image/check.h"

#include <string.h>

#include "image/sign.h"
#include "seal/digest.h"
#include "seal/trust.h"

static bool is_bound(GBytes *commit_bytes, const char *ref, const char *commit, GError **error)
{
	g_auto(GStrv) refs = dn_image_bindings(commit_bytes, error);

	if (refs == NULL)
		return false;
	if (g_strv_contains((const gchar *const *)refs, ref))
		return true;
	if (refs[0] == NULL)
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "commit %s is bound to no ref, so it cannot be %s: build it again from "
			    "its recipe",
			    commit, ref);
	else
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "commit %s was built as %s, it cannot be used as %s", commit, refs[0],
			    ref);
	return false;
}

bool dn_image_check(const DnTrustPolicy *trust, const char *ref, const char *commit,
		    GBytes *commit_bytes, GBytes *metadata, GError **error)
{
	g_autofree char *digest = dn_digest_bytes(commit_bytes);

	if (!dn_image_is_ref(ref)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "%s is not a ref of an image", ref);
		return false;
	}
	if (strcmp(digest, commit) != 0) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "commit %s: its bytes have the checksum %s", commit, digest);
		return false;
	}
	g_autoptr(GPtrArray) signatures = dn_image_signatures(metadata, error);
	if (signatures == NULL)
		return false;
	return dn_trust_check_image(trust, ref, commit_bytes, signatures, error) &&
	       is_bound(commit_bytes, ref, commit, error);
}

bool dn_image_check_now(DnImageRepo *repo, const DnTrustPolicy *trust, const char *ref,
			const char *commit, GError **error)
{
	g_autoptr(GBytes) bytes = dn_image_commit_bytes_now(repo, commit, error);
	g_autoptr(GBytes) metadata =
		bytes != NULL ? dn_image_metadata_now(repo, commit, error) : NULL;

	return metadata != NULL && dn_image_check(trust, ref, commit, bytes, metadata, error);
}
