/* SPDX-License-Identifier: Apache-2.0 */
#include "image/damage.h"

static const char *const names[] = {
	[DN_DAMAGE_CONTENT_CACHE] = "content-cache",
	[DN_DAMAGE_CONTENT_DISK] = "content-disk",
	[DN_DAMAGE_CONTENT] = "content",
	[DN_DAMAGE_MODE] = "mode",
	[DN_DAMAGE_OWNER] = "owner",
	[DN_DAMAGE_XATTR] = "xattr",
	[DN_DAMAGE_KIND] = "kind",
	[DN_DAMAGE_MISSING] = "missing",
	[DN_DAMAGE_EXTRA] = "extra",
	[DN_DAMAGE_OBJECT] = "object",
};
_Static_assert(G_N_ELEMENTS(names) == DN_DAMAGE_N, "every kind needs a name");

const char *dn_damage_name(DnDamageKind kind)
{
	g_return_val_if_fail(kind < DN_DAMAGE_N, "unknown");
	return names[kind];
}

void dn_damage_free(DnDamage *self)
{
	if (self == NULL)
		return;
	g_free(self->commit);
	g_free(self->path);
	g_free(self);
}

static void free_damage(gpointer data)
{
	dn_damage_free(data);
}

GPtrArray *dn_damages_new(void)
{
	return g_ptr_array_new_with_free_func(free_damage);
}

void dn_damages_add(GPtrArray *self, const char *commit, const char *path, DnDamageKind kind)
{
	if (self->len >= DN_DAMAGES_LIMIT)
		return;
	DnDamage *damage = g_new0(DnDamage, 1);

	damage->commit = g_strdup(commit);
	damage->path = g_strdup(path);
	damage->kind = kind;
	g_ptr_array_add(self, damage);
}

void dn_damages_copy(GPtrArray *self, const GPtrArray *from, const char *commit)
{
	for (guint i = 0; i < from->len; i++) {
		const DnDamage *damage = g_ptr_array_index(from, i);

		if (g_strcmp0(damage->commit, commit) != 0)
			continue;
		DnDamage *copy = g_new0(DnDamage, 1);
		*copy = *damage;
		copy->commit = g_strdup(damage->commit);
		copy->path = g_strdup(damage->path);
		g_ptr_array_add(self, copy);
	}
}
