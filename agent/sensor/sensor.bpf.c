/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */

/*
 * The kernel half of the reflex. Five hooks see what a node executes, maps and tries, and who comes
 * into it, and mark it; four see its packets, and let none on once it is marked, but for what tells
 * a client so (docs/decisions/0012). The maps are
 * described in dnode/sensor-abi.h.
 */

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <linux/types.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <dnode/sensor-abi.h>

#include "sensor/kernel.bpf.h"
#include "sensor/maps.bpf.h"

/* What the kernel must hear before it lends its GPL-only helpers; the source is dual licensed. */
char LICENSE[] SEC("license") = "GPL";

#define EROFS 30
#define ENOSYS 38

/*
 * Put on a SYN that was turned into its own answer, so that the ingress program knows it when
 * it comes round. A node cannot send it: veth clears the mark between namespaces.
 */
enum { ANSWERED = 0x646e5253 };

#include "sensor/mark.bpf.h"

#include "sensor/calls.bpf.h"
#include "sensor/exec.bpf.h"
#include "sensor/memory.bpf.h"
#include "sensor/names.bpf.h"
#include "sensor/packet.bpf.h"
#include "sensor/process.bpf.h"
#include "sensor/refused.bpf.h"

/*
 * After the point of no return of an exec and before its first instruction: a signal sent
 * here is taken on the way to user space. SIGKILL cannot be undone by a sibling; the node's
 * pid 1 is only stopped, for its death would take the rest of the evidence with it.
 */
SEC("raw_tp/sched_process_exec")
int on_exec(struct bpf_raw_tracepoint_args *ctx)
{
	struct linux_binprm *bprm = (void *)ctx->args[2];
	struct dn_sensor_node *self = current_node();

	if (!is_armed(self))
		return 0;
	struct drift d = {
		.file = name_of(BPF_CORE_READ(bprm, file, f_inode), self->image),
		.stop = STOP_EXEC,
		.path = BPF_CORE_READ(bprm, filename),
	};
	d.class = class_of_exec(flags_of(&d.file));
	if (d.class != DN_DRIFT_NONE)
		answer_drift(self, &d);
	else if (has_gained(self, (struct task_struct *)bpf_get_current_task()))
		mark_gained(self);
	return 0;
}

static __always_inline void on_refused(long nr, struct pt_regs *regs, long result)
{
	struct dn_sensor_node *self = current_node();

	if (!is_armed(self) || was_told(self->slot))
		return;
	if ((nr == NR_EXECVE || nr == NR_EXECVEAT) && result != -EROFS) {
		observe_refused_exec(self, nr, regs, result);
		return;
	}
	struct drift d = {
		.class = result == -EROFS ? DN_DRIFT_WRITE_EXEC
			 : result == -ENOSYS
				 ? (nr == NR_CLONE3 ? class_of_clone3(regs) : DN_DRIFT_NONE)
				 : class_of_refused(nr, regs),
		.nr = nr,
		.result = (__s32)result,
		.args = {CALL_ARG1(regs), CALL_ARG3(regs)},
		.path_of_user = 1,
	};
	/* Who may make code asks for it in more ways than the profile grants, and has another. */
	if (d.class == DN_DRIFT_NONE || (self->jit && d.class == DN_DRIFT_EXEC_MEMORY))
		return;
	int which = path_argument(nr);
	if (which)
		d.path = (const char *)(which == 1 ? CALL_ARG1(regs) : CALL_ARG2(regs));
	/* The root cannot be written to, so nothing was: told, whatever the class is answered with.
	 */
	if (result == -EROFS)
		observe(self->slot, &d);
	else
		answer_drift(self, &d);
}

/*
 * What seccomp refuses does not reach the entry of its call; the common exit sees all. It costs
 * every system call of the host 40 to 130 ns, which a tracepoint of one call's own would too: the
 * slow exit path is what costs. A path is read again from the caller's memory and may have been
 * changed by a sibling meanwhile; that can hide an attempt that failed, never one that succeeded.
 */
SEC("raw_tp/sys_exit")
int on_sys_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct pt_regs *regs = (void *)ctx->args[0];
	long result = (long)ctx->args[1], nr;

	if (result < 0 && result > -4096) {
		/* Reading the number costs more than all the rest: most failures are others. */
		if (result != -EPERM && result != -EACCES && result != -EROFS && result != -ENOSYS)
			return 0;
		nr = CALL_NR(regs);
		if (result != -ENOSYS || nr == NR_CLONE3)
			on_refused(nr, regs, result);
		return 0;
	}
	nr = CALL_NR(regs);
	switch (nr) {
	case NR_MMAP:
		on_mapped(regs, (unsigned long)result);
		break;
	case NR_MPROTECT:
	case NR_PKEY_MPROTECT:
		if (CALL_ARG3(regs) & PROT_EXEC)
			on_memory_executable(nr, regs, CALL_ARG1(regs));
		break;
	case NR_SHMAT:
		if (CALL_ARG3(regs) & SHM_EXEC)
			on_memory_executable(nr, regs, (unsigned long)result);
		break;
	case NR_OPEN:
	case NR_OPENAT:
	case NR_OPENAT2:
	case NR_CREAT:
		on_opened(nr, regs, (__u32)result);
		break;
	case NR_CHMOD:
	case NR_FCHMOD:
	case NR_FCHMODAT:
	case NR_FCHMODAT2:
		on_mode_changed(nr, regs);
		break;
	case NR_SETXATTR:
	case NR_LSETXATTR:
	case NR_FSETXATTR:
		on_attribute_set(nr, regs);
		break;
	case NR_SETNS:
		on_entered();
		break;
	}
	return 0;
}

