/* SPDX-License-Identifier: Apache-2.0 */

/* The real daemon on a real disk, killed without warning. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "base/file.h"
#include "daemon.h"
#include "http/client.h"
#include "link-host.h"
#include "seal/digest.h"
#include "seal/minisign.h"
#include "seal/token.h"
#include "seal/trust.h"
#include "support/suite.h"
#include "wire/json.h"

enum { KILLS = 8, EXIT_CONFLICT = 4, PEOPLE = 3 };

static void teardown(void)
{
	while (g_main_context_iteration(NULL, FALSE))
		continue;
	daemon_free();
	dn_suite_end();
}

TestSuite(daemon, .init = daemon_new, .fini = teardown);

/* ---- manifests ---- */

static GBytes *manifest_of(const char *service, unsigned epoch, const char *more)
{
	g_autofree char *commit = g_strnfill(64, 'a');
	char *text = NULL;

	text = g_strdup_printf(
		"dnode: v1\nservice: %s\nepoch: %u\n%simage: {ref: apps/hello, commit: %s}\n"
		"replicas: 3\nlisten: [{port: 8080, expose: 80}]\n"
		"resources: {memory: 64MiB, cpu: 1, pids: 32, files: 256}\n",
		service, epoch, more, commit);
	return g_bytes_new_take(text, strlen(text));
}

/* 0 when it was accepted, else the code of the refusal. */
static int post(GBytes *manifest, GBytes *signature, char **line)
{
	g_autoptr(DnHttp) http = dn_http_new(daemon_target(), NULL);
	g_autoptr(GError) error = NULL;
	JsonObject *body = json_object_new();
	JsonArray *signatures = json_array_new();
	gsize size = 0;
	const guchar *data = g_bytes_get_data(signature, &size);
	g_autofree char *text = g_base64_encode(data, size);

	dn_json_set_base64(body, "manifest", manifest);
	json_array_add_string_element(signatures, text);
	json_object_set_array_member(body, "signatures", signatures);
	JsonObject *answer = dn_http_post(http, "/v1/manifests", body, &error);
	if (answer != NULL) {
		json_object_unref(answer);
		return 0;
	}
	if (line != NULL)
		*line = g_strdup(error->message);
	return error->domain == DN_ERROR ? error->code : -1;
}

static GBytes *sign(const DnSecretKey *key, GBytes *manifest, const char *service, unsigned epoch)
{
	g_autofree char *comment = dn_trust_manifest_comment(service, epoch);

	return dn_minisign_sign(key, manifest, comment, NULL);
}

static int apply(const char *service, unsigned epoch)
{
	g_autoptr(GBytes) manifest = manifest_of(service, epoch, "");
	g_autoptr(GBytes) signature = sign(daemon_deploy_key(), manifest, service, epoch);
	g_autofree char *line = NULL;
	int code = post(manifest, signature, &line);

	cr_assert(code == 0 || code == DN_ERROR_CONFLICT || code == DN_ERROR_UNAVAILABLE, "%d %s",
		  code, line);
	return code;
}

static gint64 stored_epoch(const char *service)
{
	g_autofree char *path = g_strconcat("/v1/services/", service, NULL);
	JsonObject *answer = daemon_get(path);

	if (answer == NULL)
		return 0;
	gint64 epoch = json_object_get_int_member(json_object_get_object_member(answer, "service"),
						  "epoch");
	json_object_unref(answer);
	return epoch;
}

static char *vip_of(const char *service)
{
	g_autofree char *path = g_strconcat("/v1/services/", service, NULL);
	JsonObject *answer = daemon_get(path);
	char *vip = g_strdup(json_object_get_string_member(
		json_object_get_object_member(answer, "service"), "vip"));

	json_object_unref(answer);
	return vip;
}

static gint64 term(void)
{
	JsonObject *answer = daemon_get("/v1/cluster");
	gint64 number = json_object_get_int_member(json_object_get_object_member(answer, "cluster"),
						   "term");

	json_object_unref(answer);
	return number;
}

/* ---- the tests ---- */

Test(daemon, it_ends_cleanly_when_it_is_told_to)
{
	daemon_start();
	cr_assert(eq(int, apply("web", 1), 0));
	cr_assert(eq(int, daemon_stop(SIGTERM), 0));
}

/* ---- an end while everybody goes on ---- */

