/* SPDX-License-Identifier: Apache-2.0 */
#include "core/plan.h"

#include "core/life.h"

typedef struct {
	const DnPlanInput *input;
	GArray *acts;
	uint32_t free_slots;
} Plan;

static void act(Plan *plan, DnActKind kind, const DnPlanNode *node)
{
	DnAct made = {.kind = kind, .node = node->id, .digest = node->digest, .role = node->role};

	g_array_append_val(plan->acts, made);
}

static void create(Plan *plan, const DnPart *part, DnRole role, uint32_t count)
{
	DnAct made = {.kind = DN_ACT_CREATE, .digest = part->digest, .role = role};

	if (plan->input->now_ns < dn_backoffs_until_ns(plan->input->backoffs, part->digest))
		return;
	for (; count > 0 && plan->free_slots > 0; count--, plan->free_slots--)
		g_array_append_val(plan->acts, made);
}

/* Alive and meant to stay: what counts towards a share. */
static bool counts(const DnPlanNode *node, DnRole role)
{
	if (node->role != role || node->hopeless)
		return false;
	return dn_life_goes_on(node->state);
}

static bool is_of(const DnPlanNode *node, const DnPart *part)
{
	return g_str_equal(node->digest, part->digest);
}

static const DnPart *part_of(const DnPlanInput *input, const DnPlanNode *node)
{
	for (guint i = 0; i < input->assign->parts->len; i++) {
		const DnPart *part = g_ptr_array_index(input->assign->parts, i);

		if (is_of(node, part))
			return part;
	}
	return NULL;
}

static uint32_t count(const DnPlanInput *input, const DnPart *part, DnRole role)
{
	uint32_t found = 0;

	for (size_t i = 0; i < input->n_nodes; i++)
		if (is_of(&input->nodes[i], part) && counts(&input->nodes[i], role))
			found++;
	return found;
}

/*
 * A node that serves is drained first; one that never did is stopped. What is marked is evidence,
 * which has no other end than to be cut.
 */
static void end(Plan *plan, const DnPlanNode *node)
{
	if (node->marked)
		act(plan, DN_ACT_CUT, node);
	else
		act(plan, node->state == DN_NODE_READY ? DN_ACT_DRAIN : DN_ACT_STOP, node);
}

/* Is it to end before @other? What is marked, then what does not serve yet, then the youngest. */
static bool goes_before(const DnPlanNode *node, const DnPlanNode *other)
{
	bool serves = node->state == DN_NODE_READY, other_serves = other->state == DN_NODE_READY;

	if (node->marked != other->marked)
		return node->marked;
	if (serves != other_serves)
		return other_serves;
	return node->made_ns > other->made_ns;
}

/* End @excess nodes of @part. */
static void shrink(Plan *plan, const DnPart *part, DnRole role, uint32_t excess)
{
	g_autoptr(GPtrArray) ended = g_ptr_array_new();

	for (; excess > 0; excess--) {
		const DnPlanNode *worst = NULL;

		for (size_t i = 0; i < plan->input->n_nodes; i++) {
			const DnPlanNode *node = &plan->input->nodes[i];

			/* A node still being built cannot be taken apart; its turn comes later. */
			if (!is_of(node, part) || !counts(node, role) ||
			    node->state == DN_NODE_CREATING || g_ptr_array_find(ended, node, NULL))
				continue;
			if (worst == NULL || goes_before(node, worst))
				worst = node;
		}
		if (worst == NULL)
			return;
		g_ptr_array_add(ended, (gpointer)worst);
		end(plan, worst);
	}
}

