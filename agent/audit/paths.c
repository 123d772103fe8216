/* SPDX-License-Identifier: Apache-2.0 */
#include "audit/paths.h"

#include <stddef.h>

/* Said here once more and not taken from what the runtime is told: that is what is judged. */
const char *const dn_audit_masked_paths[] = {"proc/acpi",        "proc/asound",
					     "proc/bootconfig",  "proc/config.gz",
					     "proc/interrupts",  "proc/kallsyms",
					     "proc/kcore",       "proc/key-users",
					     "proc/keys",        "proc/kmsg",
					     "proc/kpagecgroup", "proc/kpagecount",
					     "proc/kpageflags",  "proc/latency_stats",
					     "proc/modules",     "proc/sched_debug",
					     "proc/scsi",        "proc/slabinfo",
					     "proc/timer_list",  "proc/timer_stats",
					     "proc/vmallocinfo", NULL};

const char *const dn_audit_read_only_paths[] = {
	"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger", NULL};
