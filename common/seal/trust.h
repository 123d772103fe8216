/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The verdict of a trust file over signed bytes: do enough distinct keys of the right role, allowed
 * for this very ref or service, vouch for them?
 *
 * The first rule whose pattern matches decides; with no such rule nothing is believed. Keys count
 * by their 32 bytes, so one key under two names, or one signature given twice, counts once.
 *
 * A refusal fails with DN_ERROR_UNTRUSTED and one line that names what was judged, how many
 * signatures count of how many needed, and why the others do not.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "model/trust.h"

#define DN_MANIFEST_BYTES_LIMIT (256 * 1024)
#define DN_SIGNATURES_LIMIT 16
#define DN_EPOCH_LIMIT ((UINT64_C(1) << 53) - 1)

/*
 * Whether every key is sound (seal/keys.h), which the reader of the file cannot tell. Of one that
 * is not, DN_ERROR_INVALID names it in @file.
 */
bool dn_trust_check_keys(const DnTrustPolicy *policy, const char *file,
			 GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The rule that decides about @ref or @service, or NULL. Borrowed from @policy. */
const DnTrustRule *dn_trust_rule_for_image(const DnTrustPolicy *policy, const char *ref);
const DnTrustRule *dn_trust_rule_for_service(const DnTrustPolicy *policy, const char *service);

/* The trusted comment a manifest of @service is signed with: "dnode manifest web 7". */
char *dn_trust_manifest_comment(const char *service, uint64_t epoch) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Judge a manifest before it is parsed. @signatures are GBytes of minisign files, each with the
 * same trusted comment, which tells *@service and *@epoch. The caller then parses @bytes and
 * compares both with what the document says. Also refused: an epoch below the trust file's minimum.
 */
bool dn_trust_verify_manifest(const DnTrustPolicy *policy, GBytes *bytes, GPtrArray *signatures,
			      char **service, uint64_t *epoch,
			      GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The same when the caller knows what it expects; @epoch 0 accepts any. */
bool dn_trust_check_manifest(const DnTrustPolicy *policy, const char *service, GBytes *bytes,
			     GPtrArray *signatures, uint64_t epoch,
			     GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Judge an image. @commit_bytes are those of the commit object, whose ref binding and checksum the
 * caller compares; @signatures are GBytes of 64 bytes, plain Ed25519. Role: release.
 */
bool dn_trust_check_image(const DnTrustPolicy *policy, const char *ref, GBytes *commit_bytes,
			  GPtrArray *signatures, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Judge a statement of a responder; @signatures are GBytes of minisign files whose trusted comment
 * must be exactly @comment. Role: responder, as many distinct keys as the policy demands.
 */
bool dn_trust_check_statement(const DnTrustPolicy *policy, GBytes *statement, GPtrArray *signatures,
			      const char *comment, GError **error) G_GNUC_WARN_UNUSED_RESULT;
