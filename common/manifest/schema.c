/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest/check.h"
#include "manifest/manifest.h"

/*
 * Every name of the manifest's first version. A reserved name is refused by name unless its
 * value changes nothing, so that a manifest never promises what this version does not keep.
 */

#define SECOND UINT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define TIB (1024 * 1024 * MIB)

static const char *const versions[] = {"v1", NULL};
static const char *const states[] = {"running", "removed", NULL};
static const char *const protocols[] = {"tcp", "udp", NULL};
static const char *const publishing[] = {"vip", "host", NULL};
static const char *const answers[] = {"observe", "deny", "quarantine", NULL};
static const char *const past_budget[] = {"hold", "isolate", NULL};
static const char *const spreading[] = {"none", "host", NULL};

static const DnField image_fields[] = {
	{"ref", DN_FIELD_REF, DN_FIELD_REQUIRED, DN_MEMBER(DnManifest, image_ref)},
	{"commit", DN_FIELD_HEX, DN_FIELD_REQUIRED, DN_MEMBER(DnManifest, image_commit), .max = 64},
	{0},
};

static const DnField stop_fields[] = {
	{"signal", DN_FIELD_SIGNAL, 0, DN_MEMBER(DnManifest, run.stop_signal), .fallback = "TERM"},
	{"grace", DN_FIELD_DURATION, 0, DN_MEMBER(DnManifest, run.stop_grace_ms),
	 .max = 10 * MINUTE, .fallback = "5s"},
	{0},
};

static const DnField run_fields[] = {
	{"args", DN_FIELD_TEXTS, 0, DN_MEMBER(DnManifest, run.args), .item = DN_FIELD_TEXT,
	 .min = 1, .max = 256},
	{"user", DN_FIELD_UINT, 0, DN_MEMBER(DnManifest, run.uid), .max = 65534,
	 .shown = dn_check_has_user},
	{"env", DN_FIELD_ENV, 0, DN_MEMBER(DnManifest, run.env)},
	{"cwd", DN_FIELD_PATH, 0, DN_MEMBER(DnManifest, run.cwd)},
	{"may_exec", DN_FIELD_TEXTS, 0, DN_MEMBER(DnManifest, run.may_exec), .item = DN_FIELD_PATH,
	 .max = 256},
	{"jit", DN_FIELD_BOOL, 0, DN_MEMBER(DnManifest, run.jit), .fallback = "false"},
	{"stop", DN_FIELD_MAP, .fields = stop_fields},
	{"start_deadline", DN_FIELD_DURATION, 0, DN_MEMBER(DnManifest, run.start_deadline_ms),
	 .min = 100, .max = HOUR, .fallback = "10s"},
	{0},
};

static const DnField standby_fields[] = {
	{"count", DN_FIELD_UINT, 0, DN_MEMBER(DnManifest, standby), .max = 16, .fallback = "0"},
	{"started", DN_FIELD_BOOL, 0, DN_MEMBER(DnManifest, standby_started), .fallback = "false"},
	{0},
};

static const DnField listen_fields[] = {
	{"port", DN_FIELD_UINT, DN_FIELD_REQUIRED, DN_MEMBER(DnListen, port), .min = 1,
	 .max = 65535},
	{"protocol", DN_FIELD_WORD, 0, DN_MEMBER(DnListen, protocol), .words = protocols,
	 .fallback = "tcp"},
	{"expose", DN_FIELD_UINT, 0, DN_MEMBER(DnListen, expose), .min = 1, .max = 65535},
	{"publish", DN_FIELD_WORD, 0, DN_MEMBER(DnListen, publish_host), .words = publishing,
	 .fallback = "vip"},
	{"affinity", DN_FIELD_TEXT, DN_FIELD_RESERVED, .neutral = "none"},
	{0},
};

static const DnField egress_fields[] = {
	{"service", DN_FIELD_NAME, 0, DN_MEMBER(DnEgress, service)},
	{"cidr", DN_FIELD_CIDR, 0, DN_MEMBER(DnEgress, cidr)},
	{"port", DN_FIELD_UINT, DN_FIELD_OPEN, DN_MEMBER(DnEgress, port), .min = 1, .max = 65535},
	{"protocol", DN_FIELD_WORD, 0, DN_MEMBER(DnEgress, protocol), .words = protocols,
	 .fallback = "tcp"},
	{0},
};

static const DnField resources_fields[] = {
	{"memory", DN_FIELD_SIZE, DN_FIELD_REQUIRED | DN_FIELD_OPEN,
	 DN_MEMBER(DnManifest, memory_bytes), .min = MIB, .max = TIB},
	{"cpu", DN_FIELD_CPU, DN_FIELD_REQUIRED | DN_FIELD_OPEN, DN_MEMBER(DnManifest, cpu_milli),
	 .min = 10, .max = 1024000},
	{"pids", DN_FIELD_UINT, DN_FIELD_REQUIRED | DN_FIELD_OPEN, DN_MEMBER(DnManifest, pids),
	 .min = 1, .max = 32768},
	{"files", DN_FIELD_UINT, DN_FIELD_REQUIRED | DN_FIELD_OPEN, DN_MEMBER(DnManifest, files),
	 .min = 8, .max = 1048576},
	{0},
};

