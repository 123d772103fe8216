/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#pragma once

/* Processes that come into a node from elsewhere: by its control group, or by its namespaces. */

/* The node that @group of cgroup v2 is, or is below; v1 has numbers of its own. */
static __always_inline struct dn_sensor_node *node_of_cgroup(struct cgroup *group)
{
	struct cgroup *ancestor = 0;

	if (!bpf_core_field_exists(((struct cgroup *)0)->ancestors) ||
	    BPF_CORE_READ(group, root, hierarchy_id) != 0 ||
	    BPF_CORE_READ(group, level) < (int)node_level)
		return 0;
	const char *list = (const char *)group + bpf_core_field_offset(struct cgroup, ancestors);
	if (bpf_probe_read_kernel(&ancestor, sizeof(ancestor),
				  list + node_level * sizeof(ancestor)))
		return 0;
	__u64 id = BPF_CORE_READ(ancestor, kn, id);
	return bpf_map_lookup_elem(&node, &id);
}

/* Of process @pid, which need not be the current task; it may be one that is just being made. */
static __always_inline void answer_foreign(const struct dn_sensor_node *self, __u32 pid)
{
	struct drift d = {.class = DN_DRIFT_PROCESS_FOREIGN};
	__u32 slot = self->slot;

	if (self->answer[DN_DRIFT_PROCESS_FOREIGN] != ANSWER_QUARANTINE) {
		struct dn_sensor_observation *seen =
			begin_observation(slot, d.class, DN_SEEN_DRIFT);

		if (!seen)
			return;
		seen->pid = pid;
		bpf_ringbuf_submit(seen, 0);
		return;
	}
	struct dn_sensor_mark *m = bpf_map_lookup_elem(&mark, &slot);
	if (!m)
		return;
	if (set_mark(m, &d, pid))
		ring_bell(slot, d.class);
}

static __always_inline int is_agent(__u32 pid)
{
	__u32 zero = 0, *own = bpf_map_lookup_elem(&agent, &zero);

	return own && *own == pid;
}

/* The node whose namespace @inum is. */
static __always_inline struct dn_sensor_node *node_of_space(__u32 inum)
{
	__u64 *id = bpf_map_lookup_elem(&space, &inum);

	return id ? bpf_map_lookup_elem(&node, id) : 0;
}

/* Does the task live in the node's namespaces? One that joins only the control group does not. */
static __always_inline int is_at_home(const struct dn_sensor_node *self, struct task_struct *task)
{
	struct nsproxy *proxy = BPF_CORE_READ(task, nsproxy);

	return node_of_space(BPF_CORE_READ(proxy, mnt_ns, ns.inum)) == self ||
	       node_of_space(BPF_CORE_READ(proxy, pid_ns_for_children, ns.inum)) == self;
}

/* Somebody has entered a namespace; one of a node's is entered by its own processes and the agent.
 */
static __always_inline void on_entered(void)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct nsproxy *proxy = BPF_CORE_READ(task, nsproxy);
	struct dn_sensor_node *self = node_of_space(BPF_CORE_READ(proxy, mnt_ns, ns.inum));

	if (!self)
		self = node_of_space(BPF_CORE_READ(proxy, pid_ns_for_children, ns.inum));
	if (is_armed(self) && current_node() != self && !is_agent(current_pid()))
		answer_foreign(self, current_pid());
}

/*
 * The first process of a node ends, and its namespaces with it; their numbers are used again, by
 * others whom nobody may take for strangers in this node. It ends with the last of its threads,
 * whichever that is: its main thread may be gone long before.
 */
static __always_inline void on_ended(const struct dn_sensor_node *self)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct nsproxy *proxy = BPF_CORE_READ(task, nsproxy);

	if (!proxy || current_pid() != self->pid1 || BPF_CORE_READ(task, signal, live.counter) > 0)
		return;
	__u32 mounts = BPF_CORE_READ(proxy, mnt_ns, ns.inum);
	__u32 pids = BPF_CORE_READ(proxy, pid_ns_for_children, ns.inum);
	bpf_map_delete_elem(&space, &mounts);
	bpf_map_delete_elem(&space, &pids);
}
