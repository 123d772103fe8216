/* SPDX-License-Identifier: Apache-2.0 */

/* Images through the API: the repository blocks, so every request gets a thread of the pool. */

#include "base/clock.h"
#include "main/internal.h"
#include "wire/json.h"

typedef struct Job Job;
struct Job {
	DnRepo *repo; /* borrowed: the supervisor waits for its jobs */
	bool (*work)(Job *job, GError **error);
	char **objects;
	char *name, *commit;
	GBytes *bytes;
	JsonObject *document; /* the outcome */
};

static void free_job(gpointer data)
{
	Job *job = data;

	g_strfreev(job->objects);
	g_free(job->name);
	g_free(job->commit);
	g_clear_pointer(&job->bytes, g_bytes_unref);
	g_clear_pointer(&job->document, json_object_unref);
	g_free(job);
}

static void run(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	Job *job = data;
	GError *error = NULL;

	if (job->work(job, &error))
		g_task_return_boolean(task, TRUE);
	else
		g_task_return_error(task, error);
}

typedef struct {
	DnSupervisor *supervisor;
	DnApiReply *reply;
} Waiting;

static bool publish(Job *job, GError **error)
{
	if (!dn_repo_publish_now(job->repo, job->name, job->commit, job->bytes, error))
		return false;
	job->document = json_object_new();
	dn_json_set_string(job->document, "ref", job->name);
	dn_json_set_string(job->document, "commit", job->commit);
	return true;
}

static void tell_published(DnSupervisor *self, const Job *job)
{
	g_autoptr(DnActs) acts = dn_acts_new();

	dn_acts_event(acts, dn_clock_realtime_ns(), "image.published", "info", "%s is %.12s",
		      job->name, job->commit);
	dn_supervisor_carry_out(self, acts);
}

static void on_done(GObject *source, GAsyncResult *result, gpointer data)
{
	Waiting *waiting = data;
	Job *job = g_task_get_task_data(G_TASK(result));
	g_autoptr(GError) error = NULL;

	waiting->supervisor->imaging--;
	if (!g_task_propagate_boolean(G_TASK(result), &error)) {
		dn_api_reply_error(waiting->reply, error);
	} else if (job->work == publish) {
		tell_published(waiting->supervisor, job);
		dn_supervisor_reply_after(waiting->supervisor, waiting->reply,
					  g_steal_pointer(&job->document));
	} else {
		dn_api_reply(waiting->reply, g_steal_pointer(&job->document));
	}
	g_free(waiting);
}

/* Takes @job. */
static void start(DnSupervisor *self, Job *job, DnApiReply *reply)
{
	g_autoptr(GError) error = NULL;
	Waiting *waiting = NULL;

	if (!dn_supervisor_may_begin(self, &error)) {
		free_job(job);
		dn_api_reply_error(reply, error);
		return;
	}
	waiting = g_new0(Waiting, 1);
	waiting->supervisor = self;
	waiting->reply = reply;
	job->repo = self->repo;
	self->imaging++;
	g_autoptr(GTask) task = g_task_new(NULL, NULL, on_done, waiting);
	g_task_set_task_data(task, job, free_job);
	g_task_run_in_thread(task, run);
}

/* Answers for itself when nothing can be changed now. */
static bool may_change(DnSupervisor *self, DnApiReply *reply)
{
	g_autoptr(GError) error = NULL;

	if (dn_supervisor_may_change(self, &error))
		return true;
	dn_api_reply_error(reply, error);
	return false;
}

static Job *job_new(bool (*work)(Job *job, GError **error))
{
	Job *job = g_new0(Job, 1);

	job->work = work;
	return job;
}

/* ---- the requests ---- */

static bool list(Job *job, GError **error)
{
	g_autoptr(GPtrArray) images = dn_repo_list_now(job->repo, error);

	if (images == NULL)
		return false;
	JsonArray *array = json_array_new();
	for (guint i = 0; i < images->len; i++) {
		const DnImageInfo *image = g_ptr_array_index(images, i);
		JsonObject *object = json_object_new();

		dn_json_set_string(object, "ref", image->ref);
		dn_json_set_string(object, "commit", image->commit);
		json_object_set_int_member(object, "size_bytes", (gint64)image->size_bytes);
		json_object_set_int_member(object, "files", (gint64)image->files);
		dn_json_set_time(object, "created", image->created_ns);
		json_array_add_object_element(array, object);
	}
	job->document = json_object_new();
	json_object_set_array_member(job->document, "images", array);
	return true;
}

void dn_images_list(DnApiReply *reply, void *data)
{
	start(data, job_new(list), reply);
}

static bool find_missing(Job *job, GError **error)
{
	g_auto(GStrv) missing =
		dn_repo_missing_now(job->repo, (const char *const *)job->objects, error);

	if (missing == NULL)
		return false;
	JsonArray *array = json_array_new();
	for (char **object = missing; *object != NULL; object++)
		json_array_add_string_element(array, *object);
	job->document = json_object_new();
	json_object_set_array_member(job->document, "missing", array);
	return true;
}

void dn_images_missing(GPtrArray *objects, DnApiReply *reply, void *data)
{
	Job *job = job_new(find_missing);

	job->objects = g_new0(char *, objects->len + 1);
	for (guint i = 0; i < objects->len; i++)
		job->objects[i] = g_strdup(g_ptr_array_index(objects, i));
	start(data, job, reply);
}

static bool store(Job *job, GError **error)
{
	if (!dn_repo_store_now(job->repo, job->name, job->bytes, error))
		return false;
	job->document = json_object_new();
	json_object_set_boolean_member(job->document, "stored", TRUE);
	return true;
}

void dn_images_object(const char *name, int fd, DnApiReply *reply, void *data)
{
	g_autoptr(GError) error = NULL;

	if (!may_change(data, reply))
		return;
	/* Nobody else has this file, so it cannot shrink under the mapping. */
	g_autoptr(GMappedFile) file = g_mapped_file_new_from_fd(fd, FALSE, &error);

	if (file == NULL) {
		dn_api_reply_error(reply, error);
		return;
	}
	Job *job = job_new(store);
	job->name = g_strdup(name);
	job->bytes = g_mapped_file_get_bytes(file);
	start(data, job, reply);
}

void dn_images_set(const char *ref, const char *commit, GBytes *metadata, DnApiReply *reply,
		   void *data)
{
	if (!may_change(data, reply))
		return;
	Job *job = job_new(publish);
	job->name = g_strdup(ref);
	job->commit = g_strdup(commit);
	job->bytes = g_bytes_ref(metadata);
	start(data, job, reply);
}
