/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#pragma once

/* Files that are mapped executable, opened to write to memory, or made executable. */

#define AT_EMPTY_PATH 0x1000
#define AT_SYMLINK_NOFOLLOW 0x100
#define PROC_SUPER_MAGIC 0x9fa0
#define TMPFS_MAGIC 0x01021994
#define S_IFMT 0170000
#define S_IFREG 0100000

/* Of a file that is open, the kernel's fs.h. */
enum { FMODE_WRITE = 2, FMODE_CREATED = 0x100000 };

struct found {
	struct file *file;
};

static long take_file(struct task_struct *task, struct vm_area_struct *vma, struct found *found)
{
	(void)task;
	found->file = BPF_CORE_READ(vma, vm_file);
	return 0;
}

/* The file of a descriptor of the current task. */
static __always_inline struct file *file_of(__u32 fd)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file *file = 0, **list = BPF_CORE_READ(table, fd);

	if (fd >= BPF_CORE_READ(table, max_fds) ||
	    bpf_probe_read_kernel(&file, sizeof(file), &list[fd]))
		return 0;
	return file;
}

/* Is it of the mount that the root of the current task is, which is the image? */
static __always_inline int is_of_image(struct file *file)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();

	return BPF_CORE_READ(file, f_path.mnt) == BPF_CORE_READ(task, fs, root.mnt);
}

static __always_inline int is_regular(struct file *file)
{
	return (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) == S_IFREG;
}

/* May the node not map the file as code? Then *@d says of which class that is, and of which file.
 */
static __always_inline int is_foreign_code(const struct dn_sensor_node *self, struct file *file,
					   struct drift *d)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);

	d->class = DN_DRIFT_LIBRARY;
	d->file = name_of(inode, self->image);
	d->path = (const char *)BPF_CORE_READ(file, f_path.dentry, d_name.name);
	if (flags_of(&d->file) & (DN_FILE_MAP | DN_FILE_EXEC))
		return 0;
	/* What a service that declares it makes code in: no other file of this kind is executable.
	 */
	return !self->jit || BPF_CORE_READ(inode, i_sb, s_magic) != TMPFS_MAGIC;
}

/*
 * Memory became executable that was not read from a file, or that can be written as well: code made
 * on the spot. Where the profile is in force that is refused before; this is for what got past it.
 * The kernel's loader maps a program without a system call and ld.so maps text read-only, so the
 * start of an ordinary program is silent.
 */
static __always_inline void on_memory_executable(long nr, struct pt_regs *regs,
						 unsigned long address)
{
	struct dn_sensor_node *self = current_node();

	if (!is_armed(self) || self->jit)
		return;
	struct drift d = {
		.class = DN_DRIFT_EXEC_MEMORY,
		.stop = STOP_TASK,
		.nr = nr,
		.args = {address, CALL_ARG3(regs)},
	};
	answer_drift(self, &d);
}

/* The kernel cannot tell: user space looks at the whole process. */
static __always_inline void tell_unsure(__u32 slot, __u32 class)
{
	struct dn_sensor_observation *seen = begin_observation(slot, class, DN_SEEN_UNSURE);

	if (seen)
		bpf_ringbuf_submit(seen, 0);
}

/*
 * A file was mapped executable. Which one is asked of the mapping, not of the descriptor, which a
 * sibling may have exchanged; while another thread changes mappings that cannot be had, and user
 * space looks at all of them instead.
 */
static __always_inline void on_file_mapped(struct pt_regs *regs, unsigned long address)
{
	struct dn_sensor_node *self = current_node();

	if (!is_armed(self))
		return;
	struct found found = {};
	if (bpf_find_vma(bpf_get_current_task_btf(), address, take_file, &found, 0)) {
		tell_unsure(self->slot, DN_DRIFT_LIBRARY);
		return;
	}
	struct file *file = found.file;
	if (!file)
		return;
	struct drift d = {
		.stop = STOP_TASK,
		.nr = NR_MMAP,
		.args = {address, CALL_ARG2(regs)},
	};
	if (is_foreign_code(self, file, &d))
		answer_drift(self, &d);
}

static __always_inline void on_mapped(struct pt_regs *regs, unsigned long address)
{
	unsigned long protection = CALL_ARG3(regs);

	if (!(protection & PROT_EXEC))
		return;
	if (CALL_ARG4(regs) & MAP_ANONYMOUS || protection & PROT_WRITE)
		on_memory_executable(NR_MMAP, regs, address);
	if (!(CALL_ARG4(regs) & MAP_ANONYMOUS))
		on_file_mapped(regs, address);
}

/*
 * Is the file the memory of a process, open to be written? That changes text which is mapped
 * read-only (PROC_MEM_ALWAYS_FORCE). Then *@d says of which class that is.
 */
static __always_inline int is_writable_memory(struct file *file, struct drift *d)
{
	const unsigned char *name = BPF_CORE_READ(file, f_path.dentry, d_name.name);
	char text[5] = {}; /* and one more, or "memory" would be cut to it */

	d->class = DN_DRIFT_TEXT;
	d->nr = NR_OPENAT;
	d->path = (const char *)name;
	return BPF_CORE_READ(file, f_mode) & FMODE_WRITE &&
	       BPF_CORE_READ(file, f_inode, i_sb, s_magic) == PROC_SUPER_MAGIC &&
	       bpf_probe_read_kernel_str(text, sizeof(text), name) == sizeof("mem") &&
	       text[0] == 'm' && text[1] == 'e' && text[2] == 'm';
}

/* Is it a regular file of a mode that lets somebody execute it? */
static __always_inline int is_executable(struct file *file)
{
	return is_regular(file) && BPF_CORE_READ(file, f_inode, i_mode) & ANY_EXEC;
}

