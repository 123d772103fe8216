/* SPDX-License-Identifier: Apache-2.0 */
#include "image/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "image/content.h"
#include "image/elf-file.h"

enum { ID_LIMIT = 65535, NAMES_LIMIT = 65536, VALUE_LIMIT = 65536, TARGET_LIMIT = 4096 };

int dn_image_open_inside(int directory_fd, const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_NOFOLLOW | O_CLOEXEC),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
	};

	return (int)syscall(SYS_openat2, directory_fd, path[0] == '\0' ? "." : path, &how,
			    sizeof(how));
}

static bool refuse(const char *path, const char *why, GError **error)
{
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "/%s %s: images of this kind are not run",
		    path, why);
	return false;
}

static bool is_allowed(const struct stat *info, const char *path, GError **error)
{
	if ((info->st_mode & (S_ISUID | S_ISGID)) != 0)
		return refuse(path, "is set-id", error);
	if (S_ISCHR(info->st_mode) || S_ISBLK(info->st_mode))
		return refuse(path, "is a device node", error);
	if (!S_ISREG(info->st_mode) && !S_ISLNK(info->st_mode) && !S_ISDIR(info->st_mode))
		return refuse(path, "is a fifo or a socket", error);
	if (info->st_uid > ID_LIMIT || info->st_gid > ID_LIMIT)
		return refuse(path, "belongs to an id above 65535", error);
	return true;
}

static int compare_names(gconstpointer a, gconstpointer b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/*
 * Labels that a security module of this host gives every new file are no part of an image; all
 * other attributes are.
 */
static GPtrArray *attribute_names(const char *list, size_t size)
{
	GPtrArray *names = g_ptr_array_new();

	for (const char *at = list; at < list + size; at += strlen(at) + 1)
		if (strcmp(at, "security.selinux") != 0)
			g_ptr_array_add(names, (gpointer)(uintptr_t)at);
	g_ptr_array_sort(names, compare_names);
	return names;
}

void dn_image_facts_clear(DnImageFacts *self)
{
	g_clear_pointer(&self->xattrs, g_variant_unref);
	*self = (DnImageFacts){0};
}

bool dn_image_read_xattrs(int fd, const char *path, GVariant **xattrs, GError **error)
{
	/* By this name a link itself is reached too. */
	char proc[32];
	char few[256];
	g_autofree char *many = NULL;
	char *list = few;

	g_snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	ssize_t size = listxattr(proc, few, sizeof(few));

	if (size < 0 && errno == ERANGE) {
		many = g_malloc(NAMES_LIMIT);
		list = many;
		size = listxattr(proc, many, NAMES_LIMIT);
	}
	if (size < 0 && errno != ENOTSUP)
		return dn_throw_errno(error, errno, "list attributes of /%s", path);
	if (size <= 0)
		return true;
	g_autoptr(GPtrArray) names = attribute_names(list, (size_t)size);
	g_autofree char *value = g_malloc(VALUE_LIMIT);
	GVariantBuilder builder;

	g_variant_builder_init(&builder, G_VARIANT_TYPE("a(ayay)"));
	for (guint i = 0; i < names->len; i++) {
		const char *name = names->pdata[i];
		ssize_t length = getxattr(proc, name, value, VALUE_LIMIT);

		if (length < 0 || strcmp(name, "security.capability") == 0) {
			int saved = errno;

			g_variant_builder_clear(&builder);
			if (length >= 0)
				return refuse(path, "has file capabilities", error);
			return dn_throw_errno(error, saved, "read %s of /%s", name, path);
		}
		g_variant_builder_add(
			&builder, "(@ay@ay)", g_variant_new_bytestring(name),
			g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, value, (gsize)length, 1));
	}
	*xattrs = g_variant_ref_sink(g_variant_builder_end(&builder));
	return true;
}

