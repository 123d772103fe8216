/* SPDX-License-Identifier: Apache-2.0 */
#include "main/watch.h"
#include "main/incident.h"

#include <glib-unix.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "inspect/inspect.h"
#include "sensor/integrity.h"

/*
 * One look at a time goes round all nodes, every PAUSE_MS, and never before as much time has passed
 * as the last one took, so that the cost is bounded whatever the number of nodes. Now and then it
 * also walks the whole host, for processes that have entered a node's namespaces past its control
 * group.
 */
enum {
	PAUSE_MS = 500,
	REST_MS =
		10, /* at least, and as long as the last round took, where somebody asks for one */
	SETTLE_MS = 500,      /* after a start the runtime is still on its way out */
	STRANGERS_EVERY = 20, /* looks */
	TELL_AGAIN_S = 300
};

struct DnSubject {
	gint refs; /* atomic */
	char *node;
	DnSensor *sensor; /* borrowed */
	DnWatched watched;
	DnInspectBaseline *baseline; /* owned */
	DnInspectLook look;          /* the looker's, like the next three */
	bool unread_told;
	DnHeld held;
	bool mounts_polled; /* set before the first look */
	gint mounts_seen;   /* atomic: they were read since they changed last */
	GMutex lock;        /* of what follows, and while something is put right */
	bool retired;
};

/* The classes are those that the kernel tells: what the manifest answers there it answers here. */
static enum dn_drift_class class_of(void *data, uint64_t dev, uint64_t ino, bool as_program)
{
	const DnSubject *self = data;
	uint32_t flags = dn_sensor_flags_of(self->sensor, self->watched.node.image, dev, ino);

	if (flags & DN_FILE_EXEC)
		return DN_DRIFT_NONE;
	if (!as_program)
		return flags & DN_FILE_MAP ? DN_DRIFT_NONE : DN_DRIFT_LIBRARY;
	return flags & DN_FILE_SHELL ? DN_DRIFT_SHELL : DN_DRIFT_EXEC;
}

/* Of which one process a look is enough: it may last and is only told, or one cuts the node. */
static uint32_t lenient_classes(const DnAnswer *answers)
{
	uint32_t classes = 0;

	for (unsigned i = 0; i < DN_DRIFT_N; i++)
		if (answers[i] != DN_ANSWER_QUARANTINE)
			classes |= UINT32_C(1) << i;
	return classes;
}

DnSubject *dn_subject_new(Agent *agent, const char *node, const DnWatched *watched, GError **error)
{
	DnSubject *self = g_new0(DnSubject, 1);
	const DnInstance *instance = agent->instance;
	g_autofree char *group =
		g_build_filename(instance->cgroup_root, instance->cgroup_parent, node, NULL);

	self->refs = 1;
	self->node = g_strdup(node);
	self->sensor = agent->sensor;
	self->watched = *watched;
	/* The copy must not point into the original, nor beyond. */
	self->watched.mounts = NULL;
	self->watched.node.ports = self->watched.ports;
	self->watched.node.udp = self->watched.udp;
	memcpy(self->watched.answers, watched->node.answer, sizeof(self->watched.answers));
	self->watched.node.answer = self->watched.answers;
	g_mutex_init(&self->lock);
	DnInspectNode seen = {
		.cgroup_dir = group,
		.pid1 = watched->node.pid1,
		.uid_base = watched->node.uid_base,
		.jit = watched->node.jit,
		.is_created = watched->is_created,
		.once = lenient_classes(watched->node.answer),
		.class_of = class_of,
		.data = self,
		.start_time = watched->start_time,
		.mounts = watched->mounts,
	};
	self->baseline = dn_inspect_baseline_now(&seen, error);
	if (self->baseline != NULL)
		return self;
	dn_subject_unref(self);
	return NULL;
}

static DnSubject *subject_ref(DnSubject *self)
{
	g_atomic_int_inc(&self->refs);
	return self;
}

void dn_subject_unref(DnSubject *self)
{
	if (self == NULL || !g_atomic_int_dec_and_test(&self->refs))
		return;
	dn_inspect_baseline_free(self->baseline);
	g_mutex_clear(&self->lock);
	g_free(self->node);
	g_free(self);
}

const char *dn_subject_mounts(const DnSubject *self)
{
	return dn_inspect_baseline_mounts(self->baseline);
}

