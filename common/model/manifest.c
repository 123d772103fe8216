/* SPDX-License-Identifier: Apache-2.0 */
#include "model/manifest.h"

#include <signal.h>

static void clear_egress(gpointer data)
{
	DnEgress *egress = data;

	g_free(egress->service);
	g_free(egress->cidr);
}

static void clear_writable(gpointer data)
{
	DnWritable *writable = data;

	g_free(writable->path);
}

void dn_run_clear(DnRun *self)
{
	g_clear_pointer(&self->args, g_strfreev);
	g_clear_pointer(&self->env, g_strfreev);
	g_clear_pointer(&self->cwd, g_free);
	g_clear_pointer(&self->may_exec, g_strfreev);
	self->uid = -1;
}

void dn_run_copy(const DnRun *self, DnRun *copy)
{
	*copy = *self;
	copy->args = g_strdupv(self->args);
	copy->env = g_strdupv(self->env);
	copy->cwd = g_strdup(self->cwd);
	copy->may_exec = g_strdupv(self->may_exec);
}

DnManifest *dn_manifest_new(void)
{
	DnManifest *self = g_new0(DnManifest, 1);

	self->refs = 1;
	self->run.uid = -1;
	self->run.stop_signal = SIGTERM;
	self->run.stop_grace_ms = 5000;
	self->run.start_deadline_ms = 10000;
	self->replicas = 1;
	self->listen = g_array_new(FALSE, TRUE, sizeof(DnListen));
	self->egress = g_array_new(FALSE, TRUE, sizeof(DnEgress));
	g_array_set_clear_func(self->egress, clear_egress);
	self->writable = g_array_new(FALSE, TRUE, sizeof(DnWritable));
	g_array_set_clear_func(self->writable, clear_writable);
	self->health = (DnHealthPolicy){
		.every_ms = 1000,
		.timeout_ms = 500,
		.rise = 2,
		.fall = 2,
		.replace_after_ms = 10000,
	};
	self->drift_exec = DN_ANSWER_QUARANTINE;
	self->respawn_count = 5;
	self->respawn_within_ms = 600000;
	self->roll_surge = 1;
	self->roll_drain_ms = 30000;
	self->roll_deadline_ms = 60000;
	self->spread_host = true;
	return self;
}

DnManifest *dn_manifest_ref(DnManifest *self)
{
	g_atomic_int_inc(&self->refs);
	return self;
}

void dn_manifest_unref(DnManifest *self)
{
	if (self == NULL || !g_atomic_int_dec_and_test(&self->refs))
		return;
	g_free(self->digest);
	g_free(self->service);
	g_free(self->image_ref);
	g_free(self->image_commit);
	dn_run_clear(&self->run);
	g_array_unref(self->listen);
	g_array_unref(self->egress);
	g_array_unref(self->writable);
	g_free(self->health.path);
	g_free(self);
}

const char *dn_protocol_name(DnProtocol protocol)
{
	return protocol == DN_PROTOCOL_UDP ? "udp" : "tcp";
}

bool dn_protocol_parse(const char *name, DnProtocol *protocol)
{
	if (!g_str_equal(name, "udp") && !g_str_equal(name, "tcp"))
		return false;
	*protocol = name[0] == 'u' ? DN_PROTOCOL_UDP : DN_PROTOCOL_TCP;
	return true;
}
