/* SPDX-License-Identifier: Apache-2.0 */

/* The real daemon on a real disk, killed without warning. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "http/client.h"
#include "manifest/cluster-file.h"
#include "manifest/trust-file.h"
#include "seal/digest.h"
#include "seal/keys.h"
#include "seal/minisign.h"
#include "seal/token.h"
#include "seal/trust.h"
#include "support/suite.h"
#include "wire/json.h"

enum { START_MS = 20000, KILLS = 8, EXIT_CONFLICT = 4 };

static char *directory, *config, *state, *run, *target;
static DnSecretKey *deploy;
static pid_t daemon_pid;

/* ---- a cluster directory ---- */

static void put_file(const char *name, GBytes *bytes)
{
	g_autofree char *path = g_build_filename(config, name, NULL);
	g_autoptr(GError) error = NULL;

	cr_assert(dn_file_replace(path, bytes, 0600, &error), "%s", name);
}

static void make_cluster(void)
{
	g_autoptr(DnCluster) cluster = dn_cluster_new();
	g_autoptr(DnSecretKey) identity = dn_secret_key_generate();
	g_autofree char *key_path = g_build_filename(config, "supervisor.key", NULL);
	DnTrustedKey trusted = {.name = (char *)"ann", .role = DN_KEY_DEPLOY};
	g_autoptr(GError) error = NULL;

	g_free(cluster->listen);
	g_free(cluster->repo_listen);
	cluster->id = g_strdup("0123456789abcdef");
	/*
	 * A cluster file names its ports, so nothing free can be asked for. All of 127/8 is this
	 * machine's (RFC 1122, 3.2.1.3): take an address which this process has to itself, and
	 * ports below those that the kernel gives to clients.
	 */
	unsigned own = (unsigned)getpid();
	g_autofree char *address =
		g_strdup_printf("127.%u.%u.%u", own >> 16 & 0xff, own >> 8 & 0xff, own & 0xff);
	cluster->listen = g_strdup_printf("%s:20443", address);
	cluster->repo_listen = g_strdup_printf("%s:20444", address);
	cluster->advertise = g_strdup(cluster->listen);
	g_autoptr(GBytes) text = dn_cluster_file_render(cluster);
	put_file("cluster.yaml", text);
	dn_secret_key_public(deploy, trusted.key);
	g_autoptr(GBytes) nobody = dn_trust_file_new(cluster->id);
	g_autoptr(GBytes) trust =
		dn_trust_file_add_key(nobody, "trust.yaml", &trusted, NULL, &error);
	cr_assert(trust != NULL, "%s", error == NULL ? "" : error->message);
	put_file("trust.yaml", trust);
	cr_assert(dn_secret_key_save(identity, key_path, &error));
}

static void setup(void)
{
	directory = g_dir_make_tmp("dnt-daemon-XXXXXX", NULL);
	config = g_build_filename(directory, "etc", NULL);
	state = g_build_filename(directory, "state", NULL);
	run = g_build_filename(directory, "run", NULL);
	target = g_strdup_printf("unix:%s/supervisor.sock", run);
	deploy = dn_secret_key_generate();
	cr_assert(dn_file_make_directory(config, 0700, NULL));
	make_cluster();
	daemon_pid = -1;
}

/* ---- the daemon ---- */

static pid_t spawn(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		execl(g_getenv("DNODE_SUPERVISOR_EXE"), "dnode-supervisor", "--config", config,
		      "--state", state, "--run", run, NULL);
		_exit(127);
	}
	return pid;
}

static JsonObject *get(const char *path)
{
	g_autoptr(DnHttp) http = dn_http_new(target, NULL);

	return dn_http_get(http, path, NULL);
}

static void start(void)
{
	gint64 end = g_get_monotonic_time() + START_MS * 1000;
	JsonObject *answer = NULL;

	daemon_pid = spawn();
	while ((answer = get("/v1/cluster")) == NULL && g_get_monotonic_time() < end)
		g_usleep(5000);
	cr_assert(answer != NULL, "the daemon does not answer");
	json_object_unref(answer);
}

