/* SPDX-License-Identifier: Apache-2.0 */
#include "core/statement.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const DnStatementSubject subject = {"0123456789abcdef", "h1",
						   "inc-0011223344556677"};
	g_autoptr(GBytes) bytes = g_bytes_new(data, size);

	if (dn_statement_is_about(bytes, &subject)) {
		g_autofree char *text = fuzz_text(data, size);
		g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

		/* Six lines, each ended, and nothing behind a NUL. */
		g_assert(strlen(text) == size && g_strv_length(lines) == 7);
	}
	return 0;
}