void dn_subject_retire(DnSubject *self)
{
	if (self == NULL)
		return;
	g_mutex_lock(&self->lock);
	self->retired = true;
	g_mutex_unlock(&self->lock);
}

/* ---- one round, on a worker ---- */

typedef struct {
	Agent *agent;
	GPtrArray *subjects; /* of DnSubject, referenced */
	GArray *marked;      /* of bool, one a subject: it is cut and has to stay so */
	GArray *exempt;      /* of uint32_t: a drill's helper, or 0 */
	bool is_of_all;      /* else of those that were not looked at to their end */
	bool strangers;
	GPtrArray *found; /* of DnFound */
	uint64_t begin_ns;
	bool incomplete; /* a look ended at its budget: the next goes on there */
	char *hooks;     /* what was wrong with the sensor as a whole, or NULL */
	bool hooks_repaired;
} Round;

static void round_free(gpointer data)
{
	Round *round = data;

	g_ptr_array_unref(round->subjects);
	g_array_unref(round->marked);
	g_array_unref(round->exempt);
	g_ptr_array_unref(round->found);
	g_free(round->hooks);
	g_free(round);
}

static DnFound *add_found(Round *round, const DnSubject *subject, enum dn_drift_class drift)
{
	DnFound *found = g_new0(DnFound, 1);

	found->node = g_strdup(subject->node);
	found->slot = subject->watched.node.slot;
	found->drift = drift;
	g_ptr_array_add(round->found, found);
	return found;
}

static void add_finding(Round *round, const DnSubject *subject, const DnInspectFinding *finding)
{
	DnFound *found = add_found(round, subject, finding->class);

	found->pid = finding->pid;
	found->line = g_strdup_printf("process %u (%s) %s%s%s", finding->pid, finding->comm,
				      finding->detail, finding->path[0] != '\0' ? ": " : "",
				      finding->path);
}

/* Is it about to be cut for what was found? Then it does not run until then. */
static bool is_proven(const DnSubject *subject)
{
	for (uint32_t i = 0; i < subject->look.n_findings; i++)
		if (subject->watched.answers[subject->look.findings[i].class] ==
		    DN_ANSWER_QUARANTINE)
			return true;
	return false;
}

/* A look, for which the node is frozen where it never comes to an end otherwise. */
static bool look(const Agent *agent, DnSubject *subject)
{
	DnInspectLook *look = &subject->look;
	DnHeld *held = &subject->held;
	uint32_t slot = subject->watched.node.slot;

	look->by_the_clock = dn_hold_is_due(&held->plan, look->n_looks, look->n_fled,
					    look->n_members, dn_clock_monotonic_ns()) &&
			     dn_held_begin(held, agent, subject->node, slot);
	/* What has fled may be behind the place where the last look stopped. */
	if (look->by_the_clock && look->n_fled > 0) {
		look->who = look->cursor = (DnInspectPlace){0};
		look->has_who = look->has_code = false;
	}
	look->budget_ns = look->by_the_clock ? dn_hold_limit_ns(&held->plan) : 0;
	bool looked = dn_inspect_node_now(subject->baseline, look, NULL);
	held->is_whole = looked && look->n_looks == 0;
	if (!looked || !is_proven(subject))
		dn_held_end(held, agent, slot);
	return looked;
}

static void look_at(Round *round, DnSubject *subject, uint32_t exempt)
{
	subject->look.exempt_pid = exempt;
	/* Said before they are read: what changes meanwhile takes it back. */
	subject->look.without_mounts =
		g_atomic_int_exchange(&subject->mounts_seen, subject->mounts_polled) != 0;
	/* Gone between two looks is no drift. */
	if (!look(round->agent, subject))
		return;
	if (subject->look.incomplete)
		g_atomic_int_set(&subject->mounts_seen, 0);
	round->incomplete = round->incomplete || subject->look.incomplete;
	if (subject->look.n_unread > 0 && !subject->unread_told) {
		subject->unread_told = true;
		g_warning("node %s: %u processes could not be looked at: %s", subject->node,
			  subject->look.n_unread, g_strerror(subject->look.unread_errno));
	}
	for (uint32_t i = 0; i < subject->look.n_findings; i++)
		add_finding(round, subject, &subject->look.findings[i]);
}

