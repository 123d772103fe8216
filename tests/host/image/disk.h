/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A yard whose host keeps its state on an ext4 file system of its own, inside a file: what is on
 * its disk can be changed behind the page cache, and a page so that the disk stays as it is. Mounts
 * are of this process alone and go with it, as does the loop device.
 */

#include <stdbool.h>

#include "yard.h"

typedef struct {
	int backing_fd;
	bool mounted;
} Disk;

/* Between yard_open() and yard_image(). The test is skipped where there are no loop devices. */
void disk_put_under(Disk *self, Yard *yard);
void disk_take_away(Disk *self, Yard *yard);

/* The same on tmpfs, which has no disk. */
void disk_put_memory_under(Disk *self, Yard *yard);

/* Flip the first byte of the file on the disk; what the cache has of it stays. */
void disk_change(const Disk *self, const char *path);

/* Flip the first byte in the cache; the disk stays. */
void disk_change_cache(const Disk *self, const char *path);

/* The first byte, as a program would read it. */
unsigned char disk_first_byte(const char *path);
