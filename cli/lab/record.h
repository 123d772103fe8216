/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What is written down about a lab: in its state directory what `up` has done, so that `down`
 * undoes exactly that, and in its run directory the daemons to keep and their process ids.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "lab/layout.h"

typedef struct {
	unsigned n_hosts;
	GPtrArray *mounts;   /* of char *: made by this lab */
	GPtrArray *enrolled; /* of char *: hosts' names */
} DnLabRecord;

DnLabRecord *dn_lab_record_new(void);
void dn_lab_record_free(DnLabRecord *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnLabRecord, dn_lab_record_free)

/*
 * Empty when there is no file; then DN_ERROR_CONFLICT when there is anything else in the lab's
 * directories, which `down` would remove.
 */
DnLabRecord *dn_lab_record_load(const DnLab *lab, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_lab_record_save(const DnLab *lab, const DnLabRecord *self,
			GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_lab_record_has(const DnLabRecord *self, const char *host);

/* A daemon that the monitor keeps running. */
typedef struct {
	char *name;
	char *netns;
	char **argv;
} DnLabDaemon;

DnLabDaemon *dn_lab_daemon_new(const char *name, const char *netns, const char *const *argv);
void dn_lab_daemon_free(DnLabDaemon *self);

/* Arrays of DnLabDaemon. */
GPtrArray *dn_lab_daemons_load(const DnLab *lab, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_lab_daemons_save(const DnLab *lab, const GPtrArray *daemons,
			 GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * The process id of daemon @name, 0 when it does not run. *@restarts, which may be NULL, is how
 * often it was started anew, also while it is dead.
 */
pid_t dn_lab_pid(const DnLab *lab, const char *name, unsigned *restarts);
