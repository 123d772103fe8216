/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"

#include <sys/stat.h>

/* What the sensor is told of a node when it is made, and again when a new agent takes it over. */

static size_t ports_of(const DnManifest *manifest, DnProtocol protocol,
		       uint16_t ports[DN_SENSOR_PORTS])
{
	size_t n = 0;

	for (guint i = 0; i < manifest->listen->len && n < DN_SENSOR_PORTS; i++) {
		const DnListen *listen = &g_array_index(manifest->listen, DnListen, i);

		if (listen->protocol == protocol)
			ports[n++] = listen->port;
	}
	return n;
}

/* For resets, which UDP has none of. */
size_t dn_node_ports(const DnManifest *manifest, uint16_t ports[DN_SENSOR_PORTS])
{
	return ports_of(manifest, DN_PROTOCOL_TCP, ports);
}

/* The number of a process's namespace; 0: it is gone. */
static uint32_t space_of(pid_t pid, const char *name)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/ns/%s", (int)pid, name);
	struct stat info = {0};

	return stat(path, &info) == 0 ? (uint32_t)info.st_ino : 0;
}

void dn_watched_fill(DnWatched *self, const DnInstance *instance, const DnManifest *manifest,
		     uint32_t slot, pid_t pid1)
{
	self->start_time = 0;
	self->is_created = true;
	self->mounts = NULL;
	self->node = (DnSensorNode){
		.slot = slot,
		.pid1 = (uint32_t)pid1,
		.uid_base = instance->uid_base + slot * DN_UIDS_PER_NODE,
		.answer = manifest->drift,
		.ports = self->ports,
		.udp = self->udp,
		.n_ports = ports_of(manifest, DN_PROTOCOL_TCP, self->ports),
		.n_udp = ports_of(manifest, DN_PROTOCOL_UDP, self->udp),
		.spaces = {space_of(pid1, "pid"), space_of(pid1, "mnt")},
	};
}
