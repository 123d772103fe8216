/* SPDX-License-Identifier: Apache-2.0 */
#include "main/saved.h"

#include "base/error.h"
#include "base/file.h"
#include "wire/json.h"

void dn_saved_clear(DnSaved *self)
{
	g_free(self->id);
	g_free(self->digest);
	g_free(self->incident);
	g_free(self->mounts);
	*self = (DnSaved){0};
}

bool dn_saved_read(const char *path, DnSaved *self, GError **error)
{
	g_autoptr(GBytes) bytes = dn_file_read(path, 64 * 1024, error);
	g_autoptr(JsonObject) object =
		bytes == NULL ? NULL : dn_json_parse(bytes, 64 * 1024, error);
	GError *failed = NULL;

	if (object == NULL)
		return false;
	self->id = dn_json_string(object, "id", 64, &failed);
	self->slot = (uint32_t)dn_json_u64(object, "slot", DN_SLOTS - 1, &failed);
	self->digest = dn_json_string(object, "digest", 64, &failed);
	g_autofree char *state = dn_json_string(object, "state", 64, &failed);
	self->standby = dn_json_bool(object, "standby", &failed);
	self->healthy = dn_json_bool(object, "healthy", &failed);
	self->started_ns = dn_json_u64(object, "started", G_MAXINT64, &failed);
	self->image = (uint32_t)dn_json_u64(object, "image", G_MAXUINT32, &failed);
	self->uid = dn_json_i64_or(object, "uid", -1, &failed);
	self->incident = dn_json_string_or_null(object, "incident", 64, &failed);
	self->mounts = dn_json_string_or_null(object, "mounts", 128, &failed);
	if (failed == NULL && !dn_node_state_parse(state, &self->state))
		g_set_error(&failed, DN_ERROR, DN_ERROR_INVALID, "no state is called so");
	if (failed != NULL)
		g_propagate_error(error, failed);
	return failed == NULL;
}
