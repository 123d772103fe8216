/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A place to build images in: a recipe's directory and a repository, gone after the test. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "image/repository.h"
#include "model/recipe.h"
#include "model/trust.h"
#include "seal/keys.h"

typedef struct {
	char *directory; /* all of it */
	char *sources;   /* the recipe's directory, made by workshop_open() */
	char *repo_path; /* an archive repository, made by the first build */
	DnRecipe *recipe;
} Workshop;

void workshop_open(Workshop *self);
void workshop_close(Workshop *self);

/* Write @text to @name below the sources, with the directories it needs. */
void workshop_write(const Workshop *self, const char *name, const char *text, uint32_t mode);
char *workshop_path(const Workshop *self, const char *name);

/* Add one file to the recipe. */
void workshop_add(Workshop *self, const char *source, const char *path, uint32_t mode);

/* Build and return the commit; the test fails when that fails. */
char *workshop_build(const Workshop *self);

/* Build what must be refused; the message of the error. */
char *workshop_refusal(const Workshop *self, DnErrorCode code);

DnImageRepo *workshop_repo(const Workshop *self);

/* A trust policy: @n of @n keys of @role, named k0, k1 …, for images that match @pattern. */
DnTrustPolicy *workshop_trust(const char *pattern, DnKeyRole role, DnSecretKey *const *keys,
			      size_t n);
