/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "fuzz/fuzz.h"
#include "inspect/lines.h"
#include "inspect/text.h"

static void demand(bool kept)
{
	if (!kept)
		__builtin_trap();
}

static void parse_line(DnStatus *status, GChecksum *digest, const char *line, size_t length)
{
	static DnMapping mapping;
	uint64_t ino = 0;

	if (dn_mapping_parse(line, length, &mapping)) {
		demand(mapping.start < mapping.end);
		demand(memchr(mapping.name, '\0', sizeof(mapping.name)) != NULL);
		demand(!dn_mapping_is_kernel(&mapping) || mapping.ino == 0);
		demand(dn_mapping_is_data(line, length) == !mapping.executable);
	}
	uint32_t seen = status->seen;
	if (!dn_status_take(status, line, length))
		demand(status->seen == seen);
	demand(memchr(status->name, '\0', sizeof(status->name)) != NULL);
	dn_mount_line_digest(digest, line, length);
	(void)dn_cgroup_line_is_below(line, length, "/dnode/n1");
	(void)dn_namespace_parse(line, length, "mnt", &ino);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(GChecksum) digest = g_checksum_new(G_CHECKSUM_SHA256);
	dn_autofd int fd = memfd_create("fuzz", MFD_CLOEXEC);
	const char *line = NULL;
	size_t length = 0, total = 0;
	DnStatus status = {0};
	DnLines lines;

	if (fd < 0 || write(fd, data, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) != 0)
		return 0;
	dn_lines_begin(&lines, fd);
	while (dn_lines_next(&lines, &line, &length) > 0) {
		/* In memory of its own, so that a byte too far is seen. */
		g_autofree char *copy = g_memdup2(line, length);

		demand(length <= DN_LINES_BYTES);
		total += length;
		parse_line(&status, digest, copy != NULL ? copy : "", length);
	}
	demand(total <= size);
	for (size_t i = 0; i + sizeof(uint64_t) <= size; i += sizeof(uint64_t)) {
		uint64_t word = 0;

		memcpy(&word, data + i, sizeof(word));
		demand(!(dn_page_is_copied(word) && dn_page_is_of_file(word)));
	}
	return 0;
}
