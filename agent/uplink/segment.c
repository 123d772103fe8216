/* SPDX-License-Identifier: Apache-2.0 */
#include "uplink/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "seal/digest.h"
#include "uplink/spool.h"

enum { SUM_BYTES = 8 };

/* As it stands in the file; numbers in the host's order, which does not change. */
typedef struct {
	uint32_t length;
	uint8_t sum[SUM_BYTES];
	uint64_t number;
} __attribute__((packed)) Head;
_Static_assert(sizeof(Head) == DN_SEGMENT_HEAD, "the head of a record is a format");

void dn_segment_free(DnSegment *self)
{
	if (self == NULL)
		return;
	dn_fd_clear(&self->fd);
	g_free(self->path);
	g_free(self);
}

static void sum_of(uint64_t number, const void *payload, size_t length, uint8_t sum[SUM_BYTES])
{
	uint8_t digest[DN_DIGEST_BYTES];
	g_autofree uint8_t *all = g_malloc(sizeof(number) + length);

	memcpy(all, &number, sizeof(number));
	if (length > 0)
		memcpy(all + sizeof(number), payload, length);
	dn_digest_of(all, sizeof(number) + length, digest);
	memcpy(sum, digest, SUM_BYTES);
}

/*
 * The next record begins where the length of one says, also of one that does not fit its sum. Where
 * nothing can be the beginning of a record, as where a crash has cut the last one short, nobody
 * knows how many there were: that is one.
 */
static void read_records(DnSegment *self, GBytes *bytes, GArray *records)
{
	gsize size = 0;
	const uint8_t *data = g_bytes_get_data(bytes, &size);
	size_t at = 0;
	uint64_t before = 0;
	Head head;

	while (size - at >= sizeof(head)) {
		uint8_t sum[SUM_BYTES];

		memcpy(&head, data + at, sizeof(head));
		if (head.length > DN_SPOOL_RECORD || head.length > size - at - sizeof(head) ||
		    head.number <= before)
			break;
		sum_of(head.number, data + at + sizeof(head), head.length, sum);
		const DnSegmentRecord record = {
			.number = head.number,
			.offset = (off_t)(at + sizeof(head)),
			.length = head.length,
		};
		at += sizeof(head) + head.length;
		if (memcmp(sum, head.sum, SUM_BYTES) != 0) {
			self->lost++;
			continue;
		}
		g_array_append_val(records, record);
		before = head.number;
	}
	if (at < size)
		self->lost++;
	if (self->lost > 0)
		g_warning("%s: %u records at least are not whole and are left out", self->path,
			  self->lost);
}

DnSegment *dn_segment_open(const char *path, size_t limit, GArray *records, GError **error)
{
	DnSegment *self = g_new0(DnSegment, 1);

	self->path = g_strdup(path);
	/* First, since it refuses what is no file, whose opening might wait. */
	g_autoptr(GBytes) bytes = dn_file_read(path, limit, error);
	self->fd = bytes != NULL ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	if (self->fd < 0) {
		if (bytes != NULL)
			dn_throw_errno(error, errno, "open %s", path);
		dn_segment_free(self);
		return NULL;
	}
	self->size = g_bytes_get_size(bytes);
	read_records(self, bytes, records);
	return self;
}

DnSegment *dn_segment_make(const char *path, GError **error)
{
	DnSegment *self = g_new0(DnSegment, 1);

	self->path = g_strdup(path);
	self->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (self->fd < 0) {
		dn_throw_errno(error, errno, "make %s", path);
		dn_segment_free(self);
		return NULL;
	}
	return self;
}

bool dn_segment_append(DnSegment *self, uint64_t number, GBytes *payload, DnSegmentRecord *record,
		       GError **error)
{
	gsize length = 0;
	const void *data = g_bytes_get_data(payload, &length);
	Head head = {.length = (uint32_t)length, .number = number};
	struct iovec parts[] = {{&head, sizeof(head)}, {(void *)data, length}};

	sum_of(number, data, length, head.sum);
	ssize_t written = dn_failpoint("agent.spool.append.before", NULL)
				  ? pwritev(self->fd, parts, 2, (off_t)self->size)
				  : -1;
	if (written != (ssize_t)(sizeof(head) + length)) {
		int errsv = written < 0 ? errno : ENOSPC;

		/* What was written of it must not stand before the next record. */
		self->torn = ftruncate(self->fd, (off_t)self->size) < 0;
		return dn_throw_errno(error, errsv, "write %s", self->path);
	}
	*record = (DnSegmentRecord){
		.number = number,
		.offset = (off_t)(self->size + sizeof(head)),
		.length = (uint32_t)length,
	};
	self->size += sizeof(head) + length;
	return true;
}

GBytes *dn_segment_read(const DnSegment *self, const DnSegmentRecord *record, GError **error)
{
	g_autofree char *data = g_malloc(record->length);
	uint8_t sum[SUM_BYTES];
	Head head;
	struct iovec parts[] = {{&head, sizeof(head)}, {data, record->length}};
	ssize_t wanted = (ssize_t)(sizeof(head) + record->length);
	ssize_t length = preadv(self->fd, parts, 2, record->offset - (off_t)sizeof(head));

	if (length != wanted) {
		dn_throw_errno(error, length < 0 ? errno : EIO, "read %s", self->path);
		return NULL;
	}
	sum_of(record->number, data, record->length, sum);
	if (memcmp(sum, head.sum, SUM_BYTES) != 0) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "%s: record %" G_GUINT64_FORMAT " does not fit its sum", self->path,
			    record->number);
		return NULL;
	}
	return g_bytes_new_take(g_steal_pointer(&data), record->length);
}
