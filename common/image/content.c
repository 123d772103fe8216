/* SPDX-License-Identifier: Apache-2.0 */
#include "image/content.h"

#include <gio/gio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "image/repository.h"
#include "seal/digest.h"

/* Length of the variant (big-endian), then padding: the variant begins at a multiple of 8. */
enum { PREFIX = 8 };

#define FILEZ_TYPE G_VARIANT_TYPE("(tuuuusa(ayay))")

static GVariant *xattrs_of(const DnImageAttributes *attributes)
{
	if (attributes->xattrs != NULL)
		return attributes->xattrs;
	return g_variant_new_array(G_VARIANT_TYPE("(ayay)"), NULL, 0);
}

GBytes *dn_image_content_header(const DnImageAttributes *attributes)
{
	const char *target = attributes->target != NULL ? attributes->target : "";
	g_autoptr(GVariant) header = g_variant_ref_sink(g_variant_new(
		"(uuuus@a(ayay))", GUINT32_TO_BE(attributes->uid), GUINT32_TO_BE(attributes->gid),
		GUINT32_TO_BE(attributes->mode), 0u, target, xattrs_of(attributes)));
	gsize size = g_variant_get_size(header);
	guint32 length = GUINT32_TO_BE((guint32)size);
	guint8 *bytes = g_malloc0(PREFIX + size);

	memcpy(bytes, &length, sizeof(length));
	g_variant_store(header, bytes + PREFIX);
	return g_bytes_new_take(bytes, PREFIX + size);
}

GBytes *dn_image_directory_meta(const DnImageAttributes *attributes)
{
	g_autoptr(GVariant) meta = g_variant_ref_sink(g_variant_new(
		"(uuu@a(ayay))", GUINT32_TO_BE(attributes->uid), GUINT32_TO_BE(attributes->gid),
		GUINT32_TO_BE(attributes->mode), xattrs_of(attributes)));

	return g_variant_get_data_as_bytes(meta);
}

static bool refuse(GError **error, const char *what)
{
	g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED, "stored file: %s", what);
	return false;
}

/* Split @filez into its header and the deflated rest. */
static GVariant *split(GBytes *filez, GBytes **deflated, GError **error)
{
	gsize size = 0;
	const guint8 *data = g_bytes_get_data(filez, &size);
	guint32 length = 0;
	static const guint8 padding[4];

	if (size >= PREFIX)
		memcpy(&length, data, sizeof(length));
	length = GUINT32_FROM_BE(length);
	if (length == 0 || length > size - PREFIX || length > DN_IMAGE_METADATA_LIMIT ||
	    memcmp(data + sizeof(length), padding, sizeof(padding)) != 0) {
		refuse(error, "its header is cut off or malformed");
		return NULL;
	}
	/* A copy of its own: GVariant wants 8-byte alignment, which a mapping's middle may lack. */
	g_autoptr(GBytes) bytes = g_bytes_new(data + PREFIX, length);
	g_autoptr(GVariant) header =
		g_variant_ref_sink(g_variant_new_from_bytes(FILEZ_TYPE, bytes, FALSE));
	if (!g_variant_is_normal_form(header)) {
		refuse(error, "its header is malformed");
		return NULL;
	}
	*deflated = g_bytes_new_from_bytes(filez, PREFIX + length, size - PREFIX - length);
	return g_steal_pointer(&header);
}

/* Inflate all of @deflated into @digest; no byte may follow the stream. */
static bool inflate(GBytes *deflated, uint64_t expected, DnDigest *digest, GError **error)
{
	enum { PART = 128 * 1024 };
	g_autoptr(GZlibDecompressor) zlib = g_zlib_decompressor_new(G_ZLIB_COMPRESSOR_FORMAT_RAW);
	g_autofree guint8 *part = g_malloc(PART);
	gsize left = 0;
	const guint8 *from = g_bytes_get_data(deflated, &left);
	GConverterResult result = G_CONVERTER_CONVERTED;
	uint64_t total = 0;

	while (result != G_CONVERTER_FINISHED) {
		gsize used = 0, made = 0;

		result = g_converter_convert(G_CONVERTER(zlib), from, left, part, PART,
					     G_CONVERTER_INPUT_AT_END, &used, &made, NULL);
		if (result == G_CONVERTER_ERROR)
			return refuse(error, "its content is cut off or malformed");
		total += made;
		if (total > expected)
			return refuse(error, "its content is longer than its header says");
		dn_digest_add(digest, part, made);
		from += used;
		left -= used;
	}
	if (left != 0 || total != expected)
		return refuse(error, "its content is not as long as its header says");
	return true;
}

static bool check_size(uint64_t size, uint32_t mode, GBytes *deflated, GError **error)
{
	if (size > DN_IMAGE_FILE_LIMIT) {
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
			    "stored file: %" G_GUINT64_FORMAT " bytes, at most %d", size,
			    DN_IMAGE_FILE_LIMIT);
		return false;
	}
	if (S_ISLNK(mode) && (size != 0 || g_bytes_get_size(deflated) != 0))
		return refuse(error, "a link with content");
	if (!S_ISLNK(mode) && !S_ISREG(mode))
		return refuse(error, "neither a regular file nor a link");
	return true;
}

char *dn_image_filez_checksum(GBytes *filez, uint64_t *size_bytes, GError **error)
{
	g_autoptr(GBytes) deflated = NULL;
	g_autoptr(GVariant) header = split(filez, &deflated, error);
	g_autoptr(GVariant) xattrs = NULL;
	g_autoptr(DnDigest) digest = dn_digest_new();
	uint8_t bytes[DN_DIGEST_BYTES];
	guint64 size = 0;
	guint32 rdev = 0;
	DnImageAttributes attributes = {0};

	if (header == NULL)
		return NULL;
	g_variant_get(header, "(tuuuu&s@a(ayay))", &size, &attributes.uid, &attributes.gid,
		      &attributes.mode, &rdev, &attributes.target, &xattrs);
	size = GUINT64_FROM_BE(size);
	attributes.uid = GUINT32_FROM_BE(attributes.uid);
	attributes.gid = GUINT32_FROM_BE(attributes.gid);
	attributes.mode = GUINT32_FROM_BE(attributes.mode);
	attributes.xattrs = xattrs;
	if (rdev != 0) {
		refuse(error, "a device number");
		return NULL;
	}
	if (!check_size(size, attributes.mode, deflated, error))
		return NULL;
	g_autoptr(GBytes) hashed = dn_image_content_header(&attributes);
	dn_digest_add(digest, g_bytes_get_data(hashed, NULL), g_bytes_get_size(hashed));
	if (S_ISREG(attributes.mode) && !inflate(deflated, size, digest, error))
		return NULL;
	dn_digest_finish(digest, bytes);
	if (size_bytes != NULL)
		*size_bytes = size;
	return dn_digest_text(bytes);
}
