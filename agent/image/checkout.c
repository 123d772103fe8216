/* SPDX-License-Identifier: Apache-2.0 */
#include "image/checkout.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "image/identity.h"
#include "image/repository-ostree.h"
#include "image/traverse.h"

enum { THREADS_MIN = 2, THREADS_MAX = 16 };

/* What the commit says is at one path. */
typedef struct {
	char *path;
	char *checksum; /* of the file, or of the directory's dirmeta */
	bool is_directory;
	bool is_there;
	off_t size;
	DnImageFacts facts; /* once it was compared */
} Entry;

typedef struct {
	int root_fd;
	bool direct;
	GHashTable *entries; /* path → Entry, owned */
	GPtrArray *files;    /* of Entry, borrowed from entries; the largest first */
	gint next;           /* atomic: index into files */
	GMutex lock;
	GError *failed; /* under lock: the first failure */
} Check;

static void free_entry(gpointer data)
{
	Entry *entry = data;

	g_free(entry->path);
	g_free(entry->checksum);
	dn_image_facts_clear(&entry->facts);
	g_free(entry);
}

static Entry *add(Check *check, const char *path, const char *checksum)
{
	Entry *entry = g_new0(Entry, 1);

	entry->path = g_strdup(path);
	entry->checksum = g_strdup(checksum);
	g_hash_table_replace(check->entries, entry->path, entry);
	return entry;
}

/* A name that is both a file and a directory of one tree cannot be on disk: refused here. */
static bool is_new(Check *check, const char *path, GError **error)
{
	if (!g_hash_table_contains(check->entries, path))
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "the image has /%s twice", path);
	return false;
}

static bool expect_directory(const char *path, const char *tree, const char *meta, gpointer data,
			     GError **error)
{
	if (!is_new(data, path, error))
		return false;
	add(data, path, meta)->is_directory = true;
	return true;
}

static bool expect_file(const char *path, const char *checksum, gpointer data, GError **error)
{
	Check *check = data;

	if (!is_new(check, path, error))
		return false;
	g_ptr_array_add(check->files, add(check, path, checksum));
	return true;
}

static bool differs(const char *path, const char *how, GError **error)
{
	g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED, "/%s %s", path, how);
	return false;
}

/* Note which names are there; one that the commit does not have ends the comparison. */
static bool list_directory(Check *check, const Entry *directory, int fd, GError **error)
{
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	DIR *stream = own >= 0 ? fdopendir(own) : NULL;
	struct dirent *found;
	bool sound = true;

	if (stream == NULL) {
		dn_throw_errno(error, errno, "list /%s", directory->path);
		if (own >= 0)
			(void)close(own);
		return false;
	}
	while (sound && (found = readdir(stream)) != NULL) {
		if (strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0)
			continue;
		g_autofree char *path =
			directory->path[0] == '\0'
				? g_strdup(found->d_name)
				: g_strconcat(directory->path, "/", found->d_name, NULL);
		Entry *entry = g_hash_table_lookup(check->entries, path);
		struct stat info = {0};

		if (entry == NULL) {
			sound = differs(path, "is not in the commit", error);
		} else {
			entry->is_there = true;
			if (fstatat(fd, found->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0)
				entry->size = info.st_size;
		}
	}
	(void)closedir(stream);
	return sound;
}

static bool check_directory(Check *check, Entry *entry, GError **error)
{
	dn_autofd int fd =
		dn_image_open_inside(check->root_fd, entry->path, O_RDONLY | O_DIRECTORY);

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == EXDEV))
		return differs(entry->path, "is not the directory of the commit", error);
	if (fd < 0)
		return dn_throw_errno(error, errno, "open /%s", entry->path);
	g_autofree char *found = dn_image_directory_identity(fd, entry->path, &entry->facts, error);
	if (found == NULL)
		return false;
	if (strcmp(found, entry->checksum) != 0)
		return differs(entry->path, "has another mode, owner or xattrs than in the commit",
			       error);
	return list_directory(check, entry, fd, error);
}

static bool check_directories(Check *check, GError **error)
{
	GHashTableIter iter;
	gpointer value = NULL;

	g_hash_table_iter_init(&iter, check->entries);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		Entry *entry = value;

		if (entry->is_directory && !check_directory(check, entry, error))
			return false;
	}
	for (guint i = 0; i < check->files->len; i++) {
		Entry *entry = check->files->pdata[i];

		if (!entry->is_there)
			return differs(entry->path, "is missing", error);
	}
	return true;
}

static bool check_file(const Check *check, Entry *entry, const DnImageReader *reader,
		       GError **error)
{
	g_autofree char *found =
		dn_image_identity(check->root_fd, entry->path, reader, &entry->facts, error);

	if (found == NULL)
		return false;
	if (strcmp(found, entry->checksum) != 0)
		return differs(entry->path,
			       "has other content, mode, owner or xattrs than in the commit",
			       error);
	return true;
}

