/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/fuzz.h"
#include "uplink/segment.h"

enum { LIMIT = 1024 * 1024 };

static DnSegment *reopen(const char *path, GArray *records)
{
	GError *error = NULL;
	DnSegment *segment = dn_segment_open(path, LIMIT, records, &error);

	fuzz_judge(segment != NULL, error);
	return segment;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(GArray) records = g_array_new(FALSE, FALSE, sizeof(DnSegmentRecord));
	g_autofree char *path = g_build_filename(fuzz_directory(), "input.seg", NULL);
	uint64_t before = 0;

	fuzz_write("input.seg", data, size);
	DnSegment *segment = reopen(path, records);
	if (segment == NULL)
		return 0;
	for (guint i = 0; i < records->len; i++) {
		const DnSegmentRecord *record = &g_array_index(records, DnSegmentRecord, i);
		g_autoptr(GBytes) payload = dn_segment_read(segment, record, NULL);

		g_assert(record->number > before);
		g_assert(payload != NULL && g_bytes_get_size(payload) == record->length);
		g_assert((size_t)record->offset + record->length <= size);
		before = record->number;
	}
	dn_segment_free(segment);
	return 0;
}
