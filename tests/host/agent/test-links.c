/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Links and orders of a supervisor that was taken over, or of somebody who plays one: whom an
 * agent joins, whom it goes on believing, and which orders are for it.
 */

#include <glib/gstdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "case.h"

static void enrol_is_refused(Case *self, char *text, unsigned contacts, const char *sentence)
{
	g_autofree char *taken G_GNUC_UNUSED = text;
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

	enrol_is_refused(self, case_token(self, now_s - 1, false, false), 0,
			 "an expired token is refused before anybody is called");
	enrol_is_refused(self, case_token(self, now_s + 60, true, false), 0,
			 "a supervisor with another key than the token's is not told the secret");
	enrol_is_refused(self, case_token(self, now_s + 60, false, true), 1,
			 "a trust file that is not the token's is refused");
	self->evil.enrolled->enrolled->cluster[0] ^= 1;
	enrol_is_refused(self, case_token(self, now_s + 60, false, false), 1,
			 "an answer of another cluster than the token's is refused");
	self->evil.enrolled->enrolled->cluster[0] ^= 1;

	g_autofree char *good = case_token(self, now_s + 60, false, false);
	yard_check(yard_enrol(self->yard, good, &said) == 0 && yard_is_enrolled(self->yard),
		   "the right token enrols the host", said);
	g_autofree char *again = NULL;
	yard_check(yard_enrol(self->yard, good, &again) == 4,
		   "a host that is enrolled does not enrol again", again);
}

/* ---- a welcome that fails half-way ---- */

#ifdef DN_FAILPOINTS
static char *read_state(const Case *self, const char *name)
{
	g_autofree char *path = g_build_filename(self->yard->state, name, NULL);
	char *text = NULL;

	return g_file_get_contents(path, &text, NULL, NULL) ? text : g_strdup("");
}

/* Each time another part of it fails; what the first ones left must not pass for kept. */
static void start_with_a_bad_disk(Case *self)
{
	yard_arm_next(self->yard, "agent.term.save.before=error,agent.network.save.before=error,"
				  "agent.reflex.start.before=error");
	yard_start(self->yard);
}

static void test_half_welcomes(Case *self)
{
	g_autofree char *term = read_state(self, "term.json");
	g_autofree char *network = read_state(self, "network.json");

	yard_check(self->evil.hellos >= 4 && evil_wait_event(&self->evil, "welcome.refused",
							     "agent.reflex.start.before"),
		   "a welcome that fails is refused, whatever of it fails", NULL);
	yard_check(strstr(term, "5") != NULL, "a term that could not be kept is kept later", term);
	yard_check(strstr(network, "10.77.1.0/24") != NULL,
		   "ranges that could not be kept are kept later", network);
}
#else
static void start_with_a_bad_disk(Case *self)
{
	yard_start(self->yard);
}

static void test_half_welcomes(Case *self)
{
}
#endif

/* ---- envelopes ---- */

