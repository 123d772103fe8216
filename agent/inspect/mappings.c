/* SPDX-License-Identifier: Apache-2.0 */

/* The executable mappings of a process, one after the other: exec-memory, library, text. */

#include "base/clock.h"
#include "inspect/private.h"

static bool is_memory(const DnInspectBaseline *node, const DnMapping *mapping)
{
	if (mapping->dev == 0 && mapping->ino == 0)
		return true;
	for (int i = 0; i < DN_N_MEMORY_DEVICES; i++)
		if (node->memory_devices[i] != 0 && mapping->dev == node->memory_devices[i])
			return true;
	return false;
}

/* Executed and not allowed: that was told, as that. */
static bool is_program(const DnProcess *process, const DnMapping *mapping)
{
	return mapping->ino != 0 && mapping->dev == process->program_dev &&
	       mapping->ino == process->program_ino;
}

static void tell(DnProcess *process, const DnMemory *memory, DnMapping *mapping,
		 enum dn_drift_class drift, const char *what)
{
	dn_memory_name(memory, mapping);
	dn_process_tell(process, drift, mapping->name,
			"%s at %#" G_GINT64_MODIFIER "x, %" G_GUINT64_FORMAT
			" bytes, file %u:%u inode %" G_GUINT64_FORMAT,
			what, mapping->start, mapping->end - mapping->start,
			(unsigned)(mapping->dev >> 20), (unsigned)(mapping->dev & 0xfffff),
			mapping->ino);
}

static DnSight judge_mapping(DnProcess *process, DnMemory *memory, DnMapping *mapping,
			     uint64_t from)
{
	const DnInspectBaseline *node = process->judge->node;

	if (dn_mapping_is_kernel(mapping))
		return g_str_equal(mapping->name, "[vdso]")
			       ? dn_process_judge_text(process, memory, mapping, from)
			       : DN_SIGHT_SEEN;
	if (is_memory(node, mapping)) {
		if (!node->jit && !is_program(process, mapping))
			tell(process, memory, mapping, DN_DRIFT_EXEC_MEMORY,
			     "executable memory that is no file's");
		return DN_SIGHT_SEEN;
	}
	if (!dn_node_may(node, mapping->dev, mapping->ino, false)) {
		if (!is_program(process, mapping))
			tell(process, memory, mapping, DN_DRIFT_LIBRARY,
			     "executable mapping of a file that the image has not got");
		return DN_SIGHT_SEEN;
	}
	if (mapping->writable && !node->jit)
		tell(process, memory, mapping, DN_DRIFT_EXEC_MEMORY,
		     "writable and executable mapping");
	return mapping->shared ? DN_SIGHT_SEEN
			       : dn_process_judge_text(process, memory, mapping, from);
}

/*
 * What the way to where the last look stopped costs, in text, is not taken from the budget, unless
 * somebody waits.
 */
static DnSight resume(DnProcess *process, DnMemory *memory, uint64_t address, DnMapping *mapping)
{
	const DnInspectLook *look = process->judge->look;
	uint64_t begin_ns = dn_judge_clock_ns(look), since_ns = dn_clock_monotonic_ns();
	DnSight sight = dn_memory_next(memory, address, mapping);

	if (look->by_the_clock)
		return sight;
	process->judge->deadline_ns += dn_judge_clock_ns(look) - begin_ns;
	process->judge->until_ns += dn_clock_monotonic_ns() - since_ns;
	return sight;
}

DnSight dn_process_judge_memory(DnProcess *process)
{
	enum { BETWEEN_CLOCKS = 16 };
	DnInspectLook *look = process->judge->look;
	/* Too large for the stack beside what else is there: the two are 13 KiB. */
	g_autofree DnMapping *mapping = g_new(DnMapping, 1);
	g_autofree DnMemory *memory = g_new(DnMemory, 1);
	uint64_t address = look->cursor.pid == process->pid ? look->cursor.address : 0;
	DnSight sight = dn_memory_open(process->memory_fd, !look->without_queries, memory);

	look->cursor = (DnInspectPlace){0};
	if (sight != DN_SIGHT_SEEN)
		return sight;
	for (unsigned i = 1; !dn_look_is_full(look); i++) {
		sight = i == 1 && address != 0 ? resume(process, memory, address, mapping)
					       : dn_memory_next(memory, address, mapping);
		if (sight != DN_SIGHT_SEEN || mapping->end == 0)
			break;
		uint64_t end = mapping->end;
		sight = judge_mapping(process, memory, mapping, address);
		address = end;
		/* One that cannot be read shall not hide those behind it. */
		if (dn_process_settle(process->dir_fd, sight) == DN_SIGHT_UNREAD) {
			look->n_unread++;
			look->unread_errno = errno;
			sight = DN_SIGHT_SEEN;
		}
		if (sight != DN_SIGHT_SEEN)
			break;
		if (i % BETWEEN_CLOCKS == 0 && dn_judge_is_spent(process->judge)) {
			look->cursor = (DnInspectPlace){process->pid, address};
			sight = DN_SIGHT_SPENT;
			break;
		}
	}
	dn_memory_close(memory);
	return sight;
}