/* Promote up to @wanted standbys that can serve at once, then those that can be started. */
static uint32_t promote(Plan *plan, const DnPart *part, uint32_t wanted)
{
	static const DnNodeState order[] = {DN_NODE_STANDBY, DN_NODE_CREATED, DN_NODE_STARTING};
	uint32_t promoted = 0;

	for (size_t s = 0; s < G_N_ELEMENTS(order); s++)
		for (size_t i = 0; i < plan->input->n_nodes && promoted < wanted; i++) {
			const DnPlanNode *node = &plan->input->nodes[i];

			if (is_of(node, part) && counts(node, DN_ROLE_STANDBY) &&
			    node->state == order[s]) {
				act(plan, DN_ACT_PROMOTE, node);
				promoted++;
			}
		}
	return promoted;
}

/* Take what is held back from @count of a part; the rest of *@held is for the next part. */
static uint32_t take_held(uint32_t *held, uint32_t count)
{
	uint32_t less = MIN(*held, count);

	*held -= less;
	return less;
}

static void plan_part(Plan *plan, const DnPart *part, uint32_t *held, uint32_t *held_standby)
{
	uint32_t less = take_held(held, part->running);
	uint32_t running = part->running - less;
	uint32_t active = count(plan->input, part, DN_ROLE_ACTIVE);
	uint32_t standby = count(plan->input, part, DN_ROLE_STANDBY);

	if (active < running) {
		uint32_t promoted = promote(plan, part, running - active);

		create(plan, part, DN_ROLE_ACTIVE, running - active - promoted);
		standby -= promoted;
	} else if (active > running) {
		shrink(plan, part, DN_ROLE_ACTIVE, active - running);
	}
	/* With replacements on hold a standby would only wait for the next attack. */
	uint32_t wanted = part->standby - take_held(held_standby, part->standby);
	if (less > 0)
		wanted = 0;
	if (standby < wanted)
		create(plan, part, DN_ROLE_STANDBY, wanted - standby);
	else if (standby > wanted)
		shrink(plan, part, DN_ROLE_STANDBY, standby - wanted);
}

/* What a node's own state asks for, whatever the share. */
static void plan_node(Plan *plan, const DnPlanNode *node)
{
	switch (node->state) {
	case DN_NODE_STOPPED:
	case DN_NODE_FAILED:
		act(plan, DN_ACT_REMOVE, node);
		break;
	case DN_NODE_DRAINING:
		if (node->drained)
			act(plan, DN_ACT_STOP, node);
		break;
	case DN_NODE_CREATED:
	case DN_NODE_STANDBY:
	case DN_NODE_STARTING:
	case DN_NODE_READY:
		if (node->hopeless)
			act(plan, DN_ACT_STOP, node);
		else if (part_of(plan->input, node) == NULL)
			end(plan, node);
		break;
	case DN_NODE_CREATING:
	case DN_NODE_STOPPING:
	case DN_NODE_QUARANTINED:
	case DN_NODE_DESTROYED:
	case DN_NODE_LOST:
	case DN_NODE_N_STATES:
		break;
	}
}

GArray *dn_plan(const DnPlanInput *input)
{
	Plan plan = {
		.input = input,
		.acts = g_array_new(FALSE, FALSE, sizeof(DnAct)),
		.free_slots = input->free_slots,
	};
	uint32_t held = input->held;
	uint32_t held_standby = input->held_standby;

	for (size_t i = 0; i < input->n_nodes; i++)
		plan_node(&plan, &input->nodes[i]);
	/* The newest epoch takes the hold: that is what was under attack. */
	for (guint i = input->assign->parts->len; i > 0; i--)
		plan_part(&plan, g_ptr_array_index(input->assign->parts, i - 1), &held,
			  &held_standby);
	return plan.acts;
}

bool dn_plan_lacks(const DnPlanInput *input, const char *digest, DnRole role)
{
	for (guint i = 0; i < input->assign->parts->len; i++) {
		const DnPart *part = g_ptr_array_index(input->assign->parts, i);

		if (g_str_equal(part->digest, digest))
			return count(input, part, role) <
			       (role == DN_ROLE_ACTIVE ? part->running : part->standby);
	}
	return false;
}
