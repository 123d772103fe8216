/* SPDX-License-Identifier: Apache-2.0 */
#include "image/probe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

enum {
	THREADS_MAX = 16,
	THREAD_BYTES = 512 * 1024, /* hashed in the time that a thread needs to start, twice over */
	TARGET_LIMIT = 4096,
};

static void add(const DnImageProbe *self, const char *path, DnDamageKind kind, GPtrArray *damages)
{
	dn_damages_add(damages, dn_image_listing_commit(self->listing), path, kind);
}

/* Open without effects; -1 and *@kind where what is there is not what should be, else an error. */
static int open_place(const DnImageProbe *self, const char *path, DnDamageKind *kind,
		      GError **error)
{
	int fd = dn_image_open_inside(self->root_fd, path, O_PATH);

	*kind = DN_DAMAGE_N;
	if (fd >= 0)
		return fd;
	if (errno == ENOENT)
		*kind = DN_DAMAGE_MISSING;
	else if (errno == ENOTDIR || errno == ELOOP || errno == EXDEV)
		*kind = DN_DAMAGE_KIND;
	else
		dn_throw_errno(error, errno, "look at /%s", path);
	return -1;
}

static bool has_xattrs(int fd, const DnImageEntry *entry)
{
	g_autoptr(GVariant) xattrs = NULL;

	/* What cannot be read, or must not be there, is not what the commit has either. */
	if (!dn_image_read_xattrs(fd, entry->path, &xattrs, NULL))
		return false;
	if (xattrs == NULL || entry->xattrs == NULL)
		return (xattrs == NULL || g_variant_n_children(xattrs) == 0) &&
		       (entry->xattrs == NULL || g_variant_n_children(entry->xattrs) == 0);
	return g_variant_equal(xattrs, entry->xattrs);
}

static void compare_attributes(const DnImageProbe *self, const DnImageEntry *entry, int fd,
			       const struct stat *info, GPtrArray *damages)
{
	if (self->content_only)
		return;
	if (info->st_mode != entry->mode)
		add(self, entry->path, DN_DAMAGE_MODE, damages);
	if (info->st_uid != entry->uid || info->st_gid != entry->gid)
		add(self, entry->path, DN_DAMAGE_OWNER, damages);
	if (!has_xattrs(fd, entry))
		add(self, entry->path, DN_DAMAGE_XATTR, damages);
}

static bool compare_link(const DnImageProbe *self, const DnImageEntry *entry, int fd,
			 GPtrArray *damages, GError **error)
{
	g_autoptr(DnImageScan) scan = dn_image_scan_new();
	char target[TARGET_LIMIT + 1];
	ssize_t length = readlinkat(fd, "", target, sizeof(target) - 1);

	if (length < 0)
		return dn_throw_errno(error, errno, "read link /%s", entry->path);
	target[length] = '\0';
	if (!g_utf8_validate(target, length, NULL) || !dn_image_scan_link(scan, entry, target))
		add(self, entry->path, DN_DAMAGE_CONTENT_DISK, damages);
	return true;
}

static bool is_extra(const DnImageProbe *self, const char *directory, const char *name)
{
	g_autofree char *path =
		directory[0] == '\0' ? g_strdup(name) : g_strconcat(directory, "/", name, NULL);
	guint unused = 0;

	return !dn_image_listing_find(self->listing, path, &unused);
}

static bool find_extra(const DnImageProbe *self, const char *path, GPtrArray *damages,
		       GError **error)
{
	dn_autofd int fd = dn_image_open_inside(self->root_fd, path, O_RDONLY | O_DIRECTORY);
	DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *found = NULL;

	if (stream == NULL)
		return dn_throw_errno(error, errno, "list /%s", path);
	fd = -1;
	while ((found = readdir(stream)) != NULL) {
		const char *name = found->d_name;

		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
		    !is_extra(self, path, name))
			continue;
		g_autofree char *inner =
			path[0] == '\0' ? g_strdup(name) : g_strconcat(path, "/", name, NULL);
		add(self, inner, DN_DAMAGE_EXTRA, damages);
	}
	(void)closedir(stream);
	return true;
}

