/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The files of a cluster's directory (docs/formats/cluster.md) and of its people. */

#include "image/repository.h"
#include "model/trust.h"
#include "verbs/verb.h"

#define DN_HOME_FILE_LIMIT (256u << 10)

/* HOME/NAME. */
char *dn_home_path(const DnCall *call, const char *name, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The trust file @bytes, @name in messages, with every key judged (seal/trust.h). */
DnTrustPolicy *dn_home_parse_trust(GBytes *bytes, const char *name,
				   GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* trust.yaml, parsed; *@path, which may be NULL, is where it is. */
DnTrustPolicy *dn_home_trust(const DnCall *call, char **path,
			     GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * One command at a time reads a file of @directory and puts another in its place: a lock that goes
 * with the descriptor, also when its holder is killed. -1 and DN_ERROR_UNAVAILABLE when another
 * command keeps it for ten seconds.
 */
int dn_home_lock(const char *directory, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Where images are built: --repo, else HOME/repo. */
char *dn_home_repo(const DnCall *call, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The repository there; one that is not there is DN_ERROR_INVALID. */
DnImageRepo *dn_home_open_repo(const DnCall *call, GError **error) G_GNUC_WARN_UNUSED_RESULT;
