/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/fuzz.h"
#include "network/diag-table.h"
#include "runtime/proc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint16_t declared[] = {80, 8080};
	g_autofree char *text = fuzz_text(data, size);
	g_autoptr(GArray) ports = g_array_new(FALSE, FALSE, sizeof(uint16_t));
	uint64_t start = 0;
	DnDiagFlow flow;

	g_array_append_vals(ports, declared, G_N_ELEMENTS(declared));
	(void)dn_proc_start_time(text, &start);
	(void)dn_proc_has_connection(text, ports);
	(void)dn_proc_is_bound(text, declared[0]);
	(void)dn_diag_read_line(text, &flow);
	return 0;
}
