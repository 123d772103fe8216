/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A file's schema as a table: one row a key, with what it may be, where it goes and what it is
 * when left out. Reading, refusing, printing and docs/formats/manifest.md all follow the table.
 *
 *     typedef struct { char *name; uint32_t slots; } Settings;
 *
 *     static const DnField settings[] = {
 *         {"name", DN_FIELD_NAME, DN_FIELD_REQUIRED, DN_MEMBER(Settings, name)},
 *         {"slots", DN_FIELD_UINT, 0, DN_MEMBER(Settings, slots), .min = 1, .max = 250},
 *         {0},
 *     };
 *     Settings read = {.slots = 100};
 *     if (!dn_fields_parse(bytes, "agent.yaml", settings, &read, error)) ...
 *
 * The struct is filled with defaults by its owner; a key that is absent leaves its member alone.
 * Text members are replaced and the old text freed. After a failure the struct may be half
 * filled, and is freed like any other. All errors of a file come at once, each with its place.
 */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "manifest/faults.h"
#include "manifest/yaml.h"

typedef enum {
	/* Stored as char *. */
	DN_FIELD_TEXT,     /* any text of at most max bytes */
	DN_FIELD_NAME,     /* dn_text_is_name() */
	DN_FIELD_PATH,     /* absolute and plain */
	DN_FIELD_RELATIVE, /* relative and plain */
	DN_FIELD_HEX,      /* exactly max lower-case hexadecimal digits */
	DN_FIELD_REF,      /* the name of an image */
	DN_FIELD_CIDR,     /* a network, IPv4 or IPv6 */
	DN_FIELD_CIDR4,    /* a network, IPv4 only */
	DN_FIELD_ADDRESS,  /* ADDRESS:PORT */
	DN_FIELD_ENDPOINT, /* ADDRESS:PORT or HOST:PORT */
	DN_FIELD_URL_PATH, /* what a request line may hold behind the host */
	/* Stored as an unsigned integer as wide as the member. */
	DN_FIELD_UINT,
	DN_FIELD_BOOL,
	DN_FIELD_WORD,     /* the index in words */
	DN_FIELD_DURATION, /* milliseconds */
	DN_FIELD_SIZE,     /* bytes */
	DN_FIELD_CPU,      /* thousandths of a CPU */
	DN_FIELD_TIME,     /* nanoseconds of CLOCK_REALTIME */
	DN_FIELD_SIGNAL,   /* its number */
	/* More than one value. */
	DN_FIELD_TEXTS, /* char **: a list of at most max, each of kind item */
	DN_FIELD_ENV,   /* char **: a map of variables as NAME=VALUE, sorted */
	DN_FIELD_MAP,   /* its fields go into the same struct */
	DN_FIELD_LIST,  /* GArray * of structs with fields, made with clear = TRUE */
	DN_FIELD_OTHER, /* only check() reads it */
	DN_FIELD_N_KINDS
} DnFieldKind;

enum {
	DN_FIELD_REQUIRED = 1 << 0,
	DN_FIELD_RESERVED = 1 << 1, /* a name of the future: only its neutral value is taken */
	DN_FIELD_OPEN = 1 << 2,     /* zero means unset, and is not printed */
};

typedef struct DnField DnField;
struct DnField {
	const char *key;
	DnFieldKind kind;
	unsigned flags;
	size_t offset, width; /* DN_MEMBER; width 0: checked, not stored */
	uint64_t min, max;
	DnFieldKind item;
	const char *const *words;        /* WORD: ended by NULL */
	const DnField *fields;           /* MAP, LIST: ended by a row without key */
	size_t size;                     /* LIST: of one item */
	const char *fallback;            /* what it is when left out, as the file would say it */
	const char *neutral;             /* RESERVED: the value that changes nothing */
	bool (*shown)(const void *from); /* whether printing it is right; NULL: always */
	/* Called after @node was read, when that found no fault. LIST items: with the item. */
	void (*check)(const DnYamlNode *node, void *into, DnFaults *faults);
	void (*check_item)(const DnYamlNode *node, void *item, DnFaults *faults);
};

#define DN_MEMBER(type_, member_)                                                                  \
	.offset = offsetof(type_, member_), .width = sizeof(((type_ *)NULL)->member_)

/* Load @bytes, read them by @table into @into, and report every fault under the name @file. */
bool dn_fields_parse(GBytes *bytes, const char *file, const DnField *table, void *into,
		     GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The same for a part of a tree that is already loaded. */
void dn_fields_read(const DnYamlNode *node, const DnField *table, void *into, DnFaults *faults);

/* Read one value; for check() functions that handle what the table cannot say. */
void dn_field_read(const DnYamlNode *node, const DnField *field, void *into, DnFaults *faults);

/* What @field may be, in words: "a whole number from 1 to 250". */
char *dn_field_describe(const DnField *field) G_GNUC_WARN_UNUSED_RESULT;

/* Its value in @from as the file would say it, or NULL when it is unset. */
char *dn_field_print(const DnField *field, const void *from) G_GNUC_WARN_UNUSED_RESULT;
