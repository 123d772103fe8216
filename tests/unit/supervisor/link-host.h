/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A host of a real daemon: the agent's own half of the link, saying what a test has it say.
 * Everything runs on the default main context, inside the calls below.
 */

#include "model/fleet.h"

typedef struct LinkHost LinkHost;

/* Enrolled at the daemon of daemon.h under @name, and welcome there. */
LinkHost *link_host_new(const char *name);
void link_host_free(LinkHost *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LinkHost, link_host_free)

/* Takes @fact. */
void link_host_say(LinkHost *self, DnFact *fact);
/* An incident of a node of service "web", number @number of this host, to be said. */
DnFact *link_host_incident_fact(const LinkHost *self, unsigned number, DnIncidentState state);
void link_host_say_incident(LinkHost *self, unsigned number, DnIncidentState state);
char *link_host_incident(unsigned number) G_GNUC_WARN_UNUSED_RESULT;

/* Wait for an order of @kind and return its sequence; others are passed over. */
uint64_t link_host_await(LinkHost *self, DnOrderKind kind);
void link_host_answer(LinkHost *self, uint64_t sequence);

/* The last number of spool @name that the daemon said to be stored. */
uint64_t link_host_stored(const LinkHost *self);

/* Let things happen until @holds; false when that takes too long. */
bool link_host_wait(bool (*holds)(void *data), void *data);