/* Applies one manifest after the other until that is refused. */
typedef struct {
	GThread *thread;
	char *service;
	gint acknowledged; /* the last epoch */
	int refusal;
} Person;

static gpointer apply_for_ever(gpointer data)
{
	Person *person = data;
	g_autoptr(GMainContext) context = g_main_context_new();

	g_main_context_push_thread_default(context);
	for (gint epoch = 1; person->refusal == 0; epoch++) {
		g_autoptr(GBytes) manifest = manifest_of(person->service, (unsigned)epoch, "");
		g_autoptr(GBytes) signature =
			sign(daemon_deploy_key(), manifest, person->service, (unsigned)epoch);

		person->refusal = post(manifest, signature, NULL);
		if (person->refusal == 0)
			g_atomic_int_set(&person->acknowledged, epoch);
	}
	g_main_context_pop_thread_default(context);
	return NULL;
}

static void begin_people(Person people[static PEOPLE])
{
	for (unsigned i = 0; i < PEOPLE; i++) {
		people[i] = (Person){.service = g_strdup_printf("web%u", i)};
		people[i].thread = g_thread_new("person", apply_for_ever, &people[i]);
	}
}

static void end_people(Person people[static PEOPLE])
{
	for (unsigned i = 0; i < PEOPLE; i++) {
		g_thread_join(people[i].thread);
		cr_assert(eq(int, people[i].refusal, DN_ERROR_UNAVAILABLE));
	}
}

/* A host that goes on telling, and a daemon that is told to end. */
typedef struct {
	LinkHost *host;
	const Person *people;
	uint64_t told;
	gint64 last_us;
	gint ended;
	int code;
} Load;

static void tell_one_more(Load *load)
{
	DnFact *fact = dn_fact_new(DN_FACT_EVENT);

	fact->spool = g_strdup("0123456789abcdef");
	fact->previous = load->told;
	fact->number = ++load->told;
	g_autofree char *text = g_strdup_printf("fact %" G_GUINT64_FORMAT, load->told);
	fact->event = dn_event_new("host.event", "info", text);
	link_host_say(load->host, fact);
}

/* A host tells 20 things a second and no more is taken of it. */
static void go_on(Load *load)
{
	gint64 now_us = g_get_monotonic_time();

	if (now_us - load->last_us < G_USEC_PER_SEC / 20)
		return;
	load->last_us = now_us;
	tell_one_more(load);
}

static bool is_under_way(void *data)
{
	Load *load = data;
	bool all = link_host_stored(load->host) > 2;

	go_on(load);
	for (unsigned i = 0; i < PEOPLE; i++)
		all = all && g_atomic_int_get(&load->people[i].acknowledged) > 2;
	return all;
}

static bool has_ended(void *data)
{
	Load *load = data;

	go_on(load);
	return g_atomic_int_get(&load->ended) != 0;
}

static gpointer end_it(gpointer data)
{
	Load *load = data;

	load->code = daemon_stop(SIGTERM);
	g_atomic_int_set(&load->ended, 1);
	return NULL;
}

/* Whether people are shown the event that @host has told as number @number. */
static bool is_shown(uint64_t number)
{
	g_autofree char *wanted = g_strdup_printf("fact %" G_GUINT64_FORMAT, number);
	JsonObject *answer = daemon_get("/v1/events?limit=1000");
	JsonArray *events = json_object_get_array_member(answer, "events");
	bool found = false;

	for (guint i = 0; i < json_array_get_length(events); i++)
		found |= g_str_equal(json_object_get_string_member(
					     json_array_get_object_element(events, i), "text"),
				     wanted);
	json_object_unref(answer);
	return found;
}

Test(daemon, it_ends_though_everybody_goes_on_and_what_it_acknowledged_is_there)
{
	Person people[PEOPLE];

	/* While one transaction is written the next fills, as on a slow disk. */
	g_setenv("DNODE_FAILPOINTS", "supervisor.store.commit.before=delay:50*", TRUE);
	daemon_start();
	g_unsetenv("DNODE_FAILPOINTS");
	g_autoptr(LinkHost) host = link_host_new("h1");
	Load load = {.host = host, .people = people};
	begin_people(people);
	cr_assert(link_host_wait(is_under_way, &load));

	g_autoptr(GThread) end = g_thread_new("end", end_it, &load);
	cr_assert(link_host_wait(has_ended, &load), "it does not end");
	g_thread_join(g_steal_pointer(&end));
	cr_assert(eq(int, load.code, 0));
	end_people(people);
	uint64_t acknowledged = link_host_stored(host);
	g_clear_pointer(&host, link_host_free);

	daemon_start();
	for (unsigned i = 0; i < PEOPLE; i++) {
		gint64 stored = stored_epoch(people[i].service);

		cr_assert(stored >= people[i].acknowledged, "%d was acknowledged, %d is there",
			  people[i].acknowledged, (int)stored);
		g_free(people[i].service);
	}
	cr_assert(is_shown(acknowledged), "fact %d was acknowledged", (int)acknowledged);
}