static const DnField writable_fields[] = {
	{"path", DN_FIELD_PATH, DN_FIELD_REQUIRED, DN_MEMBER(DnWritable, path)},
	{"size", DN_FIELD_SIZE, DN_FIELD_REQUIRED, DN_MEMBER(DnWritable, size_bytes),
	 .min = 4 * KIB, .max = TIB},
	{0},
};

static const DnField health_fields[] = {
	{"http", DN_FIELD_URL_PATH, 0, DN_MEMBER(DnManifest, health.path)},
	{"tcp", DN_FIELD_UINT, 0, DN_MEMBER(DnManifest, health.port), .min = 1, .max = 65535,
	 .shown = dn_check_probes_tcp},
	{"port", DN_FIELD_UINT, 0, DN_MEMBER(DnManifest, health.port), .min = 1, .max = 65535,
	 .shown = dn_check_probes_http},
	{"every", DN_FIELD_DURATION, 0, DN_MEMBER(DnManifest, health.every_ms), .min = 50,
	 .max = HOUR, .fallback = "1s"},
	{"timeout", DN_FIELD_DURATION, 0, DN_MEMBER(DnManifest, health.timeout_ms), .min = 10,
	 .max = MINUTE, .fallback = "500ms"},
	{"rise", DN_FIELD_UINT, 0, DN_MEMBER(DnManifest, health.rise), .min = 1, .max = 100,
	 .fallback = "2"},
	{"fall", DN_FIELD_UINT, 0, DN_MEMBER(DnManifest, health.fall), .min = 1, .max = 100,
	 .fallback = "2"},
	{"replace_after", DN_FIELD_DURATION, 0, DN_MEMBER(DnManifest, health.replace_after_ms),
	 .min = 100, .max = 24 * HOUR, .fallback = "10s"},
	{0},
};

/* A class of either tier that is watched, with what is done by default; one that is not yet. */
#define PROOF(name_, class_)                                                                       \
	{                                                                                          \
		name_, DN_FIELD_WORD, 0, DN_MEMBER(DnManifest, drift[class_]),                     \
			.words = answers, .fallback = "quarantine"                                 \
	}
#define SIGNAL(name_, class_)                                                                      \
	{                                                                                          \
		name_, DN_FIELD_WORD, 0, DN_MEMBER(DnManifest, drift[class_]), .words = answers,   \
									       .fallback = "deny"  \
	}
#define RESERVED_CLASS(name_)                                                                      \
	{                                                                                          \
		name_, DN_FIELD_WORD, DN_FIELD_RESERVED, .words = answers                          \
	}

/* docs/drift.md tells what each class is. */
static const DnField drift_fields[] = {
	PROOF("exec", DN_DRIFT_EXEC),
	PROOF("exec-memory", DN_DRIFT_EXEC_MEMORY),
	PROOF("text", DN_DRIFT_TEXT),
	PROOF("library", DN_DRIFT_LIBRARY),
	PROOF("mount", DN_DRIFT_MOUNT),
	PROOF("image", DN_DRIFT_IMAGE),
	PROOF("process-foreign", DN_DRIFT_PROCESS_FOREIGN),
	PROOF("ptrace", DN_DRIFT_PTRACE),
	PROOF("bpf", DN_DRIFT_BPF),
	PROOF("module", DN_DRIFT_MODULE),
	PROOF("namespace", DN_DRIFT_NAMESPACE),
	PROOF("sensor", DN_DRIFT_SENSOR),
	PROOF("agent", DN_DRIFT_AGENT),
	SIGNAL("shell", DN_DRIFT_SHELL),
	SIGNAL("write-exec", DN_DRIFT_WRITE_EXEC),
	SIGNAL("uid", DN_DRIFT_UID),
	RESERVED_CLASS("listen"),
	RESERVED_CLASS("egress"),
	RESERVED_CLASS("raw-socket"),
	RESERVED_CLASS("socket-family"),
	RESERVED_CLASS("syscall"),
	RESERVED_CLASS("capability"),
	RESERVED_CLASS("keyring"),
	RESERVED_CLASS("io_uring"),
	RESERVED_CLASS("process-count"),
	RESERVED_CLASS("resource"),
	RESERVED_CLASS("log-loss"),
	RESERVED_CLASS("event-loss"),
	{0},
};

static const DnField respawn_fields[] = {
	{"count", DN_FIELD_UINT, 0, DN_MEMBER(DnManifest, respawn_count), .max = 1000,
	 .fallback = "5"},
	{"within", DN_FIELD_DURATION, 0, DN_MEMBER(DnManifest, respawn_within_ms), .min = SECOND,
	 .max = 24 * HOUR, .fallback = "10m"},
	{"past", DN_FIELD_WORD, 0, DN_MEMBER(DnManifest, respawn_isolates), .words = past_budget,
	 .fallback = "hold"},
	{0},
};

