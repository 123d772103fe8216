/* SPDX-License-Identifier: Apache-2.0 */
#include "audit/audit.h"

#include <stdlib.h>
#include <string.h>

#include "audit/judge.h"
#include "audit/text.h"
#include "base/text.h"

static const char *const result_names[] = {
	[DN_AUDIT_PASS] = "pass",
	[DN_AUDIT_FAIL] = "fail",
	[DN_AUDIT_NOT_APPLICABLE] = "not-applicable",
	[DN_AUDIT_INFO] = "info",
};
_Static_assert(G_N_ELEMENTS(result_names) == DN_AUDIT_N, "every result needs a name");

const char *dn_audit_result_name(DnAuditResult result)
{
	g_assert(result < DN_AUDIT_N);
	return result_names[result];
}

void dn_audit_item_free(DnAuditItem *self)
{
	if (self == NULL)
		return;
	g_free(self->seen);
	g_free(self);
}

DnAuditItem *dn_audit_item_new(const char *id, const char *title, DnAuditResult result,
			       const char *seen)
{
	DnAuditItem *item = g_new0(DnAuditItem, 1);

	item->id = id;
	item->title = title;
	item->result = result;
	item->seen = dn_text_line(seen, strlen(seen));
	return item;
}

void dn_audit_say(GString *said, const char *format, ...)
{
	va_list args;

	if (said->len > 0)
		g_string_append(said, ", ");
	va_start(args, format);
	g_string_append_vprintf(said, format, args);
	va_end(args);
}

DnAuditResult dn_audit_unless(GString *bad, GString *said, const char *good)
{
	bool failed = bad->len > 0;

	g_string_append(said, failed ? bad->str : good);
	g_string_free(bad, TRUE);
	return failed ? DN_AUDIT_FAIL : DN_AUDIT_PASS;
}

static void free_item(gpointer item)
{
	dn_audit_item_free(item);
}

static void judge_table(const DnAuditRule *rules, const DnAuditCase *all, GPtrArray *items)
{
	for (size_t i = 0; rules[i].id != NULL; i++) {
		g_autoptr(GString) said = g_string_new(NULL);
		bool waits = !all->node->started && !rules[i].early;
		DnAuditResult result = waits ? DN_AUDIT_NOT_APPLICABLE : rules[i].judge(all, said);

		if (waits)
			g_string_assign(said, "the node is created and not started yet");
		DnAuditItem *item =
			dn_audit_item_new(rules[i].id, rules[i].title, result, said->str);
		item->must = rules[i].must;
		g_ptr_array_add(items, item);
	}
}

/* "5.4" before "5.10"; the benchmark's numbers before words. */
static int by_id(gconstpointer a, gconstpointer b)
{
	const char *one = (*(const DnAuditItem *const *)a)->id;
	const char *other = (*(const DnAuditItem *const *)b)->id;

	if (g_ascii_isdigit(one[0]) != g_ascii_isdigit(other[0]))
		return g_ascii_isdigit(one[0]) ? -1 : 1;
	return strverscmp(one, other);
}

GPtrArray *dn_audit_judge(const DnAuditNode *node, const DnSight *seen)
{
	GPtrArray *items = g_ptr_array_new_with_free_func(free_item);
	g_autoptr(GPtrArray) mounts = dn_mounts_parse(seen->mounts);
	DnAuditCase all = {.node = node, .seen = seen, .mounts = mounts};

	judge_table(dn_audit_process_rules, &all, items);
	judge_table(dn_audit_mount_rules, &all, items);
	judge_table(dn_audit_resource_rules, &all, items);
	g_ptr_array_sort(items, by_id);
	return items;
}

GPtrArray *dn_audit_node_now(const DnInstance *instance, const DnAuditNode *node, GError **error)
{
	g_autoptr(DnSight) seen = dn_sight_read_now(instance, node, error);

	return seen != NULL ? dn_audit_judge(node, seen) : NULL;
}

const DnAuditItem *dn_audit_broken(const GPtrArray *items)
{
	for (guint i = 0; i < items->len; i++) {
		const DnAuditItem *item = g_ptr_array_index(items, i);

		if (item->must && item->result == DN_AUDIT_FAIL)
			return item;
	}
	return NULL;
}

unsigned dn_audit_count(const GPtrArray *items, DnAuditResult result)
{
	unsigned count = 0;

	for (guint i = 0; i < items->len; i++)
		count += ((const DnAuditItem *)g_ptr_array_index(items, i))->result == result;
	return count;
}
