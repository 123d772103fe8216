/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A supervisor that was taken over holds the link's key, but no key that signs manifests: what it
 * may pass on, and what it may ask a host to do with it.
 */

#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "case.h"
#include "seal/digest.h"
#include "seal/minisign.h"

#define LATER "valid_until: 2099-01-01T00:00:00Z\n"
#define PAST "valid_until: 2020-01-01T00:00:00Z\n"

static DnOrder *forget_order(Case *self, const char *service)
{
	DnOrder *order = dn_order_new(DN_ORDER_FORGET);

	order->service = g_strdup(service);
	evil_address(&self->evil, order);
	return order;
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
	DnOrder *order = case_good_order(self, "web", 5);

	flip(&order->manifest, "pids: ");
	case_is_refused(self, order, DN_ERROR_UNTRUSTED, "manifest.refused", "0 of 1 signatures",
			"a manifest with one bit changed is refused");

	order = case_good_order(self, "web", 5);
	GBytes *signature = g_ptr_array_steal_index(order->signatures, 0);
	/* Behind the comment, the algorithm and the key's number: the signature's own bytes. */
	gsize size = 0;
	char *text = g_bytes_unref_to_data(signature, &size);
	char *line = strchr(text, '\n') + 1;
	line[40] = line[40] == 'A' ? 'B' : 'A';
	g_ptr_array_add(order->signatures, g_bytes_new_take(text, size));
	case_is_refused(self, order, DN_ERROR_UNTRUSTED, "manifest.refused", "0 of 1 signatures",
			"a manifest whose signature has a bit changed is refused");

	order = case_good_order(self, "web", 5);
	g_ptr_array_set_size(order->signatures, 0);
	case_is_refused(self, order, DN_ERROR_UNTRUSTED, "manifest.refused", "no signature",
			"a manifest without a signature is refused");
}

static void refuse_wrong_keys(Case *self)
{
	case_is_refused(
		self,
		case_manifest_order(self, self->stranger, case_manifest("web", 5, ""), "web", 5),
		DN_ERROR_UNTRUSTED, "manifest.refused", "0 of 1 signatures",
		"a manifest signed by a key that nobody trusts is refused");
	case_is_refused(
		self, case_manifest_order(self, self->link, case_manifest("web", 5, ""), "web", 5),
		DN_ERROR_UNTRUSTED, "manifest.refused", "0 of 1 signatures",
		"a manifest signed by the supervisor's own key is refused");
	case_is_refused(self,
			case_manifest_order(self, self->ci, case_manifest("web", 5, ""), "web", 5),
			DN_ERROR_UNTRUSTED, "manifest.refused", "key ci (release)",
			"a manifest signed by a release key is refused");
	case_is_refused(self,
			case_manifest_order(self, self->dba, case_manifest("web", 5, ""), "web", 5),
			DN_ERROR_UNTRUSTED, "manifest.refused", "key dba (deploy)",
			"a manifest signed by the deploy key of another service is refused");
	case_is_refused(self,
			case_manifest_order(self, self->ops, case_manifest("db", 1, ""), "db", 1),
			DN_ERROR_UNTRUSTED, "manifest.refused", "key ops (deploy)",
			"the key for every service does not sign a service with its own rule");
}

static void refuse_wrong_words(Case *self)
{
	case_is_refused(
		self, case_manifest_order(self, self->ops, case_manifest("db", 5, ""), "web", 5),
		DN_ERROR_UNTRUSTED, "manifest.refused", "the manifest is of service db epoch 5",
		"a manifest of another service than was signed for is refused");
	case_is_refused(
		self, case_manifest_order(self, self->ops, case_manifest("web", 6, ""), "web", 5),
		DN_ERROR_UNTRUSTED, "manifest.refused", "the manifest is of service web epoch 6",
		"a manifest of another epoch than was signed for is refused");
	case_is_refused(
		self, case_manifest_order(self, self->ops, case_manifest("web", 5, PAST), "web", 5),
		DN_ERROR_UNTRUSTED, "manifest.refused", "valid_until",
		"a manifest past its valid_until is refused");
	case_is_refused(self, case_good_order(self, "old", 2), DN_ERROR_UNTRUSTED,
			"manifest.refused", "below 3",
			"an epoch below the trust file's least is refused");
	case_is_refused(self, case_good_order(self, "web", 2000000), DN_ERROR_INVALID,
			"manifest.refused", "more than",
			"an epoch that uses up all later ones is refused");
	case_is_refused(self,
			case_manifest_order(self, self->ops,
					    case_manifest("web", 5, "nonsense: 1\n"), "web", 5),
			DN_ERROR_INVALID, "manifest.refused", "nonsense",
			"a signed manifest that is none is refused");
}

