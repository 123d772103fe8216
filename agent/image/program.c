/* SPDX-License-Identifier: Apache-2.0 */
#include "image/program.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <dnode/sensor-abi-user.h>

#include "base/fd.h"
#include "image/elf-file.h"

/* Also what is known of a file while the names are gathered. */
enum { OTHER_NAME = 1 << 16, NAMED = 1 << 17, OWN = 1 << 18, RUNS = 1 << 19, AS_SHELL = 1 << 20 };

typedef struct {
	const DnImageListing *listing;
	int root_fd;
	GHashTable *files; /* of DnProgramFile, by dev and ino, owned */
} Search;

static guint hash_file(gconstpointer data)
{
	const DnProgramFile *file = data;

	return (guint)(file->ino ^ file->ino >> 32 ^ file->dev);
}

static gboolean same_file(gconstpointer a, gconstpointer b)
{
	const DnProgramFile *one = a, *other = b;

	return one->dev == other->dev && one->ino == other->ino;
}

static DnProgramFile identity(const struct stat *info)
{
	return (DnProgramFile){
		.dev = (uint64_t)major(info->st_dev) << 20 | minor(info->st_dev),
		.ino = info->st_ino,
	};
}

static DnProgramFile *find(const Search *search, const struct stat *info)
{
	DnProgramFile key = identity(info);

	return g_hash_table_lookup(search->files, &key);
}

static void note_name(DnProgramFile *file, const char *path)
{
	const char *slash = strrchr(path, '/');
	uint32_t flags = dn_image_program_name(slash != NULL ? slash + 1 : path);

	file->flags |= flags;
	if ((flags & DN_FILE_SHELL) == 0)
		file->flags |= OTHER_NAME;
}

bool dn_image_program_interpreter(const uint8_t *bytes, size_t size, char path[static 256])
{
	size_t end = MIN(size, 256), at = 2, to = 0;

	if (end < 3 || bytes[0] != '#' || bytes[1] != '!')
		return false;
	while (at < end && (bytes[at] == ' ' || bytes[at] == '\t'))
		at++;
	for (; at < end && to < 255; at++) {
		if (bytes[at] == ' ' || bytes[at] == '\t' || bytes[at] == '\n' || bytes[at] == '\0')
			break;
		path[to++] = (char)bytes[at];
	}
	path[to] = '\0';
	return to > 0;
}

/* What a node would reach by @path, which may be a link: within the image. */
static int open_in_root(const Search *search, const char *path, int flags)
{
	struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC), .resolve = RESOLVE_IN_ROOT};

	return (int)syscall(SYS_openat2, search->root_fd, path, &how, sizeof(how));
}

static DnProgramFile *resolve(const Search *search, const char *path)
{
	dn_autofd int fd = open_in_root(search, path, O_PATH);
	struct stat info = {0};

	return fd >= 0 && fstat(fd, &info) == 0 ? find(search, &info) : NULL;
}

static bool add_file(Search *search, const DnImageEntry *entry, GError **error)
{
	dn_autofd int fd = dn_image_open_inside(search->root_fd, entry->path, O_PATH);
	struct stat info = {0};

	if (fd < 0 || fstat(fd, &info) < 0)
		return dn_throw_errno(error, errno, "look at /%s", entry->path);
	DnProgramFile *file = find(search, &info);
	if (file == NULL) {
		file = g_new(DnProgramFile, 1);
		*file = identity(&info);
		g_hash_table_add(search->files, file);
	}
	if (S_ISREG(info.st_mode) && (info.st_mode & 0111) != 0)
		file->flags |= RUNS;
	note_name(file, entry->path);
	return true;
}

/* Whatever runs or has a name that counts; documents need no entry. */
static bool add_files(Search *search, GError **error)
{
	for (guint i = 0; i < dn_image_listing_length(search->listing); i++) {
		const DnImageEntry *entry = dn_image_listing_at(search->listing, i);

		if (entry->runs && !add_file(search, entry, error))
			return false;
	}
	return true;
}

static void follow_links(const Search *search)
{
	for (guint i = 0; i < dn_image_listing_length(search->listing); i++) {
		const DnImageEntry *entry = dn_image_listing_at(search->listing, i);
		DnProgramFile *file = S_ISLNK(entry->mode) ? resolve(search, entry->path) : NULL;

		if (file != NULL)
			note_name(file, entry->path);
	}
}

