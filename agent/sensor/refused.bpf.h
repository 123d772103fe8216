/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#pragma once

/* Executions that the kernel refused: told, at a bounded rate, or drift as they are. */

#include "sensor/text.bpf.h"

enum tried { TRIED_NEVER, TRIED_ANYBODYS, TRIED_AGAIN, TRIED_IN_VAIN };

/* What a path in /proc or /dev leads to depends on who asks: it is as new each time. */
static __always_inline int is_anybodys(const char *path)
{
	if (path[0] != '/')
		return 0;
	return path[1] == '/' || path[1] == '.' ||
	       (path[1] == 'p' && path[2] == 'r' && path[3] == 'o' && path[4] == 'c' &&
		path[5] == '/') ||
	       (path[1] == 'd' && path[2] == 'e' && path[3] == 'v' && path[4] == '/');
}

/*
 * Was a refused exec of this path told a moment ago? What is there may be something else by now,
 * unless user space said that it cannot be. NEVER: *@key is to be remembered once it is told.
 */
static __always_inline enum tried was_tried(long nr, unsigned long path,
					    struct dn_sensor_tried *key)
{
	__u64 now = bpf_ktime_get_ns() & ~(__u64)DN_TRIED_IN_VAIN;

	if (bpf_probe_read_user_str(key->path, sizeof(key->path), (const void *)path) < 2 ||
	    is_anybodys((const char *)key->path))
		return TRIED_ANYBODYS;
	/* The same words lead elsewhere from another directory. */
	if (key->path[0] != '/') {
		struct task_struct *task = (struct task_struct *)bpf_get_current_task();
		struct inode *at = BPF_CORE_READ(task, fs, pwd.dentry, d_inode);

		if (nr != NR_EXECVE)
			return TRIED_ANYBODYS;
		key->pid1 ^= (__u32)(BPF_CORE_READ(at, i_ino) * 0x9e3779b1) ^
			     BPF_CORE_READ(at, i_sb, s_dev);
	}
	__u64 *last = bpf_map_lookup_elem(&tried, key);
	if (last && now - *last < DN_SENSOR_PACE_NS)
		return *last & DN_TRIED_IN_VAIN ? TRIED_IN_VAIN : TRIED_AGAIN;
	return TRIED_NEVER;
}

/* Only what was told, so that no node's attempts displace those of others past its pace. */
static __always_inline void remember(const struct dn_sensor_tried *key)
{
	__u64 now = bpf_ktime_get_ns() & ~(__u64)DN_TRIED_IN_VAIN;

	bpf_map_update_elem(&tried, key, &now, BPF_ANY);
}

/*
 * An open file that the kernel refused to execute: judged here, for it may be closed before anybody
 * comes to look. What user space says of paths: drift is a regular file that is not of the image.
 */
static __always_inline int answer_refused_file(const struct dn_sensor_node *self, long nr, int fd,
					       long result)
{
	struct file *file = fd < 0 ? 0 : file_of(fd);

	if (!file || !is_regular(file) || is_of_image(file))
		return 0;
	struct drift d = {
		.class = DN_DRIFT_EXEC,
		.nr = nr,
		.result = (__s32)result,
		.file = name_of(BPF_CORE_READ(file, f_inode), self->image),
		.path = (const char *)BPF_CORE_READ(file, f_path.dentry, d_name.name),
	};
	if (flags_of(&d.file) & (DN_FILE_EXEC | DN_FILE_SHELL))
		return 0;
	answer_drift(self, &d);
	return 1;
}

/*
 * The descriptor that a path like /proc/self/fd/3 or /dev/fd/3 names, or -1. Whose it is is not
 * looked at: nothing honest executes another process's. Checked once by the kernel, as last_name().
 */
__noinline int descriptor_in(__u64 at)
{
	__u64 letters = letters_at(at), name = last_name(at), digits;
	__u32 above = 0;
	int number = 0;

	letters &= 0xffffffffff;
	if ((letters != LETTERS('/', 'p', 'r', 'o', 'c', 0, 0) &&
	     letters != LETTERS('/', 'd', 'e', 'v', '/', 0, 0)) ||
	    name == NAME_UNREAD || name & NAME_LONG ||
	    bpf_probe_read_user(&above, sizeof(above),
				(const void *)(at + NAME_OFFSET(name) - sizeof(above))) ||
	    above != (__u32)LETTERS('/', 'f', 'd', '/', 0, 0, 0))
		return -1;
	digits = letters_at(at + NAME_OFFSET(name));
	for (int i = 0; i < 7 && digits; i++, digits >>= 8) {
		int digit = (int)(digits & 0xff) - '0';

		if (digit < 0 || digit > 9)
			return -1;
		number = number * 10 + digit;
	}
	return number;
}

/* The descriptor that a refused exec was of, by itself or by its name in /proc; or -1. */
static __always_inline int descriptor_of(long nr, struct pt_regs *regs, unsigned long path)
{
	return nr == NR_EXECVEAT && CALL_ARG5(regs) & AT_EMPTY_PATH ? (int)CALL_ARG1(regs)
								    : descriptor_in(path);
}

/*
 * May this one be told? More different paths than anybody searches for are drift themselves; the
 * same ones again, as a search in a loop names them, never are.
 */
static __always_inline int may_tell_refused(const struct dn_sensor_node *self, long nr,
					    unsigned long path, long result)
{
	__u32 slot = self->slot;
	struct dn_sensor_tried key = {.pid1 = self->pid1};
	enum tried tried = was_tried(nr, path, &key);

	if (tried >= TRIED_AGAIN)
		return tried == TRIED_AGAIN && may_say(slot, DN_PACE_REPEATABLE);
	if (may_say(slot, DN_PACE_EXEC)) {
		if (tried == TRIED_NEVER)
			remember(&key);
		return 1;
	}
	struct drift d = {.class = DN_DRIFT_EXEC, .nr = nr, .result = (__s32)result};
	if (self->answer[DN_DRIFT_EXEC] == ANSWER_QUARANTINE) {
		struct dn_sensor_mark *m = bpf_map_lookup_elem(&mark, &slot);

		if (m && set_mark(m, &d, current_pid()))
			ring_bell(slot, DN_DRIFT_EXEC);
	}
	return 0;
}

/* A refused exec by a path is judged by user space, which can resolve it. */
static __always_inline void observe_refused_exec(const struct dn_sensor_node *self, long nr,
						 struct pt_regs *regs, long result)
{
	unsigned long path = nr == NR_EXECVE ? CALL_ARG1(regs) : CALL_ARG2(regs);
	__u32 slot = self->slot;
	struct dn_sensor_mark *m = bpf_map_lookup_elem(&mark, &slot);

	if (!m || READ_ONCE(m->event_ns))
		return;
	if (answer_refused_file(self, nr, descriptor_of(nr, regs, path), result))
		return;
	if (!may_tell_refused(self, nr, path, result))
		return;
	struct dn_sensor_observation *seen =
		reserve_observation(slot, DN_DRIFT_EXEC, DN_SEEN_REFUSED);
	if (!seen)
		return;
	seen->nr = nr;
	seen->result = (__s32)result;
	if (nr == NR_EXECVEAT) {
		seen->dirfd = (__s32)CALL_ARG1(regs);
		seen->flags = (__u32)CALL_ARG5(regs);
	}
	if (bpf_probe_read_user_str(seen->path, sizeof(seen->path), (const void *)path) < 0)
		seen->path[0] = 0;
	bpf_ringbuf_submit(seen, 0);
}
