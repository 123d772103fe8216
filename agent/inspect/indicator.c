/* SPDX-License-Identifier: Apache-2.0 */
#include "inspect/indicator.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "inspect/private.h"

static const char gone[] = " (deleted)";

/* An O_PATH descriptor of a regular file that the image has not got, or -1. */
static int find_file(const DnInspectBaseline *node, const char *path, uint64_t *size)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC | O_NOFOLLOW,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS,
	};
	struct statx root = {0}, file = {0};
	dn_autofd int root_fd = openat(node->pid1_fd, "root", O_PATH | O_CLOEXEC);
	dn_autofd int file_fd =
		root_fd >= 0 ? (int)syscall(SYS_openat2, root_fd, path, &how, sizeof(how)) : -1;

	if (file_fd < 0 || statx(root_fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &root) < 0 ||
	    statx(file_fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC,
		  STATX_TYPE | STATX_SIZE | STATX_INO | STATX_MNT_ID, &file) < 0)
		return -1;
	uint64_t dev = (uint64_t)file.stx_dev_major << 20 | file.stx_dev_minor;
	if (!S_ISREG(file.stx_mode) || root.stx_mnt_id == file.stx_mnt_id ||
	    dn_node_may(node, dev, file.stx_ino, false))
		return -1;
	*size = file.stx_size;
	return g_steal_fd(&file_fd);
}

static bool digest_file(int path_fd, char hex[65])
{
	g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
	unsigned char bytes[8192];
	char name[48];

	/* A regular file, by its descriptor: nothing here can wait for a writer. */
	(void)snprintf(name, sizeof(name), "/proc/self/fd/%d", path_fd);
	dn_autofd int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return false;
	for (uint64_t done = 0; done < DN_INDICATOR_READ_BYTES;) {
		ssize_t length = read(fd, bytes, sizeof(bytes));

		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0)
			return false;
		if (length == 0)
			break;
		g_checksum_update(sum, bytes, length);
		done += (uint64_t)length;
	}
	g_strlcpy(hex, g_checksum_get_string(sum), 65);
	return true;
}

void dn_inspect_indicator_now(const DnInspectBaseline *self, enum dn_drift_class drift,
			      const char *path, const char *comm, DnInspectIndicator *indicator)
{
	size_t length = strlen(path);
	uint64_t size = 0;

	*indicator = (DnInspectIndicator){.class = drift};
	g_strlcpy(indicator->comm, comm, sizeof(indicator->comm));
	if (g_str_has_suffix(path, gone))
		length -= strlen(gone);
	if (path[0] != '/' || length >= sizeof(indicator->path))
		return;
	memcpy(indicator->path, path, length);
	dn_autofd int fd = find_file(self, indicator->path, &size);
	if (fd < 0 || !digest_file(fd, indicator->digest))
		return;
	indicator->has_file = true;
	indicator->size = size;
}

static bool has_file(const DnInspectBaseline *self, const DnInspectIndicator *indicator)
{
	char digest[65];
	uint64_t size = 0;

	if (!indicator->has_file || indicator->path[0] == '\0')
		return false;
	dn_autofd int fd = find_file(self, indicator->path, &size);
	return fd >= 0 && size == indicator->size && digest_file(fd, digest) &&
	       g_str_equal(digest, indicator->digest);
}

typedef struct {
	const DnInspectIndicator *indicator;
	unsigned matches;
} Search;

static bool is_path(const char *path, const char *wanted)
{
	size_t length = strlen(wanted);

	return length > 0 && strncmp(path, wanted, length) == 0 &&
	       (path[length] == '\0' || g_str_equal(path + length, gone));
}

static DnSight search(DnProcess *process, void *data)
{
	const DnInspectBaseline *node = process->judge->node;
	Search *found = data;
	char path[DN_INSPECT_PATH + sizeof(gone)];
	DnStatus status;
	uint64_t dev = 0, ino = 0;
	bool deleted = false;
	DnSight sight = dn_process_program(process->dir_fd, &dev, &ino, &deleted);

	if (sight != DN_SIGHT_SEEN || (dn_node_may(node, dev, ino, true) && !deleted))
		return sight;
	dn_process_program_path(process->dir_fd, path, sizeof(path));
	if (is_path(path, found->indicator->path))
		found->matches |= DN_MATCH_PROGRAM;
	sight = dn_process_status(process->dir_fd, &status);
	if (sight == DN_SIGHT_SEEN && found->indicator->comm[0] != '\0' &&
	    g_str_equal(status.name, found->indicator->comm))
		found->matches |= DN_MATCH_NAME;
	return sight;
}

bool dn_inspect_has_indicator_now(const DnInspectBaseline *self,
				  const DnInspectIndicator *indicator, unsigned *matches,
				  GError **error)
{
	DnInspectLook look = {0};
	Search found = {indicator, 0};

	if (!dn_node_walk(dn_judge_begin(self, &look), search, &found, error))
		return false;
	*matches = found.matches | (has_file(self, indicator) ? DN_MATCH_FILE : 0);
	return true;
}
