/* SPDX-License-Identifier: Apache-2.0 */
#include "firewall/batch.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include "firewall/service.h"

/* Names of nft's data types; the kernel stores them for whoever lists the table. */
enum { NFT_TYPE_INTEGER = 4, NFT_TYPE_IPADDR = 7, NFT_TYPE_SERVICE = 13, NFT_TYPE_BITS = 6 };

struct DnBatch {
	GByteArray *bytes; /* owned */
	size_t message;    /* offset of the message being written */
	uint32_t sequence;
	uint32_t set_id; /* of the last anonymous map */
};

static const uint8_t padding[NLMSG_ALIGNTO];

static void pad(DnBatch *self)
{
	g_byte_array_append(self->bytes, padding, -self->bytes->len & (NLMSG_ALIGNTO - 1));
}

static void begin(DnBatch *self, uint16_t type, uint16_t flags, uint8_t family, uint16_t resource)
{
	struct nlmsghdr header = {
		.nlmsg_type = type,
		.nlmsg_flags = NLM_F_REQUEST | flags,
		.nlmsg_seq = self->sequence++,
	};
	struct nfgenmsg generic = {.nfgen_family = family, .res_id = htons(resource)};

	self->message = self->bytes->len;
	g_byte_array_append(self->bytes, (const guint8 *)&header, sizeof(header));
	g_byte_array_append(self->bytes, (const guint8 *)&generic, sizeof(generic));
}

/* The first message after the batch's own is the one whose acknowledgement a replay waits for. */
static void begin_table(DnBatch *self, uint16_t type, uint16_t flags)
{
	uint16_t acknowledge = self->sequence == 1 ? NLM_F_ACK : 0;

	begin(self, (NFNL_SUBSYS_NFTABLES << 8) | type, flags | acknowledge, NFPROTO_INET, 0);
}

static void end(DnBatch *self)
{
	struct nlmsghdr *header = (void *)(self->bytes->data + self->message);

	header->nlmsg_len = self->bytes->len - (guint)self->message;
}

static void put(DnBatch *self, uint16_t type, const void *data, size_t size)
{
	struct nlattr attribute = {.nla_type = type, .nla_len = (uint16_t)(NLA_HDRLEN + size)};

	g_byte_array_append(self->bytes, (const guint8 *)&attribute, sizeof(attribute));
	g_byte_array_append(self->bytes, data, (guint)size);
	pad(self);
}

static void put_text(DnBatch *self, uint16_t type, const char *text)
{
	put(self, type, text, strlen(text) + 1);
}

static void put_u32(DnBatch *self, uint16_t type, uint32_t value)
{
	uint32_t big_endian = htonl(value);

	put(self, type, &big_endian, sizeof(big_endian));
}

static size_t nest(DnBatch *self, uint16_t type)
{
	size_t start = self->bytes->len;

	put(self, NLA_F_NESTED | type, NULL, 0);
	return start;
}

static void nest_end(DnBatch *self, size_t start)
{
	struct nlattr *attribute = (void *)(self->bytes->data + start);

	attribute->nla_len = (uint16_t)(self->bytes->len - start);
}

static void put_value(DnBatch *self, uint16_t type, const void *data, size_t size)
{
	size_t outer = nest(self, type);

	put(self, NFTA_DATA_VALUE, data, size);
	nest_end(self, outer);
}

