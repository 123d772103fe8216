/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/record.h"

#include <signal.h>
#include <string.h>

#include "base/file.h"
#include "wire/json.h"

#define FILE_LIMIT (256u << 10)
#define TEXT_LIMIT 4096
#define ITEMS_LIMIT 1024

DnLabRecord *dn_lab_record_new(void)
{
	DnLabRecord *self = g_new0(DnLabRecord, 1);

	self->mounts = g_ptr_array_new_with_free_func(g_free);
	self->enrolled = g_ptr_array_new_with_free_func(g_free);
	return self;
}

void dn_lab_record_free(DnLabRecord *self)
{
	if (self == NULL)
		return;
	g_ptr_array_unref(self->mounts);
	g_ptr_array_unref(self->enrolled);
	g_free(self);
}

bool dn_lab_record_has(const DnLabRecord *self, const char *host)
{
	return g_ptr_array_find_with_equal_func(self->enrolled, host, g_str_equal, NULL);
}

/* The file's object; *@missing instead of an error when there is no file. */
static JsonObject *load(const char *path, bool *missing, GError **error)
{
	*missing = !g_file_test(path, G_FILE_TEST_EXISTS);
	if (*missing)
		return NULL;

	g_autoptr(GBytes) bytes = dn_file_read(path, FILE_LIMIT, error);
	JsonObject *object = bytes != NULL ? dn_json_parse(bytes, FILE_LIMIT, error) : NULL;
	if (object == NULL)
		g_prefix_error(error, "%s: ", path);
	return object;
}

static bool save(const char *path, JsonObject *document, GError **error)
{
	g_autoptr(GBytes) bytes = dn_json_print(document);

	return dn_file_replace(path, bytes, 0644, error);
}

static void read_texts(JsonObject *object, const char *name, GPtrArray *texts, GError **error)
{
	JsonArray *array = dn_json_array(object, name, ITEMS_LIMIT, error);

	for (unsigned i = 0; array != NULL && i < json_array_get_length(array); i++) {
		const char *text = dn_json_string_at(array, i, TEXT_LIMIT, error);
		if (text != NULL)
			g_ptr_array_add(texts, g_strdup(text));
	}
}

static void write_texts(JsonObject *object, const char *name, const char *const *texts,
			unsigned length)
{
	JsonArray *array = json_array_new();

	for (unsigned i = 0; i < length; i++)
		json_array_add_string_element(array, texts[i]);
	json_object_set_array_member(object, name, array);
}

/* A lab writes its record before anything else, and takes it away last. */
static bool is_anothers(const DnLab *lab, const char *path)
{
	g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
	g_autofree char *record = g_path_get_basename(lab->record);
	const char *name = NULL;

	while (directory != NULL && (name = g_dir_read_name(directory)) != NULL)
		if (!g_str_has_prefix(name, record))
			return true;
	return false;
}

static bool check_free(const DnLab *lab, GError **error)
{
	const char *const paths[] = {lab->state_dir, lab->run_dir};

	for (size_t i = 0; i < G_N_ELEMENTS(paths); i++)
		if (is_anothers(lab, paths[i])) {
			g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
				    "%s is there and belongs to no lab: there is no %s; give the "
				    "lab another name with --name, or remove the directory if it "
				    "is left over",
				    paths[i], lab->record);
			return false;
		}
	return true;
}

DnLabRecord *dn_lab_record_load(const DnLab *lab, GError **error)
{
	g_autoptr(DnLabRecord) self = dn_lab_record_new();
	GError *cause = NULL;
	bool missing = false;
	g_autoptr(JsonObject) object = load(lab->record, &missing, error);

	if (object == NULL)
		return missing && check_free(lab, error) ? g_steal_pointer(&self) : NULL;
	self->n_hosts = (unsigned)dn_json_u64(object, "hosts", DN_LAB_HOSTS_LIMIT, &cause);
	read_texts(object, "mounts", self->mounts, &cause);
	read_texts(object, "enrolled", self->enrolled, &cause);
	if (cause != NULL) {
		g_propagate_prefixed_error(error, cause, "%s: ", lab->record);
		return NULL;
	}
	return g_steal_pointer(&self);
}

