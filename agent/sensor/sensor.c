/* SPDX-License-Identifier: Apache-2.0 */
#include "sensor/sensor.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "sensor/filters.h"
#include "sensor/load.h"
#include "sensor/private.h"

enum {
	MARKS_BYTES = DN_SENSOR_SLOTS * sizeof(struct dn_sensor_mark),
	/* Of one turn, so that nodes that keep the ring full do not keep its reader. */
	TURN_RECORDS = 64,
	TURN_MS = 2,
};
_Static_assert(MARKS_BYTES % 4096 == 0, "the kernel maps whole pages");

/*
 * Have a usable set of pins in place. Programs of another build are kept while nodes are
 * registered with them: they speak the same ABI, and replacing them would drop the marks.
 */
static bool provide_pins(const DnInstance *instance, unsigned level, GError **error)
{
	struct dn_sensor_abi abi = {0};

	if (!dn_pins_make_directory(instance->bpf_dir, error) ||
	    !dn_pins_expect(instance, level, &abi, error))
		return false;
	bool usable = dn_pins_are_usable(instance->bpf_dir, &abi);
	if (usable && dn_pins_programs(instance->bpf_dir) == abi.programs)
		return true;
	int nodes = dn_pins_count_nodes(instance);
	if (usable && nodes != 0)
		return true;
	if (nodes != 0) {
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
			    "sensor: %s holds other or partial pins, and %d nodes depend on them; "
			    "remove the nodes of this host, then start the agent again",
			    instance->bpf_dir, nodes);
		return false;
	}
	if (!dn_pins_remove(instance->bpf_dir, error) ||
	    !dn_pins_make_directory(instance->bpf_dir, error))
		return false;
	if (dn_pins_load(instance, &abi, error))
		return true;
	g_autoptr(GError) second = NULL;
	if (!dn_pins_remove(instance->bpf_dir, &second))
		g_warning("sensor: %s", second->message);
	return false;
}

static int receive_verdict(void *data, void *record, size_t size)
{
	return 0; /* the truth is in the marks */
}

static int receive_observation(void *data, void *record, size_t size)
{
	DnSensor *self = data;

	if (size >= sizeof(struct dn_sensor_observation) && self->observed != NULL)
		self->observed(record, self->observed_data);
	/* What was received here is consumed in any case; a refusal only ends the turn. */
	bool goes_on =
		++self->received < TURN_RECORDS && dn_clock_monotonic_ns() < self->turn_end_ns;
	return goes_on ? 0 : -EAGAIN;
}

static bool open_pins(DnSensor *self, const char *dir, GError **error)
{
	for (DnPinnedMap map = 0; map < DN_PIN_N_MAPS; map++) {
		self->maps[map] = dn_pins_open_map(dir, map);
		if (self->maps[map] < 0)
			return dn_throw_errno(error, errno, "sensor: open the maps in %s", dir);
	}
	for (unsigned i = 0; i < DN_PIN_N_PROGRAMS; i++) {
		self->programs[i] = dn_pins_open_program(dir, i);
		if (self->programs[i] < 0)
			return dn_throw_errno(error, errno, "sensor: open the programs in %s", dir);
	}
	for (unsigned i = 0; i < DN_PIN_N_HOOKS; i++) {
		self->links[i] = dn_pins_open_hook(dir, i);
		self->hooked[i] = dn_pins_open_hooked(self->links[i]);
		if (self->links[i] < 0 || self->hooked[i] < 0)
			return dn_throw_errno(error, errno, "sensor: open the links in %s", dir);
	}
	return true;
}

static bool map_memory(DnSensor *self, GError **error)
{
	void *marks = mmap(NULL, MARKS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
			   self->maps[DN_PIN_MARK], 0);

	if (marks == MAP_FAILED)
		return dn_throw_errno(error, errno, "sensor: map the marks");
	self->marks = marks;
	self->verdicts = ring_buffer__new(self->maps[DN_PIN_VERDICTS], receive_verdict, self, NULL);
	if (self->verdicts == NULL)
		return dn_load_throw(error, errno, "map the ring of verdicts");
	self->observations =
		ring_buffer__new(self->maps[DN_PIN_OBSERVATIONS], receive_observation, self, NULL);
	return self->observations != NULL ||
	       dn_load_throw(error, errno, "map the ring of observations");
}

/* Who may enter the namespaces of nodes: this process, and no longer the agent before it. */
static bool enter_own_pid(DnSensor *self, GError **error)
{
	uint32_t zero = 0, own = (uint32_t)getpid();

	return bpf_map_update_elem(self->maps[DN_PIN_AGENT], &zero, &own, BPF_ANY) == 0 ||
	       dn_load_throw(error, errno, "name the agent to the programs");
}

