/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>
#include <stddef.h>

/* @bytes random bytes of the kernel (getrandom(2)) as lower-case hexadecimal digits. */
char *dn_id_new(size_t bytes) G_GNUC_WARN_UNUSED_RESULT;
