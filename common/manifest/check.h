/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the rows of schema.c cannot say by themselves. Private to this module. */

#include "manifest/fields.h"

/* shown: whether a value stands in a DnManifest at all. */
bool dn_check_has_user(const void *manifest);
bool dn_check_probes_tcp(const void *manifest);
bool dn_check_probes_http(const void *manifest);

/* check_item: one DnListen, DnEgress, DnWritable. */
void dn_check_listen_item(const DnYamlNode *node, void *item, DnFaults *faults);
void dn_check_egress_item(const DnYamlNode *node, void *item, DnFaults *faults);
void dn_check_writable_item(const DnYamlNode *node, void *item, DnFaults *faults);

/* check: a whole list of a DnManifest, every item of which is good. */
void dn_check_listen(const DnYamlNode *node, void *manifest, DnFaults *faults);
void dn_check_writable(const DnYamlNode *node, void *manifest, DnFaults *faults);

/* What several keys say together, once all were read: @root is the whole file. */
void dn_check_manifest(const DnYamlNode *root, void *manifest, DnFaults *faults);
