/* SPDX-License-Identifier: Apache-2.0 */
#include "network/network.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "base/failpoint.h"
#include "base/fd.h"
#include "network/diag.h"
#include "network/netns.h"
#include "network/rtnl.h"

#define GATEWAY "169.254.1.1"
#define NODE_LINK "eth0"

enum { DIAG_BUFFER = 1024 * 1024 };

char *dn_network_netns_path(const DnInstance *instance, const char *node)
{
	return g_strdup_printf("/run/netns/%s-%s", instance->name, node);
}

void dn_network_link_name(unsigned slot, char name[16])
{
	g_snprintf(name, 16, "dn%u", slot);
}

/* Everything one operation needs; all of it runs on the thread of dn_netns_run(). */
typedef struct {
	const DnInstance *instance;
	const DnNetworkSpec *spec;
	DnNetwork *network; /* the result, filled only on success */
	char ifname[16];
	uint8_t host_mac[6], node_mac[6];
	char *path;           /* owned */
	char *node_range;     /* owned: ADDRESS/32 */
	DnRtnl *host, *node;  /* owned */
	int host_fd, node_fd; /* owned */
	DnRtnlLink host_link, node_link;
	bool made_name, made_link; /* what a failure must take away again */
} Work;

static void work_init(Work *work, const DnInstance *instance, const DnNetworkSpec *spec)
{
	*work = (Work){.instance = instance, .spec = spec, .host_fd = -1, .node_fd = -1};
	dn_network_link_name(spec->slot, work->ifname);
	/* Locally administered, the same for a slot at every start. */
	const uint8_t mac[6] = {0x02, 0x64, 0x6e, 0, spec->slot >> 8, spec->slot};
	memcpy(work->host_mac, mac, sizeof(mac));
	memcpy(work->node_mac, mac, sizeof(mac));
	work->node_mac[3] = 1;
	if (spec->node != NULL)
		work->path = dn_network_netns_path(instance, spec->node);
	work->node_range = g_strdup_printf("%s/32", spec->address.v4);
}

static void work_clear(Work *work)
{
	dn_fd_clear(&work->host_fd);
	dn_fd_clear(&work->node_fd);
	g_clear_pointer(&work->host, nl_socket_free);
	g_clear_pointer(&work->node, nl_socket_free);
	g_free(work->path);
	g_free(work->node_range);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Work, work_clear)

static bool check_spec(const DnNetworkSpec *spec, GError **error)
{
	if (spec->address.v6 == NULL && spec->slot < DN_SLOTS)
		return true;
	g_set_error(error, DN_ERROR,
		    spec->address.v6 != NULL ? DN_ERROR_UNSUPPORTED : DN_ERROR_INVALID,
		    "network: node %s: %s", spec->node,
		    spec->address.v6 != NULL ? "nodes have no IPv6 address in this version"
					     : "its slot is out of range");
	return false;
}

static int open_diag(GError **error)
{
	dn_autofd int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	struct sockaddr_nl own = {.nl_family = AF_NETLINK};
	int size = DIAG_BUFFER, on = 1;

	/* All resets of a node are one send; the answers need not repeat it. */
	if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof(own)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0 ||
	    setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on)) < 0) {
		dn_throw_errno(error, errno, "open sock_diag");
		return -1;
	}
	return g_steal_fd(&fd);
}

bool dn_network_prepare_host(const DnInstance *instance, GError **error)
{
	static const struct {
		const char *name, *value;
	} settings[] = {
		{"ipv4/ip_forward", "1"},
		/* A redirect would send clients of a VIP past the balancer. The kernel sends one
		 * when either this or the interface's own setting says so. */
		{"ipv4/conf/all/send_redirects", "0"},
		{"ipv4/conf/default/send_redirects", "0"},
	};
	g_autoptr(DnRtnl) rtnl = dn_rtnl_open(error);
	DnRtnlLink loopback = {0};

	for (size_t i = 0; i < G_N_ELEMENTS(settings); i++)
		if (!dn_netns_sysctl(settings[i].name, settings[i].value, error))
			return false;
	if (instance->uplink != NULL) {
		g_autofree char *own =
			g_strdup_printf("ipv4/conf/%s/send_redirects", instance->uplink);

		if (!dn_netns_sysctl(own, "0", error))
			return false;
	}
	/*
	 * Namespaces made from here get hash tables of their own: a dump of a node's sockets then
	 * walks 1024 buckets and not the 262,144 that all of the kernel share.
	 */
	if (!dn_netns_sysctl_if_known("ipv4/tcp_child_ehash_entries", "1024", error) ||
	    !dn_netns_sysctl_if_known("ipv4/udp_child_hash_entries", "1024", error))
		return false;
	return rtnl != NULL && dn_rtnl_find_link(rtnl, "lo", &loopback, error) &&
	       dn_rtnl_set_up(rtnl, loopback.ifindex, error);
}

