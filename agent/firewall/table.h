/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the nftables table must hold for a state, and the text that takes it there. Pure: no
 * kernel, no library. Chains that depend on the state and elements of sets and maps are kept
 * by name, so that two of them can be compared.
 */

#include <glib.h>
#include <stdbool.h>

#include "firewall/firewall.h"

typedef struct DnTable DnTable;

/* Fails with DN_ERROR_INVALID when a string is not what nft must be shown. */
DnTable *dn_table_new(const DnFirewallConfig *config, const DnFirewallState *state,
		      GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_table_free(DnTable *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnTable, dn_table_free)

/* The configuration on its own, as dn_table_new() would refuse it. */
bool dn_table_check_config(const DnFirewallConfig *config,
			   GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* One transaction that makes the table from nothing or from anything. */
void dn_table_print(const DnTable *self, GString *script);

/* One transaction from @from to @self; empty when they are equal. */
void dn_table_print_difference(const DnTable *self, const DnTable *from, GString *script);

/* The rules of a service's chain, one a line. */
char *dn_table_service_rules(DnProtocol protocol, const GArray *endpoints);
