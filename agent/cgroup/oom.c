/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/cgroup.h"

#include "base/file.h"
#include "base/text.h"

/* As many as a node may have (pids: 32,768), at 11 bytes a line. */
enum { PROCS_BYTES = 512 * 1024 };

void dn_cgroup_spare_now(const DnInstance *instance, const char *node)
{
	g_autofree char *path = g_build_filename(instance->cgroup_root, instance->cgroup_parent,
						 node, "cgroup.procs", NULL);
	g_autofree char *text = dn_file_read_kernel(path, PROCS_BYTES, NULL);
	g_auto(GStrv) pids = g_strsplit(text != NULL ? text : "", "\n", -1);

	for (unsigned i = 0; pids[i] != NULL; i++) {
		uint64_t pid = 0;

		if (!dn_text_parse_u64(pids[i], INT32_MAX, &pid) || pid == 0)
			continue;
		g_autofree char *score = g_strdup_printf("/proc/%u/oom_score_adj", (unsigned)pid);
		/* One that has ended needs none; nothing depends on it. */
		(void)!dn_file_write_kernel(score, "0", NULL);
	}
}
