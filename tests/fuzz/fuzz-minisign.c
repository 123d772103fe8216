/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/fuzz.h"
#include "seal/minisign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t key[DN_PUBLIC_KEY_BYTES] = {1};
	g_autoptr(GBytes) bytes = g_bytes_new(data, size);
	GError *error = NULL;
	g_autoptr(DnMinisig) parsed = dn_minisig_parse(bytes, &error);

	fuzz_judge(parsed != NULL, error);
	error = NULL;
	g_autofree char *comment = dn_minisign_peek(bytes, &error);
	fuzz_judge(comment != NULL, error);
	error = NULL;
	/* Nobody has signed an input with this key. */
	g_assert(!dn_minisign_verify(bytes, bytes, key, NULL, &error));
	fuzz_judge(false, error);
	return 0;
}