static bool is_listed(void *data)
{
	JsonObject *answer = daemon_get("/v1/incidents");
	bool listed = answer != NULL &&
		      json_array_get_length(json_object_get_array_member(answer, "incidents")) == 1;

	g_clear_pointer(&answer, json_object_unref);
	return listed;
}

/* ---- a store that takes nothing for a while ---- */

#ifdef DN_FAILPOINTS

static void arm(const char *spec)
{
	g_autoptr(DnHttp) http = dn_http_new(daemon_target(), NULL);
	JsonObject *body = json_object_new();

	json_object_set_string_member(body, "arm", spec);
	JsonObject *answer = dn_http_post(http, "/v1/debug/failpoints", body, NULL);
	cr_assert(answer != NULL);
	json_object_unref(answer);
}

static bool is_refused(void *data)
{
	return apply("web", 1) == DN_ERROR_UNAVAILABLE;
}

static bool is_all_stored(void *data)
{
	const Load *load = data;

	return link_host_stored(load->host) == load->told;
}

Test(daemon, what_hosts_tell_while_nothing_can_be_stored_is_kept_and_acknowledged_afterwards)
{
	daemon_start();
	g_autoptr(LinkHost) host = link_host_new("h1");
	Load load = {.host = host};
	arm("supervisor.store.begin.before=error*");
	cr_assert(link_host_wait(is_refused, NULL));
	for (unsigned i = 0; i < 50; i++)
		tell_one_more(&load);
	link_host_say_incident(host, 1, DN_INCIDENT_OPEN);
	link_host_say_incident(host, 1, DN_INCIDENT_SEALED);
	cr_assert(link_host_wait(is_listed, NULL));
	cr_assert(eq(u64, link_host_stored(host), 0));

	arm("off");
	cr_assert(link_host_wait(is_all_stored, &load));
	(void)link_host_await(host, DN_ORDER_STAMP);
	cr_assert(is_shown(1));
	cr_assert(is_shown(load.told));
	cr_assert(eq(int, daemon_stop(SIGKILL), -1));
	g_clear_pointer(&host, link_host_free);
	daemon_start();
	cr_assert(is_shown(load.told));
	cr_assert(is_listed(NULL));
}

#endif /* DN_FAILPOINTS */

/* ---- a host that wants it not to come back ---- */

Test(daemon, it_starts_again_whatever_a_host_has_told)
{
	daemon_start();
	g_autoptr(LinkHost) host = link_host_new("h1");
	DnFact *fact = link_host_incident_fact(host, 1, DN_INCIDENT_OPEN);
	DnIncident *incident = fact->incident;

	/* As long as may be said, and each byte four on a terminal. */
	g_free(incident->class);
	incident->class = g_strnfill(64, '\001');
	incident->detail = g_strnfill(1024, '\001');
	incident->indicator_path = g_strnfill(1024, '\001');
	incident->indicator_comm = g_strnfill(64, '\001');
	link_host_say(host, fact);
	cr_assert(link_host_wait(is_listed, NULL));
	g_clear_pointer(&host, link_host_free);
	cr_assert(eq(int, daemon_stop(SIGTERM), 0));
	daemon_start();
	cr_assert(is_listed(NULL));
}

Test(daemon, a_second_one_on_the_same_state_is_refused)
{
	int status = 0;

	daemon_start();
	pid_t second = daemon_spawn();
	waitpid(second, &status, 0);
	cr_assert(eq(int, WEXITSTATUS(status), EXIT_CONFLICT));
	cr_assert(eq(int, apply("web", 1), 0));
}

