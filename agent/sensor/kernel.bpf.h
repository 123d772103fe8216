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
	unsigned long s_magic;
};

struct inode {
	struct super_block *i_sb;
	unsigned long i_ino;
	__u16 i_mode;
};

struct qstr {
	const unsigned char *name;
};

struct dentry {
	struct inode *d_inode;
	struct qstr d_name;
};

struct vfsmount;

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct fs_struct {
	struct path root, pwd;
};

struct file {
	unsigned int f_mode, f_flags;
	struct inode *f_inode;
	struct path f_path;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct mm_struct {
	unsigned long arg_start, arg_end;
};

struct vm_area_struct {
	struct file *vm_file;
};

/* Wrapped, so that a number from elsewhere is no user and no set of capabilities. */
typedef struct {
	__u32 val;
} kuid_t;

typedef struct {
	__u32 cap[2]; /* __u64 val since Linux 6.3 */
} kernel_cap_t;

struct cred {
	kuid_t uid, suid, euid, fsuid;
	kernel_cap_t cap_permitted, cap_effective;
};

struct ns_common {
	unsigned int inum;
};

struct mnt_namespace {
	struct ns_common ns;
};

struct pid_namespace {
	struct ns_common ns;
};

struct nsproxy {
	struct mnt_namespace *mnt_ns;
	struct pid_namespace *pid_ns_for_children;
};

struct kernfs_node {
	__u64 id;
};

struct cgroup_root {
	int hierarchy_id;
};

struct cgroup {
	int level;
	struct kernfs_node *kn;
	struct cgroup_root *root;
	struct cgroup *ancestors[16]; /* as many as its level, itself last */
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

typedef struct {
	int counter;
} atomic_t;

struct signal_struct {
	atomic_t live; /* threads of the process */
};

struct task_struct {
	int tgid;
	unsigned in_execve : 1;
	struct mm_struct *mm;
	const struct cred *cred;
	struct files_struct *files;
	struct fs_struct *fs;
	struct nsproxy *nsproxy;
	struct css_set *cgroups;
	struct signal_struct *signal;
};

struct linux_binprm {
	struct file *file;
	const char *filename;
	char buf[4]; /* how the file begins; there is more of it */
};

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long di, si, dx, r10, r8;
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
#define CALL_NR(regs_) ((long)BPF_CORE_READ(regs_, orig_ax))
#define CALL_ARG1(regs_) BPF_CORE_READ(regs_, di)
#define CALL_ARG2(regs_) BPF_CORE_READ(regs_, si)
#define CALL_ARG3(regs_) BPF_CORE_READ(regs_, dx)
#define CALL_ARG4(regs_) BPF_CORE_READ(regs_, r10)
#define CALL_ARG5(regs_) BPF_CORE_READ(regs_, r8)
#elif defined(__TARGET_ARCH_arm64)
/* The result overwrites the first argument's register; the kernel keeps the argument. */
#define CALL_NR(regs_) ((long)BPF_CORE_READ(regs_, syscallno))
#define CALL_ARG1(regs_) BPF_CORE_READ(regs_, orig_x0)
#define CALL_ARG2(regs_) BPF_CORE_READ(regs_, regs[1])
#define CALL_ARG3(regs_) BPF_CORE_READ(regs_, regs[2])
#define CALL_ARG4(regs_) BPF_CORE_READ(regs_, regs[3])
#define CALL_ARG5(regs_) BPF_CORE_READ(regs_, regs[4])
#else
#error "the sensor knows the system call registers of x86-64 and arm64 only"
#endif
