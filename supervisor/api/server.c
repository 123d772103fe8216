/* SPDX-License-Identifier: Apache-2.0 */
#include "api/internal.h"

enum { SOCKET_MODE = 0660 };

static void on_crowded(unsigned count, void *owner)
{
	const DnApi *self = owner;

	if (self->ops.crowded != NULL)
		self->ops.crowded("people's socket", count, self->data);
}

DnApi *dn_api_new(const DnApiConfig *config, const DnApiOps *ops, void *data, GError **error)
{
	g_autoptr(DnApi) self = g_new0(DnApi, 1);

	self->core = config->core;
	self->ops = *ops;
	self->data = data;
	self->streams = g_ptr_array_new();
	self->server = dn_http_server_new(&(DnHttpServerConfig){.socket_path = config->socket_path,
								.mode = SOCKET_MODE,
								.spool_dir = config->spool_dir,
								.routes = dn_api_routes,
								.owner = self,
								.crowded = on_crowded},
					  error);
	return self->server != NULL ? g_steal_pointer(&self) : NULL;
}

void dn_api_free(DnApi *self)
{
	if (self == NULL)
		return;
	dn_streams_clear(self);
	dn_http_server_free(self->server);
	g_ptr_array_unref(self->streams);
	g_free(self);
}

void dn_api_reply(DnApiReply *self, JsonObject *document)
{
	dn_http_reply(self, document);
}

void dn_api_reply_error(DnApiReply *self, const GError *error)
{
	dn_http_reply_error(self, error);
}
