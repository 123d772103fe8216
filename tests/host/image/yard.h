/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A release key, a signed image in a repository that a real DnRepoServer serves, and a host's
 * store that pulls from it. The server believes nothing and checks nothing: it passes on whatever
 * a test puts into its repository.
 */

#include <glib.h>
#include <stdbool.h>

#include "image/store.h"
#include "seal/keys.h"
#include "workshop.h"

typedef struct {
	Workshop shop;
	DnSecretKey *release; /* may sign apps/test */
	DnSecretKey *other;   /* may sign other refs only */
	DnTrustPolicy *trust;
	DnInstance instance;
	DnImageStore *store;
	struct YardServer *server;
	char *url;
	char *commit; /* of the image, built and signed by yard_image() */
} Yard;

void yard_open(Yard *self);
void yard_close(Yard *self);

/* Build an image of several kinds of files as apps/test, sign it by @key (or not, NULL). */
void yard_image(Yard *self, const DnSecretKey *key);

/* Sign an already built commit. */
void yard_sign(const Yard *self, const char *commit, const DnSecretKey *key);

/* Pull from the repository at @repo_path from now on. */
void yard_serve(Yard *self, const char *repo_path);

/* ensure_now() must succeed, or fail with @code and a text that contains @why. */
void yard_ensure(Yard *self);
void yard_refuse(Yard *self, DnErrorCode code, const char *why);

/* Paths of everything but repositories' directories below @folder of the host's state. */
GPtrArray *yard_leftovers(const Yard *self, const char *folder);

/* Fails unless the host has no object, no checkout and nothing half done. */
void yard_expect_nothing(const Yard *self);

/* A path in the checkout, in the server's repository; free it. */
char *yard_in_checkout(const Yard *self, const char *path);
char *yard_on_server(const Yard *self, const char *path);

/* The object in the host's repository that the file of the checkout is a link of; free it. */
char *yard_object_of(const Yard *self, const char *path);

/* Files below @directory that end in @suffix, absolute, sorted. */
GPtrArray *yard_find(const char *directory, const char *suffix);

/* Change the byte at @at (from the end when negative). */
void yard_flip(const char *path, off_t at);
