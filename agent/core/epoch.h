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

void dn_epoch_free(DnEpoch *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnEpoch, dn_epoch_free)

/* char * service → DnEpoch * */
GHashTable *dn_epochs_new(void) G_GNUC_WARN_UNUSED_RESULT;

/* Raise, never lower. */
void dn_epochs_set(GHashTable *epochs, const char *service, uint64_t epoch, const char *digest,
		   bool removed);

/* What is known of @service as of now, for dn_epochs_put_back(): NULL when nothing is. */
DnEpoch *dn_epochs_copy(GHashTable *epochs, const char *service) G_GNUC_WARN_UNUSED_RESULT;

/* What was set since could not be kept: @was, which is taken, is known again, or nothing. */
void dn_epochs_put_back(GHashTable *epochs, const char *service, DnEpoch *was);

/*
 * May @manifest be accepted at @now_ns (see time-floor.h)? DN_ERROR_CONFLICT: an older epoch, or
 * another manifest of the same epoch. DN_ERROR_UNTRUSTED: expired, or below @minimum.
 * DN_ERROR_INVALID: the epoch jumps too far.
 */
bool dn_epochs_may_accept(GHashTable *epochs, const DnManifest *manifest, uint64_t minimum,
			  uint64_t now_ns, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * May this host have a share of @service, be it of no nodes? DN_ERROR_CONFLICT: it has accepted no
 * manifest of it, and was told of none when it enrolled.
 */
bool dn_epochs_know_service(GHashTable *epochs, const char *service,
			    GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * May @next, whose manifests are in @manifests, replace the share @before (or NULL)? Nodes of an
 * epoch that is not the highest may go on but never grow in number, so no assignment takes a host
 * back to an older manifest: under their own, or under a later one that would make them as they
 * are. A removed service has no nodes.
 */
bool dn_epochs_may_assign(GHashTable *epochs, GHashTable *manifests, const DnAssign *before,
			  const DnAssign *next, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * May @next, whose manifests are in @manifests, ask for what it does at @now_ns? @has is what this
 * host has: its share before, and nodes beyond it (or NULL). DN_ERROR_UNTRUSTED: more nodes of a
 * manifest past its valid_until. As many as there are go on and are replaced.
 */
bool dn_epochs_may_place(GHashTable *manifests, const DnAssign *has, const DnAssign *next,
			 uint64_t now_ns, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Does every part of @assign name a manifest in @manifests (char * digest → DnManifest *) of that
 * service and epoch? DN_ERROR_CONFLICT: this host has not accepted it.
 */
bool dn_epochs_know_parts(GHashTable *manifests, const DnAssign *assign,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * The manifest under which a node of @manifest goes on: the latest of @assign that would make it
 * just as it is, if @assign does not name its own any more; else NULL. Borrowed from @manifests.
 */
DnManifest *dn_epochs_successor(GHashTable *manifests, const DnAssign *assign,
				const DnManifest *manifest);

/* May @service be forgotten? DN_ERROR_CONFLICT: no signed manifest has removed it. */
bool dn_epochs_may_forget(GHashTable *epochs, const char *service,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;
