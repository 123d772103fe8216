/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One agent against one evil supervisor: the keys of everybody, the trust file that names them,
 * and the orders and expectations that the tests share.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "evil.h"
#include "yard.h"

#define CASE_CLUSTER "0123456789abcdef"
#define CASE_OTHER_CLUSTER "fedcba9876543210"
#define CASE_COMMIT "1111111111111111111111111111111111111111111111111111111111111111"

typedef struct {
	Yard *yard;
	Evil evil;
	DnSecretKey *link, *other_link;
	DnSecretKey *ops;      /* deploy: every service but db */
	DnSecretKey *dba;      /* deploy: db alone */
	DnSecretKey *ci;       /* release: apps */
	DnSecretKey *tooler;   /* release: tools */
	DnSecretKey *stranger; /* in no trust file */
	GBytes *trust;
} Case;

void case_open(Case *self, Yard *yard);
void case_close(Case *self);

/* A token for the host; free it. */
char *case_token(const Case *self, uint64_t expires_s, bool wrong_key, bool wrong_trust);

/* Enrol the host, start its agent and wait for the first report. */
void case_enrol(Case *self);

/* A manifest of apps/hello at CASE_COMMIT, with @more lines. */
GBytes *case_manifest(const char *service, uint64_t epoch, const char *more);

/* An order to accept @bytes, which it takes, signed by @key as @service @epoch. */
DnOrder *case_manifest_order(Case *self, const DnSecretKey *key, GBytes *bytes, const char *service,
			     uint64_t epoch);
/* One more signature, by the same or another key. */
void case_sign_also(DnOrder *order, const DnSecretKey *key, const char *service, uint64_t epoch);
DnOrder *case_good_order(Case *self, const char *service, uint64_t epoch);

/* A share of one node of the manifest with @digest; of none when that is NULL. */
DnOrder *case_share_order(Case *self, const char *service, const char *digest, uint64_t epoch);

/*
 * Takes @order. @why has to stand in the answer: that it was refused for this very reason. @kind
 * is the event people have to be told with, or NULL.
 */
void case_is_refused(Case *self, DnOrder *order, int code, const char *kind, const char *why,
		     const char *sentence);
void case_is_done(Case *self, DnOrder *order, const char *sentence);

/* The welcome's term was seen, and the report has @epoch as the highest of @service. */
uint64_t case_reported_epoch(const Case *self, const char *service);

/* One printable line that is not empty. */
bool case_is_one_line(const char *text);