static void refuse_old_epochs(Case *self)
{
	case_is_done(self, case_good_order(self, "web", 5), "a good manifest is accepted");
	case_is_refused(self, case_good_order(self, "web", 4), DN_ERROR_UNTRUSTED,
			"manifest.refused", "is older than 5",
			"an older epoch than the accepted one is refused");
	case_is_refused(
		self,
		case_manifest_order(self, self->ops, case_manifest("web", 5, LATER), "web", 5),
		DN_ERROR_CONFLICT, "manifest.refused", "another manifest",
		"the accepted epoch with other bytes is refused");
	case_is_done(self, case_good_order(self, "web", 5),
		     "the accepted manifest itself is no offence");
}

/* ---- shares, forgetting, destroying ---- */

static char *digest_of(const char *service, uint64_t epoch, const char *more)
{
	g_autoptr(GBytes) bytes = case_manifest(service, epoch, more);

	return dn_digest_bytes(bytes);
}

/* The service vault takes the keys ops and dba, both. */
static DnOrder *vault_order(Case *self, const DnSecretKey *also)
{
	DnOrder *order =
		case_manifest_order(self, self->ops, case_manifest("vault", 1, ""), "vault", 1);

	if (also != NULL)
		case_sign_also(order, also, "vault", 1);
	return order;
}

static void test_two_of_two(Case *self)
{
	case_is_refused(self, vault_order(self, NULL), DN_ERROR_UNTRUSTED, "manifest.refused",
			"1 of 2 signatures", "one signature of two is refused");
	case_is_refused(self, vault_order(self, self->ops), DN_ERROR_UNTRUSTED, "manifest.refused",
			"1 of 2 signatures", "the same key twice is one");
	case_is_refused(self, vault_order(self, self->tooler), DN_ERROR_UNTRUSTED,
			"manifest.refused", "1 of 2 signatures",
			"a key that the rule does not name counts nothing");
	case_is_done(self, vault_order(self, self->dba), "two keys of two are believed");
}

static void test_shares(Case *self)
{
	g_autofree char *five = digest_of("web", 5, "");
	g_autofree char *unknown = digest_of("web", 5, LATER);

	case_is_refused(self, case_share_order(self, "web", unknown, 5), DN_ERROR_CONFLICT,
			"assign.refused", "has not accepted",
			"a share of a manifest that was not accepted is refused");
	case_is_refused(self, case_share_order(self, "web", five, 6), DN_ERROR_CONFLICT,
			"assign.refused", "has not accepted",
			"a share with another epoch than its manifest's is refused");
	case_is_refused(self, case_share_order(self, "vault", five, 5), DN_ERROR_CONFLICT,
			"assign.refused", "has not accepted",
			"a share with the manifest of another service is refused");
	case_is_refused(self, case_share_order(self, "never", NULL, 0), DN_ERROR_CONFLICT,
			"assign.refused", "no manifest of never",
			"a share of no nodes of a service that nobody has heard of is refused");
	g_autofree char *never = g_build_filename(self->yard->state, "services/never.json", NULL);
	yard_check(!g_file_test(never, G_FILE_TEST_EXISTS), "and leaves no file", never);
	case_is_done(self, case_good_order(self, "web", 6), "the next epoch is accepted");
	case_is_refused(self, case_share_order(self, "web", five, 5), DN_ERROR_CONFLICT,
			"assign.refused", "would go back",
			"a share that grows an older epoch is refused");
	case_is_done(self, case_share_order(self, "web", NULL, 0), "a share of no nodes is taken");
}

static bool has_passed(void *data)
{
	const uint64_t *until_ns = data;

	return dn_clock_realtime_ns() > *until_ns;
}

