/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of this module share: a node as expected, a process under the eye, its memory. */

#include "inspect/inspect.h"
#include "inspect/lines.h"
#include "inspect/text.h"

/* What came of looking at something. */
typedef enum {
	DN_SIGHT_SEEN,
	DN_SIGHT_GONE,   /* it ended, or has become another program, meanwhile */
	DN_SIGHT_UNREAD, /* errno */
	DN_SIGHT_SPENT   /* the budget ran out in it */
} DnSight;

enum { DN_N_NAMESPACES = 7, DN_N_MEMORY_DEVICES = 2 };
extern const char *const dn_namespace_kinds[DN_N_NAMESPACES];
/* Before every digest of mounts; another one as soon as anything else is fed to it. */
#define DN_MOUNTS_FORM "2:"
enum { DN_NAMESPACE_PID = 0, DN_NAMESPACE_MNT = 1 }; /* of the rows of that table */

struct DnInspectBaseline {
	char *cgroup_path; /* owned; as in /proc/PID/cgroup after "0::" */
	int cgroup_fd;     /* owned; its directory, which may be gone */
	int pid1_fd;       /* owned; /proc/PID of the first process, see DnProcess.dir_fd */
	uint32_t pid1, uid_base;
	bool jit;
	uint32_t once;
	DnInspectClassOf class_of;
	void *data; /* borrowed from the caller */

	bool has_runtime; /* pid1 was seen before it executed anything: */
	uint64_t runtime_dev, runtime_ino;
	uint64_t namespaces[DN_N_NAMESPACES];
	char *mounts;                                 /* owned; form and digest */
	uint64_t memory_devices[DN_N_MEMORY_DEVICES]; /* where memfd and shared memory are files */
};

/* One look, or one pass over the host. */
typedef struct {
	const DnInspectBaseline *node;
	DnInspectLook *look;
	uint64_t budget_ns, deadline_ns; /* by dn_judge_clock_ns() */
	uint64_t until_ns;               /* CLOCK_MONOTONIC: what waits spends no CPU */
} DnJudge;

uint64_t dn_judge_clock_ns(const DnInspectLook *look);
/* May the node execute the file, or map it as code? */
bool dn_node_may(const DnInspectBaseline *node, uint64_t dev, uint64_t ino, bool as_program);

bool dn_judge_is_spent(const DnJudge *judge);
DnJudge dn_judge_begin(const DnInspectBaseline *node, DnInspectLook *look);

typedef struct {
	DnJudge *judge;
	uint32_t pid;
	/*
	 * O_PATH of /proc/PID. It names the process: after its end everything below is ESRCH or
	 * ENOENT, whoever has the number then.
	 */
	int dir_fd;    /* owned */
	int memory_fd; /* the same, or /proc/PID/task/TID of a thread that still has the memory */
	uint64_t program_dev, program_ino; /* of who has the memory */
	bool program_deleted;
	char comm[sizeof(((DnStatus *)0)->name)];
} DnProcess;

DnSight dn_sight_of_errno(void);

/*
 * @sight, but GONE when the process is not there any more: links below /proc/PID then say EACCES,
 * as if they were forbidden. Keeps errno.
 */
DnSight dn_process_settle(int dir_fd, DnSight sight);

/* Report, unless that is there already. @path is any text, or NULL. */
void dn_process_tell(DnProcess *process, enum dn_drift_class drift, const char *path,
		     const char *format, ...) G_GNUC_PRINTF(4, 5);
bool dn_look_is_full(const DnInspectLook *look);

/* Open /proc/PID. */
DnSight dn_process_open(uint32_t pid, int *dir_fd);
DnSight dn_process_is_in(int dir_fd, const char *cgroup_path, bool *is_in);
DnSight dn_process_status(int dir_fd, DnStatus *status);
DnSight dn_process_namespace(int dir_fd, unsigned which, uint64_t *ino);
DnSight dn_process_mounts(int dir_fd, char **digest);
/* The program as a file, and what it is called. */
DnSight dn_process_program(int dir_fd, uint64_t *dev, uint64_t *ino, bool *deleted);
void dn_process_program_path(int dir_fd, char *path, size_t size);

/*
 * Find who has the memory, process->memory_fd: the process itself or, where its first thread has
 * ended, one of the others, whose directory *@living_fd then is; owned, -1 before. GONE: nobody.
 */
DnSight dn_process_find_memory(DnProcess *process, int *living_fd);

/* The node's processes, as sorted uint32_t; NULL with error: the cgroup is gone, or unreadable. */
GArray *dn_members_list(const DnInspectBaseline *node, bool *is_cut, GError **error);
/* Those of @members that are not in @known. */
GArray *dn_members_newer(const GArray *members, const GArray *known);

/* Called for each process of the node that is still in its cgroup. */
typedef DnSight (*DnProcessVisit)(DnProcess *process, void *data);

/* Judge one process of the node: its threads and its program; its mappings. */
DnSight dn_process_judge_who(DnProcess *process);
DnSight dn_process_judge_code(DnProcess *process);
DnSight dn_process_judge_memory(DnProcess *process);

/* The memory of a process; each descriptor keeps the address space that it was opened in. */
typedef struct {
	int maps_fd, pagemap_fd; /* owned */
	bool queries;            /* may use what not every kernel has */
	bool has_query;          /* PROCMAP_QUERY works */
	DnLines lines;           /* of maps, where it does not */
} DnMemory;

DnSight dn_memory_open(int dir_fd, bool queries, DnMemory *memory);
void dn_memory_close(DnMemory *memory);

/*
 * The first executable mapping that ends after @address, to be asked for in rising order. GONE when
 * there is no memory, SEEN with @mapping->end 0 after the last. Without queries @mapping has its
 * name; with them only one without a file, until dn_memory_name() is called.
 */
DnSight dn_memory_next(DnMemory *memory, uint64_t address, DnMapping *mapping);
void dn_memory_name(const DnMemory *memory, DnMapping *mapping);

enum { DN_COPIES = 16 };
typedef struct {
	uint32_t n; /* at most DN_COPIES, of possibly more */
	uint64_t page[DN_COPIES];
} DnCopies;

/* The pages of [start, end) that are the process's own. */
DnSight dn_memory_copies(DnMemory *memory, uint64_t start, uint64_t end, DnCopies *copies);
/* Is a page of [start, end) there and a file's? */
DnSight dn_memory_has_file_page(DnMemory *memory, uint64_t start, uint64_t end, bool *has);

/* Judge a private mapping of a file of the image, or of the vDSO, from an address on. */
DnSight dn_process_judge_text(DnProcess *process, DnMemory *memory, DnMapping *mapping,
			      uint64_t from);
