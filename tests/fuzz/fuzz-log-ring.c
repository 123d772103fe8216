/* SPDX-License-Identifier: Apache-2.0 */
#include <glib/gstdio.h>

#include "fuzz/fuzz.h"
#include "runtime/logs.h"
#include "runtime/ring.h"

/* Two segments, cut where the first byte says; a node wrote every line. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char name[DN_RING_NAME_BYTES];
	GError *error = NULL;

	if (size == 0)
		return 0;
	size_t cut = MIN((size_t)data[0] * 16, size - 1);
	dn_ring_format_name(0, name);
	fuzz_write(name, data + 1, cut);
	g_autofree char *older = g_build_filename(fuzz_directory(), name, NULL);
	dn_ring_format_name(cut, name);
	fuzz_write(name, data + 1 + cut, size - 1 - cut);
	g_autofree char *newer = g_build_filename(fuzz_directory(), name, NULL);

	uint64_t offset = data[0] / 2;
	g_autofree char *lines = dn_logs_read_now(fuzz_directory(), data[0], &offset, &error);
	fuzz_judge(lines != NULL, error);
	if (lines != NULL)
		fuzz_judge_text(lines);
	g_assert(offset <= size);
	(void)g_unlink(newer);
	(void)g_unlink(older);
	return 0;
}
