/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * An nf_tables batch as bytes, written straight from the kernel's netlink attributes.
 *
 * libnftables cannot hand out what it would send, costs milliseconds a transaction (it reads
 * the ruleset first) and puts the generation into the batch. The reflex wants a transaction that
 * was prepared for every node after every change, so the three things a cut consists of are
 * written here: an element of a set, a flushed chain, and the rule of a service. A host test
 * holds the listing of what a replay made against the listing of what libnftables makes of the
 * same state.
 */

#include <glib.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "model/manifest.h"

typedef struct DnBatch DnBatch;

DnBatch *dn_batch_new(void);
void dn_batch_free(DnBatch *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnBatch, dn_batch_free)

/* Add (or delete) an element with the key @key of @size bytes to the named @set. */
void dn_batch_element(DnBatch *self, const char *set, const void *key, size_t size, bool add);

/* Replace the rules of @chain: balance @protocol over @endpoints (DnEndpoint), or refuse. */
void dn_batch_service(DnBatch *self, const char *chain, DnProtocol protocol,
		      const GArray *endpoints);

/* Close the batch. The kernel acknowledges its first message. */
GBytes *dn_batch_end(DnBatch *self);
