/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A supervisor that was taken over holds the link's key, but no key that signs manifests. These
 * are the things it can say; the real agent must refuse each, and say so.
 */

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "evil.h"
#include "seal/digest.h"
#include "seal/minisign.h"
#include "seal/token.h"
#include "seal/trust.h"
#include "yard.h"

#define CLUSTER "0123456789abcdef"
#define OTHER_CLUSTER "fedcba9876543210"
#define COMMIT "1111111111111111111111111111111111111111111111111111111111111111"
#define LATER "valid_until: 2099-01-01T00:00:00Z\n"
#define PAST "valid_until: 2020-01-01T00:00:00Z\n"

typedef struct {
	Yard *yard;
	Evil evil;
	DnSecretKey *link, *other_link;
	DnSecretKey *ops;      /* deploy: every service but db */
	DnSecretKey *dba;      /* deploy: db alone */
	DnSecretKey *ci;       /* release */
	DnSecretKey *stranger; /* in no trust file */
	GBytes *trust;
} Case;

/* ---- what is signed ---- */

static GBytes *trust_file(const Case *self)
{
	g_autofree char *ops = dn_secret_key_public_text(self->ops);
	g_autofree char *dba = dn_secret_key_public_text(self->dba);
	g_autofree char *ci = dn_secret_key_public_text(self->ci);
	char *text = g_strdup_printf("dnode: trust/v1\n"
				     "cluster: \"" CLUSTER "\"\n"
				     "keys:\n"
				     "  - {name: ops, role: deploy, key: \"%s\"}\n"
				     "  - {name: dba, role: deploy, key: \"%s\"}\n"
				     "  - {name: ci, role: release, key: \"%s\"}\n"
				     "images:\n"
				     "  - {refs: \"apps/*\", keys: [ci]}\n"
				     "services:\n"
				     "  - {services: db, keys: [dba]}\n"
				     "  - {services: \"*\", keys: [ops]}\n"
				     "minimum_epochs: {old: 3}\n",
				     ops, dba, ci);

	return g_bytes_new_take(text, strlen(text));
}

