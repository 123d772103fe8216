/* SPDX-License-Identifier: Apache-2.0 */
#include "image/said.h"

struct DnImageSaid {
	GHashTable *paths; /* owned: char * → bits, by kind */
};

DnImageSaid *dn_image_said_new(void)
{
	DnImageSaid *self = g_new0(DnImageSaid, 1);

	self->paths = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	return self;
}

void dn_image_said_free(DnImageSaid *self)
{
	if (self == NULL)
		return;
	g_hash_table_unref(self->paths);
	g_free(self);
}

/* What was undone is another thing to say than what was not. */
static unsigned bit_of(const DnDamage *damage)
{
	return 1u << (damage->undone ? DN_DAMAGE_N : damage->kind);
}

static unsigned bits_of(const DnImageSaid *self, const char *path)
{
	return GPOINTER_TO_UINT(g_hash_table_lookup(self->paths, path));
}

bool dn_image_said_has(const DnImageSaid *self, const DnDamage *damage)
{
	unsigned bits = bits_of(self, damage->path);

	return (bits & bit_of(damage)) != 0 ||
	       (bits == 0 && g_hash_table_size(self->paths) >= DN_IMAGE_SAID_LIMIT);
}

void dn_image_said_note(DnImageSaid *self, const DnDamage *damage)
{
	unsigned bits = bits_of(self, damage->path) | bit_of(damage);

	g_hash_table_replace(self->paths, g_strdup(damage->path), GUINT_TO_POINTER(bits));
}

void dn_image_said_take_back(DnImageSaid *self, const char *path)
{
	(void)g_hash_table_remove(self->paths, path);
}

void dn_image_said_take_back_all(DnImageSaid *self, DnDamageKind kind)
{
	GHashTableIter iter;
	gpointer value = NULL;

	g_hash_table_iter_init(&iter, self->paths);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		unsigned left = GPOINTER_TO_UINT(value) & ~(1u << kind);

		if (left == 0)
			g_hash_table_iter_remove(&iter);
		else
			g_hash_table_iter_replace(&iter, GUINT_TO_POINTER(left));
	}
}
