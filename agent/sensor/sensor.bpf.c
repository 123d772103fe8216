/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */

/*
 * The kernel half of the reflex. Two hooks see what a node executes or tries to execute and
 * mark it; four see its packets, and let none on once it is marked. The maps are described in
 * dnode/sensor-abi.h.
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
#include "sensor/packet.bpf.h"

/* What the kernel must hear before it lends its GPL-only helpers; the source is dual licensed. */
char LICENSE[] SEC("license") = "GPL";

/* Depth of a node's cgroup: one below the instance's parent. Set before loading. */
const volatile __u32 node_level = 0;

#define SIGKILL 9
#define SIGSTOP 19
#define EPERM 1
#define EACCES 13
#define AT_FDCWD (-100)

/* The values of DnAnswer. */
enum { ANSWER_OBSERVE, ANSWER_DENY, ANSWER_QUARANTINE };

/*
 * Put on a SYN that was turned into its own answer, so that the ingress program knows it when
 * it comes round. A node cannot send it: veth clears the mark between namespaces.
 */
enum { ANSWERED = 0x646e5253 };

#define READ_ONCE(x_) (*(volatile typeof(x_) *)&(x_))

/* The node of the current task, whatever sub-cgroup it made for itself. */
static __always_inline struct dn_sensor_node *current_node(void)
{
	__u64 id = bpf_get_current_ancestor_cgroup_id(node_level);

	return bpf_map_lookup_elem(&node, &id);
}

static __always_inline void count_loss(__u32 which)
{
	__u64 *lost = bpf_map_lookup_elem(&loss, &which);

	if (lost)
		__sync_fetch_and_add(lost, 1);
}

static __always_inline __u64 next_sequence(__u32 slot)
{
	__u64 *last = bpf_map_lookup_elem(&sequence, &slot);

	return last ? __sync_fetch_and_add(last, 1) + 1 : 0;
}

static __always_inline void ring_bell(__u32 slot, __u32 class)
{
	struct dn_sensor_verdict verdict = {
		.slot = slot, .class = class, .seq = next_sequence(slot)};

	if (bpf_ringbuf_output(&verdicts, &verdict, sizeof(verdict), BPF_RB_FORCE_WAKEUP))
		count_loss(DN_LOSS_VERDICT);
}

static __always_inline struct dn_sensor_observation *begin_observation(__u32 slot, __u32 class)
{
	struct dn_sensor_observation *seen;
	__u64 seq = next_sequence(slot);

	seen = bpf_ringbuf_reserve(&observations, sizeof(*seen), 0);
	if (!seen) {
		count_loss(DN_LOSS_OBSERVATION);
		return 0;
	}
	seen->slot = slot;
	seen->class = class;
	seen->seq = seq;
	seen->time_ns = bpf_ktime_get_ns();
	seen->dev = 0;
	seen->ino = 0;
	seen->result = 0;
	seen->pid = bpf_get_current_pid_tgid() >> 32;
	seen->dirfd = AT_FDCWD;
	seen->flags = 0;
	seen->path[0] = 0;
	bpf_get_current_comm(seen->comm, sizeof(seen->comm));
	return seen;
}

/*
 * Claim the slot and cut it. The swap comes first: from it on no packet goes on, and the
 * details may take their time. class is last and an exchange, which is a barrier.
 */
static __always_inline int set_mark(struct dn_sensor_mark *m, const struct dn_sensor_file *file,
				    const char *filename)
{
	if (READ_ONCE(m->event_ns) ||
	    __sync_val_compare_and_swap(&m->event_ns, 0, bpf_ktime_get_ns()))
		return 0;
	m->cut_ns = bpf_ktime_get_ns();
	m->dev = file->dev;
	m->ino = file->ino;
	m->pid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(m->comm, sizeof(m->comm));
	bpf_probe_read_kernel_str(m->path, sizeof(m->path), filename);
	__sync_lock_test_and_set(&m->class, DN_SENSOR_EXEC);
	return 1;
}

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

	if (!self || self->phase == DN_PHASE_CREATING)
		return 0;
	struct inode *inode = BPF_CORE_READ(bprm, file, f_inode);
	struct dn_sensor_file file = {
		.dev = BPF_CORE_READ(inode, i_sb, s_dev),
		.ino = BPF_CORE_READ(inode, i_ino),
		.image = self->image,
	};
	if (bpf_map_lookup_elem(&allow, &file))
		return 0;

	__u32 slot = self->slot, answer = self->exec;
	struct dn_sensor_mark *m = bpf_map_lookup_elem(&mark, &slot);
	const char *filename = BPF_CORE_READ(bprm, filename);
	int first = 0;

	if (!m)
		return 0;
	if (answer == ANSWER_QUARANTINE) {
		__u32 pid = bpf_get_current_pid_tgid() >> 32;

		first = set_mark(m, &file, filename);
		bpf_send_signal(pid == self->pid1 ? SIGSTOP : SIGKILL);
		if (first)
			ring_bell(slot, DN_SENSOR_EXEC);
		return 0;
	}
	if (answer == ANSWER_DENY)
		bpf_send_signal(SIGKILL);
	struct dn_sensor_observation *seen = begin_observation(slot, DN_SENSOR_EXEC);
	if (!seen)
		return 0;
	seen->dev = file.dev;
	seen->ino = file.ino;
	bpf_probe_read_kernel_str(seen->path, sizeof(seen->path), filename);
	bpf_ringbuf_submit(seen, 0);
	return 0;
}

