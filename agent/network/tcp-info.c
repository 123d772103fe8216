/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/rtnetlink.h>
/* Not <netinet/tcp.h>: its struct tcp_info ends before the byte counters. */
#include <linux/tcp.h>
#include <string.h>

#include "network/diag-table.h"

void dn_diag_read_tcp_info(const struct nlmsghdr *header, DnDiagSocket *found)
{
	const struct inet_diag_msg *message = NLMSG_DATA(header);
	int left = (int)(header->nlmsg_len - NLMSG_LENGTH(sizeof(*message)));

	for (const struct rtattr *attribute = (const void *)(message + 1); RTA_OK(attribute, left);
	     attribute = RTA_NEXT(attribute, left)) {
		struct tcp_info info = {0};

		if (attribute->rta_type != INET_DIAG_INFO)
			continue;
		/* Older kernels tell less; what they leave out stays 0. */
		memcpy(&info, RTA_DATA(attribute), MIN(sizeof(info), RTA_PAYLOAD(attribute)));
		found->bytes_sent = info.tcpi_bytes_acked;
		found->bytes_received = info.tcpi_bytes_received;
		found->rtt_us = info.tcpi_rtt;
	}
}