DnSensor *dn_sensor_open(const DnInstance *instance, unsigned level, GError **error)
{
	dn_load_quiet();
	if (!provide_pins(instance, level, error))
		return NULL;

	g_autoptr(DnSensor) self = g_new0(DnSensor, 1);
	for (DnPinnedMap map = 0; map < DN_PIN_N_MAPS; map++)
		self->maps[map] = -1;
	for (unsigned i = 0; i < DN_PIN_N_PROGRAMS; i++)
		self->programs[i] = -1;
	for (unsigned i = 0; i < DN_PIN_N_HOOKS; i++)
		self->links[i] = self->hooked[i] = -1;
	for (unsigned i = 0; i < DN_LSM_HOOKS; i++)
		self->lsm.links[i] = self->lsm.hooked[i] = -1;
	g_mutex_init(&self->lock);
	self->images = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)g_array_unref);
	self->lent = g_array_new(FALSE, FALSE, sizeof(struct dn_sensor_file));
	self->guests = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	if (!open_pins(self, instance->bpf_dir, error) || !map_memory(self, error) ||
	    !enter_own_pid(self, error))
		return NULL;
	dn_lsm_open(&self->lsm, instance, level, self->maps,
		    dn_pins_programs(instance->bpf_dir) == dn_load_checksum());
	return g_steal_pointer(&self);
}

void dn_sensor_close(DnSensor *self)
{
	if (self == NULL)
		return;
	ring_buffer__free(self->verdicts);
	ring_buffer__free(self->observations);
	if (self->marks != NULL)
		(void)munmap((void *)self->marks, MARKS_BYTES);
	for (DnPinnedMap map = 0; map < DN_PIN_N_MAPS; map++)
		dn_fd_clear(&self->maps[map]);
	for (unsigned i = 0; i < DN_PIN_N_PROGRAMS; i++)
		dn_fd_clear(&self->programs[i]);
	for (unsigned i = 0; i < DN_PIN_N_HOOKS; i++) {
		dn_fd_clear(&self->links[i]);
		dn_fd_clear(&self->hooked[i]);
	}
	dn_lsm_close(&self->lsm);
	g_hash_table_unref(self->images);
	g_array_unref(self->lent);
	g_hash_table_unref(self->guests);
	g_mutex_clear(&self->lock);
	g_free(self);
}

/* The filters hold the programs; as long as one is there, its interface stays cut or guarded. */
static void detach_all(const char *dir)
{
	dn_autofd int links = dn_pins_open_map(dir, DN_PIN_LINK);
	int programs[DN_PIN_N_PROGRAMS];
	uint32_t ifindex = 0;

	for (unsigned i = 0; i < DN_PIN_N_PROGRAMS; i++)
		programs[i] = dn_pins_open_program(dir, i);
	for (bool more = links >= 0 && bpf_map_get_next_key(links, NULL, &ifindex) == 0; more;
	     more = bpf_map_get_next_key(links, &ifindex, &ifindex) == 0)
		dn_filters_detach(ifindex, programs);
	for (unsigned i = 0; i < DN_PIN_N_PROGRAMS; i++)
		dn_fd_clear(&programs[i]);
}

bool dn_sensor_remove(const DnInstance *instance, GError **error)
{
	dn_load_quiet();
	detach_all(instance->bpf_dir);
	return dn_pins_remove(instance->bpf_dir, error);
}

bool dn_sensor_denies(const DnSensor *self, const char **why)
{
	*why = self->lsm.why;
	return self->lsm.active;
}

volatile struct dn_sensor_mark *dn_sensor_marks(DnSensor *self)
{
	return self->marks;
}

bool dn_sensor_is_marked(DnSensor *self, uint32_t slot)
{
	return __atomic_load_n(&self->marks[slot].event_ns, __ATOMIC_ACQUIRE) != 0;
}

bool dn_sensor_left_marked(const DnInstance *instance, uint32_t slot)
{
	dn_autofd int fd = dn_pins_open_map(instance->bpf_dir, DN_PIN_MARK);
	struct dn_sensor_mark mark = {0};

	return fd >= 0 && bpf_map_lookup_elem(fd, &slot, &mark) == 0 && mark.event_ns != 0;
}

