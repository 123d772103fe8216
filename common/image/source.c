/* SPDX-License-Identifier: Apache-2.0 */
#include "image/source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "image/repository.h"
#include "image/run-file.h"

static int open_beneath(int base_fd, const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};

	return (int)syscall(SYS_openat2, base_fd, path, &how, sizeof(how));
}

/* Why a source cannot be opened; a path that leaves the directory is the recipe's fault. */
static bool cannot_open(DnImageTree *tree, const char *source, int errsv, GError **error)
{
	if (errsv == EXDEV)
		return dn_image_tree_fault(
			tree, "source %s leads out of the recipe's directory: copy it in", source);
	if (errsv == ENOENT || errsv == ENOTDIR || errsv == ELOOP)
		return dn_image_tree_fault(tree, "source %s: %s", source, g_strerror(errsv));
	return dn_throw_errno(error, errsv, "open source %s", source);
}

/*
 * Group and other write bits come from the umask of whoever unpacked the tree, and mean nothing
 * on a read-only root: they go, so that two checkouts of one tree build the same image.
 */
static uint32_t file_mode(mode_t mode)
{
	return mode & 0777 & ~(mode_t)(S_IWGRP | S_IWOTH);
}

static uint32_t directory_mode(mode_t mode)
{
	if ((mode & S_ISVTX) != 0)
		return mode & 01777;
	return file_mode(mode);
}

/* A fault noted (true), nothing wrong (false). */
static bool has_privilege(DnImageTree *tree, const char *path, int fd, mode_t mode)
{
	if ((mode & (S_ISUID | S_ISGID)) != 0)
		return dn_image_tree_fault(tree, "/%s is set-id: chmod ug-s it", path);
	if (fgetxattr(fd, "security.capability", NULL, 0) >= 0)
		return dn_image_tree_fault(tree, "/%s has file capabilities: setcap -r it", path);
	return false;
}

static bool enter_file(DnImageTree *tree, OstreeMutableTree *parent, int directory_fd,
		       const char *path, const char *name, GError **error)
{
	dn_autofd int fd =
		openat(directory_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat info = {0};

	if (fd < 0 || fstat(fd, &info) < 0)
		return dn_throw_errno(error, errno, "open /%s", path);
	if (!S_ISREG(info.st_mode))
		return dn_image_tree_fault(tree, "/%s changed while it was read", path);
	if (has_privilege(tree, path, fd, info.st_mode))
		return true;
	return dn_image_tree_file(tree, parent, path, fd, &info, file_mode(info.st_mode), error);
}

static bool enter_link(DnImageTree *tree, OstreeMutableTree *parent, int directory_fd,
		       const char *path, const char *name, GError **error)
{
	char target[4096];
	ssize_t length = readlinkat(directory_fd, name, target, sizeof(target));

	if (length < 0)
		return dn_throw_errno(error, errno, "read link /%s", path);
	if (length == 0 || (size_t)length == sizeof(target) ||
	    !g_utf8_validate(target, length, NULL))
		return dn_image_tree_fault(tree, "/%s: its target is too long or not UTF-8", path);
	target[length] = '\0';
	return dn_image_tree_link(tree, parent, path, target, error);
}

static bool enter_directory(DnImageTree *tree, OstreeMutableTree *into, int fd, const char *path,
			    unsigned depth, GError **error);

static bool enter(DnImageTree *tree, OstreeMutableTree *into, int fd, const char *name,
		  const char *path, unsigned depth, GError **error)
{
	struct stat info = {0};

	if (fstatat(fd, name, &info, AT_SYMLINK_NOFOLLOW) < 0)
		return dn_throw_errno(error, errno, "look at /%s", path);
	if (S_ISREG(info.st_mode))
		return enter_file(tree, into, fd, path, name, error);
	if (S_ISLNK(info.st_mode))
		return enter_link(tree, into, fd, path, name, error);
	if (S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode))
		return dn_image_tree_fault(tree,
					   "/%s is a device node: remove it, "
					   "every node gets a /dev of its own",
					   path);
	if (!S_ISDIR(info.st_mode))
		return dn_image_tree_fault(tree, "/%s is a fifo or a socket: remove it", path);

	dn_autofd int sub_fd =
		openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (sub_fd < 0)
		return dn_throw_errno(error, errno, "open /%s", path);
	GError *failed = NULL;
	OstreeMutableTree *sub =
		dn_image_tree_directory(tree, into, path, directory_mode(info.st_mode), &failed);
	if (sub == NULL) {
		if (failed == NULL)
			return true;
		g_propagate_error(error, failed);
		return false;
	}
	return enter_directory(tree, sub, sub_fd, path, depth + 1, error);
}

