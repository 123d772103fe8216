/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/fuzz.h"
#include "manifest/cluster-file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(GBytes) bytes = g_bytes_new(data, size);
	GError *error = NULL;
	g_autoptr(DnCluster) parsed = dn_cluster_file_parse(bytes, "input.yaml", &error);

	fuzz_judge(parsed != NULL, error);
	if (parsed != NULL) {
		g_autoptr(GBytes) printed = dn_cluster_file_render(parsed);
		g_autoptr(DnCluster) again = dn_cluster_file_parse(printed, "again.yaml", NULL);

		g_assert(again != NULL && g_str_equal(again->advertise, parsed->advertise));
	}
	return 0;
}