static void test_envelopes(Case *self)
{
	DnOrder *order = case_good_order(self, "web", 5);

	(void)evil_ask(&self->evil, order);
	case_is_refused(self, order, DN_ERROR_CONFLICT, "order.refused", "a replay",
			"an order that was seen before is refused");
	order = case_good_order(self, "web", 5);
	order->sequence = 1;
	case_is_refused(self, order, DN_ERROR_CONFLICT, "order.refused", "a replay",
			"an order with an earlier number is refused");
	order = case_good_order(self, "web", 5);
	order->term = 4;
	case_is_refused(self, order, DN_ERROR_CONFLICT, "order.refused", "term 4",
			"an order of an earlier term is refused");
	order = case_good_order(self, "web", 5);
	order->term = 6;
	case_is_refused(self, order, DN_ERROR_CONFLICT, "order.refused", "term 6",
			"an order of a term that nobody has begun is refused");
	order = case_good_order(self, "web", 5);
	order->session[0] = order->session[0] == '0' ? '1' : '0';
	case_is_refused(self, order, DN_ERROR_UNTRUSTED, "order.refused", "not the session",
			"an order of another session is refused");
	order = case_good_order(self, "web", 5);
	g_free(order->cluster);
	order->cluster = g_strdup(CASE_OTHER_CLUSTER);
	case_is_refused(self, order, DN_ERROR_UNTRUSTED, "order.refused", "not this host's cluster",
			"an order of another cluster is refused");
	case_is_done(self, case_good_order(self, "web", 5), "refused orders do not use up numbers");
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
	case_is_refused(self, route_order(self, "0.0.0.0/0"), DN_ERROR_INVALID, "order.refused",
			"0.0.0.0/0", "a supervisor does not become the host's default route");
	case_is_refused(self, route_order(self, "10.77.3.0/25"), DN_ERROR_INVALID, "order.refused",
			"10.77.3.0/25", "a route to part of a host's range is refused");
	case_is_refused(self, route_order(self, "198.51.100.0/24"), DN_ERROR_UNTRUSTED,
			"order.refused", "leads out of",
			"a route to what is no node of the cluster is refused");
	yard_check(!yard_has_route(), "a refused set of routes sets none of them", NULL);
	case_is_done(self, route_order(self, "10.77.3.0/24"),
		     "routes to other hosts' nodes are set");
	yard_check(yard_has_route(), "and are in the kernel's table", NULL);
}

/* ---- links ---- */

/*
 * The agent comes back, is welcomed with @welcome and must leave again without a word. Why is
 * told later, to a supervisor that is believed.
 */
