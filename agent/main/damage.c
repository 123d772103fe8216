/* SPDX-License-Identifier: Apache-2.0 */
#include "main/damage.h"
#include "main/image.h"
#include "main/repair.h"

#include <string.h>

#include "base/error.h"
#include "base/text.h"

enum {
	STEP_MS = 1000,
	TOLD = 4, /* paths an event names */
	AGAIN_MS = 60000,
};

struct Damage {
	DnImageGuard *guard; /* owned */
	GThread *thread;     /* owned */
	gint stopping;       /* atomic */
	DnRepairs *repairs;  /* owned */
	GMutex lock;
	GHashTable *counts; /* owned; commit → times it was found changed, under lock */
	GHashTable *owed;   /* owned; set of commits whose objects are still lost; main's */
	GSource *again;     /* owned */
};

/* ---- any thread ---- */

void dn_damage_guard(Agent *agent, const char *commit)
{
	g_autoptr(GError) error = NULL;

	if (agent->damage == NULL || dn_image_guard_add_now(agent->damage->guard, commit, &error))
		return;
	g_warning("image %.12s is not guarded: %s", commit, error->message);
}

void dn_damage_restored(Agent *agent, const char *commit)
{
	/* One that could not be guarded before can be now. */
	if (agent->damage != NULL && !dn_image_guard_restored(agent->damage->guard, commit))
		dn_damage_guard(agent, commit);
}

void dn_damage_wait(Agent *agent, const char *commit)
{
	if (agent->damage != NULL)
		dn_repairs_wait(agent->damage->repairs, commit);
}

unsigned dn_damage_count(Agent *agent, const char *commit)
{
	struct Damage *self = agent->damage;

	if (self == NULL)
		return 0;
	g_mutex_lock(&self->lock);
	unsigned count = GPOINTER_TO_UINT(g_hash_table_lookup(self->counts, commit));
	g_mutex_unlock(&self->lock);
	return count;
}

/* What goes to main: damages of one commit or more. */
typedef struct {
	Agent *agent;
	GPtrArray *damages;
} Post;

static void post_free(gpointer data)
{
	Post *post = data;

	g_ptr_array_unref(post->damages);
	g_free(post);
}

static gboolean on_posted(gpointer data);

static void post(Agent *agent, GPtrArray *damages)
{
	Post *post = g_new0(Post, 1);

	post->agent = agent;
	post->damages = g_ptr_array_ref(damages);
	/* Never here and now, as an invocation would do while nobody runs the main loop yet. */
	g_autoptr(GSource) source = g_idle_source_new();
	g_source_set_priority(source, G_PRIORITY_HIGH);
	g_source_set_callback(source, on_posted, post, post_free);
	(void)g_source_attach(source, NULL);
}

static gpointer guard_thread(gpointer data)
{
	Agent *agent = data;
	struct Damage *self = agent->damage;

	while (g_atomic_int_get(&self->stopping) == 0) {
		g_autoptr(GPtrArray) damages = dn_damages_new();

		dn_image_guard_step_now(self->guard, STEP_MS, damages);
		if (damages->len > 0)
			post(agent, damages);
	}
	return NULL;
}

bool dn_damage_verify_now(Agent *agent, const char *commit, GError **error)
{
	g_autoptr(GPtrArray) damages = dn_damages_new();
	DnImageCheck what = {.commit = commit};
	guint before = 0, placed = 0;

	(void)dn_image_store_has(agent->store, commit, &before);
	if (!dn_image_store_verify_files_now(agent->store, &what, damages, NULL, error))
		return false;
	if (damages->len == 0)
		return true;
	const DnDamage *first = g_ptr_array_index(damages, 0);
	g_autofree char *shown = dn_text_printable(first->path, strlen(first->path));
	g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
		    "image %.12s is no longer as signed: /%s (%s); it is being repaired", commit,
		    shown, dn_damage_name(first->kind));
	/* Of a checkout that was set aside meanwhile, nobody is to be cut who runs on the next. */
	if (dn_image_store_has(agent->store, commit, &placed) && placed == before)
		post(agent, damages);
	return false;
}

typedef struct {
	Agent *agent;
	char *commit;
} Verify;

static void verify_free(gpointer data)
{
	Verify *job = data;

	g_free(job->commit);
	g_free(job);
}

static void verify_in_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	Verify *job = data;
	g_autoptr(GError) error = NULL;

	if (!dn_damage_verify_now(job->agent, job->commit, &error))
		g_warning("after a promotion: %s", error->message);
	g_task_return_boolean(task, TRUE);
}

void dn_damage_verify_soon(Agent *agent, const char *commit)
{
	g_autoptr(GTask) task = g_task_new(NULL, NULL, NULL, NULL);
	Verify *job = g_new0(Verify, 1);

	job->agent = agent;
	job->commit = g_strdup(commit);
	g_task_set_task_data(task, job, verify_free);
	dn_work_begin(agent, task, verify_in_thread);
}

/* ---- main ---- */

