/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/file.h"
#include "support/suite.h"
#include "world.h"

static void teardown(void)
{
	world_end();
	dn_suite_end();
}

TestSuite(network, .init = world_begin, .fini = teardown, .timeout = 60);

static void expect(int ns_fd, const char *command, const char *wanted)
{
	g_autofree char *said = world_sh(ns_fd, command);

	cr_assert(ne(ptr, strstr(said, wanted), NULL), "%s says:\n%s", command, said);
}

/* Nobody listens there: that the node's kernel says so is an answer. */
static void expect_answers(const char *address)
{
	cr_assert(eq(int, world_dial(world_host_a, address, 9), -ECONNREFUSED));
}

static char *everything(void)
{
	return world_sh(world_host_a, "ip -br link | cut -d' ' -f1; ip -4 addr show up0; ip route; "
				      "ip route show table local; ip neigh show nud permanent; "
				      "ls /run/netns; "
				      /* Others' namespaces come and go, also in this copy of their
				       * mounts: ip netns del detaches them everywhere. */
				      "grep -cE ' /run/netns(/dnt-[^ ]*)? ' /proc/self/mountinfo");
}

Test(network, a_node_and_its_host_reach_each_other_without_asking)
{
	WorldNode *node = world_node(7);

	expect_answers("10.77.0.8");
	expect(node->ns_fd, "ip route", "default via 169.254.1.1 dev eth0");
	expect(node->ns_fd, "ip neigh", "169.254.1.1 dev eth0 lladdr 02:64:6e:00:00:07 PERMANENT");
	expect(world_host_a, "ip neigh", "10.77.0.8 dev dn7 lladdr 02:64:6e:01:00:07 PERMANENT");
	expect(world_host_a, "ip netns list", "dnt-n7");
	cr_assert_str_eq(node->network.ifname, "dn7");
}

Test(network, a_node_gets_the_settings_of_its_specification)
{
	WorldNode *node = world_node(0);

	expect(node->ns_fd, "sysctl net.ipv4.ip_unprivileged_port_start", "= 0");
	expect(node->ns_fd, "sysctl net.ipv4.tcp_ehash_entries", "= 1024");
	expect(node->ns_fd, "sysctl net.ipv6.conf.all.disable_ipv6", "= 1");
	expect(node->ns_fd, "ip -o link show lo", "UP");
	expect(world_host_a, "sysctl net.ipv4.ip_forward", "= 1");
	g_autofree char *v6 = world_sh(node->ns_fd, "ip -6 addr; ip -6 route");
	cr_assert_str_empty(v6);
}

Test(network, a_dual_stack_socket_of_a_node_serves_ipv4)
{
	WorldNode *node = world_node(0);
	const char *serve =
		"import socket; s = socket.socket(socket.AF_INET6); "
		"s.bind(('::', 8080)); s.listen(); s.settimeout(5); "
		"c = socket.socket(); c.connect(('10.77.0.1', 8080)); print(s.accept())";
	g_autofree char *command = g_strdup_printf("/usr/bin/python3 -c \"%s\"", serve);

	expect(node->ns_fd, command, "::ffff:10.77.0.1");
}

Test(network, deleting_a_node_leaves_nothing_and_may_be_repeated)
{
	g_autoptr(GError) error = NULL;
	/* The first node makes /run/netns what iproute2 makes it; that stays. */
	world_node(1);
	world_forget_nodes();
	g_autofree char *before = everything();

	WorldNode *node = world_node(1);
	world_must(dn_network_delete_now(&world_instance, &node->spec, &error), &error);
	world_must(dn_network_delete_now(&world_instance, &node->spec, &error), &error);
	g_autofree char *after = everything();
	cr_assert_str_eq(before, after);
}