DnBatch *dn_batch_new(void)
{
	DnBatch *self = g_new0(DnBatch, 1);

	self->bytes = g_byte_array_sized_new(1024);
	begin(self, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	end(self);
	return self;
}

void dn_batch_free(DnBatch *self)
{
	if (self == NULL)
		return;
	g_byte_array_unref(self->bytes);
	g_free(self);
}

GBytes *dn_batch_end(DnBatch *self)
{
	begin(self, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	end(self);
	return g_bytes_new(self->bytes->data, self->bytes->len);
}

void dn_batch_element(DnBatch *self, const char *set, const void *key, size_t size, bool add)
{
	begin_table(self, add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM, add ? NLM_F_CREATE : 0);
	put_text(self, NFTA_SET_ELEM_LIST_TABLE, DN_TABLE);
	put_text(self, NFTA_SET_ELEM_LIST_SET, set);
	size_t list = nest(self, NFTA_SET_ELEM_LIST_ELEMENTS);
	size_t element = nest(self, NFTA_LIST_ELEM);
	put_value(self, NFTA_SET_ELEM_KEY, key, size);
	nest_end(self, element);
	nest_end(self, list);
	end(self);
}

static void flush_chain(DnBatch *self, const char *chain)
{
	begin_table(self, NFT_MSG_DELRULE, 0);
	put_text(self, NFTA_RULE_TABLE, DN_TABLE);
	put_text(self, NFTA_RULE_CHAIN, chain);
	end(self);
}

/* The kernel replaces %d and finds the map within the batch by its id. */
#define ANONYMOUS_MAP "__map%d"

static void new_map(DnBatch *self, uint32_t n)
{
	/* Type, length, value: the key is in host order, the data is not, no interval. */
	static const uint8_t user_data[] = {
		0, 4, 1, 0, 0, 0, 1, 4, 0, 0, 0, 0, 6, 4, 0, 0, 0, 0,
	};

	begin_table(self, NFT_MSG_NEWSET, NLM_F_CREATE);
	put_text(self, NFTA_SET_TABLE, DN_TABLE);
	put_text(self, NFTA_SET_NAME, ANONYMOUS_MAP);
	put_u32(self, NFTA_SET_FLAGS, NFT_SET_ANONYMOUS | NFT_SET_CONSTANT | NFT_SET_MAP);
	put_u32(self, NFTA_SET_KEY_TYPE, NFT_TYPE_INTEGER);
	put_u32(self, NFTA_SET_KEY_LEN, sizeof(uint32_t));
	put_u32(self, NFTA_SET_DATA_TYPE, NFT_TYPE_IPADDR << NFT_TYPE_BITS | NFT_TYPE_SERVICE);
	put_u32(self, NFTA_SET_DATA_LEN, 2 * sizeof(uint32_t));
	put_u32(self, NFTA_SET_ID, ++self->set_id);
	size_t description = nest(self, NFTA_SET_DESC);
	put_u32(self, NFTA_SET_DESC_SIZE, n);
	nest_end(self, description);
	put(self, NFTA_SET_USERDATA, user_data, sizeof(user_data));
	end(self);
}

static void fill_map(DnBatch *self, const GArray *endpoints)
{
	begin_table(self, NFT_MSG_NEWSETELEM, NLM_F_CREATE);
	put_text(self, NFTA_SET_ELEM_LIST_TABLE, DN_TABLE);
	put_text(self, NFTA_SET_ELEM_LIST_SET, ANONYMOUS_MAP);
	put_u32(self, NFTA_SET_ELEM_LIST_SET_ID, self->set_id);
	size_t list = nest(self, NFTA_SET_ELEM_LIST_ELEMENTS);
	for (uint32_t i = 0; i < endpoints->len; i++) {
		const DnEndpoint *endpoint = &g_array_index(endpoints, DnEndpoint, i);
		struct {
			struct in_addr address;
			uint16_t port;
			uint16_t unused;
		} data = {.port = htons(endpoint->port)};

		inet_pton(AF_INET, endpoint->address, &data.address);
		size_t element = nest(self, NFTA_LIST_ELEM);
		put_value(self, NFTA_SET_ELEM_KEY, &i, sizeof(i));
		put_value(self, NFTA_SET_ELEM_DATA, &data, sizeof(data));
		nest_end(self, element);
	}
	nest_end(self, list);
	end(self);
}

typedef struct {
	size_t element, data;
} Expression;

static Expression expression(DnBatch *self, const char *name)
{
	Expression made = {.element = nest(self, NFTA_LIST_ELEM)};

	put_text(self, NFTA_EXPR_NAME, name);
	made.data = nest(self, NFTA_EXPR_DATA);
	return made;
}

static void expression_end(DnBatch *self, Expression made)
{
	nest_end(self, made.data);
	nest_end(self, made.element);
}

/* meta l4proto PROTOCOL: nft 1.0.6 and the kernel want it before a port is translated. */
static void match_protocol(DnBatch *self, uint8_t protocol)
{
	Expression meta = expression(self, "meta");
	put_u32(self, NFTA_META_KEY, NFT_META_L4PROTO);
	put_u32(self, NFTA_META_DREG, NFT_REG_1);
	expression_end(self, meta);

	Expression compare = expression(self, "cmp");
	put_u32(self, NFTA_CMP_SREG, NFT_REG_1);
	put_u32(self, NFTA_CMP_OP, NFT_CMP_EQ);
	put_value(self, NFTA_CMP_DATA, &protocol, sizeof(protocol));
	expression_end(self, compare);
}

static void translate(DnBatch *self, uint32_t n)
{
	Expression next = expression(self, "numgen");
	put_u32(self, NFTA_NG_DREG, NFT_REG_1);
	put_u32(self, NFTA_NG_MODULUS, n);
	put_u32(self, NFTA_NG_TYPE, NFT_NG_INCREMENTAL);
	put_u32(self, NFTA_NG_OFFSET, 0);
	expression_end(self, next);

	Expression lookup = expression(self, "lookup");
	put_u32(self, NFTA_LOOKUP_SREG, NFT_REG_1);
	put_u32(self, NFTA_LOOKUP_DREG, NFT_REG_1);
	put_text(self, NFTA_LOOKUP_SET, ANONYMOUS_MAP);
	put_u32(self, NFTA_LOOKUP_SET_ID, self->set_id);
	expression_end(self, lookup);

	Expression nat = expression(self, "nat");
	put_u32(self, NFTA_NAT_TYPE, NFT_NAT_DNAT);
	put_u32(self, NFTA_NAT_FAMILY, NFPROTO_IPV4);
	put_u32(self, NFTA_NAT_REG_ADDR_MIN, NFT_REG_1);
	put_u32(self, NFTA_NAT_REG_PROTO_MIN, NFT_REG32_01);
	expression_end(self, nat);
}

static void refuse(DnBatch *self, uint32_t type, uint8_t code)
{
	Expression reject = expression(self, "reject");

	put_u32(self, NFTA_REJECT_TYPE, type);
	put(self, NFTA_REJECT_ICMP_CODE, &code, sizeof(code));
	expression_end(self, reject);
}

static size_t begin_rule(DnBatch *self, const char *chain)
{
	begin_table(self, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
	put_text(self, NFTA_RULE_TABLE, DN_TABLE);
	put_text(self, NFTA_RULE_CHAIN, chain);
	return nest(self, NFTA_RULE_EXPRESSIONS);
}

static void end_rule(DnBatch *self, size_t expressions)
{
	nest_end(self, expressions);
	end(self);
}

void dn_batch_service(DnBatch *self, const char *chain, DnProtocol protocol,
		      const GArray *endpoints)
{
	flush_chain(self, chain);
	if (endpoints->len > 0) {
		new_map(self, endpoints->len);
		fill_map(self, endpoints);
	}
	size_t rule = begin_rule(self, chain);
	if (endpoints->len > 0) {
		match_protocol(self, protocol == DN_PROTOCOL_UDP ? IPPROTO_UDP : IPPROTO_TCP);
		translate(self, endpoints->len);
	} else if (protocol == DN_PROTOCOL_TCP) {
		match_protocol(self, IPPROTO_TCP);
		refuse(self, NFT_REJECT_TCP_RST, 0);
	} else {
		refuse(self, NFT_REJECT_ICMPX_UNREACH, NFT_REJECT_ICMPX_PORT_UNREACH);
	}
	end_rule(self, rule);
}
