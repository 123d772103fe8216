/* SPDX-License-Identifier: Apache-2.0 */
#include "sensor/probe.h"

#include <bpf/libbpf.h>
#include <errno.h>

#include "base/error.h"
#include "sensor/load.h"
#include "sensor/lsm.h"

static const enum bpf_prog_type programs[DN_PROBE_N] = {
	[DN_PROBE_RAW_TRACEPOINT] = BPF_PROG_TYPE_RAW_TRACEPOINT,
	[DN_PROBE_TRACEPOINT] = BPF_PROG_TYPE_TRACEPOINT,
	[DN_PROBE_CGROUP_SKB] = BPF_PROG_TYPE_CGROUP_SKB,
	[DN_PROBE_SCHED_CLS] = BPF_PROG_TYPE_SCHED_CLS,
};

bool dn_sensor_probe_now(DnProbe what, GError **error)
{
	g_return_val_if_fail(what < DN_PROBE_N, false);
	dn_load_quiet();
	if (what == DN_PROBE_LSM)
		return dn_lsm_probe_now(error);
	int rc = what == DN_PROBE_RING_BUFFER
			 ? libbpf_probe_bpf_map_type(BPF_MAP_TYPE_RINGBUF, NULL)
			 : libbpf_probe_bpf_prog_type(programs[what], NULL);
	if (rc > 0)
		return true;
	if (rc < 0)
		return dn_throw_errno(error, -rc, "ask the kernel");
	g_set_error(error, DN_ERROR, DN_ERROR_UNSUPPORTED, "the kernel refuses to load one");
	return false;
}
