/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/wires.h"

#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/text.h"
#include "lab/command.h"

#define NETNS_DIR "/run/netns"
#define BRIDGE "br0"

bool dn_lab_wires_has(const char *netns)
{
	g_autofree char *path = g_build_filename(NETNS_DIR, netns, NULL);

	return access(path, F_OK) == 0;
}

static bool ip(const char *const *argv, GError **error)
{
	return dn_command_run(NULL, argv, NULL, NULL, error);
}

static bool add_namespace(const char *netns, bool *made, GError **error)
{
	const char *add[] = {"ip", "netns", "add", netns, NULL};
	const char *loopback[] = {"ip", "-n", netns, "link", "set", "lo", "up", NULL};

	*made = !dn_lab_wires_has(netns);
	if (!*made)
		return true;
	return ip(add, error) && ip(loopback, error);
}

static bool add_switch(const DnLab *lab, GError **error)
{
	const char *argv[] = {"ip", "-n", lab->switch_netns, "-batch", "-", NULL};
	/* Without spanning tree a new port forwards at once. */
	static const char script[] = "link add " BRIDGE " type bridge stp_state 0 forward_delay 0\n"
				     "link set " BRIDGE " up\n";
	bool made = false;

	if (!add_namespace(lab->switch_netns, &made, error))
		return false;
	return !made || dn_command_run(NULL, argv, script, NULL, error);
}

/* A namespace with eth0, whose other end is a port of the switch. */
static bool add_station(const DnLab *lab, const char *netns, const char *port, const char *address,
			GError **error)
{
	const char *outside[] = {"ip", "-n", lab->switch_netns, "-batch", "-", NULL};
	const char *inside[] = {"ip", "-n", netns, "-batch", "-", NULL};
	bool made = false;

	if (!add_namespace(netns, &made, error))
		return false;
	if (!made)
		return true;
	g_autofree char *wire = g_strdup_printf("link add %s type veth peer name eth0 netns %s\n"
						"link set %s master " BRIDGE " up\n",
						port, netns, port);
	g_autofree char *settings = g_strdup_printf("addr add %s/24 dev eth0\n"
						    "link set eth0 up\n",
						    address);
	return dn_command_run(NULL, outside, wire, NULL, error) &&
	       dn_command_run(NULL, inside, settings, NULL, error);
}

/*
 * The client reaches a VIP through any host: an equal-cost route, spread by ports, so that one
 * address meets every host's balancer.
 */
static bool route_client(const DnLab *lab, const char *vip_cidr, GError **error)
{
	/* /proc/sys/net shows the namespace of whoever opens it. */
	const char *spread[] = {"tee", "/proc/sys/net/ipv4/fib_multipath_hash_policy", NULL};
	g_autoptr(GPtrArray) route = g_ptr_array_new();
	const char *begin[] = {"ip", "-n", lab->client_netns, "route", "replace", vip_cidr};

	if (!dn_command_run(lab->client_netns, spread, "1\n", NULL, error))
		return false;
	for (unsigned i = 0; i < G_N_ELEMENTS(begin); i++)
		g_ptr_array_add(route, (gpointer)begin[i]);
	for (unsigned i = 0; i < lab->hosts->len; i++) {
		const DnLabHost *host = lab->hosts->pdata[i];
		g_ptr_array_add(route, (gpointer) "nexthop");
		g_ptr_array_add(route, (gpointer) "via");
		g_ptr_array_add(route, host->address);
	}
	g_ptr_array_add(route, NULL);
	return ip((const char *const *)route->pdata, error);
}

bool dn_lab_wires_make(const DnLab *lab, const char *vip_cidr, GError **error)
{
	if (!add_switch(lab, error) ||
	    !add_station(lab, lab->supervisor_netns, "sup", DN_LAB_SUPERVISOR_ADDRESS, error) ||
	    !add_station(lab, lab->client_netns, "client", DN_LAB_CLIENT_ADDRESS, error))
		return false;
	for (unsigned i = 0; i < lab->hosts->len; i++) {
		const DnLabHost *host = lab->hosts->pdata[i];
		if (!add_station(lab, host->netns, host->name, host->address, error))
			return false;
	}
	return route_client(lab, vip_cidr, error);
}

/* Whether @netns belongs to @lab: NAME-sw, -sup, -client or -hNUMBER, and no longer name. */
static bool is_ours(const DnLab *lab, const char *netns)
{
	size_t length = strlen(lab->name);
	uint64_t index;

	if (strncmp(netns, lab->name, length) != 0 || netns[length] != '-')
		return false;
	const char *rest = netns + length + 1;
	if (strcmp(rest, "sw") == 0 || strcmp(rest, "sup") == 0 || strcmp(rest, "client") == 0)
		return true;
	return rest[0] == 'h' && dn_text_parse_u64(rest + 1, DN_LAB_HOSTS_LIMIT, &index);
}

static bool remove_namespace(const char *netns, GError **error)
{
	const char *argv[] = {"ip", "netns", "del", netns, NULL};

	return ip(argv, error);
}

bool dn_lab_wires_remove(const DnLab *lab, GError **error)
{
	g_autoptr(GDir) directory = g_dir_open(NETNS_DIR, 0, NULL);
	g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func(g_free);
	const char *name;

	if (directory == NULL)
		return true;
	while ((name = g_dir_read_name(directory)) != NULL)
		if (is_ours(lab, name))
			g_ptr_array_add(found, g_strdup(name));
	for (unsigned i = 0; i < found->len; i++)
		if (!remove_namespace(found->pdata[i], error))
			return false;
	return true;
}
