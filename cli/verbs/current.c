/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/current.h"

#include <errno.h>
#include <unistd.h>

#include "manifest/manifest.h"
#include "seal/trust.h"
#include "verbs/home.h"
#include "wire/records.h"

GBytes *dn_current_fetch(DnHttp *http, const char *service, GPtrArray *signatures, GError **error)
{
	g_autofree char *name = dn_http_escape(service);
	g_autofree char *path = g_strdup_printf("/v1/services/%s/manifest", name);
	g_autoptr(JsonObject) answer = dn_http_get(http, path, error);
	GError *failed = NULL;

	if (answer == NULL)
		return NULL;
	g_autoptr(GBytes) bytes =
		dn_json_base64(answer, "manifest", DN_MANIFEST_BYTES_LIMIT, &failed);
	/* To leave them out is one way to hand over what nobody has signed. */
	if (signatures != NULL && json_object_has_member(answer, "signatures"))
		dn_record_read_signatures(answer, signatures, &failed);
	if (failed == NULL)
		return g_steal_pointer(&bytes);
	g_propagate_prefixed_error(error, failed, "the supervisor's answer: ");
	return NULL;
}

static bool refuse(const char *service, const char *why, GError **error)
{
	g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
		    "what the supervisor calls the manifest of %s is not trusted: %s", service,
		    why);
	return false;
}

bool dn_current_check(const DnTrustPolicy *policy, const char *service, GBytes *bytes,
		      GPtrArray *signatures, GError **error)
{
	g_autofree char *signed_service = NULL;
	uint64_t signed_epoch = 0;
	g_autoptr(GError) cause = NULL;

	/* Signatures first; what is not trusted is not even parsed. */
	if (!dn_trust_verify_manifest(policy, bytes, signatures, &signed_service, &signed_epoch,
				      &cause))
		return refuse(service, cause->message, error);
	if (!g_str_equal(signed_service, service)) {
		g_autofree char *why =
			g_strdup_printf("it was signed as one of %s", signed_service);
		return refuse(service, why, error);
	}
	g_autoptr(DnManifest) manifest = dn_manifest_parse(bytes, service, error);
	if (manifest == NULL)
		return false;
	if (g_str_equal(manifest->service, service) && manifest->epoch == signed_epoch)
		return true;
	g_autofree char *why =
		g_strdup_printf("it is of %s, epoch %" G_GUINT64_FORMAT
				", but was signed as %s, epoch %" G_GUINT64_FORMAT,
				manifest->service, manifest->epoch, signed_service, signed_epoch);
	return refuse(service, why, error);
}

/* The home's trust file; *@path, owned by the caller, is where it is. */
static DnTrustPolicy *load_trust(const DnCall *call, char **path, GError **error)
{
	g_autoptr(GError) no_home = NULL;
	g_autofree char *expected = dn_home_path(call, "trust.yaml", &no_home);

	if (expected != NULL && (access(expected, F_OK) == 0 || errno != ENOENT))
		return dn_home_trust(call, path, error);
	g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
		    "%s: without the cluster's trust file nobody can judge what the supervisor "
		    "calls in force, and it is not signed; copy trust.yaml there from who made the "
		    "cluster, or name its directory with --home",
		    expected != NULL ? expected : "no cluster directory");
	return NULL;
}

GBytes *dn_current_trusted(const DnCall *call, DnHttp *http, const char *service, GError **error)
{
	g_autoptr(GPtrArray) signatures =
		g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
	g_autofree char *path = NULL;
	g_autoptr(DnTrustPolicy) policy = load_trust(call, &path, error);
	g_autoptr(GBytes) bytes =
		policy != NULL ? dn_current_fetch(http, service, signatures, error) : NULL;
	g_autoptr(GError) cause = NULL;

	if (bytes == NULL)
		return NULL;
	if (dn_current_check(policy, service, bytes, signatures, &cause))
		return g_steal_pointer(&bytes);
	if (!g_error_matches(cause, DN_ERROR, DN_ERROR_UNTRUSTED)) {
		g_propagate_error(error, g_steal_pointer(&cause));
		return NULL;
	}
	g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
		    "%s; nothing was signed: unless %s is out of date, look at the supervisor, and "
		    "apply a file of your own",
		    cause->message, path);
	return NULL;
}
