/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#pragma once

/*
 * A TCP segment as far as the cut must know it, and how it is turned into a reset.
 *
 * Nothing is trimmed and nothing is summed up anew when a segment is turned: swapped addresses
 * and ports leave every checksum as it was, and the other fields are replaced through
 * bpf_l4_csum_replace(), which is right for a checksum that is complete and for one that a
 * device has yet to fill in. Writing a computed checksum would break the latter.
 */

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

enum { TCP_OFF_SOURCE = 0, TCP_OFF_SEQ = 4, TCP_OFF_ACK = 8, TCP_OFF_FLAGS = 12 };
enum { TCP_OFF_WINDOW = 14, TCP_OFF_CHECK = 16 };
enum { IP_OFF_TTL = 8, IP_OFF_CHECK = 10, IP_OFF_SADDR = 12, IP6_OFF_HOPS = 7, IP6_OFF_SADDR = 8 };

struct segment {
	__u32 l3, l4; /* offsets into the packet */
	__u32 end;    /* where the packet ends, as its IP header says */
	__u32 is_v6;
	__u32 header_only; /* nothing rides on it */
	__u16 source;      /* port, host order */
	__u16 destination;
	__u8 protocol;
	__u8 flags; /* TCP */
};

/* False for anything but a whole packet whose transport header is right behind its IP header. */
static __always_inline int find_transport(struct __sk_buff *skb, __u32 l3, struct segment *seg)
{
	__u8 ip[10];

	seg->l3 = l3;
	if (skb->vlan_present || bpf_skb_load_bytes(skb, l3, ip, sizeof(ip)))
		return 0;
	if (skb->protocol == bpf_htons(ETH_P_IP) && ip[0] >> 4 == 4) {
		__u32 header = (ip[0] & 15) * 4;

		if (header < 20 || (ip[6] & 0x3f) || ip[7])
			return 0;
		seg->is_v6 = 0;
		seg->protocol = ip[9];
		seg->l4 = l3 + header;
		seg->end = l3 + (ip[2] << 8 | ip[3]);
		return 1;
	}
	if (skb->protocol == bpf_htons(ETH_P_IPV6) && ip[0] >> 4 == 6) {
		seg->is_v6 = 1;
		seg->protocol = ip[6];
		seg->l4 = l3 + 40;
		seg->end = l3 + 40 + (ip[4] << 8 | ip[5]);
		return 1;
	}
	return 0;
}

/* False for anything but an unfragmented TCP segment right behind its IP header. */
static __always_inline int read_segment(struct __sk_buff *skb, __u32 l3, struct segment *seg)
{
	__u8 tcp[14];

	if (!find_transport(skb, l3, seg) || seg->protocol != IPPROTO_TCP ||
	    bpf_skb_load_bytes(skb, seg->l4, tcp, sizeof(tcp)))
		return 0;
	seg->source = tcp[0] << 8 | tcp[1];
	seg->destination = tcp[2] << 8 | tcp[3];
	seg->flags = tcp[13];
	seg->header_only = seg->l4 + (tcp[12] >> 4) * 4 == seg->end;
	return 1;
}

/* The same for a datagram. */
static __always_inline int read_datagram(struct __sk_buff *skb, __u32 l3, struct segment *seg)
{
	__u8 ports[4];

	if (!find_transport(skb, l3, seg) || seg->protocol != IPPROTO_UDP ||
	    bpf_skb_load_bytes(skb, seg->l4, ports, sizeof(ports)))
		return 0;
	seg->source = ports[0] << 8 | ports[1];
	seg->destination = ports[2] << 8 | ports[3];
	return 1;
}

static __always_inline int replace2(struct __sk_buff *skb, const struct segment *seg, __u32 offset,
				    __be16 from, __be16 to)
{
	return bpf_l4_csum_replace(skb, seg->l4 + TCP_OFF_CHECK, from, to, 2) ||
	       bpf_skb_store_bytes(skb, seg->l4 + offset, &to, 2, 0);
}

static __always_inline int replace4(struct __sk_buff *skb, const struct segment *seg, __u32 offset,
				    __be32 from, __be32 to)
{
	return bpf_l4_csum_replace(skb, seg->l4 + TCP_OFF_CHECK, from, to, 4) ||
	       bpf_skb_store_bytes(skb, seg->l4 + offset, &to, 4, 0);
}

