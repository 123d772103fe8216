/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "network/netns.h"

const DnInstance world_instance = {.name = (char *)"dnt", .uplink = (char *)"up0"};
const DnFirewallConfig world_config = {
	.uplink = "up0", .node_cidr = "10.77.0.0/16", .vip_cidr = "10.99.0.0/16"};
int world_host_a = -1, world_host_b = -1, world_client = -1;
static int world_switch = -1;
static GPtrArray *nodes;

void world_must(bool done, GError *const *error)
{
	cr_assert(done, "%s", *error != NULL ? (*error)->message : "no error was set");
}

typedef struct {
	int ns_fd;
	int domain, type, protocol, fd;
	const char *command;
	char *output;
} Errand;

static bool make_namespace(void *data, GError **error)
{
	Errand *errand = data;

	if (unshare(CLONE_NEWNET) < 0)
		return dn_throw_errno(error, errno, "unshare");
	errand->fd = dn_netns_open_current(error);
	return errand->fd >= 0;
}

static int new_namespace(void)
{
	g_autoptr(GError) error = NULL;
	Errand errand = {.fd = -1};

	world_must(dn_netns_run(make_namespace, &errand, &error), &error);
	g_free(world_sh(errand.fd, "ip link set lo up"));
	return errand.fd;
}

static bool run_command(void *data, GError **error)
{
	Errand *errand = data;
	const char *const argv[] = {"/bin/sh", "-ec", errand->command, NULL};
	g_autofree char *problem = NULL;
	int status = 0;

	if (!dn_netns_enter(errand->ns_fd, error) ||
	    !g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, &errand->output,
			  &problem, &status, error))
		return false;
	if (g_spawn_check_wait_status(status, error))
		return true;
	g_prefix_error(error, "%s: %s: ", errand->command, problem);
	return false;
}

char *world_sh(int ns_fd, const char *command)
{
	g_autoptr(GError) error = NULL;
	Errand errand = {.ns_fd = ns_fd, .command = command};

	world_must(dn_netns_run(run_command, &errand, &error), &error);
	return errand.output;
}

static void wire(int ns_fd, const char *name, const char *address, const char *port)
{
	g_autofree char *link = g_strdup_printf("ip link add name %s type veth peer name %s netns "
						"/proc/%d/fd/%d",
						port, name, getpid(), ns_fd);
	g_autofree char *up = g_strdup_printf("ip link set %s up master br0", port);
	g_autofree char *own =
		g_strdup_printf("ip addr add %s dev %s; ip link set %s up", address, name, name);

	g_free(world_sh(world_switch, link));
	g_free(world_sh(world_switch, up));
	g_free(world_sh(ns_fd, own));
}

static bool make_socket(void *data, GError **error)
{
	Errand *errand = data;

	if (!dn_netns_enter(errand->ns_fd, error))
		return false;
	errand->fd = socket(errand->domain, errand->type | SOCK_CLOEXEC | SOCK_NONBLOCK,
			    errand->protocol);
	return errand->fd >= 0 || dn_throw_errno(error, errno, "socket");
}

static int new_socket(int ns_fd, int domain, int type, int protocol)
{
	g_autoptr(GError) error = NULL;
	Errand errand = {
		.ns_fd = ns_fd, .domain = domain, .type = type, .protocol = protocol, .fd = -1};

	world_must(dn_netns_run(make_socket, &errand, &error), &error);
	return errand.fd;
}

static struct sockaddr_in to(const char *address, uint16_t port)
{
	struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port)};

	cr_assert(inet_pton(AF_INET, address, &name.sin_addr) == 1);
	return name;
}

/* @from: a port of one's own, that somebody may listen on; 0: any. */
static int dial_for(int timeout_ms, int ns_fd, uint16_t from, const char *address, uint16_t port)
{
	dn_autofd int fd = new_socket(ns_fd, AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in own = to("0.0.0.0", from), name = to(address, port);
	int problem = 0, on = 1;
	socklen_t size = sizeof(problem);

	if (from != 0 && (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0 ||
			  bind(fd, (struct sockaddr *)&own, sizeof(own)) < 0))
		return -errno;
	if (connect(fd, (struct sockaddr *)&name, sizeof(name)) < 0 && errno != EINPROGRESS)
		return -errno;
	struct pollfd ready = {.fd = fd, .events = POLLOUT};
	if (poll(&ready, 1, timeout_ms) == 0)
		return -ETIMEDOUT;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &size);
	return problem != 0 ? -problem : g_steal_fd(&fd);
}

int world_dial(int ns_fd, const char *address, uint16_t port)
{
	return dial_for(1000, ns_fd, 0, address, port);
}

int world_dial_from(int ns_fd, uint16_t from, const char *address, uint16_t port)
{
	return dial_for(1000, ns_fd, from, address, port);
}

/* Nobody listens there: being refused is an answer. */
static void wait_for_answer(int ns_fd, const char *address)
{
	int answer = -ETIMEDOUT;

	for (int i = 0; i < 200 && answer != -ECONNREFUSED; i++)
		answer = dial_for(50, ns_fd, 0, address, 9);
	cr_assert(answer == -ECONNREFUSED, "%s: %s", address, g_strerror(-answer));
}

