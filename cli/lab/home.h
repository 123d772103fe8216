/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The files a lab needs before its daemons start: the cluster's home, agents' configurations. */

#include <stdbool.h>

#include "lab/layout.h"

/*
 * The directories, the cluster's identity and the keys `release`, `deploy` and `responder`, made
 * by the commands a person would type; what is there already stays.
 */
bool dn_lab_home_make(const DnLab *lab, const DnLabPrograms *programs,
		      GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* agent.yaml of every host, and the helpers that nodes' uids must be able to reach. */
bool dn_lab_home_configure(const DnLab *lab, const DnLabPrograms *programs,
			   GError **error) G_GNUC_WARN_UNUSED_RESULT;
