/* SPDX-License-Identifier: Apache-2.0 */
#include "network/verify.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"

enum { WAIT_MS = 20, UNDECLARED_PORT = 9 };

#define HOST_END "169.254.1.1"

/* A thread of its own, since setns(2) moves only the thread and there is no way back by name. */
typedef struct {
	const char *netns;
	int fd;
	int errsv;
} Opened;

static gpointer open_inside(gpointer data)
{
	Opened *opened = data;
	dn_autofd int netns = open(opened->netns, O_RDONLY | O_CLOEXEC);

	if (netns < 0 || setns(netns, CLONE_NEWNET) < 0)
		opened->fd = -1;
	else
		opened->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	opened->errsv = errno;
	return NULL;
}

static struct sockaddr_in address_of(const char *text, uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};

	(void)inet_pton(AF_INET, text, &address.sin_addr);
	return address;
}

static bool is_deaf(const char *text, uint16_t port, GError **error)
{
	struct sockaddr_in address = address_of(text, port);
	dn_autofd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct pollfd ready = {.fd = fd, .events = POLLOUT};
	int result = 0;
	socklen_t length = sizeof(result);

	if (fd < 0)
		return dn_throw_errno(error, errno, "socket");
	bool at_once = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
	if (!at_once && errno != EINPROGRESS)
		return true; /* refused before a packet left */
	if (!at_once && poll(&ready, 1, WAIT_MS) == 0)
		return true; /* no answer at all */
	(void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &result, &length);
	if (result != 0)
		return true; /* a reset, or unreachable: the host's answer, not the node's */
	g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED, "port %u of the cut node %s answered",
		    port, text);
	return false;
}

bool dn_network_verify_mute_now(const char *netns, GError **error)
{
	struct sockaddr_in here = address_of(HOST_END, 0);
	socklen_t length = sizeof(here);
	dn_autofd int listener = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct pollfd ready = {.fd = listener, .events = POLLIN};
	Opened opened = {.netns = netns, .fd = -1};

	if (listener < 0 || bind(listener, (struct sockaddr *)&here, sizeof(here)) < 0 ||
	    getsockname(listener, (struct sockaddr *)&here, &length) < 0)
		return dn_throw_errno(error, errno, "listen for the cut node");
	GThread *thread = g_thread_new("verify", open_inside, &opened);
	g_thread_join(thread);
	dn_autofd int speaker = opened.fd;
	if (speaker < 0)
		return dn_throw_errno(error, opened.errsv, "open a socket in %s", netns);
	/* What the send returns says nothing: a local drop may already refuse it. */
	(void)sendto(speaker, "?", 1, 0, (struct sockaddr *)&here, sizeof(here));
	if (poll(&ready, 1, WAIT_MS) == 0)
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
		    "a datagram from the cut node reached the host");
	return false;
}

bool dn_network_verify_cut_now(const char *netns, const char *address, const uint16_t *ports,
			       size_t n_ports, GError **error)
{
	for (size_t i = 0; i < n_ports; i++)
		if (!is_deaf(address, ports[i], error))
			return false;
	return is_deaf(address, UNDECLARED_PORT, error) && dn_network_verify_mute_now(netns, error);
}
