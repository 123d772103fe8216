/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "health/exchange.h"

/* What a node answers to a health probe, in two parts of which the first byte says the size. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	DnExchange exchange = {.connected = true, .request_length = 1};
	int ends[2];

	if (size == 0 || size > 32768)
		return 0;
	g_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
	size_t first = MIN((size_t)data[0], size - 1);
	exchange.fd = ends[0];
	g_assert(write(ends[1], data + 1, first) == (ssize_t)first);
	DnExchangeState state = dn_exchange_step(&exchange);
	g_assert(write(ends[1], data + 1 + first, size - 1 - first) >= 0 || first > 0);
	(void)shutdown(ends[1], SHUT_WR);
	if (state == DN_EXCHANGE_READ)
		state = dn_exchange_step(&exchange);
	/* All that will ever come has come: there is nothing to wait for. */
	g_assert(state == DN_EXCHANGE_ANSWERED || state == DN_EXCHANGE_FAILED);
	dn_exchange_clear(&exchange);
	(void)close(ends[1]);
	return 0;
}
