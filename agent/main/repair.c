/* SPDX-License-Identifier: Apache-2.0 */
#include "main/repair.h"

#include "image/repair.h"
#include "main/damage.h"

struct DnRepairs {
	GMutex lock;
	GCond ended;
	/* Owned; under lock. Commits under way → GPtrArray of DnDamage, owned: found meanwhile. */
	GHashTable *commits;
};

static void free_damages(gpointer damages)
{
	g_ptr_array_unref(damages);
}

DnRepairs *dn_repairs_new(void)
{
	DnRepairs *self = g_new0(DnRepairs, 1);

	g_mutex_init(&self->lock);
	g_cond_init(&self->ended);
	self->commits = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_damages);
	return self;
}

void dn_repairs_free(DnRepairs *self)
{
	if (self == NULL)
		return;
	g_hash_table_unref(self->commits);
	g_cond_clear(&self->ended);
	g_mutex_clear(&self->lock);
	g_free(self);
}

bool dn_repairs_join(DnRepairs *self, const char *commit, const GPtrArray *damages)
{
	g_autoptr(GMutexLocker) locked G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
	GPtrArray *late = g_hash_table_lookup(self->commits, commit);

	if (late != NULL)
		dn_damages_copy(late, damages, commit);
	return late != NULL;
}

void dn_repairs_wait(DnRepairs *self, const char *commit)
{
	g_autoptr(GMutexLocker) locked G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);

	while (g_hash_table_contains(self->commits, commit))
		g_cond_wait(&self->ended, &self->lock);
}

static void note_begin(DnRepairs *self, const char *commit)
{
	g_autoptr(GMutexLocker) locked G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);

	g_hash_table_replace(self->commits, g_strdup(commit), dn_damages_new());
}

/* ---- worker ---- */

typedef enum {
	RESTORED, /* objects alone; the checkout is the same */
	COPIED,   /* from the disk, past the page cache */
	FETCHED,
} Way;

typedef struct {
	Agent *agent;
	DnRepairs *repairs; /* borrowed */
	char *commit, *ref, *url;
	GPtrArray *damages; /* owned */
	Way way;            /* how it was made good at last */
	bool late;          /* more was found, perhaps of what it was made good with */
} Repair;

static void repair_free(gpointer data)
{
	Repair *repair = data;

	g_free(repair->commit);
	g_free(repair->ref);
	g_free(repair->url);
	g_ptr_array_unref(repair->damages);
	g_free(repair);
}

/*
 * False: more was found while objects were put back, which is what it is about now. What is found
 * while a checkout is made anew may be of the one that goes or of the one that comes.
 */
static bool end(Repair *repair)
{
	DnRepairs *repairs = repair->repairs;
	g_autoptr(GMutexLocker) locked G_GNUC_UNUSED = g_mutex_locker_new(&repairs->lock);
	const GPtrArray *late = g_hash_table_lookup(repairs->commits, repair->commit);

	if (repair->way == RESTORED && late->len > 0) {
		g_ptr_array_unref(repair->damages);
		repair->damages = dn_damages_new();
		dn_damages_copy(repair->damages, late, repair->commit);
		g_hash_table_replace(repairs->commits, g_strdup(repair->commit), dn_damages_new());
		return false;
	}
	repair->late = late->len > 0;
	g_hash_table_remove(repairs->commits, repair->commit);
	g_cond_broadcast(&repairs->ended);
	return true;
}

static bool is_all(const GPtrArray *damages, DnDamageKind kind)
{
	for (guint i = 0; i < damages->len; i++)
		if (((const DnDamage *)g_ptr_array_index(damages, i))->kind != kind)
			return false;
	return true;
}

static bool copy_now(const Repair *repair)
{
	g_autoptr(GError) failed = NULL;
	DnImageCopyReport report = {0};

	if (dn_image_store_private_copy_now(repair->agent->store, repair->commit, NULL, &report,
					    &failed))
		return true;
	g_warning("no private copy of image %.12s: %s", repair->commit, failed->message);
	return false;
}

/*
 * What runs is as signed when only objects are lost: nobody is to notice, and nothing that is right
 * is given up for them. Where the disk is right its content is copied, past the page cache, into
 * files that share no page with the old ones; that needs nobody. Otherwise, or when that fails, it
 * is fetched again.
 */
