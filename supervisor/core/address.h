/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* IPv4 ranges, as numbers in host order. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

typedef struct {
	uint32_t base;
	unsigned prefix;
} DnRange;

/* "10.77.0.0/16"; bits below the prefix have to be zero. */
bool dn_range_parse(const char *text, DnRange *range, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_address_parse(const char *text, uint32_t *address) G_GNUC_WARN_UNUSED_RESULT;
char *dn_address_format(uint32_t address) G_GNUC_WARN_UNUSED_RESULT;

bool dn_range_contains(const DnRange *self, uint32_t address);
/* How many addresses it spans; a /0 counts as UINT32_MAX. */
uint32_t dn_range_size(const DnRange *self);
