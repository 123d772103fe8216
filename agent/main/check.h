/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What this host can and cannot do, one capability a row. Everything is found by trying it, except
 * the runtime's holes, which are looked up by its version.
 */

#include <glib.h>
#include <stdbool.h>

#include "core/instance.h"

typedef struct {
	const char *name; /* static: "lsm" */
	bool required;    /* without it no node runs here */
	bool can;
	char *why; /* one printable line: what was found, or what to do; owned */
} DnCheck;

/*
 * Every row, of DnCheck, but those of the runtime: quick, changes nothing that stays, works beside
 * a running agent. Without root most rows say so.
 */
GPtrArray *dn_checks_now(const DnInstance *instance) G_GNUC_WARN_UNUSED_RESULT;

/* Appends the runtime's rows: its version, holes, and whether a throw-away container starts. */
void dn_checks_add_runtime_now(GPtrArray *checks, const DnInstance *instance);

/* What the row "lsm" says of a running agent: whether its programs are there, not could be. */
void dn_checks_set_lsm(GPtrArray *checks, bool can, const char *why);

/* Appends the row of holes of @version, as the runtime prints it. */
void dn_checks_add_holes(GPtrArray *checks, const char *version);

/* `dnode-agent check`: prints the rows; DN_ERROR_UNSUPPORTED when a required one is missing. */
bool dn_agent_check(const DnInstance *instance, bool json,
		    GError **error) G_GNUC_WARN_UNUSED_RESULT;
