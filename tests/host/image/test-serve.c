/* SPDX-License-Identifier: Apache-2.0 */

/* The supervisor's side: what its repository takes and what its HTTP server gives. */

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "image/objects.h"
#include "image/sign.h"
#include "repo/repo.h"
#include "repo/server.h"
#include "support/suite.h"
#include "yard.h"

static Yard yard;

static void setup(void)
{
	yard_open(&yard);
	yard_image(&yard, yard.release);
}

static void teardown(void)
{
	yard_close(&yard);
	dn_suite_end();
}

TestSuite(serve, .init = setup, .fini = teardown);

/* The first line of the answer to "@method @path". */
static char *ask(const char *method, const char *path)
{
	const char *colon = strrchr(yard.url, ':');
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)atoi(colon + 1))};
	dn_autofd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	g_autofree char *request = g_strdup_printf(
		"%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", method, path);
	GString *answer = g_string_new(NULL);
	char part[4096];
	ssize_t got;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert(eq(int, connect(fd, (struct sockaddr *)&to, sizeof(to)), 0));
	cr_assert(
		eq(sz, (size_t)send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request)));
	while ((got = recv(fd, part, sizeof(part), 0)) > 0)
		g_string_append_len(answer, part, got);
	return g_string_free(answer, FALSE);
}

static void expect(const char *method, const char *path, const char *status)
{
	g_autofree char *answer = ask(method, path);

	cr_assert(g_str_has_prefix(answer, status), "%s %s: %.200s", method, path, answer);
}

Test(serve, only_files_of_the_repository_are_served)
{
	static const char *const hidden[] = {
		"/repo/",
		"/repo",
		"/",
		"/repo/objects/",
		"/repo/objects/00",
		"/repo/tmp/",
		"/repo/.lock",
		"/repo/refs/heads/",
		"/repo/refs/heads/apps",
		"/repo/refs/heads/../../../../etc/passwd",
		"/repo/refs/heads/..%2f..%2fconfig",
		"/repo/%2e%2e/%2e%2e/etc/passwd",
		"/repo//config",
		"/repo/config/",
		"/repo/config%00",
		"/etc/passwd",
	};

	expect("GET", "/repo/config", "HTTP/1.1 200 ");
	expect("GET", "/repo/refs/heads/apps/test", "HTTP/1.1 200 ");
	for (size_t i = 0; i < G_N_ELEMENTS(hidden); i++) {
		g_autofree char *answer = ask("GET", hidden[i]);

		cr_assert(eq(ptr, strstr(answer, "[core]"), NULL), "%s", hidden[i]);
		cr_assert(not(g_str_has_prefix(answer, "HTTP/1.1 200 ")), "%s: %s", hidden[i],
			  answer);
	}
}

Test(serve, a_link_in_the_repository_is_not_followed)
{
	g_autofree char *hex = g_strnfill(62, 'a');
	g_autofree char *name = g_strdup_printf("objects/aa/%s.filez", hex);
	g_autofree char *path = yard_on_server(&yard, name);
	g_autofree char *parent = g_path_get_dirname(path);
	g_autofree char *asked = g_strconcat("/repo/", name, NULL);

	cr_assert(dn_file_make_directory(parent, 0755, NULL));
	cr_assert(eq(int, symlink("/etc/passwd", path), 0));
	expect("GET", asked, "HTTP/1.1 404 ");
}

Test(serve, nothing_can_be_written_and_head_has_the_length)
{
	static const char *const methods[] = {"POST", "PUT", "DELETE", "OPTIONS"};
	g_autofree char *head = ask("HEAD", "/repo/config");

	for (size_t i = 0; i < G_N_ELEMENTS(methods); i++)
		expect(methods[i], "/repo/config", "HTTP/1.1 405 ");
	cr_assert(ne(ptr, strstr(head, "Content-Length: "), NULL), "%s", head);
	cr_assert(g_str_has_suffix(head, "\r\n\r\n"), "%s", head);
}

