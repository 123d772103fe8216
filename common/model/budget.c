/* SPDX-License-Identifier: Apache-2.0 */
#include "model/budget.h"

#include "base/clock.h"
#include "base/error.h"

void dn_budget_init(DnBudget *self)
{
	self->spent = g_array_new(FALSE, FALSE, sizeof(uint64_t));
}

void dn_budget_clear(DnBudget *self)
{
	g_clear_pointer(&self->spent, g_array_unref);
}

/* A time in the future, which there is none of in one boot, counts as just now. */
static bool is_recent(uint64_t spent_ns, uint64_t within_ns, uint64_t now_ns)
{
	return spent_ns > now_ns || now_ns - spent_ns < within_ns;
}

static gint compare_times(gconstpointer a, gconstpointer b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

uint64_t dn_budget_next_ns(const DnBudget *self, uint32_t count, uint64_t within_ns,
			   uint64_t now_ns)
{
	g_autoptr(GArray) recent = g_array_new(FALSE, FALSE, sizeof(uint64_t));

	for (guint i = 0; i < self->spent->len; i++) {
		uint64_t spent_ns = g_array_index(self->spent, uint64_t, i);

		if (is_recent(spent_ns, within_ns, now_ns))
			g_array_append_val(recent, spent_ns);
	}
	if (recent->len < count)
		return 0;
	if (count == 0)
		return UINT64_MAX;
	/* So many of the oldest have to pass that fewer than @count are left. */
	g_array_sort(recent, compare_times);
	return g_array_index(recent, uint64_t, recent->len - count) + within_ns;
}

bool dn_budget_allows(const DnBudget *self, uint32_t count, uint64_t within_ns, uint64_t now_ns)
{
	return dn_budget_next_ns(self, count, within_ns, now_ns) == 0;
}

void dn_budget_spend(DnBudget *self, uint64_t within_ns, uint64_t now_ns)
{
	for (guint i = self->spent->len; i > 0; i--)
		if (!is_recent(g_array_index(self->spent, uint64_t, i - 1), within_ns, now_ns))
			g_array_remove_index(self->spent, i - 1);
	g_array_append_val(self->spent, now_ns);
}

void dn_budget_carry_over(DnBudget *self)
{
	for (guint i = 0; i < self->spent->len; i++)
		g_array_index(self->spent, uint64_t, i) = 0;
}

/* ---- drills ---- */

static uint64_t within_ns(const DnManifest *manifest)
{
	return (uint64_t)manifest->respawn_within_ms * DN_NS_PER_MS;
}

bool dn_budget_allows_drill(const DnBudget *drills, const DnManifest *manifest, uint64_t now_ns,
			    GError **error)
{
	uint64_t next_ns =
		dn_budget_next_ns(drills, manifest->respawn_count, within_ns(manifest), now_ns);

	if (next_ns == 0)
		return true;
	if (next_ns == UINT64_MAX) {
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
			    "%s: its manifest has respawn.count 0, which allows no drill; sign an "
			    "epoch with a higher one",
			    manifest->service);
		return false;
	}
	g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
		    "%s: all %u drills within %g s are spent (respawn.count and respawn.within of "
		    "its manifest); the next is possible in %" G_GUINT64_FORMAT " s",
		    manifest->service, manifest->respawn_count,
		    manifest->respawn_within_ms / 1000.0,
		    (next_ns - now_ns + DN_NS_PER_S - 1) / DN_NS_PER_S);
	return false;
}

void dn_budget_spend_drill(DnBudget *drills, const DnManifest *manifest, uint64_t now_ns)
{
	dn_budget_spend(drills, within_ns(manifest), now_ns);
}
