/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* The member of the NULL-terminated @candidates nearest to @word, or NULL when none is near. */
const char *dn_text_suggest(const char *word, const char *const *candidates);

/*
 * A name of the product: 1 to 40 of a-z, 0-9 and '-', beginning with a letter, not ending in '-'.
 * It is safe as a file name, a DNS label, a cgroup and an nftables chain.
 */
bool dn_text_is_name(const char *word);

/* Exactly @length lower-case hexadecimal digits. */
bool dn_text_is_hex(const char *word, size_t length);

/* Decimal digits only, no sign, no blanks, at most @limit. */
bool dn_text_parse_u64(const char *word, uint64_t limit, uint64_t *value) G_GNUC_WARN_UNUSED_RESULT;

/*
 * @bytes as text that is safe to print on a terminal: valid UTF-8, with control characters, what
 * changes the direction or the lines of a text, and invalid bytes as \xNN. Text that comes from a
 * node goes through here before a person sees it.
 */
char *dn_text_printable(const char *bytes, size_t length) G_GNUC_WARN_UNUSED_RESULT;

/*
 * The same for a line of an error, which may quote whatever it was given: at most
 * DN_TEXT_LINE bytes of @bytes, and "..." where more were.
 */
char *dn_text_line(const char *bytes, size_t length) G_GNUC_WARN_UNUSED_RESULT;
enum { DN_TEXT_LINE = 1400 };

/* Tell a daemon's last words, one line or several, on standard error. */
void dn_text_complain(const char *program, const char *message);
