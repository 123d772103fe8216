/* SPDX-License-Identifier: Apache-2.0 */
#include "network/rtnl.h"

#include <linux/ethtool.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netlink/errno.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/veth.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <sys/ioctl.h>

typedef struct nl_addr Addr;
typedef struct rtnl_link Link;
typedef struct rtnl_addr LinkAddr;
typedef struct rtnl_neigh Neighbour;
typedef struct rtnl_route Route;
typedef struct nl_cache Cache;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Addr, nl_addr_put)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Link, rtnl_link_put)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LinkAddr, rtnl_addr_put)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Neighbour, rtnl_neigh_put)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Route, rtnl_route_put)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Cache, nl_cache_free)

bool dn_rtnl_throw(GError **error, int answer, const char *doing, ...)
{
	DnErrorCode code = DN_ERROR_UNAVAILABLE;
	va_list args;

	if (answer == -NLE_EXIST)
		code = DN_ERROR_CONFLICT;
	else if (answer == -NLE_PERM || answer == -NLE_OPNOTSUPP)
		code = DN_ERROR_UNSUPPORTED;
	va_start(args, doing);
	g_autofree char *what = g_strdup_vprintf(doing, args);
	va_end(args);
	g_set_error(error, DN_ERROR, code, "%s: %s", what, nl_geterror(answer));
	return false;
}

DnRtnl *dn_rtnl_open(GError **error)
{
	g_autoptr(DnRtnl) self = nl_socket_alloc();
	int answer = self != NULL ? nl_connect(self, NETLINK_ROUTE) : -NLE_NOMEM;

	if (answer < 0) {
		dn_rtnl_throw(error, answer, "open rtnetlink");
		return NULL;
	}
	return g_steal_pointer(&self);
}

static Addr *parse(const char *text, GError **error)
{
	g_autoptr(Addr) address = NULL;
	int answer = nl_addr_parse(text, AF_INET, &address);

	if (answer == 0)
		return g_steal_pointer(&address);
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "\"%s\" is no IPv4 address or range", text);
	return NULL;
}

static Addr *from_mac(const uint8_t mac[6])
{
	return nl_addr_build(AF_LLC, mac, 6);
}

bool dn_rtnl_find_link(DnRtnl *self, const char *name, DnRtnlLink *found, GError **error)
{
	g_autoptr(Link) link = NULL;
	int answer = rtnl_link_get_kernel(self, 0, name, &link);

	if (answer == -NLE_NODEV || answer == -NLE_OBJ_NOTFOUND)
		return false;
	if (answer < 0)
		return dn_rtnl_throw(error, answer, "look for link %s", name);
	found->ifindex = (unsigned)rtnl_link_get_ifindex(link);
	found->peer = (unsigned)rtnl_link_get_link(link);
	found->up = (rtnl_link_get_flags(link) & IFF_UP) != 0;
	return true;
}

bool dn_rtnl_add_veth(DnRtnl *self, const DnRtnlVeth *veth, GError **error)
{
	g_autoptr(Link) link = rtnl_link_veth_alloc();
	g_autoptr(Link) peer = rtnl_link_veth_get_peer(link); /* a reference of ours */
	g_autoptr(Addr) mac = from_mac(veth->mac);
	g_autoptr(Addr) peer_mac = from_mac(veth->peer_mac);

	rtnl_link_set_name(link, veth->name);
	rtnl_link_set_addr(link, mac);
	rtnl_link_set_name(peer, veth->peer);
	rtnl_link_set_addr(peer, peer_mac);
	rtnl_link_set_ns_fd(peer, veth->peer_ns_fd);
	int answer = rtnl_link_add(self, link, NLM_F_CREATE | NLM_F_EXCL);
	return answer == 0 || dn_rtnl_throw(error, answer, "add veth %s", veth->name);
}

bool dn_rtnl_delete_link(DnRtnl *self, const char *name, GError **error)
{
	g_autoptr(Link) link = rtnl_link_alloc();

	rtnl_link_set_name(link, name);
	int answer = rtnl_link_delete(self, link);
	if (answer == 0 || answer == -NLE_NODEV || answer == -NLE_OBJ_NOTFOUND)
		return true;
	return dn_rtnl_throw(error, answer, "delete link %s", name);
}

bool dn_rtnl_set_up(DnRtnl *self, unsigned ifindex, GError **error)
{
	g_autoptr(Link) link = rtnl_link_alloc();
	g_autoptr(Link) change = rtnl_link_alloc();

	rtnl_link_set_ifindex(link, (int)ifindex);
	rtnl_link_set_ifindex(change, (int)ifindex);
	rtnl_link_set_flags(change, IFF_UP);
	int answer = rtnl_link_change(self, link, change, 0);
	return answer == 0 || dn_rtnl_throw(error, answer, "set link %u up", ifindex);
}

