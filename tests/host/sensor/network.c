/* SPDX-License-Identifier: Apache-2.0 */
#include "network.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

enum { CONNECTIONS = 16 };

static void address_of(const char *text, uint16_t port, struct sockaddr_storage *address,
		       socklen_t *length)
{
	struct sockaddr_in *v4 = (void *)address;
	struct sockaddr_in6 *v6 = (void *)address;

	memset(address, 0, sizeof(*address));
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		*length = sizeof(*v4);
		return;
	}
	cr_assert(inet_pton(AF_INET6, text, &v6->sin6_addr) == 1);
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	*length = sizeof(*v6);
}

/* Both families on one socket. */
static int bind_any(int type, uint16_t port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int fd = socket(AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), off = 0, on = 1;

	if (fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0)
		return -1;
	return fd;
}

static void send_datagram(int fd, const char *address)
{
	struct sockaddr_storage to;
	socklen_t length;

	address_of(address, HOST_UDP, &to, &length);
	(void)sendto(fd, "u", 1, MSG_DONTWAIT, (struct sockaddr *)&to, length);
}

static void flood(int v4, int v6)
{
	for (;;) {
		send_datagram(v4, HOST_V4);
		send_datagram(v6, HOST_V6);
		usleep(100);
	}
}

/* Begin a connection to the host; @port 0: from any port. The socket is kept open. */
static void begin_connection(uint16_t port)
{
	struct sockaddr_storage to;
	struct sockaddr_in from = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
	socklen_t length;

	address_of(HOST_V4, HOST_TCP, &to, &length);
	if (port != 0 && (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0 ||
			  bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0))
		_exit(76);
	(void)connect(fd, (struct sockaddr *)&to, length);
}

static void echo(int fd)
{
	struct sockaddr_storage from;
	socklen_t length = sizeof(from);
	char byte;

	if (recvfrom(fd, &byte, 1, MSG_DONTWAIT, (struct sockaddr *)&from, &length) == 1)
		(void)sendto(fd, &byte, 1, MSG_DONTWAIT, (struct sockaddr *)&from, length);
}

typedef struct {
	int command_fd, listeners[2], echoes[2], v4, v6;
	int connections[CONNECTIONS];
	unsigned n;
} Service;

