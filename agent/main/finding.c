/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"

/*
 * What was seen, as one line that a person reads. Every byte of a mark or an observation but its
 * numbers comes from the node: it is bounded and made printable here.
 */

/* What is common to a mark and an observation. */
typedef struct {
	enum dn_drift_class drift;
	uint32_t pid, nr;
	int32_t result;
	uint64_t dev, ino;
	const char *comm, *path; /* printable */
} Seen;

static char *printable(const volatile uint8_t *bytes, size_t size)
{
	g_autofree char *text = g_malloc0(size + 1);

	memcpy(text, (const void *)bytes, size);
	return dn_text_printable(text, strlen(text));
}

/* What a process did: @done, or @refused when the kernel did not let it; then the file, if any. */
static const struct {
	const char *done, *refused, *after;
} deeds[DN_DRIFT_N] = {
	[DN_DRIFT_EXEC] = {"executed", "was refused to execute", "no program of image %s"},
	[DN_DRIFT_SHELL] = {"executed", "was refused to execute", "a shell that is not declared"},
	[DN_DRIFT_LIBRARY] = {"mapped as code", "was refused to map as code", "not of image %s"},
	[DN_DRIFT_EXEC_MEMORY] = {"made memory executable", "was refused executable memory", NULL},
	[DN_DRIFT_TEXT] = {"opened a process's memory, to write to its code",
			   "was refused to write to a process's memory", NULL},
	[DN_DRIFT_MOUNT] = {"changed what is mounted", "tried to change what is mounted", NULL},
	[DN_DRIFT_NAMESPACE] = {"entered a namespace", "tried to make or enter a namespace", NULL},
	[DN_DRIFT_PTRACE] = {"reached into another process", "tried to reach into another process",
			     NULL},
	[DN_DRIFT_BPF] = {"used bpf", "tried to use bpf", NULL},
	[DN_DRIFT_MODULE] = {"changed the kernel's code", "tried to change the kernel's code",
			     NULL},
	[DN_DRIFT_UID] = {"has a user or a capability that it was not given",
			  "tried to become another user", NULL},
	[DN_DRIFT_PROCESS_FOREIGN] = {"came into the node from outside", NULL, NULL},
	[DN_DRIFT_WRITE_EXEC] = {"made executable", "tried to write", NULL},
};

static char *deed_of(const Seen *seen, const char *image)
{
	bool refused = seen->result < 0;
	const char *verb = refused ? deeds[seen->drift].refused : deeds[seen->drift].done;
	g_autofree char *file =
		*seen->path != '\0' ? g_strconcat(" ", seen->path, NULL) : g_strdup("");

	if (verb == NULL)
		return g_strdup_printf("did what class %s is about", dn_drift_name(seen->drift));
	if (deeds[seen->drift].after == NULL)
		return g_strconcat(verb, file, NULL);
	g_auto(GStrv) parts = g_strsplit(deeds[seen->drift].after, "%s", 2);
	return g_strconcat(verb, *file != '\0' ? file : " a file without a name", ", ", parts[0],
			   parts[1] != NULL ? image : NULL, NULL);
}

static char *line_of(const Seen *seen, const char *image)
{
	g_autofree char *deed = deed_of(seen, image);

	if (seen->result < 0 && seen->drift != DN_DRIFT_EXEC)
		return g_strdup_printf("process %u (%s) %s (system call %u: %s)", seen->pid,
				       seen->comm, deed, seen->nr, g_strerror(-seen->result));
	return g_strdup_printf("process %u (%s) %s", seen->pid, seen->comm, deed);
}

static const char *consequence_of(const Node *node, const Seen *seen)
{
	if (seen->result < 0 || (seen->drift != DN_DRIFT_EXEC && seen->drift != DN_DRIFT_SHELL))
		return "";
	return (uint32_t)node->container.pid == seen->pid
		       ? "; it was stopped, being the node's first process"
		       : "; it was killed before its first instruction";
}

char *dn_finding_of_mark(const Node *node, volatile const struct dn_sensor_mark *mark, bool drill)
{
	g_autofree char *comm = printable(mark->comm, sizeof(mark->comm));
	g_autofree char *path = printable(mark->path, sizeof(mark->path));
	Seen seen = {MIN(mark->class, DN_DRIFT_N - 1),
		     mark->pid,
		     mark->nr,
		     mark->result,
		     mark->dev,
		     mark->ino,
		     comm,
		     path};

	if (mark->class == DN_DRIFT_MANUAL)
		return g_strdup("by hand");
	/* The agent has looked, and says itself what it found. */
	if (*comm == '\0' && *path != '\0')
		return g_strdup_printf("%s%s", drill ? "drill: " : "", path);
	g_autofree char *line = line_of(&seen, node->manifest->image_ref);
	return g_strdup_printf("%s%s%s", drill ? "drill: " : "", line, consequence_of(node, &seen));
}

char *dn_finding_of_observation(const Node *node, const struct dn_sensor_observation *observation)
{
	g_autofree char *comm = printable(observation->comm, sizeof(observation->comm));
	g_autofree char *path = printable(observation->path, sizeof(observation->path));
	Seen seen = {MIN(observation->class, DN_DRIFT_N - 1),
		     observation->pid,
		     observation->nr,
		     observation->result,
		     observation->dev,
		     observation->ino,
		     comm,
		     path};

	g_autofree char *line = line_of(&seen, node->manifest->image_ref);
	bool killed = node->manifest->drift[seen.drift] == DN_ANSWER_DENY && seen.result >= 0 &&
		      (seen.drift == DN_DRIFT_EXEC || seen.drift == DN_DRIFT_SHELL);
	return g_strconcat(line, killed ? "; it was killed before its first instruction" : "",
			   NULL);
}
