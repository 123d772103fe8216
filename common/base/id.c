/* SPDX-License-Identifier: Apache-2.0 */
#include "base/id.h"

#include <sys/random.h>

char *dn_id_new(size_t bytes)
{
	GString *text = g_string_sized_new(bytes * 2);

	for (size_t i = 0; i < bytes; i++) {
		unsigned char byte = 0;

		/* Up to 256 bytes getrandom() neither fails nor returns short (getrandom(2)). */
		if (getrandom(&byte, 1, 0) != 1)
			g_error("getrandom: the kernel gives no random bytes");
		g_string_append_printf(text, "%02x", byte);
	}
	return g_string_free(text, FALSE);
}
