/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */

/*
 * The extra of kernels that let BPF programs decide at their security hooks: what sensor.bpf.c sees
 * once it has been done is refused here, before it has any effect, and the node is marked first.
 * The maps are the sensor's, and so is every judgement. What a class only observes is let go on:
 * the sensor tells of it as it does without this.
 */

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <dnode/sensor-abi.h>

#include "sensor/kernel.bpf.h"
#include "sensor/maps.bpf.h"

/* What the kernel must hear before it lends its GPL-only helpers; the source is dual licensed. */
char LICENSE[] SEC("license") = "GPL";

#include "sensor/mark.bpf.h"

#include "sensor/calls.bpf.h"
#include "sensor/exec.bpf.h"
#include "sensor/memory.bpf.h"

/* Set by the first call of bpf() on this host. Programs attach to hooks that nobody calls, too. */
__u32 heard = 0;

/* The kernel's fs.h, ptrace.h and kernel_read_file.h, and elf.h as a word in memory. */
enum {
	PTRACE_MODE_ATTACH = 2,
	PTRACE_MODE_REALCREDS = 16, /* by a system call, not by opening a file of /proc */
	READING_MODULE = 2,
	READING_KEXEC_INITRAMFS = 4,
	ELF_MAGIC = 0x464c457f,
};

/* What the hook is to return. Nothing was gained, so nothing is held. */
static __always_inline int refuse(const struct dn_sensor_node *self, struct drift *d, int error)
{
	__u8 answer = self->answer[d->class & (DN_DRIFT_LIMIT - 1)];

	if (answer == ANSWER_OBSERVE)
		return 0;
	d->result = -error;
	answer_drift(self, d);
	if (answer == ANSWER_DENY)
		note_told(self->slot);
	return -error;
}

/* A call that nothing declared makes. */
static __always_inline int refuse_call(__u32 class, __u32 nr)
{
	struct dn_sensor_node *self = current_node();
	struct drift d = {.class = class, .nr = nr};

	return is_armed(self) ? refuse(self, &d, EPERM) : 0;
}

/*
 * Only ELF files are judged: what begins otherwise is handed to an interpreter, for which this is
 * called again. A program of many names is left to the sensor: nobody can read its arguments yet.
 */
SEC("lsm/bprm_check_security")
int deny_exec(__u64 *ctx)
{
	struct linux_binprm *bprm = (void *)ctx[0];
	struct dn_sensor_node *self = current_node();
	__u32 begin = 0;

	if (!is_armed(self) || bpf_core_read(&begin, sizeof(begin), &bprm->buf) ||
	    begin != ELF_MAGIC)
		return 0;
	struct drift d = {
		.nr = NR_EXECVE,
		.file = name_of(BPF_CORE_READ(bprm, file, f_inode), self->image),
		.path = BPF_CORE_READ(bprm, filename),
	};
	d.class = class_of_program(flags_of(&d.file));
	return d.class == DN_DRIFT_NONE ? 0 : refuse(self, &d, EACCES);
}

/* Does the kernel map a program that may be executed, or that was let go on? */
static __always_inline int is_loading(void)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();

	return !bpf_core_field_exists(task->in_execve) ||
	       BPF_CORE_READ_BITFIELD_PROBED(task, in_execve);
}

SEC("lsm/mmap_file")
int deny_mapping(__u64 *ctx)
{
	struct file *file = (void *)ctx[0];
	unsigned long prot = ctx[1], flags = ctx[3];

	if (!(prot & PROT_EXEC))
		return 0;
	struct dn_sensor_node *self = current_node();
	if (!is_armed(self) || is_loading())
		return 0;
	struct drift d = {.class = DN_DRIFT_EXEC_MEMORY, .nr = NR_MMAP, .args = {0, prot}};
	if (!self->jit && (flags & MAP_ANONYMOUS || prot & PROT_WRITE))
		return refuse(self, &d, EPERM);
	if (flags & MAP_ANONYMOUS || !file || !is_foreign_code(self, file, &d))
		return 0;
	return refuse(self, &d, EPERM);
}

/* Memory that becomes executable later; of a service that makes code, a file that is not its own.
 */
SEC("lsm/file_mprotect")
int deny_protection(__u64 *ctx)
{
	struct vm_area_struct *vma = (void *)ctx[0];
	unsigned long prot = ctx[1];

	if (!(prot & PROT_EXEC))
		return 0;
	struct dn_sensor_node *self = current_node();
	if (!is_armed(self))
		return 0;
	struct drift d = {.class = DN_DRIFT_EXEC_MEMORY, .nr = NR_MPROTECT, .args = {0, prot}};
	if (self->jit) {
		struct file *file = BPF_CORE_READ(vma, vm_file);

		if (!file || !is_foreign_code(self, file, &d))
			return 0;
	}
	return refuse(self, &d, EPERM);
}

SEC("lsm/file_open")
int deny_memory(__u64 *ctx)
{
	struct file *file = (void *)ctx[0];
	struct drift d = {};

	if (!is_writable_memory(file, &d))
		return 0;
	struct dn_sensor_node *self = current_node();
	return is_armed(self) ? refuse(self, &d, EACCES) : 0;
}

SEC("lsm/sb_mount")
int deny_mount(void *ctx)
{
	(void)ctx;
	return refuse_call(DN_DRIFT_MOUNT, NR_MOUNT);
}

SEC("lsm/sb_umount")
int deny_umount(void *ctx)
{
	(void)ctx;
	return refuse_call(DN_DRIFT_MOUNT, NR_UMOUNT2);
}

SEC("lsm/sb_pivotroot")
int deny_pivot(void *ctx)
{
	(void)ctx;
	return refuse_call(DN_DRIFT_MOUNT, NR_PIVOT_ROOT);
}

SEC("lsm/move_mount")
int deny_move(void *ctx)
{
	(void)ctx;
	return refuse_call(DN_DRIFT_MOUNT, NR_MOVE_MOUNT);
}

/* Looking into /proc asks as well, and is what monitors do; who attaches names itself. */
SEC("lsm/ptrace_access_check")
int deny_ptrace(__u64 *ctx)
{
	__u32 mode = (__u32)ctx[1];

	return mode & PTRACE_MODE_ATTACH && mode & PTRACE_MODE_REALCREDS
		       ? refuse_call(DN_DRIFT_PTRACE, NR_PTRACE)
		       : 0;
}

SEC("lsm/ptrace_traceme")
int deny_traceme(void *ctx)
{
	(void)ctx;
	return refuse_call(DN_DRIFT_PTRACE, NR_PTRACE);
}

SEC("lsm/bpf")
int deny_bpf(void *ctx)
{
	(void)ctx;
	heard = 1;
	return refuse_call(DN_DRIFT_BPF, NR_BPF);
}

static __always_inline int is_kernel_code(__u32 what)
{
	return what >= READING_MODULE && what <= READING_KEXEC_INITRAMFS;
}

SEC("lsm/kernel_load_data")
int deny_load(__u64 *ctx)
{
	return is_kernel_code((__u32)ctx[0]) ? refuse_call(DN_DRIFT_MODULE, NR_INIT_MODULE) : 0;
}

SEC("lsm/kernel_read_file")
int deny_read(__u64 *ctx)
{
	return is_kernel_code((__u32)ctx[1]) ? refuse_call(DN_DRIFT_MODULE, NR_FINIT_MODULE) : 0;
}

SEC("lsm/userns_create")
int deny_namespace(void *ctx)
{
	(void)ctx;
	return refuse_call(DN_DRIFT_NAMESPACE, NR_UNSHARE);
}
