/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a step of the core asks its caller to do, in this order of importance: store the records,
 * send the orders, number and publish the events. The core itself does nothing.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "model/fleet.h"

enum { DN_EVENT_TEXT_LIMIT = 1000 }; /* bytes; longer text is cut */

/* A record that changed. Its content is read from the core while the acts are carried out. */
typedef enum {
	DN_RECORD_SERVICE,  /* name: a service */
	DN_RECORD_HOST,     /* name: a host */
	DN_RECORD_TOKEN,    /* name: the hash of a host token; gone from the core: delete it */
	DN_RECORD_INCIDENT, /* name: an incident's id */
	DN_RECORD_N
} DnRecordKind;

typedef struct {
	DnRecordKind kind;
	char *name;
} DnRecordChange;

/* One order for one host. The link fills in the envelope; @tag comes back with the answer. */
typedef struct {
	char *host;
	DnOrder *order; /* owned; taken by whoever sends it */
	uint64_t tag;
	/*
	 * Wait until everything decided so far is stored. Placement, manifests and VIPs always
	 * wait. What only takes traffic away from a cut node goes out at once.
	 */
	bool after_store;
} DnDispatch;

void dn_dispatch_free(DnDispatch *self);

typedef struct {
	GPtrArray *records;    /* of DnRecordChange, each at most once */
	GPtrArray *dispatches; /* of DnDispatch */
	GPtrArray *events;     /* of DnEvent, not numbered yet */
} DnActs;

DnActs *dn_acts_new(void);
void dn_acts_free(DnActs *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnActs, dn_acts_free)

void dn_acts_record(DnActs *self, DnRecordKind kind, const char *name);
void dn_acts_dispatch(DnActs *self, const char *host, DnOrder *order, uint64_t tag,
		      bool after_store);
/* Append an event and return it (owned by @self) so that the caller may name host and node. */
DnEvent *dn_acts_event(DnActs *self, uint64_t time_ns, const char *kind, const char *severity,
		       const char *text, ...) G_GNUC_PRINTF(5, 6);