static void welcome_is_refused(Case *self, EvilWelcome welcome, const char *sentence)
{
	EvilWelcome good = self->evil.welcome;
	unsigned reports = self->evil.reports;
	unsigned told = evil_count_events(&self->evil, "welcome.refused", "");

	self->evil.welcome = welcome;
	bool called = evil_relink(&self->evil);
	unsigned closes = self->evil.closes;
	bool left = called && evil_wait_close(&self->evil, closes);
	self->evil.welcome = good;
	yard_check(left && self->evil.reports == reports &&
			   evil_count_events(&self->evil, "welcome.refused", "") == told,
		   sentence, called ? "it stayed, reported or told" : "it did not call");
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
	welcome.term = 5 + 1000001;
	welcome_is_refused(self, welcome, "a supervisor that jumps far ahead is not believed");
	welcome = self->evil.welcome;
	welcome.term = G_MAXINT64;
	welcome_is_refused(self, welcome, "a supervisor cannot use the terms up");
	welcome = self->evil.welcome;
	welcome.cluster = CASE_OTHER_CLUSTER;
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

/* The rightful supervisor hears of each refusal once, in one line. */
static void test_refusals_are_told(Case *self)
{
	static const char *const reasons[] = {
		"term 4 is over",
		"term 1000006 is more than",
		"term 9223372036854775807",
		"not this host's cluster",
		"not the session",
		"10.77.9.0/24",
		"0.0.0.0/0",
		"nonsense",
	};

	for (size_t i = 0; i < G_N_ELEMENTS(reasons); i++) {
		g_autofree char *sentence =
			g_strdup_printf("a refused welcome is told later, once: %s", reasons[i]);

		yard_check(evil_wait_event(&self->evil, "welcome.refused", reasons[i]) &&
				   evil_count_events(&self->evil, "welcome.refused", reasons[i]) ==
					   1,
			   sentence, "not told once");
	}
	yard_check(evil_count_events(&self->evil, "welcome.refused", "\n") == 0, "each in one line",
		   NULL);
}

static void test_first_words(Case *self)
{
	unsigned reports = self->evil.reports;

	self->evil.welcome.is_silent = true;
	bool called = evil_relink(&self->evil);
	self->evil.welcome.is_silent = false;
	DnOrder *order = case_good_order(self, "early", 1);
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

static void test_restart(Case *self)
{
	unsigned reports = self->evil.reports;

	yard_kill(self->yard);
	yard_start(self->yard);
	bool linked = evil_wait_report(&self->evil, reports);
	yard_check(linked && self->evil.seen_term == 5,
		   "an agent that was killed remembers its term", "it forgot");
	EvilWelcome welcome = self->evil.welcome;
	welcome.term = 4;
	welcome_is_refused(self, welcome, "an earlier term is not believed after a restart either");
}

/* What is of the last name has to be gone before another is taken. */
static void enrol_beside(Case *self, const char *token, const char *file, const char *sentence)
{
	g_autofree char *path = g_build_filename(self->yard->folder, file, NULL);
	g_autofree char *said = NULL;
	unsigned before = self->evil.enrols;
	bool made = g_file_set_contents(path, "{}", -1, NULL);
	int status = yard_enrol(self->yard, token, &said);

	yard_check(made && status == 4 && !yard_is_enrolled(self->yard) &&
			   self->evil.enrols == before,
		   sentence, said);
	(void)g_unlink(path);
}

/* A host joins anew, and the supervisor's table is older than what the host has accepted. */
static void test_enrolment_anew(Case *self)
{
	uint64_t old = 1, high = case_reported_epoch(self, "web"), new = 40;
	GHashTable *epochs = self->evil.enrolled->enrolled->epochs;
	g_autofree char *key = g_build_filename(self->yard->state, "agent.key", NULL);
	g_autofree char *said = NULL;
	g_autofree char *token =
		case_token(self, dn_clock_realtime_ns() / DN_NS_PER_S + 60, false, false);
	unsigned reports = self->evil.reports;

	yard_kill(self->yard);
	/* Another key is another host to the cluster, with a range of its own. */
	self->evil.welcome.host_cidr = "10.77.8.0/24";
	g_hash_table_insert(epochs, g_strdup("web"), g_memdup2(&old, sizeof(old)));
	g_hash_table_insert(epochs, g_strdup("site"), g_memdup2(&new, sizeof(new)));
	bool removed = g_unlink(key) == 0;
	enrol_beside(self, token, "run/nodes/web-00000001.json",
		     "a host with nodes of its last key does not take another");
	enrol_beside(self, token, "state/incidents/0123456789abcdef.json",
		     "nor does one with evidence that nobody has destroyed");
	int status = yard_enrol(self->yard, token, &said);
	yard_start(self->yard);
	bool linked = evil_wait_report(&self->evil, reports);
	yard_check(removed && status == 0 && linked && high > old &&
			   case_reported_epoch(self, "web") == high,
		   "a host that joins anew with an older table keeps its own epochs", said);
	g_autofree char *path = g_build_filename(self->yard->state, "network.json", NULL);
	g_autofree char *network = NULL;
	(void)g_file_get_contents(path, &network, NULL, NULL);
	yard_check(network != NULL && strstr(network, "10.77.8.0/24") != NULL,
		   "takes the range that goes with its new key", network);
	yard_check(case_reported_epoch(self, "site") == new,
		   "and takes what the table knows beyond them", NULL);
	DnOrder *order = case_good_order(self, "web", high - 1);
	case_is_refused(self, order, DN_ERROR_UNTRUSTED, "manifest.refused", "older",
			"an epoch it had left is refused after that too");
}

static void test_links(Yard *yard)
{
	Case self;

	case_open(&self, yard);
	test_enrolment(&self);
	start_with_a_bad_disk(&self);
	if (yard_check(evil_wait_report(&self.evil, 0), "the agent links and reports", NULL)) {
		test_half_welcomes(&self);
		test_envelopes(&self);
		test_routes(&self);
		test_welcomes(&self);
		link_must_work(&self, "the rightful term is believed after all these");
		test_refusals_are_told(&self);
		test_first_words(&self);
		test_impostor(&self);
		test_restart(&self);
		test_enrolment_anew(&self);
	}
	case_close(&self);
}

int main(void)
{
	return yard_run(test_links);
}
