/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The daemon's parts and how they hang together. Everything here runs in one thread, the main
 * loop's; the store and the image repository have workers of their own behind them.
 *
 * A step: something happens (a fact, a request, a tick) → the core decides → carry_out() puts its
 * acts into the batch under way. A batch is one transaction; only when it is on disk are its
 * orders sent, its events published and its people answered. What cannot be remembered must not be
 * promised: a disk without space holds changes up until there is room (hold.c), one that fails ends
 * the daemon.
 */

#include "api/api.h"
#include "core/fleet.h"
#include "fleet/sessions.h"
#include "main/ring.h"
#include "repo/repo.h"
#include "repo/server.h"
#include "seal/keys.h"
#include "store/store.h"

typedef struct DnSupervisor DnSupervisor;

typedef struct {
	const char *config_dir; /* cluster.yaml, trust.yaml, supervisor.key */
	const char *state_dir;  /* store.db, repo/, spool/ */
	const char *run_dir;    /* supervisor.sock */
} DnSupervisorOptions;

/* Restores what the store remembers, takes a new term and begins to serve. */
DnSupervisor *dn_supervisor_new(const DnSupervisorOptions *options,
				GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_supervisor_free(DnSupervisor *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnSupervisor, dn_supervisor_free)

/* Until SIGTERM or SIGINT (true), or until the store fails. */
bool dn_supervisor_run(DnSupervisor *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;