static gpointer check_some(gpointer data)
{
	Check *check = data;
	g_autoptr(DnDigest) digest = dn_digest_new();
	g_autoptr(DnDirect) direct = check->direct ? dn_direct_new() : NULL;
	const DnImageReader reader = {.digest = digest, .direct = direct};

	for (;;) {
		guint i = (guint)g_atomic_int_add(&check->next, 1);
		GError *failed = NULL;

		if (i >= check->files->len)
			return NULL;
		if (check_file(check, check->files->pdata[i], &reader, &failed))
			continue;
		g_mutex_lock(&check->lock);
		if (check->failed == NULL)
			check->failed = g_steal_pointer(&failed);
		g_mutex_unlock(&check->lock);
		g_clear_error(&failed);
		/* The others find nothing left to do. */
		g_atomic_int_set(&check->next, (gint)check->files->len);
		return NULL;
	}
}

static int compare_sizes(gconstpointer a, gconstpointer b)
{
	const Entry *const *one = a;
	const Entry *const *other = b;

	return ((*one)->size < (*other)->size) - ((*one)->size > (*other)->size);
}

/* Largest first: a large file begun last would leave the other threads idle. */
static bool check_files(Check *check, GError **error)
{
	GThread *threads[THREADS_MAX];
	guint n = CLAMP(g_get_num_processors(), THREADS_MIN, THREADS_MAX);

	g_ptr_array_sort(check->files, compare_sizes);
	for (guint i = 0; i < n; i++)
		threads[i] = g_thread_new("dn-verify", check_some, check);
	for (guint i = 0; i < n; i++)
		(void)g_thread_join(threads[i]);
	if (check->failed == NULL)
		return true;
	g_propagate_error(error, g_steal_pointer(&check->failed));
	return false;
}

/* What every node mounts over must be there: the root itself is read-only. */
static bool has_mount_points(const Check *check, GError **error)
{
	static const char *const directories[] = {"dev", "proc", "sys", "etc", "tmp", "run"};
	struct stat info = {0};

	for (size_t i = 0; i < G_N_ELEMENTS(directories); i++) {
		const Entry *entry = g_hash_table_lookup(check->entries, directories[i]);

		if (entry == NULL || !entry->is_directory) {
			g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
				    "/%s is no directory of the image: build it again with dnode "
				    "image build",
				    directories[i]);
			return false;
		}
	}
	if (fstatat(check->root_fd, "etc/hosts", &info, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISREG(info.st_mode))
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
		    "/etc/hosts is no file of the image: build it again with dnode image build");
	return false;
}

static bool verify(Check *check, const DnImageRepo *repo, const char *commit, GError **error)
{
	static const DnImageVisitor visitor = {expect_directory, expect_file};

	return dn_image_traverse(repo, commit, &visitor, check, error) &&
	       check_directories(check, error) && check_files(check, error) &&
	       has_mount_points(check, error);
}

static DnImageListing *list(const Check *check, const char *commit)
{
	DnImageListing *listing = dn_image_listing_new(commit);
	GHashTableIter iter;
	gpointer value = NULL;

	g_hash_table_iter_init(&iter, check->entries);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const Entry *entry = value;
		bool added =
			dn_image_listing_add(listing, entry->path, entry->checksum, &entry->facts);

		/* The traversal made it from 32 bytes. */
		g_assert(added);
	}
	dn_image_listing_seal(listing);
	return listing;
}

DnImageListing *dn_image_checkout_list(const DnImageRepo *repo, const char *commit,
				       const char *path, bool direct, GError **error)
{
	dn_autofd int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	g_autoptr(GHashTable) entries =
		g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_entry);
	g_autoptr(GPtrArray) files = g_ptr_array_new();
	Check check = {.root_fd = fd, .direct = direct, .entries = entries, .files = files};

	if (fd < 0) {
		dn_throw_errno(error, errno, "open checkout %s", path);
		return NULL;
	}
	g_mutex_init(&check.lock);
	bool sound = verify(&check, repo, commit, error);
	g_mutex_clear(&check.lock);
	if (sound)
		return list(&check, commit);
	g_prefix_error(error, "checkout: ");
	return NULL;
}

bool dn_image_checkout_verify(const DnImageRepo *repo, const char *commit, const char *path,
			      GError **error)
{
	g_autoptr(DnImageListing) listing =
		dn_image_checkout_list(repo, commit, path, false, error);

	return listing != NULL;
}

bool dn_image_checkout_make(DnImageRepo *repo, const char *commit, const char *path, GError **error)
{
	/* Without the fallback: a copy would cost the space of the image once more, in silence. */
	OstreeRepoCheckoutAtOptions options = {
		.mode = OSTREE_REPO_CHECKOUT_MODE_NONE,
		.no_copy_fallback = TRUE,
	};

	if (ostree_repo_checkout_at(dn_image_repo_ostree(repo), &options, AT_FDCWD, path, commit,
				    NULL, error))
		return true;
	g_prefix_error(error, "check out: ");
	return false;
}
