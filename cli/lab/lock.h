/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One command at a time makes or takes away a lab: /run/NAME.lock, locked by flock(2) and gone
 * when nobody holds it. The kernel lets go of it when its holder is killed.
 */

#include "lab/layout.h"
#include "output/output.h"

/* Waits, and says so, while another command has it. Returns a descriptor, or -1. */
int dn_lab_lock_take(const DnLab *lab, DnOutput *output, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Closes @fd. */
void dn_lab_lock_give(const DnLab *lab, int fd);
