/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The reflex's side of main: what its functions need, laid out by slot before a node can be
 * marked. Main (cut.c) writes a slot only while no plan is armed for it; the reflex thread
 * (reflex-ops.c) only reads, but for the dump it borrows and the probe it keeps. A standby may go
 * while another slot's plan has it probed, so what a probe needs has a lock.
 */

#include "main/agent.h"

enum { DUMPS = 8 };

typedef struct {
	DnCgroup cgroup; /* descriptors borrowed from the node */
	int diag_fd;     /* borrowed from the node */
	gint fifo_fd;    /* borrowed from the node; -1: started, also while a plan names it */
	char address[40];
	DnHealthPolicy health; /* path owned: the node may go on under another manifest */
	uint16_t health_port;
	DnProbing
		probe; /* of a created standby; like all that it needs, under the lock of probes */
	uint16_t ports[DN_SENSOR_PORTS];
	size_t n_ports;
	GBytes *open_window, *close_window; /* nft batches; owned */
	gint dump;                          /* index + 1 of the dump that holds this slot's */
	gint seen;                          /* the reflex has told of its mark */
	gint entered;                       /* the reflex has put this standby into the balancer */
	uint32_t group;
} Side;

struct ReflexSide {
	Side slots[DN_SLOTS];
	DnDiag *dumps[DUMPS];
	gint dump_taken[DUMPS]; /* slot + 1 */
	int replay_fd;
	int verdict_fd;    /* eventfd: reflex → main */
	GSource *verdict;  /* owned */
	GSource *observed; /* owned */
	GMutex probes;     /* held for moments */

	/* For the slow way: libnftables on the reflex thread, from the state last applied. */
	GMutex lock;
	DnFirewallState *state; /* owned, under lock */
	DnFirewall *firewall;   /* reflex only */
};

/* Everything but `data`. */
DnReflexOps dn_reflex_ops(void);
