/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/fuzz.h"
#include "seal/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *text = fuzz_text(data, size);
	GError *error = NULL;
	g_autoptr(DnHostToken) token = dn_host_token_decode(text, &error);

	fuzz_judge(token != NULL, error);
	if (token != NULL) {
		g_autofree char *again = dn_host_token_encode(token, NULL);

		/* One token has one text, blanks around it aside. */
		g_assert(again != NULL && strstr(text, again) != NULL);
	}
	return 0;
}
