/* SPDX-License-Identifier: Apache-2.0 */
#include "seal/guarded.h"

#include <glib.h>
#include <sodium.h>

void dn_seal_start(void)
{
	/* 1 means that it was ready before; the call itself is safe from any thread. */
	if (sodium_init() < 0)
		g_error("libsodium cannot start: the kernel gives no random bytes");
}

void *dn_seal_memory_new(size_t size)
{
	dn_seal_start();
	void *memory = sodium_malloc(size);
	if (memory == NULL)
		g_error("no guarded memory for %zu bytes of secrets", size);
	return memory;
}

void dn_seal_memory_free(void *memory)
{
	sodium_free(memory);
}

void dn_seal_memory_clear(void *pointer)
{
	void **owned = pointer;

	dn_seal_memory_free(*owned);
	*owned = NULL;
}
