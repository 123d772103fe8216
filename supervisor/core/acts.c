/* SPDX-License-Identifier: Apache-2.0 */
#include "core/acts.h"

#include <string.h>

static void free_change(gpointer data)
{
	DnRecordChange *change = data;

	g_free(change->name);
	g_free(change);
}

void dn_dispatch_free(DnDispatch *self)
{
	if (self == NULL)
		return;
	g_free(self->host);
	dn_order_free(self->order);
	g_free(self);
}

static void free_dispatch(gpointer dispatch)
{
	dn_dispatch_free(dispatch);
}

static void free_event(gpointer event)
{
	dn_event_free(event);
}

DnActs *dn_acts_new(void)
{
	DnActs *self = g_new0(DnActs, 1);

	self->records = g_ptr_array_new_with_free_func(free_change);
	self->dispatches = g_ptr_array_new_with_free_func(free_dispatch);
	self->events = g_ptr_array_new_with_free_func(free_event);
	return self;
}

void dn_acts_free(DnActs *self)
{
	if (self == NULL)
		return;
	g_ptr_array_unref(self->records);
	g_ptr_array_unref(self->dispatches);
	g_ptr_array_unref(self->events);
	g_free(self);
}

void dn_acts_record(DnActs *self, DnRecordKind kind, const char *name)
{
	for (guint i = 0; i < self->records->len; i++) {
		const DnRecordChange *known = g_ptr_array_index(self->records, i);

		if (known->kind == kind && g_str_equal(known->name, name))
			return;
	}
	DnRecordChange *change = g_new0(DnRecordChange, 1);
	change->kind = kind;
	change->name = g_strdup(name);
	g_ptr_array_add(self->records, change);
}

void dn_acts_dispatch(DnActs *self, const char *host, DnOrder *order, uint64_t tag,
		      bool after_store)
{
	DnDispatch *dispatch = g_new0(DnDispatch, 1);

	dispatch->host = g_strdup(host);
	dispatch->order = order;
	dispatch->tag = tag;
	dispatch->after_store = after_store;
	g_ptr_array_add(self->dispatches, dispatch);
}

DnEvent *dn_acts_event(DnActs *self, uint64_t time_ns, const char *kind, const char *severity,
		       const char *text, ...)
{
	va_list args;

	va_start(args, text);
	g_autofree char *line = g_strdup_vprintf(text, args);
	va_end(args);

	if (strlen(line) > DN_EVENT_TEXT_LIMIT) {
		const char *end = NULL;

		/* Between characters, or who reads it back would refuse the whole. */
		(void)g_utf8_validate(line, DN_EVENT_TEXT_LIMIT, &end);
		line[end - line] = '\0';
	}
	DnEvent *event = dn_event_new(kind, severity, line);
	event->time_ns = time_ns;
	g_ptr_array_add(self->events, event);
	return event;
}
