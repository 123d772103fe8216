/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/fuzz.h"
#include "manifest/trust-file.h"

/* What parses can also be edited, and still parses. */
static void edit(GBytes *bytes)
{
	DnTrustedKey key = {.name = (char *)"added", .role = DN_KEY_DEPLOY, .key = {1}};
	GError *error = NULL;
	g_autoptr(GBytes) edited =
		dn_trust_file_add_key(bytes, "input.yaml", &key, "web-*", &error);

	fuzz_judge(edited != NULL, error);
	if (edited == NULL)
		return;
	error = NULL;
	g_autoptr(DnTrustPolicy) again = dn_trust_file_parse(edited, "edited.yaml", &error);
	g_assert(again != NULL && dn_trust_policy_find_key(again, "added") != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(GBytes) bytes = g_bytes_new(data, size);
	GError *error = NULL;
	g_autoptr(DnTrustPolicy) parsed = dn_trust_file_parse(bytes, "input.yaml", &error);

	if (parsed != NULL)
		edit(bytes);
	fuzz_judge(parsed != NULL, error);
	return 0;
}
