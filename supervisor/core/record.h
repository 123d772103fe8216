/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the supervisor must not forget, as plain values: the core's state without what hosts
 * report anew. main/ turns them into the store's bytes and back.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "model/manifest.h"
#include "model/trust.h"

/* A manifest whose signatures were verified, with the bytes that hosts verify again. */
typedef struct {
	DnManifest *manifest;  /* owned */
	GBytes *bytes;         /* owned: exactly as signed */
	GPtrArray *signatures; /* owned: of GBytes, minisig files */
} DnDeclaration;

DnDeclaration *dn_declaration_new(DnManifest *manifest, GBytes *bytes, GPtrArray *signatures);
DnDeclaration *dn_declaration_copy(const DnDeclaration *self);
void dn_declaration_free(DnDeclaration *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnDeclaration, dn_declaration_free)

/* How much of one manifest a host carries. */
typedef struct {
	char *host;
	uint32_t running;
	uint32_t standby;
} DnShare;

DnShare *dn_share_new(const char *host, uint32_t running, uint32_t standby);
void dn_share_free(DnShare *self);

/* One manifest of a service and who carries it. */
typedef struct {
	DnDeclaration *declaration; /* owned */
	GPtrArray *shares;          /* owned: of DnShare */
	GPtrArray *former; /* owned, char *: digests of earlier ones whose nodes go on as its own */
} DnReleaseRecord;

typedef struct {
	char *name;
	char *vip;
	GPtrArray *releases; /* of DnReleaseRecord, the current one first; never empty */
	bool rolling;
	uint64_t roll_started_ns; /* CLOCK_REALTIME; 0: never */
	char *roll_error;         /* why the roll has stopped, or NULL */
	GArray *drills; /* of uint64_t: when one was ordered, CLOCK_MONOTONIC of this boot */
} DnServiceRecord;

DnServiceRecord *dn_service_record_new(const char *name, const char *vip);
void dn_service_record_add(DnServiceRecord *self, const DnDeclaration *declaration,
			   GPtrArray *shares, GPtrArray *former);
void dn_service_record_free(DnServiceRecord *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnServiceRecord, dn_service_record_free)

typedef struct {
	char *name;
	uint8_t key[DN_PUBLIC_KEY_BYTES];
	char *cidr;      /* its /24 of node_cidr */
	char *address;   /* last seen on the shared layer 2, or NULL */
	bool cordoned;   /* nothing new is placed there */
	char *suspect;   /* nor there, and why; or NULL */
	char *fenced;    /* it is shut out, and why; or NULL */
	char *spool;     /* name of its spool of facts, or NULL */
	uint64_t stored; /* number of the last fact of it that was taken */
} DnHostRecord;

DnHostRecord *dn_host_record_new(const char *name, const uint8_t *key, const char *cidr,
				 const char *address);
void dn_host_record_free(DnHostRecord *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnHostRecord, dn_host_record_free)

typedef struct {
	char *hash; /* SHA-256 of the secret, hexadecimal */
	char *host;
	uint64_t expires_ns; /* CLOCK_REALTIME */
} DnTokenRecord;

DnTokenRecord *dn_token_record_new(const char *hash, const char *host, uint64_t expires_ns);
void dn_token_record_free(DnTokenRecord *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnTokenRecord, dn_token_record_free)

/* A request to join: the secret's hash, the wanted name, the key the TLS link has proved. */
typedef struct {
	const char *host;
	const char *hash;
	const uint8_t *key;
} DnEnrolment;
