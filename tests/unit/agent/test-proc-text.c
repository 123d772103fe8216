/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "runtime/proc.h"

/* What the kernel prints of sockets, on a machine of little-endian bytes. */

#define HEADING "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n"
#define LINE(local, remote, state)                                                                 \
	"   0: " local " " remote " " state " 00000000:00000000 00:00000000 00000000     0 0 1 "   \
	"1\n"
#define NOBODY "00000000:0000"

static const char *const tcp = HEADING LINE("00000000:0016", NOBODY, "0A") /* 0.0.0.0:22 */
	LINE("0100007F:0019", NOBODY, "0A")                                /* 127.0.0.1:25 */
	LINE("0A00020F:0050", "0B00020F:C350", "01") /* an established one on :80 */
	LINE("0A00020F:1F90", NOBODY, "0A");         /* 10.0.2.15:8080 */

/* /proc/PID/stat of a process "a) Z" in @state with @threads. */
static bool lives(char state, unsigned threads)
{
	g_autofree char *stat = g_strdup_printf("7 (a) Z) %c 1 7 7 0 -1 4194304 95 0 0 0 0 0 0 0 "
						"20 0 %u 0 12345 2301952 180 0 0\n",
						state, threads);
	uint64_t start = 0;
	bool found = dn_proc_start_time(stat, &start);

	cr_assert(eq(u64, start, found ? 12345 : 0));
	return found;
}

Test(proc_text, a_program_lives_for_as_long_as_one_of_its_threads)
{
	cr_assert(lives('S', 1));
	cr_assert(lives('Z', 2)); /* its main thread has called pthread_exit(3) */
	cr_assert(not(lives('Z', 1)));
	cr_assert(not(lives('X', 2)));
}

Test(proc_text, a_socket_that_waits_for_others_binds_its_port)
{
	cr_assert(dn_proc_is_bound(tcp, 22));
	cr_assert(dn_proc_is_bound(tcp, 8080));
}

Test(proc_text, neither_loopback_nor_a_connection_does)
{
	cr_assert(not(dn_proc_is_bound(tcp, 25)));
	cr_assert(not(dn_proc_is_bound(tcp, 80)));
	cr_assert(not(dn_proc_is_bound(tcp, 443)));
	cr_assert(not(dn_proc_is_bound("", 22)));
}

Test(proc_text, loopback_of_the_other_family_is_known_too)
{
	static const char *const six =
		HEADING LINE("00000000000000000000000000000000:0016", "0:0", "0A")
			LINE("00000000000000000000000001000000:0019", "0:0", "0A") /* ::1 */
		LINE("0000000000000000FFFF00000100007F:001A", "0:0", "0A") /* ::ffff:127.0.0.1 */
		LINE("000080FE00000000FF005450F10AA2FE:001B", "0:0", "0A");

	cr_assert(dn_proc_is_bound(six, 22));
	cr_assert(not(dn_proc_is_bound(six, 25)));
	cr_assert(not(dn_proc_is_bound(six, 26)));
	cr_assert(dn_proc_is_bound(six, 27));
}

Test(proc_text, a_socket_of_udp_waits_unless_it_is_connected)
{
	static const char *const udp = HEADING LINE("00000000:0035", NOBODY, "07")
		LINE("0A00020F:0202", "0B00020F:0035", "01");

	cr_assert(dn_proc_is_bound(udp, 53));
	cr_assert(not(dn_proc_is_bound(udp, 514)));
}

Test(proc_text, a_connection_is_one_that_is_established_on_a_declared_port)
{
	g_autoptr(GArray) ports = g_array_new(FALSE, FALSE, sizeof(uint16_t));
	uint16_t port = 22;

	g_array_append_val(ports, port);
	cr_assert(not(dn_proc_has_connection(tcp, ports)));
	port = 80;
	g_array_append_val(ports, port);
	cr_assert(dn_proc_has_connection(tcp, ports));
}
