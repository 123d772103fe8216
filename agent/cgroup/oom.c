/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/cgroup.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/members.h"

static void spare(int proc_fd, void *data)
{
	dn_autofd int score = openat(proc_fd, "oom_score_adj", O_WRONLY | O_CLOEXEC);

	/* One that has ended needs none; nothing depends on it. */
	if (score >= 0)
		(void)!write(score, "0", 1);
}

void dn_cgroup_spare_now(const DnInstance *instance, const char *node)
{
	g_autofree char *procs = g_build_filename(instance->cgroup_root, instance->cgroup_parent,
						  node, "cgroup.procs", NULL);
	g_autofree char *group = g_strdup_printf("/%s/%s", instance->cgroup_parent, node);

	dn_members_visit(procs, group, spare, NULL);
}