/* Send every object of the image but @but to @repo, as `image push` does. */
static void push(DnRepo *repo, const char *but)
{
	g_autoptr(DnImageRepo) from = workshop_repo(&yard.shop);
	g_autoptr(GPtrArray) names = dn_image_objects_now(from, yard.commit, NULL);

	g_ptr_array_add(names, NULL);
	g_auto(GStrv) missing = dn_repo_missing_now(repo, (const char *const *)names->pdata, NULL);
	for (size_t i = 0; missing[i] != NULL; i++) {
		g_autoptr(GBytes) bytes = dn_image_object_read_now(from, missing[i], NULL);

		if (but == NULL || !g_str_has_suffix(missing[i], but))
			cr_assert(dn_repo_store_now(repo, missing[i], bytes, NULL));
	}
}

static GBytes *metadata_of(void)
{
	g_autoptr(DnImageRepo) from = workshop_repo(&yard.shop);

	return dn_image_metadata_now(from, yard.commit, NULL);
}

static DnRepo *open_empty(void)
{
	g_autofree char *path = g_build_filename(yard.shop.directory, "supervisor", NULL);
	DnRepo *repo = dn_repo_new(path, yard.trust, NULL);

	cr_assert(ne(ptr, repo, NULL));
	return repo;
}

static void refuse_publish(DnRepo *repo, const char *ref, GBytes *metadata, DnErrorCode code)
{
	g_autoptr(GError) error = NULL;

	cr_assert(not(dn_repo_publish_now(repo, ref, yard.commit, metadata, &error)));
	cr_assert(g_error_matches(error, DN_ERROR, (int)code), "%s", error->message);
	g_autoptr(GPtrArray) images = dn_repo_list_now(repo, NULL);
	cr_assert(eq(u32, images->len, 0));
}

Test(serve, a_pushed_image_is_published_listed_and_runs_on_a_host)
{
	g_autoptr(DnRepo) repo = open_empty();
	g_autoptr(GBytes) metadata = metadata_of();
	g_autoptr(GError) error = NULL;
	DnRun run = {0};

	push(repo, NULL);
	cr_assert(dn_repo_publish_now(repo, "apps/test", yard.commit, metadata, &error), "%s",
		  error->message);
	g_autoptr(GPtrArray) images = dn_repo_list_now(repo, NULL);
	cr_assert(eq(u32, images->len, 1));
	cr_assert(dn_repo_defaults_now(repo, yard.commit, &run, NULL, NULL));
	dn_run_clear(&run);
	g_autofree char *pushed = g_build_filename(yard.shop.directory, "supervisor", NULL);
	yard_serve(&yard, pushed);
	yard_ensure(&yard);
}

Test(serve, an_incomplete_image_is_not_published)
{
	static const char *const kinds[] = {".commit", ".dirtree", ".dirmeta", ".file"};
	g_autoptr(DnRepo) repo = open_empty();
	g_autoptr(GBytes) metadata = metadata_of();

	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
		g_autofree char *path = g_build_filename(yard.shop.directory, "supervisor", NULL);

		push(repo, kinds[i]);
		refuse_publish(repo, "apps/test", metadata, DN_ERROR_CONFLICT);
		g_clear_pointer(&repo, dn_repo_free);
		cr_assert(dn_file_remove_tree(path, NULL));
		repo = open_empty();
	}
}

Test(serve, an_image_that_nobody_trusted_signed_for_that_ref_is_not_published)
{
	g_autoptr(DnRepo) repo = open_empty();
	g_autoptr(GBytes) metadata = metadata_of();
	g_autoptr(GBytes) nothing = g_bytes_new_static("", 0);

	push(repo, NULL);
	refuse_publish(repo, "apps/other", metadata, DN_ERROR_UNTRUSTED);
	refuse_publish(repo, "tools/test", metadata, DN_ERROR_UNTRUSTED);
	refuse_publish(repo, "../config", metadata, DN_ERROR_INVALID);
	refuse_publish(repo, "apps/test", nothing, DN_ERROR_UNTRUSTED);
}
