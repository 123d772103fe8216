/* SPDX-License-Identifier: Apache-2.0 */

/* What the supervisor asks (agent/main/orders.c). */

#include "host-agent.h"

#include "supervisor.h"

/* Verifying is not simulated: a manifest is believed when people have signed these bytes. */
static DnManifest *check_manifest(Sim *sim, SimHost *self, const DnOrder *order, GError **error)
{
	gsize size = 0;
	const char *bytes = g_bytes_get_data(order->manifest, &size);
	g_autofree char *digest = g_strndup(bytes, size);
	DnManifest *manifest = g_hash_table_lookup(sim->signed_manifests, digest);

	if (manifest == NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED, "nobody has signed it");
		return NULL;
	}
	if (!dn_epochs_may_accept(self->epochs, manifest, 0, host_realtime(sim, self), error))
		return NULL;
	return manifest;
}

static bool obey_manifest(Sim *sim, SimHost *self, const DnOrder *order, GError **error)
{
	DnManifest *manifest = check_manifest(sim, self, order, error);

	if (manifest == NULL || !disk_save_manifest(sim, self, manifest))
		return false;
	dn_epochs_set(self->epochs, manifest->service, manifest->epoch, manifest->digest,
		      manifest->removed);
	if (!disk_save_epochs(sim, self))
		return false;
	truth_saw_epoch(sim, self->number, manifest->service, manifest->epoch);
	if (!g_hash_table_contains(self->manifests, manifest->digest))
		g_hash_table_insert(self->manifests, manifest->digest, dn_manifest_ref(manifest));
	return true;
}

static bool obey_assign(Sim *sim, SimHost *self, const DnOrder *order, GError **error)
{
	const DnAssign *next = order->assign;
	Service *service = g_hash_table_lookup(self->services, next->service);

	if (!dn_epochs_know_service(self->epochs, next->service, error) ||
	    !dn_epochs_know_parts(self->manifests, next, error) ||
	    !dn_epochs_may_assign(self->epochs, self->manifests,
				  service == NULL ? NULL : service->assign, next, error) ||
	    !dn_epochs_may_place(self->manifests, service == NULL ? NULL : service->assign, next,
				 host_realtime(sim, self), error) ||
	    !dn_share_check(next, SIM_NODE_CIDR, SIM_VIP_CIDR, error))
		return false;
	truth_saw_assign(sim, self->number, next);
	service = service_get(self, next->service);
	dn_assign_free(service->assign);
	service->assign = dn_assign_copy(next);
	if (!disk_save_service(sim, self, service))
		return false;
	host_balance(sim, self);
	host_settle(sim, self);
	return true;
}

static bool obey_forget(Sim *sim, SimHost *self, const DnOrder *order, GError **error)
{
	if (!dn_epochs_may_forget(self->epochs, order->service, error))
		return false;
	for (unsigned i = 0; i < SIM_SLOTS; i++)
		if (self->slots[i] != NULL &&
		    g_str_equal(self->slots[i]->manifest->service, order->service)) {
			g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT, "it still has nodes here");
			return false;
		}
	truth_saw_forgotten(sim, self->number, order->service);
	g_hash_table_remove(self->services, order->service);
	host_balance(sim, self);
	return disk_forget_service(sim, self, order->service);
}

static bool obey(Sim *sim, SimHost *self, const DnOrder *order, GError **error)
{
	switch (order->kind) {
	case DN_ORDER_MANIFEST:
		return obey_manifest(sim, self, order, error);
	case DN_ORDER_ASSIGN:
		return obey_assign(sim, self, order, error);
	case DN_ORDER_FORGET:
		return obey_forget(sim, self, order, error);
	case DN_ORDER_QUARANTINE:
		return order_quarantine(sim, self, order, error);
	case DN_ORDER_DRILL:
		return order_drill(sim, self, order, error);
	case DN_ORDER_DESTROY:
		return order_destroy(sim, self, order, error);
	case DN_ORDER_STAMP:
		return order_stamp(sim, self, order, error);
	case DN_ORDER_DROPPED:
		return node_dropped(self, order);
	case DN_ORDER_ROUTES:
	case DN_ORDER_LOGS:
	case DN_ORDER_AUDIT:
	case DN_ORDER_SWEEP:
	case DN_ORDER_N:
		break;
	}
	return true;
}

static void say_answer(Sim *sim, SimHost *self, DnAnswerTo *answer)
{
	Packet *packet = packet_new();

	packet->answer = answer;
	sim_later(sim, SIM_MS / 5 + sim_below(sim, 2 * SIM_MS),
		  (Event){.call = supervisor_hear,
			  .who = self->peer,
			  .whom = self->number,
			  .tag = self->link,
			  .packet = packet});
}

void host_take_order(Sim *sim, const Event *event)
{
	SimHost *self = host_of(sim, event->who);
	DnOrder *order = event->packet->order;
	g_autoptr(GError) error = NULL;
	bool done = false;

	if (!host_link_is_open(sim, event->who, event->tag) || !self->linked)
		return;
	if (is_planted(PLANT_REPLAY))
		self->envelope.sequence = 0;
	if (dn_envelope_accept(&self->envelope, order, &error)) {
		truth_saw_obeyed(sim, self->number, event->packet);
		done = obey(sim, self, order, &error);
	}
	if (!self->up || self->link != event->tag)
		return;
	sim_say(sim, host_name(self->number), "order %s, sequence %" G_GUINT64_FORMAT ": %s",
		dn_order_kind_name(order->kind), order->sequence, done ? "done" : error->message);
	DnAnswerTo *answer = dn_answer_to_new(order->sequence);
	answer->done = done;
	if (!done) {
		answer->code = error->code;
		answer->error = g_strdup(error->message);
	}
	if (done && order->kind == DN_ORDER_QUARANTINE)
		truth_acknowledge_quarantine(sim, order->node);
	say_answer(sim, self, answer);
}