static char *describe(const GPtrArray *damages, const char *commit)
{
	GString *line = g_string_new(NULL);
	unsigned told = 0, more = 0;

	for (guint i = 0; i < damages->len; i++) {
		const DnDamage *damage = g_ptr_array_index(damages, i);

		if (!g_str_equal(damage->commit, commit))
			continue;
		if (told == TOLD) {
			more++;
			continue;
		}
		g_autofree char *shown = dn_text_printable(damage->path, strlen(damage->path));
		g_string_append_printf(line, "%s/%s (%s", told++ > 0 ? ", " : "", shown,
				       dn_damage_name(damage->kind));
		if (damage->writer != 0)
			g_string_append_printf(line, ", last touched by process %d",
					       (int)damage->writer);
		g_string_append_c(line, ')');
	}
	if (more > 0)
		g_string_append_printf(line, " and %u more", more);
	return g_string_free(line, FALSE);
}

/* Does it concern what runs? An object that is lost from the repository alone does not. */
static bool concerns_nodes(const GPtrArray *damages, const char *commit)
{
	for (guint i = 0; i < damages->len; i++) {
		const DnDamage *damage = g_ptr_array_index(damages, i);

		if (damage->kind != DN_DAMAGE_OBJECT && g_str_equal(damage->commit, commit))
			return true;
	}
	return false;
}

static bool has_cache_damage(const GPtrArray *damages, const char *commit)
{
	for (guint i = 0; i < damages->len; i++) {
		const DnDamage *damage = g_ptr_array_index(damages, i);

		if (damage->kind == DN_DAMAGE_CONTENT_CACHE && g_str_equal(damage->commit, commit))
			return true;
	}
	return false;
}

/*
 * How many were cut by it. Standbys first: none of them may take the place of a node that is cut
 * for the same reason.
 */
static unsigned mark_nodes(Agent *agent, const char *commit, const char *what)
{
	static const DnRole order[] = {DN_ROLE_STANDBY, DN_ROLE_ACTIVE};
	unsigned marked = 0;

	for (size_t pass = 0; pass < G_N_ELEMENTS(order); pass++)
		for (unsigned i = 0; i < DN_SLOTS; i++) {
			const Node *node = agent->slots[i];

			if (node == NULL || !node->built || node->cut_taken ||
			    node->role != order[pass] ||
			    g_strcmp0(node->manifest->image_commit, commit) != 0 ||
			    node->manifest->drift[DN_DRIFT_IMAGE] == DN_ANSWER_OBSERVE)
				continue;
			marked +=
				dn_sensor_mark(agent->sensor, node->slot, DN_DRIFT_IMAGE, what, 0);
		}
	dn_reflex_ring(agent->reflex);
	return marked;
}

/* Whoever is being made of it has looked at it too early. */
static void count_up(struct Damage *self, const char *commit)
{
	g_mutex_lock(&self->lock);
	unsigned count = GPOINTER_TO_UINT(g_hash_table_lookup(self->counts, commit));
	g_hash_table_replace(self->counts, g_strdup(commit), GUINT_TO_POINTER(count + 1));
	g_mutex_unlock(&self->lock);
}

static const DnManifest *manifest_of(Agent *agent, const char *commit)
{
	GHashTableIter iter;
	gpointer value = NULL;

	g_hash_table_iter_init(&iter, agent->manifests);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		if (g_strcmp0(((const DnManifest *)value)->image_commit, commit) == 0)
			return value;
	return NULL;
}

/*
 * Whoever runs it is cut, whoever is being made of it does not begin, and whoever comes next asks
 * the store again. How many were cut.
 */
static unsigned cut(Agent *agent, const GPtrArray *damages, const char *commit, const char *line)
{
	if (!concerns_nodes(damages, commit))
		return 0;
	g_autofree char *what = g_strdup_printf("the image is no longer as signed: %s", line);
	count_up(agent->damage, commit);
	dn_image_drop(agent, commit);
	return mark_nodes(agent, commit, what);
}

static void answer(Agent *agent, GPtrArray *damages, const char *commit)
{
	const DnManifest *manifest = manifest_of(agent, commit);
	g_autofree char *line = describe(damages, commit);
	unsigned marked = cut(agent, damages, commit, line);
	bool under_way = dn_repairs_join(agent->damage->repairs, commit, damages);

	/* More of what is being repaired is no news, unless somebody was cut for it. */
	if (manifest == NULL || (under_way && marked == 0))
		return;
	dn_report_event(agent, "critical", "image.damaged", manifest->service, NULL,
			"image %s (%.12s) is no longer as signed: %s", manifest->image_ref, commit,
			line);
	if (has_cache_damage(damages, commit))
		dn_report_suspect(agent,
				  "pages of an image were changed in memory while its disk is as "
				  "signed: the kernel was got past");
	/* The guard says nothing of a checkout that a repair has set aside (image/guard.c). */
	if (!under_way)
		dn_repair_begin(agent, agent->damage->repairs, manifest, damages);
}

