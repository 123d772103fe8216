/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/codec.h"

#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "wire/codec-parts.h"
#include "wire/json.h"

enum { NAME_LIMIT = 64, ERROR_LIMIT = 4096, SECRET_BYTES = 32, TRUST_LIMIT = 256 * 1024 };

static const char *const type_names[] = {
	[DN_FRAME_ENROL] = "enrol",     [DN_FRAME_ENROLLED] = "enrolled",
	[DN_FRAME_HELLO] = "hello",     [DN_FRAME_WELCOME] = "welcome",
	[DN_FRAME_FACT] = "fact",       [DN_FRAME_ORDER] = "order",
	[DN_FRAME_ANSWER] = "answer",   [DN_FRAME_STORED] = "stored",
	[DN_FRAME_JOURNAL] = "journal", [DN_FRAME_REFUSED] = "refused",
};
_Static_assert(G_N_ELEMENTS(type_names) == DN_FRAME_N, "every type needs a name");

static void free_enrol(DnEnrol *self)
{
	if (self == NULL)
		return;
	g_free(self->host);
	g_clear_pointer(&self->secret, g_bytes_unref);
	g_free(self);
}

void dn_enrolled_free(DnEnrolled *self)
{
	if (self == NULL)
		return;
	g_free(self->cluster);
	g_free(self->host);
	g_clear_pointer(&self->trust, g_bytes_unref);
	g_clear_pointer(&self->epochs, g_hash_table_unref);
	g_free(self);
}

static void free_hello(DnHello *self)
{
	if (self == NULL)
		return;
	g_free(self->host);
	g_free(self->session);
	g_free(self);
}

static void free_welcome(DnWelcome *self)
{
	if (self == NULL)
		return;
	g_free(self->cluster);
	g_free(self->session);
	g_free(self->host_cidr);
	g_free(self->node_cidr);
	g_free(self->vip_cidr);
	g_free(self->repo);
	g_free(self);
}

DnFrame *dn_frame_new(DnFrameType type)
{
	DnFrame *self = g_new0(DnFrame, 1);

	self->type = type;
	if (type == DN_FRAME_ENROL)
		self->enrol = g_new0(DnEnrol, 1);
	if (type == DN_FRAME_HELLO)
		self->hello = g_new0(DnHello, 1);
	if (type == DN_FRAME_WELCOME)
		self->welcome = g_new0(DnWelcome, 1);
	if (type == DN_FRAME_ENROLLED) {
		self->enrolled = g_new0(DnEnrolled, 1);
		self->enrolled->epochs =
			g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	}
	return self;
}

void dn_frame_free(DnFrame *self)
{
	if (self == NULL)
		return;
	free_enrol(self->enrol);
	dn_enrolled_free(self->enrolled);
	free_hello(self->hello);
	free_welcome(self->welcome);
	dn_fact_free(self->fact);
	dn_order_free(self->order);
	dn_answer_to_free(self->answer);
	g_free(self->spool);
	g_free(self->refused);
	g_free(self);
}

void dn_codec_write_head(JsonObject *object, const DnJournalHead *head)
{
	if (head->hash[0] == '\0')
		return;
	JsonObject *journal = json_object_new();
	json_object_set_int_member(journal, "seq", (gint64)head->seq);
	dn_json_set_string(journal, "hash", head->hash);
	json_object_set_object_member(object, "journal", journal);
}

void dn_codec_read_head(JsonObject *object, DnJournalHead *head, GError **error)
{
	if (*error != NULL || !json_object_has_member(object, "journal"))
		return;
	JsonObject *journal = dn_json_object(object, "journal", error);
	uint64_t seq = dn_json_u64(journal, "seq", G_MAXINT64, error);
	g_autofree char *hash = dn_json_string(journal, "hash", DN_JOURNAL_HASH_DIGITS, error);

	if (*error == NULL && !dn_text_is_hex(hash, DN_JOURNAL_HASH_DIGITS))
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "\"journal\": the hash is not %d hexadecimal digits",
			    DN_JOURNAL_HASH_DIGITS);
	if (*error != NULL)
		return;
	head->seq = seq;
	g_strlcpy(head->hash, hash, sizeof(head->hash));
}

