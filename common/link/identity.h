/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Who this end of a link is: a self-signed certificate around an Ed25519 key, made at start.
 *
 * The certificate is only an envelope, because TLS wants one: names, dates and issuers in it mean
 * nothing and nobody looks at them. An end is its 32 public bytes, and proves them in the
 * handshake.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define DN_LINK_KEY_BYTES 32
#define DN_LINK_SEED_BYTES 32

typedef struct DnLinkIdentity DnLinkIdentity;

/*
 * @seed is copied into the TLS library; the caller wipes its own copy (explicit_bzero). Fails with
 * DN_ERROR_UNSUPPORTED when the library refuses Ed25519, as it does under some system policies.
 */
DnLinkIdentity *dn_link_identity_new(const uint8_t seed[static DN_LINK_SEED_BYTES],
				     GError **error) G_GNUC_WARN_UNUSED_RESULT;
DnLinkIdentity *dn_link_identity_ref(DnLinkIdentity *self);
void dn_link_identity_unref(DnLinkIdentity *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnLinkIdentity, dn_link_identity_unref)

/* The public half of the seed: what the other end pins. */
void dn_link_identity_key(const DnLinkIdentity *self, uint8_t key[static DN_LINK_KEY_BYTES]);
