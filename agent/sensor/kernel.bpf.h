/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#pragma once

/*
 * The few kernel types the sensor looks into, with the few members it reads. libbpf relocates
 * every access against the running kernel's own type information (CO-RE), so offsets and
 * neighbours do not matter here, and the build needs no type information of its machine.
 */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct super_block {
	__u32 s_dev; /* dev_t of the kernel: major << 20 | minor */
};

struct inode {
	struct super_block *i_sb;
	unsigned long i_ino;
};

struct file {
	struct inode *f_inode;
};

struct linux_binprm {
	struct file *file;
	const char *filename;
};

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long di, si, r8;
	unsigned long orig_ax;
};
#elif defined(__TARGET_ARCH_arm64)
struct user_pt_regs {
	__u64 regs[31];
};
struct pt_regs {
	__u64 regs[31];
	__u64 orig_x0;
	__s32 syscallno;
};
#endif

#pragma clang attribute pop

/*
 * Number and arguments of a system call as its exit finds them. They are still there: a call
 * that failed has not replaced the registers of its caller. 32-bit entry is not looked at;
 * the nodes' seccomp filter kills it.
 */
#if defined(__TARGET_ARCH_x86)
enum { NR_EXECVE = 59, NR_EXECVEAT = 322 };
#define CALL_NR(regs_) ((long)BPF_CORE_READ(regs_, orig_ax))
#define CALL_ARG1(regs_) BPF_CORE_READ(regs_, di)
#define CALL_ARG2(regs_) BPF_CORE_READ(regs_, si)
#define CALL_ARG5(regs_) BPF_CORE_READ(regs_, r8)
#elif defined(__TARGET_ARCH_arm64)
/* The result overwrites the first argument's register; the kernel keeps the argument. */
enum { NR_EXECVE = 221, NR_EXECVEAT = 281 };
#define CALL_NR(regs_) ((long)BPF_CORE_READ(regs_, syscallno))
#define CALL_ARG1(regs_) BPF_CORE_READ(regs_, orig_x0)
#define CALL_ARG2(regs_) BPF_CORE_READ(regs_, regs[1])
#define CALL_ARG5(regs_) BPF_CORE_READ(regs_, regs[4])
#else
#error "the sensor knows the system call registers of x86-64 and arm64 only"
#endif
