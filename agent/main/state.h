/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What survives a restart: state.c and, of services, share.c. */

#include "main/agent.h"
#include "wire/json.h"

/* state.c: STATE_DIR. Every write is durable before it returns. */
bool dn_state_load(Agent *agent, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_state_save_term(Agent *agent, uint64_t term, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_state_save_welcome(Agent *agent, const DnWelcome *welcome,
			   GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_state_load_epochs(Agent *agent, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_state_save_epochs(Agent *agent, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_state_save_manifest(Agent *agent, const DnManifest *manifest, GBytes *bytes,
			    GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_state_forget_manifest(Agent *agent, const char *digest,
			      GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_state_save_service(Agent *agent, const Service *service,
			   GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_state_save_service_soon(Agent *agent, const Service *service);
bool dn_state_forget_service(Agent *agent, const char *name,
			     GError **error) G_GNUC_WARN_UNUSED_RESULT;
/*
 * Is nothing here that only a responder may destroy? DN_ERROR_CONFLICT names an incident that is.
 * For verbs of the program, while no agent runs.
 */
bool dn_state_check_evidence(const DnInstance *instance, GError **error) G_GNUC_WARN_UNUSED_RESULT;
char *dn_state_incident_path(const Agent *agent, const char *id);
/* A record @id that could not be read at the start gives way to a new one: it is kept beside it. */
void dn_state_keep_unread(Agent *agent, const char *id);
GBytes *dn_state_incident_bytes(const DnIncident *incident);

/* ---- between state.c and share.c ---- */

/* STATE_DIR/FOLDER/NAME with SUFFIX; the folder may be "". */
char *dn_state_file(const Agent *agent, const char *folder, const char *name, const char *suffix);

/* The object in NAME.json, of 4 MiB at most; errors name the file. */
JsonObject *dn_state_load_json(const Agent *agent, const char *folder, const char *name,
			       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* char *: names in STATE_DIR/FOLDER that end in SUFFIX, without it. */
GPtrArray *dn_state_list(const Agent *agent, const char *folder,
			 const char *suffix) G_GNUC_WARN_UNUSED_RESULT;

/* Once epochs and ranges are there. A share that cannot be read comes again. */
void dn_state_load_services(Agent *agent);
