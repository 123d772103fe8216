/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What identity.c and channel.c share of the TLS library. */

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "link/identity.h"

/* Fill @error from a status of the TLS library. Always returns false. */
bool dn_link_throw(GError **error, int code, int status, const char *doing);

/* The 32 bytes of an Ed25519 certificate; a negative status for any other. */
int dn_link_certificate_key(gnutls_x509_crt_t certificate, uint8_t key[static DN_LINK_KEY_BYTES]);

gnutls_certificate_credentials_t dn_link_identity_credentials(const DnLinkIdentity *self);
