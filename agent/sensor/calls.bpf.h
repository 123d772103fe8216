/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#pragma once

/*
 * System calls by number, and what it means when a node's is refused. A call that the profile
 * refuses is one that nothing declared makes, so the attempt is drift; the classes are those of
 * dnode/drift.h. What ordinary programs try in vain (clone3, memfd_create, chown …) is not here.
 *
 * Numbers: the kernel's arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/
 * unistd.h. From 424 on all architectures count alike. A name that an architecture does not have
 * gets a number that no call has.
 */

#if defined(__TARGET_ARCH_x86)
enum {
	NR_OPEN = 2,
	NR_MMAP = 9,
	NR_MPROTECT = 10,
	NR_SHMAT = 30,
	NR_CLONE = 56,
	NR_EXECVE = 59,
	NR_RENAME = 82,
	NR_MKDIR = 83,
	NR_CREAT = 85,
	NR_UNLINK = 87,
	NR_CHMOD = 90,
	NR_FCHMOD = 91,
	NR_PTRACE = 101,
	NR_SETUID = 105,
	NR_SETGID = 106,
	NR_SETREUID = 113,
	NR_SETREGID = 114,
	NR_SETRESUID = 117,
	NR_SETRESGID = 119,
	NR_SETFSUID = 122,
	NR_SETFSGID = 123,
	NR_PERSONALITY = 135,
	NR_PIVOT_ROOT = 155,
	NR_CHROOT = 161,
	NR_MOUNT = 165,
	NR_UMOUNT2 = 166,
	NR_SWAPON = 167,
	NR_SWAPOFF = 168,
	NR_INIT_MODULE = 175,
	NR_DELETE_MODULE = 176,
	NR_SETXATTR = 188,
	NR_LSETXATTR = 189,
	NR_FSETXATTR = 190,
	NR_KEXEC_LOAD = 246,
	NR_OPENAT = 257,
	NR_MKDIRAT = 258,
	NR_UNLINKAT = 263,
	NR_RENAMEAT = 264,
	NR_FCHMODAT = 268,
	NR_UNSHARE = 272,
	NR_SETNS = 308,
	NR_PROCESS_VM_READV = 310,
	NR_PROCESS_VM_WRITEV = 311,
	NR_KCMP = 312,
	NR_FINIT_MODULE = 313,
	NR_RENAMEAT2 = 316,
	NR_MEMFD_CREATE = 319,
	NR_KEXEC_FILE_LOAD = 320,
	NR_BPF = 321,
	NR_EXECVEAT = 322,
	NR_PKEY_MPROTECT = 329,
};
#elif defined(__TARGET_ARCH_arm64)
enum {
	NR_OPEN = -2,
	NR_RENAME = -3,
	NR_MKDIR = -4,
	NR_CREAT = -5,
	NR_UNLINK = -6,
	NR_CHMOD = -7,
	NR_SETXATTR = 5,
	NR_LSETXATTR = 6,
	NR_FSETXATTR = 7,
	NR_MKDIRAT = 34,
	NR_UNLINKAT = 35,
	NR_RENAMEAT = 38,
	NR_UMOUNT2 = 39,
	NR_MOUNT = 40,
	NR_PIVOT_ROOT = 41,
	NR_CHROOT = 51,
	NR_FCHMOD = 52,
	NR_FCHMODAT = 53,
	NR_OPENAT = 56,
	NR_PERSONALITY = 92,
	NR_UNSHARE = 97,
	NR_KEXEC_LOAD = 104,
	NR_INIT_MODULE = 105,
	NR_DELETE_MODULE = 106,
	NR_PTRACE = 117,
	NR_SETREGID = 143,
	NR_SETGID = 144,
	NR_SETREUID = 145,
	NR_SETUID = 146,
	NR_SETRESUID = 147,
	NR_SETRESGID = 149,
	NR_SETFSUID = 151,
	NR_SETFSGID = 152,
	NR_SHMAT = 196,
	NR_CLONE = 220,
	NR_EXECVE = 221,
	NR_MMAP = 222,
	NR_SWAPON = 224,
	NR_SWAPOFF = 225,
	NR_MPROTECT = 226,
	NR_SETNS = 268,
	NR_PROCESS_VM_READV = 270,
	NR_PROCESS_VM_WRITEV = 271,
	NR_KCMP = 272,
	NR_FINIT_MODULE = 273,
	NR_RENAMEAT2 = 276,
	NR_MEMFD_CREATE = 279,
	NR_BPF = 280,
	NR_EXECVEAT = 281,
	NR_PKEY_MPROTECT = 288,
	NR_KEXEC_FILE_LOAD = 294,
};
#endif
enum {
	NR_OPEN_TREE = 428,
	NR_MOVE_MOUNT = 429,
	NR_FSOPEN = 430,
	NR_FSCONFIG = 431,
	NR_FSMOUNT = 432,
	NR_FSPICK = 433,
	NR_CLONE3 = 435,
	NR_OPENAT2 = 437,
	NR_PIDFD_GETFD = 438,
	NR_MOUNT_SETATTR = 442,
	NR_FCHMODAT2 = 452,
	NR_OPEN_TREE_ATTR = 467,
};

