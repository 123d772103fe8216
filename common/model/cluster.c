/* SPDX-License-Identifier: Apache-2.0 */
#include "model/cluster.h"

#include <arpa/inet.h>
#include <string.h>

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

bool dn_cluster_is_any_address(const char *endpoint)
{
	const char *colon = strrchr(endpoint, ':');
	bool brackets = endpoint[0] == '[' && colon != NULL && colon > endpoint + 1;
	g_autofree char *host =
		brackets ? g_strndup(endpoint + 1, (gsize)(colon - endpoint) - 2)
			 : g_strndup(endpoint,
				     colon != NULL ? (gsize)(colon - endpoint) : strlen(endpoint));
	struct in_addr ipv4 = {0};
	struct in6_addr ipv6 = {0};

	/* inet_aton(): a bare "0" is an address too, as it is for whoever connects. */
	if (inet_aton(host, &ipv4) != 0)
		return ipv4.s_addr == INADDR_ANY;
	return inet_pton(AF_INET6, host, &ipv6) == 1 && IN6_IS_ADDR_UNSPECIFIED(&ipv6);
}
