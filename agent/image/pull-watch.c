/* SPDX-License-Identifier: Apache-2.0 */
#include "image/pull-watch.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/error.h"

/* A pull may take a minute, and as much longer as the slowest line that is of use needs. */
enum { LOOK_MS = 100, GRACE_S = 60, BYTES_PER_S = 64 * 1024 };

static bool is_peer(int fd, const GUri *server)
{
	struct sockaddr_storage peer = {0};
	socklen_t size = sizeof(peer);
	char text[INET6_ADDRSTRLEN] = "";

	if (getpeername(fd, (struct sockaddr *)&peer, &size) < 0)
		return false;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&peer;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&peer;
	bool is_v4 = peer.ss_family == AF_INET;
	if (!is_v4 && peer.ss_family != AF_INET6)
		return false;
	(void)inet_ntop(peer.ss_family,
			is_v4 ? (const void *)&v4->sin_addr : (const void *)&v6->sin6_addr, text,
			sizeof(text));
	/* Of a server that goes by a name only the port is known here. */
	const char *host = g_uri_get_host((GUri *)server);
	return ntohs(is_v4 ? v4->sin_port : v6->sin6_port) == g_uri_get_port((GUri *)server) &&
	       (!g_hostname_is_ip_address(host) || g_str_equal(host, text));
}

/*
 * libostree waits for every request that is under way, whether or not the pull was cancelled, and
 * has no word for giving one up. Its connections are our own, so they are ended under its feet.
 */
static void sever(const char *url)
{
	g_autoptr(GUri) server = g_uri_parse(url, G_URI_FLAGS_NONE, NULL);
	g_autoptr(GDir) mine = g_dir_open("/proc/self/fd", 0, NULL);
	const char *name;

	while (server != NULL && mine != NULL && (name = g_dir_read_name(mine)) != NULL) {
		int fd = atoi(name);

		if (is_peer(fd, server))
			(void)shutdown(fd, SHUT_RDWR);
	}
}

static char *why_stop(uint64_t got, uint64_t limit_bytes, uint64_t took_s)
{
	if (got > limit_bytes)
		return g_strdup_printf("it sends more than %" G_GUINT64_FORMAT
				       " bytes, the most that an image may have",
				       limit_bytes);
	if (took_s > GRACE_S + got / BYTES_PER_S)
		return g_strdup_printf("%" G_GUINT64_FORMAT " bytes in %" G_GUINT64_FORMAT
				       " s are too slow",
				       got, took_s);
	return NULL;
}

/* Until the pull has ended: it tries again what was cut off. */
static gboolean on_look(gpointer data)
{
	DnPullWatch *self = data;
	uint64_t got = ostree_async_progress_get_uint64(self->progress, "bytes-transferred");
	gint64 took_us = g_get_monotonic_time() - self->began_us;

	if (self->refused == NULL)
		self->refused =
			why_stop(got, self->pull->limit_bytes, (uint64_t)took_us / G_USEC_PER_SEC);
	if (self->refused != NULL)
		sever(self->pull->url);
	return G_SOURCE_CONTINUE;
}

void dn_pull_watch_begin(DnPullWatch *self, const DnImagePull *pull, GMainContext *context)
{
	*self = (DnPullWatch){
		.pull = pull,
		.progress = ostree_async_progress_new(),
		.timer = g_timeout_source_new(LOOK_MS),
		.began_us = g_get_monotonic_time(),
	};
	/* Before the sockets, which are always ready when somebody sends without end. */
	g_source_set_priority(self->timer, G_PRIORITY_HIGH);
	g_source_set_callback(self->timer, on_look, self, NULL);
	g_source_attach(self->timer, context);
}

void dn_pull_watch_end(DnPullWatch *self, GError **failed)
{
	g_source_destroy(self->timer);
	g_source_unref(self->timer);
	ostree_async_progress_finish(self->progress);
	g_object_unref(self->progress);
	if (self->refused != NULL && *failed != NULL) {
		g_clear_error(failed);
		g_set_error(failed, DN_ERROR, DN_ERROR_EXHAUSTED, "pull from %s: %s",
			    self->pull->url, self->refused);
	}
	g_free(self->refused);
}
