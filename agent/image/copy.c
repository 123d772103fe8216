/* SPDX-License-Identifier: Apache-2.0 */
#include "image/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "image/identity.h"

enum { BUFFER_BYTES = 256 * 1024, TARGET_LIMIT = 4096 };

typedef struct {
	const DnImageListing *listing;
	int from_fd, to_fd;
	DnDirect *direct;   /* owned */
	DnDigest *digest;   /* owned */
	uint8_t *buffer;    /* owned */
	GHashTable *copied; /* checksum → path of the new file; both borrowed from the listing */
	DnImageCopyReport *report;
} Copy;

static bool throw_path(const char *doing, const DnImageEntry *entry, GError **error)
{
	return dn_throw_errno(error, errno, "%s /%s", doing, entry->path);
}

/* Owner before mode: a change of owner takes bits of the mode away. */
static bool set_attributes(const Copy *copy, const DnImageEntry *entry, GError **error)
{
	g_autofree char *proc = g_strdup_printf("/proc/self/fd/%d/%s", copy->to_fd, entry->path);
	struct stat info = {0};
	const char *path = entry->path[0] == '\0' ? "." : entry->path;

	if (fchownat(copy->to_fd, path, entry->uid, entry->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return throw_path("give an owner to", entry, error);
	if (!S_ISLNK(entry->mode) && fchmodat(copy->to_fd, path, entry->mode & 07777, 0) < 0)
		return throw_path("set the mode of", entry, error);
	for (gsize i = 0; entry->xattrs != NULL && i < g_variant_n_children(entry->xattrs); i++) {
		g_autoptr(GVariant) value = NULL;
		const char *name = NULL;
		gsize size = 0;

		g_variant_get_child(entry->xattrs, i, "(^&ay@ay)", &name, &value);
		const void *bytes = g_variant_get_fixed_array(value, &size, 1);
		if (lsetxattr(proc, name, bytes, size, 0) < 0)
			return throw_path("set an attribute of", entry, error);
	}
	/* Times are in no checksum, but programs see them. */
	if (fstatat(copy->from_fd, path, &info, AT_SYMLINK_NOFOLLOW) == 0) {
		const struct timespec times[] = {info.st_mtim, info.st_mtim};

		(void)utimensat(copy->to_fd, path, times, AT_SYMLINK_NOFOLLOW);
	}
	return true;
}

static bool copy_link(const Copy *copy, const DnImageEntry *entry, GError **error)
{
	dn_autofd int fd = dn_image_open_inside(copy->from_fd, entry->path, O_PATH);
	char target[TARGET_LIMIT + 1];
	ssize_t length = fd >= 0 ? readlinkat(fd, "", target, sizeof(target) - 1) : -1;

	if (length < 0)
		return throw_path("read link", entry, error);
	target[length] = '\0';
	if (symlinkat(target, copy->to_fd, entry->path) < 0)
		return throw_path("make link", entry, error);
	return set_attributes(copy, entry, error);
}

/* The next bytes; from the disk when @direct_fd is open. */
static const uint8_t *read_some(const Copy *copy, int fd, int direct_fd, uint64_t offset,
				size_t *size, GError **error)
{
	if (direct_fd >= 0)
		return dn_direct_read(copy->direct, direct_fd, offset, size, error);
	ssize_t got = pread(fd, copy->buffer, BUFFER_BYTES, (off_t)offset);
	if (got < 0) {
		dn_throw_errno(error, errno, "read");
		return NULL;
	}
	*size = (size_t)got;
	return copy->buffer;
}

static bool write_all(int fd, const uint8_t *bytes, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, bytes, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		bytes += n;
		size -= (size_t)n;
	}
	return true;
}

static void begin_digest(const Copy *copy, const DnImageEntry *entry)
{
	DnImageAttributes attributes = dn_image_entry_attributes(entry, NULL);
	g_autoptr(GBytes) header = dn_image_content_header(&attributes);

	dn_digest_add(copy->digest, g_bytes_get_data(header, NULL), g_bytes_get_size(header));
}

/* What is hashed is what is written, from one buffer; no more than the file should hold. */
static bool pour(const Copy *copy, const DnImageEntry *entry, int fd, int to_fd, GError **error)
{
	dn_autofd int direct_fd = dn_direct_open(fd, NULL);
	uint64_t offset = 0;

	begin_digest(copy, entry);
	while (offset < entry->size_bytes) {
		size_t size = 0;
		const uint8_t *bytes = read_some(copy, fd, direct_fd, offset, &size, error);

		if (bytes == NULL)
			return false;
		if (size == 0)
			break;
		dn_digest_add(copy->digest, bytes, size);
		if (!write_all(to_fd, bytes, size))
			return throw_path("write", entry, error);
		offset += size;
	}
	copy->report->files++;
	copy->report->bytes += offset;
	if (direct_fd >= 0)
		copy->report->disk_bytes += offset;
	return true;
}

static bool copy_content(const Copy *copy, const DnImageEntry *entry, GError **error)
{
	uint8_t found[DN_DIGEST_BYTES];
	dn_autofd int fd =
		dn_image_open_inside(copy->from_fd, entry->path, O_RDONLY | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return throw_path("open", entry, error);
	dn_autofd int to_fd = openat(copy->to_fd, entry->path,
				     O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to_fd < 0)
		return throw_path("make", entry, error);
	bool poured = pour(copy, entry, fd, to_fd, error);
	dn_digest_finish(copy->digest, found);
	if (!poured || !set_attributes(copy, entry, error))
		return false;
	if (memcmp(found, entry->checksum, sizeof(found)) != 0) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "/%s is changed on the disk too: fetch it again", entry->path);
		return false;
	}
	return fsync(to_fd) == 0 || throw_path("sync", entry, error);
}

