/* SPDX-License-Identifier: Apache-2.0 */
#include "disk.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/fd.h"

enum { DISK_BYTES = 64 << 20 };

static void mount_privately(void)
{
	cr_assert(eq(int, unshare(CLONE_NEWNS), 0));
	cr_assert(eq(int, mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0));
}

/* The loop device over @backing_fd, open; it is gone after the last close or unmount. -1: none. */
static int attach(int backing_fd, char name[static 32])
{
	dn_autofd int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	struct loop_config config = {.fd = (__u32)backing_fd, .info.lo_flags = LO_FLAGS_AUTOCLEAR};

	/* Another process may take the number that was free a moment ago. */
	for (int tries = 0; control >= 0 && tries < 20; tries++) {
		int number = ioctl(control, LOOP_CTL_GET_FREE);

		g_snprintf(name, 32, "/dev/loop%d", number);
		dn_autofd int device = number >= 0 ? open(name, O_RDWR | O_CLOEXEC) : -1;
		if (device >= 0 && ioctl(device, LOOP_CONFIGURE, &config) == 0)
			return g_steal_fd(&device);
	}
	return -1;
}

static void renew_store(Yard *yard)
{
	g_autoptr(GError) error = NULL;

	yard->store = dn_image_store_new(&yard->instance, yard->trust, &error);
	cr_assert(ne(ptr, yard->store, NULL), "%s", error != NULL ? error->message : "no error");
}

void disk_put_under(Disk *self, Yard *yard)
{
	g_autofree char *path = workshop_path(&yard->shop, "disk");
	g_autofree char *format = g_strdup_printf("mkfs.ext4 -q -b 4096 -F %s", path);
	char name[32] = "";

	*self = (Disk){.backing_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
	cr_assert(eq(int, ftruncate(self->backing_fd, DISK_BYTES), 0));
	cr_assert(eq(int, system(format), 0));
	dn_autofd int device = attach(self->backing_fd, name);
	if (device < 0)
		cr_skip_test("no loop device can be had");
	mount_privately();
	g_clear_pointer(&yard->store, dn_image_store_free);
	cr_assert(eq(int, mount(name, yard->instance.state_dir, "ext4", 0, NULL), 0));
	self->mounted = true;
	renew_store(yard);
}

void disk_put_memory_under(Disk *self, Yard *yard)
{
	*self = (Disk){.backing_fd = -1};
	mount_privately();
	g_clear_pointer(&yard->store, dn_image_store_free);
	cr_assert(eq(int, mount("none", yard->instance.state_dir, "tmpfs", 0, NULL), 0));
	self->mounted = true;
	renew_store(yard);
}

void disk_take_away(Disk *self, Yard *yard)
{
	g_clear_pointer(&yard->store, dn_image_store_free);
	if (self->mounted)
		cr_assert(eq(int, umount2(yard->instance.state_dir, MNT_DETACH), 0));
	dn_fd_clear(&self->backing_fd);
}

/* Where the file's first byte is on the disk. */
static off_t place_of(const char *path)
{
	dn_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	int block = 0, size = 0;

	cr_assert(ge(int, fd, 0), "%s", path);
	cr_assert(eq(int, fsync(fd), 0));
	cr_assert(eq(int, ioctl(fd, FIBMAP, &block), 0));
	cr_assert(eq(int, ioctl(fd, FIGETBSZ, &size), 0));
	cr_assert(gt(int, block, 0), "%s has no block", path);
	return (off_t)block * size;
}

static void flip_on_disk(const Disk *self, off_t at)
{
	unsigned char byte = 0;

	cr_assert(eq(int, (int)pread(self->backing_fd, &byte, 1, at), 1));
	byte ^= 1;
	cr_assert(eq(int, (int)pwrite(self->backing_fd, &byte, 1, at), 1));
}

unsigned char disk_first_byte(const char *path)
{
	dn_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	unsigned char byte = 0;

	cr_assert(eq(int, (int)pread(fd, &byte, 1, 0), 1), "%s", path);
	return byte;
}

void disk_change(const Disk *self, const char *path)
{
	/* In the cache before, so that it stays there. */
	(void)disk_first_byte(path);
	flip_on_disk(self, place_of(path));
}

void disk_change_cache(const Disk *self, const char *path)
{
	dn_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t place = place_of(path);
	unsigned char before = disk_first_byte(path);

	cr_assert(eq(int, posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0));
	flip_on_disk(self, place);
	cr_assert(ne(int, disk_first_byte(path), before), "the page is still in the cache");
	flip_on_disk(self, place);
}
