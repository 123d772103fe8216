/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files that take facts of hosts share. */

#include "core/state.h"

/* At most 1,000 bytes that are safe on a terminal; NULL for NULL. */
char *dn_fact_printable(const char *text) G_GNUC_WARN_UNUSED_RESULT;
/* The same, at most @limit bytes. */
char *dn_fact_cut(const char *text, size_t limit) G_GNUC_WARN_UNUSED_RESULT;

/* SERVICE-xxxxxxxx */
bool dn_fact_names_node(const char *id, const char *service);

/* May people hear of something that @host caused? Once they may not, they hear of that. */
bool dn_fact_may_speak(DnHost *host, DnNow now, DnActs *acts);

/* What @host said is not believed: people hear of it, within its rate. */
void dn_fact_refuse(DnHost *host, DnNow now, DnActs *acts, const GError *why);

/* Something about @service, if there is one, has changed. */
void dn_fact_touch(DnFleetCore *core, const char *service);

/* @host has told of itself just now: if it was lost, people hear that it is back. */
void dn_fact_heard(DnHost *host, DnNow now, DnActs *acts);
