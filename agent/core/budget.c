/* SPDX-License-Identifier: Apache-2.0 */
#include "core/budget.h"

void dn_budget_init(DnBudget *self)
{
	self->spent = g_array_new(FALSE, FALSE, sizeof(uint64_t));
}

void dn_budget_clear(DnBudget *self)
{
	g_clear_pointer(&self->spent, g_array_unref);
}

/* A time in the future (the clock was set back) counts as just now. */
static bool is_recent(uint64_t spent_ns, uint64_t within_ns, uint64_t now_ns)
{
	return spent_ns > now_ns || now_ns - spent_ns < within_ns;
}

bool dn_budget_allows(const DnBudget *self, uint32_t grant, uint64_t within_ns, uint64_t now_ns)
{
	uint32_t recent = 0;

	for (guint i = 0; i < self->spent->len; i++)
		if (is_recent(g_array_index(self->spent, uint64_t, i), within_ns, now_ns))
			recent++;
	return recent < grant;
}

void dn_budget_spend(DnBudget *self, uint64_t within_ns, uint64_t now_ns)
{
	for (guint i = self->spent->len; i > 0; i--)
		if (!is_recent(g_array_index(self->spent, uint64_t, i - 1), within_ns, now_ns))
			g_array_remove_index(self->spent, i - 1);
	g_array_append_val(self->spent, now_ns);
}