/*
 * A task was moved into a control group. The runtime does so while it makes a node, before the node
 * is known here; afterwards nobody does, but for the helper of a drill, which the agent announces.
 * Here the task is in its new group already, so one that moved itself looks like the node's: its
 * namespaces tell.
 */
SEC("raw_tp/cgroup_attach_task")
int on_attach(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (void *)ctx->args[2];
	struct dn_sensor_node *self = node_of_cgroup((void *)ctx->args[0]);

	if (!is_armed(self))
		return 0;
	__u32 pid = BPF_CORE_READ(task, tgid);
	if (pid != self->guest && (current_node() != self || !is_at_home(self, task)))
		answer_foreign(self, pid);
	return 0;
}

/* clone3() can make a task right in another control group; and what has gained anything shows. */
SEC("raw_tp/sched_process_fork")
int on_fork(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *child = (void *)ctx->args[1];
	struct dn_sensor_node *own = current_node(), *self = own;

	if (!own)
		self = node_of_cgroup(BPF_CORE_READ(child, cgroups, dfl_cgrp));
	if (!is_armed(self))
		return 0;
	if (!own)
		answer_foreign(self, BPF_CORE_READ(child, tgid));
	else if (has_gained(self, child))
		mark_gained(self);
	return 0;
}

SEC("raw_tp/sched_process_exit")
int on_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct dn_sensor_node *self = current_node();

	(void)ctx;
	if (self)
		on_ended(self);
	return 0;
}

static __always_inline int is_listen_port(const struct dn_sensor_mark *m, __u16 port)
{
	for (__u32 i = 0; i < DN_SENSOR_PORTS; i++)
		if (i < m->n_ports && m->ports[i] == port)
			return 1;
	return 0;
}

static __always_inline int is_udp_port(const struct dn_sensor_mark *m, __u16 port)
{
	for (__u32 i = 0; i < DN_SENSOR_PORTS; i++)
		if (i < m->n_udp && m->udp[i] == port)
			return 1;
	return 0;
}

/*
 * Mode isolate: a packet of a connection that a client made to a declared port, or a datagram of
 * such a port. A node cannot begin a connection from one: its SYN has no ACK.
 */
static __always_inline int is_served(struct __sk_buff *skb, const struct dn_sensor_mark *m,
				     __u32 l3, int from_node)
{
	struct segment seg = {};

	if (READ_ONCE(m->mode) != DN_MODE_ISOLATE)
		return 0;
	if (read_segment(skb, l3, &seg))
		return from_node
			       ? (seg.flags & (TCP_ACK | TCP_RST)) && is_listen_port(m, seg.source)
			       : is_listen_port(m, seg.destination);
	return read_datagram(skb, l3, &seg) &&
	       is_udp_port(m, from_node ? seg.source : seg.destination);
}

/* A reset that tells a client at once, while the agent destroys the sockets of its service. */
static __always_inline int is_exempt_reset(const struct dn_sensor_mark *m,
					   const struct segment *seg)
{
	return READ_ONCE(m->window) && (seg->flags & TCP_RST) && seg->header_only &&
	       is_listen_port(m, seg->source);
}

/*
 * The answer to a connection that was being opened: the node knows its client as a request
 * only, which SOCK_DESTROY drops without a word. tc turns it into a reset.
 */
static __always_inline int is_half_open_answer(const struct dn_sensor_mark *m,
					       const struct segment *seg)
{
	return (seg->flags & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK)) == (TCP_SYN | TCP_ACK) &&
	       seg->header_only && is_listen_port(m, seg->source);
}

