/* SPDX-License-Identifier: Apache-2.0 */
#include "audit/judge.h"
#include "audit/text.h"
#include "fuzz/fuzz.h"

/* The same text in every place where a node's own words can stand: no judge may trust one. */
static void judge(const char *text)
{
	g_autoptr(DnSight) seen = dn_sight_new();
	g_autoptr(DnManifest) manifest = dn_manifest_new();
	DnAuditNode node = {.node = "web-0", .manifest = manifest, .started = true};
	DnSeenProcess *process = dn_sight_add_process(seen, 1);

	process->status = g_strdup(text);
	process->stat = g_strdup(text);
	dn_sight_add_fd(seen, 0, text, 7);
	seen->mounts = g_strdup(text);
	seen->limits = g_strdup(text);
	seen->uid_map = g_strdup(text);
	seen->oom = g_strdup(text);
	seen->tcp6 = g_strdup(text);
	seen->udp = g_strdup(text);
	seen->packet = g_strdup(text);
	seen->resources.devices = g_strdup(text);
	g_ptr_array_unref(dn_audit_judge(&node, seen));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *text = fuzz_text(data, size);

	(void)dn_mount_size(text);
	judge(text);
	return 0;
}
