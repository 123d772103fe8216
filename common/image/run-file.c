/* SPDX-License-Identifier: Apache-2.0 */
#include "image/run-file.h"

#include <string.h>

#include "base/error.h"
#include "base/text.h"

/*
 *     [dnode]
 *     format=1
 *
 *     [run]
 *     args=/bin/httpd;-p;8080;
 *     env=MODE=prod;
 *     cwd=/
 *     user=1000
 *     ports=8080;
 *
 * Every key of [run] may be absent. Escapes are those of key files: \s \n \t \r \\ and \; in lists.
 */

enum {
	FORMAT = 1,
	WORDS_LIMIT = 1024,
	PORTS_LIMIT = 64,
	UID_LIMIT = 65535,
	WHY_BYTES = 200,
};

static bool refuse(GError **error, const char *what)
{
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "run defaults of the image: %s", what);
	return false;
}

static bool is_plain_path(const char *path)
{
	if (path[0] != '/')
		return false;
	if (path[1] == '\0')
		return true;
	g_auto(GStrv) words = g_strsplit(path + 1, "/", -1);
	for (size_t i = 0; words[i] != NULL; i++)
		if (words[i][0] == '\0' || strcmp(words[i], ".") == 0 ||
		    strcmp(words[i], "..") == 0)
			return false;
	return true;
}

static bool check_env(char *const *env, GError **error)
{
	for (size_t i = 0; env != NULL && env[i] != NULL; i++) {
		if (strchr(env[i], '=') == NULL || env[i][0] == '=')
			return refuse(error, "an entry of env is not NAME=VALUE");
		size_t name = strcspn(env[i], "=") + 1;
		if (i > 0 && strncmp(env[i - 1], env[i], name) == 0)
			return refuse(error, "a name is twice in env");
		if (i > 0 && strcmp(env[i - 1], env[i]) >= 0)
			return refuse(error, "env is not sorted");
	}
	return true;
}

static bool check_words(char *const *words, GError **error)
{
	size_t n = words != NULL ? g_strv_length((char **)words) : 0;

	if (words != NULL && n == 0)
		return refuse(error, "an empty list");
	if (n > WORDS_LIMIT)
		return refuse(error, "more than 1024 words");
	for (size_t i = 0; i < n; i++)
		if (!g_utf8_validate(words[i], -1, NULL))
			return refuse(error, "text that is not UTF-8");
	return true;
}

static bool check(const DnRun *run, const GArray *ports, GError **error)
{
	if (!check_words(run->args, error) || !check_words(run->env, error) ||
	    !check_env(run->env, error))
		return false;
	if (run->args != NULL && run->args[0][0] == '\0')
		return refuse(error, "args begins with an empty word");
	if (run->cwd != NULL && (!g_utf8_validate(run->cwd, -1, NULL) || !is_plain_path(run->cwd)))
		return refuse(error, "cwd is not an absolute, plain path");
	if (run->uid < -1 || run->uid > UID_LIMIT)
		return refuse(error, "user is not between 0 and 65535");
	if (ports->len > PORTS_LIMIT)
		return refuse(error, "more than 64 ports");
	for (guint i = 0; i < ports->len; i++)
		if (g_array_index(ports, uint16_t, i) == 0)
			return refuse(error, "port 0");
	return true;
}

