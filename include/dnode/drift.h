/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#pragma once

/*
 * The drift classes by number: what the kernel programs of the sensor write into a mark, what the
 * agent reads there. People and manifests use their names (model/drift.h). Shared with BPF, so
 * plain C. The numbers are part of the sensor's ABI: append, never renumber.
 */
enum dn_drift_class {
	DN_DRIFT_NONE = 0,
	DN_DRIFT_MANUAL = 1, /* no drift: a person's quarantine */

	/* proof */
	DN_DRIFT_EXEC = 2,
	DN_DRIFT_EXEC_MEMORY = 3,
	DN_DRIFT_TEXT = 4,
	DN_DRIFT_LIBRARY = 5,
	DN_DRIFT_MOUNT = 6,
	DN_DRIFT_IMAGE = 7,
	DN_DRIFT_PROCESS_FOREIGN = 8,
	DN_DRIFT_PTRACE = 9,
	DN_DRIFT_BPF = 10,
	DN_DRIFT_MODULE = 11,
	DN_DRIFT_NAMESPACE = 12,
	DN_DRIFT_SENSOR = 13,
	DN_DRIFT_AGENT = 14,

	/* signal */
	DN_DRIFT_SHELL = 15,
	DN_DRIFT_WRITE_EXEC = 16,
	DN_DRIFT_UID = 17,
	DN_DRIFT_LISTEN = 18,
	DN_DRIFT_EGRESS = 19,
	DN_DRIFT_RAW_SOCKET = 20,
	DN_DRIFT_SOCKET_FAMILY = 21,
	DN_DRIFT_SYSCALL = 22,
	DN_DRIFT_CAPABILITY = 23,
	DN_DRIFT_KEYRING = 24,
	DN_DRIFT_IO_URING = 25,
	DN_DRIFT_PROCESS_COUNT = 26,
	DN_DRIFT_RESOURCE = 27,
	DN_DRIFT_LOG_LOSS = 28,
	DN_DRIFT_EVENT_LOSS = 29,

	DN_DRIFT_N = 30,
	DN_DRIFT_LIMIT = 32 /* room in the maps */
};