static int stop(int signal_number)
{
	int status = 0;

	kill(daemon_pid, signal_number);
	waitpid(daemon_pid, &status, 0);
	daemon_pid = -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void teardown(void)
{
	if (daemon_pid > 0)
		stop(SIGKILL);
	cr_assert(dn_file_remove_tree(directory, NULL));
	g_clear_pointer(&directory, g_free);
	g_clear_pointer(&config, g_free);
	g_clear_pointer(&state, g_free);
	g_clear_pointer(&run, g_free);
	g_clear_pointer(&target, g_free);
	g_clear_pointer(&deploy, dn_secret_key_free);
	dn_suite_end();
}

TestSuite(daemon, .init = setup, .fini = teardown);

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
	g_autoptr(DnHttp) http = dn_http_new(target, NULL);
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
	g_autoptr(GBytes) signature = sign(deploy, manifest, service, epoch);
	g_autofree char *line = NULL;
	int code = post(manifest, signature, &line);

	cr_assert(code == 0 || code == DN_ERROR_CONFLICT || code == DN_ERROR_UNAVAILABLE, "%d %s",
		  code, line);
	return code;
}

static gint64 stored_epoch(const char *service)
{
	g_autofree char *path = g_strconcat("/v1/services/", service, NULL);
	JsonObject *answer = get(path);

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
	JsonObject *answer = get(path);
	char *vip = g_strdup(json_object_get_string_member(
		json_object_get_object_member(answer, "service"), "vip"));

	json_object_unref(answer);
	return vip;
}

static gint64 term(void)
{
	JsonObject *answer = get("/v1/cluster");
	gint64 number = json_object_get_int_member(json_object_get_object_member(answer, "cluster"),
						   "term");

	json_object_unref(answer);
	return number;
}

/* ---- the tests ---- */

Test(daemon, it_ends_cleanly_when_it_is_told_to)
{
	start();
	cr_assert(eq(int, apply("web", 1), 0));
	cr_assert(eq(int, stop(SIGTERM), 0));
}

Test(daemon, a_second_one_on_the_same_state_is_refused)
{
	int status = 0;

	start();
	pid_t second = spawn();
	waitpid(second, &status, 0);
	cr_assert(eq(int, WEXITSTATUS(status), EXIT_CONFLICT));
	cr_assert(eq(int, apply("web", 1), 0));
}

Test(daemon, what_was_acknowledged_is_there_after_any_kill)
{
	unsigned acknowledged = 0;
	g_autofree char *vip = NULL;

	start();
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
		stop(SIGKILL);
		start();
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
	g_autoptr(GBytes) as_other = sign(deploy, good, "db", 5);
	g_autoptr(GBytes) signature = sign(deploy, good, "web", 5);
	g_autoptr(GBytes) of_expired = sign(deploy, expired, "web", 5);
	g_autofree char *line = NULL;

	start();
	cr_assert(eq(int, post(good, forged, NULL), DN_ERROR_UNTRUSTED));
	cr_assert(eq(int, post(other, signature, NULL), DN_ERROR_UNTRUSTED));
	cr_assert(eq(int, post(good, as_other, NULL), DN_ERROR_UNTRUSTED));
	cr_assert(eq(int, post(expired, of_expired, NULL), DN_ERROR_UNTRUSTED));
	cr_assert(eq(i64, stored_epoch("web"), 0));

	cr_assert(eq(int, post(good, signature, NULL), 0));
	g_autoptr(GBytes) old = manifest_of("web", 4, "");
	g_autoptr(GBytes) of_old = sign(deploy, old, "web", 4);
	cr_assert(eq(int, post(old, of_old, &line), DN_ERROR_CONFLICT));
	cr_assert(strstr(line, "stored epoch 5") != NULL && strchr(line, '\n') == NULL, "%s", line);
	cr_assert(eq(i64, stored_epoch("web"), 5));
}

static bool holds(GBytes *bytes, const void *wanted, size_t size)
{
	return memmem(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), wanted, size) != NULL;
}

Test(daemon, a_host_token_is_shown_once_and_only_its_hash_is_kept)
{
	g_autoptr(DnHttp) http = dn_http_new(target, NULL);
	JsonObject *body = json_object_new();
	g_autofree char *db = g_build_filename(state, "store.db", NULL);
	g_autofree char *wal = g_build_filename(state, "store.db-wal", NULL);

	start();
	json_object_set_string_member(body, "host", "h1");
	JsonObject *answer = dn_http_post(http, "/v1/hosts/tokens", body, NULL);
	cr_assert(answer != NULL);
	g_autoptr(DnHostToken) token =
		dn_host_token_decode(json_object_get_string_member(answer, "token"), NULL);
	cr_assert(token != NULL);
	cr_assert_str_eq(token->host, "h1");
	stop(SIGKILL);
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
