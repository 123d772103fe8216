/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The epochs a host has accepted, one a service, and what may follow them (DESIGN 3.3). A table
 * only grows; it is kept after a service is removed.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "model/fleet.h"
#include "model/manifest.h"

typedef struct {
	uint64_t epoch;
	char *digest; /* of the manifest; NULL when only the number is known (enrolment) */
	bool removed; /* the accepted manifest says state: removed */
} DnEpoch;

/* char * service → DnEpoch * */
GHashTable *dn_epochs_new(void) G_GNUC_WARN_UNUSED_RESULT;

/* Raise, never lower. */
void dn_epochs_set(GHashTable *epochs, const char *service, uint64_t epoch, const char *digest,
		   bool removed);

/*
 * May @manifest be accepted at @now_ns (see time-floor.h)? DN_ERROR_CONFLICT: an older epoch, or
 * another manifest of the same epoch. DN_ERROR_UNTRUSTED: expired, or below @minimum.
 * DN_ERROR_INVALID: the epoch jumps too far.
 */
bool dn_epochs_may_accept(GHashTable *epochs, const DnManifest *manifest, uint64_t minimum,
			  uint64_t now_ns, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * May @next replace the share @before (or NULL)? Nodes of an epoch that is not the highest may go
 * on but never grow in number, so no assignment takes a host back to an older manifest; a
 * removed service has no nodes.
 */
bool dn_epochs_may_assign(GHashTable *epochs, const DnAssign *before, const DnAssign *next,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Does every part of @assign name a manifest in @manifests (char * digest → DnManifest *) of that
 * service and epoch? DN_ERROR_CONFLICT: this host has not accepted it.
 */
bool dn_epochs_know_parts(GHashTable *manifests, const DnAssign *assign,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* May @service be forgotten? DN_ERROR_CONFLICT: no signed manifest has removed it. */
bool dn_epochs_may_forget(GHashTable *epochs, const char *service,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;
