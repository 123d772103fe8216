/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a trust file says: which public keys may sign which images and services, and how many
 * distinct ones it takes. manifest/trust-file.h reads it, seal/trust.h judges by it.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define DN_PUBLIC_KEY_BYTES 32

typedef enum {
	DN_KEY_RELEASE,   /* signs images */
	DN_KEY_DEPLOY,    /* signs manifests */
	DN_KEY_RESPONDER, /* signs the destruction of quarantined nodes */
	DN_KEY_PERSON,    /* later: a person's use of the API */
	DN_KEY_N_ROLES
} DnKeyRole;

const char *dn_key_role_name(DnKeyRole role);
bool dn_key_role_parse(const char *name, DnKeyRole *role);

typedef struct {
	char *name;
	DnKeyRole role;
	uint8_t key[DN_PUBLIC_KEY_BYTES]; /* ed25519 */
} DnTrustedKey;

/* "Any @threshold distinct of @keys may sign what matches @pattern" (seal/trust.h). */
typedef struct {
	char *pattern;
	char **keys; /* names of DnTrustedKey, NULL-terminated */
	uint32_t threshold;
} DnTrustRule;

typedef struct {
	char *cluster;
	GPtrArray *keys;            /* of DnTrustedKey */
	GPtrArray *images;          /* of DnTrustRule: on refs; the first that matches decides */
	GPtrArray *services;        /* of DnTrustRule: on service names; likewise */
	uint32_t responders;        /* how many distinct responder keys a destruction takes */
	GHashTable *minimum_epochs; /* char * service → uint64_t * */
} DnTrustPolicy;

/*
 * '*' stands for any run without '/', '?' for one character but '/'. The whole @word must match.
 * The pattern "*" by itself matches every word.
 */
bool dn_trust_pattern_matches(const char *pattern, const char *word);

DnTrustPolicy *dn_trust_policy_new(void);
void dn_trust_policy_free(DnTrustPolicy *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnTrustPolicy, dn_trust_policy_free)

void dn_trusted_key_free(DnTrustedKey *self);
void dn_trust_rule_free(DnTrustRule *self);

/* Borrowed from @self, or NULL. */
const DnTrustedKey *dn_trust_policy_find_key(const DnTrustPolicy *self, const char *name);
