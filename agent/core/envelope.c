/* SPDX-License-Identifier: Apache-2.0 */
#include "core/envelope.h"

#include <string.h>

#include "base/error.h"
#include "base/text.h"

void dn_envelope_begin(DnEnvelope *self, const char *session)
{
	g_free(self->session);
	self->session = g_strdup(session);
	self->sequence = 0;
}

void dn_envelope_clear(DnEnvelope *self)
{
	g_clear_pointer(&self->cluster, g_free);
	g_clear_pointer(&self->session, g_free);
}

static bool is_ours(const DnEnvelope *self, const char *cluster, const char *session,
		    GError **error)
{
	if (g_strcmp0(cluster, self->cluster) != 0) {
		g_autofree char *shown = dn_text_printable(cluster, strlen(cluster));

		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "cluster %s is not this host's cluster %s", shown, self->cluster);
		return false;
	}
	if (self->session == NULL || g_strcmp0(session, self->session) != 0) {
		g_autofree char *shown = dn_text_printable(session, strlen(session));

		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "session %s is not the session of this link: a replay", shown);
		return false;
	}
	return true;
}

bool dn_envelope_welcome(const DnEnvelope *self, const char *cluster, const char *session,
			 uint64_t term, GError **error)
{
	if (!is_ours(self, cluster, session, error))
		return false;
	if (term < self->term) {
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
			    "term %" G_GUINT64_FORMAT " is over: this host has seen term "
			    "%" G_GUINT64_FORMAT,
			    term, self->term);
		return false;
	}
	if (term - self->term > DN_TERM_STEP) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "term %" G_GUINT64_FORMAT " is more than %" G_GUINT64_FORMAT
			    " above %" G_GUINT64_FORMAT ", the highest this host has seen",
			    term, DN_TERM_STEP, self->term);
		return false;
	}
	return true;
}

void dn_envelope_raise(DnEnvelope *self, uint64_t term)
{
	self->term = MAX(self->term, term);
}

bool dn_envelope_accept(DnEnvelope *self, const DnOrder *order, GError **error)
{
	if (!is_ours(self, order->cluster, order->session, error))
		return false;
	if (order->term != self->term) {
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
			    "order of term %" G_GUINT64_FORMAT " on a link of term "
			    "%" G_GUINT64_FORMAT,
			    order->term, self->term);
		return false;
	}
	if (order->sequence <= self->sequence) {
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
			    "order %" G_GUINT64_FORMAT " was seen before: a replay",
			    order->sequence);
		return false;
	}
	self->sequence = order->sequence;
	return true;
}