static void check_sensor_of(Round *round, DnSubject *subject, bool marked)
{
	g_autoptr(GMutexLocker) locked G_GNUC_UNUSED = g_mutex_locker_new(&subject->lock);
	bool repaired = true;

	if (subject->retired)
		return;
	char *what =
		dn_sensor_check_node(subject->sensor, &subject->watched.node, marked, &repaired);
	if (what == NULL)
		return;
	DnFound *found = add_found(round, subject, DN_DRIFT_SENSOR);
	found->line = what;
	found->repaired = repaired;
}

static void look_for_strangers(Round *round)
{
	g_autofree const DnInspectBaseline **nodes =
		g_new0(const DnInspectBaseline *, round->subjects->len + 1);
	DnInspectLook *look = round->agent->strangers;

	for (guint i = 0; i < round->subjects->len; i++)
		nodes[i] = ((DnSubject *)g_ptr_array_index(round->subjects, i))->baseline;
	if (!dn_inspect_strangers_now(nodes, round->subjects->len, look, NULL))
		return;
	for (uint32_t i = 0; i < look->n_findings; i++)
		if (look->findings[i].node < round->subjects->len)
			add_finding(round,
				    g_ptr_array_index(round->subjects, look->findings[i].node),
				    &look->findings[i]);
}

static void check_host(Round *round)
{
	DnSensor *sensor = round->agent->sensor;

	round->hooks =
		dn_sensor_check_hooks(sensor, round->agent->instance, &round->hooks_repaired);
	if (round->hooks == NULL)
		round->hooks = dn_sensor_check_images(sensor, &round->hooks_repaired);
}

static void round_in_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	Round *round = data;

	for (guint i = 0; i < round->subjects->len; i++) {
		DnSubject *subject = g_ptr_array_index(round->subjects, i);
		bool marked = g_array_index(round->marked, bool, i);

		if (!marked)
			look_at(round, subject, g_array_index(round->exempt, uint32_t, i));
		if (round->is_of_all)
			check_sensor_of(round, subject, marked);
	}
	if (round->is_of_all)
		check_host(round);
	if (round->strangers)
		look_for_strangers(round);
	g_task_return_boolean(task, TRUE);
}

/* ---- main ---- */

/* What cannot be put right is found again by every look: people hear of it once in a while. */
static void tell_hooks(Agent *agent, const Round *round)
{
	uint64_t now = dn_clock_monotonic_ns();

	if (round->hooks == NULL) {
		agent->hooks_told_ns = 0;
		return;
	}
	if (!round->hooks_repaired && agent->hooks_told_ns != 0 &&
	    now - agent->hooks_told_ns < TELL_AGAIN_S * DN_NS_PER_S)
		return;
	agent->hooks_told_ns = now;
	dn_report_event(agent, "critical", "sensor.tampered", NULL, NULL,
			"%s%s; every node is looked at again", round->hooks,
			round->hooks_repaired ? ", and was put right"
					      : ", and could not be put right");
	if (!round->hooks_repaired)
		dn_report_suspect(agent, "its sensor was changed and could not be put right");
}

static void begin_round(Agent *agent);

static gboolean on_rested(gpointer data)
{
	Agent *agent = data;

	agent->watch_waits = false;
	begin_round(agent);
	return G_SOURCE_REMOVE;
}

/*
 * A node can ask without end, or be without end: that may not take more than half of a CPU. @all:
 * not only of what was not looked at to its end.
 */
static void begin_rested(Agent *agent, bool all)
{
	uint64_t now = dn_clock_monotonic_ns();

	agent->watch_all = agent->watch_all || all;
	agent->watch_again = agent->watching;
	if (agent->watching || agent->watch_waits)
		return;
	if (now >= agent->watch_rest_ns) {
		begin_round(agent);
		return;
	}
	agent->watch_waits = true;
	g_timeout_add((guint)((agent->watch_rest_ns - now) / DN_NS_PER_MS) + 1, on_rested, agent);
}

static void on_round(GObject *source, GAsyncResult *result, gpointer data)
{
	const Round *round = g_task_get_task_data(G_TASK(result));
	Agent *agent = round->agent;

	uint64_t now = dn_clock_monotonic_ns();

	agent->watching = false;
	agent->watch_rest_ns = now + MAX(now - round->begin_ns, REST_MS * DN_NS_PER_MS);
	if (round->is_of_all)
		tell_hooks(agent, round);
	for (guint i = 0; i < round->found->len; i++)
		dn_found_answer(agent, g_ptr_array_index(round->found, i));
	for (guint i = 0; i < round->subjects->len; i++) {
		DnSubject *subject = g_ptr_array_index(round->subjects, i);

		dn_held_end(&subject->held, agent, subject->watched.node.slot);
		dn_held_tell(&subject->held, agent, subject->node);
	}
	if (agent->watch_again || round->incomplete)
		begin_rested(agent, agent->watch_again);
}

