/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Memory for secrets, inside seal only: between guard pages, out of core dumps, zeroed when freed.
 */

#include <stddef.h>

/* Make libsodium ready. Every door of this module that uses it calls this first. */
void dn_seal_start(void);

/* Never NULL. */
void *dn_seal_memory_new(size_t size) __attribute__((warn_unused_result));

void dn_seal_memory_free(void *memory);

/* Put in front of a pointer from dn_seal_memory_new() that its scope owns. */
#define dn_autoguarded __attribute__((cleanup(dn_seal_memory_clear)))

void dn_seal_memory_clear(void *pointer);
