/* SPDX-License-Identifier: Apache-2.0 */
#include "image/closure.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/id.h"
#include "image/repository-ostree.h"
#include "image/traverse.h"

enum { NAME = 128 };

typedef struct {
	const DnImageRepo *repo;
	const DnImageListing *listing;
	GPtrArray *damages;
} Walk;

static void object_name(const char *checksum, const char *type, char name[static NAME])
{
	g_snprintf(name, NAME, "objects/%.2s/%s.%s", checksum, checksum + 2, type);
}

static void file_name(const DnImageEntry *entry, char name[static NAME])
{
	g_autofree char *checksum = dn_digest_text(entry->checksum);

	object_name(checksum, "file", name);
}

static void add(const DnImageListing *listing, const char *name, GPtrArray *damages)
{
	dn_damages_add(damages, dn_image_listing_commit(listing), name, DN_DAMAGE_OBJECT);
}

/* A tree is hashed by the walk itself. */
static bool look_at_directory(const char *path, const char *tree, const char *meta, gpointer data,
			      GError **error)
{
	const Walk *walk = data;
	char name[NAME];
	g_autoptr(GVariant) object =
		dn_image_load_variant(walk->repo, OSTREE_OBJECT_TYPE_DIR_META, meta, NULL);

	if (object == NULL) {
		object_name(meta, "dirmeta", name);
		add(walk->listing, name, walk->damages);
	}
	return true;
}

static bool pass_file(const char *path, const char *checksum, gpointer data, GError **error)
{
	return true;
}

static bool is_right(int repo_fd, const char *name, const DnImageEntry *entry, int root_fd)
{
	g_autoptr(DnDigest) digest = NULL;
	struct stat object = {0}, file = {0};

	if (fstatat(repo_fd, name, &object, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	if (fstatat(root_fd, entry->path, &file, AT_SYMLINK_NOFOLLOW) == 0 &&
	    object.st_ino == file.st_ino && object.st_dev == file.st_dev)
		return true;
	digest = dn_digest_new();
	g_autofree char *found =
		dn_image_identity(repo_fd, name, &(DnImageReader){.digest = digest}, NULL, NULL);
	g_autofree char *wanted = dn_digest_text(entry->checksum);
	return g_strcmp0(found, wanted) == 0;
}

static void check_files(int repo_fd, const DnImageListing *listing, int root_fd, GPtrArray *damages)
{
	char name[NAME];

	for (guint i = 0; i < dn_image_listing_length(listing); i++) {
		const DnImageEntry *entry = dn_image_listing_at(listing, i);

		if (S_ISDIR(entry->mode))
			continue;
		file_name(entry, name);
		if (!is_right(repo_fd, name, entry, root_fd))
			add(listing, name, damages);
	}
}

bool dn_image_closure_check(DnImageRepo *repo, const DnImageListing *listing, int root_fd,
			    GPtrArray *damages, GError **error)
{
	static const DnImageVisitor visitor = {look_at_directory, pass_file};
	Walk walk = {.repo = repo, .listing = listing, .damages = damages};
	const char *commit = dn_image_listing_commit(listing);
	g_autoptr(GError) failed = NULL;
	char name[NAME];

	if (!dn_image_traverse(repo, commit, &visitor, &walk, &failed)) {
		if (!dn_image_is_missing(failed) && failed->domain != DN_ERROR) {
			g_propagate_error(error, g_steal_pointer(&failed));
			return false;
		}
		/* The commit or one of its trees: the remedy is the same. */
		object_name(commit, "commit", name);
		add(listing, name, damages);
	}
	check_files(ostree_repo_get_dfd(dn_image_repo_ostree(repo)), listing, root_fd, damages);
	return true;
}

bool dn_image_closure_drop(DnImageRepo *repo, const DnImageEntry *entry, GError **error)
{
	char name[NAME];

	file_name(entry, name);
	if (unlinkat(ostree_repo_get_dfd(dn_image_repo_ostree(repo)), name, 0) == 0 ||
	    errno == ENOENT)
		return true;
	return dn_throw_errno(error, errno, "remove object %s", name);
}

bool dn_image_closure_has(DnImageRepo *repo, const DnImageEntry *entry)
{
	struct stat info = {0};
	char name[NAME];

	file_name(entry, name);
	return fstatat(ostree_repo_get_dfd(dn_image_repo_ostree(repo)), name, &info,
		       AT_SYMLINK_NOFOLLOW) == 0;
}

bool dn_image_closure_put(DnImageRepo *repo, const DnImageEntry *entry, int root_fd, GError **error)
{
	int repo_fd = ostree_repo_get_dfd(dn_image_repo_ostree(repo));
	g_autofree char *suffix = dn_id_new(6);
	g_autofree char *temporary = g_strdup_printf("tmp/%s", suffix);
	char name[NAME];

	file_name(entry, name);
	g_autofree char *folder = g_strndup(name, strlen("objects/00"));
	/* By way of another name: the object is the old file or the new one, at every moment. */
	if (linkat(root_fd, entry->path, repo_fd, temporary, 0) < 0 ||
	    (mkdirat(repo_fd, folder, 0755) < 0 && errno != EEXIST) ||
	    renameat(repo_fd, temporary, repo_fd, name) < 0) {
		int saved = errno;

		(void)unlinkat(repo_fd, temporary, 0);
		return dn_throw_errno(error, saved, "put object %s in place", name);
	}
	/* Two names of one inode are left as they are by rename(2). */
	(void)unlinkat(repo_fd, temporary, 0);
	return true;
}
