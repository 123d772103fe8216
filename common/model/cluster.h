/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* cluster.yaml as plain values (docs/formats/cluster.md); manifest/cluster-file.h reads it. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
	char *id;          /* 16 hexadecimal digits */
	char *node_cidr;   /* every host gets a /24 of it, the first enrolled the first */
	char *vip_cidr;    /* VIPs are given out in order and never twice */
	char *listen;      /* ADDRESS:PORT of the agents' link */
	char *advertise;   /* HOST:PORT that host tokens name; default: listen */
	char *repo_listen; /* ADDRESS:PORT where hosts pull images over HTTP */
} DnCluster;

DnCluster *dn_cluster_new(void); /* with the defaults */
void dn_cluster_free(DnCluster *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnCluster, dn_cluster_free)

/*
 * Whether @endpoint (HOST:PORT, IPv6 in brackets) stands for every address of the machine that
 * listens: nothing that another host could connect to.
 */
bool dn_cluster_is_any_address(const char *endpoint);
