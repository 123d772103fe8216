/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#pragma once

/* Which program a task executes, and whom it belongs to. */

/* DN_DRIFT_NONE when the file may be executed, whatever it is told to do. */
static __always_inline __u32 class_of_program(__u32 flags)
{
	if (flags & DN_FILE_EXEC)
		return DN_DRIFT_NONE;
	return flags & DN_FILE_SHELL ? DN_DRIFT_SHELL : DN_DRIFT_EXEC;
}

/*
 * A user or a capability that the node was not given: nothing refused it, so somebody got past the
 * kernel. That is proof, whatever the class of refused attempts is told to do, but for observe.
 */
static __always_inline int has_gained(const struct dn_sensor_node *self, struct task_struct *task)
{
	const struct cred *cred = BPF_CORE_READ(task, cred);
	__u32 uid = BPF_CORE_READ(cred, uid.val), euid = BPF_CORE_READ(cred, euid.val);
	__u64 effective = 0, permitted = 0;

	/* Whole: what these eight bytes are made of is not the same on every kernel. */
	bpf_core_read(&effective, sizeof(effective), &cred->cap_effective);
	bpf_core_read(&permitted, sizeof(permitted), &cred->cap_permitted);

	return uid - self->uid_base >= DN_SENSOR_UIDS || euid - self->uid_base >= DN_SENSOR_UIDS ||
	       effective || permitted;
}

static __always_inline void mark_gained(const struct dn_sensor_node *self)
{
	struct drift d = {.class = DN_DRIFT_UID};
	__u32 slot = self->slot;

	if (self->answer[DN_DRIFT_UID] == ANSWER_OBSERVE) {
		observe(slot, &d);
		return;
	}
	struct dn_sensor_mark *m = bpf_map_lookup_elem(&mark, &slot);
	if (!m)
		return;
	if (set_mark(m, &d, current_pid()))
		ring_bell(slot, DN_DRIFT_UID);
}
