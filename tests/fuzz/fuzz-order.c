/* SPDX-License-Identifier: Apache-2.0 */
#include "core/envelope.h"
#include "fuzz/fuzz.h"
#include "wire/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(GBytes) bytes = g_bytes_new(data, size);
	g_autoptr(DnFrame) frame = dn_frame_decode(bytes, NULL);
	DnEnvelope envelope = {.cluster = g_strdup("0123456789abcdef"), .term = 3};
	GError *error = NULL;

	dn_envelope_begin(&envelope, "00112233445566778899aabbccddeeff");
	if (frame != NULL && frame->order != NULL) {
		bool done = dn_envelope_accept(&envelope, frame->order, &error);

		fuzz_judge(done, error);
		/* The same order is never accepted twice. */
		g_autoptr(GError) repeated = NULL;
		g_assert(!dn_envelope_accept(&envelope, frame->order, &repeated));
	}
	dn_envelope_clear(&envelope);
	return 0;
}
