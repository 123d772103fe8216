/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dnode/version.h>
#include <string.h>

#include "fleet/sessions.h"
#include "link/client.h"
#include "seal/digest.h"
#include "seal/token.h"
#include "support/suite.h"
#include "wire/codec.h"

enum { WAIT_MS = 5000 };

static const uint8_t server_seed[32] = {1};
static const uint8_t known_seed[32] = {2};
static const uint8_t stranger_seed[32] = {3};
static const char session_word[] = "0123456789abcdef0123456789abcdef";

static DnSessions *sessions;
static DnLinkIdentity *server;
static uint8_t server_key[32], known_key[32];
static GString *heard; /* what sessions told its owner, one word each */
static char *enrol_hash;

/* ---- the owner ---- */

static const char *host_of_key(const uint8_t *key, void *data)
{
	return memcmp(key, known_key, 32) == 0 ? "a" : NULL;
}

static const char *why_fenced;

static const char *fenced(const char *host, void *data)
{
	return why_fenced;
}

static const char *host_cidr(const char *host, void *data)
{
	return "10.77.0.0/24";
}

static void on_enrol(DnEnrolWait *wait, const DnEnrolment *enrolment, void *data)
{
	g_autoptr(GHashTable) epochs = g_hash_table_new(g_str_hash, g_str_equal);
	uint64_t seven = 7;

	g_free(enrol_hash);
	enrol_hash = g_strdup(enrolment->hash);
	g_string_append_printf(heard, "enrol:%s ", enrolment->host);
	g_hash_table_insert(epochs, (gpointer) "web", &seven);
	if (g_str_equal(enrolment->host, "refused")) {
		g_autoptr(GError) error = g_error_new(DN_ERROR, DN_ERROR_UNTRUSTED, "no token");

		dn_sessions_refused(wait, error);
	} else {
		dn_sessions_enrolled(wait, epochs);
	}
}

static void on_connected(const char *host, const char *address, uint64_t term, void *data)
{
	g_string_append_printf(heard, "connected:%s:%s ", host, address);
}

static void on_disconnected(const char *host, const char *why, void *data)
{
	g_string_append(heard, "disconnected ");
}

static void on_fact(const char *host, const DnFact *fact, void *data)
{
	g_string_append_printf(heard, "fact:%u ", (unsigned)fact->kind);
}

static void on_answered(const char *host, uint64_t tag, const DnAnswerTo *answer, void *data)
{
	g_string_append_printf(heard, "answered:%u:%d ", (unsigned)tag,
			       answer->done ? 0 : answer->code);
}

static void on_trouble(DnTrouble kind, const char *host, const char *text, void *data)
{
	g_string_append_printf(heard, "trouble:%u:%s ", (unsigned)kind, host == NULL ? "" : host);
}

/* Of a journal of so many entries, none of which is another's head. */
static uint64_t journal_entries;

static DnJournalHead on_head(uint64_t *news, void *data)
{
	DnJournalHead head = {.seq = journal_entries};

	(void)data;
	*news = journal_entries;
	if (journal_entries > 0)
		memset(head.hash, 'a', sizeof(head.hash) - 1);
	return head;
}

static const DnSessionsOps ops = {
	.host_of_key = host_of_key,
	.host_cidr = host_cidr,
	.fenced = fenced,
	.enrol = on_enrol,
	.connected = on_connected,
	.disconnected = on_disconnected,
	.fact = on_fact,
	.answered = on_answered,
	.trouble = on_trouble,
	.head = on_head,
};

/* ---- an agent ---- */

typedef struct {
	DnLinkClient *client;
	GPtrArray *frames; /* of DnFrame */
	bool connected, closed;
} FakeAgent;

static void free_frame(gpointer frame)
{
	dn_frame_free(frame);
}

static void agent_connected(DnLinkClient *client, const uint8_t key[DN_LINK_KEY_BYTES], void *data)
{
	((FakeAgent *)data)->connected = true;
}

static void agent_frame(DnLinkClient *client, GBytes *bytes, void *data)
{
	g_autoptr(GError) error = NULL;
	DnFrame *frame = dn_frame_decode(bytes, &error);

	cr_assert(frame != NULL, "%s", error == NULL ? "" : error->message);
	g_ptr_array_add(((FakeAgent *)data)->frames, frame);
}

static void agent_closed(DnLinkClient *client, const GError *reason, void *data)
{
	((FakeAgent *)data)->closed = true;
}

static bool wait_until(bool (*holds)(const void *), const void *data)
{
	gint64 end = g_get_monotonic_time() + WAIT_MS * 1000;

	while (!holds(data) && g_get_monotonic_time() < end)
		if (!g_main_context_iteration(NULL, FALSE))
			g_usleep(500);
	return holds(data);
}

static bool is_connected(const void *data)
{
	return ((const FakeAgent *)data)->connected;
}