/* It ran, if at all, for a moment; but no write of this kernel does that. */
static void tell_undone(Agent *agent, const DnDamage *damage)
{
	g_autofree char *shown = dn_text_printable(damage->path, strlen(damage->path));

	dn_report_event(agent, "critical", "image.page-changed", NULL, NULL,
			"image %.12s: /%s was other in memory than on its disk for a moment; it is "
			"as signed again, and no node is cut for it",
			damage->commit, shown);
}

static gboolean on_posted(gpointer data)
{
	const Post *post = data;
	g_autoptr(GHashTable) commits = g_hash_table_new(g_str_hash, g_str_equal);

	for (guint i = post->damages->len; i-- > 0;) {
		const DnDamage *damage = g_ptr_array_index(post->damages, i);

		if (!damage->undone)
			continue;
		tell_undone(post->agent, damage);
		g_ptr_array_remove_index(post->damages, i);
	}
	for (guint i = 0; i < post->damages->len; i++) {
		const DnDamage *damage = g_ptr_array_index(post->damages, i);

		if (g_hash_table_add(commits, damage->commit))
			answer(post->agent, post->damages, damage->commit);
	}
	return G_SOURCE_REMOVE;
}

void dn_damage_try_again(Agent *agent)
{
	struct Damage *self = agent->damage;
	g_autoptr(GPtrArray) lost = dn_damages_new();
	GHashTableIter iter;
	gpointer commit = NULL;

	if (self == NULL)
		return;
	dn_source_clear(&self->again);
	g_hash_table_iter_init(&iter, self->owed);
	while (g_hash_table_iter_next(&iter, &commit, NULL)) {
		if (!dn_image_guard_restored(self->guard, commit))
			dn_damages_add(lost, commit, "repo", DN_DAMAGE_OBJECT);
		g_hash_table_iter_remove(&iter);
	}
	if (lost->len > 0)
		post(agent, lost);
}

static gboolean on_again(gpointer data)
{
	dn_damage_try_again(data);
	return G_SOURCE_REMOVE;
}

void dn_damage_owe(Agent *agent, const char *commit)
{
	struct Damage *self = agent->damage;

	if (self == NULL)
		return;
	(void)g_hash_table_add(self->owed, g_strdup(commit));
	if (self->again != NULL)
		return;
	self->again = g_timeout_source_new(AGAIN_MS);
	g_source_set_callback(self->again, on_again, agent, NULL);
	(void)g_source_attach(self->again, NULL);
}

static bool has_commit(const GPtrArray *damages, const char *commit)
{
	for (guint i = 0; i < damages->len; i++)
		if (g_str_equal(((const DnDamage *)damages->pdata[i])->commit, commit))
			return true;
	return false;
}

/* Its checkout is there, and what would say whether it is as signed is not. */
static bool is_lost(Agent *agent, const char *commit, const GError *error)
{
	g_autofree char *path = dn_image_store_checkout(agent->store, commit);

	return g_error_matches(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND) &&
	       g_file_test(path, G_FILE_TEST_IS_DIR);
}

/* Nodes that were taken over run on images that nobody has looked at since. */
static void guard_adopted(Agent *agent)
{
	g_autoptr(GPtrArray) damages = dn_damages_new();

	for (unsigned i = 0; i < DN_SLOTS; i++) {
		const Node *node = agent->slots[i];
		g_autoptr(GError) error = NULL;

		if (node == NULL || node->manifest->image_commit == NULL || node->cut_taken)
			continue;
		const char *commit = node->manifest->image_commit;
		if (dn_image_guard_add_now(agent->damage->guard, commit, &error))
			continue;
		g_warning("image %.12s is not guarded: %s", commit, error->message);
		if (g_error_matches(error, DN_ERROR, DN_ERROR_UNTRUSTED))
			dn_damages_add(damages, commit, "", DN_DAMAGE_CONTENT_DISK);
		else if (is_lost(agent, commit, error) && !has_commit(damages, commit))
			dn_damages_add(damages, commit, "repo", DN_DAMAGE_OBJECT);
	}
	if (damages->len > 0)
		post(agent, damages);
}

bool dn_damage_start(Agent *agent, GError **error)
{
	struct Damage *self = g_new0(struct Damage, 1);

	g_mutex_init(&self->lock);
	self->repairs = dn_repairs_new();
	self->counts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	self->owed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	agent->damage = self;
	self->guard = dn_image_guard_new(agent->store, &dn_image_guard_rates, error);
	if (self->guard == NULL)
		return false;
	guard_adopted(agent);
	self->thread = g_thread_try_new("images", guard_thread, agent, error);
	return self->thread != NULL;
}

void dn_damage_stop(Agent *agent)
{
	struct Damage *self = g_steal_pointer(&agent->damage);

	if (self == NULL)
		return;
	g_atomic_int_set(&self->stopping, 1);
	if (self->thread != NULL) {
		dn_image_guard_wake(self->guard);
		(void)g_thread_join(self->thread);
	}
	dn_image_guard_free(self->guard);
	dn_repairs_free(self->repairs);
	g_hash_table_unref(self->counts);
	g_hash_table_unref(self->owed);
	dn_source_clear(&self->again);
	g_mutex_clear(&self->lock);
	g_free(self);
}
