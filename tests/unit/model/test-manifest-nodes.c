/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "model/manifest.h"
#include "support/suite.h"

static DnManifest *before, *after;

static DnManifest *make(void)
{
	DnManifest *manifest = dn_manifest_new();
	DnListen listen = {.port = 8080, .expose = 80};
	DnEgress egress = {.service = g_strdup("db"), .port = 5432};
	DnWritable writable = {.path = g_strdup("/tmp"), .size_bytes = 4096};

	manifest->service = g_strdup("web");
	manifest->epoch = 7;
	manifest->digest = g_strdup("d7");
	manifest->image_ref = g_strdup("apps/hello");
	manifest->image_commit = g_strnfill(64, 'a');
	manifest->run.args = g_strsplit("/hello 8080", " ", 0);
	manifest->run.env = g_strsplit("A=1 B=2", " ", 0);
	g_array_append_val(manifest->listen, listen);
	g_array_append_val(manifest->egress, egress);
	g_array_append_val(manifest->writable, writable);
	return manifest;
}

static void setup(void)
{
	before = make();
	after = make();
}

static void teardown(void)
{
	g_clear_pointer(&before, dn_manifest_unref);
	g_clear_pointer(&after, dn_manifest_unref);
	dn_suite_end();
}

TestSuite(manifest_nodes, .init = setup, .fini = teardown);

static bool stay(void)
{
	bool there = dn_manifest_makes_same_nodes(before, after);

	cr_assert(eq(int, dn_manifest_makes_same_nodes(after, before), there));
	return there;
}

Test(manifest_nodes, stay_when_there_are_more_elsewhere_for_longer_or_rolled_otherwise)
{
	after->epoch = 8;
	g_free(after->digest);
	after->digest = g_strdup("d8");
	after->replicas = 9;
	after->standby = 2;
	after->valid_until_ns = 5;
	after->respawn_count = 1;
	after->respawn_within_ms = 1;
	after->respawn_isolates = true;
	after->roll_surge = 7;
	after->roll_drain_ms = 1;
	after->roll_deadline_ms = 1;
	after->spread_host = false;
	cr_assert(stay());
}

#define REPLACED_BY(change_)                                                                       \
	do {                                                                                       \
		change_;                                                                           \
		cr_assert(not(stay()), #change_);                                                  \
		g_clear_pointer(&after, dn_manifest_unref);                                        \
		after = make();                                                                    \
		cr_assert(stay());                                                                 \
	} while (0)

static void set(char **text, const char *value)
{
	g_free(*text);
	*text = g_strdup(value);
}

Test(manifest_nodes, are_replaced_when_they_would_be_anything_else)
{
	REPLACED_BY(after->removed = true);
	REPLACED_BY(set(&after->service, "site"));
	REPLACED_BY(set(&after->image_ref, "apps/other"));
	REPLACED_BY(after->image_commit[63] = 'b');
	REPLACED_BY(after->restart = 1);
	REPLACED_BY(after->standby_started = true);
	REPLACED_BY(set(&after->run.args[1], "8081"));
	REPLACED_BY(set(&after->run.env[0], "A=2"));
	REPLACED_BY(g_clear_pointer(&after->run.env, g_strfreev));
	REPLACED_BY(set(&after->run.cwd, "/srv"));
	REPLACED_BY(after->run.uid = 5);
	REPLACED_BY(after->run.may_exec = g_new0(char *, 1));
	REPLACED_BY(after->run.jit = true);
	REPLACED_BY(after->run.stop_signal = 2);
	REPLACED_BY(after->run.stop_grace_ms = 1);
	REPLACED_BY(after->run.start_deadline_ms = 1);
	REPLACED_BY(g_array_index(after->listen, DnListen, 0).expose = 81);
	REPLACED_BY(g_array_index(after->listen, DnListen, 0).port = 81);
	REPLACED_BY(g_array_index(after->listen, DnListen, 0).protocol = DN_PROTOCOL_UDP);
	REPLACED_BY(g_array_set_size(after->listen, 2));
	REPLACED_BY(set(&g_array_index(after->egress, DnEgress, 0).service, "dc"));
	REPLACED_BY(g_array_set_size(after->egress, 0));
	REPLACED_BY(g_array_index(after->writable, DnWritable, 0).size_bytes = 1);
	REPLACED_BY(after->memory_bytes = 1);
	REPLACED_BY(after->cpu_milli = 1);
	REPLACED_BY(after->pids = 1);
	REPLACED_BY(after->files = 1);
	REPLACED_BY(after->health.rise = 9);
	REPLACED_BY(after->health.kind = DN_PROBE_TCP);
	REPLACED_BY(after->health.replace_after_ms = 9);
	REPLACED_BY(after->drift[DN_DRIFT_EXEC] = DN_ANSWER_OBSERVE);
}
