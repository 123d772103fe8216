/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A service as the core knows it: its releases, of which one is current, and what share of each a
 * host has. For the core's own files only.
 */

#include "core/fleet.h"
#include "model/budget.h"

typedef struct {
	DnDeclaration *declaration; /* owned */
	GHashTable *shares;         /* char * host → DnShare *; no row: nothing */
	/* char *: digests of earlier manifests whose nodes go on as this one's, oldest first */
	GPtrArray *former;
} DnRelease;

typedef struct {
	char *name;
	char *vip;
	GPtrArray *releases; /* of DnRelease, the current one first */
	bool rolling;
	uint64_t roll_started_ns;  /* CLOCK_REALTIME */
	uint64_t roll_progress_ns; /* CLOCK_MONOTONIC of the last step forward */
	uint32_t roll_best;        /* most nodes of the current epoch that were ready */
	char *roll_error;
	int shown_state;                 /* DnServiceState that the last event spoke of, -1: none */
	bool told_no_room, told_expired; /* the event was sent */
	DnBudget drills;
	GHashTable *heard;      /* char * incident → uint64_t *: CLOCK_REALTIME; grants.c */
	uint64_t grants_due_ns; /* CLOCK_REALTIME when one more may be replaced; 0: never */
	bool touched;           /* something about it changed in this step */
} DnService;

DnService *dn_service_new(const char *name, const char *vip) G_GNUC_WARN_UNUSED_RESULT;
void dn_service_free(DnService *service);

DnRelease *dn_release_new(const DnDeclaration *declaration);
DnRelease *dn_service_current(const DnService *service);
DnRelease *dn_service_release(const DnService *service, const char *digest);
/* The current one, or one whose nodes the current one would make alike: they stay. */
bool dn_service_keeps(const DnService *service, const DnRelease *release);
/* Nodes of @earlier, and of those it took over itself, may go on as @release's. */
void dn_release_inherit(DnRelease *release, const DnRelease *earlier);
/* Whether a node of @digest on @host is one of @release's. */
bool dn_release_covers(const DnService *service, const DnRelease *release, const char *host,
		       const char *digest);
/* The share of @host, made when there is none. */
DnShare *dn_release_share(DnRelease *release, const char *host);
uint32_t dn_release_running(const DnRelease *release);
uint32_t dn_release_running_on(const DnRelease *release, const char *host);
/* The shares that are not nothing, sorted by host: for records. */
GPtrArray *dn_release_shares(const DnRelease *release);