Test(daemon, what_was_acknowledged_is_there_after_any_kill)
{
	unsigned acknowledged = 0;
	g_autofree char *vip = NULL;

	daemon_start();
	gint64 last_term = term();
	for (unsigned round = 0; round < KILLS; round++) {
		gint64 end = g_get_monotonic_time() + 1000 + round * 3700;

		/* The kill comes at another moment of the work each time. */
		do {
			if (apply("web", acknowledged + 1) == 0)
				acknowledged++;
		} while (g_get_monotonic_time() < end);
		if (vip == NULL)
			vip = vip_of("web");
		daemon_stop(SIGKILL);
		daemon_start();
		gint64 stored = stored_epoch("web");
		cr_assert(stored >= acknowledged, "%d was acknowledged, %d is there", acknowledged,
			  (int)stored);
		acknowledged = (unsigned)stored;
		g_autofree char *now = vip_of("web");
		cr_assert_str_eq(now, vip);
		gint64 this_term = term();
		cr_assert(gt(i64, this_term, last_term));
		last_term = this_term;
	}
}

Test(daemon, a_manifest_is_refused_by_the_kind_of_its_fault)
{
	g_autoptr(DnSecretKey) stranger = dn_secret_key_generate();
	g_autoptr(GBytes) good = manifest_of("web", 5, "");
	g_autoptr(GBytes) other = manifest_of("web", 5, "state: running\n");
	g_autoptr(GBytes) expired = manifest_of("web", 5, "valid_until: 2020-01-01T00:00:00Z\n");
	g_autoptr(GBytes) forged = sign(stranger, good, "web", 5);
	g_autoptr(GBytes) as_other = sign(daemon_deploy_key(), good, "db", 5);
	g_autoptr(GBytes) signature = sign(daemon_deploy_key(), good, "web", 5);
	g_autoptr(GBytes) of_expired = sign(daemon_deploy_key(), expired, "web", 5);
	g_autofree char *line = NULL;

	daemon_start();
	cr_assert(eq(int, post(good, forged, NULL), DN_ERROR_UNTRUSTED));
	cr_assert(eq(int, post(other, signature, NULL), DN_ERROR_UNTRUSTED));
	cr_assert(eq(int, post(good, as_other, NULL), DN_ERROR_UNTRUSTED));
	cr_assert(eq(int, post(expired, of_expired, NULL), DN_ERROR_UNTRUSTED));
	cr_assert(eq(i64, stored_epoch("web"), 0));

	cr_assert(eq(int, post(good, signature, NULL), 0));
	g_autoptr(GBytes) old = manifest_of("web", 4, "");
	g_autoptr(GBytes) of_old = sign(daemon_deploy_key(), old, "web", 4);
	cr_assert(eq(int, post(old, of_old, &line), DN_ERROR_UNTRUSTED));
	cr_assert(strstr(line, "stored epoch 5") != NULL && strchr(line, '\n') == NULL, "%s", line);
	cr_assert(eq(i64, stored_epoch("web"), 5));
}

static bool holds(GBytes *bytes, const void *wanted, size_t size)
{
	return memmem(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), wanted, size) != NULL;
}

Test(daemon, a_host_token_is_shown_once_and_only_its_hash_is_kept)
{
	g_autoptr(DnHttp) http = dn_http_new(daemon_target(), NULL);
	JsonObject *body = json_object_new();
	g_autofree char *db = g_build_filename(daemon_state(), "store.db", NULL);
	g_autofree char *wal = g_build_filename(daemon_state(), "store.db-wal", NULL);

	daemon_start();
	json_object_set_string_member(body, "host", "h1");
	JsonObject *answer = dn_http_post(http, "/v1/hosts/tokens", body, NULL);
	cr_assert(answer != NULL);
	g_autoptr(DnHostToken) token =
		dn_host_token_decode(json_object_get_string_member(answer, "token"), NULL);
	cr_assert(token != NULL);
	cr_assert_str_eq(token->host, "h1");
	daemon_stop(SIGKILL);
	g_autofree char *hex = dn_digest_text(token->secret);
	bool has_hash = false;
	for (unsigned i = 0; i < 2; i++) {
		g_autoptr(GBytes) bytes = dn_file_read(i == 0 ? db : wal, 64 << 20, NULL);

		if (bytes == NULL)
			continue;
		cr_assert(not(holds(bytes, token->secret, sizeof(token->secret))));
		cr_assert(not(holds(bytes, hex, strlen(hex))));
		has_hash |= holds(bytes, "token/", 6);
	}
	cr_assert(has_hash);
	json_object_unref(answer);
}
