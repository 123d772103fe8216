/* SPDX-License-Identifier: Apache-2.0 */
#include "model/incident.h"

#include <string.h>

static const char *const stage_names[] = {
	[DN_STAGE_VERDICT] = "verdict",
	[DN_STAGE_CUT] = "cut",
	[DN_STAGE_FROZEN] = "frozen",
	[DN_STAGE_LB_OUT_LOCAL] = "lb_out_local",
	[DN_STAGE_RESET] = "reset",
	[DN_STAGE_REPLACEMENT_READY] = "replacement_ready",
	[DN_STAGE_CUT_VERIFIED] = "cut_verified",
	[DN_STAGE_DURABLE] = "durable",
	[DN_STAGE_REPORTED] = "reported",
	[DN_STAGE_LB_OUT_ALL] = "lb_out_all",
	[DN_STAGE_CAPTURED] = "captured",
	[DN_STAGE_SEALED] = "sealed",
};
_Static_assert(G_N_ELEMENTS(stage_names) == DN_STAGE_N, "every stage needs a name");

static const char *const state_names[] = {
	[DN_INCIDENT_OPEN] = "open",
	[DN_INCIDENT_CAPTURED] = "captured",
	[DN_INCIDENT_SEALED] = "sealed",
	[DN_INCIDENT_DESTROYED] = "destroyed",
};
_Static_assert(G_N_ELEMENTS(state_names) == DN_INCIDENT_N_STATES, "every state needs a name");

static bool find(const char *const *names, unsigned count, const char *name, unsigned *index)
{
	for (unsigned i = 0; i < count; i++)
		if (g_str_equal(names[i], name)) {
			*index = i;
			return true;
		}
	return false;
}

const char *dn_stage_name(DnStage stage)
{
	g_assert(stage < DN_STAGE_N);
	return stage_names[stage];
}

bool dn_stage_parse(const char *name, DnStage *stage)
{
	unsigned index = 0;

	if (!find(stage_names, DN_STAGE_N, name, &index))
		return false;
	*stage = (DnStage)index;
	return true;
}

const char *dn_incident_state_name(DnIncidentState state)
{
	g_assert(state < DN_INCIDENT_N_STATES);
	return state_names[state];
}

bool dn_incident_state_parse(const char *name, DnIncidentState *state)
{
	unsigned index = 0;

	if (!find(state_names, DN_INCIDENT_N_STATES, name, &index))
		return false;
	*state = (DnIncidentState)index;
	return true;
}

DnSocketRecord *dn_socket_record_new(const char *protocol, const char *state, const char *local,
				     const char *peer, bool accepted)
{
	DnSocketRecord *self = g_new0(DnSocketRecord, 1);

	self->protocol = g_strdup(protocol);
	self->state = g_strdup(state);
	self->local = g_strdup(local);
	self->peer = g_strdup(peer);
	self->accepted = accepted;
	return self;
}

void dn_socket_record_free(DnSocketRecord *self)
{
	if (self == NULL)
		return;
	g_free(self->protocol);
	g_free(self->state);
	g_free(self->local);
	g_free(self->peer);
	g_free(self);
}

static void free_socket(gpointer socket)
{
	dn_socket_record_free(socket);
}

bool dn_incident_is_isolated(const DnIncident *self)
{
	return self->isolated_us >= 0 && self->stages_us[DN_STAGE_CUT] < 0 &&
	       self->state != DN_INCIDENT_DESTROYED;
}

DnIncident *dn_incident_new(void)
{
	DnIncident *self = g_new0(DnIncident, 1);

	self->replacements = g_ptr_array_new_with_free_func(g_free);
	self->sockets = g_ptr_array_new_with_free_func(free_socket);
	self->conntrack = g_ptr_array_new_with_free_func(g_free);
	self->first_drop_us = -1;
	self->isolated_us = self->isolated_verified_us = -1;
	self->here.time_us = self->elsewhere.time_us = -1;
	for (unsigned i = 0; i < DN_STAGE_N; i++)
		self->stages_us[i] = -1;
	return self;
}

static gpointer copy_string(gconstpointer text, gpointer unused)
{
	return g_strdup(text);
}

static gpointer copy_socket(gconstpointer socket, gpointer unused)
{
	const DnSocketRecord *from = socket;

	DnSocketRecord *copy = dn_socket_record_new(from->protocol, from->state, from->local,
						    from->peer, from->accepted);

	copy->bytes_sent = from->bytes_sent;
	copy->bytes_received = from->bytes_received;
	copy->rtt_us = from->rtt_us;
	return copy;
}