static bool set_node_sysctls(const DnNetworkSpec *spec, GError **error)
{
	g_autofree char *start = g_strdup_printf("%u", spec->unprivileged_port_start);

	/* Without addresses of its own, AF_INET6 still carries IPv4 for dual-stack sockets. */
	return dn_netns_sysctl("ipv4/ip_unprivileged_port_start", start, error) &&
	       dn_netns_sysctl_if_known("ipv6/conf/all/disable_ipv6", "1", error) &&
	       dn_netns_sysctl_if_known("ipv6/conf/default/disable_ipv6", "1", error) &&
	       dn_netns_sysctl("ipv4/conf/all/rp_filter", "1", error) &&
	       dn_netns_sysctl("ipv4/conf/default/rp_filter", "1", error) &&
	       dn_netns_sysctl("ipv4/conf/all/accept_redirects", "0", error) &&
	       dn_netns_sysctl("ipv4/conf/default/accept_redirects", "0", error);
}

static bool set_host_link_sysctls(const char *ifname, GError **error)
{
	static const struct {
		const char *name, *value;
	} settings[] = {
		{"rp_filter", "1"},
		{"accept_redirects", "0"},
		{"send_redirects", "0"},
		/* Neighbours are static: the host's other addresses are none of a node's business.
		 */
		{"arp_ignore", "8"},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(settings); i++) {
		g_autofree char *name =
			g_strdup_printf("ipv4/conf/%s/%s", ifname, settings[i].name);

		if (!dn_netns_sysctl(name, settings[i].value, error))
			return false;
	}
	g_autofree char *v6 = g_strdup_printf("ipv6/conf/%s/disable_ipv6", ifname);
	return dn_netns_sysctl_if_known(v6, "1", error);
}

static bool set_up_loopback(DnRtnl *rtnl, GError **error)
{
	DnRtnlLink loopback = {0};

	return dn_rtnl_find_link(rtnl, "lo", &loopback, error) &&
	       dn_rtnl_set_up(rtnl, loopback.ifindex, error);
}

/* Enter the namespace at the end of the veth that the host does not see. */
static bool make_namespace(Work *work, GError **error)
{
	work->node_fd = dn_netns_create(work->path, error);
	if (work->node_fd < 0)
		return false;
	work->made_name = work->path != NULL;
	work->node = dn_rtnl_open(error);
	return work->node != NULL && set_up_loopback(work->node, error) &&
	       set_node_sysctls(work->spec, error);
}

static bool make_veth(Work *work, GError **error)
{
	DnRtnlVeth veth = {.name = work->ifname, .peer = NODE_LINK, .peer_ns_fd = work->node_fd};

	memcpy(veth.mac, work->host_mac, sizeof(veth.mac));
	memcpy(veth.peer_mac, work->node_mac, sizeof(veth.peer_mac));
	if (!dn_failpoint("agent.veth.create.before", error) ||
	    !dn_rtnl_add_veth(work->host, &veth, error))
		return false;
	work->made_link = true;
	if (!dn_failpoint("agent.veth.create.after", error))
		return false;
	if (dn_rtnl_find_link(work->host, work->ifname, &work->host_link, error) &&
	    dn_rtnl_find_link(work->node, NODE_LINK, &work->node_link, error))
		return true;
	if (error != NULL && *error == NULL)
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE, "the veth is gone again");
	return false;
}

static bool configure_node_end(Work *work, GError **error)
{
	unsigned ifindex = work->node_link.ifindex;
	const DnRtnlRoute link = {
		.destination = GATEWAY "/32", .ifindex = ifindex, .protocol = RTPROT_STATIC};
	const DnRtnlRoute all = {.destination = "0.0.0.0/0",
				 .gateway = GATEWAY,
				 .ifindex = ifindex,
				 .protocol = RTPROT_STATIC};

	return dn_rtnl_add_address(work->node, ifindex, work->node_range, error) &&
	       dn_rtnl_set_up(work->node, ifindex, error) &&
	       dn_rtnl_add_neighbour(work->node, ifindex, GATEWAY, work->host_mac, error) &&
	       dn_rtnl_add_route(work->node, &link, error) &&
	       dn_rtnl_add_route(work->node, &all, error);
}