Test(network, a_node_that_is_there_is_adopted_and_one_with_a_part_missing_is_not)
{
	WorldNode *node = world_node(2);
	g_autoptr(GError) error = NULL;
	DnNetwork found = {.diag_fd = -1};

	world_must(dn_network_adopt_now(&world_instance, &node->spec, &found, &error), &error);
	cr_assert(eq(u32, found.ifindex, node->network.ifindex));
	cr_assert(ge(int, found.diag_fd, 0));
	dn_network_close(&found);

	static const struct {
		const char *breakage, *repair;
	} parts[] = {
		{"ip route del 10.77.0.3", "ip route add 10.77.0.3 dev dn2"},
		{"ip addr del 169.254.1.1/32 dev dn2", "ip addr add 169.254.1.1/32 dev dn2"},
		{"ip link set dn2 down", "ip link set dn2 up; ip route replace 10.77.0.3 dev dn2"},
		{"ip netns exec dnt-n2 ip addr del 10.77.0.3/32 dev eth0",
		 "ip netns exec dnt-n2 ip addr add 10.77.0.3/32 dev eth0"},
		{"umount -l /run/netns/dnt-n2", "true"},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(parts); i++) {
		g_free(world_sh(world_host_a, parts[i].breakage));
		bool adopted = dn_network_adopt_now(&world_instance, &node->spec, &found, &error);
		cr_assert(not(adopted), "after %s", parts[i].breakage);
		cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_UNAVAILABLE), "%s",
			  error->message);
		g_clear_error(&error);
		g_free(world_sh(world_host_a, parts[i].repair));
	}
}

Test(network, a_second_node_on_a_taken_slot_or_name_disturbs_nobody)
{
	WorldNode *node = world_node(3);
	g_autoptr(GError) error = NULL;
	g_autofree char *before = everything();
	DnNetwork made = {.diag_fd = -1};
	DnNetworkSpec other_name = node->spec, other_slot = node->spec;

	other_name.node = "other";
	cr_assert(not(dn_network_create_now(&world_instance, &other_name, &made, &error)));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_CONFLICT), "%s", error->message);
	g_clear_error(&error);
	other_slot.slot = 9;
	cr_assert(not(dn_network_create_now(&world_instance, &other_slot, &made, &error)));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_CONFLICT), "%s", error->message);

	g_autofree char *after = everything();
	cr_assert_str_eq(before, after);
	expect_answers("10.77.0.4");
}

static ino_t current_namespace(void)
{
	struct stat found = {0};

	cr_assert(eq(int, stat("/proc/thread-self/ns/net", &found), 0));
	return found.st_ino;
}

static void *create_and_look(void *data)
{
	WorldNode *made = world_node(GPOINTER_TO_UINT(data));
	struct stat host = {0}, node = {0};

	cr_assert(fstat(world_host_a, &host) == 0 && fstat(made->ns_fd, &node) == 0);
	cr_assert(ne(ulong, host.st_ino, node.st_ino));
	cr_assert(eq(ulong, current_namespace(), host.st_ino));
	return NULL;
}

Test(network, a_network_made_ahead_of_need_becomes_a_nodes_as_it_is)
{
	DnNetworkSpec spec = {.slot = 4, .address = {.v4 = (char *)"10.77.0.5"}};
	DnNetwork made = {.diag_fd = -1};
	DnNetwork found = {.diag_fd = -1};
	g_autoptr(GError) error = NULL;
	int fd = -1;

	world_must(dn_network_create_unnamed_now(&world_instance, &spec, &made, &fd, &error),
		   &error);
	dn_autofd int ns_fd = fd;
	expect_answers("10.77.0.5");
	world_must(dn_network_name_now(&world_instance, ns_fd, "late", &error), &error);
	spec.node = "late";
	world_must(dn_network_adopt_now(&world_instance, &spec, &found, &error), &error);
	cr_expect(eq(u32, found.ifindex, made.ifindex));
	dn_network_close(&found);
	dn_network_close(&made);
	/* A name that is taken is left alone. */
	cr_expect(not(dn_network_name_now(&world_instance, ns_fd, "late", &error)));
	cr_expect(g_error_matches(error, DN_ERROR, DN_ERROR_CONFLICT));
	expect_answers("10.77.0.5");
	g_clear_error(&error);
	world_must(dn_network_delete_now(&world_instance, &spec, &error), &error);
}

