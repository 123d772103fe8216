/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A host: a kernel with nodes, a disk, a run directory, and an agent that comes and goes. The
 * agent decides with agent/core; what agent/main does around it is done here to simulated parts.
 */

#include "sim.h"

const char *host_name(unsigned number); /* h0 … */
unsigned host_number(const char *name);

SimHost *host_new(unsigned number);
void host_free(SimHost *self);

/* ---- the agent's life ---- */
void host_start(Sim *sim, unsigned host);
void host_crash(Sim *sim, unsigned host, const char *why); /* kill -9; it is started again */
void host_reboot(Sim *sim, unsigned host);                 /* power loss: kernel and /run too */
void host_crash_at_write(Sim *sim, unsigned host, unsigned writes); /* at one of the next */
void host_jump(Sim *sim, unsigned host, int64_t by_ns);

/* ---- the network ---- */
bool host_link_is_open(const Sim *sim, unsigned host, uint64_t link);
void host_send_order(Sim *sim, Packet *packet, unsigned host, uint64_t link, uint64_t *clear_ns);
void host_send_welcome(Sim *sim, unsigned host, uint64_t link, uint64_t term, uint64_t *clear_ns);
void host_supervisor_gone(Sim *sim, unsigned who);
void host_break_link(Sim *sim, unsigned host);
void host_partition(Sim *sim, unsigned host, uint64_t for_ns);
void host_replay(Sim *sim, unsigned host, Packet *packet); /* somebody has kept it */

/* ---- nodes go wrong; each picks a node by @draw and does nothing without one ---- */
void host_drift(Sim *sim, unsigned host, uint64_t draw);
void host_exit(Sim *sim, unsigned host, uint64_t draw);
void host_sicken(Sim *sim, unsigned host, uint64_t draw, uint64_t for_ns);

/* ---- what a witness sees ---- */
bool host_disk_has_incident(const Sim *sim, const char *id);
bool host_disk_has_incident_of(const Sim *sim, const char *node);
void host_check(Sim *sim, unsigned host);
bool host_is_up(const Sim *sim, unsigned host); /* agent runs, its welcome was believed */
bool host_is_at_rest(Sim *sim, unsigned host, unsigned leader, char **why);
