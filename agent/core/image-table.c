/* SPDX-License-Identifier: Apache-2.0 */
#include "core/image-table.h"

struct DnImageTable {
	GHashTable *images; /* owned: char * key → Image * */
	GArray *dropped;    /* owned: of uint32_t, each once */
	uint32_t last;      /* number that was drawn or is in use */
};

typedef struct {
	DnImageSet set;
	DnRun defaults;
} Image;

static void free_image(gpointer data)
{
	Image *image = data;

	dn_run_clear(&image->defaults);
	g_free(image);
}

static Image *new_image(const DnImageSet *set)
{
	Image *image = g_new0(Image, 1);

	image->set = *set;
	image->defaults.uid = -1;
	return image;
}

DnImageTable *dn_image_table_new(void)
{
	DnImageTable *self = g_new0(DnImageTable, 1);

	self->images = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_image);
	self->dropped = g_array_new(FALSE, FALSE, sizeof(uint32_t));
	return self;
}

void dn_image_table_free(DnImageTable *self)
{
	if (self == NULL)
		return;
	g_hash_table_unref(self->images);
	g_array_unref(self->dropped);
	g_free(self);
}

static bool is_dropped(const DnImageTable *self, uint32_t number, guint *at)
{
	for (*at = 0; *at < self->dropped->len; ++*at)
		if (g_array_index(self->dropped, uint32_t, *at) == number)
			return true;
	return false;
}

static void note_dropped(DnImageTable *self, uint32_t number)
{
	guint at = 0;

	if (!is_dropped(self, number, &at))
		g_array_append_val(self->dropped, number);
}

static bool is_taken(const DnImageTable *self, uint32_t number)
{
	GHashTableIter iter;
	gpointer value = NULL;

	g_hash_table_iter_init(&iter, self->images);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		if (((const Image *)value)->set.number == number)
			return true;
	return false;
}

DnImageSet dn_image_table_take(DnImageTable *self, const char *key, const guint *placed,
			       DnRun *defaults)
{
	Image *image = g_hash_table_lookup(self->images, key);

	if (image != NULL && image->set.known && (placed == NULL || image->set.placed != *placed)) {
		note_dropped(self, image->set.number);
		image = NULL;
	}
	if (image == NULL) {
		image = new_image(&(DnImageSet){.number = ++self->last});
		g_hash_table_replace(self->images, g_strdup(key), image);
	}
	if (image->set.known)
		dn_run_copy(&image->defaults, defaults);
	return image->set;
}

static void enter(DnImageTable *self, const char *key, const DnImageSet *set, const DnRun *defaults)
{
	const Image *before = g_hash_table_lookup(self->images, key);
	Image *image = new_image(set);

	if (before != NULL && before->set.number != set->number)
		note_dropped(self, before->set.number);
	image->set.known = true;
	dn_run_copy(defaults, &image->defaults);
	g_hash_table_replace(self->images, g_strdup(key), image);
}

void dn_image_table_remember(DnImageTable *self, const char *key, const DnImageSet *set,
			     const DnRun *defaults)
{
	const Image *image = g_hash_table_lookup(self->images, key);

	if (image != NULL && image->set.number == set->number && !image->set.known)
		enter(self, key, set, defaults);
}

void dn_image_table_adopt(DnImageTable *self, const char *key, const DnImageSet *set,
			  const DnRun *defaults)
{
	guint at = 0;

	self->last = MAX(self->last, set->number);
	if (key == NULL) {
		if (!is_taken(self, set->number))
			note_dropped(self, set->number);
		return;
	}
	if (is_dropped(self, set->number, &at))
		g_array_remove_index_fast(self->dropped, at);
	enter(self, key, set, defaults);
}

void dn_image_table_drop(DnImageTable *self, const char *commit)
{
	GHashTableIter iter;
	gpointer key = NULL, value = NULL;

	g_hash_table_iter_init(&iter, self->images);
	while (g_hash_table_iter_next(&iter, &key, &value))
		if (g_str_has_prefix(key, commit)) {
			note_dropped(self, ((const Image *)value)->set.number);
			g_hash_table_iter_remove(&iter);
		}
}

GArray *dn_image_table_dropped(DnImageTable *self)
{
	return self->dropped;
}
