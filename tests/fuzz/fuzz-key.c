/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/fuzz.h"
#include "seal/keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *text = fuzz_text(data, size);
	g_autofree char *path = g_build_filename(fuzz_directory(), "input.key", NULL);
	uint8_t key[DN_PUBLIC_KEY_BYTES];
	GError *error = NULL;

	bool done = dn_public_key_parse(text, key, &error);
	fuzz_judge(done, error);
	error = NULL;
	fuzz_write("input.key", data, size);
	g_autoptr(DnSecretKey) secret = dn_secret_key_load(path, &error);
	fuzz_judge(secret != NULL, error);
	return 0;
}
