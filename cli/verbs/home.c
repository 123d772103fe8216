/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/home.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "manifest/trust-file.h"
#include "seal/trust.h"
#include "verbs/named.h"

#define LOCK_PATIENCE_NS (10 * DN_NS_PER_S)
#define LOCK_LOOK_US (5 * 1000)

char *dn_home_path(const DnCall *call, const char *name, GError **error)
{
	g_autofree char *home = dn_call_home(call, error);

	return home != NULL ? g_build_filename(home, name, NULL) : NULL;
}

DnTrustPolicy *dn_home_parse_trust(GBytes *bytes, const char *name, GError **error)
{
	g_autoptr(DnTrustPolicy) policy = dn_trust_file_parse(bytes, name, error);

	if (policy == NULL || !dn_trust_check_keys(policy, name, error))
		return NULL;
	return g_steal_pointer(&policy);
}

DnTrustPolicy *dn_home_trust(const DnCall *call, char **path, GError **error)
{
	g_autofree char *file = dn_home_path(call, "trust.yaml", error);
	g_autoptr(GBytes) bytes =
		file != NULL ? dn_file_read(file, DN_HOME_FILE_LIMIT, error) : NULL;
	DnTrustPolicy *policy = bytes != NULL ? dn_home_parse_trust(bytes, file, error) : NULL;

	if (bytes == NULL)
		dn_named_blame(error, "name a cluster's directory with --home, or make one with "
				      "'dnode cluster init'");
	if (policy != NULL && path != NULL)
		*path = g_steal_pointer(&file);
	return policy;
}

int dn_home_lock(const char *directory, GError **error)
{
	uint64_t deadline = dn_clock_monotonic_ns() + LOCK_PATIENCE_NS;
	dn_autofd int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK && errno != EINTR) {
			dn_throw_errno(error, errno, "lock %s", directory);
			return -1;
		}
		if (dn_clock_monotonic_ns() > deadline) {
			g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
				    "%s: another command is at work on its files; try again",
				    directory);
			return -1;
		}
		g_usleep(LOCK_LOOK_US);
	}
	if (fd < 0)
		dn_throw_errno(error, errno, "open %s", directory);
	return g_steal_fd(&fd);
}

char *dn_home_repo(const DnCall *call, GError **error)
{
	const char *named = dn_call_option(call, "repo");

	return named != NULL ? g_strdup(named) : dn_home_path(call, "repo", error);
}

DnImageRepo *dn_home_open_repo(const DnCall *call, GError **error)
{
	g_autofree char *path = dn_home_repo(call, error);
	DnImageRepo *repo = path != NULL ? dn_image_repo_open_now(path, error) : NULL;

	if (repo == NULL)
		dn_named_blame(error, "build an image first, or name where one was with --repo");
	return repo;
}
