/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What an incident left behind in one node, looked for in its siblings: the file that was dropped
 * and the program that ran. Only what no image has can be one: an attack inside a program of the
 * image leaves nothing to compare, and a look (inspect.h) at the sibling tells.
 */

#include "inspect/inspect.h"

#define DN_INDICATOR_READ_BYTES UINT64_C(1048576) /* of a file, never more */

typedef struct {
	enum dn_drift_class class;
	char path[DN_INSPECT_PATH]; /* as the node sees it, absolute; "" for none */
	char comm[16];              /* "" for none */
	bool has_file;              /* the file was there: */
	uint64_t size;              /* bytes */
	char digest[65];            /* SHA-256 of its first DN_INDICATOR_READ_BYTES, in hex */
} DnInspectIndicator;

typedef enum {
	DN_MATCH_FILE = 1, /* a file of that path, size and beginning, which is not the image's */
	DN_MATCH_PROGRAM = 2, /* a process runs a file of that path, which is not the image's */
	DN_MATCH_NAME = 4,    /* a process of that name runs a file that is not the image's */
} DnInspectMatch;

/*
 * Make the indicator of @path, which a verdict or finding named (and which may end in "
 * (deleted)"), and @comm, raw text as the kernel tells it; the file is read if it is there. A path
 * without a leading slash or too long for its room is left out.
 */
void dn_inspect_indicator_now(const DnInspectBaseline *self, enum dn_drift_class drift,
			      const char *path, const char *comm, DnInspectIndicator *indicator);

/*
 * @matches becomes a set of DnInspectMatch. The file is opened within the root of the node's first
 * process, never through a link, and read only when it is a regular file of another mount than the
 * root. Fails as dn_inspect_node_now() does.
 */
bool dn_inspect_has_indicator_now(const DnInspectBaseline *self,
				  const DnInspectIndicator *indicator, unsigned *matches,
				  GError **error) G_GNUC_WARN_UNUSED_RESULT;