static __always_inline int is_opening(const struct segment *seg)
{
	return (seg->flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN && seg->header_only;
}

static __always_inline void count_drop(struct dn_sensor_mark *m, int path)
{
	if (!READ_ONCE(m->first_drop_ns))
		__sync_val_compare_and_swap(&m->first_drop_ns, 0, bpf_ktime_get_ns());
	__sync_fetch_and_add(&m->drops[path], 1);
}

static __always_inline struct dn_sensor_mark *packet_mark(struct __sk_buff *skb)
{
	__u64 id = bpf_skb_ancestor_cgroup_id(skb, node_level);
	struct dn_sensor_node *self = bpf_map_lookup_elem(&node, &id);
	__u32 slot;

	if (!self)
		return 0;
	slot = self->slot;
	return bpf_map_lookup_elem(&mark, &slot);
}

/*
 * A connection whose first packet tc let on just before the mark: dropped here, it would be opened
 * again after a second only. The node's kernel answers it, and tc turns that into a reset.
 * docs/decisions/0012.
 */
SEC("cgroup_skb/ingress")
int on_cgroup_in(struct __sk_buff *skb)
{
	struct dn_sensor_mark *m = packet_mark(skb);
	struct segment seg = {};

	if (!m || !READ_ONCE(m->event_ns) || is_served(skb, m, 0, 0))
		return 1;
	if (read_segment(skb, 0, &seg) && is_opening(&seg) && is_listen_port(m, seg.destination))
		return 1;
	count_drop(m, DN_PATH_CGROUP_IN);
	return 0;
}

SEC("cgroup_skb/egress")
int on_cgroup_out(struct __sk_buff *skb)
{
	struct dn_sensor_mark *m = packet_mark(skb);
	struct segment seg = {};

	if (!m || !READ_ONCE(m->event_ns) || is_served(skb, m, 0, 1))
		return 1;
	if (read_segment(skb, 0, &seg)) {
		if (is_half_open_answer(m, &seg))
			return 1;
		if (is_exempt_reset(m, &seg)) {
			__sync_fetch_and_add(&m->resets[DN_PATH_CGROUP_OUT], 1);
			return 1;
		}
	}
	count_drop(m, DN_PATH_CGROUP_OUT);
	return 0;
}

static __always_inline struct dn_sensor_mark *link_mark(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	__u32 *slot = bpf_map_lookup_elem(&link, &ifindex);

	return slot ? bpf_map_lookup_elem(&mark, slot) : 0;
}

/* Why a packet of a marked node goes on; anything without a reason is a hole and counted so. */
enum reason { NO_REASON, EXEMPT_RESET, TURNED, SERVED };

/* The last thing a packet meets: a mark that was set while it was looked at still stops it. */
static __always_inline int let_on(struct dn_sensor_mark *m, int path, __u64 marked,
				  enum reason reason)
{
	if (reason == EXEMPT_RESET)
		__sync_fetch_and_add(&m->resets[path], 1);
	else if (reason == TURNED)
		__sync_fetch_and_add(&m->synacks_turned, 1);
	else if (reason == SERVED)
		__sync_fetch_and_add(&m->served, 1);
	else if (marked)
		__sync_fetch_and_add(&m->packets_after_cut, 1);
	else if (READ_ONCE(m->event_ns)) {
		count_drop(m, path);
		return TC_ACT_SHOT;
	}
	return TC_ACT_UNSPEC;
}

/* Egress of the host's end of the veth: towards the node. */
SEC("tc")
int tc_to_node(struct __sk_buff *skb)
{
	struct dn_sensor_mark *m = link_mark(skb);
	struct segment seg = {};

	if (!m)
		return TC_ACT_UNSPEC;
	__u64 marked = READ_ONCE(m->event_ns);
	if (!marked)
		return let_on(m, DN_PATH_TO_NODE, marked, NO_REASON);
	if (is_served(skb, m, ETH_HLEN, 0))
		return let_on(m, DN_PATH_TO_NODE, marked, SERVED);
	count_drop(m, DN_PATH_TO_NODE);
	if (!read_segment(skb, ETH_HLEN, &seg) || !is_opening(&seg) || make_answer(skb, &seg))
		return TC_ACT_SHOT;
	__sync_fetch_and_add(&m->syns_answered, 1);
	skb->mark = ANSWERED;
	return bpf_redirect(skb->ifindex, BPF_F_INGRESS);
}

/* Ingress of the host's end of the veth: from the node. */
SEC("tc")
int tc_from_node(struct __sk_buff *skb)
{
	struct dn_sensor_mark *m = link_mark(skb);
	struct segment seg = {};

	if (!m)
		return TC_ACT_UNSPEC;
	if (skb->mark == ANSWERED) { /* counted when it was answered; not a packet of the node */
		skb->mark = 0;
		return TC_ACT_UNSPEC;
	}
	__u64 marked = READ_ONCE(m->event_ns);
	if (!marked)
		return let_on(m, DN_PATH_FROM_NODE, marked, NO_REASON);
	if (is_served(skb, m, ETH_HLEN, 1))
		return let_on(m, DN_PATH_FROM_NODE, marked, SERVED);
	if (read_segment(skb, ETH_HLEN, &seg)) {
		if (is_exempt_reset(m, &seg))
			return let_on(m, DN_PATH_FROM_NODE, marked, EXEMPT_RESET);
		if (is_half_open_answer(m, &seg) && !make_reset(skb, &seg))
			return let_on(m, DN_PATH_FROM_NODE, marked, TURNED);
	}
	count_drop(m, DN_PATH_FROM_NODE);
	return TC_ACT_SHOT;
}
