/* SPDX-License-Identifier: Apache-2.0 */
#include "samples.h"

#include <signal.h>

TestSuite(manifest, .fini = dn_suite_end);

Test(manifest, what_is_left_out_has_its_default)
{
	g_autoptr(DnManifest) manifest = parse(MINIMAL);

	cr_assert_str_eq(manifest->service, "web");
	cr_assert(eq(u64, manifest->epoch, 7));
	cr_assert_str_eq(manifest->image_ref, "apps/hello");
	cr_assert_str_eq(manifest->image_commit, COMMIT);
	cr_assert(eq(u64, manifest->memory_bytes, 64 << 20));
	cr_assert(eq(u32, manifest->cpu_milli, 500));
	cr_assert(eq(u32, manifest->replicas, 1));
	cr_assert(eq(i64, manifest->run.uid, -1));
	cr_assert(eq(int, manifest->run.stop_signal, SIGTERM));
	cr_assert(eq(ptr, manifest->run.args, NULL));
	cr_assert(eq(int, (int)manifest->health.kind, DN_PROBE_NONE));
	cr_assert(eq(int, (int)manifest->drift[DN_DRIFT_EXEC], DN_ANSWER_QUARANTINE));
	cr_assert(not(manifest->removed));
	cr_assert(manifest->spread_host);
}

Test(manifest, every_honoured_key_reaches_its_member)
{
	g_autoptr(DnManifest) manifest = parse(
		MINIMAL "valid_until: 2027-06-01T00:00:00Z\n"
			"run: {args: [/bin/httpd, -p, \"8080\"], user: 0, env: {B: x, A: \"\"},"
			" cwd: /srv, may_exec: [/bin/httpd], jit: false,"
			" stop: {signal: INT, grace: 0s}, start_deadline: 3s}\n"
			"replicas: 3\nstandby: {count: 2, started: true}\n"
			"listen: [{port: 8080, expose: 80, publish: host, affinity: none},"
			" {port: 53, protocol: udp}]\n"
			"egress: [{service: db},"
			" {cidr: \"2001:DB8:0::/32\", port: 443, protocol: udp}]\n"
			"writable: [{path: /tmp, size: 8MiB}]\n"
			"health: {http: \"/healthz?a=1\", every: 2s, timeout: 250ms, rise: 1,"
			" fall: 4, replace_after: 1m}\n"
			"drift: {exec: deny}\nrespawn: {count: 0, within: 1h, past: hold}\n"
			"roll: {surge: 2, min_healthy: 3, canary: 0, judge: 0s, drain: 1s,"
			" deadline: 5s}\n"
			"placement: {spread: none, require: {}, avoid: {}}\n");
	const DnListen *second = &g_array_index(manifest->listen, DnListen, 1);
	const DnListen *first = &g_array_index(manifest->listen, DnListen, 0);
	const DnEgress *peer = &g_array_index(manifest->egress, DnEgress, 0);
	const DnEgress *range = &g_array_index(manifest->egress, DnEgress, 1);
	const DnWritable *writable = &g_array_index(manifest->writable, DnWritable, 0);

	cr_assert(eq(u64, manifest->valid_until_ns, UINT64_C(1811808000000000000)));
	cr_assert_str_eq(manifest->run.args[2], "8080");
	cr_assert(eq(i64, manifest->run.uid, 0));
	cr_assert_str_eq(manifest->run.env[0], "A=");
	cr_assert_str_eq(manifest->run.env[1], "B=x");
	cr_assert_str_eq(manifest->run.cwd, "/srv");
	cr_assert_str_eq(manifest->run.may_exec[0], "/bin/httpd");
	cr_assert(eq(int, manifest->run.stop_signal, SIGINT));
	cr_assert(zero(u32, manifest->run.stop_grace_ms));
	cr_assert(eq(u32, manifest->run.start_deadline_ms, 3000));
	cr_assert(eq(u32, manifest->replicas, 3));
	cr_assert(eq(u32, manifest->standby, 2));
	cr_assert(manifest->standby_started);
	cr_assert(first->port == 8080 && first->expose == 80 && first->publish_host);
	cr_assert(second->port == 53 && second->expose == 53 && !second->publish_host);
	cr_assert(eq(int, (int)second->protocol, DN_PROTOCOL_UDP));
	cr_assert_str_eq(peer->service, "db");
	cr_assert_str_eq(range->cidr, "2001:db8::/32");
	cr_assert(range->port == 443 && range->protocol == DN_PROTOCOL_UDP);
	cr_assert_str_eq(writable->path, "/tmp");
	cr_assert(eq(u64, writable->size_bytes, 8 << 20));
	cr_assert_str_eq(manifest->health.path, "/healthz?a=1");
	cr_assert(eq(int, (int)manifest->health.kind, DN_PROBE_HTTP));
	cr_assert(eq(u16, manifest->health.port, 8080));
	cr_assert(manifest->health.every_ms == 2000 && manifest->health.timeout_ms == 250 &&
		  manifest->health.rise == 1 && manifest->health.fall == 4 &&
		  manifest->health.replace_after_ms == 60000);
	cr_assert(eq(int, (int)manifest->drift[DN_DRIFT_EXEC], DN_ANSWER_DENY));
	cr_assert(manifest->respawn_count == 0 && manifest->respawn_within_ms == 3600000);
	cr_assert(manifest->roll_surge == 2 && manifest->roll_drain_ms == 1000 &&
		  manifest->roll_deadline_ms == 5000);
	cr_assert(not(manifest->spread_host));
}

