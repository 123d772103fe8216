/* SPDX-License-Identifier: Apache-2.0 */
#include "main/ring.h"

struct DnRing {
	DnEvent *slots[DN_RING_LIMIT]; /* owned */
	uint64_t added;
};

static void free_event(gpointer event)
{
	dn_event_free(event);
}

DnRing *dn_ring_new(void)
{
	return g_new0(DnRing, 1);
}

void dn_ring_free(DnRing *self)
{
	if (self == NULL)
		return;
	for (guint i = 0; i < DN_RING_LIMIT; i++)
		dn_event_free(self->slots[i]);
	g_free(self);
}

void dn_ring_add(DnRing *self, DnEvent *event)
{
	DnEvent **slot = &self->slots[self->added++ % DN_RING_LIMIT];

	dn_event_free(*slot);
	*slot = event;
}

GPtrArray *dn_ring_read(const DnRing *self, uint64_t since, unsigned limit)
{
	GPtrArray *found = g_ptr_array_new_with_free_func(free_event);
	uint64_t first = self->added > DN_RING_LIMIT ? self->added - DN_RING_LIMIT : 0;

	if (since == 0 && self->added - first > limit)
		first = self->added - limit;
	for (uint64_t at = first; at < self->added && found->len < limit; at++) {
		const DnEvent *event = self->slots[at % DN_RING_LIMIT];

		if (event->id > since)
			g_ptr_array_add(found, dn_event_copy(event));
	}
	return found;
}