/* From its start until nothing of it runs any more. */
static bool is_started(const Node *node)
{
	uint64_t since = dn_clock_monotonic_ns() - node->started_monotonic_ns;

	return (node->state == DN_NODE_STARTING || node->state == DN_NODE_READY ||
		node->state == DN_NODE_STANDBY || node->state == DN_NODE_DRAINING ||
		node->state == DN_NODE_STOPPING) &&
	       since > SETTLE_MS * DN_NS_PER_MS;
}

/* The runtime enters namespaces before control groups, and none when it takes a node apart. */
static bool is_building(const Agent *agent)
{
	for (unsigned i = 0; i < DN_SLOTS; i++)
		if (agent->slots[i] != NULL && dn_node_is_being_made(agent->slots[i]))
			return true;
	return false;
}

static void add_subject(Round *round, const Node *node)
{
	bool cut = node->state == DN_NODE_QUARANTINED;
	uint32_t exempt = node->drill > 0 ? (uint32_t)node->drill : 0;

	if (node->subject == NULL || !node->built || !(cut || is_started(node)) ||
	    (!round->is_of_all && (cut || node->subject->look.n_looks == 0)))
		return;
	/* Between the verdict and quarantine it is the reflex's, unless it is left to serve. */
	if (node->cut_taken && !cut && !dn_node_is_isolated(node))
		return;
	g_ptr_array_add(round->subjects, subject_ref(node->subject));
	g_array_append_val(round->marked, cut);
	g_array_append_val(round->exempt, exempt);
}

static void begin_round(Agent *agent)
{
	bool all = agent->watch_all;

	agent->watch_again = agent->watch_all = false;
	agent->watch_turn += all ? 1 : 0;
	g_autoptr(GTask) task = g_task_new(NULL, NULL, on_round, NULL);
	Round *round = g_new0(Round, 1);

	round->agent = agent;
	round->is_of_all = all;
	round->begin_ns = dn_clock_monotonic_ns();
	round->subjects = g_ptr_array_new_with_free_func((GDestroyNotify)dn_subject_unref);
	round->marked = g_array_new(FALSE, FALSE, sizeof(bool));
	round->exempt = g_array_new(FALSE, FALSE, sizeof(uint32_t));
	round->found = g_ptr_array_new_with_free_func((GDestroyNotify)dn_found_free);
	/* Looks may be asked for before the first of those that come in turn. */
	round->strangers = all && agent->strangers != NULL &&
			   agent->watch_rounds++ % STRANGERS_EVERY == 0 && !is_building(agent);
	for (unsigned i = 0; i < DN_SLOTS; i++)
		if (agent->slots[i] != NULL)
			add_subject(round, agent->slots[i]);
	agent->watching = true;
	g_task_set_task_data(task, round, round_free);
	dn_work_begin(agent, task, round_in_thread);
}

static gboolean on_turn(gpointer data)
{
	begin_rested(data, true);
	return G_SOURCE_CONTINUE;
}

void dn_watch_soon(Agent *agent, const Node *node)
{
	if (node->subject != NULL)
		begin_rested(agent, true);
}

void dn_watch_all(Agent *agent)
{
	begin_rested(agent, true);
}

static gboolean on_mounts_changed(int fd, GIOCondition condition, gpointer data)
{
	Node *node = data;

	g_atomic_int_set(&node->subject->mounts_seen, 0);
	dn_watch_soon(node->agent, node);
	return G_SOURCE_CONTINUE;
}

void dn_watch_mounts(Node *node)
{
	node->mounts_fd = dn_inspect_mount_watch_open((uint32_t)node->container.pid);
	if (node->mounts_fd < 0)
		return;
	node->subject->mounts_polled = true;
	node->mounts = g_unix_fd_source_new(node->mounts_fd, G_IO_PRI | G_IO_ERR);
	g_source_set_callback(node->mounts, G_SOURCE_FUNC(on_mounts_changed), node, NULL);
	g_source_attach(node->mounts, NULL);
}

void dn_watch_start(Agent *agent)
{
	agent->strangers = g_new0(DnInspectLook, 1);
	g_timeout_add(PAUSE_MS, on_turn, agent);
}
