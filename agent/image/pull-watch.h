/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The end of a pull that would have none. libostree bounds commits and trees, but not files, and
 * not how long all of it takes: whoever serves could fill the disk, or keep the store's lock for
 * ever, without lying about a checksum.
 *
 * libostree tells how much has come once a second, so a pull is stopped at its limit and what the
 * line brings in a second more.
 */

#include <ostree.h>

#include "image/pull.h"

typedef struct {
	const DnImagePull *pull;       /* borrowed */
	OstreeAsyncProgress *progress; /* owned; for the pull */
	GSource *timer;                /* owned */
	gint64 began_us;
	char *refused; /* why it was stopped, or NULL */
} DnPullWatch;

/* @context is the thread's default, which the pull will spin. */
void dn_pull_watch_begin(DnPullWatch *self, const DnImagePull *pull, GMainContext *context);

/* *@failed becomes DN_ERROR_EXHAUSTED when the pull failed because it was stopped. */
void dn_pull_watch_end(DnPullWatch *self, GError **failed);
