/* SPDX-License-Identifier: Apache-2.0 */
#include "core/fleet.h"
#include "fuzz/fuzz.h"
#include "wire/codec.h"

/* A host that may say what it likes, one frame a line, to a supervisor that knows two hosts. */

static DnFleetCore *make_core(DnActs *acts, DnNow now)
{
	static const uint8_t keys[2][DN_PUBLIC_KEY_BYTES] = {{1}, {2}};
	g_autoptr(DnCluster) cluster = dn_cluster_new();
	DnFleetCore *core = dn_fleet_core_new(cluster, NULL);
	g_autoptr(DnHostRecord) liar = dn_host_record_new("liar", keys[0], "10.77.1.0/24", NULL);
	g_autoptr(DnHostRecord) honest =
		dn_host_record_new("honest", keys[1], "10.77.2.0/24", NULL);

	g_assert(dn_fleet_core_restore_host(core, liar, NULL));
	g_assert(dn_fleet_core_restore_host(core, honest, NULL));
	dn_fleet_core_connected(core, "liar", "192.0.2.1", now, acts);
	dn_fleet_core_connected(core, "honest", "192.0.2.2", now, acts);
	return core;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	DnNow now = {UINT64_C(1000000000000), UINT64_C(1767323045000000000)};
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(DnFleetCore) core = make_core(acts, now);

	for (size_t at = 0; at < size;) {
		const uint8_t *end = memchr(data + at, '\n', size - at);
		size_t length = end != NULL ? (size_t)(end - data) - at : size - at;
		g_autoptr(GBytes) line = g_bytes_new(data + at, length);
		g_autoptr(DnFrame) frame = dn_frame_decode(line, NULL);

		if (frame != NULL && frame->type == DN_FRAME_FACT)
			dn_fleet_core_fact(core, "liar", frame->fact, now, acts);
		at += length + 1;
	}
	dn_fleet_core_tick(core, now, acts);
	return 0;
}
