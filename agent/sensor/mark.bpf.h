/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#pragma once

/*
 * What is done about a drift, by what the node's entry says of its class: marked, so that no packet
 * goes on, or told to user space at a bounded rate.
 */

#define EPERM 1
#define EACCES 13
#define SIGKILL 9
#define SIGSTOP 19
#define AT_FDCWD (-100)

/* The values of DnAnswer. */
enum { ANSWER_OBSERVE, ANSWER_DENY, ANSWER_QUARANTINE };

/* What keeps the task from going on until it is frozen. */
enum stop {
	STOP_NOTHING, /* nothing was gained by it: the call was refused */
	STOP_TASK,    /* it is held as it is, for its memory tells what was done */
	STOP_EXEC,    /* killed before its first instruction; the node's pid 1 is held */
};

struct drift {
	__u32 class;
	enum stop stop;
	__u32 nr;
	__s32 result;
	__u64 args[2];
	struct dn_sensor_file file;
	const char *path; /* or 0 */
	__u32 path_of_user;
};

/* Depth of a node's cgroup: one below the instance's parent. Set before loading. */
const volatile __u32 node_level = 0;

#define READ_ONCE(x_) (*(volatile typeof(x_) *)&(x_))

/* The node of the current task, whatever sub-cgroup it made for itself. */
static __always_inline struct dn_sensor_node *current_node(void)
{
	__u64 id = bpf_get_current_ancestor_cgroup_id(node_level);

	return bpf_map_lookup_elem(&node, &id);
}

static __always_inline __u32 current_pid(void)
{
	return bpf_get_current_pid_tgid() >> 32;
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

/* What a server without rights, or one that looks for a place to write, tries without harm. */
static __always_inline __u32 pace_of(__u32 class, __u32 kind)
{
	if (kind == DN_SEEN_REFUSED)
		return DN_PACE_EXEC;
	return class == DN_DRIFT_WRITE_EXEC || class == DN_DRIFT_UID ? DN_PACE_REPEATABLE
								     : DN_PACE_OTHER;
}

/* May the node say one more thing? Two that ask at once may both be told yes: no harm. */
static __always_inline int may_say(__u32 slot, __u32 which)
{
	__u32 key = slot * DN_PACES + which;
	__u32 limit = which == DN_PACE_EXEC         ? DN_SENSOR_PACE_EXEC
		      : which == DN_PACE_REPEATABLE ? DN_SENSOR_PACE_REPEATABLE
						    : DN_SENSOR_PACE;
	struct dn_sensor_pace *p = bpf_map_lookup_elem(&pace, &key);
	__u64 now = bpf_ktime_get_ns();

	if (!p)
		return 0;
	if (now - p->since_ns > DN_SENSOR_PACE_NS) {
		p->since_ns = now;
		p->said = 0;
	}
	if (__sync_fetch_and_add(&p->said, 1) < limit)
		return 1;
	__sync_fetch_and_add(&p->swallowed, 1);
	return 0;
}

/* Room for what may be said; the loss is counted when the ring has none. */
static __always_inline struct dn_sensor_observation *reserve_observation(__u32 slot, __u32 class,
									 __u32 kind)
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
	seen->kind = kind;
	seen->seq = seq;
	seen->time_ns = bpf_ktime_get_ns();
	seen->dev = 0;
	seen->ino = 0;
	seen->args[0] = seen->args[1] = 0;
	seen->result = 0;
	seen->nr = 0;
	seen->pid = current_pid();
	seen->dirfd = AT_FDCWD;
	seen->flags = 0;
	seen->path[0] = 0;
	bpf_get_current_comm(seen->comm, sizeof(seen->comm));
	return seen;
}

static __always_inline struct dn_sensor_observation *begin_observation(__u32 slot, __u32 class,
								       __u32 kind)
{
	return may_say(slot, pace_of(class, kind)) ? reserve_observation(slot, class, kind) : 0;
}

static __always_inline void copy_path(__u8 *to, const struct drift *d)
{
	long length = 0;

	if (!d->path)
		return;
	length = d->path_of_user ? bpf_probe_read_user_str(to, DN_SENSOR_PATH, d->path)
				 : bpf_probe_read_kernel_str(to, DN_SENSOR_PATH, d->path);
	if (length < 0)
		to[0] = 0;
}

