/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the kernel says of a process in text, proc(5). A node chooses its own name and its peers, so
 * the text is read as if the node had written it.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Field 22 of the text of /proc/PID/stat; false when there is no such field, and of a zombie,
 * unless only its main thread has ended.
 */
bool dn_proc_start_time(const char *stat, uint64_t *start_time);

/* An established connection whose own end is one of @ports (of uint16_t), in /proc/PID/net/tcp. */
bool dn_proc_has_connection(const char *table, const GArray *ports);

/*
 * Does a socket of /proc/PID/net/{tcp,tcp6,udp,udp6} wait for others on @port, at an address that
 * others can reach?
 */
bool dn_proc_is_bound(const char *table, uint16_t port);