static void obey(Service *self, char command)
{
	if (command == 'w')
		for (unsigned i = 0; i < self->n; i++)
			(void)send(self->connections[i], "w", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (command == 'u' || command == 'f') {
		send_datagram(self->v4, HOST_V4);
		send_datagram(self->v6, HOST_V6);
	}
	if (command == 'c' || command == 's')
		begin_connection(command == 's' ? DECLARED : 0);
	(void)!write(self->command_fd, "k", 1);
	if (command == 'f')
		flood(self->v4, self->v6);
}

static void serve(Service *self)
{
	for (;;) {
		struct pollfd fds[] = {{self->command_fd, POLLIN, 0},
				       {self->listeners[0], POLLIN, 0},
				       {self->listeners[1], POLLIN, 0},
				       {self->echoes[0], POLLIN, 0},
				       {self->echoes[1], POLLIN, 0}};
		char command;

		(void)poll(fds, 5, -1);
		echo(self->echoes[0]);
		echo(self->echoes[1]);
		for (int i = 0; i < 2; i++) {
			int fd = fds[i + 1].revents != 0 && self->n < CONNECTIONS
					 ? accept(self->listeners[i], NULL, NULL)
					 : -1;

			if (fd >= 0)
				self->connections[self->n++] = fd;
		}
		if (fds[0].revents != 0) {
			if (read(self->command_fd, &command, 1) != 1)
				_exit(0);
			obey(self, command);
		}
	}
}

static void act_as_node(const Host *host, void *data)
{
	const int *ends = data;
	Service self = {.command_fd = ends[1]};
	char byte;

	if (unshare(CLONE_NEWNET) < 0 || write(self.command_fd, "n", 1) != 1 ||
	    read(self.command_fd, &byte, 1) != 1)
		_exit(74);
	self.listeners[0] = bind_any(SOCK_STREAM, DECLARED);
	self.listeners[1] = bind_any(SOCK_STREAM, UNDECLARED);
	self.echoes[0] = bind_any(SOCK_DGRAM, DECLARED_UDP);
	self.echoes[1] = bind_any(SOCK_DGRAM, UNDECLARED_UDP);
	self.v4 = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	self.v6 = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (listen(self.listeners[0], 64) < 0 || listen(self.listeners[1], 64) < 0 ||
	    write(self.command_fd, "r", 1) != 1)
		_exit(75);
	serve(&self);
}

static void expect_byte(int fd)
{
	char byte;

	cr_assert(read(fd, &byte, 1) == 1, "the node went away");
}

static void make_link(NetNode *self)
{
	const char *name = self->ifname;
	int pid = self->pid;

	run("ip link add %s address 02:00:00:00:00:01 type veth peer name eth0 address "
	    "02:00:00:00:00:02 netns %d",
	    name, pid);
	run("ip addr add " HOST_V4 "/24 dev %s && ip addr add " HOST_V6 "/64 dev %s nodad && "
	    "ip link set %s up",
	    name, name, name);
	run("nsenter --net=/proc/%d/ns/net sh -c 'ip link set lo up && ip addr add " NODE_V4
	    "/24 dev eth0 && ip addr add " NODE_V6
	    "/64 dev eth0 nodad && ip link set eth0 up && ip route add default via " HOST_V4 "'",
	    pid);
	/* As in the product: neighbours are static, nobody has to ask. */
	run("ip neigh replace " NODE_V4 " lladdr 02:00:00:00:00:02 dev %s nud permanent && "
	    "ip neigh replace " NODE_V6 " lladdr 02:00:00:00:00:02 dev %s nud permanent",
	    name, name);
	run("nsenter --net=/proc/%d/ns/net sh -c 'ip neigh replace " HOST_V4
	    " lladdr 02:00:00:00:00:01 dev eth0 nud permanent && ip neigh replace " HOST_V6
	    " lladdr 02:00:00:00:00:01 dev eth0 nud permanent'",
	    pid);
	self->ifindex = if_nametoindex(name);
}

static unsigned peer_index(NetNode *self)
{
	struct ifreq request = {.ifr_name = "eth0"};
	dn_autofd int fd = net_node_socket(self, AF_INET, SOCK_DGRAM, 0);

	cr_assert(ioctl(fd, SIOCGIFINDEX, &request) == 0);
	return (unsigned)request.ifr_ifindex;
}

void net_node_set_up(NetNode *self, Host *host)
{
	static const uint16_t ports[] = {DECLARED};
	static const uint16_t udp[] = {DECLARED_UDP};
	/* The node of the test is root's and comes in from outside: that is only told. */
	DnAnswer answers[DN_DRIFT_LIMIT] = {DN_ANSWER_OBSERVE};

	answers[DN_DRIFT_EXEC] = DN_ANSWER_QUARANTINE;
	g_autoptr(GError) error = NULL;
	int ends[2];
	dn_autofd int pipe_fd = -1;

	self->host = host;
	(void)snprintf(self->ifname, sizeof(self->ifname), "dnt%d", getpid());
	uint64_t cgroup = host_make_cgroup(host, "n0");
	cr_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
	self->pid = host_spawn_in(host, "n0", act_as_node, ends, &pipe_fd);
	close(ends[1]);
	self->command_fd = ends[0];
	expect_byte(self->command_fd);
	make_link(self);
	g_autofree char *path = g_strdup_printf("/proc/%d/ns/net", self->pid);
	self->net_fd = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert(self->net_fd >= 0);
	self->peer_index = peer_index(self);
	net_node_tell(self, 'g');
	self->node = (DnSensorNode){
		.slot = SLOT,
		.cgroup_id = cgroup,
		.ifindex = self->ifindex,
		.image = 1,
		.service = 1,
		.pid1 = (uint32_t)self->pid,
		.answer = answers,
		.ports = ports,
		.n_ports = 1,
		.udp = udp,
		.n_udp = 1,
	};
	cr_assert(dn_sensor_add_node(host->sensor, &self->node, &error), "%s", error->message);
}

void net_node_tear_down(NetNode *self)
{
	kill(self->pid, SIGKILL);
	waitpid(self->pid, NULL, 0);
	close(self->command_fd);
	close(self->net_fd);
}

void net_node_tell(NetNode *self, char command)
{
	cr_assert(write(self->command_fd, &command, 1) == 1);
	expect_byte(self->command_fd);
}

volatile struct dn_sensor_mark *net_node_mark(NetNode *self)
{
	return &dn_sensor_marks(self->host->sensor)[SLOT];
}

void net_node_cut(NetNode *self)
{
	cr_assert(dn_sensor_mark(self->host->sensor, SLOT, DN_DRIFT_MANUAL, NULL, 0));
}

int net_node_socket(NetNode *self, int family, int type, int protocol)
{
	dn_autofd int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	cr_assert(home >= 0 && setns(self->net_fd, CLONE_NEWNET) == 0);
	int fd = socket(family, type | SOCK_CLOEXEC, protocol);
	cr_assert(setns(home, CLONE_NEWNET) == 0);
	cr_assert(fd >= 0, "%s", g_strerror(errno));
	return fd;
}

void net_node_destroy(NetNode *self, unsigned port)
{
	/* ss also tries the other family's entry of each socket, and complains about that. */
	run("nsenter --net=/proc/%d/ns/net ss -K state established sport = :%u >/dev/null 2>&1",
	    self->pid, port);
}

int net_connect(const char *address, uint16_t port, int *fd_out)
{
	struct sockaddr_storage to;
	socklen_t length;
	int error = 0;
	socklen_t size = sizeof(error);

	address_of(address, port, &to, &length);
	int fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	cr_assert(fd >= 0);
	*fd_out = fd;
	if (connect(fd, (struct sockaddr *)&to, length) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return errno;
	struct pollfd writable = {fd, POLLOUT, 0};
	if (poll(&writable, 1, 3000) == 0)
		return ETIMEDOUT;
	cr_assert(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0);
	return error;
}

int net_receive(int fd, unsigned limit_ms)
{
	struct pollfd readable = {fd, POLLIN, 0};
	char byte;

	if (poll(&readable, 1, (int)limit_ms) == 0)
		return -EAGAIN;
	ssize_t got = recv(fd, &byte, 1, MSG_DONTWAIT);
	return got < 0 ? -errno : (int)got;
}

int net_udp_socket(void)
{
	int fd = bind_any(SOCK_DGRAM, HOST_UDP);

	cr_assert(fd >= 0);
	return fd;
}

int net_tcp_listener(void)
{
	int fd = bind_any(SOCK_STREAM, HOST_TCP);

	cr_assert(fd >= 0 && listen(fd, 8) == 0);
	return fd;
}

int net_ask(uint16_t port, unsigned limit_ms)
{
	struct sockaddr_storage to;
	socklen_t length;
	dn_autofd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	address_of(NODE_V4, port, &to, &length);
	cr_assert(sendto(fd, "?", 1, 0, (struct sockaddr *)&to, length) == 1);
	return net_receive(fd, limit_ms);
}

uint16_t net_checksum(const void *bytes, size_t length, uint32_t sum)
{
	const uint8_t *octets = bytes;

	for (size_t i = 0; i + 1 < length; i += 2)
		sum += (uint32_t)(octets[i] << 8 | octets[i + 1]);
	if (length % 2 != 0)
		sum += (uint32_t)octets[length - 1] << 8;
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}
