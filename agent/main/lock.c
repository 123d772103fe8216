/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

#include "base/error.h"

enum { PAUSE_MS = 50 };

bool dn_agent_lock(const DnInstance *instance, unsigned wait_ms, int *fd, GError **error)
{
	g_autofree char *path = g_build_filename(instance->run_dir, "agent.lock", NULL);

	*fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (*fd < 0)
		return dn_throw_errno(error, errno, "open %s", path);
	for (unsigned waited = 0; flock(*fd, LOCK_EX | LOCK_NB) != 0; waited += PAUSE_MS) {
		if (waited >= wait_ms) {
			g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
				    "an agent of %s runs already", instance->name);
			return false;
		}
		g_usleep(PAUSE_MS * 1000);
	}
	return true;
}