/* mman.h, shm.h, sched.h, personality.h, memfd.h, fcntl.h of the kernel's user-space headers. */
enum {
	PROT_READ = 1,
	PROT_WRITE = 2,
	PROT_EXEC = 4,
	PROT_BTI = 0x10, /* of arm64 */
	MAP_ANONYMOUS = 0x20,
	SHM_EXEC = 0100000,
	READ_IMPLIES_EXEC = 0x0400000,
	MFD_EXEC = 0x10,
	O_ACCMODE = 3,
	O_CREAT = 0100,
	O_TMPFILE = 020000000, /* without O_DIRECTORY, which goes with it */
	ANY_EXEC = 0111,
};
/* CLONE_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET */
#define NEW_NAMESPACES 0x7e020000UL
/* CLONE_NEWTIME, which is a signal's number where clone() has its flags. */
#define NEW_TIME 0x80UL

/* Memory that would become executable: what the mapping is of decides the class. */
static __always_inline __u32 class_of_mapping(long nr, struct pt_regs *regs)
{
	unsigned long prot = CALL_ARG3(regs);

	if (nr == NR_SHMAT)
		return prot & SHM_EXEC ? DN_DRIFT_EXEC_MEMORY : DN_DRIFT_NONE;
	if (!(prot & PROT_EXEC))
		return DN_DRIFT_NONE;
#ifdef __TARGET_ARCH_arm64
	/* The C library asks so of code that is executable already, and goes on without it. */
	if (nr == NR_MPROTECT && prot == (PROT_READ | PROT_EXEC | PROT_BTI))
		return DN_DRIFT_NONE;
#endif
	if (nr == NR_MMAP && !(prot & PROT_WRITE) && !(CALL_ARG4(regs) & MAP_ANONYMOUS))
		return DN_DRIFT_LIBRARY;
	return DN_DRIFT_EXEC_MEMORY;
}

/* The class of a call that was refused whatever its arguments. */
static __always_inline __u32 class_of_plain(long nr)
{
	switch (nr) {
	case NR_MOUNT:
	case NR_UMOUNT2:
	case NR_PIVOT_ROOT:
	case NR_CHROOT:
	case NR_SWAPON:
	case NR_SWAPOFF:
	case NR_OPEN_TREE:
	case NR_OPEN_TREE_ATTR:
	case NR_MOVE_MOUNT:
	case NR_FSOPEN:
	case NR_FSCONFIG:
	case NR_FSMOUNT:
	case NR_FSPICK:
	case NR_MOUNT_SETATTR:
		return DN_DRIFT_MOUNT;
	case NR_SETNS:
		return DN_DRIFT_NAMESPACE;
	case NR_PTRACE:
	case NR_PROCESS_VM_READV:
	case NR_PROCESS_VM_WRITEV:
	case NR_PIDFD_GETFD:
	case NR_KCMP:
		return DN_DRIFT_PTRACE;
	case NR_BPF:
		return DN_DRIFT_BPF;
	case NR_INIT_MODULE:
	case NR_FINIT_MODULE:
	case NR_DELETE_MODULE:
	case NR_KEXEC_LOAD:
	case NR_KEXEC_FILE_LOAD:
		return DN_DRIFT_MODULE;
	case NR_SETUID:
	case NR_SETGID:
	case NR_SETREUID:
	case NR_SETREGID:
	case NR_SETRESUID:
	case NR_SETRESGID:
		return DN_DRIFT_UID;
	}
	return DN_DRIFT_NONE;
}

static __always_inline __u32 class_of_refused(long nr, struct pt_regs *regs)
{
	switch (nr) {
	case NR_MMAP:
	case NR_MPROTECT:
	case NR_PKEY_MPROTECT:
	case NR_SHMAT:
		return class_of_mapping(nr, regs);
	case NR_CLONE:
		return CALL_ARG1(regs) & NEW_NAMESPACES ? DN_DRIFT_NAMESPACE : DN_DRIFT_NONE;
	case NR_UNSHARE: /* of its files or its working directory is nobody's business */
		return CALL_ARG1(regs) & (NEW_NAMESPACES | NEW_TIME) ? DN_DRIFT_NAMESPACE
								     : DN_DRIFT_NONE;
	case NR_PERSONALITY:
		return CALL_ARG1(regs) & READ_IMPLIES_EXEC ? DN_DRIFT_EXEC_MEMORY : DN_DRIFT_NONE;
	case NR_MEMFD_CREATE:
		return CALL_ARG2(regs) & MFD_EXEC ? DN_DRIFT_EXEC_MEMORY : DN_DRIFT_NONE;
	}
	return class_of_plain(nr);
}

/* clone3 is answered with ENOSYS, so that libraries fall back; what it asked for is in memory. */
static __always_inline __u32 class_of_clone3(struct pt_regs *regs)
{
	__u64 flags = 0;

	if (bpf_probe_read_user(&flags, sizeof(flags), (const void *)CALL_ARG1(regs)))
		return DN_DRIFT_NONE;
	return flags & NEW_NAMESPACES ? DN_DRIFT_NAMESPACE : DN_DRIFT_NONE;
}

/* Which argument is a path, 1 or 2; 0: none. */
static __always_inline int path_argument(long nr)
{
	switch (nr) {
	case NR_OPEN:
	case NR_CREAT:
	case NR_MKDIR:
	case NR_UNLINK:
	case NR_RENAME:
	case NR_CHMOD:
	case NR_EXECVE:
		return 1;
	case NR_OPENAT:
	case NR_OPENAT2:
	case NR_MKDIRAT:
	case NR_UNLINKAT:
	case NR_RENAMEAT:
	case NR_RENAMEAT2:
	case NR_FCHMODAT:
	case NR_FCHMODAT2:
	case NR_EXECVEAT:
	case NR_MOUNT:
		return 2;
	}
	return 0;
}