Test(network, a_network_that_no_node_came_for_goes_with_its_descriptor)
{
	DnNetworkSpec spec = {.slot = 4, .address = {.v4 = (char *)"10.77.0.5"}};
	DnNetwork made = {.diag_fd = -1};
	g_autoptr(GError) error = NULL;
	int ns_fd = -1;

	(void)world_node(1);
	g_autofree char *before = everything();
	world_must(dn_network_create_unnamed_now(&world_instance, &spec, &made, &ns_fd, &error),
		   &error);
	dn_network_close(&made);
	dn_fd_clear(&ns_fd);
	/* The kernel takes a namespace down when it finds the time; the next agent does not wait.
	 */
	world_must(dn_network_remove_link_now(&world_instance, 4, &error), &error);
	g_autofree char *after = everything();
	cr_assert_str_eq(after, before);
}

Test(network, the_callers_thread_stays_in_its_namespace)
{
	g_thread_join(g_thread_new("caller", create_and_look, GUINT_TO_POINTER(4)));
	create_and_look(GUINT_TO_POINTER(5));
}

static void set_routes(const char *cidr, const char *via, const char *cidr2)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) routes = g_ptr_array_new();
	DnHostRoute first = {(char *)cidr, (char *)via};
	DnHostRoute second = {(char *)cidr2, (char *)WORLD_HOST_B};

	g_ptr_array_add(routes, &first);
	if (cidr2 != NULL)
		g_ptr_array_add(routes, &second);
	world_must(dn_network_set_routes_now(routes, &error), &error);
}

Test(network, host_routes_are_replaced_as_a_set_and_others_are_left_alone)
{
	WorldNode *node = world_node(6);

	g_free(world_sh(world_host_a, "ip route add 10.55.0.0/24 via " WORLD_CLIENT));
	set_routes("10.77.1.0/24", WORLD_HOST_B, "10.77.2.0/24");
	expect(world_host_a, "ip route", "10.77.2.0/24 via " WORLD_HOST_B " dev up0 proto 157");
	set_routes("10.77.1.0/24", WORLD_CLIENT, NULL);
	g_autofree char *table = world_sh(world_host_a, "ip route");
	cr_assert(ne(ptr, strstr(table, "10.77.1.0/24 via " WORLD_CLIENT), NULL), "%s", table);
	cr_assert(eq(ptr, strstr(table, "10.77.2.0/24"), NULL), "%s", table);
	cr_assert(ne(ptr, strstr(table, "10.55.0.0/24"), NULL), "%s", table);
	cr_assert(ne(ptr, strstr(table, node->spec.address.v4), NULL), "%s", table);
}

Test(network, a_host_route_of_somebody_else_is_not_replaced)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) routes = g_ptr_array_new();
	DnHostRoute wanted = {(char *)"10.55.0.0/24", (char *)WORLD_HOST_B};

	g_ptr_array_add(routes, &wanted);
	g_free(world_sh(world_host_a, "ip route add 10.55.0.0/24 via " WORLD_CLIENT));
	cr_assert(not(dn_network_set_routes_now(routes, &error)));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_CONFLICT), "%s", error->message);
	expect(world_host_a, "ip route", "10.55.0.0/24 via " WORLD_CLIENT);
}

Test(network, removing_the_link_cuts_a_node_off)
{
	WorldNode *node = world_node(8);
	g_autoptr(GError) error = NULL;

	world_must(dn_network_remove_link_now(&world_instance, node->spec.slot, &error), &error);
	g_autofree char *links = world_sh(node->ns_fd, "ip -br link");
	cr_assert(eq(ptr, strstr(links, "eth0"), NULL), "%s", links);
}