static __always_inline void observe(__u32 slot, const struct drift *d)
{
	struct dn_sensor_observation *seen = begin_observation(slot, d->class, DN_SEEN_DRIFT);

	if (!seen)
		return;
	seen->dev = d->file.dev;
	seen->ino = d->file.ino;
	seen->args[0] = d->args[0];
	seen->args[1] = d->args[1];
	seen->result = d->result;
	seen->nr = d->nr;
	copy_path(seen->path, d);
	bpf_ringbuf_submit(seen, 0);
}

/*
 * Claim the slot and cut it. The swap comes first: from it on no packet goes on, and the
 * details may take their time. class is last and an exchange, which is a barrier.
 */
static __always_inline int set_mark(struct dn_sensor_mark *m, const struct drift *d, __u32 pid)
{
	if (READ_ONCE(m->event_ns) ||
	    __sync_val_compare_and_swap(&m->event_ns, 0, bpf_ktime_get_ns()))
		return 0;
	m->cut_ns = bpf_ktime_get_ns();
	m->dev = d->file.dev;
	m->ino = d->file.ino;
	m->args[0] = d->args[0];
	m->args[1] = d->args[1];
	m->result = d->result;
	m->nr = d->nr;
	m->pid = pid;
	bpf_get_current_comm(m->comm, sizeof(m->comm));
	copy_path(m->path, d);
	__sync_lock_test_and_set(&m->class, d->class);
	return 1;
}

static __always_inline void hold(const struct dn_sensor_node *self, enum stop stop)
{
	if (stop == STOP_TASK || (stop == STOP_EXEC && current_pid() == self->pid1))
		bpf_send_signal(SIGSTOP);
	else if (stop == STOP_EXEC)
		bpf_send_signal(SIGKILL);
}

/* Of the current task, which is the node's. */
static __always_inline void answer_drift(const struct dn_sensor_node *self, const struct drift *d)
{
	__u32 slot = self->slot;
	__u8 answer = self->answer[d->class & (DN_DRIFT_LIMIT - 1)];

	if (answer != ANSWER_QUARANTINE) {
		if (answer == ANSWER_DENY && d->stop != STOP_NOTHING)
			bpf_send_signal(SIGKILL);
		observe(slot, d);
		return;
	}
	struct dn_sensor_mark *m = bpf_map_lookup_elem(&mark, &slot);
	if (!m)
		return;
	int first = set_mark(m, d, current_pid());
	hold(self, d->stop);
	if (first)
		ring_bell(slot, d->class);
}

/* Is it to be watched? While the runtime sets it up, what is done there is the runtime's. */
static __always_inline int is_armed(const struct dn_sensor_node *self)
{
	return self && self->phase != DN_PHASE_CREATING;
}

/* How the sensor names a file to the set of @image. */
static __always_inline struct dn_sensor_file name_of(struct inode *inode, __u32 image)
{
	struct dn_sensor_file file = {
		.dev = BPF_CORE_READ(inode, i_sb, s_dev),
		.ino = BPF_CORE_READ(inode, i_ino),
		.image = image,
	};

	return file;
}

static __always_inline __u32 flags_of(const struct dn_sensor_file *file)
{
	__u32 *flags = bpf_map_lookup_elem(&allow, file);

	return flags ? *flags : 0;
}

/*
 * The current task is about to be refused something, which was told already; its call will fail
 * once more where it ends. One task a node is remembered: of two at once one is told of twice.
 */
static __always_inline void note_told(__u32 slot)
{
	struct dn_sensor_mark *m = bpf_map_lookup_elem(&mark, &slot);

	if (m)
		m->told = bpf_get_current_pid_tgid();
}

/* Was the failure of the current task's call told where it was refused? */
static __always_inline int was_told(__u32 slot)
{
	struct dn_sensor_mark *m = bpf_map_lookup_elem(&mark, &slot);
	__u64 task = bpf_get_current_pid_tgid();

	return m && READ_ONCE(m->told) == task &&
	       __sync_val_compare_and_swap(&m->told, task, 0) == task;
}