void world_begin(void)
{
	g_autoptr(GError) error = NULL;

	/* An own /run: names of namespaces vanish with this process. */
	cr_assert(unshare(CLONE_NEWNS | CLONE_NEWNET) == 0, "host tests need root");
	cr_assert(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	cr_assert(mount("tmpfs", "/run", "tmpfs", 0, NULL) == 0);
	nodes = g_ptr_array_new();
	world_host_a = dn_netns_open_current(&error);
	world_must(world_host_a >= 0, &error);
	world_host_b = new_namespace();
	world_client = new_namespace();
	world_switch = new_namespace();
	g_free(world_sh(world_switch, "ip link add br0 type bridge; ip link set br0 up"));
	wire(world_host_a, "up0", WORLD_HOST_A "/24", "to-a");
	wire(world_host_b, "up0", WORLD_HOST_B "/24", "to-b");
	wire(world_client, "eth0", WORLD_CLIENT "/24", "to-c");
	g_free(world_sh(world_client, "ip route add 10.99.0.0/16 via " WORLD_HOST_A
				      "; ip route add 10.77.0.0/16 via " WORLD_HOST_A));
	/* As hosts have: without any route to a VIP the kernel answers before the firewall can. */
	g_free(world_sh(world_host_a, "ip route add default via " WORLD_CLIENT));
	world_must(dn_network_prepare_host(&world_instance, &error), &error);
	/* The switch forwards once the kernel has seen the carriers. */
	wait_for_answer(world_client, WORLD_HOST_A);
	wait_for_answer(world_client, WORLD_HOST_B);
}

WorldNode *world_node(unsigned slot)
{
	g_autoptr(GError) error = NULL;
	WorldNode *node = g_new0(WorldNode, 1);

	node->spec.node = g_strdup_printf("n%u", slot);
	node->spec.slot = slot;
	node->spec.address.v4 = g_strdup_printf("10.77.0.%u", slot + 1);
	node->network.diag_fd = node->ns_fd = -1;
	g_ptr_array_add(nodes, node);
	world_must(dn_network_create_now(&world_instance, &node->spec, &node->network, &error),
		   &error);
	g_autofree char *path = dn_network_netns_path(&world_instance, node->spec.node);
	node->ns_fd = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert(node->ns_fd >= 0);
	return node;
}

void world_forget_nodes(void)
{
	for (guint i = 0; i < nodes->len; i++) {
		WorldNode *node = g_ptr_array_index(nodes, i);
		g_autoptr(GError) error = NULL;

		if (!dn_network_delete_now(&world_instance, &node->spec, &error))
			g_warning("%s", error->message);
		dn_network_close(&node->network);
		dn_fd_clear(&node->ns_fd);
		g_free((char *)node->spec.node);
		g_free(node->spec.address.v4);
		g_free(node);
	}
	g_ptr_array_set_size(nodes, 0);
}

void world_end(void)
{
	if (nodes != NULL)
		world_forget_nodes();
	g_clear_pointer(&nodes, g_ptr_array_unref);
	dn_fd_clear(&world_host_a);
	dn_fd_clear(&world_host_b);
	dn_fd_clear(&world_client);
	dn_fd_clear(&world_switch);
}

int world_bind(int ns_fd, uint16_t port)
{
	int fd = new_socket(ns_fd, AF_INET, SOCK_STREAM, 0), on = 1;
	struct sockaddr_in name = to("0.0.0.0", port);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	cr_assert(bind(fd, (struct sockaddr *)&name, sizeof(name)) == 0);
	return fd;
}

int world_listen(int ns_fd, uint16_t port)
{
	int fd = world_bind(ns_fd, port);

	cr_assert(listen(fd, 8192) == 0);
	return fd;
}

int world_listen6(int ns_fd, uint16_t port)
{
	int fd = new_socket(ns_fd, AF_INET6, SOCK_STREAM, 0);
	struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

	cr_assert(bind(fd, (struct sockaddr *)&name, sizeof(name)) == 0 && listen(fd, 8192) == 0);
	return fd;
}

int world_raw_tcp(int ns_fd)
{
	return new_socket(ns_fd, AF_INET, SOCK_RAW, IPPROTO_TCP);
}

int world_udp(int ns_fd, const char *address, uint16_t port)
{
	int fd = new_socket(ns_fd, AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_in name = to(address, port);

	cr_assert(bind(fd, (struct sockaddr *)&name, sizeof(name)) == 0);
	return fd;
}

int world_accept(int listener, char peer[16])
{
	struct sockaddr_in name = {0};
	socklen_t size = sizeof(name);
	int fd = accept4(listener, (struct sockaddr *)&name, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0 && peer != NULL)
		inet_ntop(AF_INET, &name.sin_addr, peer, 16);
	return fd;
}

int world_read(int fd, char *buffer, size_t size)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	if (poll(&ready, 1, 1000) == 0)
		return -ETIMEDOUT;
	ssize_t length = recv(fd, buffer, size - 1, 0);
	if (length < 0)
		return -errno;
	buffer[length] = '\0';
	return (int)length;
}

bool world_send_to(int fd, const char *address, uint16_t port, const char *text)
{
	struct sockaddr_in name = to(address, port);

	return sendto(fd, text, strlen(text), 0, (struct sockaddr *)&name, sizeof(name)) ==
	       (ssize_t)strlen(text);
}

void world_raise_file_limit(unsigned files)
{
	struct rlimit limit;

	cr_assert(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = MAX(limit.rlim_cur, files);
	cr_assert(setrlimit(RLIMIT_NOFILE, &limit) == 0, "%u open files are needed", files);
}

bool world_is_silent(int fd)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	return poll(&ready, 1, 50) == 0;
}