Test(manifest, the_digest_is_that_of_the_exact_bytes)
{
	g_autoptr(DnManifest) one = parse(MINIMAL);
	g_autoptr(DnManifest) other = parse(MINIMAL "# more\n");
	g_autofree char *wanted = g_compute_checksum_for_string(G_CHECKSUM_SHA256, MINIMAL, -1);

	cr_assert_str_eq(one->digest, wanted);
	cr_assert_str_neq(one->digest, other->digest);
}

Test(manifest, a_service_that_listens_is_probed_there_when_nothing_else_is_said)
{
	g_autoptr(DnManifest) manifest =
		parse(MINIMAL "listen: [{port: 53, protocol: udp}, {port: 8080}]\n");

	cr_assert(eq(int, (int)manifest->health.kind, DN_PROBE_TCP));
	cr_assert(eq(u16, manifest->health.port, 8080));
}

Test(manifest, a_removal_needs_four_keys_and_leaves_nothing_to_start)
{
	g_autoptr(DnManifest) bare = parse("dnode: v1\nservice: web\nepoch: 8\nstate: removed\n");
	g_autoptr(DnManifest) whole = parse(MINIMAL "state: removed\n");

	cr_assert(bare->removed && whole->removed);
	cr_assert(eq(ptr, whole->image_ref, NULL));
	cr_assert(eq(ptr, whole->image_commit, NULL));
}

Test(manifest, all_errors_come_at_once_sorted_by_place)
{
	refused_with(
		"dnode: v1\nservice: web\nepoch: -1\nreplica: 3\nlisten: [{port: 0}]\n",
		"web.yaml:1:1: key \"image\" is missing; only state: removed does without\n"
		"web.yaml:1:1: key \"resources\" is missing; only state: removed does without\n"
		"web.yaml:3:8: \"epoch\" must be a whole number from 1 to 9007199254740991, "
		"not \"-1\"\n"
		"web.yaml:4:1: unknown key \"replica\", did you mean \"replicas\"?\n"
		"web.yaml:5:17: \"port\" must be a whole number from 1 to 65535, not \"0\"");
}

Test(manifest, a_number_out_of_reach_is_refused_whatever_its_form)
{
	static const char *const bad[] = {"9223372036854775808",
					  "18446744073709551616",
					  "1e400",
					  "-1",
					  "0x10",
					  "010x",
					  "1.5",
					  " ",
					  "\"\"",
					  "~",
					  "[]",
					  "{}",
					  "true",
					  "9007199254740992",
					  "+1",
					  "1_000",
					  "99999999999999999999999999999999999999"};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autofree char *text = g_strdup_printf(
			"dnode: v1\nservice: web\nstate: removed\nepoch: %s\n", bad[i]);
		g_autofree char *said = refusal(text, strlen(text));

		cr_assert(ne(ptr, strstr(said, "\"epoch\""), NULL), "%s: %s", bad[i], said);
	}
}