static JsonObject *write_answer(const DnAnswerTo *answer)
{
	JsonObject *object = json_object_new();

	dn_json_set_string(object, "type", "answer");
	json_object_set_int_member(object, "sequence", (gint64)answer->sequence);
	json_object_set_boolean_member(object, "done", answer->done);
	json_object_set_int_member(object, "code", answer->code);
	dn_json_set_text(object, "error", answer->error, ERROR_LIMIT);
	dn_json_set_string(object, "text", answer->text);
	json_object_set_int_member(object, "offset", (gint64)answer->offset);
	json_object_set_int_member(object, "looked", answer->looked);
	json_object_set_int_member(object, "found", answer->found);
	return object;
}

static void write_link(JsonObject *object, const DnFrame *frame)
{
	if (frame->enrol != NULL) {
		dn_json_set_string(object, "host", frame->enrol->host);
		dn_json_set_base64(object, "secret", frame->enrol->secret);
	} else if (frame->enrolled != NULL) {
		dn_json_set_string(object, "cluster", frame->enrolled->cluster);
		dn_json_set_string(object, "host", frame->enrolled->host);
		dn_json_set_base64(object, "trust", frame->enrolled->trust);
		json_object_set_object_member(object, "epochs",
					      dn_codec_write_epochs(frame->enrolled->epochs));
	} else if (frame->hello != NULL) {
		json_object_set_int_member(object, "version", frame->hello->version);
		dn_json_set_string(object, "host", frame->hello->host);
		dn_json_set_string(object, "session", frame->hello->session);
		json_object_set_int_member(object, "term", (gint64)frame->hello->term);
	} else if (frame->welcome != NULL) {
		dn_json_set_string(object, "cluster", frame->welcome->cluster);
		json_object_set_int_member(object, "term", (gint64)frame->welcome->term);
		dn_json_set_string(object, "session", frame->welcome->session);
		dn_json_set_string(object, "host_cidr", frame->welcome->host_cidr);
		dn_json_set_string(object, "node_cidr", frame->welcome->node_cidr);
		dn_json_set_string(object, "vip_cidr", frame->welcome->vip_cidr);
		dn_json_set_string(object, "repo", frame->welcome->repo);
		dn_codec_write_head(object, &frame->welcome->head);
	} else if (frame->type == DN_FRAME_STORED) {
		dn_json_set_string(object, "spool", frame->spool);
		json_object_set_int_member(object, "number", (gint64)frame->stored);
	} else if (frame->type == DN_FRAME_JOURNAL) {
		dn_codec_write_head(object, &frame->head);
	} else {
		dn_json_set_text(object, "refused", frame->refused, ERROR_LIMIT);
		json_object_set_int_member(object, "code", frame->refused_code);
	}
}

GBytes *dn_frame_encode(const DnFrame *frame)
{
	if (frame->type == DN_FRAME_FACT)
		return dn_frame_encode_fact(frame->fact);
	if (frame->type == DN_FRAME_ORDER)
		return dn_frame_encode_order(frame->order);
	if (frame->type == DN_FRAME_ANSWER)
		return dn_frame_encode_answer(frame->answer);
	JsonObject *object = json_object_new();
	dn_json_set_string(object, "type", type_names[frame->type]);
	write_link(object, frame);
	return dn_json_print(object);
}

GBytes *dn_frame_encode_order(const DnOrder *order)
{
	return dn_json_print(dn_codec_write_order(order));
}

GBytes *dn_frame_encode_fact(const DnFact *fact)
{
	return dn_json_print(dn_codec_write_fact(fact));
}

GBytes *dn_frame_encode_answer(const DnAnswerTo *answer)
{
	return dn_json_print(write_answer(answer));
}

static DnAnswerTo *read_answer(JsonObject *object, GError **error)
{
	DnAnswerTo *answer = dn_answer_to_new(dn_json_u64(object, "sequence", G_MAXINT64, error));

	answer->done = dn_json_bool(object, "done", error);
	answer->code = (int)dn_json_i64_or(object, "code", 0, error);
	answer->error = dn_json_string_or_null(object, "error", ERROR_LIMIT, error);
	answer->text = dn_json_string_or_null(object, "text", DN_FRAME_LIMIT, error);
	answer->offset = (uint64_t)dn_json_i64_or(object, "offset", 0, error);
	answer->looked =
		(uint32_t)CLAMP(dn_json_i64_or(object, "looked", 0, error), 0, DN_SIBLINGS_LIMIT);
	answer->found =
		(uint32_t)CLAMP(dn_json_i64_or(object, "found", 0, error), 0, answer->looked);
	return answer;
}