static bool is_closed(const void *data)
{
	return ((const FakeAgent *)data)->closed;
}

static bool has_frame(const void *data)
{
	return ((const FakeAgent *)data)->frames->len > 0;
}

static bool has_heard(const void *text)
{
	return strstr(heard->str, text) != NULL;
}

static FakeAgent *agent_new(const uint8_t seed[32])
{
	static const DnLinkClientOps agent_ops = {agent_connected, agent_frame, agent_closed};
	FakeAgent *agent = g_new0(FakeAgent, 1);
	g_autofree char *address =
		g_strdup_printf("127.0.0.1:%u", (unsigned)dn_sessions_port(sessions));
	g_autoptr(DnLinkIdentity) identity = dn_link_identity_new(seed, NULL);

	agent->frames = g_ptr_array_new_with_free_func(free_frame);
	agent->client = dn_link_client_new(&(DnLinkClientConfig){.address = address,
								 .identity = identity,
								 .server_key = server_key,
								 .is_once = true},
					   &agent_ops, agent, NULL);
	cr_assert(agent->client != NULL);
	cr_assert(wait_until(is_connected, agent));
	return agent;
}

static void agent_free(FakeAgent *agent)
{
	dn_link_client_free(agent->client);
	g_ptr_array_unref(agent->frames);
	g_free(agent);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(FakeAgent, agent_free)

static void say(FakeAgent *agent, const DnFrame *frame)
{
	g_autoptr(GBytes) bytes = dn_frame_encode(frame);

	cr_assert(dn_link_client_send(agent->client, bytes));
}

static DnFrame *next_frame(FakeAgent *agent, DnFrameType type)
{
	cr_assert(wait_until(has_frame, agent), "no frame came; heard: %s", heard->str);
	DnFrame *frame = g_ptr_array_steal_index(agent->frames, 0);
	cr_assert(eq(int, frame->type, type), "%s", frame->refused == NULL ? "" : frame->refused);
	return frame;
}

static void say_hello(FakeAgent *agent, const char *host, unsigned version)
{
	g_autoptr(DnFrame) hello = dn_frame_new(DN_FRAME_HELLO);

	hello->hello->version = version;
	hello->hello->host = g_strdup(host);
	hello->hello->session = g_strdup(session_word);
	say(agent, hello);
}

static FakeAgent *agent_welcomed(void)
{
	FakeAgent *agent = agent_new(known_seed);

	say_hello(agent, "a", DN_LINK_VERSION);
	g_autoptr(DnFrame) welcome = next_frame(agent, DN_FRAME_WELCOME);
	cr_assert_str_eq(welcome->welcome->session, session_word);
	return agent;
}

static void say_fact(FakeAgent *agent, uint64_t seq)
{
	g_autoptr(DnFrame) frame = dn_frame_new(DN_FRAME_FACT);

	frame->fact = dn_fact_new(DN_FACT_HEARTBEAT);
	frame->fact->seq = seq;
	say(agent, frame);
}

static DnOrder *stamp(void)
{
	DnOrder *order = dn_order_new(DN_ORDER_STAMP);

	order->incident = g_strdup("0123456789abcdef");
	order->stage = DN_STAGE_REPORTED;
	return order;
}

/* ---- the suite ---- */

static void setup(void)
{
	g_autoptr(GBytes) trust = g_bytes_new_static("trust", 5);
	g_autoptr(DnLinkIdentity) known = dn_link_identity_new(known_seed, NULL);
	g_autoptr(GError) error = NULL;

	server = dn_link_identity_new(server_seed, NULL);
	dn_link_identity_key(server, server_key);
	dn_link_identity_key(known, known_key);
	heard = g_string_new(NULL);
	journal_entries = 0;
	sessions = dn_sessions_new(&(DnSessionsConfig){.listen = "127.0.0.1:0",
						       .identity = server,
						       .cluster = "0123456789abcdef",
						       .term = 4,
						       .node_cidr = "10.77.0.0/16",
						       .vip_cidr = "10.99.0.0/24",
						       .repo = "http://127.0.0.1:1/repo",
						       .trust = trust},
				   &ops, NULL, &error);
	cr_assert(sessions != NULL, "%s", error == NULL ? "" : error->message);
}

static void teardown(void)
{
	g_clear_pointer(&sessions, dn_sessions_free);
	g_clear_pointer(&server, dn_link_identity_unref);
	g_string_free(heard, TRUE);
	g_clear_pointer(&enrol_hash, g_free);
	while (g_main_context_iteration(NULL, FALSE))
		continue;
	dn_suite_end();
}

TestSuite(sessions, .init = setup, .fini = teardown);

Test(sessions, a_stranger_may_enrol_and_gets_the_trust_file_and_the_epochs)
{
	g_autoptr(FakeAgent) agent = agent_new(stranger_seed);
	g_autoptr(DnFrame) enrol = dn_frame_new(DN_FRAME_ENROL);
	uint8_t secret[DN_TOKEN_SECRET_BYTES] = {9}, hash[DN_TOKEN_HASH_BYTES];

	enrol->enrol->host = g_strdup("new");
	enrol->enrol->secret = g_bytes_new(secret, sizeof(secret));
	say(agent, enrol);
	g_autoptr(DnFrame) enrolled = next_frame(agent, DN_FRAME_ENROLLED);
	dn_token_secret_hash(secret, hash);
	g_autofree char *wanted = dn_digest_text(hash);
	cr_assert_str_eq(enrol_hash, wanted);
	cr_assert_str_eq(enrolled->enrolled->host, "new");
	cr_assert(eq(sz, g_bytes_get_size(enrolled->enrolled->trust), 5));
	uint64_t *epoch = g_hash_table_lookup(enrolled->enrolled->epochs, "web");
	cr_assert(eq(u64, *epoch, 7));
	cr_assert(wait_until(is_closed, agent));
}

Test(sessions, a_stranger_without_a_token_is_told_why_and_let_go)
{
	g_autoptr(FakeAgent) agent = agent_new(stranger_seed);
	g_autoptr(DnFrame) enrol = dn_frame_new(DN_FRAME_ENROL);
	uint8_t secret[DN_TOKEN_SECRET_BYTES] = {9};

	enrol->enrol->host = g_strdup("refused");
	enrol->enrol->secret = g_bytes_new(secret, sizeof(secret));
	say(agent, enrol);
	g_autoptr(DnFrame) refused = next_frame(agent, DN_FRAME_REFUSED);
	cr_assert(eq(int, refused->refused_code, DN_ERROR_UNTRUSTED));
	cr_assert(wait_until(is_closed, agent));
}

Test(sessions, a_stranger_can_say_nothing_else)
{
	g_autoptr(FakeAgent) hello = agent_new(stranger_seed);
	g_autoptr(FakeAgent) fact = agent_new(stranger_seed);

	say_hello(hello, "a", DN_LINK_VERSION);
	say_fact(fact, 1);
	g_autoptr(DnFrame) first = next_frame(hello, DN_FRAME_REFUSED);
	g_autoptr(DnFrame) second = next_frame(fact, DN_FRAME_REFUSED);
	cr_assert(eq(int, first->refused_code, DN_ERROR_UNTRUSTED));
	cr_assert(eq(int, second->refused_code, DN_ERROR_INVALID));
	cr_assert_str_eq(heard->str, "trouble:1: trouble:1: ");
}

Test(sessions, a_host_cannot_say_hello_as_another_or_in_another_version)
{
	g_autoptr(FakeAgent) other = agent_new(known_seed);
	g_autoptr(FakeAgent) old = agent_new(known_seed);

	say_hello(other, "b", DN_LINK_VERSION);
	say_hello(old, "a", DN_LINK_VERSION + 1);
	g_autoptr(DnFrame) first = next_frame(other, DN_FRAME_REFUSED);
	g_autoptr(DnFrame) second = next_frame(old, DN_FRAME_REFUSED);
	cr_assert(eq(int, first->refused_code, DN_ERROR_UNTRUSTED));
	cr_assert(eq(int, second->refused_code, DN_ERROR_UNSUPPORTED));
	cr_assert_str_eq(heard->str, "trouble:1:a trouble:1:a ");
}

Test(sessions, orders_come_in_their_envelope_and_their_answers_under_their_tag)
{
	g_autoptr(FakeAgent) agent = agent_welcomed();

	cr_assert(dn_sessions_send(sessions, "a", stamp(), 70));
	cr_assert(dn_sessions_send(sessions, "a", stamp(), 71));
	for (uint64_t sequence = 1; sequence <= 2; sequence++) {
		g_autoptr(DnFrame) frame = next_frame(agent, DN_FRAME_ORDER);

		cr_assert_str_eq(frame->order->cluster, "0123456789abcdef");
		cr_assert_str_eq(frame->order->session, session_word);
		cr_assert(eq(u64, frame->order->term, 4));
		cr_assert(eq(u64, frame->order->sequence, sequence));
	}
	g_autoptr(DnFrame) answer = dn_frame_new(DN_FRAME_ANSWER);
	answer->answer = dn_answer_to_new(2);
	answer->answer->done = true;
	say(agent, answer);
	cr_assert(wait_until(has_heard, "answered:71:0"));
	/* A second answer to it, or one to nothing, is nobody's. */
	say(agent, answer);
	say_fact(agent, 1);
	cr_assert(wait_until(has_heard, "fact:5"));
	cr_assert_str_eq(heard->str, "connected:a:127.0.0.1 answered:71:0 fact:5 ");
}

Test(sessions, a_new_link_of_a_host_takes_the_place_of_its_old_one)
{
	g_autoptr(FakeAgent) before = agent_welcomed();

	cr_assert(dn_sessions_send(sessions, "a", stamp(), 5));
	g_autoptr(FakeAgent) after = agent_welcomed();
	cr_assert(wait_until(is_closed, before));
	cr_assert_str_eq(heard->str, "connected:a:127.0.0.1 disconnected answered:5:4 "
				     "connected:a:127.0.0.1 ");
	cr_assert(dn_sessions_send(sessions, "a", stamp(), 6));
	g_autoptr(DnFrame) frame = next_frame(after, DN_FRAME_ORDER);
	cr_assert(eq(u64, frame->order->sequence, 1));
}

Test(sessions, a_link_that_ends_answers_for_what_was_under_way)
{
	FakeAgent *agent = agent_welcomed();

	cr_assert(dn_sessions_send(sessions, "a", stamp(), 5));
	agent_free(agent);
	cr_assert(wait_until(has_heard, "answered:5:4"));
	cr_assert(not(dn_sessions_send(sessions, "a", stamp(), 6)));
	cr_assert(not(dn_sessions_send(sessions, "nobody", stamp(), 7)));
}

Test(sessions, a_heartbeat_is_answered_with_the_head_of_a_journal_that_has_grown)
{
	g_autoptr(FakeAgent) agent = agent_welcomed();

	say_fact(agent, 1);
	journal_entries = 3;
	say_fact(agent, 2);
	g_autoptr(DnFrame) first = next_frame(agent, DN_FRAME_JOURNAL);
	cr_assert(eq(u64, first->head.seq, 3));
	/* Nothing new: the next frame is of the one after. */
	say_fact(agent, 3);
	journal_entries = 4;
	say_fact(agent, 4);
	g_autoptr(DnFrame) second = next_frame(agent, DN_FRAME_JOURNAL);
	cr_assert(eq(u64, second->head.seq, 4));
}

Test(sessions, a_repeated_fact_ends_the_link)
{
	g_autoptr(FakeAgent) agent = agent_welcomed();

	say_fact(agent, 3);
	say_fact(agent, 3);
	dn_frame_free(next_frame(agent, DN_FRAME_REFUSED));
	cr_assert(wait_until(has_heard, "disconnected"));
	cr_assert_str_eq(heard->str, "connected:a:127.0.0.1 fact:5 trouble:1:a disconnected ");
}

Test(sessions, two_machines_of_one_key_do_not_push_each_other_out_for_ever)
{
	FakeAgent *last = NULL;
	unsigned links = 0;

	while (strstr(heard->str, "trouble:4:a") == NULL && links++ < 200) {
		g_autoptr(FakeAgent) next = agent_new(known_seed);

		say_hello(next, "a", DN_LINK_VERSION);
		while (next->frames->len == 0)
			g_main_context_iteration(NULL, TRUE);
		const DnFrame *frame = g_ptr_array_index(next->frames, 0);
		if (frame->type == DN_FRAME_REFUSED) {
			cr_assert(eq(int, frame->refused_code, DN_ERROR_EXHAUSTED));
			break;
		}
		if (last != NULL)
			agent_free(last);
		last = g_steal_pointer(&next);
	}
	cr_assert(lt(uint, links, 100), "%u links", links);
	/* The one that was there first stays. */
	g_string_truncate(heard, 0);
	say_fact(last, 1);
	cr_assert(wait_until(has_heard, "fact:5"));
	agent_free(last);
}

Test(sessions, a_host_that_says_too_much_is_heard_more_slowly_and_nothing_of_it_is_lost)
{
	enum { MOST = 10 * DN_LINK_FRAMES_BURST };
	g_autoptr(FakeAgent) agent = agent_welcomed();
	uint64_t said = 0;

	g_string_truncate(heard, 0);
	/* As many as it takes: a slow machine earns more room while it works them off. */
	while (said < MOST && !has_heard("trouble:3:a")) {
		say_fact(agent, ++said);
		g_main_context_iteration(NULL, FALSE);
	}
	cr_assert(wait_until(has_heard, "trouble:3:a"));
	while (strlen(heard->str) < said * strlen("fact:5 ") + strlen("trouble:3:a "))
		g_main_context_iteration(NULL, TRUE);
	cr_assert(eq(ptr, strstr(heard->str, "disconnected"), NULL));
}

Test(sessions, bytes_that_are_no_frame_end_the_link)
{
	g_autoptr(FakeAgent) agent = agent_welcomed();
	g_autoptr(GBytes) noise = g_bytes_new_static("{\"type\":\"fact\",\"seq\":-1}", 24);

	cr_assert(dn_link_client_send(agent->client, noise));
	cr_assert(wait_until(has_heard, "disconnected"));
}
