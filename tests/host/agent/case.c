/* SPDX-License-Identifier: Apache-2.0 */
#include "case.h"

#include <string.h>

#include "base/clock.h"
#include "seal/digest.h"
#include "seal/minisign.h"
#include "seal/token.h"
#include "seal/trust.h"

/* ---- what is signed ---- */

static GBytes *trust_file(const Case *self)
{
	g_autofree char *ops = dn_secret_key_public_text(self->ops);
	g_autofree char *dba = dn_secret_key_public_text(self->dba);
	g_autofree char *ci = dn_secret_key_public_text(self->ci);
	g_autofree char *tooler = dn_secret_key_public_text(self->tooler);
	char *text = g_strdup_printf("dnode: trust/v1\n"
				     "cluster: \"" CASE_CLUSTER "\"\n"
				     "keys:\n"
				     "  - {name: ops, role: deploy, key: \"%s\"}\n"
				     "  - {name: dba, role: deploy, key: \"%s\"}\n"
				     "  - {name: ci, role: release, key: \"%s\"}\n"
				     "  - {name: tooler, role: release, key: \"%s\"}\n"
				     "images:\n"
				     "  - {refs: \"apps/*\", keys: [ci]}\n"
				     "  - {refs: \"tools/*\", keys: [tooler]}\n"
				     "services:\n"
				     "  - {services: db, keys: [dba]}\n"
				     "  - {services: vault, keys: [ops, dba], threshold: 2}\n"
				     "  - {services: \"*\", keys: [ops]}\n"
				     "minimum_epochs: {old: 3}\n",
				     ops, dba, ci, tooler);

	return g_bytes_new_take(text, strlen(text));
}

GBytes *case_manifest(const char *service, uint64_t epoch, const char *more)
{
	char *text = g_strdup_printf("dnode: v1\n"
				     "service: %s\n"
				     "epoch: %" G_GUINT64_FORMAT "\n"
				     "image:\n"
				     "  ref: apps/hello\n"
				     "  commit: " CASE_COMMIT "\n"
				     "resources: {memory: 16MiB, cpu: 0.1, pids: 16, files: 64}\n"
				     "%s",
				     service, epoch, more);

	return g_bytes_new_take(text, strlen(text));
}

static GBytes *sign(const DnSecretKey *key, GBytes *bytes, const char *service, uint64_t epoch)
{
	g_autofree char *comment = dn_trust_manifest_comment(service, epoch);
	g_autoptr(GError) error = NULL;
	GBytes *signature = dn_minisign_sign(key, bytes, comment, &error);

	if (signature == NULL)
		g_error("%s", error->message);
	return signature;
}

DnOrder *case_manifest_order(Case *self, const DnSecretKey *key, GBytes *bytes, const char *service,
			     uint64_t epoch)
{
	DnOrder *order = dn_order_new(DN_ORDER_MANIFEST);

	order->manifest = bytes;
	g_ptr_array_add(order->signatures, sign(key, bytes, service, epoch));
	evil_address(&self->evil, order);
	return order;
}

void case_sign_also(DnOrder *order, const DnSecretKey *key, const char *service, uint64_t epoch)
{
	g_ptr_array_add(order->signatures, sign(key, order->manifest, service, epoch));
}

DnOrder *case_good_order(Case *self, const char *service, uint64_t epoch)
{
	return case_manifest_order(self, self->ops, case_manifest(service, epoch, ""), service,
				   epoch);
}

DnOrder *case_share_order(Case *self, const char *service, const char *digest, uint64_t epoch)
{
	DnOrder *order = dn_order_new(DN_ORDER_ASSIGN);

	order->assign = dn_assign_new(service, "10.99.0.1");
	if (digest != NULL)
		g_ptr_array_add(order->assign->parts, dn_part_new(digest, epoch, 1, 0));
	evil_address(&self->evil, order);
	return order;
}

/* ---- enrolment ---- */

char *case_token(const Case *self, uint64_t expires_s, bool wrong_key, bool wrong_trust)
{
	g_autoptr(DnHostToken) token = dn_host_token_new();
	g_autoptr(GError) error = NULL;
	uint8_t key[DN_PUBLIC_KEY_BYTES];
	gsize size = 0;
	const void *trust = g_bytes_get_data(self->trust, &size);

	token->address = g_strdup(YARD_SUPERVISOR);
	token->cluster = g_strdup(CASE_CLUSTER);
	token->host = g_strdup(YARD_HOST);
	token->expires_s = expires_s;
	dn_secret_key_public(self->link, key);
	dn_digest_of(key, sizeof(key), token->supervisor_fingerprint);
	dn_digest_of(trust, size, token->trust_digest);
	token->supervisor_fingerprint[0] ^= wrong_key;
	token->trust_digest[0] ^= wrong_trust;
	char *text = dn_host_token_encode(token, &error);
	if (text == NULL)
		g_error("%s", error->message);
	return text;
}