static int compare_names(gconstpointer a, gconstpointer b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted, so that faults come in one order on every file system. */
static GPtrArray *list(int fd, const char *path, GError **error)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	DIR *stream = own >= 0 ? fdopendir(own) : NULL;
	struct dirent *entry;

	if (stream == NULL) {
		dn_throw_errno(error, errno, "list /%s", path);
		if (own >= 0)
			(void)close(own);
		return NULL;
	}
	errno = 0;
	while ((entry = readdir(stream)) != NULL && names->len <= DN_IMAGE_FILES_LIMIT)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			g_ptr_array_add(names, g_strdup(entry->d_name));
	int failed = entry == NULL ? errno : 0;
	(void)closedir(stream);
	if (failed != 0) {
		dn_throw_errno(error, failed, "list /%s", path);
		return NULL;
	}
	g_ptr_array_sort(names, compare_names);
	return g_steal_pointer(&names);
}

static bool enter_directory(DnImageTree *tree, OstreeMutableTree *into, int fd, const char *path,
			    unsigned depth, GError **error)
{
	if (depth > DN_IMAGE_DEPTH_LIMIT) {
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
			    "/%s: more than %d directories inside one another", path,
			    DN_IMAGE_DEPTH_LIMIT);
		return false;
	}
	g_autoptr(GPtrArray) names = list(fd, path, error);
	if (names == NULL)
		return false;
	for (guint i = 0; i < names->len; i++) {
		const char *name = names->pdata[i];
		g_autofree char *inner =
			path[0] == '\0' ? g_strdup(name) : g_strconcat(path, "/", name, NULL);

		if (!g_utf8_validate(name, -1, NULL)) {
			g_autofree char *shown = g_strescape(inner, NULL);
			dn_image_tree_fault(tree, "/%s: its name is not UTF-8", shown);
		} else if (depth == 0 && strcmp(name, DN_RUN_FILE_DIR) == 0)
			dn_image_tree_fault(tree, "/" DN_RUN_FILE_DIR " is written by the build: "
						  "remove it from the root directory");
		else if (!enter(tree, into, fd, name, inner, depth, error))
			return false;
	}
	return true;
}

bool dn_image_source_root(DnImageTree *tree, int base_fd, const char *source, GError **error)
{
	dn_autofd int fd = open_beneath(base_fd, source, O_RDONLY | O_DIRECTORY);
	struct stat info = {0};

	if (fd < 0)
		return cannot_open(tree, source, errno, error);
	if (fstat(fd, &info) < 0)
		return dn_throw_errno(error, errno, "look at %s", source);
	return enter_directory(tree, dn_image_tree_root(tree), fd, "", 0, error);
}

bool dn_image_source_file(DnImageTree *tree, OstreeMutableTree *parent, int base_fd,
			  const DnRecipeFile *file, GError **error)
{
	/* O_NONBLOCK: a fifo in place of the file must not hold the build up. */
	dn_autofd int fd = open_beneath(base_fd, file->source, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	const char *path = file->path + 1;
	struct stat info = {0};

	if (fd < 0 && errno == ENXIO)
		return dn_image_tree_fault(tree, "source %s is a socket", file->source);
	if (fd < 0)
		return cannot_open(tree, file->source, errno, error);
	if (fstat(fd, &info) < 0)
		return dn_throw_errno(error, errno, "look at %s", file->source);
	if (!S_ISREG(info.st_mode))
		return dn_image_tree_fault(tree, "source %s is not a regular file", file->source);
	if (has_privilege(tree, path, fd, info.st_mode))
		return true;
	return dn_image_tree_file(tree, parent, path, fd, &info, file->mode & 0777, error);
}