/* The xattrs of an open file, and with the rest of its facts what the header is made of. */
static bool describe(int fd, const char *path, DnImageFacts *facts, DnImageAttributes *attributes,
		     GError **error)
{
	if (!is_allowed(&facts->info, path, error) ||
	    !dn_image_read_xattrs(fd, path, &facts->xattrs, error))
		return false;
	*attributes = (DnImageAttributes){
		.uid = facts->info.st_uid,
		.gid = facts->info.st_gid,
		.mode = facts->info.st_mode,
		.xattrs = facts->xattrs,
	};
	return true;
}

static bool add_header(DnDigest *digest, const DnImageAttributes *attributes)
{
	g_autoptr(GBytes) header = dn_image_content_header(attributes);

	dn_digest_add(digest, g_bytes_get_data(header, NULL), g_bytes_get_size(header));
	return true;
}

static bool add_link(int fd, const char *path, DnDigest *digest, DnImageFacts *facts,
		     GError **error)
{
	DnImageAttributes attributes = {0};
	char target[TARGET_LIMIT];
	ssize_t length = readlinkat(fd, "", target, sizeof(target) - 1);

	if (length < 0)
		return dn_throw_errno(error, errno, "read link /%s", path);
	target[length] = '\0';
	if (!g_utf8_validate(target, -1, NULL))
		return refuse(path, "is a link to a name that is not UTF-8", error);
	if (!describe(fd, path, facts, &attributes, error))
		return false;
	attributes.target = target;
	return add_header(digest, &attributes);
}

static bool add_file(int fd, const char *path, const DnImageReader *reader, DnImageFacts *facts,
		     GError **error)
{
	DnImageAttributes attributes = {0};
	uint8_t magic[4];

	if (!describe(fd, path, facts, &attributes, error) ||
	    !add_header(reader->digest, &attributes))
		return false;
	facts->is_elf = pread(fd, magic, sizeof(magic), 0) == (ssize_t)sizeof(magic) &&
			dn_elf_is(magic, sizeof(magic));
	if (reader->direct == NULL)
		return dn_digest_add_fd(reader->digest, fd, NULL, error);
	return dn_direct_add_fd(reader->direct, fd, reader->digest, error);
}

/*
 * A link is opened as O_PATH, a file for reading. Asking first what it is keeps the open of a
 * device or a fifo from having effects.
 */
static int open_known(int directory_fd, const char *path, struct stat *info, GError **error)
{
	dn_autofd int place = dn_image_open_inside(directory_fd, path, O_PATH);

	if (place < 0 || fstat(place, info) < 0) {
		dn_throw_errno(error, errno, "open /%s", path);
		return -1;
	}
	if (!is_allowed(info, path, error))
		return -1;
	if (!S_ISREG(info->st_mode))
		return g_steal_fd(&place);
	int fd = dn_image_open_inside(directory_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, info) < 0)
		dn_throw_errno(error, errno, "open /%s", path);
	return fd;
}

char *dn_image_identity(int directory_fd, const char *path, const DnImageReader *reader,
			DnImageFacts *facts, GError **error)
{
	DnImageFacts own = {0};
	DnImageFacts *found = facts != NULL ? facts : &own;
	uint8_t raw[DN_DIGEST_BYTES];
	dn_autofd int fd = open_known(directory_fd, path, &found->info, error);

	if (fd < 0)
		return NULL;
	if (S_ISDIR(found->info.st_mode)) {
		refuse(path, "is a directory where the image has a file", error);
		return NULL;
	}
	bool added = S_ISLNK(found->info.st_mode) ? add_link(fd, path, reader->digest, found, error)
						  : add_file(fd, path, reader, found, error);
	dn_image_facts_clear(&own);
	/* Also after a failure, so that the next one begins afresh. */
	dn_digest_finish(reader->digest, raw);
	return added ? dn_digest_text(raw) : NULL;
}

char *dn_image_directory_identity(int fd, const char *path, DnImageFacts *facts, GError **error)
{
	DnImageAttributes attributes = {0};

	if (fstat(fd, &facts->info) < 0) {
		dn_throw_errno(error, errno, "look at /%s", path);
		return NULL;
	}
	if (!describe(fd, path, facts, &attributes, error))
		return NULL;
	g_autoptr(GBytes) meta = dn_image_directory_meta(&attributes);
	return dn_digest_bytes(meta);
}
