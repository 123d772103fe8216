/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/proc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* Of include/net/tcp_states.h; an unconnected socket of UDP shows as TCP_CLOSE. */
enum { TCP_ESTABLISHED = 1, UDP_UNCONNECTED = 7, TCP_LISTEN = 10, LINE_HEAD_BYTES = 160 };

bool dn_proc_start_time(const char *stat, uint64_t *start_time)
{
	/* counted from behind the name, see proc(5) */
	enum { STATE_FIELD = 0, THREADS_FIELD = 17, START_FIELD = 19 };
	/* The name may hold blanks and brackets: the last bracket ends it. */
	const char *fields = strrchr(stat, ')');

	if (fields == NULL || fields[1] != ' ')
		return false;
	g_auto(GStrv) words = g_strsplit(fields + 2, " ", START_FIELD + 2);
	if (g_strv_length(words) <= START_FIELD || words[STATE_FIELD][0] == 'X')
		return false;
	/* A zombie whose other threads run on is a program whose main thread has left. */
	uint64_t threads = 0;
	if (words[STATE_FIELD][0] == 'Z' &&
	    (!dn_text_parse_u64(words[THREADS_FIELD], G_MAXUINT32, &threads) || threads < 2))
		return false;
	return dn_text_parse_u64(words[START_FIELD], G_MAXUINT64, start_time);
}

/* One line of /proc/PID/net/tcp or udp. */
typedef struct {
	char address[33]; /* hexadecimal, words in the order of this machine's bytes */
	unsigned port, state;
} Socket;

/* "sl: LOCAL:PORT REMOTE:PORT ST …", hexadecimal. */
static bool read_socket(const char *line, Socket *socket)
{
	/* sscanf(3) measures all of its text first: with the whole table that would be quadratic.
	 */
	char head[LINE_HEAD_BYTES];
	size_t length = strcspn(line, "\n");

	length = MIN(length, sizeof(head) - 1);
	memcpy(head, line, length);
	head[length] = '\0';
	return sscanf(head, " %*d: %32[0-9A-Fa-f]:%4x %*s %2x", socket->address, &socket->port,
		      &socket->state) == 3;
}

static bool is_among(unsigned port, const GArray *ports)
{
	for (guint i = 0; i < ports->len; i++)
		if (g_array_index(ports, uint16_t, i) == port)
			return true;
	return false;
}

bool dn_proc_has_connection(const char *table, const GArray *ports)
{
	Socket socket;

	/* The first line is the heading. */
	for (const char *line = strchr(table, '\n'); line != NULL; line = strchr(line + 1, '\n'))
		if (read_socket(line + 1, &socket) && socket.state == TCP_ESTABLISHED &&
		    is_among(socket.port, ports))
			return true;
	return false;
}

/* 127.0.0.0/8, ::1 and 127.0.0.0/8 within IPv6. */
static bool is_loopback(const char *address)
{
	const uint32_t lower = GUINT32_FROM_BE(0x7f000000);
	const char *last = address + (strlen(address) > 8 ? strlen(address) - 8 : 0);
	uint32_t word = (uint32_t)strtoul(last, NULL, 16);

	return (word & GUINT32_FROM_BE(0xff000000)) == lower ||
	       (strlen(address) == 32 && strspn(address, "0") >= 24 && word == GUINT32_FROM_BE(1));
}

bool dn_proc_is_bound(const char *table, uint16_t port)
{
	Socket socket;

	for (const char *line = strchr(table, '\n'); line != NULL; line = strchr(line + 1, '\n'))
		if (read_socket(line + 1, &socket) && socket.port == port &&
		    (socket.state == TCP_LISTEN || socket.state == UDP_UNCONNECTED) &&
		    !is_loopback(socket.address))
			return true;
	return false;
}