static GBytes *manifest(const char *service, uint64_t epoch, const char *more)
{
	char *text = g_strdup_printf("dnode: v1\n"
				     "service: %s\n"
				     "epoch: %" G_GUINT64_FORMAT "\n"
				     "image:\n"
				     "  ref: apps/hello\n"
				     "  commit: " COMMIT "\n"
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

/* An order to accept @bytes, which it takes, signed by @key as @service @epoch. */
static DnOrder *manifest_order(Case *self, const DnSecretKey *key, GBytes *bytes,
			       const char *service, uint64_t epoch)
{
	DnOrder *order = dn_order_new(DN_ORDER_MANIFEST);

	order->manifest = bytes;
	g_ptr_array_add(order->signatures, sign(key, bytes, service, epoch));
	evil_address(&self->evil, order);
	return order;
}

static DnOrder *good_order(Case *self, const char *service, uint64_t epoch)
{
	return manifest_order(self, self->ops, manifest(service, epoch, ""), service, epoch);
}

static DnOrder *share_order(Case *self, const char *service, const char *digest, uint64_t epoch)
{
	DnOrder *order = dn_order_new(DN_ORDER_ASSIGN);

	order->assign = dn_assign_new(service, "10.99.0.1");
	if (digest != NULL)
		g_ptr_array_add(order->assign->parts, dn_part_new(digest, epoch, 1, 0));
	evil_address(&self->evil, order);
	return order;
}

static DnOrder *forget_order(Case *self, const char *service)
{
	DnOrder *order = dn_order_new(DN_ORDER_FORGET);

	order->service = g_strdup(service);
	evil_address(&self->evil, order);
	return order;
}

/* ---- what is expected ---- */

static bool is_one_line(const char *text)
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

/*
 * Takes @order. @why has to stand in the answer: that it was refused for this very reason. @kind
 * is the event people have to be told with, or NULL.
 */
static void is_refused(Case *self, DnOrder *order, int code, const char *kind, const char *why,
		       const char *sentence)
{
	const DnAnswerTo *answer = evil_ask(&self->evil, order);
	const DnEvent *event = self->evil.event != NULL ? self->evil.event->event : NULL;
	g_autofree char *detail = describe(&self->evil);
	bool refused = answer != NULL && !answer->done && answer->code == code &&
		       is_one_line(answer->error) && strstr(answer->error, why) != NULL;
	bool told = kind == NULL || (event != NULL && g_str_equal(event->kind, kind) &&
				     g_str_equal(event->severity, "critical") &&
				     is_one_line(event->text) && strstr(event->text, why) != NULL);

	yard_check(refused && told, sentence, detail);
	dn_order_free(order);
}

static void is_done(Case *self, DnOrder *order, const char *sentence)
{
	const DnAnswerTo *answer = evil_ask(&self->evil, order);
	g_autofree char *detail = describe(&self->evil);

	yard_check(answer != NULL && answer->done, sentence, detail);
	dn_order_free(order);
}

/* ---- enrolment ---- */

static char *token(const Case *self, uint64_t expires_s, bool wrong_key, bool wrong_trust)
{
	g_autoptr(DnHostToken) token = dn_host_token_new();
	g_autoptr(GError) error = NULL;
	uint8_t key[DN_PUBLIC_KEY_BYTES];
	gsize size = 0;
	const void *trust = g_bytes_get_data(self->trust, &size);

	token->address = g_strdup(YARD_SUPERVISOR);
	token->cluster = g_strdup(CLUSTER);
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

static void enrol_is_refused(Case *self, char *text, unsigned contacts, const char *sentence)
{
	g_autofree char *taken = text;
	g_autofree char *said = NULL;
	unsigned before = self->evil.enrols;
	int status = yard_enrol(self->yard, text, &said);
	const char *end = said != NULL ? strchr(said, '\n') : NULL;

	yard_check(status == 3 && end != NULL && end[1] == '\0' && !yard_is_enrolled(self->yard) &&
			   self->evil.enrols == before + contacts,
		   sentence, said);
}

static void test_enrolment(Case *self)
{
	uint64_t now_s = dn_clock_realtime_ns() / DN_NS_PER_S;
	g_autofree char *said = NULL;

	enrol_is_refused(self, token(self, now_s - 1, false, false), 0,
			 "an expired token is refused before anybody is called");
	enrol_is_refused(self, token(self, now_s + 60, true, false), 0,
			 "a supervisor with another key than the token's is not told the secret");
	enrol_is_refused(self, token(self, now_s + 60, false, true), 1,
			 "a trust file that is not the token's is refused");
	self->evil.enrolled->enrolled->cluster[0] ^= 1;
	enrol_is_refused(self, token(self, now_s + 60, false, false), 1,
			 "an answer of another cluster than the token's is refused");
	self->evil.enrolled->enrolled->cluster[0] ^= 1;

	g_autofree char *good = token(self, now_s + 60, false, false);
	yard_check(yard_enrol(self->yard, good, &said) == 0 && yard_is_enrolled(self->yard),
		   "the right token enrols the host", said);
	g_autofree char *again = NULL;
	yard_check(yard_enrol(self->yard, good, &again) == 4,
		   "a host that is enrolled does not enrol again", again);
}

/* ---- manifests ---- */

static void flip(GBytes **bytes, const char *after)
{
	gsize size = 0;
	char *copy = g_bytes_unref_to_data(*bytes, &size);
	char *at = g_strstr_len(copy, (gssize)size, after);

	at[strlen(after)] ^= 1;
	*bytes = g_bytes_new_take(copy, size);
}

static void refuse_forged(Case *self)
{
	DnOrder *order = good_order(self, "web", 5);

	flip(&order->manifest, "pids: ");
	is_refused(self, order, DN_ERROR_UNTRUSTED, "manifest.refused", "0 of 1 signatures",
		   "a manifest with one bit changed is refused");

	order = good_order(self, "web", 5);
	GBytes *signature = g_ptr_array_steal_index(order->signatures, 0);
	/* Behind the comment, the algorithm and the key's number: the signature's own bytes. */
	gsize size = 0;
	char *text = g_bytes_unref_to_data(signature, &size);
	char *line = strchr(text, '\n') + 1;
	line[40] = line[40] == 'A' ? 'B' : 'A';
	g_ptr_array_add(order->signatures, g_bytes_new_take(text, size));
	is_refused(self, order, DN_ERROR_UNTRUSTED, "manifest.refused", "0 of 1 signatures",
		   "a manifest whose signature has a bit changed is refused");

	order = good_order(self, "web", 5);
	g_ptr_array_set_size(order->signatures, 0);
	is_refused(self, order, DN_ERROR_UNTRUSTED, "manifest.refused", "no signature",
		   "a manifest without a signature is refused");
}

static void refuse_wrong_keys(Case *self)
{
	is_refused(self, manifest_order(self, self->stranger, manifest("web", 5, ""), "web", 5),
		   DN_ERROR_UNTRUSTED, "manifest.refused", "0 of 1 signatures",
		   "a manifest signed by a key that nobody trusts is refused");
	is_refused(self, manifest_order(self, self->link, manifest("web", 5, ""), "web", 5),
		   DN_ERROR_UNTRUSTED, "manifest.refused", "0 of 1 signatures",
		   "a manifest signed by the supervisor's own key is refused");
	is_refused(self, manifest_order(self, self->ci, manifest("web", 5, ""), "web", 5),
		   DN_ERROR_UNTRUSTED, "manifest.refused", "key ci (release)",
		   "a manifest signed by a release key is refused");
	is_refused(self, manifest_order(self, self->dba, manifest("web", 5, ""), "web", 5),
		   DN_ERROR_UNTRUSTED, "manifest.refused", "key dba (deploy)",
		   "a manifest signed by the deploy key of another service is refused");
	is_refused(self, manifest_order(self, self->ops, manifest("db", 1, ""), "db", 1),
		   DN_ERROR_UNTRUSTED, "manifest.refused", "key ops (deploy)",
		   "the key for every service does not sign a service with its own rule");
}

static void refuse_wrong_words(Case *self)
{
	is_refused(self, manifest_order(self, self->ops, manifest("db", 5, ""), "web", 5),
		   DN_ERROR_UNTRUSTED, "manifest.refused", "the manifest is of service db epoch 5",
		   "a manifest of another service than was signed for is refused");
	is_refused(self, manifest_order(self, self->ops, manifest("web", 6, ""), "web", 5),
		   DN_ERROR_UNTRUSTED, "manifest.refused", "the manifest is of service web epoch 6",
		   "a manifest of another epoch than was signed for is refused");
	is_refused(self, manifest_order(self, self->ops, manifest("web", 5, PAST), "web", 5),
		   DN_ERROR_UNTRUSTED, "manifest.refused", "valid_until",
		   "a manifest past its valid_until is refused");
	is_refused(self, good_order(self, "old", 2), DN_ERROR_UNTRUSTED, "manifest.refused",
		   "below 3", "an epoch below the trust file's least is refused");
	is_refused(self, good_order(self, "web", 2000000), DN_ERROR_INVALID, "manifest.refused",
		   "more than", "an epoch that uses up all later ones is refused");
	is_refused(self,
		   manifest_order(self, self->ops, manifest("web", 5, "nonsense: 1\n"), "web", 5),
		   DN_ERROR_INVALID, "manifest.refused", "nonsense",
		   "a signed manifest that is none is refused");
}

static void refuse_old_epochs(Case *self)
{
	is_done(self, good_order(self, "web", 5), "a good manifest is accepted");
	is_refused(self, good_order(self, "web", 4), DN_ERROR_CONFLICT, "manifest.refused",
		   "is older than 5", "an older epoch than the accepted one is refused");
	is_refused(self, manifest_order(self, self->ops, manifest("web", 5, LATER), "web", 5),
		   DN_ERROR_CONFLICT, "manifest.refused", "another manifest",
		   "the accepted epoch with other bytes is refused");
	is_done(self, good_order(self, "web", 5), "the accepted manifest itself is no offence");
}

/* ---- envelopes ---- */

static void test_envelopes(Case *self)
{
	DnOrder *order = good_order(self, "web", 5);

	(void)evil_ask(&self->evil, order);
	is_refused(self, order, DN_ERROR_CONFLICT, "order.refused", "a replay",
		   "an order that was seen before is refused");
	order = good_order(self, "web", 5);
	order->sequence = 1;
	is_refused(self, order, DN_ERROR_CONFLICT, "order.refused", "a replay",
		   "an order with an earlier number is refused");
	order = good_order(self, "web", 5);
	order->term = 4;
	is_refused(self, order, DN_ERROR_CONFLICT, "order.refused", "term 4",
		   "an order of an earlier term is refused");
	order = good_order(self, "web", 5);
	order->term = 6;
	is_refused(self, order, DN_ERROR_CONFLICT, "order.refused", "term 6",
		   "an order of a term that nobody has begun is refused");
	order = good_order(self, "web", 5);
	order->session[0] = order->session[0] == '0' ? '1' : '0';
	is_refused(self, order, DN_ERROR_UNTRUSTED, "order.refused", "not the session",
		   "an order of another session is refused");
	order = good_order(self, "web", 5);
	g_free(order->cluster);
	order->cluster = g_strdup(OTHER_CLUSTER);
	is_refused(self, order, DN_ERROR_UNTRUSTED, "order.refused", "not this host's cluster",
		   "an order of another cluster is refused");
	is_done(self, good_order(self, "web", 5), "refused orders do not use up numbers");
}

/* ---- shares, forgetting, destroying ---- */

static char *digest_of(const char *service, uint64_t epoch, const char *more)
{
	g_autoptr(GBytes) bytes = manifest(service, epoch, more);

	return dn_digest_bytes(bytes);
}

static void test_shares(Case *self)
{
	g_autofree char *five = digest_of("web", 5, "");
	g_autofree char *unknown = digest_of("web", 5, LATER);

	is_refused(self, share_order(self, "web", unknown, 5), DN_ERROR_CONFLICT, "assign.refused",
		   "has not accepted", "a share of a manifest that was not accepted is refused");
	is_refused(self, share_order(self, "web", five, 6), DN_ERROR_CONFLICT, "assign.refused",
		   "has not accepted", "a share with another epoch than its manifest's is refused");
	is_refused(self, share_order(self, "api", five, 5), DN_ERROR_CONFLICT, "assign.refused",
		   "has not accepted", "a share with the manifest of another service is refused");
	is_done(self, good_order(self, "web", 6), "the next epoch is accepted");
	is_refused(self, share_order(self, "web", five, 5), DN_ERROR_CONFLICT, "assign.refused",
		   "would go back", "a share that grows an older epoch is refused");
	is_done(self, share_order(self, "web", NULL, 0), "a share of no nodes is taken");
}

static void test_removal(Case *self)
{
	g_autofree char *gone = digest_of("gone", 2, "state: removed\n");

	is_refused(self, forget_order(self, "web"), DN_ERROR_CONFLICT, NULL, "not removed",
		   "a service that is not removed is not forgotten");
	is_refused(self, forget_order(self, "never"), DN_ERROR_CONFLICT, NULL, "not removed",
		   "a service that nobody has heard of is not forgotten");
	is_done(self,
		manifest_order(self, self->ops, manifest("gone", 2, "state: removed\n"), "gone", 2),
		"a signed removal is accepted");
	is_refused(self, share_order(self, "gone", gone, 2), DN_ERROR_CONFLICT, "assign.refused",
		   "would go back", "a removed service gets no nodes");
	is_done(self, forget_order(self, "gone"), "a removed service is forgotten");
	is_refused(self, good_order(self, "gone", 1), DN_ERROR_CONFLICT, "manifest.refused",
		   "is older than 2", "a forgotten service does not come back at an older epoch");
}

static void test_destruction(Case *self)
{
	g_autoptr(GError) error = NULL;
	DnOrder *order = dn_order_new(DN_ORDER_DESTROY);
	const char *text = "dnode destroy v1\ncluster: " CLUSTER "\nhost: " YARD_HOST
			   "\nincident: 0123456789abcdef\nevidence: none\nreason: none\n";

	order->incident = g_strdup("0123456789abcdef");
	order->statement = g_bytes_new(text, strlen(text));
	g_ptr_array_add(order->signatures,
			dn_minisign_sign(self->ops, order->statement,
					 "dnode destroy 0123456789abcdef", &error));
	evil_address(&self->evil, order);
	is_refused(self, order, DN_ERROR_INVALID, NULL, "no incident",
		   "an incident that this host does not have is not destroyed");
}

static DnOrder *route_order(Case *self, const char *cidr)
{
	DnOrder *order = dn_order_new(DN_ORDER_ROUTES);

	g_ptr_array_add(order->routes, dn_route_new("10.77.2.0/24", "192.0.2.2"));
	g_ptr_array_add(order->routes, dn_route_new(cidr, "192.0.2.66"));
	evil_address(&self->evil, order);
	return order;
}

static void test_routes(Case *self)
{
	is_refused(self, route_order(self, "0.0.0.0/0"), DN_ERROR_INVALID, "order.refused",
		   "0.0.0.0/0", "a supervisor does not become the host's default route");
	is_refused(self, route_order(self, "10.77.3.0/25"), DN_ERROR_INVALID, "order.refused",
		   "10.77.3.0/25", "a route to part of a host's range is refused");
	is_refused(self, route_order(self, "198.51.100.0/24"), DN_ERROR_UNTRUSTED, "order.refused",
		   "leads out of", "a route to what is no node of the cluster is refused");
	yard_check(!yard_has_route(), "a refused set of routes sets none of them", NULL);
	is_done(self, route_order(self, "10.77.3.0/24"), "routes to other hosts' nodes are set");
	yard_check(yard_has_route(), "and are in the kernel's table", NULL);
}

/* ---- links ---- */

/* The agent comes back, is welcomed with @welcome and must leave again without a report. */
static void welcome_is_refused(Case *self, EvilWelcome welcome, const char *sentence)
{
	EvilWelcome good = self->evil.welcome;
	unsigned reports = self->evil.reports;

	self->evil.welcome = welcome;
	bool called = evil_relink(&self->evil);
	unsigned closes = self->evil.closes;
	bool left = called && evil_wait_close(&self->evil, closes);
	self->evil.welcome = good;
	yard_check(left && self->evil.reports == reports, sentence,
		   called ? "it stayed or reported" : "it did not call");
}

static void link_must_work(Case *self, const char *sentence)
{
	unsigned before = self->evil.reports;
	bool linked = evil_relink(&self->evil) && evil_wait_report(&self->evil, before);

	yard_check(linked && self->evil.seen_term == 5, sentence, "no report came");
}

static void test_welcomes(Case *self)
{
	EvilWelcome welcome = self->evil.welcome;

	welcome.term = 4;
	welcome_is_refused(self, welcome, "a supervisor of an earlier term is not believed");
	welcome = self->evil.welcome;
	welcome.cluster = OTHER_CLUSTER;
	welcome_is_refused(self, welcome, "a supervisor of another cluster is not believed");
	welcome = self->evil.welcome;
	welcome.session = "00000000000000000000000000000000";
	welcome_is_refused(self, welcome, "a welcome that was recorded earlier is not believed");
	welcome = self->evil.welcome;
	welcome.host_cidr = "10.77.9.0/24";
	welcome_is_refused(self, welcome, "a host does not change its range for a supervisor");
	welcome = self->evil.welcome;
	welcome.node_cidr = "0.0.0.0/0";
	welcome_is_refused(self, welcome, "the cluster's nodes do not become the whole world");
	welcome = self->evil.welcome;
	welcome.vip_cidr = "nonsense";
	welcome_is_refused(self, welcome, "a range that is none is refused");
}

static void test_first_words(Case *self)
{
	unsigned reports = self->evil.reports;

	self->evil.welcome.is_silent = true;
	bool called = evil_relink(&self->evil);
	self->evil.welcome.is_silent = false;
	DnOrder *order = good_order(self, "early", 1);
	unsigned closes = self->evil.closes;
	const DnAnswerTo *answer = evil_ask(&self->evil, order);
	yard_check(called && answer == NULL && self->evil.closes > closes &&
			   self->evil.reports == reports,
		   "an order before the welcome ends the link", "it was answered");
	dn_order_free(order);

	link_must_work(self, "the agent comes back after it");
	g_autoptr(GBytes) noise = g_bytes_new_static("{\"type\":\"order\"", 15);
	closes = self->evil.closes;
	evil_send(&self->evil, noise);
	yard_check(evil_wait_close(&self->evil, closes), "a frame that is none ends the link",
		   "the link stayed");
}

typedef struct {
	const Yard *yard;
	unsigned wanted;
} Attempts;

static bool has_tried(void *data)
{
	const Attempts *attempts = data;

	return yard_count_log(attempts->yard, "no link to the supervisor") >= attempts->wanted;
}

static void test_impostor(Case *self)
{
	evil_deaf(&self->evil);
	evil_listen(&self->evil, self->other_link);
	unsigned hellos = self->evil.hellos;
	Attempts attempts = {
		.yard = self->yard,
		.wanted = yard_count_log(self->yard, "no link to the supervisor") + 3,
	};
	bool tried = yard_wait(has_tried, &attempts, 20);
	yard_check(tried && self->evil.hellos == hellos,
		   "a supervisor with another key is not greeted", "a hello came");
	evil_deaf(&self->evil);
	evil_listen(&self->evil, self->link);
	link_must_work(self, "the right supervisor is, after it");
}

/* ---- afterwards ---- */

static uint64_t reported_epoch(const Case *self, const char *service)
{
	const DnFact *fact = self->evil.report;
	const uint64_t *epoch =
		fact == NULL ? NULL : g_hash_table_lookup(fact->report->epochs, service);

	return epoch == NULL ? 0 : *epoch;
}

static void test_afterwards(Case *self)
{
	const DnFact *fact = self->evil.report;

	yard_check(fact != NULL && g_hash_table_size(fact->report->epochs) == 2 &&
			   reported_epoch(self, "web") == 6 && reported_epoch(self, "gone") == 2 &&
			   fact->report->nodes->len == 0,
		   "nothing that was refused has left a trace in the host's report", NULL);
	is_done(self, good_order(self, "web", 7), "a good manifest is still accepted");

	unsigned reports = self->evil.reports;
	yard_kill(self->yard);
	yard_start(self->yard);
	bool linked = evil_wait_report(&self->evil, reports);
	yard_check(linked && self->evil.seen_term == 5 && reported_epoch(self, "web") == 7,
		   "an agent that was killed remembers its term and its epochs", "it forgot");
	is_refused(self, good_order(self, "web", 6), DN_ERROR_CONFLICT, "manifest.refused",
		   "is older than 7", "an older epoch is refused after a restart too");
	EvilWelcome welcome = self->evil.welcome;
	welcome.term = 4;
	welcome_is_refused(self, welcome, "an earlier term is not believed after a restart either");
}

static void case_open(Case *self, Yard *yard)
{
	*self = (Case){
		.yard = yard,
		.link = dn_secret_key_generate(),
		.other_link = dn_secret_key_generate(),
		.ops = dn_secret_key_generate(),
		.dba = dn_secret_key_generate(),
		.ci = dn_secret_key_generate(),
		.stranger = dn_secret_key_generate(),
		.evil.welcome = {.cluster = CLUSTER,
				 .host_cidr = "10.77.1.0/24",
				 .node_cidr = "10.77.0.0/16",
				 .vip_cidr = "10.99.0.0/16",
				 .term = 5},
	};
	self->trust = trust_file(self);
	self->evil.enrolled = dn_frame_new(DN_FRAME_ENROLLED);
	self->evil.enrolled->enrolled->cluster = g_strdup(CLUSTER);
	self->evil.enrolled->enrolled->host = g_strdup(YARD_HOST);
	self->evil.enrolled->enrolled->trust = g_bytes_ref(self->trust);
	evil_listen(&self->evil, self->link);
}

static void case_close(Case *self)
{
	evil_clear(&self->evil);
	g_bytes_unref(self->trust);
	dn_secret_key_free(self->link);
	dn_secret_key_free(self->other_link);
	dn_secret_key_free(self->ops);
	dn_secret_key_free(self->dba);
	dn_secret_key_free(self->ci);
	dn_secret_key_free(self->stranger);
}

static void test_refusals(Yard *yard)
{
	Case self;

	case_open(&self, yard);
	test_enrolment(&self);
	yard_start(yard);
	if (yard_check(evil_wait_report(&self.evil, 0), "the agent links and reports", NULL)) {
		refuse_forged(&self);
		refuse_wrong_keys(&self);
		refuse_wrong_words(&self);
		refuse_old_epochs(&self);
		test_envelopes(&self);
		test_shares(&self);
		test_removal(&self);
		test_destruction(&self);
		test_routes(&self);
		test_welcomes(&self);
		link_must_work(&self, "the rightful term is believed after all these");
		test_first_words(&self);
		test_impostor(&self);
		test_afterwards(&self);
	}
	case_close(&self);
}

int main(void)
{
	return yard_run(test_refusals);
}