void case_enrol(Case *self)
{
	uint64_t now_s = dn_clock_realtime_ns() / DN_NS_PER_S;
	g_autofree char *token = case_token(self, now_s + 60, false, false);
	g_autofree char *said = NULL;

	yard_check(yard_enrol(self->yard, token, &said) == 0, "the host enrols", said);
	yard_start(self->yard);
	yard_check(evil_wait_report(&self->evil, 0), "the agent links and reports", NULL);
}

/* ---- what is expected ---- */

bool case_is_one_line(const char *text)
{
	return text != NULL && *text != '\0' && strchr(text, '\n') == NULL;
}

static char *describe(const Evil *evil)
{
	const DnAnswerTo *answer = evil->answer;
	const DnEvent *event = evil->event != NULL ? evil->event->event : NULL;

	if (answer == NULL)
		return g_strdup("no answer came");
	return g_strdup_printf("done %d, code %d, '%s'; event %s '%s'", answer->done, answer->code,
			       answer->error != NULL ? answer->error : "",
			       event != NULL ? event->kind : "none",
			       event != NULL ? event->text : "");
}

void case_is_refused(Case *self, DnOrder *order, int code, const char *kind, const char *why,
		     const char *sentence)
{
	const DnAnswerTo *answer = evil_ask(&self->evil, order);
	const DnEvent *event = self->evil.event != NULL ? self->evil.event->event : NULL;
	g_autofree char *detail = describe(&self->evil);
	bool refused = answer != NULL && !answer->done && answer->code == code &&
		       case_is_one_line(answer->error) && strstr(answer->error, why) != NULL;
	bool told =
		kind == NULL || (event != NULL && g_str_equal(event->kind, kind) &&
				 g_str_equal(event->severity, "critical") &&
				 case_is_one_line(event->text) && strstr(event->text, why) != NULL);

	yard_check(refused && told, sentence, detail);
	dn_order_free(order);
}

void case_is_done(Case *self, DnOrder *order, const char *sentence)
{
	const DnAnswerTo *answer = evil_ask(&self->evil, order);
	g_autofree char *detail = describe(&self->evil);

	yard_check(answer != NULL && answer->done, sentence, detail);
	dn_order_free(order);
}

uint64_t case_reported_epoch(const Case *self, const char *service)
{
	const DnFact *fact = self->evil.report;
	const uint64_t *epoch =
		fact == NULL ? NULL : g_hash_table_lookup(fact->report->epochs, service);

	return epoch == NULL ? 0 : *epoch;
}

/* ---- the case ---- */

void case_open(Case *self, Yard *yard)
{
	*self = (Case){
		.yard = yard,
		.link = dn_secret_key_generate(),
		.other_link = dn_secret_key_generate(),
		.ops = dn_secret_key_generate(),
		.dba = dn_secret_key_generate(),
		.ci = dn_secret_key_generate(),
		.tooler = dn_secret_key_generate(),
		.stranger = dn_secret_key_generate(),
		.evil.welcome = {.cluster = CASE_CLUSTER,
				 .host_cidr = "10.77.1.0/24",
				 .node_cidr = "10.77.0.0/16",
				 .vip_cidr = "10.99.0.0/16",
				 .repo = "http://127.0.0.1:1/repo",
				 .term = 5},
	};
	self->trust = trust_file(self);
	self->evil.enrolled = dn_frame_new(DN_FRAME_ENROLLED);
	self->evil.enrolled->enrolled->cluster = g_strdup(CASE_CLUSTER);
	self->evil.enrolled->enrolled->host = g_strdup(YARD_HOST);
	self->evil.enrolled->enrolled->trust = g_bytes_ref(self->trust);
	evil_listen(&self->evil, self->link);
}

void case_close(Case *self)
{
	evil_clear(&self->evil);
	g_bytes_unref(self->trust);
	dn_secret_key_free(self->link);
	dn_secret_key_free(self->other_link);
	dn_secret_key_free(self->ops);
	dn_secret_key_free(self->dba);
	dn_secret_key_free(self->ci);
	dn_secret_key_free(self->tooler);
	dn_secret_key_free(self->stranger);
}