Test(manifest, a_name_that_means_something_to_a_shell_or_a_path_is_refused)
{
	static const char *const bad[] = {"../x", "-rf",       "a/b", ".",    "\"a b\"",
					  "Web",  "\"a\\nb\"", "a$b", "\"\"", "web-"};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autofree char *text = g_strdup_printf(
			"dnode: v1\nservice: %s\nstate: removed\nepoch: 1\n", bad[i]);
		g_autofree char *said = refusal(text, strlen(text));

		cr_assert(g_str_has_prefix(said, "web.yaml:2:10: \"service\" "), "%s", said);
	}
}

Test(manifest, a_probe_path_cannot_add_lines_to_the_request)
{
	refused_with(MINIMAL "listen: [{port: 80}]\nhealth: {http: \"/ HTTP/1.1\\r\\nX: y\"}\n",
		     "web.yaml:7:16: \"http\" must be the path of a URL such as /healthz, not "
		     "\"/ HTTP/1.1\\x0d\\x0aX: y\"");
}

Test(manifest, a_value_of_the_future_is_refused_by_its_name)
{
	static const char *const reserved[][2] = {
		{"dns: [192.0.2.1]", "dns"},
		{"volumes: [{name: a}]", "volumes"},
		{"grants: [{capability: NET_BIND_SERVICE}]", "grants"},
		{"secrets: [a]", "secrets"},
		{"isolation: vm", "isolation"},
		{"max_age: 24h", "max_age"},
		{"listen: [{port: 1, affinity: client}]", "affinity"},
		{"drift: {listen: observe}", "listen"},
		{"roll: {canary: 1}", "canary"},
		{"roll: {judge: 10s}", "judge"},
		{"lease: {ttl: 10s}", "ttl"},
		{"lease: {on_expiry: stop}", "on_expiry"},
		{"placement: {require: {zone: a}}", "require"},
		{"placement: {avoid: {zone: a}}", "avoid"},
		{"evidence: {memory: true}", "memory"},
		{"evidence: {packets: 16MiB}", "packets"},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(reserved); i++) {
		g_autofree char *text = g_strconcat(MINIMAL, reserved[i][0], "\n", NULL);
		g_autofree char *wanted =
			g_strdup_printf("\"%s\" is reserved and not available yet", reserved[i][1]);
		g_autofree char *said = refusal(text, strlen(text));

		cr_assert(ne(ptr, strstr(said, wanted), NULL), "%s", said);
		cr_assert(eq(ptr, strchr(said, '\n'), NULL), "more than one fault: %s", said);
	}
}

Test(manifest, a_value_of_the_future_that_changes_nothing_is_taken)
{
	g_autoptr(DnManifest) manifest =
		parse(MINIMAL "dns: []\nvolumes: []\ngrants: []\nsecrets: []\n"
			      "isolation: container\nmax_age: 0s\n"
			      "lease: {ttl: 30000ms, on_expiry: keep}\n"
			      "evidence: {memory: false, packets: 0}\n");

	cr_assert(eq(u64, manifest->epoch, 7));
}

static const char *fallback_of(const DnField *table, const char *prefix, const void *defaults)
{
	for (; table->key != NULL; table++) {
		if (table->kind == DN_FIELD_MAP) {
			const char *below = fallback_of(table->fields, table->key, defaults);

			if (below != NULL)
				return below;
			continue;
		}
		g_autofree char *printed = dn_field_print(table, defaults);
		if (table->fallback != NULL && g_strcmp0(printed, table->fallback) != 0)
			return table->key;
	}
	return NULL;
}

Test(manifest, the_defaults_of_the_table_are_those_of_the_model)
{
	g_autoptr(DnManifest) defaults = dn_manifest_new();
	const char *wrong = fallback_of(dn_manifest_fields(), "", defaults);

	cr_assert(eq(ptr, (void *)wrong, NULL), "%s", wrong);
}

Test(manifest, thousands_of_unknown_keys_cost_no_more_than_reading_them, .timeout = 5)
{
	g_autoptr(GString) text = g_string_new(NULL);

	for (int i = 0; i < 4900; i++)
		g_string_append_printf(text, "replica%d: {}\n", i);
	g_autofree char *said = refusal(text->str, text->len);
	cr_assert(g_str_has_suffix(said, "\nweb.yaml: 4855 more errors are not shown"), "%s", said);
}
