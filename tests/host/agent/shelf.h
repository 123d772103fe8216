/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The repository of an evil supervisor, served by the real server: images that are sound until a
 * test spoils them, and that can be put right again.
 */

#include <glib.h>
#include <sys/types.h>

#include "repo/server.h"
#include "seal/keys.h"

typedef struct {
	char *folder, *sources, *repo; /* owned: all of it; of the recipes; the repository */
	DnRepoServer *server;          /* owned */
	char *url;                     /* owned */
	GHashTable *known;             /* of char *: objects of the images built so far */
	GHashTable *originals;         /* char * path → GBytes: what stood there before */
	unsigned built;
} Shelf;

typedef struct {
	char *commit;
	GPtrArray *own; /* of char *, "CHECKSUM.TYPE": what no earlier image of the shelf has */
} ShelfImage;

void shelf_open(Shelf *self, const char *folder);
void shelf_close(Shelf *self);

/* An image that runs. Of every type of object it has one that no earlier image has. */
ShelfImage *shelf_build(Shelf *self, const char *ref);

/* One that says of no ref that it was built for it; it does not run. */
ShelfImage *shelf_build_unbound(Shelf *self);
void shelf_image_free(ShelfImage *image);

void shelf_sign(Shelf *self, const ShelfImage *image, const DnSecretKey *key);

/* The file of the image's own object of @type; of files the largest. Free it. */
char *shelf_find(const Shelf *self, const ShelfImage *image, const char *type);
char *shelf_signatures(const Shelf *self, const ShelfImage *image);

/* What is done to files, until shelf_restore(). */
void shelf_flip(Shelf *self, const char *path, size_t at);
void shelf_lose(Shelf *self, const char *path);
void shelf_replace(Shelf *self, const char *path, const char *with);
void shelf_restore(Shelf *self);
