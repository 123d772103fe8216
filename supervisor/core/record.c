/* SPDX-License-Identifier: Apache-2.0 */
#include "core/record.h"

#include <string.h>

DnDeclaration *dn_declaration_new(DnManifest *manifest, GBytes *bytes, GPtrArray *signatures)
{
	DnDeclaration *self = g_new0(DnDeclaration, 1);

	self->manifest = dn_manifest_ref(manifest);
	self->bytes = g_bytes_ref(bytes);
	self->signatures = g_ptr_array_ref(signatures);
	return self;
}

DnDeclaration *dn_declaration_copy(const DnDeclaration *self)
{
	return dn_declaration_new(self->manifest, self->bytes, self->signatures);
}

void dn_declaration_free(DnDeclaration *self)
{
	if (self == NULL)
		return;
	dn_manifest_unref(self->manifest);
	g_bytes_unref(self->bytes);
	g_ptr_array_unref(self->signatures);
	g_free(self);
}

DnShare *dn_share_new(const char *host, uint32_t running, uint32_t standby)
{
	DnShare *self = g_new0(DnShare, 1);

	self->host = g_strdup(host);
	self->running = running;
	self->standby = standby;
	return self;
}

void dn_share_free(DnShare *self)
{
	if (self == NULL)
		return;
	g_free(self->host);
	g_free(self);
}

static void free_release(gpointer data)
{
	DnReleaseRecord *release = data;

	dn_declaration_free(release->declaration);
	g_ptr_array_unref(release->shares);
	g_ptr_array_unref(release->former);
	g_free(release);
}

DnServiceRecord *dn_service_record_new(const char *name, const char *vip)
{
	DnServiceRecord *self = g_new0(DnServiceRecord, 1);

	self->name = g_strdup(name);
	self->vip = g_strdup(vip);
	self->releases = g_ptr_array_new_with_free_func(free_release);
	self->drills = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	return self;
}

void dn_service_record_add(DnServiceRecord *self, const DnDeclaration *declaration,
			   GPtrArray *shares, GPtrArray *former)
{
	DnReleaseRecord *release = g_new0(DnReleaseRecord, 1);

	release->declaration = dn_declaration_copy(declaration);
	release->shares = g_ptr_array_ref(shares);
	release->former = g_ptr_array_ref(former);
	g_ptr_array_add(self->releases, release);
}

void dn_service_record_free(DnServiceRecord *self)
{
	if (self == NULL)
		return;
	g_free(self->name);
	g_free(self->vip);
	g_free(self->roll_error);
	g_ptr_array_unref(self->releases);
	g_array_unref(self->drills);
	g_free(self);
}

DnHostRecord *dn_host_record_new(const char *name, const uint8_t *key, const char *cidr,
				 const char *address)
{
	DnHostRecord *self = g_new0(DnHostRecord, 1);

	self->name = g_strdup(name);
	memcpy(self->key, key, sizeof(self->key));
	self->cidr = g_strdup(cidr);
	self->address = g_strdup(address);
	return self;
}

void dn_host_record_free(DnHostRecord *self)
{
	if (self == NULL)
		return;
	g_free(self->name);
	g_free(self->cidr);
	g_free(self->address);
	g_free(self->suspect);
	g_free(self->fenced);
	g_free(self->spool);
	g_free(self);
}

DnTokenRecord *dn_token_record_new(const char *hash, const char *host, uint64_t expires_ns)
{
	DnTokenRecord *self = g_new0(DnTokenRecord, 1);

	self->hash = g_strdup(hash);
	self->host = g_strdup(host);
	self->expires_ns = expires_ns;
	return self;
}

void dn_token_record_free(DnTokenRecord *self)
{
	if (self == NULL)
		return;
	g_free(self->hash);
	g_free(self->host);
	g_free(self);
}
