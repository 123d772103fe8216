/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/rtnetlink.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>

#include "base/failpoint.h"
#include "network/network.h"
#include "network/rtnl.h"

/* Routes to other hosts carry this number (ip route: "proto 157"): only they are ours to delete. */
enum { ROUTE_PROTOCOL = 157 };

typedef struct nl_cache Cache;
typedef struct nl_addr Addr;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Cache, nl_cache_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Addr, nl_addr_put)

static struct rtnl_route *next_of_ours(struct nl_object *from)
{
	for (struct nl_object *object = from; object != NULL; object = nl_cache_get_next(object)) {
		struct rtnl_route *route = (struct rtnl_route *)object;

		if (rtnl_route_get_protocol(route) == ROUTE_PROTOCOL &&
		    rtnl_route_get_table(route) == RT_TABLE_MAIN)
			return route;
	}
	return NULL;
}

static bool is_range(const char *cidr, const struct nl_addr *address)
{
	g_autoptr(Addr) wanted = NULL;

	return nl_addr_parse(cidr, AF_INET, &wanted) == 0 && nl_addr_cmp(wanted, address) == 0;
}

static bool leads_via(struct rtnl_route *route, const char *via)
{
	g_autoptr(Addr) wanted = NULL;
	struct nl_addr *gateway = NULL;

	if (rtnl_route_get_nnexthops(route) == 1)
		gateway = rtnl_route_nh_get_gateway(rtnl_route_nexthop_n(route, 0));
	return gateway != NULL && nl_addr_parse(via, AF_INET, &wanted) == 0 &&
	       nl_addr_cmp(wanted, gateway) == 0;
}

/* What is there already: nothing, ours with another gateway, or exactly this. */
typedef enum { MISSING, DIFFERS, THERE } Presence;

static Presence look_for(struct nl_cache *cache, const DnHostRoute *wanted)
{
	for (struct rtnl_route *route = next_of_ours(nl_cache_get_first(cache)); route != NULL;
	     route = next_of_ours(nl_cache_get_next((struct nl_object *)route)))
		if (is_range(wanted->cidr, rtnl_route_get_dst(route)))
			return leads_via(route, wanted->via) ? THERE : DIFFERS;
	return MISSING;
}

static bool is_wanted(const GPtrArray *routes, struct rtnl_route *route)
{
	for (guint i = 0; i < routes->len; i++) {
		const DnHostRoute *wanted = g_ptr_array_index(routes, i);

		if (is_range(wanted->cidr, rtnl_route_get_dst(route)))
			return true;
	}
	return false;
}

static bool delete_stale(DnRtnl *rtnl, struct nl_cache *cache, const GPtrArray *routes,
			 GError **error)
{
	for (struct rtnl_route *route = next_of_ours(nl_cache_get_first(cache)); route != NULL;
	     route = next_of_ours(nl_cache_get_next((struct nl_object *)route))) {
		if (is_wanted(routes, route))
			continue;
		int answer = rtnl_route_delete(rtnl, route, 0);
		if (answer < 0 && answer != -NLE_OBJ_NOTFOUND)
			return dn_rtnl_throw(error, answer, "network: delete a stale host route");
	}
	return true;
}

/* A route of somebody else to the same range is a conflict to report, not ours to replace. */
bool dn_network_set_routes_now(const GPtrArray *routes, GError **error)
{
	g_autoptr(DnRtnl) rtnl = dn_rtnl_open(error);
	g_autoptr(Cache) cache = NULL;

	if (rtnl == NULL || !dn_failpoint("agent.routes.set.before", error))
		return false;
	int answer = rtnl_route_alloc_cache(rtnl, AF_INET, 0, &cache);
	if (answer < 0)
		return dn_rtnl_throw(error, answer, "network: list routes");
	for (guint i = 0; i < routes->len; i++) {
		const DnHostRoute *wanted = g_ptr_array_index(routes, i);
		Presence presence = look_for(cache, wanted);
		const DnRtnlRoute request = {.destination = wanted->cidr,
					     .gateway = wanted->via,
					     .protocol = ROUTE_PROTOCOL,
					     .replace = presence == DIFFERS};

		if (presence != THERE && !dn_rtnl_add_route(rtnl, &request, error)) {
			g_prefix_error(error, "network: route %s via %s: ", wanted->cidr,
				       wanted->via);
			return false;
		}
	}
	return delete_stale(rtnl, cache, routes, error) &&
	       dn_failpoint("agent.routes.set.after", error);
}