static void test_expiry(Case *self)
{
	uint64_t until_ns = (dn_clock_realtime_ns() / DN_NS_PER_S + 4) * DN_NS_PER_S;
	g_autoptr(GDateTime) until =
		g_date_time_new_from_unix_utc((gint64)(until_ns / DN_NS_PER_S));
	g_autofree char *more = g_date_time_format(until, "valid_until: %Y-%m-%dT%H:%M:%SZ\n");
	g_autofree char *digest = digest_of("brief", 1, more);

	case_is_done(
		self,
		case_manifest_order(self, self->ops, case_manifest("brief", 1, more), "brief", 1),
		"a manifest that is valid for a moment is accepted");
	case_is_done(self, case_share_order(self, "brief", NULL, 0), "and none of it is placed");
	(void)yard_wait(has_passed, &until_ns, 10);
	case_is_refused(self, case_share_order(self, "brief", digest, 1), DN_ERROR_UNTRUSTED,
			"assign.refused", "was valid until",
			"no node of it is placed once it has expired");
	case_is_done(self, case_share_order(self, "brief", NULL, 0), "it is balanced on");
}

typedef struct {
	const char *vip, *endpoint;
	uint16_t port; /* of the endpoint */
	int code;
	const char *why, *sentence;
} BadShare;

static DnOrder *balancing_order(Case *self, const char *service, const BadShare *share)
{
	DnOrder *order = case_share_order(self, service, NULL, 0);
	const DnExposed http = {.port = 80};

	g_free(order->assign->vip);
	order->assign->vip = g_strdup(share->vip);
	g_array_append_val(order->assign->exposed, http);
	g_ptr_array_add(order->assign->endpoints,
			dn_remote_endpoint_new(http, share->endpoint, share->port));
	return order;
}