/* Flags become RST,ACK: what a closed port answers. 0, or an error. */
static __always_inline int make_reset(struct __sk_buff *skb, const struct segment *seg)
{
	__be16 flags;

	if (bpf_skb_load_bytes(skb, seg->l4 + TCP_OFF_FLAGS, &flags, 2))
		return -1;
	return replace2(skb, seg, TCP_OFF_FLAGS, flags,
			(flags & bpf_htons(0xf000)) | bpf_htons(TCP_RST | TCP_ACK));
}

static __always_inline int swap_hardware_addresses(struct __sk_buff *skb)
{
	__u8 from[12], to[12];

	if (bpf_skb_load_bytes(skb, 0, from, sizeof(from)))
		return -1;
	__builtin_memcpy(to, from + 6, 6);
	__builtin_memcpy(to + 6, from, 6);
	return bpf_skb_store_bytes(skb, 0, to, sizeof(to), 0);
}

/* Source and destination change places; the way back starts with a fresh hop count. */
static __always_inline int swap_v4(struct __sk_buff *skb, const struct segment *seg)
{
	__be32 from[2], to[2];
	__be16 ttl, fresh;

	if (bpf_skb_load_bytes(skb, seg->l3 + IP_OFF_SADDR, from, sizeof(from)) ||
	    bpf_skb_load_bytes(skb, seg->l3 + IP_OFF_TTL, &ttl, 2))
		return -1;
	to[0] = from[1];
	to[1] = from[0];
	fresh = bpf_htons(64 << 8 | IPPROTO_TCP);
	return bpf_skb_store_bytes(skb, seg->l3 + IP_OFF_SADDR, to, sizeof(to), 0) ||
	       bpf_l3_csum_replace(skb, seg->l3 + IP_OFF_CHECK, ttl, fresh, 2) ||
	       bpf_skb_store_bytes(skb, seg->l3 + IP_OFF_TTL, &fresh, 2, 0);
}

static __always_inline int swap_v6(struct __sk_buff *skb, const struct segment *seg)
{
	__u8 from[32], to[32], hops = 64;

	if (bpf_skb_load_bytes(skb, seg->l3 + IP6_OFF_SADDR, from, sizeof(from)))
		return -1;
	__builtin_memcpy(to, from + 16, 16);
	__builtin_memcpy(to + 16, from, 16);
	return bpf_skb_store_bytes(skb, seg->l3 + IP6_OFF_SADDR, to, sizeof(to), 0) ||
	       bpf_skb_store_bytes(skb, seg->l3 + IP6_OFF_HOPS, &hops, 1, BPF_F_RECOMPUTE_CSUM);
}

static __always_inline int swap_ports(struct __sk_buff *skb, const struct segment *seg)
{
	__be16 from[2], to[2];

	if (bpf_skb_load_bytes(skb, seg->l4 + TCP_OFF_SOURCE, from, sizeof(from)))
		return -1;
	to[0] = from[1];
	to[1] = from[0];
	return bpf_skb_store_bytes(skb, seg->l4 + TCP_OFF_SOURCE, to, sizeof(to), 0);
}

/* A SYN becomes the RST,ACK that a closed port would have sent back. 0, or an error. */
static __always_inline int make_answer(struct __sk_buff *skb, const struct segment *seg)
{
	__be32 seq, ack;
	__be16 window;

	if (bpf_skb_load_bytes(skb, seg->l4 + TCP_OFF_SEQ, &seq, 4) ||
	    bpf_skb_load_bytes(skb, seg->l4 + TCP_OFF_ACK, &ack, 4) ||
	    bpf_skb_load_bytes(skb, seg->l4 + TCP_OFF_WINDOW, &window, 2))
		return -1;
	if (swap_hardware_addresses(skb) || swap_ports(skb, seg))
		return -1;
	if (seg->is_v6 ? swap_v6(skb, seg) : swap_v4(skb, seg))
		return -1;
	if (replace4(skb, seg, TCP_OFF_SEQ, seq, 0) ||
	    replace4(skb, seg, TCP_OFF_ACK, ack, bpf_htonl(bpf_ntohl(seq) + 1)) ||
	    replace2(skb, seg, TCP_OFF_WINDOW, window, 0))
		return -1;
	return make_reset(skb, seg);
}
