/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The words our files are made of, each read and written in one place. Readers take exactly
 * what is drawn here, no sign and no blanks, and leave their result alone when they refuse.
 *
 *     duration   NUMBER ms|s|m|h                  500ms 10s 24h
 *     size       NUMBER B|KiB|MiB|GiB|TiB, or 0   64MiB
 *     cpu        NUMBER [. one to three digits]   0.5
 *     time       RFC 3339                         2027-06-01T00:00:00Z
 *     signal     [SIG]NAME                        TERM
 *     ref        WORD {/ WORD}                    apps/hello
 *     path       / or {/ NAME}, NAME not . or ..  /tmp
 *     cidr       ADDRESS/PREFIX, host bits zero   192.0.2.0/24 2001:db8::/32
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

bool dn_grammar_duration(const char *text, uint64_t *ms) G_GNUC_WARN_UNUSED_RESULT;
char *dn_grammar_print_duration(uint64_t ms) G_GNUC_WARN_UNUSED_RESULT;

bool dn_grammar_size(const char *text, uint64_t *bytes) G_GNUC_WARN_UNUSED_RESULT;
char *dn_grammar_print_size(uint64_t bytes) G_GNUC_WARN_UNUSED_RESULT;

/* In thousandths of one CPU. */
bool dn_grammar_cpu(const char *text, uint64_t *milli) G_GNUC_WARN_UNUSED_RESULT;
char *dn_grammar_print_cpu(uint64_t milli) G_GNUC_WARN_UNUSED_RESULT;

bool dn_grammar_time(const char *text, uint64_t *realtime_ns) G_GNUC_WARN_UNUSED_RESULT;

bool dn_grammar_signal(const char *text, int *number) G_GNUC_WARN_UNUSED_RESULT;
const char *dn_grammar_print_signal(int number); /* NULL: not one that a manifest can name */

/* The name of an image: at most 128 of a-z, 0-9, '.', '_', '-', '/'. */
bool dn_grammar_is_ref(const char *text);

/* Absolute, without empty, '.' or '..' parts, control characters or a slash at the end. */
bool dn_grammar_is_path(const char *text);

/* The same, relative to a directory that it cannot leave; does not begin with '-'. */
bool dn_grammar_is_relative(const char *text);

/* Whether @path is @parent or lies below it. Both are dn_grammar_is_path(). */
bool dn_grammar_is_below(const char *path, const char *parent);

/* Begins with '/', printable ASCII without blanks, so that it cannot break a request line. */
bool dn_grammar_is_url_path(const char *text);

/* The name of an environment variable. */
bool dn_grammar_is_variable(const char *text);

/* Returns the usual spelling of a network, or NULL. */
char *dn_grammar_cidr(const char *text) G_GNUC_WARN_UNUSED_RESULT;

/* An IPv4 network in host byte order. */
bool dn_grammar_cidr4(const char *text, uint32_t *address,
		      unsigned *prefix) G_GNUC_WARN_UNUSED_RESULT;

/* ADDRESS:PORT, or also HOST:PORT when @or_host; IPv6 in brackets. */
bool dn_grammar_is_endpoint(const char *text, bool or_host);

/* @text as a YAML scalar that reads back as the same text. */
char *dn_grammar_print_text(const char *text) G_GNUC_WARN_UNUSED_RESULT;