static guint hash_checksum(gconstpointer checksum)
{
	guint hash = 0;

	memcpy(&hash, checksum, sizeof(hash));
	return hash;
}

static gboolean same_checksum(gconstpointer a, gconstpointer b)
{
	return memcmp(a, b, DN_DIGEST_BYTES) == 0;
}

static bool copy_file(const Copy *copy, const DnImageEntry *entry, GError **error)
{
	const char *first = g_hash_table_lookup(copy->copied, entry->checksum);

	if (first == NULL) {
		g_hash_table_insert(copy->copied, (gpointer)(uintptr_t)entry->checksum,
				    (gpointer)(uintptr_t)entry->path);
		return copy_content(copy, entry, error);
	}
	return linkat(copy->to_fd, first, copy->to_fd, entry->path, 0) == 0 ||
	       throw_path("make", entry, error);
}

static bool copy_entry(const Copy *copy, const DnImageEntry *entry, GError **error)
{
	if (S_ISLNK(entry->mode))
		return copy_link(copy, entry, error);
	if (!S_ISDIR(entry->mode))
		return copy_file(copy, entry, error);
	return entry->path[0] == '\0' || mkdirat(copy->to_fd, entry->path, 0700) == 0 ||
	       throw_path("make", entry, error);
}

/* After everything is in it, and the inner ones before the outer. */
static bool finish_directory(const Copy *copy, const DnImageEntry *entry, GError **error)
{
	const char *path = entry->path[0] == '\0' ? "." : entry->path;
	dn_autofd int fd = openat(copy->to_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return throw_path("open", entry, error);
	if (!set_attributes(copy, entry, error))
		return false;
	return fsync(fd) == 0 || throw_path("sync", entry, error);
}

static bool copy_all(const Copy *copy, GError **error)
{
	guint n = dn_image_listing_length(copy->listing);

	for (guint i = 0; i < n; i++)
		if (!copy_entry(copy, dn_image_listing_at(copy->listing, i), error))
			return false;
	for (guint i = n; i-- > 0;) {
		const DnImageEntry *entry = dn_image_listing_at(copy->listing, i);

		if (S_ISDIR(entry->mode) && !finish_directory(copy, entry, error))
			return false;
	}
	return true;
}

bool dn_image_copy_now(const DnImageListing *listing, const char *from, const char *to,
		       DnImageCopyReport *report, GError **error)
{
	dn_autofd int from_fd = open(from, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (from_fd < 0)
		return dn_throw_errno(error, errno, "open %s", from);
	if (mkdir(to, 0700) < 0)
		return dn_throw_errno(error, errno, "make %s", to);
	dn_autofd int to_fd = open(to, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (to_fd < 0)
		return dn_throw_errno(error, errno, "open %s", to);
	g_autoptr(DnDirect) direct = dn_direct_new();
	g_autoptr(DnDigest) digest = dn_digest_new();
	g_autofree uint8_t *buffer = g_malloc(BUFFER_BYTES);
	g_autoptr(GHashTable) copied = g_hash_table_new(hash_checksum, same_checksum);
	const Copy copy = {
		.listing = listing,
		.from_fd = from_fd,
		.to_fd = to_fd,
		.direct = direct,
		.digest = digest,
		.buffer = buffer,
		.copied = copied,
		.report = report,
	};

	return copy_all(&copy, error);
}
