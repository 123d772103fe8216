/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What nodes of an image may run, and which checkout they run on: image.c over core/image-table. */

#include "main/agent.h"

/* image.c: see core/image-table.h. @defaults are set where the set that is taken is known. */
DnImageSet dn_image_take(Agent *agent, const DnManifest *manifest,
			 DnRun *defaults) G_GNUC_WARN_UNUSED_RESULT;
/* A node was made by @set. */
void dn_image_remember(Agent *agent, const DnManifest *manifest, const DnImageSet *set,
		       const DnRun *defaults);
/* @node was taken over with its set; is the checkout it runs on the one in place? */
void dn_image_adopt(Agent *agent, const Node *node, bool in_place, const DnRun *defaults);
/* The commit was changed: whoever starts a node of it next asks the store again. */
void dn_image_drop(Agent *agent, const char *commit);
/* A node is gone: so are the sets that nobody needs any more, soon and on a worker. */
void dn_image_tidy(Agent *agent);
/*
 * What nodes of this image and manifest may execute (DnSensorProgram), and telling the sensor so;
 * any thread. @defaults: the image's; @root: of the node, NULL: of the next one.
 */
GArray *dn_image_programs_now(Agent *agent, const DnManifest *manifest, const DnRun *defaults,
			      const char *root, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_image_allow(Agent *agent, uint32_t number, const GArray *programs,
		    GError **error) G_GNUC_WARN_UNUSED_RESULT;