static const DnField roll_fields[] = {
	{"surge", DN_FIELD_UINT, 0, DN_MEMBER(DnManifest, roll_surge), .min = 1, .max = 100,
	 .fallback = "1"},
	{"min_healthy", DN_FIELD_UINT, 0, .max = 1000},
	{"canary", DN_FIELD_UINT, DN_FIELD_RESERVED, .neutral = "0"},
	{"judge", DN_FIELD_DURATION, DN_FIELD_RESERVED, .neutral = "0s"},
	{"drain", DN_FIELD_DURATION, 0, DN_MEMBER(DnManifest, roll_drain_ms), .max = HOUR,
	 .fallback = "30s"},
	{"deadline", DN_FIELD_DURATION, 0, DN_MEMBER(DnManifest, roll_deadline_ms), .min = SECOND,
	 .max = 24 * HOUR, .fallback = "1m"},
	{0},
};

static const DnField lease_fields[] = {
	{"ttl", DN_FIELD_DURATION, DN_FIELD_RESERVED, .neutral = "30s"},
	{"on_expiry", DN_FIELD_TEXT, DN_FIELD_RESERVED, .neutral = "keep"},
	{0},
};

static const DnField placement_fields[] = {
	{"spread", DN_FIELD_WORD, 0, DN_MEMBER(DnManifest, spread_host), .words = spreading,
	 .fallback = "host"},
	{"require", DN_FIELD_ENV, DN_FIELD_RESERVED, .neutral = "{}"},
	{"avoid", DN_FIELD_ENV, DN_FIELD_RESERVED, .neutral = "{}"},
	{0},
};

static const DnField evidence_fields[] = {
	{"memory", DN_FIELD_BOOL, DN_FIELD_RESERVED, .neutral = "false"},
	{"packets", DN_FIELD_SIZE, DN_FIELD_RESERVED, .neutral = "0"},
	{0},
};

static const DnField manifest_fields[] = {
	{"dnode", DN_FIELD_WORD, DN_FIELD_REQUIRED, .words = versions},
	{"service", DN_FIELD_NAME, DN_FIELD_REQUIRED, DN_MEMBER(DnManifest, service)},
	{"epoch", DN_FIELD_UINT, DN_FIELD_REQUIRED, DN_MEMBER(DnManifest, epoch), .min = 1,
	 .max = DN_EPOCH_LIMIT},
	{"state", DN_FIELD_WORD, 0, DN_MEMBER(DnManifest, removed), .words = states,
	 .fallback = "running"},
	{"valid_until", DN_FIELD_TIME, DN_FIELD_OPEN, DN_MEMBER(DnManifest, valid_until_ns)},
	{"image", DN_FIELD_MAP, .fields = image_fields},
	{"restart", DN_FIELD_UINT, 0, DN_MEMBER(DnManifest, restart), .max = DN_EPOCH_LIMIT,
	 .fallback = "0"},
	{"run", DN_FIELD_MAP, .fields = run_fields},
	{"replicas", DN_FIELD_UINT, 0, DN_MEMBER(DnManifest, replicas), .max = 1000,
	 .fallback = "1"},
	{"standby", DN_FIELD_MAP, .fields = standby_fields},
	{"listen", DN_FIELD_LIST, 0, DN_MEMBER(DnManifest, listen), .fields = listen_fields,
	 .size = sizeof(DnListen), .max = 16, .check_item = dn_check_listen_item,
	 .check = dn_check_listen, .fallback = "[]"},
	{"egress", DN_FIELD_LIST, 0, DN_MEMBER(DnManifest, egress), .fields = egress_fields,
	 .size = sizeof(DnEgress), .max = 64, .check_item = dn_check_egress_item, .fallback = "[]"},
	{"dns", DN_FIELD_TEXTS, DN_FIELD_RESERVED, .neutral = "[]"},
	{"resources", DN_FIELD_MAP, .fields = resources_fields},
	{"writable", DN_FIELD_LIST, 0, DN_MEMBER(DnManifest, writable), .fields = writable_fields,
	 .size = sizeof(DnWritable), .max = 16, .check_item = dn_check_writable_item,
	 .check = dn_check_writable, .fallback = "[]"},
	{"volumes", DN_FIELD_LIST, DN_FIELD_RESERVED, .neutral = "[]"},
	{"grants", DN_FIELD_LIST, DN_FIELD_RESERVED, .neutral = "[]"},
	{"health", DN_FIELD_MAP, .fields = health_fields},
	{"drift", DN_FIELD_MAP, .fields = drift_fields},
	{"respawn", DN_FIELD_MAP, .fields = respawn_fields},
	{"roll", DN_FIELD_MAP, .fields = roll_fields},
	{"lease", DN_FIELD_MAP, .fields = lease_fields},
	{"max_age", DN_FIELD_DURATION, DN_FIELD_RESERVED, .neutral = "0s"},
	{"isolation", DN_FIELD_TEXT, DN_FIELD_RESERVED, .neutral = "container"},
	{"secrets", DN_FIELD_LIST, DN_FIELD_RESERVED, .neutral = "[]"},
	{"placement", DN_FIELD_MAP, .fields = placement_fields},
	{"evidence", DN_FIELD_MAP, .fields = evidence_fields},
	{0},
};

const DnField *dn_manifest_fields(void)
{
	return manifest_fields;
}
