/* SPDX-License-Identifier: Apache-2.0 */
#include "model/manifest.h"

#include <signal.h>
#include <string.h>

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
	for (unsigned i = 0; i < DN_DRIFT_LIMIT; i++)
		self->drift[i] = dn_drift_default((enum dn_drift_class)i);
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

/* ---- what a node is ---- */

static bool are_same_texts(char *const *a, char *const *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return g_strv_equal((const char *const *)a, (const char *const *)b);
}

static bool is_same_run(const DnRun *a, const DnRun *b)
{
	return are_same_texts(a->args, b->args) && are_same_texts(a->env, b->env) &&
	       g_strcmp0(a->cwd, b->cwd) == 0 && a->uid == b->uid &&
	       are_same_texts(a->may_exec, b->may_exec) && a->jit == b->jit &&
	       a->stop_signal == b->stop_signal && a->stop_grace_ms == b->stop_grace_ms &&
	       a->start_deadline_ms == b->start_deadline_ms;
}

static bool is_same_listen(const void *a, const void *b)
{
	const DnListen *x = a, *y = b;

	return x->port == y->port && x->protocol == y->protocol && x->expose == y->expose &&
	       x->publish_host == y->publish_host;
}

static bool is_same_egress(const void *a, const void *b)
{
	const DnEgress *x = a, *y = b;

	return g_strcmp0(x->service, y->service) == 0 && g_strcmp0(x->cidr, y->cidr) == 0 &&
	       x->port == y->port && x->protocol == y->protocol;
}

static bool is_same_writable(const void *a, const void *b)
{
	const DnWritable *x = a, *y = b;

	return g_strcmp0(x->path, y->path) == 0 && x->size_bytes == y->size_bytes;
}

static bool are_same_items(const GArray *a, const GArray *b,
			   bool (*is_same)(const void *, const void *))
{
	size_t size = g_array_get_element_size((GArray *)a);

	if (a->len != b->len)
		return false;
	for (guint i = 0; i < a->len; i++)
		if (!is_same(a->data + i * size, b->data + i * size))
			return false;
	return true;
}

static bool is_same_health(const DnHealthPolicy *a, const DnHealthPolicy *b)
{
	return a->kind == b->kind && g_strcmp0(a->path, b->path) == 0 && a->port == b->port &&
	       a->every_ms == b->every_ms && a->timeout_ms == b->timeout_ms && a->rise == b->rise &&
	       a->fall == b->fall && a->replace_after_ms == b->replace_after_ms;
}

bool dn_manifest_is_expired(const DnManifest *self, uint64_t realtime_ns)
{
	return !self->removed && self->valid_until_ns != 0 && self->valid_until_ns <= realtime_ns;
}

bool dn_manifest_makes_same_nodes(const DnManifest *a, const DnManifest *b)
{
	if (a->removed || b->removed || g_strcmp0(a->service, b->service) != 0)
		return false;
	return g_strcmp0(a->image_ref, b->image_ref) == 0 &&
	       g_strcmp0(a->image_commit, b->image_commit) == 0 && a->restart == b->restart &&
	       is_same_run(&a->run, &b->run) && a->standby_started == b->standby_started &&
	       are_same_items(a->listen, b->listen, is_same_listen) &&
	       are_same_items(a->egress, b->egress, is_same_egress) &&
	       are_same_items(a->writable, b->writable, is_same_writable) &&
	       a->memory_bytes == b->memory_bytes && a->cpu_milli == b->cpu_milli &&
	       a->pids == b->pids && a->files == b->files &&
	       is_same_health(&a->health, &b->health) &&
	       memcmp(a->drift, b->drift, sizeof(a->drift)) == 0;
}
