/* SPDX-License-Identifier: Apache-2.0 */
#include "firewall/watch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "firewall/service.h"

enum { READ_BYTES = 64 * 1024, ROOM_BYTES = 1024 * 1024, COMM_BYTES = 16 };

/* The first attribute of every message but NFT_MSG_NEWGEN names the table. */
enum { NFTA_ANY_TABLE = 1 };
_Static_assert(NFTA_ANY_TABLE == (int)NFTA_TABLE_NAME && NFTA_ANY_TABLE == (int)NFTA_CHAIN_TABLE &&
		       NFTA_ANY_TABLE == (int)NFTA_RULE_TABLE &&
		       NFTA_ANY_TABLE == (int)NFTA_SET_TABLE &&
		       NFTA_ANY_TABLE == (int)NFTA_SET_ELEM_LIST_TABLE,
	       "linux/netfilter/nf_tables.h");

int dn_firewall_watch_open(GError **error)
{
	dn_autofd int fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
	struct sockaddr_nl address = {.nl_family = AF_NETLINK};
	int group = NFNLGRP_NFTABLES, room = ROOM_BYTES;

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0) {
		dn_throw_errno(error, errno, "firewall: listen to changes");
		return -1;
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	return g_steal_fd(&fd);
}

/* The attribute @type of a message, or NULL. */
static const struct nlattr *find(const struct nlmsghdr *message, unsigned type)
{
	const char *at =
		(const char *)message + NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct nfgenmsg));
	const char *end = (const char *)message + message->nlmsg_len;

	while (end - at >= NLA_HDRLEN) {
		const struct nlattr *attribute = (const struct nlattr *)at;

		if (attribute->nla_len < NLA_HDRLEN || attribute->nla_len > end - at)
			return NULL;
		if ((attribute->nla_type & NLA_TYPE_MASK) == type)
			return attribute;
		at += NLA_ALIGN(attribute->nla_len);
	}
	return NULL;
}

static bool is_of_our_table(const struct nlmsghdr *message)
{
	const struct nlattr *name = find(message, NFTA_ANY_TABLE);

	return name != NULL && (size_t)name->nla_len == NLA_HDRLEN + sizeof(DN_TABLE) &&
	       memcmp((const char *)name + NLA_HDRLEN, DN_TABLE, sizeof(DN_TABLE)) == 0;
}

/* The kernel counts threads here; each of this process is below its own directory. */
static bool is_own_thread(const struct nlmsghdr *message)
{
	const struct nlattr *pid = find(message, NFTA_GEN_PROC_PID);
	uint32_t number = 0;
	char path[64];

	if (pid == NULL || pid->nla_len < NLA_HDRLEN + sizeof(number))
		return false;
	memcpy(&number, (const char *)pid + NLA_HDRLEN, sizeof(number));
	(void)snprintf(path, sizeof(path), "/proc/self/task/%u", ntohl(number));
	return access(path, F_OK) == 0;
}

static char *name_of(const struct nlmsghdr *message)
{
	const struct nlattr *name = find(message, NFTA_GEN_PROC_NAME);

	if (name == NULL)
		return NULL;
	const char *text = (const char *)name + NLA_HDRLEN;
	return dn_text_printable(
		text, strnlen(text, MIN((size_t)name->nla_len - NLA_HDRLEN, (size_t)COMM_BYTES)));
}

/* What one read has brought; @*touched goes on from message to message until its transaction ends.
 */
static bool look(const char *bytes, size_t size, bool *touched, char **who)
{
	const struct nlmsghdr *message = (const struct nlmsghdr *)bytes;
	bool foreign = false;

	for (; NLMSG_OK(message, size); message = NLMSG_NEXT(message, size)) {
		if (NFNL_SUBSYS_ID(message->nlmsg_type) != NFNL_SUBSYS_NFTABLES)
			continue;
		if (NFNL_MSG_TYPE(message->nlmsg_type) != NFT_MSG_NEWGEN) {
			*touched = *touched || is_of_our_table(message);
			continue;
		}
		if (*touched && !is_own_thread(message)) {
			foreign = true;
			if (*who == NULL)
				*who = name_of(message);
		}
		*touched = false;
	}
	return foreign;
}

bool dn_firewall_watch_read(int fd, char **who)
{
	g_autofree char *bytes = g_malloc(READ_BYTES);
	bool foreign = false, touched = false;

	*who = NULL;
	for (;;) {
		ssize_t size = recv(fd, bytes, READ_BYTES, MSG_DONTWAIT);

		if (size < 0 && errno == EINTR)
			continue;
		if (size < 0 && errno == ENOBUFS) {
			foreign = true;
			continue;
		}
		if (size <= 0)
			return foreign;
		foreign = look(bytes, (size_t)size, &touched, who) || foreign;
	}
}