DnIncident *dn_incident_copy(const DnIncident *self)
{
	DnIncident *copy = g_new(DnIncident, 1);

	*copy = *self;
	copy->id = g_strdup(self->id);
	copy->service = g_strdup(self->service);
	copy->node = g_strdup(self->node);
	copy->host = g_strdup(self->host);
	copy->address = g_strdup(self->address);
	copy->digest = g_strdup(self->digest);
	copy->class = g_strdup(self->class);
	copy->detail = g_strdup(self->detail);
	copy->image_ref = g_strdup(self->image_ref);
	copy->image_commit = g_strdup(self->image_commit);
	copy->indicator_path = g_strdup(self->indicator_path);
	copy->indicator_comm = g_strdup(self->indicator_comm);
	copy->attack = g_strdup(self->attack);
	copy->replacements = g_ptr_array_copy(self->replacements, copy_string, NULL);
	copy->sockets = g_ptr_array_copy(self->sockets, copy_socket, NULL);
	copy->conntrack = g_ptr_array_copy(self->conntrack, copy_string, NULL);
	g_ptr_array_set_free_func(copy->replacements, g_free);
	g_ptr_array_set_free_func(copy->sockets, free_socket);
	g_ptr_array_set_free_func(copy->conntrack, g_free);
	return copy;
}

static gboolean is_same_text(gconstpointer a, gconstpointer b)
{
	return g_strcmp0(a, b) == 0;
}

static gboolean is_same_socket(gconstpointer a, gconstpointer b)
{
	const DnSocketRecord *x = a, *y = b;

	return is_same_text(x->protocol, y->protocol) && is_same_text(x->state, y->state) &&
	       is_same_text(x->local, y->local) && is_same_text(x->peer, y->peer) &&
	       x->accepted == y->accepted && x->bytes_sent == y->bytes_sent &&
	       x->bytes_received == y->bytes_received && x->rtt_us == y->rtt_us;
}

static bool are_same(const GPtrArray *a, const GPtrArray *b, GEqualFunc is_same)
{
	if (a->len != b->len)
		return false;
	for (guint i = 0; i < a->len; i++)
		if (!is_same(g_ptr_array_index(a, i), g_ptr_array_index(b, i)))
			return false;
	return true;
}

static bool are_same_siblings(DnSiblings a, DnSiblings b)
{
	return a.time_us == b.time_us && a.looked == b.looked && a.found == b.found;
}

static bool are_same_texts(const DnIncident *a, const DnIncident *b)
{
	const char *const of_a[] = {a->id,           a->service,        a->node,
				    a->host,         a->address,        a->digest,
				    a->class,        a->detail,         a->image_ref,
				    a->image_commit, a->indicator_path, a->indicator_comm,
				    a->attack};
	const char *const of_b[] = {b->id,           b->service,        b->node,
				    b->host,         b->address,        b->digest,
				    b->class,        b->detail,         b->image_ref,
				    b->image_commit, b->indicator_path, b->indicator_comm,
				    b->attack};

	for (size_t i = 0; i < G_N_ELEMENTS(of_a); i++)
		if (!is_same_text(of_a[i], of_b[i]))
			return false;
	return true;
}

bool dn_incident_equal(const DnIncident *self, const DnIncident *other)
{
	return are_same_texts(self, other) && self->drill == other->drill &&
	       self->epoch == other->epoch && self->event_time_ns == other->event_time_ns &&
	       self->event_monotonic_ns == other->event_monotonic_ns &&
	       self->state == other->state &&
	       memcmp(self->stages_us, other->stages_us, sizeof(self->stages_us)) == 0 &&
	       self->first_drop_us == other->first_drop_us &&
	       self->packets_after_cut == other->packets_after_cut &&
	       self->isolated_us == other->isolated_us &&
	       self->isolated_verified_us == other->isolated_verified_us &&
	       are_same_siblings(self->here, other->here) &&
	       are_same_siblings(self->elsewhere, other->elsewhere) &&
	       are_same(self->replacements, other->replacements, is_same_text) &&
	       are_same(self->sockets, other->sockets, is_same_socket) &&
	       are_same(self->conntrack, other->conntrack, is_same_text);
}

void dn_incident_free(DnIncident *self)
{
	if (self == NULL)
		return;
	g_free(self->id);
	g_free(self->service);
	g_free(self->node);
	g_free(self->host);
	g_free(self->address);
	g_free(self->digest);
	g_free(self->class);
	g_free(self->detail);
	g_free(self->image_ref);
	g_free(self->image_commit);
	g_free(self->indicator_path);
	g_free(self->indicator_comm);
	g_free(self->attack);
	g_ptr_array_unref(self->replacements);
	g_ptr_array_unref(self->sockets);
	g_ptr_array_unref(self->conntrack);
	g_free(self);
}
