/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/netlink.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/fd.h"
#include "firewall/firewall.h"

enum { SEND_BUFFER = 1024 * 1024, ANSWER_SIZE = 4096 };

int dn_firewall_open_replay(GError **error)
{
	dn_autofd int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	struct sockaddr_nl own = {.nl_family = AF_NETLINK};
	int size = SEND_BUFFER, on = 1;

	if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof(own)) < 0) {
		dn_throw_errno(error, errno, "firewall: open a socket for replays");
		return -1;
	}
	/* A batch is one send; an answer need not repeat it. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0 ||
	    setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on)) < 0) {
		dn_throw_errno(error, errno, "firewall: prepare the socket for replays");
		return -1;
	}
	return g_steal_fd(&fd);
}

/*
 * The kernel has carried out the batch, and queued its answers, when sendto() returns; so
 * nothing here waits. The first error is the answer, else the one acknowledgement the batch asks
 * for; without either nothing is known, which must not pass for success.
 */
static int read_answers(int fd)
{
	char buffer[ANSWER_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
	int verdict = -ENODATA;
	ssize_t length;

	while ((length = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT)) > 0) {
		unsigned left = (unsigned)length;

		for (struct nlmsghdr *header = (void *)buffer; NLMSG_OK(header, left);
		     header = NLMSG_NEXT(header, left)) {
			const struct nlmsgerr *answer = NLMSG_DATA(header);

			if (header->nlmsg_type == NLMSG_ERROR &&
			    (verdict == -ENODATA || verdict == 0))
				verdict = answer->error;
		}
	}
	return length < 0 && errno != EAGAIN ? -errno : verdict;
}

int dn_firewall_replay(int netlink_fd, const void *batch, size_t size)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};

	if (size == 0)
		return 0;
	/* An answer that an earlier replay left behind must not be taken for this one's. */
	(void)read_answers(netlink_fd);
	if (sendto(netlink_fd, batch, size, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return -errno;
	return read_answers(netlink_fd);
}