bool dn_lab_record_save(const DnLab *lab, const DnLabRecord *self, GError **error)
{
	JsonObject *document = dn_json_document();

	json_object_set_string_member(document, "name", lab->name);
	json_object_set_int_member(document, "hosts", self->n_hosts);
	write_texts(document, "mounts", (const char *const *)self->mounts->pdata,
		    self->mounts->len);
	write_texts(document, "enrolled", (const char *const *)self->enrolled->pdata,
		    self->enrolled->len);
	return save(lab->record, document, error);
}

DnLabDaemon *dn_lab_daemon_new(const char *name, const char *netns, const char *const *argv)
{
	DnLabDaemon *self = g_new0(DnLabDaemon, 1);

	self->name = g_strdup(name);
	self->netns = g_strdup(netns);
	self->argv = g_strdupv((char **)argv);
	return self;
}

void dn_lab_daemon_free(DnLabDaemon *self)
{
	if (self == NULL)
		return;
	g_free(self->name);
	g_free(self->netns);
	g_strfreev(self->argv);
	g_free(self);
}

static DnLabDaemon *read_daemon(JsonObject *object, GError **error)
{
	g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free);
	GError *cause = NULL;
	g_autofree char *name = dn_json_string(object, "name", TEXT_LIMIT, &cause);
	g_autofree char *netns = dn_json_string(object, "netns", TEXT_LIMIT, &cause);

	read_texts(object, "argv", argv, &cause);
	if (cause != NULL) {
		g_propagate_error(error, cause);
		return NULL;
	}
	g_ptr_array_add(argv, NULL);
	return dn_lab_daemon_new(name, netns, (const char *const *)argv->pdata);
}

GPtrArray *dn_lab_daemons_load(const DnLab *lab, GError **error)
{
	g_autoptr(GPtrArray) daemons =
		g_ptr_array_new_with_free_func((GDestroyNotify)dn_lab_daemon_free);
	bool missing = false;
	g_autoptr(JsonObject) object = load(lab->daemons, &missing, error);

	if (object == NULL)
		return missing ? g_steal_pointer(&daemons) : NULL;
	JsonArray *array = dn_json_array(object, "daemons", ITEMS_LIMIT, error);
	for (unsigned i = 0; array != NULL && i < json_array_get_length(array); i++) {
		JsonObject *item = dn_json_object_at(array, i, error);
		DnLabDaemon *daemon = item != NULL ? read_daemon(item, error) : NULL;
		if (daemon == NULL)
			return NULL;
		g_ptr_array_add(daemons, daemon);
	}
	return array != NULL ? g_steal_pointer(&daemons) : NULL;
}

bool dn_lab_daemons_save(const DnLab *lab, const GPtrArray *daemons, GError **error)
{
	JsonObject *document = dn_json_document();
	JsonArray *array = json_array_new();

	for (unsigned i = 0; i < daemons->len; i++) {
		const DnLabDaemon *daemon = daemons->pdata[i];
		JsonObject *item = json_object_new();
		json_object_set_string_member(item, "name", daemon->name);
		json_object_set_string_member(item, "netns", daemon->netns);
		write_texts(item, "argv", (const char *const *)daemon->argv,
			    g_strv_length(daemon->argv));
		json_array_add_object_element(array, item);
	}
	json_object_set_array_member(document, "daemons", array);
	return save(lab->daemons, document, error);
}

pid_t dn_lab_pid(const DnLab *lab, const char *name, unsigned *restarts)
{
	g_autoptr(GError) cause = NULL;
	bool missing = false;
	g_autoptr(JsonObject) object = load(lab->pids, &missing, &cause);
	JsonObject *item = object != NULL && json_object_has_member(object, name)
				   ? dn_json_object(object, name, &cause)
				   : NULL;

	if (item == NULL)
		return 0;
	pid_t pid = (pid_t)dn_json_u64(item, "pid", G_MAXINT32, &cause);
	unsigned times = (unsigned)dn_json_u64(item, "restarts", G_MAXUINT32, &cause);
	if (cause != NULL)
		return 0;
	if (restarts != NULL)
		*restarts = times;
	return pid > 0 && kill(pid, 0) == 0 ? pid : 0;
}