bool dn_rtnl_settle(int socket_fd, const char *name, GError **error)
{
	/* Asking for the carrier first brings it up to date, see ethtool_op_get_link(). */
	struct ethtool_value value = {.cmd = ETHTOOL_GLINK};
	struct ifreq request = {.ifr_data = (void *)&value};

	g_strlcpy(request.ifr_name, name, sizeof(request.ifr_name));
	if (ioctl(socket_fd, SIOCETHTOOL, &request) < 0)
		return dn_throw_errno(error, errno, "ask link %s for its carrier", name);
	if (value.data != 0)
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE, "link %s has no carrier", name);
	return false;
}

bool dn_rtnl_add_address(DnRtnl *self, unsigned ifindex, const char *address, GError **error)
{
	g_autoptr(Addr) local = parse(address, error);
	g_autoptr(LinkAddr) request = rtnl_addr_alloc();

	if (local == NULL)
		return false;
	rtnl_addr_set_ifindex(request, (int)ifindex);
	rtnl_addr_set_local(request, local);
	int answer = rtnl_addr_add(self, request, NLM_F_EXCL);
	return answer == 0 || dn_rtnl_throw(error, answer, "add address %s", address);
}

bool dn_rtnl_has_address(DnRtnl *self, unsigned ifindex, const char *address, bool *has,
			 GError **error)
{
	g_autoptr(Addr) local = parse(address, error);
	g_autoptr(Cache) cache = NULL;
	g_autoptr(LinkAddr) found = NULL;

	if (local == NULL)
		return false;
	int answer = rtnl_addr_alloc_cache(self, &cache);
	if (answer < 0)
		return dn_rtnl_throw(error, answer, "list addresses");
	found = rtnl_addr_get(cache, (int)ifindex, local);
	*has = found != NULL;
	return true;
}

bool dn_rtnl_add_neighbour(DnRtnl *self, unsigned ifindex, const char *address,
			   const uint8_t mac[6], GError **error)
{
	g_autoptr(Addr) destination = parse(address, error);
	g_autoptr(Addr) hardware = from_mac(mac);
	g_autoptr(Neighbour) request = rtnl_neigh_alloc();

	if (destination == NULL)
		return false;
	rtnl_neigh_set_ifindex(request, (int)ifindex);
	rtnl_neigh_set_dst(request, destination);
	rtnl_neigh_set_lladdr(request, hardware);
	rtnl_neigh_set_state(request, NUD_PERMANENT);
	int answer = rtnl_neigh_add(self, request, NLM_F_CREATE | NLM_F_REPLACE);
	return answer == 0 || dn_rtnl_throw(error, answer, "add neighbour %s", address);
}

bool dn_rtnl_add_route(DnRtnl *self, const DnRtnlRoute *route, GError **error)
{
	g_autoptr(Addr) destination = parse(route->destination, error);
	g_autoptr(Addr) gateway = NULL;
	g_autoptr(Route) request = rtnl_route_alloc();

	if (destination == NULL)
		return false;
	if (route->gateway != NULL) {
		gateway = parse(route->gateway, error);
		if (gateway == NULL)
			return false;
	}
	struct rtnl_nexthop *hop = rtnl_route_nh_alloc(); /* the route's, once added to it */
	rtnl_route_nh_set_ifindex(hop, (int)route->ifindex);
	if (gateway != NULL)
		rtnl_route_nh_set_gateway(hop, gateway);
	rtnl_route_set_dst(request, destination);
	rtnl_route_set_protocol(request, route->protocol);
	rtnl_route_set_scope(request, gateway != NULL ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK);
	rtnl_route_add_nexthop(request, hop);
	int answer = rtnl_route_add(self, request, route->replace ? NLM_F_REPLACE : NLM_F_EXCL);
	return answer == 0 || dn_rtnl_throw(error, answer, "add route %s", route->destination);
}

bool dn_rtnl_route_interface(DnRtnl *self, const char *address, unsigned *ifindex, GError **error)
{
	g_autoptr(Addr) destination = parse(address, error);
	g_autoptr(Route) route = NULL;

	if (destination == NULL)
		return false;
	*ifindex = 0;
	if (rtnl_route_lookup(self, destination, &route) == 0 &&
	    rtnl_route_get_nnexthops(route) == 1)
		*ifindex = (unsigned)rtnl_route_nh_get_ifindex(rtnl_route_nexthop_n(route, 0));
	return true;
}
