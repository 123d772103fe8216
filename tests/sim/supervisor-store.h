/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of the simulated supervisor share: batches on their way to the store. */

#include "core/fleet.h"
#include "supervisor.h"

#define SIM_CLUSTER "00000000000000aa"

typedef struct {
	GPtrArray *writes;     /* of a record as it was when it was decided */
	GPtrArray *dispatches; /* of DnDispatch: said when the writes are stored */
	GArray *tickets;       /* of uint64_t: people answered then */
} Batch;

Batch *batch_new(void);
void batch_free(Batch *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Batch, batch_free)
bool batch_is_empty(const Batch *self);
bool batch_names_host(const Batch *self, const char *host); /* NULL names none */
void batch_add(Batch *self, const DnFleetCore *core, const DnRecordChange *change);

/* False, changing nothing, when @term is over. */
bool store_write(SimStore *self, uint64_t term, Batch *batch);
uint64_t store_campaign(SimStore *self);
DnFleetCore *store_restore(const SimStore *self, unsigned hosts, GError **error);

DnFleetCore *supervisor_core(const Sim *sim, unsigned who);
DnNow supervisor_now(const Sim *sim, unsigned who);
/* @tag 0: @ticket is answered once @acts are stored, else when the host has answered. */
void supervisor_carry_out(Sim *sim, unsigned who, DnActs *acts, uint64_t tag, uint64_t ticket);
void supervisor_answered(Sim *sim, unsigned who, unsigned host, uint64_t tag,
			 const DnAnswerTo *answer);
void supervisor_drop(Sim *sim, unsigned who, unsigned host);
