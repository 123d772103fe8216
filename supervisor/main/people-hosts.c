/* SPDX-License-Identifier: Apache-2.0 */

/* What people ask about hosts: who may enrol, who gets nodes, who is shut out. */

#include "main/internal.h"

#include "seal/digest.h"
#include "seal/token.h"
#include "wire/json.h"

static char *make_token(DnSupervisor *self, const char *host, DnNow now, char **hash,
			GError **error)
{
	g_autoptr(DnHostToken) token = dn_host_token_new();
	uint8_t bytes[DN_TOKEN_HASH_BYTES];

	token->address = g_strdup(self->cluster->advertise);
	token->cluster = g_strdup(self->cluster->id);
	token->host = g_strdup(host);
	token->expires_s = now.realtime_ns / DN_NS_PER_S + DN_FLEET_TOKEN_LIFE_S;
	dn_digest_of(self->key, sizeof(self->key), token->supervisor_fingerprint);
	dn_digest_of(g_bytes_get_data(self->trust_bytes, NULL), g_bytes_get_size(self->trust_bytes),
		     token->trust_digest);
	dn_token_secret_hash(token->secret, bytes);
	*hash = dn_digest_text(bytes);
	return dn_host_token_encode(token, error);
}

void dn_people_token(const char *host, DnApiReply *reply, void *data)
{
	DnSupervisor *self = data;
	DnNow now = dn_supervisor_now();
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(GError) error = NULL;
	g_autofree char *hash = NULL;

	if (!dn_people_may_change(self, reply))
		return;
	g_autofree char *text = make_token(self, host, now, &hash, &error);
	if (text == NULL || !dn_fleet_core_add_token(self->core, host, hash, now, acts, &error)) {
		dn_supervisor_carry_out(self, acts);
		dn_api_reply_error(reply, error);
		return;
	}
	JsonObject *document = json_object_new();
	dn_json_set_string(document, "token", text);
	dn_json_set_time(document, "expires",
			 now.realtime_ns + DN_FLEET_TOKEN_LIFE_S * DN_NS_PER_S);
	dn_json_set_string(document, "host", host);
	dn_supervisor_carry_out(self, acts);
	dn_supervisor_reply_after(self, reply, document);
}

void dn_people_cordon(const char *host, bool wanted, DnApiReply *reply, void *data)
{
	DnSupervisor *self = data;
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(GError) error = NULL;

	if (!dn_people_may_change(self, reply))
		return;
	if (!dn_fleet_core_cordon(self->core, host, wanted, dn_supervisor_now(), acts, &error)) {
		dn_api_reply_error(reply, error);
		return;
	}
	JsonObject *document = json_object_new();
	dn_json_set_string(document, "host", host);
	json_object_set_boolean_member(document, "cordoned", wanted);
	json_object_set_boolean_member(document, "changed", acts->records->len > 0);
	dn_supervisor_carry_out(self, acts);
	dn_supervisor_reply_after(self, reply, document);
}

void dn_people_fence(const char *host, const char *reason, DnApiReply *reply, void *data)
{
	DnSupervisor *self = data;
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(GError) error = NULL;

	if (!dn_people_may_change(self, reply))
		return;
	if (!dn_fleet_core_fence(self->core, host, reason, dn_supervisor_now(), acts, &error)) {
		dn_api_reply_error(reply, error);
		return;
	}
	JsonObject *document = json_object_new();
	dn_json_set_string(document, "host", host);
	dn_json_set_string(document, "fenced", dn_fleet_core_fenced(self->core, host));
	json_object_set_boolean_member(document, "changed", acts->records->len > 0);
	dn_supervisor_carry_out(self, acts);
	dn_sessions_shut_out(self->sessions, host, "it was fenced");
	dn_supervisor_reply_after(self, reply, document);
}