/* What is wrong with the order of @env is not the caller's concern when writing. */
static int compare_text(gconstpointer a, gconstpointer b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void set_list(GKeyFile *file, const char *key, char *const *words)
{
	if (words != NULL)
		g_key_file_set_string_list(file, "run", key, (const gchar *const *)words,
					   g_strv_length((char **)words));
}

static GBytes *print(const DnRun *run, const GArray *ports)
{
	g_autoptr(GKeyFile) file = g_key_file_new();
	g_autoptr(GArray) numbers = g_array_new(FALSE, FALSE, sizeof(int));
	gsize length = 0;

	g_key_file_set_integer(file, "dnode", "format", FORMAT);
	set_list(file, "args", run->args);
	set_list(file, "env", run->env);
	if (run->cwd != NULL)
		g_key_file_set_string(file, "run", "cwd", run->cwd);
	if (run->uid >= 0)
		g_key_file_set_int64(file, "run", "user", run->uid);
	for (guint i = 0; i < ports->len; i++) {
		int port = g_array_index(ports, uint16_t, i);
		g_array_append_val(numbers, port);
	}
	if (numbers->len > 0)
		g_key_file_set_integer_list(file, "run", "ports", (gint *)(void *)numbers->data,
					    numbers->len);
	char *text = g_key_file_to_data(file, &length, NULL);
	return g_bytes_new_take(text, length);
}

GBytes *dn_run_file_write(const DnRun *run, const GArray *ports, GError **error)
{
	g_auto(GStrv) env = g_strdupv(run->env);
	DnRun sorted = *run;

	if (env != NULL)
		qsort(env, g_strv_length(env), sizeof(*env), compare_text);
	sorted.env = env;
	if (!check(&sorted, ports, error))
		return NULL;
	g_autoptr(GBytes) text = print(&sorted, ports);
	if (g_bytes_get_size(text) > DN_RUN_FILE_LIMIT) {
		refuse(error, "larger than 64 KiB");
		return NULL;
	}
	return g_steal_pointer(&text);
}

static bool get_list(GKeyFile *file, const char *key, char ***words, GError **error)
{
	if (!g_key_file_has_key(file, "run", key, NULL))
		return true;
	*words = g_key_file_get_string_list(file, "run", key, NULL, error);
	return *words != NULL;
}

static bool get_ports(GKeyFile *file, GArray *ports, GError **error)
{
	gsize n = 0;

	if (!g_key_file_has_key(file, "run", "ports", NULL))
		return true;
	GError *failed = NULL;
	g_autofree gint *numbers = g_key_file_get_integer_list(file, "run", "ports", &n, &failed);
	if (failed != NULL) {
		g_propagate_error(error, failed);
		return false;
	}
	/* No number at all is NULL without an error. */
	if (n == 0)
		return refuse(error, "an empty list of ports");
	for (gsize i = 0; i < n; i++) {
		uint16_t port = (uint16_t)numbers[i];
		if (numbers[i] != port)
			return refuse(error, "a port that is not between 1 and 65535");
		g_array_append_val(ports, port);
	}
	return true;
}

static bool parse(GKeyFile *file, DnRun *run, GArray *ports, GError **error)
{
	GError *failed = NULL;

	if (g_key_file_get_integer(file, "dnode", "format", &failed) != FORMAT) {
		if (failed != NULL)
			g_propagate_error(error, failed);
		else
			refuse(error, "of a format that this version does not know");
		return false;
	}
	if (!get_list(file, "args", &run->args, error) ||
	    !get_list(file, "env", &run->env, error) || !get_ports(file, ports, error))
		return false;
	if (g_key_file_has_key(file, "run", "cwd", NULL)) {
		run->cwd = g_key_file_get_string(file, "run", "cwd", error);
		if (run->cwd == NULL)
			return false;
	}
	if (g_key_file_has_key(file, "run", "user", NULL)) {
		run->uid = g_key_file_get_int64(file, "run", "user", &failed);
		if (failed != NULL) {
			g_propagate_error(error, failed);
			return false;
		}
	}
	return check(run, ports, error);
}

static bool read_into(GBytes *bytes, DnRun *run, GArray *ports, GError **error)
{
	g_autoptr(GKeyFile) file = g_key_file_new();

	if (g_bytes_get_size(bytes) > DN_RUN_FILE_LIMIT)
		return refuse(error, "larger than 64 KiB");
	if (!g_key_file_load_from_bytes(file, bytes, G_KEY_FILE_NONE, error) ||
	    !parse(file, run, ports, error))
		return false;
	g_autoptr(GBytes) again = print(run, ports);
	if (!g_bytes_equal(bytes, again))
		return refuse(error, "not the one text that these values have");
	return true;
}

bool dn_run_file_read(GBytes *bytes, DnRun *run, GArray **ports, GError **error)
{
	g_autoptr(GArray) found = g_array_new(FALSE, FALSE, sizeof(uint16_t));
	DnRun values = {.uid = -1};
	GError *failed = NULL;

	if (!read_into(bytes, &values, found, &failed)) {
		dn_run_clear(&values);
		/* Every fault of the text has one remedy, whichever parser found it. */
		g_autofree char *shown =
			dn_text_printable(failed->message, strnlen(failed->message, WHY_BYTES));
		if (failed->domain == DN_ERROR)
			g_set_error_literal(error, DN_ERROR, DN_ERROR_INVALID, shown);
		else
			refuse(error, shown);
		g_error_free(failed);
		return false;
	}
	*run = values;
	if (ports != NULL)
		*ports = g_steal_pointer(&found);
	return true;
}