/* What no balancer can take must not get to the disk: the agent would not start with it. */
static void test_addresses(Case *self)
{
	static const BadShare good = {"10.99.0.1", "10.77.2.1", 80, 0, NULL, NULL};
	static const BadShare bad[] = {
		{"192.0.2.9", "10.77.2.1", 80, DN_ERROR_UNTRUSTED, "VIP 192.0.2.9 is not in",
		 "a VIP that is none of the cluster's is refused"},
		{"nonsense", "10.77.2.1", 80, DN_ERROR_UNTRUSTED, "VIP nonsense is not in",
		 "a VIP that is no address is refused"},
		{"10.99.0.1", "192.0.2.1", 80, DN_ERROR_UNTRUSTED, "endpoint 192.0.2.1 is not in",
		 "an endpoint that is no node of the cluster is refused"},
		{"10.99.0.1", "10.77.2.1", 0, DN_ERROR_INVALID, "has no port",
		 "an endpoint without a port is refused"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
		case_is_refused(self, balancing_order(self, "web", &bad[i]), bad[i].code,
				"assign.refused", bad[i].why, bad[i].sentence);
	case_is_done(self, balancing_order(self, "web", &good), "the cluster's own are taken");
	case_is_refused(self, balancing_order(self, "vault", &good), DN_ERROR_CONFLICT,
			"assign.refused", "is service web's here",
			"a second service behind the same port of a VIP is refused");
}

static char *read_state(const Case *self, const char *name)
{
	g_autofree char *path = g_build_filename(self->yard->state, name, NULL);
	char *text = NULL;

	(void)g_file_get_contents(path, &text, NULL, NULL);
	return text;
}

/* Names that lead out of the folder where shares are kept. */
static void test_names(Case *self)
{
	static const char *const names[] = {"../epochs", "../made-up", "../incidents/made-up"};
	g_autofree char *before = read_state(self, "epochs.json");

	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autoptr(DnOrder) order = case_share_order(self, names[i], NULL, 0);
		g_autoptr(GBytes) frame = dn_frame_encode_order(order);
		unsigned closes = self->evil.closes, reports = self->evil.reports;
		g_autofree char *sentence =
			g_strdup_printf("a share of a service called %s ends the link", names[i]);

		evil_send(&self->evil, frame);
		yard_check(evil_wait_close(&self->evil, closes), sentence, "it stayed");
		yard_check(evil_wait_report(&self->evil, reports), "the agent comes back after it",
			   NULL);
	}
	g_autofree char *after = read_state(self, "epochs.json");
	g_autofree char *made = read_state(self, "made-up.json");
	g_autofree char *incident = read_state(self, "incidents/made-up.json");
	yard_check(before != NULL && g_strcmp0(before, after) == 0 && made == NULL &&
			   incident == NULL,
		   "and nothing is written for it", after);
}

static void test_removal(Case *self)
{
	g_autofree char *gone = digest_of("gone", 2, "state: removed\n");

	case_is_refused(self, forget_order(self, "web"), DN_ERROR_CONFLICT, "order.refused",
			"not removed", "a service that is not removed is not forgotten");
	case_is_refused(self, forget_order(self, "never"), DN_ERROR_CONFLICT, "order.refused",
			"not removed", "a service that nobody has heard of is not forgotten");
	case_is_done(self,
		     case_manifest_order(self, self->ops,
					 case_manifest("gone", 2, "state: removed\n"), "gone", 2),
		     "a signed removal is accepted");
	case_is_refused(self, case_share_order(self, "gone", gone, 2), DN_ERROR_CONFLICT,
			"assign.refused", "would go back", "a removed service gets no nodes");
	case_is_done(self, forget_order(self, "gone"), "a removed service is forgotten");
	case_is_refused(self, case_good_order(self, "gone", 1), DN_ERROR_UNTRUSTED,
			"manifest.refused", "is older than 2",
			"a forgotten service does not come back at an older epoch");
}

static void test_destruction(Case *self)
{
	g_autoptr(GError) error = NULL;
	DnOrder *order = dn_order_new(DN_ORDER_DESTROY);
	const char *text = "dnode destroy v1\ncluster: " CASE_CLUSTER "\nhost: " YARD_HOST
			   "\nincident: 0123456789abcdef\nevidence: none\nreason: none\n";

	order->incident = g_strdup("0123456789abcdef");
	order->statement = g_bytes_new(text, strlen(text));
	g_ptr_array_add(order->signatures,
			dn_minisign_sign(self->ops, order->statement,
					 "dnode destroy 0123456789abcdef", &error));
	evil_address(&self->evil, order);
	case_is_refused(self, order, DN_ERROR_INVALID, "order.refused", "no incident",
			"an incident that this host does not have is not destroyed");
}

/* ---- afterwards ---- */

static void test_afterwards(Case *self)
{
	unsigned reports = self->evil.reports;
	bool linked = evil_relink(&self->evil) && evil_wait_report(&self->evil, reports);
	const DnFact *fact = self->evil.report;

	yard_check(linked && g_hash_table_size(fact->report->epochs) == 4 &&
			   case_reported_epoch(self, "brief") == 1 &&
			   case_reported_epoch(self, "vault") == 1 &&
			   case_reported_epoch(self, "web") == 6 &&
			   case_reported_epoch(self, "gone") == 2 && fact->report->nodes->len == 0,
		   "nothing that was refused has left a trace in the host's report", NULL);
	case_is_done(self, case_good_order(self, "web", 7), "a good manifest is still accepted");

	reports = self->evil.reports;
	yard_kill(self->yard);
	yard_start(self->yard);
	linked = evil_wait_report(&self->evil, reports);
	yard_check(linked && case_reported_epoch(self, "web") == 7,
		   "an agent that was killed remembers its epochs", "it forgot");
	case_is_refused(self, case_good_order(self, "web", 6), DN_ERROR_UNTRUSTED,
			"manifest.refused", "is older than 7",
			"an older epoch is refused after a restart too");
}

static void test_manifests(Yard *yard)
{
	Case self;

	case_open(&self, yard);
	case_enrol(&self);
	refuse_forged(&self);
	refuse_wrong_keys(&self);
	refuse_wrong_words(&self);
	refuse_old_epochs(&self);
	test_two_of_two(&self);
	test_shares(&self);
	test_expiry(&self);
	test_addresses(&self);
	test_names(&self);
	test_removal(&self);
	test_destruction(&self);
	test_afterwards(&self);
	case_close(&self);
}

int main(void)
{
	return yard_run(test_manifests);
}
