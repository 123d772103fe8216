/* SPDX-License-Identifier: Apache-2.0 */
#include "uplink/numbers.h"

#include <gio/gio.h>

#include "base/failpoint.h"
#include "base/file.h"
#include "base/id.h"
#include "base/text.h"
#include "wire/json.h"

enum { NAME_BYTES = 8, NAME_DIGITS = 16, RESERVE = 4096, SMALL = 4096 };

static bool save(DnNumbers *self, uint64_t reserved, GError **error)
{
	if (!dn_failpoint("agent.spool.numbers.before", error))
		return false;
	JsonObject *object = json_object_new();
	dn_json_set_string(object, "name", self->name);
	json_object_set_int_member(object, "reserved", (gint64)reserved);
	json_object_set_int_member(object, "dropped", (gint64)self->dropped);
	g_autoptr(GBytes) bytes = dn_json_print(object);
	if (!dn_file_replace(self->path, bytes, 0600, error))
		return false;
	self->reserved = reserved;
	return true;
}

static bool load(DnNumbers *self, GError **error)
{
	g_autoptr(GBytes) bytes = dn_file_read(self->path, SMALL, error);
	g_autoptr(JsonObject) object = bytes != NULL ? dn_json_parse(bytes, SMALL, error) : NULL;
	GError *failed = NULL;

	if (object == NULL)
		return false;
	self->name = dn_json_string(object, "name", NAME_DIGITS, &failed);
	self->reserved = dn_json_u64(object, "reserved", G_MAXINT64 / 2, &failed);
	self->dropped = dn_json_u64(object, "dropped", G_MAXINT64, &failed);
	if (failed == NULL && !dn_text_is_hex(self->name, NAME_DIGITS))
		g_set_error(&failed, DN_ERROR, DN_ERROR_INVALID, "name: not hexadecimal");
	if (failed != NULL)
		g_propagate_error(error, failed);
	return failed == NULL;
}

uint64_t dn_numbers_init(DnNumbers *self, const char *directory)
{
	g_autoptr(GError) unread = NULL, unsaved = NULL;

	*self = (DnNumbers){.path = g_build_filename(directory, "spool.json", NULL)};
	if (!load(self, &unread)) {
		/* By another name, for which the supervisor begins to count anew. */
		if (!g_error_matches(unread, G_IO_ERROR, G_IO_ERROR_NOT_FOUND))
			g_warning("%s: %s", self->path, unread->message);
		g_free(self->name);
		self->name = dn_id_new(NAME_BYTES);
		self->dropped = 0;
	}
	uint64_t last = self->reserved;
	if (!dn_numbers_reserve(self, last, &unsaved))
		g_warning("%s", unsaved->message);
	return last;
}

void dn_numbers_clear(DnNumbers *self)
{
	g_clear_pointer(&self->path, g_free);
	g_clear_pointer(&self->name, g_free);
}

bool dn_numbers_reserve(DnNumbers *self, uint64_t last, GError **error)
{
	return save(self, MAX(self->reserved, last) + RESERVE, error);
}

void dn_numbers_found(DnNumbers *self, uint64_t last)
{
	g_autoptr(GError) error = NULL;

	if (last > self->reserved && !dn_numbers_reserve(self, last, &error))
		g_warning("%s", error->message);
}

void dn_numbers_set_dropped(DnNumbers *self, uint64_t dropped)
{
	g_autoptr(GError) error = NULL;

	self->dropped = dropped;
	if (!save(self, self->reserved, &error))
		g_warning("%s", error->message);
}
