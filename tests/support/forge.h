/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Images that dnode's own build would refuse to make, made by libostree alone. */

#include <glib.h>
#include <stdbool.h>

typedef struct {
	const char *ref;    /* in the binding; NULL: no binding */
	unsigned file_mode; /* of /bin/app; 0: 0755 */
	unsigned file_uid;  /* of /bin/app */
	bool capability;    /* /bin/app has security.capability */
	const char *link;   /* a mount point that is a link instead: "etc" */
	const char *absent; /* a mount point that is not there */
	bool without_hosts; /* /etc/hosts is not there */
} Forgery;

/* Write it into the archive repository at @repo_path and give the commit. */
char *forge(const char *repo_path, const Forgery *forgery);