static int open_for_reading(const Search *search, const DnImageEntry *entry)
{
	return dn_image_open_inside(search->root_fd, entry->path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
}

static void read_elf(const Search *search, const DnImageEntry *entry)
{
	dn_autofd int fd = open_for_reading(search, entry);
	char path[DN_ELF_PATH];
	uint8_t magic[4];
	struct stat info = {0};

	if (fd < 0 || fstat(fd, &info) < 0 ||
	    pread(fd, magic, sizeof(magic), 0) != (ssize_t)sizeof(magic) ||
	    !dn_elf_is(magic, sizeof(magic)))
		return;
	DnProgramFile *file = find(search, &info);
	if (file != NULL)
		file->flags |= DN_FILE_MAP;
	DnProgramFile *loader = dn_elf_read_loader(fd, path) ? resolve(search, path) : NULL;
	if (loader != NULL)
		loader->flags |= DN_FILE_LOADER;
}

/* Is it asked for by a shell's name? "busybox" alone is none: what it is then, its argument says.
 */
static bool is_shell(const char *path)
{
	const char *slash = path != NULL ? strrchr(path, '/') : NULL;

	return path != NULL &&
	       dn_image_program_name(slash != NULL ? slash + 1 : path) == DN_FILE_SHELL;
}

static bool note_named(const Search *search, char *const *may_exec, GError **error)
{
	for (size_t i = 0; may_exec != NULL && may_exec[i] != NULL; i++) {
		DnProgramFile *file = resolve(search, may_exec[i]);

		if (file == NULL || (file->flags & RUNS) == 0) {
			g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
				    "run.may_exec names %s, which is no executable file of the "
				    "image",
				    may_exec[i]);
			return false;
		}
		file->flags |= NAMED | (is_shell(may_exec[i]) ? AS_SHELL : 0);
	}
	return true;
}

/* The service's own program, and what the kernel starts in its place when it is a script. */
static bool note_own(const Search *search, const DnProgramRules *rules, GError **error)
{
	g_autofree char *path = g_strdup(rules->program);
	uint32_t as_shell = is_shell(rules->argument) ? AS_SHELL : 0;

	/* The kernel follows scripts that name scripts five times. */
	for (unsigned i = 0; path != NULL && i < 5; i++) {
		DnProgramFile *file = resolve(search, path);
		dn_autofd int fd =
			file != NULL ? open_in_root(search, path, O_RDONLY | O_NONBLOCK) : -1;
		uint8_t head[256];
		char next[256];
		ssize_t got = fd >= 0 ? pread(fd, head, sizeof(head), 0) : -1;

		if (file == NULL)
			return true;
		if (!rules->jit && fd >= 0 && dn_elf_reads_writable_code(fd)) {
			g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
				    "%s of the image wants memory that is writable and executable "
				    "at once: link it with -z noexecstack, or say run.jit: true",
				    path);
			return false;
		}
		file->flags |= OWN | (is_shell(path) ? AS_SHELL : as_shell);
		as_shell = 0;
		g_clear_pointer(&path, g_free);
		if (got > 0 && dn_image_program_interpreter(head, (size_t)got, next))
			path = g_strdup(next);
	}
	return true;
}

static uint32_t conclude(uint32_t flags, bool limited)
{
	uint32_t end = flags & (DN_FILE_MAP | DN_FILE_LOADER | DN_FILE_SHELL | DN_FILE_MULTI);
	bool allowed = (flags & (NAMED | OWN)) != 0;

	if (!limited)
		allowed = allowed || (flags & DN_FILE_LOADER) == 0;
	if (!limited && (flags & DN_FILE_SHELL) != 0)
		allowed = (flags & (NAMED | OWN)) != 0;
	if ((flags & DN_FILE_SHELL) != 0 && (flags & OTHER_NAME) != 0)
		end |= DN_FILE_MULTI;
	/* Declared as what it is by another name: as a shell it is not, and its argument tells. */
	if ((end & DN_FILE_MULTI) != 0 && allowed && (flags & AS_SHELL) == 0)
		end &= ~(uint32_t)DN_FILE_SHELL;
	return end | ((flags & RUNS) != 0 && allowed ? DN_FILE_EXEC : 0);
}

static GArray *collect(const Search *search, bool limited, GError **error)
{
	g_autoptr(GArray) found = g_array_new(FALSE, FALSE, sizeof(DnProgramFile));
	GHashTableIter iter;
	gpointer value = NULL;

	g_hash_table_iter_init(&iter, search->files);
	while (g_hash_table_iter_next(&iter, &value, NULL)) {
		DnProgramFile file = *(const DnProgramFile *)value;

		file.flags = conclude(file.flags, limited);
		if (file.flags != 0)
			g_array_append_val(found, file);
	}
	if (found->len <= DN_SENSOR_ALLOW)
		return g_steal_pointer(&found);
	g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
		    "the image has more than %d files that can be executed or mapped: make it "
		    "smaller, a node runs one service",
		    DN_SENSOR_ALLOW);
	return NULL;
}

GArray *dn_image_program_files(const DnImageListing *listing, int root_fd,
			       const DnProgramRules *rules, GError **error)
{
	g_autoptr(GHashTable) files = g_hash_table_new_full(hash_file, same_file, g_free, NULL);
	Search search = {.listing = listing, .root_fd = root_fd, .files = files};

	if (!add_files(&search, error))
		return NULL;
	follow_links(&search);
	const GArray *runs = dn_image_listing_runs(listing);
	for (guint i = 0; i < runs->len; i++)
		read_elf(&search, dn_image_listing_at(listing, g_array_index(runs, guint, i)));
	if (!note_named(&search, rules->may_exec, error) || !note_own(&search, rules, error))
		return NULL;
	return collect(&search, rules->may_exec != NULL, error);
}
