/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Whether an order may be obeyed (DESIGN 3.4): of this cluster, of a reign that is not older than
 * one already seen, of this very link, and not seen before.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "model/fleet.h"

/* How far one welcome may move the term: a reign is one start of a supervisor. */
#define DN_TERM_STEP UINT64_C(1000000)

typedef struct {
	char *cluster;     /* owned */
	char *session;     /* owned; of the present link, NULL without one */
	uint64_t term;     /* highest accepted; main keeps it on disk */
	uint64_t sequence; /* last accepted of this session */
} DnEnvelope;

/* A new link: forget the sequence of the last one. */
void dn_envelope_begin(DnEnvelope *self, const char *session);
void dn_envelope_clear(DnEnvelope *self);

/*
 * May a welcome of @term be accepted? Fails with DN_ERROR_UNTRUSTED for another cluster or session,
 * with DN_ERROR_CONFLICT for a term below the highest, with DN_ERROR_INVALID for one that is more
 * than DN_TERM_STEP above it: nobody may use the terms up. Changes nothing.
 */
bool dn_envelope_welcome(const DnEnvelope *self, const char *cluster, const char *session,
			 uint64_t term, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * The reign of @term, of an accepted welcome, begins. Once it is durable: a term that counts in
 * memory alone would look like one that was kept, and be forgotten with the process.
 */
void dn_envelope_raise(DnEnvelope *self, uint64_t term);

/* Accept @order or say why not; a refused order changes nothing. */
bool dn_envelope_accept(DnEnvelope *self, const DnOrder *order,
			GError **error) G_GNUC_WARN_UNUSED_RESULT;