static bool repair_now(Repair *repair, GError **error)
{
	DnImageOrigin origin = {.url = repair->url, .ref = repair->ref, .commit = repair->commit};
	DnImageStore *store = repair->agent->store;

	if (is_all(repair->damages, DN_DAMAGE_OBJECT)) {
		GError *failed = NULL;

		repair->way = RESTORED;
		if (dn_image_store_restore_now(store, &origin, &failed))
			return true;
		/* Known by now, the checkout is right; otherwise it is the checkout that is not. */
		if (dn_image_store_has(store, repair->commit, NULL) ||
		    !g_error_matches(failed, DN_ERROR, DN_ERROR_UNTRUSTED)) {
			g_propagate_error(error, failed);
			return false;
		}
		g_error_free(failed);
	}
	repair->way = COPIED;
	if (is_all(repair->damages, DN_DAMAGE_CONTENT_CACHE) && copy_now(repair))
		return true;
	repair->way = FETCHED;
	return dn_image_store_repair_now(store, &origin, repair->damages, error);
}

/* Before others go on: what is lost after this is found, also where it was lost before. */
static void follow(const Repair *repair)
{
	if (repair->way == RESTORED)
		dn_damage_restored(repair->agent, repair->commit);
	else
		dn_damage_guard(repair->agent, repair->commit);
}

static void repair_in_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	Repair *repair = data;
	GError *error = NULL;
	bool done = false;

	do {
		g_clear_error(&error);
		done = repair_now(repair, &error);
		if (done)
			follow(repair);
	} while (!end(repair));
	if (done)
		g_task_return_boolean(task, TRUE);
	else
		g_task_return_error(task, error);
}

/* ---- main ---- */

static void tell_done(const Repair *repair)
{
	static const char *const how[] = {
		[RESTORED] = "has all its objects in this host's repository again; no node was "
			     "concerned",
		[COPIED] = "was made anew from the disk, past the page cache; new nodes start from "
			   "that",
		[FETCHED] = "was made anew from the supervisor's repository; new nodes start from "
			    "that",
	};

	dn_report_event(repair->agent, "warning", "image.repaired", NULL, NULL,
			"image %s (%.12s) %s", repair->ref, repair->commit, how[repair->way]);
}

static void tell_failed(const Repair *repair, const GError *error)
{
	if (repair->way == RESTORED) {
		dn_report_event(
			repair->agent, "critical", "image.not-repaired", NULL, NULL,
			"objects of image %s (%.12s) are lost from this host's repository and "
			"could not be put back; what runs is as signed, and it is tried again "
			"in a minute: %s",
			repair->ref, repair->commit, error->message);
		dn_damage_owe(repair->agent, repair->commit);
		return;
	}
	dn_report_event(
		repair->agent, "critical", "image.not-repaired", NULL, NULL,
		"image %s (%.12s) could not be made anew, and nothing is started from it on "
		"this host: %s",
		repair->ref, repair->commit, error->message);
	dn_report_suspect(repair->agent, "an image was changed and could not be repaired");
}

static void on_repaired(GObject *source, GAsyncResult *result, gpointer data)
{
	const Repair *repair = g_task_get_task_data(G_TASK(result));
	Agent *agent = repair->agent;
	g_autoptr(GError) error = NULL;

	if (g_task_propagate_boolean(G_TASK(result), &error)) {
		tell_done(repair);
		if (repair->late)
			dn_damage_verify_soon(agent, repair->commit);
	} else {
		tell_failed(repair, error);
	}
	dn_agent_settle(agent);
}

void dn_repair_begin(Agent *agent, DnRepairs *repairs, const DnManifest *manifest,
		     const GPtrArray *damages)
{
	g_autoptr(GTask) task = g_task_new(NULL, NULL, on_repaired, NULL);
	Repair *repair = g_new0(Repair, 1);

	repair->agent = agent;
	repair->repairs = repairs;
	repair->commit = g_strdup(manifest->image_commit);
	repair->ref = g_strdup(manifest->image_ref);
	repair->url = g_strdup(agent->repo);
	repair->damages = dn_damages_new();
	dn_damages_copy(repair->damages, damages, repair->commit);
	/* Before anybody may start a node of it: whoever builds one waits from here on. */
	note_begin(repairs, repair->commit);
	g_task_set_task_data(task, repair, repair_free);
	dn_work_begin(agent, task, repair_in_thread);
}