static bool configure_host_end(Work *work, GError **error)
{
	unsigned ifindex = work->host_link.ifindex;
	const DnRtnlRoute route = {
		.destination = work->node_range, .ifindex = ifindex, .protocol = RTPROT_STATIC};

	return dn_netns_enter(work->host_fd, error) && set_host_link_sysctls(work->ifname, error) &&
	       dn_rtnl_add_address(work->host, ifindex, GATEWAY "/32", error) &&
	       dn_rtnl_set_up(work->host, ifindex, error) &&
	       dn_rtnl_add_neighbour(work->host, ifindex, work->spec->address.v4, work->node_mac,
				     error) &&
	       dn_rtnl_add_route(work->host, &route, error);
}

/* Within the host's namespace; @node_socket_fd belongs to the node's. */
static bool settle(Work *work, int node_socket_fd, GError **error)
{
	dn_autofd int host_socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (host_socket < 0)
		return dn_throw_errno(error, errno, "open a socket");
	return dn_rtnl_settle(host_socket, work->ifname, error) &&
	       dn_rtnl_settle(node_socket_fd, NODE_LINK, error);
}

static void report(Work *work, int *diag_fd)
{
	work->network->ifindex = work->host_link.ifindex;
	memcpy(work->network->ifname, work->ifname, sizeof(work->network->ifname));
	work->network->diag_fd = g_steal_fd(diag_fd);
}

static bool build(Work *work, GError **error)
{
	if (!make_namespace(work, error))
		return false;
	/* While the thread is in there: what is opened now stays the node's. */
	dn_autofd int diag_fd = open_diag(error);
	dn_autofd int node_socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (diag_fd < 0 || !make_veth(work, error) || !configure_host_end(work, error) ||
	    !dn_failpoint("agent.veth.host-end.after", error) || !configure_node_end(work, error) ||
	    !dn_failpoint("agent.veth.node-end.after", error) || !settle(work, node_socket, error))
		return false;
	report(work, &diag_fd);
	return true;
}

/* Take away what this attempt made, and nothing that was there before it. */
static void undo(Work *work)
{
	g_autoptr(GError) error = NULL;

	if (work->made_link && !dn_rtnl_delete_link(work->host, work->ifname, &error))
		g_warning("network: undo of %s: %s", work->spec->node, error->message);
	g_clear_error(&error);
	if (work->made_name && !dn_netns_remove(work->path, &error))
		g_warning("network: undo of %s: %s", work->spec->node, error->message);
}

static bool create(void *data, GError **error)
{
	Work *work = data;

	work->host_fd = dn_netns_open_current(error);
	work->host = dn_rtnl_open(error);
	if (work->host_fd < 0 || work->host == NULL)
		return false;
	if (build(work, error))
		return true;
	undo(work);
	return false;
}

bool dn_network_create_now(const DnInstance *instance, const DnNetworkSpec *spec, DnNetwork *made,
			   GError **error)
{
	g_auto(Work) work;

	work_init(&work, instance, spec);
	work.network = made;
	if (check_spec(spec, error) && dn_netns_run(create, &work, error))
		return true;
	g_prefix_error(error, "network: node %s (dn%u, %s): ", spec->node, spec->slot,
		       spec->address.v4);
	return false;
}

bool dn_network_create_unnamed_now(const DnInstance *instance, const DnNetworkSpec *spec,
				   DnNetwork *made, int *ns_fd, GError **error)
{
	g_auto(Work) work;

	work_init(&work, instance, spec);
	work.network = made;
	if (check_spec(spec, error) && dn_netns_run(create, &work, error)) {
		*ns_fd = g_steal_fd(&work.node_fd);
		return true;
	}
	g_prefix_error(error, "network: ahead of need (dn%u, %s): ", spec->slot, spec->address.v4);
	return false;
}

