/* SPDX-License-Identifier: Apache-2.0 */
#include "main/image.h"
#include "main/agent.h"

/*
 * What main knows of an image once a node of it was built: its set in the sensor's allow map
 * (core/image-table.h), and the defaults that its commit gives. A second node of it then asks
 * neither disk nor store, where another image may be on its way for minutes.
 */

/* The allow set of a commit under what the manifest says of its programs. */
static char *key_of(const DnManifest *manifest)
{
	g_autofree char *paths = manifest->run.may_exec != NULL
					 ? g_strjoinv("\n", manifest->run.may_exec)
					 : g_strdup("");

	char *const *args = manifest->run.args;
	bool has_argument = args != NULL && args[0] != NULL && args[1] != NULL;

	return g_strdup_printf("%s\n%s\n%s\n%s", manifest->image_commit,
			       args != NULL ? args[0] : "", has_argument ? args[1] : "", paths);
}

DnImageSet dn_image_take(Agent *agent, const DnManifest *manifest, DnRun *defaults)
{
	g_autofree char *key = key_of(manifest);
	guint placed = 0;
	bool there = dn_image_store_has(agent->store, manifest->image_commit, &placed);
	DnImageSet set = dn_image_table_take(agent->images, key, there ? &placed : NULL, defaults);

	dn_image_tidy(agent);
	return set;
}

void dn_image_remember(Agent *agent, const DnManifest *manifest, const DnImageSet *set,
		       const DnRun *defaults)
{
	g_autofree char *key = key_of(manifest);

	dn_image_table_remember(agent->images, key, set, defaults);
}

void dn_image_adopt(Agent *agent, const Node *node, bool in_place, const DnRun *defaults)
{
	g_autofree char *key = in_place ? key_of(node->manifest) : NULL;
	DnImageSet set = {.number = node->image};

	if (in_place)
		(void)dn_image_store_has(agent->store, node->manifest->image_commit, &set.placed);
	dn_image_table_adopt(agent->images, key, &set, defaults);
}

void dn_image_drop(Agent *agent, const char *commit)
{
	dn_image_table_drop(agent->images, commit);
	dn_image_tidy(agent);
}

/* ---- what the sensor knows ---- */

typedef struct {
	Agent *agent;
	uint32_t number;
} Forget;

static void forget_in_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	const Forget *forget = data;
	g_autoptr(GError) error = NULL;

	/* What remains, the next agent sweeps. */
	if (!dn_sensor_forget_image(forget->agent->sensor, forget->number, &error))
		g_warning("programs of image %u: %s", forget->number, error->message);
	g_task_return_boolean(task, TRUE);
}

static bool is_in_use(const Agent *agent, uint32_t number)
{
	for (unsigned i = 0; i < DN_SLOTS; i++)
		if (agent->slots[i] != NULL && agent->slots[i]->image == number)
			return true;
	return false;
}

void dn_image_tidy(Agent *agent)
{
	GArray *dropped = dn_image_table_dropped(agent->images);

	for (guint i = dropped->len; i-- > 0;) {
		uint32_t number = g_array_index(dropped, uint32_t, i);

		if (is_in_use(agent, number))
			continue;
		g_autoptr(GTask) task = g_task_new(NULL, NULL, NULL, NULL);
		Forget *forget = g_new0(Forget, 1);
		*forget = (Forget){.agent = agent, .number = number};
		g_task_set_task_data(task, forget, g_free);
		g_array_remove_index_fast(dropped, i);
		dn_work_begin(agent, task, forget_in_thread);
	}
}

GArray *dn_image_programs_now(Agent *agent, const DnManifest *manifest, const DnRun *defaults,
			      const char *root, GError **error)
{
	char *const *args = manifest->run.args != NULL ? manifest->run.args : defaults->args;
	DnProgramRules rules = {
		.may_exec = manifest->run.may_exec,
		.program = args != NULL ? args[0] : NULL,
		.argument = args != NULL && args[0] != NULL ? args[1] : NULL,
		.jit = manifest->run.jit,
	};
	g_autoptr(GArray) files = dn_image_store_program_files_now(
		agent->store, manifest->image_commit, root, &rules, error);

	if (files == NULL)
		return NULL;
	GArray *programs = g_array_sized_new(FALSE, FALSE, sizeof(DnSensorProgram), files->len);
	for (guint i = 0; i < files->len; i++) {
		const DnProgramFile *file = &g_array_index(files, DnProgramFile, i);
		DnSensorProgram program = {file->dev, file->ino, file->flags};

		g_array_append_val(programs, program);
	}
	return programs;
}

bool dn_image_allow(Agent *agent, uint32_t number, const GArray *programs, GError **error)
{
	return dn_sensor_allow(agent->sensor, number,
			       (const DnSensorProgram *)(const void *)programs->data, programs->len,
			       error);
}
