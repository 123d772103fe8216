/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The sockets of a node through sock_diag(7), and its connections through conntrack, without an
 * allocation after dn_diag_new(): the reflex thread calls these while clients wait.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "model/incident.h"

enum {
	DN_DIAG_SOCKETS = 4096,
	DN_DIAG_FLOWS = 4096,
	DN_DIAG_DUMP_MS = 20,   /* CPU time of a dump at most; what was read by then counts */
	DN_DIAG_SWEEP_MS = 500, /* the same for a sweep */
	DN_DIAG_SWEPT = 512,    /* lines that dn_diag_merge_flows() adds at most */
};

typedef struct DnDiag DnDiag;

/* Buffers for one dump at a time, and a NETLINK_NETFILTER socket in the current namespace. */
DnDiag *dn_diag_new(GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_diag_free(DnDiag *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnDiag, dn_diag_free)

/*
 * Dump TCP and UDP sockets of both families, but for those of TCP that are only bound. @diag_fd is
 * DnNetwork.diag_fd. Returns how many, -1 on error. Sockets without a peer, and those that the node
 * connected to itself, fill at most half of the table: they must not be able to hide the one that
 * leads outside.
 */
int dn_diag_dump_sockets(DnDiag *self, int diag_fd);

/*
 * Look up the conntrack entries of the sockets dumped last; @v4 is the node's address. Tens of
 * microseconds. Returns how many, -1 on error.
 */
int dn_diag_dump_flows(DnDiag *self, const char *v4);

/*
 * Instead of that: every conntrack entry that names @v4, also of sockets that are gone, to be
 * recorded. It walks the table of the whole kernel: for a worker, once clients were reset.
 */
int dn_diag_sweep_flows(DnDiag *self, const char *v4);

/*
 * SOCK_DESTROY, in one send, for the dumped TCP sockets that were accepted on one of @ports.
 * Sockets the node opened itself stay. Returns how many were asked for.
 */
int dn_diag_destroy_accepted(DnDiag *self, int diag_fd, const uint16_t *ports, size_t n_ports);

/*
 * Delete the dumped conntrack entries whose reply source is @v4 (clients of the node), in one
 * send. Returns how many were asked for.
 */
int dn_diag_delete_client_flows(DnDiag *self, const char *v4);

/* Delete every conntrack entry that names @v4: the node is gone, its address may be used again. */
bool dn_diag_forget_flows(const char *v4, GError **error);

/* Delete those of clients of @v4: it was cut, and clients of UDP would go on asking it. */
bool dn_diag_forget_clients(const char *v4, GError **error);

/*
 * Delete the UDP entries of clients that were balanced to @v4: it serves no more. TCP's stay, for
 * a node that drains. Walks the table: for a worker.
 */
bool dn_diag_forget_udp_clients(const char *v4, GError **error);

/*
 * The same for every client of UDP that is balanced to an address of @node_cidr ("10.77.0.0/16")
 * which is not in @serving (set of char *): for an agent that does not know who served before it
 * was started.
 */
bool dn_diag_forget_udp_strays(const char *node_cidr, GHashTable *serving, GError **error);

/*
 * Append those lines of @swept (dn_diag_record() of a sweep) whose connection @known does not
 * name yet: what had no socket any more, or never one. Past DN_DIAG_SWEPT of them one line says
 * how many more there were. Both of char *.
 */
void dn_diag_merge_flows(GPtrArray *known, const GPtrArray *swept);

/* Copy the last dumps into an incident; allocates, so not on the reflex thread's hot path. */
void dn_diag_record(const DnDiag *self, const uint16_t *ports, size_t n_ports,
		    DnIncident *incident);
