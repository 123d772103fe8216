/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the tests of this folder share. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "manifest/manifest.h"
#include "support/suite.h"

#define COMMIT "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER_COMMIT "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"

/* The least that a running service needs, to which a test adds its lines. */
#define MINIMAL                                                                                    \
	"dnode: v1\nservice: web\nepoch: 7\nimage: {ref: apps/hello, commit: " COMMIT "}\n"        \
	"resources: {memory: 64MiB, cpu: 0.5, pids: 32, files: 256}\n"

static inline GBytes *bytes_of(const char *text)
{
	return g_bytes_new(text, strlen(text));
}

static inline DnManifest *parse(const char *text)
{
	g_autoptr(GBytes) bytes = bytes_of(text);
	g_autoptr(GError) error = NULL;
	DnManifest *manifest = dn_manifest_parse(bytes, "web.yaml", &error);

	cr_assert(manifest != NULL, "%s", error != NULL ? error->message : "no error was set");
	return manifest;
}

/* What is said of a manifest that must be refused. */
static inline char *refusal(const void *text, size_t length)
{
	g_autoptr(GBytes) bytes = g_bytes_new(text, length);
	g_autoptr(GError) error = NULL;
	g_autoptr(DnManifest) manifest = dn_manifest_parse(bytes, "web.yaml", &error);

	cr_assert(manifest == NULL, "it was accepted");
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID));
	return g_strdup(error->message);
}

static inline void refused_with(const char *text, const char *wanted)
{
	g_autofree char *said = refusal(text, strlen(text));

	cr_assert_str_eq(said, wanted);
}
