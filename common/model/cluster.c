/* SPDX-License-Identifier: Apache-2.0 */
#include "model/cluster.h"

DnCluster *dn_cluster_new(void)
{
	DnCluster *self = g_new0(DnCluster, 1);

	self->node_cidr = g_strdup("10.77.0.0/16");
	self->vip_cidr = g_strdup("10.99.0.0/24");
	self->listen = g_strdup("0.0.0.0:7443");
	self->repo_listen = g_strdup("0.0.0.0:7480");
	return self;
}

void dn_cluster_free(DnCluster *self)
{
	if (self == NULL)
		return;
	g_free(self->id);
	g_free(self->node_cidr);
	g_free(self->vip_cidr);
	g_free(self->listen);
	g_free(self->advertise);
	g_free(self->repo_listen);
	g_free(self);
}
