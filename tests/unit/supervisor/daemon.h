/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The real daemon on a real disk, in a directory and on an address that a test has to itself. */

#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <sys/types.h>

#include "seal/keys.h"

/* The files of a cluster; nothing runs yet. */
void daemon_new(void);
/* Killed if it still runs, its directory removed. */
void daemon_free(void);

/* Start it and wait until it answers. */
void daemon_start(void);
/* Send a signal and wait. The exit code; -1: it did not exit by itself. */
int daemon_stop(int signal_number);
/* One more on the same directory, for the caller to wait for. */
pid_t daemon_spawn(void);

/* Where people reach it: see dn_http_new(). */
const char *daemon_target(void);
const char *daemon_state(void);
/* It signs manifests. */
const DnSecretKey *daemon_deploy_key(void);

/* NULL: no answer, or a refusal. */
JsonObject *daemon_get(const char *path);
