/* SPDX-License-Identifier: Apache-2.0 */
#include "link/identity.h"

#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <string.h>

#include "link/tls.h"

struct DnLinkIdentity {
	gatomicrefcount refs;
	gnutls_certificate_credentials_t credentials; /* owned */
	uint8_t key[DN_LINK_KEY_BYTES];
};

typedef gnutls_x509_privkey_t Secret;
typedef gnutls_x509_crt_t Certificate;

static void secret_clear(Secret *secret)
{
	gnutls_x509_privkey_deinit(*secret);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Secret, secret_clear)

static void certificate_clear(Certificate *certificate)
{
	gnutls_x509_crt_deinit(*certificate);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Certificate, certificate_clear)

bool dn_link_throw(GError **error, int code, int status, const char *doing)
{
	g_set_error(error, DN_ERROR, code, "%s: %s", doing, gnutls_strerror(status));
	return false;
}

/* Read the seed as the only thing that differs between PKCS #8 documents of Ed25519 (RFC 8410). */
static int import_seed(Secret secret, const uint8_t seed[static DN_LINK_SEED_BYTES])
{
	static const uint8_t head[] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06,
				       0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};
	uint8_t document[sizeof(head) + DN_LINK_SEED_BYTES];
	gnutls_datum_t datum = {document, sizeof(document)};

	memcpy(document, head, sizeof(head));
	memcpy(document + sizeof(head), seed, DN_LINK_SEED_BYTES);
	int status = gnutls_x509_privkey_import_pkcs8(secret, &datum, GNUTLS_X509_FMT_DER, NULL,
						      GNUTLS_PKCS_PLAIN);
	explicit_bzero(document, sizeof(document));
	return status;
}

/* The same bytes for the same key at any time: nothing here reads a clock. */
static int fill_certificate(Certificate certificate, Secret secret)
{
	static const char name[] = "dnode";
	int status = gnutls_x509_crt_set_version(certificate, 3);

	if (status >= 0)
		status = gnutls_x509_crt_set_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0,
						       name, sizeof(name) - 1);
	if (status >= 0)
		status = gnutls_x509_crt_set_serial(certificate, "\1", 1);
	if (status >= 0)
		status = gnutls_x509_crt_set_activation_time(certificate, 0);
	if (status >= 0)
		status = gnutls_x509_crt_set_expiration_time(
			certificate, GNUTLS_X509_NO_WELL_DEFINED_EXPIRATION);
	if (status >= 0)
		status = gnutls_x509_crt_set_key(certificate, secret);
	if (status >= 0)
		status = gnutls_x509_crt_sign2(certificate, certificate, secret, GNUTLS_DIG_SHA512,
					       0);
	return status;
}

int dn_link_certificate_key(gnutls_x509_crt_t certificate, uint8_t key[static DN_LINK_KEY_BYTES])
{
	gnutls_pubkey_t public_key = NULL;
	gnutls_ecc_curve_t curve = GNUTLS_ECC_CURVE_INVALID;
	gnutls_datum_t x = {0}, y = {0};
	int status = gnutls_pubkey_init(&public_key);

	if (status >= 0)
		status = gnutls_pubkey_import_x509(public_key, certificate, 0);
	if (status >= 0 &&
	    gnutls_pubkey_get_pk_algorithm(public_key, NULL) != GNUTLS_PK_EDDSA_ED25519)
		status = GNUTLS_E_UNSUPPORTED_SIGNATURE_ALGORITHM;
	if (status >= 0)
		status = gnutls_pubkey_export_ecc_raw2(public_key, &curve, &x, &y, 0);
	if (status >= 0 && (curve != GNUTLS_ECC_CURVE_ED25519 || x.size != DN_LINK_KEY_BYTES))
		status = GNUTLS_E_UNSUPPORTED_SIGNATURE_ALGORITHM;
	if (status >= 0)
		memcpy(key, x.data, DN_LINK_KEY_BYTES);
	gnutls_free(x.data);
	gnutls_free(y.data);
	gnutls_pubkey_deinit(public_key);
	return status;
}

DnLinkIdentity *dn_link_identity_new(const uint8_t seed[static DN_LINK_SEED_BYTES], GError **error)
{
	g_autoptr(DnLinkIdentity) self = g_new0(DnLinkIdentity, 1);
	g_auto(Secret) secret = NULL;
	g_auto(Certificate) certificate = NULL;

	g_atomic_ref_count_init(&self->refs);
	int status = gnutls_x509_privkey_init(&secret);
	if (status >= 0)
		status = gnutls_x509_crt_init(&certificate);
	if (status >= 0)
		status = gnutls_certificate_allocate_credentials(&self->credentials);
	if (status >= 0)
		status = import_seed(secret, seed);
	if (status >= 0)
		status = fill_certificate(certificate, secret);
	if (status >= 0)
		status = dn_link_certificate_key(certificate, self->key);
	if (status >= 0)
		status =
			gnutls_certificate_set_x509_key(self->credentials, &certificate, 1, secret);
	if (status < 0) {
		dn_link_throw(error, DN_ERROR_UNSUPPORTED, status, "make the link's certificate");
		return NULL;
	}
	return g_steal_pointer(&self);
}

DnLinkIdentity *dn_link_identity_ref(DnLinkIdentity *self)
{
	g_atomic_ref_count_inc(&self->refs);
	return self;
}

void dn_link_identity_unref(DnLinkIdentity *self)
{
	if (self == NULL || !g_atomic_ref_count_dec(&self->refs))
		return;
	if (self->credentials != NULL)
		gnutls_certificate_free_credentials(self->credentials);
	g_free(self);
}

void dn_link_identity_key(const DnLinkIdentity *self, uint8_t key[static DN_LINK_KEY_BYTES])
{
	memcpy(key, self->key, DN_LINK_KEY_BYTES);
}

gnutls_certificate_credentials_t dn_link_identity_credentials(const DnLinkIdentity *self)
{
	return self->credentials;
}
