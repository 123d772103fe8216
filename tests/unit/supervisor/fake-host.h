/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One host of a World: it keeps what it was told and obeys it as an agent does. */

#include "world.h"

/* The answer to an order, not given yet. */
typedef struct {
	uint64_t tag;
	int code; /* 0: done */
} Due;

typedef struct {
	char *name;
	char *address;
	uint32_t slots;
	bool connected, broken, refuses, mute;
	bool fails;            /* to write manifests down, though it trusts them */
	uint64_t broken_epoch; /* whose nodes never are ready, or 0 */
	bool ahead;            /* its clock: by it, whatever has a valid_until is past it */
	bool changed;          /* was told or said something since the caller cleared this */
	unsigned made;
	GPtrArray *nodes;       /* of DnNodeRecord */
	GHashTable *assigns;    /* char * service → DnAssign * */
	GHashTable *known;      /* set of digests it was given */
	GQueue answers;         /* of Due */
	uint32_t looked, found; /* what it answers to a sweep */
	unsigned orders[DN_ORDER_N];
	GHashTable *epochs;
} FakeHost;

FakeHost *fake_host_new(const char *name, const char *address, uint32_t slots);
void fake_host_free(FakeHost *host);

/* Take an order; its answer, of which this is the code, waits in answers. */
int fake_host_take(FakeHost *host, const DnOrder *order, uint64_t tag);

/* Have the nodes that it was told to have. */
void fake_host_obey(FakeHost *host, World *world);
/* Nodes that are starting are ready, unless the host is broken. */
void fake_host_get_ready(FakeHost *host, World *world);

void fake_host_report(FakeHost *host, World *world);
void fake_host_say_node(FakeHost *host, World *world, const DnNodeRecord *node);