/* The file that was just opened did not exist before. */
static __always_inline int is_new(struct file *file)
{
	return BPF_CORE_READ(file, f_mode) & FMODE_CREATED ||
	       BPF_CORE_READ(file, f_flags) & O_TMPFILE;
}

/*
 * A file was opened: seen before the first byte is written by the task, which is held. What was
 * opened, and whether it was made by that, says the file itself. The flags of openat2 are in the
 * caller's memory, where another thread may have changed them since, so all that it opens is looked
 * at.
 */
static __always_inline void on_opened(long nr, struct pt_regs *regs, __u32 fd)
{
	unsigned long flags = nr == NR_OPEN ? CALL_ARG2(regs) : CALL_ARG3(regs);
	unsigned long path = nr == NR_OPEN || nr == NR_CREAT ? CALL_ARG1(regs) : CALL_ARG2(regs);

	if (nr != NR_CREAT && nr != NR_OPENAT2 && !(flags & (O_ACCMODE | O_CREAT)))
		return;
	struct dn_sensor_node *self = current_node();
	if (!is_armed(self))
		return;
	struct file *file = file_of(fd);
	if (!file) { /* taken away by another thread, which may have kept it by another number */
		tell_unsure(self->slot, DN_DRIFT_TEXT);
		return;
	}
	struct drift d = {.stop = STOP_TASK};
	if (!is_writable_memory(file, &d)) {
		if (!is_new(file) || !is_executable(file))
			return;
		d = (struct drift){
			.class = DN_DRIFT_WRITE_EXEC,
			.nr = nr,
			.path = (const char *)path,
			.path_of_user = 1,
		};
	}
	answer_drift(self, &d);
}

/* The file of a descriptor got another mode or another list of who may what. */
static __always_inline void on_descriptor_changed(const struct dn_sensor_node *self, long nr,
						  __u32 fd)
{
	struct file *file = file_of(fd);

	if (!file || !is_executable(file))
		return;
	struct drift d = {
		.class = DN_DRIFT_WRITE_EXEC,
		.nr = nr,
		.file = name_of(BPF_CORE_READ(file, f_inode), self->image),
		.path = (const char *)BPF_CORE_READ(file, f_path.dentry, d_name.name),
	};
	answer_drift(self, &d);
}

/* What got another mode by a path, which user space resolves. */
struct renewed {
	long nr;
	__s32 dirfd;
	__u32 flags;
	unsigned long path;
	unsigned long mode; /* that was asked for; 0: not said */
};

static __always_inline void tell_written(const struct dn_sensor_node *self,
					 const struct renewed *what)
{
	struct dn_sensor_observation *seen =
		begin_observation(self->slot, DN_DRIFT_WRITE_EXEC, DN_SEEN_WRITTEN);

	if (!seen)
		return;
	seen->nr = what->nr;
	seen->args[0] = what->mode;
	seen->dirfd = what->dirfd;
	seen->flags = what->flags;
	/* Nobody takes a path away that he has just used, but to hide what it was. */
	if (bpf_probe_read_user_str(seen->path, sizeof(seen->path), (const void *)what->path) < 0) {
		seen->path[0] = 0;
		seen->kind = DN_SEEN_DRIFT;
	}
	if (!seen->path[0] && what->flags & AT_EMPTY_PATH) /* the descriptor was looked at */
		bpf_ringbuf_discard(seen, 0);
	else
		bpf_ringbuf_submit(seen, 0);
}

static __always_inline void on_mode_changed(long nr, struct pt_regs *regs)
{
	int by_path = nr == NR_CHMOD, by_fd = nr == NR_FCHMOD;
	struct renewed what = {
		.nr = nr,
		.dirfd = by_path ? AT_FDCWD : (__s32)CALL_ARG1(regs),
		.flags = nr == NR_FCHMODAT2 ? (__u32)CALL_ARG4(regs) : 0,
		.path = by_path ? CALL_ARG1(regs) : CALL_ARG2(regs),
		.mode = by_path || by_fd ? CALL_ARG2(regs) : CALL_ARG3(regs),
	};

	if (!(what.mode & ANY_EXEC))
		return;
	struct dn_sensor_node *self = current_node();
	if (!is_armed(self))
		return;
	if (by_fd || what.flags & AT_EMPTY_PATH)
		on_descriptor_changed(self, nr, what.dirfd);
	if (!by_fd)
		tell_written(self, &what);
}

/*
 * Is the attribute at @at one that changes the mode: system.posix_acl_access? One whose name is
 * gone by now is taken for it: the mode of the file decides.
 */
static __always_inline int is_access_list(unsigned long at)
{
	char name[24] = {};

	return bpf_probe_read_user_str(name, sizeof(name), (const void *)at) < 0 ||
	       (name[0] == 's' && name[1] == 'y' && name[7] == 'p' && name[17] == 'a');
}

/* A list of who may what makes a file executable as a mode does, and shows in its mode. */
static __always_inline void on_attribute_set(long nr, struct pt_regs *regs)
{
	struct renewed what = {
		.nr = nr,
		.dirfd = AT_FDCWD,
		.flags = nr == NR_LSETXATTR ? AT_SYMLINK_NOFOLLOW : 0,
		.path = CALL_ARG1(regs),
	};
	struct dn_sensor_node *self = current_node();

	if (!is_armed(self) || !is_access_list(CALL_ARG2(regs)))
		return;
	if (nr == NR_FSETXATTR)
		on_descriptor_changed(self, nr, CALL_ARG1(regs));
	else
		tell_written(self, &what);
}