bool dn_network_name_now(const DnInstance *instance, int ns_fd, const char *node, GError **error)
{
	g_autofree char *path = dn_network_netns_path(instance, node);

	if (dn_failpoint("agent.netns.name-spare.before", error) &&
	    dn_netns_bind(ns_fd, path, error))
		return true;
	g_prefix_error(error, "network: node %s: ", node);
	return false;
}

static bool gone(GError **error, const char *what)
{
	if (error != NULL && *error == NULL)
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE, "%s is gone", what);
	return false;
}

static bool check_host_end(Work *work, GError **error)
{
	bool has_gateway = false;
	unsigned interface = 0;

	if (!dn_rtnl_find_link(work->host, work->ifname, &work->host_link, error) ||
	    !work->host_link.up)
		return gone(error, "the host's link");
	if (!dn_rtnl_has_address(work->host, work->host_link.ifindex, GATEWAY "/32", &has_gateway,
				 error) ||
	    !has_gateway)
		return gone(error, "the gateway's address");
	if (!dn_rtnl_route_interface(work->host, work->spec->address.v4, &interface, error) ||
	    interface != work->host_link.ifindex)
		return gone(error, "the host's route");
	return true;
}

/* Nothing of ours runs in there: the thread only looks at what the kernel says. */
static bool check_node_end(Work *work, GError **error)
{
	bool has_address = false;
	unsigned interface = 0;

	if (!dn_rtnl_find_link(work->node, NODE_LINK, &work->node_link, error) ||
	    !work->node_link.up || work->node_link.peer != work->host_link.ifindex)
		return gone(error, "the node's link");
	if (!dn_rtnl_has_address(work->node, work->node_link.ifindex, work->node_range,
				 &has_address, error) ||
	    !has_address)
		return gone(error, "the node's address");
	if (!dn_rtnl_route_interface(work->node, "192.0.2.1", &interface, error) ||
	    interface != work->node_link.ifindex)
		return gone(error, "the node's route");
	return true;
}

static bool adopt(void *data, GError **error)
{
	Work *work = data;

	work->host = dn_rtnl_open(error);
	if (work->host == NULL || !dn_failpoint("agent.network.adopt.before", error) ||
	    !check_host_end(work, error))
		return false;
	work->node_fd = dn_netns_open(work->path, error);
	if (work->node_fd < 0 || !dn_netns_enter(work->node_fd, error))
		return false;
	work->node = dn_rtnl_open(error);
	if (work->node == NULL || !check_node_end(work, error))
		return false;
	dn_autofd int diag_fd = open_diag(error);
	if (diag_fd < 0)
		return false;
	report(work, &diag_fd);
	return true;
}

bool dn_network_adopt_now(const DnInstance *instance, const DnNetworkSpec *spec, DnNetwork *found,
			  GError **error)
{
	g_auto(Work) work;

	work_init(&work, instance, spec);
	work.network = found;
	if (check_spec(spec, error) && dn_netns_run(adopt, &work, error))
		return true;
	g_prefix_error(error, "network: adopt node %s (dn%u): ", spec->node, spec->slot);
	return false;
}

bool dn_network_delete_now(const DnInstance *instance, const DnNetworkSpec *spec, GError **error)
{
	g_autofree char *path = dn_network_netns_path(instance, spec->node);
	g_autoptr(GError) flows = NULL;

	/* Routes and neighbours go with the link; both ends of the veth go with one. */
	if (!dn_network_remove_link_now(instance, spec->slot, error) ||
	    !dn_netns_remove(path, error)) {
		g_prefix_error(error, "network: delete node %s: ", spec->node);
		return false;
	}
	/*
	 * The next node with this address must not inherit connections that passed as established.
	 * Who takes a host down knows no addresses, and there is no next node.
	 */
	if (spec->address.v4 != NULL && !dn_diag_forget_flows(spec->address.v4, &flows))
		g_warning("network: delete node %s: %s", spec->node, flows->message);
	return true;
}

bool dn_network_remove_link_now(const DnInstance *instance, unsigned slot, GError **error)
{
	g_autoptr(DnRtnl) rtnl = dn_rtnl_open(error);
	char ifname[16];

	dn_network_link_name(slot, ifname);
	return rtnl != NULL && dn_failpoint("agent.veth.remove.before", error) &&
	       dn_rtnl_delete_link(rtnl, ifname, error) &&
	       dn_failpoint("agent.veth.remove.after", error);
}

void dn_network_close(DnNetwork *self)
{
	dn_fd_clear(&self->diag_fd);
}
