/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"

#include <glib-unix.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"

/*
 * One thread writes what main does not wait for, in the order it was asked to. A file that is
 * written again before its turn has come is written once, with its last content. What could not be
 * written is told of once and tried again with every tick, until it is or something newer was: a
 * disk that was full for a moment must not cost an incident its record, or a budget its charge.
 */

typedef struct {
	char *path, *key;
	GBytes *bytes;
	DnDiskDone done; /* or NULL */
	GError *error;
	uint64_t done_ns;
	bool told;       /* that it failed */
	bool superseded; /* something newer is on disk: not to be tried again */
} Job;

struct Disk {
	Agent *agent;
	GThread *thread;
	int done_fd; /* eventfd: the thread → main */
	GSource *source;
	GQueue failed; /* of Job *: to be tried again; main's alone */

	GMutex lock; /* of everything below */
	GCond changed;
	GQueue waiting;  /* of Job * */
	GQueue finished; /* of Job * */
	bool writing, closing;
};

static void job_free(gpointer data)
{
	Job *job = data;

	g_free(job->path);
	g_free(job->key);
	g_bytes_unref(job->bytes);
	g_clear_error(&job->error);
	g_free(job);
}

/* The next job, or NULL at the end; waits for it. */
static Job *take(Disk *self)
{
	g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);

	while (self->waiting.length == 0 && !self->closing)
		g_cond_wait(&self->changed, &self->lock);
	Job *job = g_queue_pop_head(&self->waiting);
	self->writing = job != NULL;
	return job;
}

static void give_back(Disk *self, Job *job)
{
	g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);

	g_queue_push_tail(&self->finished, job);
	self->writing = false;
	g_cond_broadcast(&self->changed);
}

static gpointer write_jobs(gpointer data)
{
	Disk *self = data;
	Job *job = NULL;

	while ((job = take(self)) != NULL) {
		if (!dn_failpoint("agent.disk.write.before", &job->error) ||
		    !dn_file_replace(job->path, job->bytes, 0600, &job->error) ||
		    !dn_failpoint("agent.disk.write.after", &job->error))
			g_debug("%s", job->error->message);
		job->done_ns = dn_clock_monotonic_ns();
		give_back(self, job);
		(void)eventfd_write(self->done_fd, 1);
	}
	return NULL;
}

static Job *take_finished(Disk *self)
{
	g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);

	return g_queue_pop_head(&self->finished);
}

static Job *find(GQueue *jobs, const char *path)
{
	for (GList *i = jobs->head; i != NULL; i = i->next) {
		Job *job = i->data;

		if (g_str_equal(job->path, path))
			return job;
	}
	return NULL;
}

static void drop_failed(Disk *self, const char *path)
{
	Job *job = find(&self->failed, path);

	if (job == NULL)
		return;
	g_queue_remove(&self->failed, job);
	job_free(job);
}

/* Takes @job, which has failed. */
static void keep(Disk *self, Job *job)
{
	g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);

	if (job->superseded || find(&self->waiting, job->path) != NULL ||
	    find(&self->finished, job->path) != NULL) {
		job_free(job);
		return;
	}
	g_clear_error(&job->error);
	job->told = true;
	drop_failed(self, job->path);
	g_queue_push_tail(&self->failed, job);
}

static gboolean on_done(int fd, GIOCondition condition, gpointer data)
{
	Disk *self = data;
	Job *job = NULL;
	eventfd_t count = 0;

	(void)eventfd_read(fd, &count);
	while ((job = take_finished(self)) != NULL) {
		if (job->done != NULL && (job->error == NULL || !job->told))
			job->done(self->agent, job->key, job->error, job->done_ns);
		if (job->error != NULL)
			keep(self, job);
		else
			job_free(job);
	}
	return G_SOURCE_CONTINUE;
}

bool dn_disk_open(Agent *agent, GError **error)
{
	Disk *self = g_new0(Disk, 1);

	agent->disk = self;
	self->agent = agent;
	g_mutex_init(&self->lock);
	g_cond_init(&self->changed);
	self->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (self->done_fd < 0)
		return dn_throw_errno(error, errno, "eventfd");
	self->source = g_unix_fd_source_new(self->done_fd, G_IO_IN);
	g_source_set_callback(self->source, G_SOURCE_FUNC(on_done), self, NULL);
	g_source_attach(self->source, NULL);
	self->thread = g_thread_try_new("disk", write_jobs, self, error);
	return self->thread != NULL;
}

void dn_disk_close(Agent *agent)
{
	Disk *self = agent->disk;

	if (self == NULL)
		return;
	dn_disk_tick(agent);
	g_mutex_lock(&self->lock);
	self->closing = true;
	g_cond_broadcast(&self->changed);
	g_mutex_unlock(&self->lock);
	if (self->thread != NULL)
		g_thread_join(self->thread);
	g_queue_clear_full(&self->waiting, job_free);
	g_queue_clear_full(&self->finished, job_free);
	g_queue_clear_full(&self->failed, job_free);
	dn_source_clear(&self->source);
	dn_fd_clear(&self->done_fd);
	g_mutex_clear(&self->lock);
	g_cond_clear(&self->changed);
	g_free(self);
	agent->disk = NULL;
}

void dn_disk_write(Agent *agent, const char *path, GBytes *bytes, const char *key, DnDiskDone done)
{
	Disk *self = agent->disk;
	g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
	Job *job = find(&self->waiting, path);

	drop_failed(self, path);
	if (job != NULL) {
		g_bytes_unref(job->bytes);
		job->bytes = g_bytes_ref(bytes);
		return;
	}
	job = g_new0(Job, 1);
	job->path = g_strdup(path);
	job->key = g_strdup(key);
	job->bytes = g_bytes_ref(bytes);
	job->done = done;
	g_queue_push_tail(&self->waiting, job);
	g_cond_broadcast(&self->changed);
}

void dn_disk_tick(Agent *agent)
{
	Disk *self = agent->disk;
	g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);

	while (!g_queue_is_empty(&self->failed))
		g_queue_push_tail(&self->waiting, g_queue_pop_head(&self->failed));
	g_cond_broadcast(&self->changed);
}

void dn_disk_flush(Agent *agent, const char *path)
{
	Disk *self = agent->disk;
	g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);

	while (self->waiting.length > 0 || self->writing)
		g_cond_wait(&self->changed, &self->lock);
	drop_failed(self, path);
	for (GList *i = self->finished.head; i != NULL; i = i->next) {
		Job *job = i->data;

		if (g_str_equal(job->path, path))
			job->superseded = true;
	}
}
