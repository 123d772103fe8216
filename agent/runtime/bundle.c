/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/file.h"
#include "runtime/oci-config.h"
#include "wire/json.h"

enum { NODE_NAME_BYTES = 63, HOSTS_BYTES = 1024 * 1024 };

bool dn_bundle_check_name(const char *node, GError **error)
{
	size_t length = strlen(node);

	if (length > 0 && length <= NODE_NAME_BYTES && node[0] != '-' &&
	    strspn(node, "abcdefghijklmnopqrstuvwxyz0123456789-") == length)
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "'%.80s' cannot be the name of a node",
		    node);
	return false;
}

char *dn_bundle_path(const DnInstance *instance, const char *node, const char *file)
{
	return g_build_filename(instance->run_dir, "bundles", node, file, NULL);
}

/* The file type at @path inside the image, no link followed: 0 when there is nothing. */
static mode_t type_in_image(int root_fd, const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC | O_NOFOLLOW,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	dn_autofd int fd = (int)syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
	struct stat info;

	if (fd < 0 || fstat(fd, &info) < 0)
		return errno == ELOOP ? S_IFLNK : 0;
	return info.st_mode & S_IFMT;
}

static bool want_directory(int root_fd, const char *path, GError **error)
{
	mode_t type = type_in_image(root_fd, path);

	if (type == S_IFDIR)
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
		    "the image has no plain directory %s (%s), which the node needs as a mount "
		    "point: add it to the image's recipe and build again",
		    path, type == 0 ? "nothing is there" : "something else is there");
	return false;
}

/* A mount point below another writable path is made by the runtime. */
static bool is_inside_another(const GArray *writable, guint which)
{
	const char *path = g_array_index(writable, DnWritable, which).path;

	for (guint i = 0; i < writable->len; i++) {
		const char *other = g_array_index(writable, DnWritable, i).path;
		size_t length = strlen(other);

		if (i != which && strncmp(path, other, length) == 0 && path[length] == '/')
			return true;
	}
	return strcmp(path, "/dev/shm") == 0;
}

static bool check_image(int root_fd, const DnContainerSpec *spec, GError **error)
{
	const GArray *writable = spec->manifest->writable;

	if (!want_directory(root_fd, "/proc", error) || !want_directory(root_fd, "/dev", error) ||
	    (spec->hosts_file != NULL && !want_directory(root_fd, "/etc", error)))
		return false;
	for (guint i = 0; i < writable->len; i++)
		if (!is_inside_another(writable, i) &&
		    !want_directory(root_fd, g_array_index(writable, DnWritable, i).path, error))
			return false;
	return true;
}

/* A link, so that what is written to the host's file later shows in the node too. */
static bool make_overlay(const char *directory, const char *hosts_file, GError **error)
{
	g_autofree char *path = g_build_filename(directory, "hosts", NULL);

	if (!dn_file_make_directory(directory, 0755, error))
		return false;
	/* It is what the node sees as /etc, whatever the umask is. */
	if (chmod(directory, 0755) < 0)
		return dn_throw_errno(error, errno, "chmod %s", directory);
	if (link(hosts_file, path) == 0)
		return true;
	if (errno != EXDEV && errno != EMLINK && errno != EPERM)
		return dn_throw_errno(error, errno, "link %s to %s", hosts_file, path);
	g_autoptr(GBytes) text = dn_file_read(hosts_file, HOSTS_BYTES, error);
	return text != NULL && dn_file_replace(path, text, 0644, error);
}

static bool write_config(const char *path, const DnOciInput *input, GError **error)
{
	JsonObject *config = dn_oci_config(input, error);

	if (config == NULL)
		return false;
	g_autoptr(GBytes) text = dn_json_print(config);

	return dn_file_replace_volatile(path, text, 0600, error);
}

bool dn_bundle_write(const DnInstance *instance, const DnContainerSpec *spec, GError **error)
{
	g_autofree char *directory = dn_bundle_path(instance, spec->node, NULL);
	g_autofree char *config = dn_bundle_path(instance, spec->node, "config.json");
	g_autofree char *etc = dn_bundle_path(instance, spec->node, "etc");
	dn_autofd int root_fd = open(spec->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	DnOciInput input = {
		.spec = spec,
		.cgroup_parent = instance->cgroup_parent,
		.memfd_sealed = dn_memfd_can_be_sealed(),
	};

	if (root_fd < 0)
		return dn_throw_errno(error, errno, "open root %s", spec->root);
	if (!check_image(root_fd, spec, error) || !dn_file_remove_tree(directory, error) ||
	    !dn_file_make_directory(directory, 0711, error))
		return false;
	if (spec->hosts_file != NULL && !dn_oci_is_writable(spec->manifest, "/etc/hosts") &&
	    type_in_image(root_fd, "/etc/hosts") != S_IFREG) {
		if (!make_overlay(etc, spec->hosts_file, error))
			return false;
		input.etc_overlay = etc;
	}
	return write_config(config, &input, error);
}
