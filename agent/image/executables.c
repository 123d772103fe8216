/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <dnode/sensor-abi-user.h>

#include "base/fd.h"
#include "image/checkout.h"
#include "image/identity.h"
#include "image/store.h"
#include "image/traverse.h"

typedef struct {
	int root_fd;
	GArray *found; /* of DnFileIdentity */
} Search;

static bool is_executable(const struct stat *info)
{
	return S_ISREG(info->st_mode) && (info->st_mode & 0111) != 0;
}

static bool add(Search *search, const struct stat *info, GError **error)
{
	DnFileIdentity identity = {
		.dev = (uint64_t)major(info->st_dev) << 20 | minor(info->st_dev),
		.ino = info->st_ino,
	};

	if (search->found->len == DN_SENSOR_ALLOW) {
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
			    "the image has more than %d executable files: name those it needs in "
			    "run.may_exec",
			    DN_SENSOR_ALLOW);
		return false;
	}
	g_array_append_val(search->found, identity);
	return true;
}

static bool pass_directory(const char *path, const char *tree, const char *meta, gpointer data,
			   GError **error)
{
	return true;
}

static bool look_at_file(const char *path, const char *checksum, gpointer data, GError **error)
{
	Search *search = data;
	dn_autofd int fd = dn_image_open_inside(search->root_fd, path, O_PATH);
	struct stat info = {0};

	if (fd < 0 || fstat(fd, &info) < 0)
		return dn_throw_errno(error, errno, "look at /%s", path);
	return !is_executable(&info) || add(search, &info, error);
}

/* A path of run.may_exec may be a link: what counts is the file a node would execute by it. */
static bool add_named(Search *search, const char *path, GError **error)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};
	dn_autofd int fd = (int)syscall(SYS_openat2, search->root_fd, path, &how, sizeof(how));
	struct stat info = {0};

	if (fd < 0 || fstat(fd, &info) < 0 || !is_executable(&info)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "run.may_exec names %s, which is no executable file of the image",
			    path);
		return false;
	}
	return add(search, &info, error);
}

static bool search_all(Search *search, const DnImageRepo *repo, const char *commit,
		       char *const *may_exec, GError **error)
{
	static const DnImageVisitor visitor = {pass_directory, look_at_file};

	if (may_exec == NULL)
		return dn_image_traverse(repo, commit, &visitor, search, error);
	for (size_t i = 0; may_exec[i] != NULL; i++)
		if (!add_named(search, may_exec[i], error))
			return false;
	return true;
}

GArray *dn_image_checkout_executables(const DnImageRepo *repo, const char *commit, const char *path,
				      char *const *may_exec, GError **error)
{
	dn_autofd int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	g_autoptr(GArray) found = g_array_new(FALSE, FALSE, sizeof(DnFileIdentity));
	Search search = {.root_fd = fd, .found = found};

	if (fd < 0) {
		dn_throw_errno(error, errno, "open checkout %s", path);
		return NULL;
	}
	if (!search_all(&search, repo, commit, may_exec, error))
		return NULL;
	return g_steal_pointer(&found);
}
