/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/fuzz.h"
#include "manifest/recipe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(GBytes) bytes = g_bytes_new(data, size);
	GError *error = NULL;
	g_autoptr(DnRecipe) parsed = dn_recipe_parse(bytes, "input.yaml", &error);

	fuzz_judge(parsed != NULL, error);
	return 0;
}
