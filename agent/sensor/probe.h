/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What this kernel lets us load, found by loading a program or map of a few bytes. */

#include <glib.h>
#include <stdbool.h>

typedef enum {
	DN_PROBE_RAW_TRACEPOINT, /* verdicts on exec */
	DN_PROBE_TRACEPOINT,     /* refused execs */
	DN_PROBE_CGROUP_SKB,     /* the cut, on the node's side */
	DN_PROBE_SCHED_CLS,      /* the cut, on the host's side */
	DN_PROBE_RING_BUFFER,    /* how verdicts are told */
	DN_PROBE_LSM,            /* an extra: nothing depends on it */
	DN_PROBE_N,
} DnProbe;

/* False with the reason in @error: DN_ERROR_UNSUPPORTED, or the system's. */
bool dn_sensor_probe_now(DnProbe what, GError **error) G_GNUC_WARN_UNUSED_RESULT;
