/* SPDX-License-Identifier: Apache-2.0 */
#include "model/fleet.h"

DnNodeRecord *dn_node_record_new(void)
{
	return g_new0(DnNodeRecord, 1);
}

DnNodeRecord *dn_node_record_copy(const DnNodeRecord *self)
{
	DnNodeRecord *copy = g_new(DnNodeRecord, 1);

	*copy = *self;
	copy->id = g_strdup(self->id);
	copy->service = g_strdup(self->service);
	copy->host = g_strdup(self->host);
	copy->address = g_strdup(self->address);
	copy->image_ref = g_strdup(self->image_ref);
	copy->image_commit = g_strdup(self->image_commit);
	copy->digest = g_strdup(self->digest);
	copy->incident = g_strdup(self->incident);
	return copy;
}

void dn_node_record_free(DnNodeRecord *self)
{
	if (self == NULL)
		return;
	g_free(self->id);
	g_free(self->service);
	g_free(self->host);
	g_free(self->address);
	g_free(self->image_ref);
	g_free(self->image_commit);
	g_free(self->digest);
	g_free(self->incident);
	g_free(self);
}

DnEvent *dn_event_new(const char *kind, const char *severity, const char *text)
{
	DnEvent *self = g_new0(DnEvent, 1);

	self->kind = g_strdup(kind);
	self->severity = g_strdup(severity);
	self->text = g_strdup(text);
	return self;
}

DnEvent *dn_event_copy(const DnEvent *self)
{
	DnEvent *copy = g_new(DnEvent, 1);

	*copy = *self;
	copy->kind = g_strdup(self->kind);
	copy->severity = g_strdup(self->severity);
	copy->host = g_strdup(self->host);
	copy->service = g_strdup(self->service);
	copy->node = g_strdup(self->node);
	copy->incident = g_strdup(self->incident);
	copy->text = g_strdup(self->text);
	return copy;
}

void dn_event_free(DnEvent *self)
{
	if (self == NULL)
		return;
	g_free(self->kind);
	g_free(self->severity);
	g_free(self->host);
	g_free(self->service);
	g_free(self->node);
	g_free(self->incident);
	g_free(self->text);
	g_free(self);
}

static void free_node(gpointer node)
{
	dn_node_record_free(node);
}

static void free_incident(gpointer incident)
{
	dn_incident_free(incident);
}

DnHostReport *dn_host_report_new(void)
{
	DnHostReport *self = g_new0(DnHostReport, 1);

	self->capabilities = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	self->nodes = g_ptr_array_new_with_free_func(free_node);
	self->incidents = g_ptr_array_new_with_free_func(free_incident);
	self->epochs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	return self;
}

void dn_host_report_free(DnHostReport *self)
{
	if (self == NULL)
		return;
	g_free(self->host);
	g_free(self->version);
	g_free(self->kernel);
	g_free(self->boot_id);
	g_hash_table_unref(self->capabilities);
	g_ptr_array_unref(self->nodes);
	g_ptr_array_unref(self->incidents);
	g_hash_table_unref(self->epochs);
	g_free(self);
}

DnFact *dn_fact_new(DnFactKind kind)
{
	DnFact *self = g_new0(DnFact, 1);

	self->kind = kind;
	return self;
}

void dn_fact_free(DnFact *self)
{
	if (self == NULL)
		return;
	g_free(self->spool);
	dn_host_report_free(self->report);
	dn_node_record_free(self->node);
	g_free(self->id);
	dn_incident_free(self->incident);
	dn_event_free(self->event);
	g_free(self);
}