static void read_enrolled(JsonObject *object, DnEnrolled *enrolled, GError **error)
{
	enrolled->cluster = dn_json_string(object, "cluster", NAME_LIMIT, error);
	enrolled->host = dn_json_string(object, "host", NAME_LIMIT, error);
	enrolled->trust = dn_json_base64(object, "trust", TRUST_LIMIT, error);
	dn_codec_read_epochs(object, "epochs", enrolled->epochs, error);
}

static void read_hello(JsonObject *object, DnHello *hello, GError **error)
{
	hello->version = (unsigned)dn_json_u64(object, "version", 1000, error);
	hello->host = dn_json_string(object, "host", NAME_LIMIT, error);
	hello->session = dn_json_string(object, "session", NAME_LIMIT, error);
	hello->term = dn_json_u64(object, "term", G_MAXINT64, error);
}

static void read_welcome(JsonObject *object, DnWelcome *welcome, GError **error)
{
	welcome->cluster = dn_json_string(object, "cluster", NAME_LIMIT, error);
	welcome->term = dn_json_u64(object, "term", G_MAXINT64, error);
	welcome->session = dn_json_string(object, "session", NAME_LIMIT, error);
	welcome->host_cidr = dn_json_string(object, "host_cidr", NAME_LIMIT, error);
	welcome->node_cidr = dn_json_string(object, "node_cidr", NAME_LIMIT, error);
	welcome->vip_cidr = dn_json_string(object, "vip_cidr", NAME_LIMIT, error);
	welcome->repo = dn_json_string(object, "repo", 256, error);
	dn_codec_read_head(object, &welcome->head, error);
}

static void read_enrol(JsonObject *object, DnEnrol *enrol, GError **error)
{
	enrol->host = dn_json_string(object, "host", NAME_LIMIT, error);
	enrol->secret = dn_json_base64(object, "secret", SECRET_BYTES, error);
	if (*error == NULL && g_bytes_get_size(enrol->secret) != SECRET_BYTES)
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "\"secret\": not %d bytes",
			    SECRET_BYTES);
}

static void read_frame(JsonObject *object, DnFrame *frame, GError **error)
{
	switch (frame->type) {
	case DN_FRAME_ENROL:
		read_enrol(object, frame->enrol, error);
		break;
	case DN_FRAME_ENROLLED:
		read_enrolled(object, frame->enrolled, error);
		break;
	case DN_FRAME_HELLO:
		read_hello(object, frame->hello, error);
		break;
	case DN_FRAME_WELCOME:
		read_welcome(object, frame->welcome, error);
		break;
	case DN_FRAME_FACT:
		frame->fact = dn_codec_read_fact(object, error);
		break;
	case DN_FRAME_ORDER:
		frame->order = dn_codec_read_order(object, error);
		break;
	case DN_FRAME_ANSWER:
		frame->answer = read_answer(object, error);
		break;
	case DN_FRAME_STORED:
		frame->spool = dn_json_string(object, "spool", NAME_LIMIT, error);
		frame->stored = dn_json_u64(object, "number", G_MAXINT64, error);
		break;
	case DN_FRAME_JOURNAL:
		dn_codec_read_head(object, &frame->head, error);
		break;
	case DN_FRAME_REFUSED:
		frame->refused = dn_json_string(object, "refused", ERROR_LIMIT, error);
		frame->refused_code = (int)dn_json_i64_or(object, "code", 0, error);
		break;
	case DN_FRAME_N:
		g_assert_not_reached();
	}
}

DnFrame *dn_frame_decode(GBytes *bytes, GError **error)
{
	g_autoptr(JsonObject) object = dn_json_parse(bytes, DN_FRAME_LIMIT, error);
	GError *failed = NULL;
	unsigned type = 0;

	if (object == NULL)
		return NULL;
	g_autofree char *name = dn_json_string(object, "type", NAME_LIMIT, error);
	if (name == NULL)
		return NULL;
	while (type < DN_FRAME_N && !g_str_equal(type_names[type], name))
		type++;
	if (type == DN_FRAME_N) {
		g_autofree char *shown = dn_text_printable(name, strlen(name));

		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "no frame is of type \"%s\"", shown);
		return NULL;
	}
	g_autoptr(DnFrame) frame = dn_frame_new((DnFrameType)type);
	read_frame(object, frame, &failed);
	if (failed != NULL) {
		g_propagate_prefixed_error(error, failed, "frame %s: ", name);
		return NULL;
	}
	return g_steal_pointer(&frame);
}