bool dn_sensor_mark(DnSensor *self, uint32_t slot, enum dn_drift_class drift, const char *what,
		    uint32_t pid)
{
	g_return_val_if_fail(slot < DN_SENSOR_SLOTS, false);
	volatile struct dn_sensor_mark *mark = &self->marks[slot];
	__u64 unmarked = 0;

	if (!__atomic_compare_exchange_n(&mark->event_ns, &unmarked, dn_clock_monotonic_ns(), false,
					 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return false;
	mark->cut_ns = dn_clock_monotonic_ns();
	mark->pid = pid;
	for (size_t i = 0; what != NULL && what[i] != '\0' && i < DN_SENSOR_PATH - 1; i++)
		mark->path[i] = (uint8_t)what[i];
	__atomic_store_n(&mark->class, (uint32_t)drift, __ATOMIC_RELEASE);
	return true;
}

void dn_sensor_set_mode(DnSensor *self, uint32_t slot, enum dn_sensor_mode mode)
{
	g_return_if_fail(slot < DN_SENSOR_SLOTS);
	if (dn_sensor_is_marked(self, slot))
		return;
	__atomic_store_n(&self->marks[slot].mode, (uint32_t)mode, __ATOMIC_SEQ_CST);
	/*
	 * Marked in between, and maybe cut by then: what is cut is not opened again. Whoever saw it
	 * isolated for that moment finds that it is not when it looks again.
	 */
	if (mode == DN_MODE_ISOLATE && dn_sensor_is_marked(self, slot))
		dn_sensor_end_isolation(self, slot);
}

enum dn_sensor_mode dn_sensor_mode(DnSensor *self, uint32_t slot)
{
	return (enum dn_sensor_mode)__atomic_load_n(&self->marks[slot].mode, __ATOMIC_ACQUIRE);
}

bool dn_sensor_is_isolated(DnSensor *self, uint32_t slot)
{
	return dn_sensor_is_marked(self, slot) && dn_sensor_mode(self, slot) == DN_MODE_ISOLATE;
}

void dn_sensor_end_isolation(DnSensor *self, uint32_t slot)
{
	g_return_if_fail(slot < DN_SENSOR_SLOTS);
	__atomic_store_n(&self->marks[slot].mode, (uint32_t)DN_MODE_CUT, __ATOMIC_SEQ_CST);
}

uint32_t dn_sensor_guest(DnSensor *self, uint64_t cgroup_id)
{
	return GPOINTER_TO_UINT(g_hash_table_lookup(self->guests, &cgroup_id));
}

/* Under the lock as a whole: a look at the map takes another guest for the work of others. */
bool dn_sensor_expect_guest(DnSensor *self, uint64_t cgroup_id, uint32_t pid, GError **error)
{
	g_autoptr(GMutexLocker) locked G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
	struct dn_sensor_node node = {0};
	int map = self->maps[DN_PIN_NODE];

	if (bpf_map_lookup_elem(map, &cgroup_id, &node) < 0)
		return dn_load_throw(error, errno, "look for the node");
	node.guest = pid;
	if (bpf_map_update_elem(map, &cgroup_id, &node, BPF_EXIST) < 0)
		return dn_load_throw(error, errno, "let process %u in", pid);
	if (pid == 0)
		g_hash_table_remove(self->guests, &cgroup_id);
	else
		g_hash_table_insert(self->guests, g_memdup2(&cgroup_id, sizeof(cgroup_id)),
				    GUINT_TO_POINTER(pid));
	return true;
}

uint64_t dn_sensor_swallowed(DnSensor *self, uint32_t slot)
{
	uint64_t swallowed = 0;

	for (uint32_t key = slot * DN_PACES; key < (slot + 1) * DN_PACES; key++) {
		struct dn_sensor_pace pace = {0};

		(void)bpf_map_lookup_elem(self->maps[DN_PIN_PACE], &key, &pace);
		swallowed += pace.swallowed;
	}
	return swallowed;
}

int dn_sensor_verdict_fd(const DnSensor *self)
{
	return ring_buffer__epoll_fd(self->verdicts);
}

int dn_sensor_observation_fd(const DnSensor *self)
{
	return ring_buffer__epoll_fd(self->observations);
}

void dn_sensor_drain_verdicts(DnSensor *self)
{
	(void)ring_buffer__consume(self->verdicts);
}

bool dn_sensor_drain_observations(DnSensor *self, DnSensorObserved observed, void *data)
{
	self->observed = observed;
	self->observed_data = data;
	self->received = 0;
	self->turn_end_ns = dn_clock_monotonic_ns() + TURN_MS * DN_NS_PER_MS;
	bool is_empty = ring_buffer__consume(self->observations) >= 0;
	self->observed = NULL;
	self->observed_data = NULL;
	return is_empty;
}

static uint64_t read_loss(DnSensor *self, uint32_t which)
{
	uint64_t lost = 0;

	(void)bpf_map_lookup_elem(self->maps[DN_PIN_LOSS], &which, &lost);
	return lost;
}

void dn_sensor_losses(DnSensor *self, uint64_t *verdicts, uint64_t *observations)
{
	*verdicts = read_loss(self, DN_LOSS_VERDICT);
	*observations = read_loss(self, DN_LOSS_OBSERVATION);
}
