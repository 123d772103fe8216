/* SPDX-License-Identifier: Apache-2.0 */
#include "image/listing.h"

#include <ostree.h>
#include <string.h>

struct DnImageListing {
	gatomicrefcount references;
	char *commit;
	GStringChunk *paths; /* owned */
	GArray *entries;     /* of DnImageEntry, sorted by path once sealed */
	GArray *runs;        /* of guint */
};

static void clear_entry(gpointer data)
{
	DnImageEntry *entry = data;

	g_clear_pointer(&entry->xattrs, g_variant_unref);
}

DnImageListing *dn_image_listing_new(const char *commit)
{
	DnImageListing *self = g_new0(DnImageListing, 1);

	g_atomic_ref_count_init(&self->references);
	self->commit = g_strdup(commit);
	self->paths = g_string_chunk_new(4096);
	self->entries = g_array_new(FALSE, FALSE, sizeof(DnImageEntry));
	g_array_set_clear_func(self->entries, clear_entry);
	self->runs = g_array_new(FALSE, FALSE, sizeof(guint));
	return self;
}

DnImageListing *dn_image_listing_ref(DnImageListing *self)
{
	g_atomic_ref_count_inc(&self->references);
	return self;
}

void dn_image_listing_unref(DnImageListing *self)
{
	if (self == NULL || !g_atomic_ref_count_dec(&self->references))
		return;
	g_array_unref(self->runs);
	g_array_unref(self->entries);
	g_string_chunk_free(self->paths);
	g_free(self->commit);
	g_free(self);
}

bool dn_image_listing_add(DnImageListing *self, const char *path, const char *checksum,
			  const DnImageFacts *facts)
{
	const struct stat *info = &facts->info;
	bool regular = S_ISREG(info->st_mode);
	DnImageEntry entry = {
		.mode = info->st_mode,
		.uid = info->st_uid,
		.gid = info->st_gid,
		.runs = regular && (facts->is_elf || (info->st_mode & 0111) != 0),
		.size_bytes = regular ? (uint64_t)info->st_size : 0,
	};

	if (!ostree_validate_checksum_string(checksum, NULL))
		return false;
	ostree_checksum_inplace_to_bytes(checksum, entry.checksum);
	entry.path = g_string_chunk_insert(self->paths, path);
	entry.xattrs = facts->xattrs != NULL ? g_variant_ref(facts->xattrs) : NULL;
	g_array_append_val(self->entries, entry);
	return true;
}

static int compare_paths(gconstpointer a, gconstpointer b)
{
	return strcmp(((const DnImageEntry *)a)->path, ((const DnImageEntry *)b)->path);
}

static int compare_sizes(gconstpointer a, gconstpointer b, gpointer data)
{
	const DnImageListing *self = data;
	uint64_t one = dn_image_listing_at(self, *(const guint *)a)->size_bytes;
	uint64_t other = dn_image_listing_at(self, *(const guint *)b)->size_bytes;

	return (one < other) - (one > other);
}

void dn_image_listing_seal(DnImageListing *self)
{
	g_array_sort(self->entries, compare_paths);
	for (guint i = 0; i < self->entries->len; i++)
		if (dn_image_listing_at(self, i)->runs)
			g_array_append_val(self->runs, i);
	g_array_sort_with_data(self->runs, compare_sizes, self);
}

const char *dn_image_listing_commit(const DnImageListing *self)
{
	return self->commit;
}

guint dn_image_listing_length(const DnImageListing *self)
{
	return self->entries->len;
}

const DnImageEntry *dn_image_listing_at(const DnImageListing *self, guint index)
{
	g_assert(index < self->entries->len);
	return &g_array_index(self->entries, DnImageEntry, index);
}

/* The first entry whose path is not before @path. */
static guint lower_bound(const DnImageListing *self, const char *path)
{
	guint from = 0, to = self->entries->len;

	while (from < to) {
		guint middle = from + (to - from) / 2;

		if (strcmp(dn_image_listing_at(self, middle)->path, path) < 0)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

bool dn_image_listing_find(const DnImageListing *self, const char *path, guint *index)
{
	guint at = lower_bound(self, path);

	if (at == self->entries->len || strcmp(dn_image_listing_at(self, at)->path, path) != 0)
		return false;
	*index = at;
	return true;
}

const DnImageEntry *dn_image_listing_next_in(const DnImageListing *self, const char *path,
					     guint *cursor)
{
	g_autofree char *prefix = path[0] == '\0' ? g_strdup("") : g_strconcat(path, "/", NULL);
	size_t length = strlen(prefix);
	/* Everything below a directory stands together; the root itself stands before it. */
	guint i = *cursor != 0 ? *cursor : MAX(1, lower_bound(self, prefix));

	for (; i < self->entries->len; i++) {
		const DnImageEntry *entry = dn_image_listing_at(self, i);

		if (strncmp(entry->path, prefix, length) != 0)
			return NULL;
		if (strchr(entry->path + length, '/') == NULL) {
			*cursor = i + 1;
			return entry;
		}
	}
	return NULL;
}

const GArray *dn_image_listing_runs(const DnImageListing *self)
{
	return self->runs;
}

DnImageAttributes dn_image_entry_attributes(const DnImageEntry *self, const char *target)
{
	return (DnImageAttributes){
		.uid = self->uid,
		.gid = self->gid,
		.mode = self->mode,
		.target = target,
		.xattrs = self->xattrs,
	};
}
