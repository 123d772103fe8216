/* SPDX-License-Identifier: Apache-2.0 */
#include "model/drift.h"

#include <glib.h>

static const struct {
	const char *name;
	DnTier tier;
	bool watched;
} classes[] = {
	[DN_DRIFT_NONE] = {NULL, DN_TIER_NONE, false},
	[DN_DRIFT_MANUAL] = {"manual", DN_TIER_NONE, false},
	[DN_DRIFT_EXEC] = {"exec", DN_TIER_PROOF, true},
	[DN_DRIFT_EXEC_MEMORY] = {"exec-memory", DN_TIER_PROOF, true},
	[DN_DRIFT_TEXT] = {"text", DN_TIER_PROOF, true},
	[DN_DRIFT_LIBRARY] = {"library", DN_TIER_PROOF, true},
	[DN_DRIFT_MOUNT] = {"mount", DN_TIER_PROOF, true},
	[DN_DRIFT_IMAGE] = {"image", DN_TIER_PROOF, true},
	[DN_DRIFT_PROCESS_FOREIGN] = {"process-foreign", DN_TIER_PROOF, true},
	[DN_DRIFT_PTRACE] = {"ptrace", DN_TIER_PROOF, true},
	[DN_DRIFT_BPF] = {"bpf", DN_TIER_PROOF, true},
	[DN_DRIFT_MODULE] = {"module", DN_TIER_PROOF, true},
	[DN_DRIFT_NAMESPACE] = {"namespace", DN_TIER_PROOF, true},
	[DN_DRIFT_SENSOR] = {"sensor", DN_TIER_PROOF, true},
	[DN_DRIFT_AGENT] = {"agent", DN_TIER_PROOF, true},
	[DN_DRIFT_SHELL] = {"shell", DN_TIER_SIGNAL, true},
	[DN_DRIFT_WRITE_EXEC] = {"write-exec", DN_TIER_SIGNAL, true},
	[DN_DRIFT_UID] = {"uid", DN_TIER_SIGNAL, true},
	[DN_DRIFT_LISTEN] = {"listen", DN_TIER_SIGNAL, false},
	[DN_DRIFT_EGRESS] = {"egress", DN_TIER_SIGNAL, false},
	[DN_DRIFT_RAW_SOCKET] = {"raw-socket", DN_TIER_SIGNAL, false},
	[DN_DRIFT_SOCKET_FAMILY] = {"socket-family", DN_TIER_SIGNAL, false},
	[DN_DRIFT_SYSCALL] = {"syscall", DN_TIER_SIGNAL, false},
	[DN_DRIFT_CAPABILITY] = {"capability", DN_TIER_SIGNAL, false},
	[DN_DRIFT_KEYRING] = {"keyring", DN_TIER_SIGNAL, false},
	[DN_DRIFT_IO_URING] = {"io_uring", DN_TIER_SIGNAL, false},
	[DN_DRIFT_PROCESS_COUNT] = {"process-count", DN_TIER_SIGNAL, false},
	[DN_DRIFT_RESOURCE] = {"resource", DN_TIER_SIGNAL, false},
	[DN_DRIFT_LOG_LOSS] = {"log-loss", DN_TIER_SIGNAL, false},
	[DN_DRIFT_EVENT_LOSS] = {"event-loss", DN_TIER_SIGNAL, false},
};
_Static_assert(G_N_ELEMENTS(classes) == DN_DRIFT_N, "every class needs a row");

static bool is_class(enum dn_drift_class drift)
{
	return (unsigned)drift < DN_DRIFT_N && classes[drift].name != NULL;
}

const char *dn_drift_name(enum dn_drift_class drift)
{
	return is_class(drift) ? classes[drift].name : NULL;
}

bool dn_drift_parse(const char *name, enum dn_drift_class *drift)
{
	for (unsigned i = DN_DRIFT_EXEC; i < DN_DRIFT_N; i++)
		if (g_strcmp0(classes[i].name, name) == 0) {
			*drift = (enum dn_drift_class)i;
			return true;
		}
	return false;
}

DnTier dn_drift_tier(enum dn_drift_class drift)
{
	return is_class(drift) ? classes[drift].tier : DN_TIER_NONE;
}

const char *dn_tier_name(DnTier tier)
{
	static const char *const names[] = {
		[DN_TIER_NONE] = "none", [DN_TIER_PROOF] = "proof", [DN_TIER_SIGNAL] = "signal"};

	return (unsigned)tier < G_N_ELEMENTS(names) ? names[tier] : names[DN_TIER_NONE];
}

DnAnswer dn_drift_default(enum dn_drift_class drift)
{
	return dn_drift_tier(drift) == DN_TIER_PROOF ? DN_ANSWER_QUARANTINE : DN_ANSWER_DENY;
}

const char *dn_drift_answer_name(DnAnswer answer)
{
	static const char *const names[] = {[DN_ANSWER_OBSERVE] = "observe",
					    [DN_ANSWER_DENY] = "deny",
					    [DN_ANSWER_QUARANTINE] = "quarantine"};

	g_assert((unsigned)answer < G_N_ELEMENTS(names));
	return names[answer];
}

bool dn_drift_is_watched(enum dn_drift_class drift)
{
	return is_class(drift) && classes[drift].watched;
}
