/* SPDX-License-Identifier: Apache-2.0 */

/* One entry of conntrack, as ctnetlink sends it (linux/netfilter/nfnetlink_conntrack.h). */

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <string.h>

#include "network/diag-table.h"

/* Attributes of the kernel: walked by hand, since libnl's containers allocate. */
static const struct nlattr *find(const void *from, size_t size, uint16_t type)
{
	const uint8_t *at = from;

	while (size >= NLA_HDRLEN) {
		const struct nlattr *attribute = (const void *)at;
		size_t step = NLA_ALIGN(attribute->nla_len);

		if (attribute->nla_len < NLA_HDRLEN || attribute->nla_len > size)
			return NULL;
		if ((attribute->nla_type & NLA_TYPE_MASK) == type)
			return attribute;
		if (step >= size)
			return NULL;
		at += step;
		size -= step;
	}
	return NULL;
}

static const struct nlattr *find_in(const struct nlattr *outer, uint16_t type)
{
	if (outer == NULL)
		return NULL;
	return find((const uint8_t *)outer + NLA_HDRLEN, outer->nla_len - NLA_HDRLEN, type);
}

/* Copy a value of exactly @size bytes; leave zero when it is absent. */
static void copy(const struct nlattr *attribute, void *value, size_t size)
{
	if (attribute != NULL && attribute->nla_len == NLA_HDRLEN + size)
		memcpy(value, (const uint8_t *)attribute + NLA_HDRLEN, size);
}

static void read_way(const struct nlattr *tuple, DnDiagWay *way, uint8_t *protocol)
{
	const struct nlattr *ip = find_in(tuple, CTA_TUPLE_IP);
	const struct nlattr *proto = find_in(tuple, CTA_TUPLE_PROTO);

	copy(find_in(ip, CTA_IP_V4_SRC), &way->source, sizeof(way->source));
	copy(find_in(ip, CTA_IP_V4_DST), &way->destination, sizeof(way->destination));
	copy(find_in(proto, CTA_PROTO_NUM), protocol, sizeof(*protocol));
	copy(find_in(proto, CTA_PROTO_SRC_PORT), &way->source_port, sizeof(way->source_port));
	copy(find_in(proto, CTA_PROTO_DST_PORT), &way->destination_port,
	     sizeof(way->destination_port));
	way->source_port = ntohs(way->source_port);
	way->destination_port = ntohs(way->destination_port);
}

bool dn_diag_read_flow(const struct nlmsghdr *header, DnDiagFlow *flow)
{
	size_t skip = NLMSG_ALIGN(sizeof(struct nfgenmsg));

	if (header->nlmsg_len < NLMSG_LENGTH(skip))
		return false;
	const uint8_t *start = (const uint8_t *)NLMSG_DATA(header) + skip;
	size_t size = header->nlmsg_len - NLMSG_LENGTH(skip);
	const struct nlattr *original = find(start, size, CTA_TUPLE_ORIG);
	memset(flow, 0, sizeof(*flow));
	if (original == NULL || original->nla_len > DN_DIAG_TUPLE)
		return false;
	flow->tuple_size = original->nla_len;
	memcpy(flow->tuple, original, original->nla_len);
	read_way(original, &flow->original, &flow->protocol);
	read_way(find(start, size, CTA_TUPLE_REPLY), &flow->reply, &flow->protocol);
	copy(find(start, size, CTA_STATUS), &flow->status, sizeof(flow->status));
	copy(find(start, size, CTA_TIMEOUT), &flow->timeout_s, sizeof(flow->timeout_s));
	flow->status = ntohl(flow->status);
	flow->timeout_s = ntohl(flow->timeout_s);
	const struct nlattr *info = find(start, size, CTA_PROTOINFO);
	copy(find_in(find_in(info, CTA_PROTOINFO_TCP), CTA_PROTOINFO_TCP_STATE), &flow->tcp_state,
	     sizeof(flow->tcp_state));
	return true;
}