/*
 * A refused exec reaches no exec hook, and one that seccomp refuses not even the entry of the
 * call; the common exit sees them all. It costs every system call of the host some 40 ns,
 * which a tracepoint of execve's own would too: the slow exit path is what costs.
 * The path is read again from the caller's memory and may have been changed by a sibling
 * meanwhile; that can hide an attempt that failed, never one that succeeded.
 */
SEC("raw_tp/sys_exit")
int on_sys_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct pt_regs *regs = (void *)ctx->args[0];
	long result = (long)ctx->args[1];

	if (result != -EACCES && result != -EPERM)
		return 0;
	long nr = CALL_NR(regs);
	if (nr != NR_EXECVE && nr != NR_EXECVEAT)
		return 0;
	struct dn_sensor_node *self = current_node();
	if (!self || self->phase == DN_PHASE_CREATING)
		return 0;
	__u32 slot = self->slot;
	struct dn_sensor_mark *m = bpf_map_lookup_elem(&mark, &slot);
	if (!m || READ_ONCE(m->event_ns))
		return 0;

	struct dn_sensor_observation *seen = begin_observation(slot, DN_SENSOR_EXEC_REFUSED);
	if (!seen)
		return 0;
	unsigned long path = CALL_ARG1(regs);
	seen->result = (__s32)result;
	if (nr == NR_EXECVEAT) {
		seen->dirfd = (__s32)path;
		path = CALL_ARG2(regs);
		seen->flags = (__u32)CALL_ARG5(regs);
	}
	if (bpf_probe_read_user_str(seen->path, sizeof(seen->path), (const void *)path) < 0)
		seen->path[0] = 0;
	bpf_ringbuf_submit(seen, 0);
	return 0;
}

static __always_inline int is_listen_port(const struct dn_sensor_mark *m, __u16 port)
{
	for (__u32 i = 0; i < DN_SENSOR_PORTS; i++)
		if (i < m->n_ports && m->ports[i] == port)
			return 1;
	return 0;
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

SEC("cgroup_skb/ingress")
int on_cgroup_in(struct __sk_buff *skb)
{
	struct dn_sensor_mark *m = packet_mark(skb);

	if (!m || !READ_ONCE(m->event_ns))
		return 1;
	count_drop(m, DN_PATH_CGROUP_IN);
	return 0;
}

SEC("cgroup_skb/egress")
int on_cgroup_out(struct __sk_buff *skb)
{
	struct dn_sensor_mark *m = packet_mark(skb);
	struct segment seg = {};

	if (!m || !READ_ONCE(m->event_ns))
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
enum reason { NO_REASON, EXEMPT_RESET, TURNED };

/* The last thing a packet meets: a mark that was set while it was looked at still stops it. */
static __always_inline int let_on(struct dn_sensor_mark *m, int path, __u64 marked,
				  enum reason reason)
{
	if (reason == EXEMPT_RESET)
		__sync_fetch_and_add(&m->resets[path], 1);
	else if (reason == TURNED)
		__sync_fetch_and_add(&m->synacks_turned, 1);
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
	count_drop(m, DN_PATH_TO_NODE);
	if (!read_segment(skb, ETH_HLEN, &seg) || !seg.header_only ||
	    (seg.flags & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_SYN || make_answer(skb, &seg))
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
	if (read_segment(skb, ETH_HLEN, &seg)) {
		if (is_exempt_reset(m, &seg))
			return let_on(m, DN_PATH_FROM_NODE, marked, EXEMPT_RESET);
		if (is_half_open_answer(m, &seg) && !make_reset(skb, &seg))
			return let_on(m, DN_PATH_FROM_NODE, marked, TURNED);
	}
	count_drop(m, DN_PATH_FROM_NODE);
	return TC_ACT_SHOT;
}
