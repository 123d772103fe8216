/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The API on a real socket over a small world, with an owner that only writes down what it is
 * asked ("quarantine:NODE:REASON "), and the client that the command uses.
 */

#include "api/api.h"
#include "http/client.h"
#include "world.h"

typedef struct {
	World *world;
	DnApi *api;
	char *directory, *socket_path;
	GString *asked;      /* what the API asked of its owner */
	uint64_t last_event; /* the owner has those from 1 to this one */
} Desk;

void desk_open(Desk *self);
void desk_close(Desk *self);

DnEvent *desk_event(uint64_t id);

typedef struct {
	const char *method, *path;
	JsonObject *body;
	GBytes *object;
	JsonObject *answer;
	GError *error;
	const Desk *desk; /* desk_call() fills it in */
	int done;
} DeskCall;

/* Call from a thread, while the main loop serves. */
void desk_call(const Desk *self, DeskCall *call);

/* What a GET that must succeed brings. */
JsonObject *desk_get(const Desk *self, const char *path);

/* The code of the problem; the answer was no good one. Takes @body. */
int desk_code_of(const Desk *self, const char *method, const char *path, JsonObject *body);
