/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What of /proc a node may not see, or not write: paths in its root, NULL-terminated. */

extern const char *const dn_audit_masked_paths[];
extern const char *const dn_audit_read_only_paths[];
