/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/fuzz.h"
#include "wire/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(GBytes) bytes = g_bytes_new(data, size);
	GError *error = NULL;
	g_autoptr(DnFrame) frame = dn_frame_decode(bytes, &error);

	fuzz_judge(frame != NULL, error);
	if (frame != NULL) {
		/* What was understood can be said again, in the same words from then on. */
		g_autoptr(GBytes) once = dn_frame_encode(frame);
		g_autoptr(DnFrame) again = dn_frame_decode(once, NULL);

		g_assert(again != NULL && again->type == frame->type);
		g_autoptr(GBytes) twice = dn_frame_encode(again);
		g_assert(g_bytes_equal(once, twice));
	}
	return 0;
}
