/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/fuzz.h"
#include "image/run-file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(GBytes) bytes = g_bytes_new(data, size);
	g_autoptr(GArray) ports = NULL;
	DnRun run = {0};
	GError *error = NULL;

	bool done = dn_run_file_read(bytes, &run, &ports, &error);
	fuzz_judge(done, error);
	if (done) {
		g_autoptr(GBytes) again = dn_run_file_write(&run, ports, NULL);

		g_assert(again != NULL && g_bytes_equal(bytes, again));
	}
	dn_run_clear(&run);
	return 0;
}
