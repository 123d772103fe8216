/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"

/*
 * What main knows of an image once a node of it was built: the number of its set in the sensor's
 * allow map, and the defaults that its commit gives. A second node of it then asks neither disk
 * nor store, where another image may be on its way for minutes.
 */

struct Image {
	uint32_t number;
	DnRun defaults;
};

void dn_image_free(Image *self)
{
	dn_run_clear(&self->defaults);
	g_free(self);
}

/* The allow set of a commit under a list of what it may execute. */
static char *key_of(const DnManifest *manifest)
{
	g_autofree char *paths = manifest->run.may_exec != NULL
					 ? g_strjoinv("\n", manifest->run.may_exec)
					 : g_strdup("");

	return g_strdup_printf("%s\n%s", manifest->image_commit, paths);
}

bool dn_image_find(Agent *agent, const DnManifest *manifest, uint32_t *number, DnRun *defaults)
{
	g_autofree char *key = key_of(manifest);
	const Image *image = g_hash_table_lookup(agent->images, key);

	if (image == NULL) {
		*number = ++agent->next_image;
		return false;
	}
	*number = image->number;
	dn_run_copy(&image->defaults, defaults);
	return true;
}

void dn_image_remember(Agent *agent, const DnManifest *manifest, uint32_t number,
		       const DnRun *defaults)
{
	Image *image = g_new0(Image, 1);

	image->number = number;
	dn_run_copy(defaults, &image->defaults);
	g_hash_table_replace(agent->images, key_of(manifest), image);
	agent->next_image = MAX(agent->next_image, number);
}

bool dn_image_allow(Agent *agent, const DnManifest *manifest, uint32_t number, GError **error)
{
	g_autoptr(GArray) files = dn_image_store_executables_now(
		agent->store, manifest->image_commit, manifest->run.may_exec, error);

	if (files == NULL)
		return false;
	g_autofree struct dn_sensor_file *allowed = g_new0(struct dn_sensor_file, files->len);
	for (guint i = 0; i < files->len; i++) {
		const DnFileIdentity *file = &g_array_index(files, DnFileIdentity, i);

		allowed[i] = (struct dn_sensor_file){
			.dev = file->dev, .ino = file->ino, .image = number};
	}
	return dn_sensor_allow(agent->sensor, number, allowed, files->len, error);
}
