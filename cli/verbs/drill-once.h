/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One drill, from the order to what shows that its drift was noticed. */

#include "verbs/answer.h"

typedef struct {
	char *class, *node;
	char *answer;         /* observe, deny or quarantine: what the node's manifest says */
	JsonObject *incident; /* NULL: none, as where the class is not quarantined */
	JsonObject *event;    /* the event of a drift that was only told, or NULL */
	char *failed;         /* why nothing was noticed, as far as it is known; NULL: it was */
} DnDrilled;

void dn_drilled_free(DnDrilled *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnDrilled, dn_drilled_free)

/*
 * Order a drill and wait for its incident to be replaced, or for its event. A drift that nothing
 * noticed is no error: then @failed says so. Errors are those of the supervisor, which may refuse
 * (DN_ERROR_EXHAUSTED, DN_ERROR_UNAVAILABLE: later perhaps not).
 */
DnDrilled *dn_drill_once(DnHttp *http, const char *class, const char *service,
			 GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Was it seen at all? */
bool dn_drilled_is_detected(const DnDrilled *self);

/*
 * Had it no effect, as the sensor saw it: a call that was refused, a program that was killed before
 * its first instruction?
 */
bool dn_drilled_is_denied(const DnDrilled *self);

/* The document of a drill that made no incident: {"drill": {class node answer detected event}}. */
JsonObject *dn_drilled_document(const DnDrilled *self);