static void find_missing(const DnImageProbe *self, const char *path, GPtrArray *damages)
{
	const DnImageEntry *entry = NULL;
	guint cursor = 0;
	struct stat info;

	while ((entry = dn_image_listing_next_in(self->listing, path, &cursor)) != NULL)
		if (fstatat(self->root_fd, entry->path, &info, AT_SYMLINK_NOFOLLOW) < 0 &&
		    errno == ENOENT)
			add(self, entry->path, DN_DAMAGE_MISSING, damages);
}

/* The content of a regular file may be hashed; false also without an error. */
static int open_content(const DnImageProbe *self, const DnImageEntry *entry, GPtrArray *damages,
			GError **error)
{
	dn_autofd int fd =
		dn_image_open_inside(self->root_fd, entry->path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	struct stat info = {0};

	if (fd < 0 || fstat(fd, &info) < 0) {
		dn_throw_errno(error, errno, "open /%s", entry->path);
		return -1;
	}
	if ((uint64_t)info.st_size != entry->size_bytes) {
		/* A page cannot be longer or shorter: the length is the inode's. */
		add(self, entry->path, DN_DAMAGE_CONTENT_DISK, damages);
		return -1;
	}
	return g_steal_fd(&fd);
}

bool dn_image_probe_attributes(const DnImageProbe *self, guint index, GPtrArray *damages, int *fd,
			       GError **error)
{
	const DnImageEntry *entry = dn_image_listing_at(self->listing, index);
	GError *failed = NULL;
	DnDamageKind kind = DN_DAMAGE_N;
	struct stat info = {0};
	dn_autofd int place = open_place(self, entry->path, &kind, error);

	*fd = -1;
	if (place < 0 && kind == DN_DAMAGE_N)
		return false;
	if (place >= 0 && fstat(place, &info) < 0)
		return dn_throw_errno(error, errno, "look at /%s", entry->path);
	if (place >= 0 && (info.st_mode & S_IFMT) != (entry->mode & S_IFMT))
		kind = DN_DAMAGE_KIND;
	if (kind != DN_DAMAGE_N) {
		add(self, entry->path, kind, damages);
		return true;
	}
	compare_attributes(self, entry, place, &info, damages);
	if (S_ISLNK(entry->mode))
		return compare_link(self, entry, place, damages, error);
	if (S_ISDIR(entry->mode)) {
		if (self->content_only)
			return true;
		find_missing(self, entry->path, damages);
		return find_extra(self, entry->path, damages, error);
	}
	*fd = open_content(self, entry, damages, &failed);
	if (failed == NULL)
		return true;
	g_propagate_error(error, failed);
	return false;
}

/* Hash what would be executed; where that differs, ask the disk. */
static bool compare_content(const DnImageProbe *self, DnImageScan *scan, const DnImageEntry *entry,
			    int fd, GPtrArray *damages, GError **error)
{
	GError *failed = NULL;
	DnDamageKind kind = DN_DAMAGE_CONTENT;
	bool cached = false, disk = false;

	if (!dn_image_scan_file(scan, entry, fd, false, &cached, error)) {
		g_prefix_error(error, "/%s: ", entry->path);
		return false;
	}
	if (cached)
		return true;
	if (dn_image_scan_file(scan, entry, fd, true, &disk, &failed))
		kind = disk ? DN_DAMAGE_CONTENT_CACHE : DN_DAMAGE_CONTENT_DISK;
	/* It does differ; where, may stay unknown. */
	g_clear_error(&failed);
	add(self, entry->path, kind, damages);
	return true;
}

static bool probe_index(const DnImageProbe *self, DnImageScan *scan, guint index,
			GPtrArray *damages, GError **error)
{
	dn_autofd int fd = -1;

	if (!dn_image_probe_attributes(self, index, damages, &fd, error))
		return false;
	return fd < 0 || compare_content(self, scan, dn_image_listing_at(self->listing, index), fd,
					 damages, error);
}

bool dn_image_probe_path(const DnImageProbe *self, DnImageScan *scan, const char *path,
			 GPtrArray *damages, GError **error)
{
	struct stat info = {0};
	guint index = 0;

	if (dn_image_listing_find(self->listing, path, &index))
		return probe_index(self, scan, index, damages, error);
	if (fstatat(self->root_fd, path, &info, AT_SYMLINK_NOFOLLOW) == 0)
		add(self, path, DN_DAMAGE_EXTRA, damages);
	return true;
}

bool dn_image_probe_is_shortage(const GError *error)
{
	return g_error_matches(error, G_IO_ERROR, G_IO_ERROR_TOO_MANY_OPEN_FILES);
}

bool dn_image_probe_disk(const DnImageProbe *self, DnImageScan *scan, const char *path,
			 bool *differs, GError **error)
{
	GError *failed = NULL;
	guint index = 0;
	bool matches = true;

	*differs = false;
	if (!dn_image_listing_find(self->listing, path, &index))
		return true;
	const DnImageEntry *entry = dn_image_listing_at(self->listing, index);
	if (!S_ISREG(entry->mode))
		return true;
	dn_autofd int fd =
		dn_image_open_inside(self->root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return dn_throw_errno(error, errno, "open /%s", path);
	if (dn_image_scan_file(scan, entry, fd, true, &matches, &failed)) {
		*differs = !matches;
		return true;
	}
	if (g_error_matches(failed, DN_ERROR, DN_ERROR_UNSUPPORTED)) {
		g_error_free(failed);
		return true;
	}
	g_propagate_error(error, failed);
	return false;
}

/* All that runs, shared among threads. */
typedef struct {
	const DnImageProbe *probe;
	gint next; /* atomic: index into the listing's runs */
	GMutex lock;
	GPtrArray *damages; /* under lock */
	GError *failed;     /* under lock: the first */
} Runs;

/* The largest first, and the thread that has time takes the next. */
static gpointer probe_some(gpointer data)
{
	Runs *runs = data;
	const GArray *indices = dn_image_listing_runs(runs->probe->listing);
	g_autoptr(DnImageScan) scan = dn_image_scan_new();
	g_autoptr(GPtrArray) damages = dn_damages_new();
	GError *failed = NULL;

	for (;;) {
		guint i = (guint)g_atomic_int_add(&runs->next, 1);

		if (i >= indices->len || failed != NULL)
			break;
		(void)!probe_index(runs->probe, scan, g_array_index(indices, guint, i), damages,
				   &failed);
	}
	g_mutex_lock(&runs->lock);
	while (damages->len > 0)
		g_ptr_array_add(runs->damages, g_ptr_array_steal_index(damages, 0));
	if (runs->failed == NULL)
		runs->failed = g_steal_pointer(&failed);
	g_mutex_unlock(&runs->lock);
	g_clear_error(&failed);
	return NULL;
}

static uint64_t bytes_of(const DnImageListing *listing)
{
	const GArray *indices = dn_image_listing_runs(listing);
	uint64_t bytes = 0;

	for (guint i = 0; i < indices->len; i++)
		bytes += dn_image_listing_at(listing, g_array_index(indices, guint, i))->size_bytes;
	return bytes;
}

bool dn_image_probe_runs(const DnImageProbe *self, GPtrArray *damages, DnImageMeasure *measure,
			 GError **error)
{
	uint64_t began_ns = dn_clock_monotonic_ns();
	uint64_t bytes = bytes_of(self->listing);
	guint files = dn_image_listing_runs(self->listing)->len;
	guint most = MIN(MIN(g_get_num_processors(), THREADS_MAX), files);
	guint others = (guint)MIN(bytes / THREAD_BYTES, most > 0 ? most - 1 : 0);
	GThread *threads[THREADS_MAX];
	Runs runs = {.probe = self, .damages = damages};

	g_mutex_init(&runs.lock);
	/* A host that has no thread to give is verified all the same. */
	for (guint i = 0; i < others; i++)
		threads[i] = g_thread_try_new("dn-probe", probe_some, &runs, NULL);
	(void)probe_some(&runs);
	for (guint i = 0; i < others; i++)
		if (threads[i] != NULL)
			(void)g_thread_join(threads[i]);
	g_mutex_clear(&runs.lock);
	if (measure != NULL)
		*measure = (DnImageMeasure){.files = files,
					    .bytes = bytes,
					    .took_ns = dn_clock_monotonic_ns() - began_ns};
	if (runs.failed == NULL)
		return true;
	g_propagate_error(error, runs.failed);
	return false;
}
